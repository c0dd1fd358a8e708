"""`pipx install .` gives the command `relay`, with all that it needs."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grimp
import pytest
from typer.testing import CliRunner

from cli import VERSION
from cli.app import app
from local.machine import OWN
from tests.checkout import Checkout

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
FOLDERS = {"cli": ROOT / "cli", "relay": ROOT / "layers/relay/relay"}


def distribution(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def test_every_folder_of_code_is_a_package_of_it() -> None:
    """One that is not listed would be missing from what is installed."""
    found = {
        ".".join((name, *path.parent.relative_to(folder).parts))
        for name, folder in FOLDERS.items()
        for path in folder.rglob("__init__.py")
    }
    assert set(PACKAGES) == found


def test_no_folder_of_code_is_without_its_init() -> None:
    """It would be found here, and not there."""
    folders = {path.parent for folder in FOLDERS.values() for path in folder.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_what_the_command_imports_is_declared() -> None:
    """GIVEN all that `relay` imports WHEN compared with the dependencies THEN each is one, or comes with one."""
    graph = grimp.build_graph("cli", "relay", include_external_packages=True, cache_dir=None)
    reached = {name.partition(".")[0] for name in graph.find_upstream_modules("cli.app")}
    others = reached - {"cli", "relay"} - sys.stdlib_module_names
    declared = {distribution(each) for each in PROJECT["project"]["dependencies"]}
    brought = {distribution(each) for name in declared for each in requires(name) or () if "extra ==" not in each}
    installed = packages_distributions()
    needed = {name: distribution(installed.get(name, [name])[0]) for name in others}
    # Only mypy reads these.
    assert {name for name, package in needed.items() if package not in declared | brought} <= {
        name for name in needed if name.startswith("mypy_boto3_")
    }
    # The other way round: none of them is carried for nothing.
    assert declared <= set(needed.values())


def test_its_version_stands_in_one_place() -> None:
    """The command shows the packaging's own, and the changelog tells of no later release."""
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"relay {VERSION}\n")
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cli.VERSION"}
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[:1] in ([], [VERSION])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_its_commands(shell: str) -> None:
    """GIVEN a shell that asks for what may follow `relay pre` WHEN answered THEN it is `preview`."""
    asked = {
        "bash": {"COMP_WORDS": "relay pre", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "relay pre"},
        "fish": {"_TYPER_COMPLETE_ARGS": "relay pre", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    answer = CliRunner().invoke(app, prog_name="relay", env={"_RELAY_COMPLETE": f"complete_{shell}", **asked[shell]})
    assert "preview" in answer.stdout
    assert "outputs" not in answer.stdout


@pytest.mark.long
def test_the_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    """GIVEN a wheel of a fresh copy WHEN nothing else is on the path THEN the command works; all modules are there."""
    copy = Checkout.make(tmp_path / "copy")
    built = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"),
            *("--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(copy.folder)),
        ],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"customer_event_relay-{VERSION}-")
    modules = {
        str(Path(name, path.relative_to(folder)))
        for name, folder in FOLDERS.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        assert (
            "relay = cli.__main__:main"
            in archive.read(f"customer_event_relay-{VERSION}.dist-info/entry_points.txt").decode()
        )
        archive.extractall(tmp_path / "installed")
    assert {name for name in inside if ".dist-info/" not in name} == modules
    run = subprocess.run(
        [sys.executable, "-m", "cli", "preview", "--offline", str(ROOT / "events/sqs-product-viewed.json")],
        cwd=tmp_path / "installed", env={**OWN, "PYTHONPATH": str(tmp_path / "installed")},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "view-5005 → " in run.stdout


def test_ctrl_c_while_it_is_still_being_imported() -> None:
    """GIVEN somebody who changes their mind in the first second THEN there is no traceback."""
    script = (
        "import sys; sys.meta_path.insert(0, type('Stop', (), {'find_spec': lambda self, name, *_: "
        "(_ for _ in ()).throw(KeyboardInterrupt) if name == 'cli.app' else None})());"
        "from cli.__main__ import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


def test_what_asks_aws_for_nothing_does_not_load_its_clients() -> None:
    """GIVEN help, or a shell's Tab WHEN the command is imported THEN boto3 is not: it takes as long as all the rest."""
    script = "import sys, cli.app; print(*{'boto3', 'botocore.session'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout == "\n"
