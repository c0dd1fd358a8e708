"""The exact request of each destination, before anything is deployed or sent."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import preview as command
from cli.command import Answer, CommandError, Exit
from cli.preview import By
from cli.reading import Written
from cli.stack import Relay
from relay.providers import PROVIDERS
from tests.factories import TOKEN, event_data
from tests.kinds import EVERYWHERE, FAST, SLOW
from tests.unit.cli.stack import chosen, stack
from tests.unit.providers.golden import case

EVENTS = Path(__file__).parents[3] / "events"


def preview(relay: Relay, files: list[str], first: int = 10, **given: Any) -> Answer:
    """The command, its options by their names."""
    return command.preview(relay, files, chosen(Written, given), chosen(By, given), first)


def file(folder: Path, *events: Any) -> str:
    path = folder / "events.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in events))
    return str(path)


def shown(answer: Any) -> str:
    """What a person sees, in colours."""
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    console.print(answer.shown)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("name", PROVIDERS)
def test_offline_it_is_the_request_that_the_golden_case_has(tmp_path: Path, name: str) -> None:
    """GIVEN no stack WHEN previewed THEN the documented address, the exact body, and no secret."""
    least = case(name, "least").data
    answer = preview(stack(), [file(tmp_path, least["event"])], destination=[f"{name}/main"], offline=True)
    assert answer.exit_code is Exit.OK
    (one,) = answer.data
    expected = least["expect"]
    assert one["request"]["method"] == expected["method"]
    assert one["request"]["url"].startswith(PROVIDERS[name].address)
    assert one["request"]["headers"].keys() == expected["headers"].keys()
    assert json.loads(one["request"]["body"]) == expected["body"]
    assert "ACCESS_TOKEN" not in json.dumps(answer.data)
    assert "***" in one["request"]["url"] + json.dumps(one["request"]["headers"])


def test_a_stack_s_settings_and_addresses_are_used(tmp_path: Path) -> None:
    answer = preview(stack(), [file(tmp_path, event_data())])
    assert [each["destination"] for each in answer.data] == list(EVERYWHERE)
    assert [each["request"]["url"].split("/")[2] for each in answer.data] == [f"{name}.example" for name in PROVIDERS]


def test_what_a_provider_cannot_take_is_told_by_its_fields(tmp_path: Path) -> None:
    """The others are shown all the same; a script hears of it."""
    known = {"provider_ids": {SLOW: "Zx81kk"}}
    answer = preview(stack(), [file(tmp_path, event_data(customer=known))], offline=True)
    by = {each["destination"]: each for each in answer.data}
    assert answer.exit_code is Exit.FAILED
    assert by[f"{SLOW}/main"]["request"]
    assert by[f"{FAST}/main"]["request"] is None
    assert [error["field"] for error in by[f"{FAST}/main"]["errors"]] == ["customer"]


def test_what_is_no_event_is_told_by_its_fields(tmp_path: Path) -> None:
    answer = preview(stack(), [file(tmp_path, event_data(type="a b"))], offline=True)
    assert answer.exit_code is Exit.FAILED
    assert [(each["place"], each["destination"]) for each in answer.data] == [("line 1", None)]
    assert "is no event" in shown(answer)


def test_an_account_that_a_stack_does_not_have_is_told(tmp_path: Path) -> None:
    """Offline any will do."""
    to = [f"{SLOW}/other"]
    name = file(tmp_path, event_data(destinations=to))
    assert preview(stack(), [name]).data[0]["errors"][0]["field"] == "destinations.0"
    assert preview(stack(), [name], offline=True).data[0]["destination"] == to[0]
    assert preview(stack(), [name], destination=[f"{FAST}/main"]).data[0]["destination"] == f"{FAST}/main"


def test_only_the_first_are_shown(tmp_path: Path) -> None:
    """GIVEN a large file WHEN previewed THEN it is not read to its end."""
    name = file(tmp_path, *(event_data(id=f"e-{number}") for number in range(5)), "no event")
    answer = preview(stack(), [name], first=2, offline=True)
    assert {each["event_id"] for each in answer.data} == {"e-0", "e-1"}
    assert "holds more" in shown(answer)


def test_a_person_sees_it_in_colours_and_whole(tmp_path: Path) -> None:
    """Method, address, headers, the body with its indents; and that a moment is not the event's own."""
    text = shown(preview(stack(), [file(tmp_path, event_data(occurred_at=...))], offline=True))
    assert f"\x1b[1mevt-1\x1b[0m\x1b[1m → {EVERYWHERE[0]}" in text
    assert "without occurred_at" in text
    assert "\x1b[1;32mPOST\x1b[0m https://" in text
    assert '\x1b[1;34m"order_id"\x1b[0m' in text
    assert "Nothing was sent." in text


