"""What the functions logged of an event, by either way of reading it."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli.logs import MOST_LINES, lines_about
from cli.stack import Lane
from tests.kinds import FAST

NOW = 1_795_956_000.0


def line(event_id: str = "e-1", second: int = 0, **fields: Any) -> str:
    stamp = f"2026-11-29T12:51:{second:02}.425+00:00"
    return json.dumps({"timestamp": stamp, "service": "intake", "event_id": event_id, **fields})


class Logs:
    """CloudWatch Logs: what Insights answers, one after the other, and the lines of each group as they are."""

    def __init__(self, answers: list[Any] | None = None, groups: dict[str, list[str]] | None = None) -> None:
        self.answers = answers or []
        self.groups = groups or {}
        self.asked: list[dict[str, Any]] = []
        self.stopped = 0

    def start_query(self, **given: Any) -> dict[str, str]:
        self.asked.append(given)
        if self.answers and isinstance(self.answers[0], Exception):
            raise self.answers[0]
        return {"queryId": "q-1"}

    def get_query_results(self, queryId: str) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def stop_query(self, queryId: str) -> None:
        self.stopped += 1

    def get_paginator(self, name: str) -> Any:
        assert name == "filter_log_events"
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, logGroupName: str, **given: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(given)
        for text in self.groups.get(logGroupName, []):
            yield {"events": [{"message": text}], "nextToken": "more"}
        yield {"events": []}


def found(status: str, *lines: str) -> dict[str, Any]:
    rows = [[{"field": "@message", "value": text}, {"field": "@ptr", "value": "p"}] for text in lines]
    return {"status": status, "results": rows}


def relay(logs: Logs, stage: str = "dev") -> Any:
    lanes = {FAST: Lane(FAST, "", "", "deliver-fast")}
    return SimpleNamespace(logs=logs, stage=stage, lanes=lanes, outputs={"IntakeFunctionName": "intake"})


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_insights_reads_all_logs_at_once() -> None:
    """Asked until it has done; in order of time; what only looks like the event is left out."""
    answer = found(
        "Complete", line(second=9), line(second=5), line("e-10"), "START RequestId", "[]", '{"event_id": "e-1"}'
    )
    logs = Logs([found("Scheduled"), found("Running"), answer])
    told = lines_about(relay(logs), "e-1", NOW, lambda: NOW + 60)
    assert [each.said["timestamp"][17:19] for each in told.lines] == ["05", "09"]
    assert told.gap == ""
    (asked,) = logs.asked
    assert asked["logGroupNames"] == ["/aws/lambda/intake", "/aws/lambda/deliver-fast"]
    assert (asked["startTime"], asked["endTime"]) == (NOW, NOW + 61)


def test_an_id_cannot_change_the_query() -> None:
    """It is one text in it, whatever it holds."""
    logs = Logs([found("Complete")])
    lines_about(relay(logs), 'a" or 1 = 1 | "\\', NOW)
    assert r'filter event_id = "a\" or 1 = 1 | \"\\" | sort' in logs.asked[0]["queryString"]


def test_what_insights_could_not_read_is_said() -> None:
    """GIVEN a query that fails, or more lines than it gives THEN nobody takes it for all there is."""
    assert lines_about(relay(Logs([found("Timeout", line())])), "e-1", NOW).gap == "the log was read in part: timeout"
    many = found("Complete", *[line()] * MOST_LINES)
    assert str(MOST_LINES) in lines_about(relay(Logs([many])), "e-1", NOW).gap


def test_a_query_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has found by then is shown."""
    monkeypatch.setattr("cli.logs.INSIGHTS_SECONDS", -1.0)
    logs = Logs([found("Running", line())])
    told = lines_about(relay(logs), "e-1", NOW)
    assert (len(told.lines), told.gap, logs.stopped) == (1, "the log was read in part: running", 1)


def test_where_insights_is_refused_the_logs_are_read_line_by_line() -> None:
    """It says so, and finds the same."""
    refusal = ClientError({"Error": {"Code": "AccessDeniedException"}}, "StartQuery")
    logs = Logs([refusal], {"/aws/lambda/intake": [line()], "/aws/lambda/deliver-fast": [line(second=3)]})
    told = lines_about(relay(logs), "e-1", NOW)
    assert len(told.lines) == 2
    assert told.gap == "Logs Insights refused: AccessDeniedException"


def test_on_one_machine_there_is_no_insights() -> None:
    """The lines are looked for by the longest part of the id that JSON writes as it is."""
    logs = Logs(groups={"/aws/lambda/intake": [line('order "7" 1234'), line("1234")]})
    told = lines_about(relay(logs, "local"), 'order "7" 1234', NOW)
    assert len(told.lines) == 1
    assert {asked["filterPattern"] for asked in logs.asked} == {'"order"'}
    assert {asked["startTime"] for asked in logs.asked} == {NOW * 1000}


def test_a_log_that_is_too_long_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so."""
    monkeypatch.setattr("cli.logs.FILTER_SECONDS", -1.0)
    logs = Logs(groups={"/aws/lambda/intake": [line(), line(second=1)]})
    told = lines_about(relay(logs, "local"), "e-1", NOW)
    assert len(told.lines) == 1
    assert told.gap.startswith("/aws/lambda/intake was read in part")


def test_an_id_that_may_be_personal_is_not_looked_for() -> None:
    """The logs have it masked, like every other: its lines are anybody's."""
    told = lines_about(relay(Logs()), "someone@customers.example", NOW)
    assert (told.lines, "mask" in told.gap) == ((), True)
