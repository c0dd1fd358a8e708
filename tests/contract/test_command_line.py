"""The make targets that a person types, as processes: what they refuse, and how they say so."""

import re
from pathlib import Path

import pytest

from tests.checkout import Checkout

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the repository without a stack."""
    return Checkout.make(tmp_path_factory.mktemp("newcomer") / "relay")


def test_help_fits_a_terminal_and_names_every_target(checkout: Checkout) -> None:
    """GIVEN no terminal WHEN make is called THEN every public target stands on a line of 80 columns, without colour."""
    shown = checkout.run("make")
    assert shown.returncode == 0
    assert "\033" not in shown.stdout
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    public = re.findall(r"^([a-z-]+):.*## ", (checkout.folder / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in lines] == public
    assert 'eval "$(make -s shell-env)"' in shown.stdout


@pytest.mark.parametrize(("setting", "coloured"), [("", True), ("1", False)])
def test_help_is_coloured_on_a_terminal_unless_told_not_to_be(checkout: Checkout, setting: str, coloured: bool) -> None:
    """GIVEN a terminal WHEN NO_COLOR is empty or set THEN there is colour, or none."""
    shown = checkout.run("python3", "-c", "import pty; pty.spawn(['make', 'help'])", environment={"NO_COLOR": setting})
    assert ("\033[" in shown.stdout) is coloured


@pytest.mark.parametrize(
    "command",
    [("shell-env",), ("invoke", "EVENT=events/direct-order-shipped.json")],
    ids=["shell-env", "invoke"],
)
def test_without_a_stack_it_says_how_to_start_one(checkout: Checkout, command: tuple[str, ...]) -> None:
    """GIVEN no stack WHEN it is needed THEN standard output stays empty, and the error helps."""
    told = checkout.run("make", "-s", *command)
    assert told.returncode != 0
    assert told.stdout == ""
    assert "make up" in told.stderr


def test_invoke_without_a_file_says_what_to_name(checkout: Checkout) -> None:
    """GIVEN no EVENT WHEN invoked THEN the error shows one."""
    told = checkout.run("make", "-s", "invoke")
    assert told.returncode != 0
    assert "EVENT=events/direct-order-shipped.json" in told.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["STAGE=local"], "make up"),
        (["STAGE=prd"], "dev, prod"),
        (["STAGE=dev", "PARAMETERS=AlarmMail=you@example.com"], '"AlarmMail" is no parameter'),
        (["STAGE=dev", "PARAMETERS=Stage=prod"], "another Stage"),
        (["STAGE=dev"], "no region"),
    ],
    ids=["local", "unknown stage", "unknown parameter", "two stages", "no region"],
)
def test_deploy_refuses_what_cannot_be_right(
    checkout: Checkout, settings: list[str], words: str, tmp_path: Path
) -> None:
    """GIVEN settings that are wrong WHEN deployed THEN nothing is built, and the error says what would be right."""
    none = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    told = checkout.run("make", "-s", "deploy", *settings, environment=none)
    assert told.returncode != 0
    assert words in told.stderr
    assert not (checkout.folder / ".aws-sam" / "build").exists()