class Functions:
    """A deliver function that shows its request with the real secret masked, or says why not."""

    def __init__(self, answer: Any, error: str = "") -> None:
        self.answer, self.error = answer, {"FunctionError": error} if error else {}
        self.calls: list[tuple[str, Any]] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        self.calls.append((FunctionName, json.loads(Payload)))
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **self.error}


def test_a_function_is_asked_for_a_dry_run(tmp_path: Path) -> None:
    """GIVEN --from-function WHEN previewed THEN each destination's function shows its request, and never delivers."""
    request = {"method": "POST", "url": "https://x.example/?t=***", "headers": {}, "body": "{}"}
    functions = Functions({"dry_run": True, "request": request})
    answer = preview(stack(functions=functions), [file(tmp_path, event_data())], from_function=True)
    assert [each["request"] for each in answer.data] == [request] * len(EVERYWHERE)
    assert [(name, call["dry_run"], call["destination"]) for name, call in functions.calls] == [
        (f"deliver-{to.split('/')[0]}", True, to) for to in EVERYWHERE
    ]
    assert TOKEN not in shown(answer)


def test_a_function_that_cannot_build_it_says_why(tmp_path: Path) -> None:
    functions = Functions({"outcome": "unauthorized", "errors": [{"field": "destination", "message": "no secret"}]})
    answer = preview(stack(functions=functions), [file(tmp_path, event_data())], from_function=True)
    assert answer.data[0]["errors"] == [{"field": "destination", "message": "no secret"}]
    with pytest.raises(CommandError, match="failed: Timeout"):
        preview(
            stack(functions=Functions({"errorType": "Timeout"}, "Unhandled")),
            [file(tmp_path, event_data())],
            from_function=True,
        )


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.name)
def test_every_sample_can_be_previewed(path: Path) -> None:
    """Those that are bad on purpose are told, and calls of a deliver function are named as such."""
    answer = preview(stack(), [str(path)], offline=True)
    told = [error["message"] for each in answer.data for error in each["errors"]]
    assert bool(told) == any(word in path.name for word in ("deliver", "bad", "many", "id-only", "history")), told
    assert path.name.startswith("deliver") == any("is a call of a function that delivers" in each for each in told)


def test_offline_or_from_the_function() -> None:
    with pytest.raises(CommandError, match="not both"):
        preview(stack(), ["x.json"], offline=True, from_function=True)


def tried(folder: Path, **settings: Any) -> Path:
    path = folder / "settings.json"
    path.write_text(json.dumps(settings))
    return path


@pytest.mark.parametrize("offline", [True, False])
def test_a_mapping_is_tried_before_it_is_deployed(tmp_path: Path, offline: bool) -> None:
    """GIVEN settings in a file THEN the requests they would make, and where an event would not go, with the reason."""
    mapping = {"rename_types": {"order_shipped": "shipped"}, "constants": {"properties.channel": "web"}}
    path = tried(tmp_path, **{FAST: {"mapping": mapping}, f"{SLOW}/main": {"mapping": {"types": ["x_*"]}}})
    chosen_ones = [f"{FAST}/main", f"{SLOW}/main"]
    events = [file(tmp_path, event_data())]
    answer = preview(stack(), events, destination=chosen_ones, settings=path, offline=offline)
    by = {each["destination"]: each for each in answer.data}
    assert answer.exit_code is Exit.OK
    assert "shipped" in by[f"{FAST}/main"]["request"]["body"]
    assert '"channel":"web"' in by[f"{FAST}/main"]["request"]["body"]
    assert (by[f"{FAST}/main"]["request"]["url"].startswith(PROVIDERS[FAST].address)) is offline
    assert by[f"{SLOW}/main"]["request"] is None
    assert by[f"{SLOW}/main"]["skipped"] == "mapping.types does not have order_shipped"
    assert "does not go there" in shown(answer)


def test_settings_that_are_wrong_are_not_tried(tmp_path: Path) -> None:
    """Every error at its path; and a function cannot try them."""
    path = tried(tmp_path, **{FAST: {"mapping": {"drop": ["x"]}, "groups": 0}})
    with pytest.raises(CommandError, match=rf"{FAST}\.mapping\.drop\.x: .*") as caught:
        preview(stack(), [file(tmp_path, event_data())], settings=path, offline=True)
    assert f"{FAST}.groups: " in str(caught.value)
    with pytest.raises(CommandError, match="not both"):
        preview(stack(), [file(tmp_path, event_data())], settings=path, from_function=True)
