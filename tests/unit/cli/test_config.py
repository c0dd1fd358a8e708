"""What the settings of a stack say, and what is wrong with them, wherever they are read."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.command import Answer, CommandError, Exit
from cli.config import SURE_TO_FIT, Config, From, check_config
from cli.stack import Relay, Where
from relay.providers import PROVIDERS
from tests.kinds import FAST, SLOW

CONSENT = "customer.properties.marketing_consent"
MAPPING = {"types": ["order_*"], "require": CONSENT, "rename": {"properties.total": "order_total"}}
RIGHT = {f"{FAST}/main": {"mapping": MAPPING}, SLOW: {"groups": 2}}
WRONG = {f"{FAST}/main": {"mapping": {"drop": ["x"], "require": "a ="}}, SLOW: {"groups": 0}, "nobody": {}}


def deployed(**parameters: str) -> Relay:
    """A stack that was deployed with these."""
    relay = Relay(Where("unit"))
    relay.__dict__["parameters"] = parameters
    return relay


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def shown(answer: Answer) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(answer.shown)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def samconfig(folder: Path, overrides: object) -> Path:
    text = f"version = 0.1\n[prod.deploy.parameters]\nparameter_overrides = {json.dumps(overrides)}\n"
    return written(folder, "samconfig.toml", text)


def test_by_default_it_is_what_the_stack_was_deployed_with() -> None:
    """A row for each destination, and one for an account of any that has settings of its own."""
    relay = deployed(Destinations=f"{FAST}/*,{SLOW}/main", DestinationSettings=json.dumps(RIGHT))
    answer = check_config(relay, From())
    assert answer.exit_code is Exit.OK
    rows = {row["destination"]: row for row in answer.data["destinations"]}
    assert list(rows) == [f"{FAST}/*", f"{SLOW}/main", f"{FAST}/main"]
    assert rows[f"{FAST}/main"] == {
        "destination": f"{FAST}/main",
        "types": ["order_*"],
        "require": CONSENT,
        "changes": ["properties.total as order_total"],
    }
    assert rows[f"{SLOW}/main"]["types"] == rows[f"{SLOW}/main"]["changes"] == []
    text = shown(answer)
    assert CONSENT in text
    assert "all" in text


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_file_is_checked_for_any_destination(tmp_path: Path, name: str) -> None:
    """GIVEN settings alone THEN each account of each provider may have some, unless it is said which there are."""
    path = written(tmp_path, "settings.json", json.dumps({f"{name}/any": {"mapping": {"types": ["x"]}}}))
    assert check_config(deployed(), From(settings=path)).exit_code is Exit.OK
    answer = check_config(deployed(), From(settings=path, destinations=f"{name}/other"))
    assert [each["field"] for each in answer.data["errors"]] == [f"{name}/any"]


def test_every_error_is_told_at_its_path(tmp_path: Path) -> None:
    """And the command fails, for a script that deploys."""
    answer = check_config(deployed(), From(settings=written(tmp_path, "settings.json", json.dumps(WRONG))))
    assert answer.exit_code is Exit.FAILED
    paths = {f"{FAST}/main.mapping.drop.x", f"{FAST}/main.mapping.require", f"{SLOW}.groups", "nobody"}
    assert {each["field"] for each in answer.data["errors"]} == paths
    assert all(path in shown(answer) for path in paths)


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("{", "DestinationSettings", "is not JSON"),
        ('{"a": 1}', "DestinationSettings.a", ""),
        ("[]", "DestinationSettings", ""),
    ],
)
def test_what_is_no_settings_at_all(tmp_path: Path, text: str, field: str, said: str) -> None:
    answer = check_config(deployed(), From(settings=written(tmp_path, "settings.json", text)))
    (error,) = answer.data["errors"]
    assert error["field"] == field
    assert said in error["message"]


def test_destinations_that_are_wrong() -> None:
    answer = check_config(deployed(Destinations="nobody/main"), From())
    assert [each["field"] for each in answer.data["errors"]] == ["Destinations"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["Stage=prod", "Destinations={0}", "DestinationSettings={1}"],
        ["Stage=prod", "Destinations={0}", "DestinationSettings={2}"],
        ["Stage=prod", "Destinations={0}", "DestinationSettings='{1}'"],
        "Stage=prod Destinations={0} DestinationSettings={2}",
        "Stage=prod Destinations={0} DestinationSettings='{1}'",
    ],
    ids=["bare", "double quotes", "single quotes", "one text, double quotes", "one text, single quotes"],
)
def test_samconfig_as_sam_reads_it(tmp_path: Path, overrides: str | list[str]) -> None:
    """GIVEN overrides, quoted or not, in a list or in one text THEN they are the values that SAM deploys with."""
    text, names = json.dumps(RIGHT), f"{FAST}/main,{SLOW}/main"

    def filled(each: str) -> str:
        return each.replace("{0}", names).replace("{1}", text).replace("{2}", json.dumps(text))

    path = samconfig(tmp_path, filled(overrides) if isinstance(overrides, str) else list(map(filled, overrides)))
    config = From(samconfig=path, config_env="prod").config(deployed())
    assert (config.destinations, json.loads(config.settings)) == (names, RIGHT)


def test_the_repository_s_own_samconfig_is_right() -> None:
    path = Path(__file__).parents[3] / "samconfig.toml"
    for stage in ("dev", "prod", "local"):
        assert check_config(deployed(), From(samconfig=path, config_env=stage)).exit_code is Exit.OK


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samconfig": "samconfig.toml", "config_env": "none"}, r"no \[none.deploy.parameters\]"),
        ({"samconfig": "broken.toml"}, "is no TOML"),
        ({"samconfig": "missing.toml"}, "No such file"),
        ({"settings": "missing.json"}, "No such file"),
        ({"settings": "bytes.json"}, "is no text"),
        ({"settings": "broken.toml", "samconfig": "samconfig.toml"}, "not both"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_said(tmp_path: Path, given: Any, said: str) -> None:
    """What to do instead stands in it."""
    samconfig(tmp_path, [])
    written(tmp_path, "broken.toml", "[")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    options = {key: value if key == "config_env" else tmp_path / value for key, value in given.items()}
    with pytest.raises(CommandError, match=said) as caught:
        check_config(deployed(), From(**options))
    assert caught.value.exit_code is Exit.USAGE


def test_what_may_not_fit_is_said() -> None:
    """Lambda has 4 KB for all variables, and CloudFormation tells of it when it is too late."""
    settings = json.dumps({f"{FAST}/a{number}": {"groups": 2} for number in range(100)})
    config = Config("here", f"{FAST}/*", settings)
    assert config.size > SURE_TO_FIT
    answer = check_config(deployed(Destinations=f"{FAST}/*", DestinationSettings=settings), From())
    assert answer.exit_code is Exit.OK
    assert "may not fit" in shown(answer)
