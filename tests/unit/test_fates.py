"""What `make invoke` tells of an event is what the functions logged of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.fates import NOT_SEEN, ON_THE_WAY, Fate, Watch, expected_ids
from local.invoke import NotTakenError, function_for
from tests.factories import event_data, event_json, eventbridge, sns

OUTPUTS = {
    "IntakeFunctionName": "intake",
    "YotpoFunctionName": "yotpo",
    "SenderFunctionName": "sender",
    "YotpoQueueUrl": "x",
}


def logged(log: Path, **fields: Any) -> None:
    """A function writes a line."""
    with log.open("a") as lines:
        lines.write(
            json.dumps({"level": "INFO", "correlation_id": "c-1", "event_id": "evt-1", **fields}, separators=(",", ":"))
            + "\n"
        )


def accepted(log: Path, **fields: Any) -> None:
    logged(log, message="accepted", service="intake", **{"destinations": ["yotpo/main"], **fields})


def attempted(log: Path, outcome: str, **fields: Any) -> None:
    line = {"destination": "yotpo/main", "final": True, "reason": "", "detail": "", "attempts": 1}
    logged(log, message=outcome, service="deliver-yotpo", outcome=outcome, age=0.5, **{**line, **fields})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "emulator.log"
    path.write_text("")
    return path


def fates(watch: Watch, *event_ids: str) -> list[tuple[str, str | None, str]]:
    return [(one.event_id, one.destination, one.outcome) for one in watch.until_ended(event_ids or ("evt-1",), 0)]


def test_an_event_ends_with_its_last_attempt(log: Path) -> None:
    """GIVEN a failure and then a delivery WHEN looked at THEN the delivery counts."""
    watch = Watch(log)
    accepted(log)
    attempted(log, "retry", final=False)
    assert fates(watch) == [("evt-1", "yotpo/main", "retry")]
    attempted(log, "delivered", attempts=2)
    assert fates(watch) == [("evt-1", "yotpo/main", "delivered")]


def test_what_intake_could_not_take_in_is_told_of_when_it_comes_again(log: Path) -> None:
    """GIVEN a fault of ours at first THEN it is no end of the event, whose acceptance counts."""
    watch = Watch(log)
    logged(log, message="not accepted", service="intake", failed_at="SQS, yotpo lane", code="InternalError")
    assert fates(watch) == [("evt-1", None, NOT_SEEN)]
    accepted(log)
    attempted(log, "delivered")
    assert fates(watch) == [("evt-1", "yotpo/main", "delivered")]


def test_where_an_event_does_not_go_it_is_at_its_end(log: Path) -> None:
    """GIVEN a destination whose mapping skips it THEN that is told, is final, and is no failure."""
    watch = Watch(log)
    accepted(log, destinations=[], skipped={"yotpo/main": "mapping.require is not true"})
    assert fates(watch) == [("evt-1", "yotpo/main", "skipped")]
    assert all(one.fine for one in watch.until_ended(("evt-1",), 0))


def test_what_was_logged_before_does_not_count(log: Path) -> None:
    """GIVEN the same event of an hour ago WHEN looked at THEN nothing is known of today's."""
    accepted(log)
    attempted(log, "delivered")
    assert fates(Watch(log)) == [("evt-1", None, NOT_SEEN)]


def test_an_event_of_the_same_id_is_told_apart_by_its_record(log: Path) -> None:
    """GIVEN an event twice in one batch WHEN one is delivered THEN the other is still on the way."""
    watch = Watch(log)
    accepted(log, correlation_id="c-1")
    accepted(log, correlation_id="c-2")
    attempted(log, "delivered", correlation_id="c-2")
    assert fates(watch, "evt-1", "evt-1") == [
        ("evt-1", "yotpo/main", ON_THE_WAY),
        ("evt-1", "yotpo/main", "delivered"),
    ]


def test_half_a_line_is_read_when_it_is_whole(log: Path) -> None:
    """GIVEN a line under way WHEN looked at THEN it counts once it has its end."""
    watch = Watch(log)
    accepted(log)
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    assert fates(watch) == [("evt-1", None, NOT_SEEN)]
    log.write_bytes(whole)
    assert fates(watch) == [("evt-1", "yotpo/main", ON_THE_WAY)]


def test_a_rejected_record_has_its_reason(log: Path) -> None:
    """GIVEN a record that cannot be read WHEN rejected THEN its reason is told, without an id."""
    watch = Watch(log)
    logged(log, message="rejected", service="intake", event_id="", reason="body: is not JSON")
    [fate] = watch.until_ended([""], 0)
    assert fate == Fate("", None, "rejected", reason="body: is not JSON")
    assert not fate.fine


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (event_data(), ["evt-1"]),
        ({"events": [event_data(), event_data(id="evt-2")]}, ["evt-1", "evt-2"]),
        ({"events": []}, []),
        (eventbridge(event_data()), ["evt-1"]),
        (
            {"Records": [{"body": event_json()}, {"body": "{"}, {"body": json.dumps(sns(event_data()))}]},
            ["evt-1", "", "evt-1"],
        ),
        (event_data(id="ada@example.com"), ["***"]),
        (event_data(id=..., priority=1), [""]),
    ],
)
def test_the_ids_are_those_of_the_log(content: Any, ids: list[str]) -> None:
    """GIVEN what intake is handed WHEN its events are listed THEN each has the id that intake's log will have."""
    assert [one if one in ("evt-1", "evt-2", "") else "***" for one in expected_ids(content)] == ids
    assert "ada@example.com" not in expected_ids(content)


@pytest.mark.parametrize("destination", ["nobody/main", "intake/main", "yotpoqueue/main", "", 7, None])
def test_no_function_is_found_for_a_provider_that_is_not_there(destination: Any) -> None:
    """GIVEN a provider without a function WHEN looked up THEN no other's is called, and the error names those there."""
    with pytest.raises(NotTakenError, match="the providers are yotpo, sender"):
        function_for({"destination": destination, "event": event_data()}, OUTPUTS)
