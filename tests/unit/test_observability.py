"""Logs and metrics: what a person and CloudWatch will see."""

import json
import logging
import re
from typing import Any

import pytest

from relay.delivery.batch import BatchReport
from relay.errors import FieldError, UnavailableError
from relay.intake.intake import Accepted, Failed, Rejected
from relay.observability import METRICS, DeliverObserver, IntakeObserver, silence_libraries
from relay.outcome import Outcome, Result
from tests.factories import EMAIL, PHONE

RESULT = Result(
    Outcome.DELIVERED,
    "HTTP 200",
    final=True,
    status=200,
    attempts=1,
    event_id="evt-1",
    destination="yotpo/main",
    correlation_id="corr-1",
    age=1.2345,
)


class Output:
    """What a function wrote to its standard output, as CloudWatch would read it."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self.text = captured.readouterr().out
        lines = [json.loads(line) for line in self.text.splitlines()]
        self.logs: list[dict[str, Any]] = [line for line in lines if "_aws" not in line]
        self.emf: list[dict[str, Any]] = [line for line in lines if "_aws" in line]

    @property
    def metrics(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for line in self.emf:
            for directive in line["_aws"]["CloudWatchMetrics"]:
                for metric in directive["Metrics"]:
                    found.setdefault(metric["Name"], []).extend(line[metric["Name"]])
        return found

    @property
    def dimensions(self) -> set[str]:
        return {
            name
            for line in self.emf
            for directive in line["_aws"]["CloudWatchMetrics"]
            for names in directive["Dimensions"]
            for name in names
        }


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "INFO")


# ------------------------------------------------------------------------------------------------ intake


def test_an_accepted_event(capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the ids and where it goes, one count."""
    observer = IntakeObserver()
    observer.saw(Accepted("evt-1", ("yotpo/main", "sender/main"), via="eventbridge, sqs"), "corr-1")
    observer.flush()
    output = Output(capsys)
    (line,) = output.logs
    assert (line["level"], line["service"]) == ("INFO", "intake")
    assert (line["event_id"], line["correlation_id"]) == ("evt-1", "corr-1")
    assert (line["destinations"], line["via"]) == (["yotpo/main", "sender/main"], "eventbridge, sqs")
    assert output.metrics == {"Accepted": [1], "IntakeAge": [0]}
    assert output.dimensions == {"service"}


def test_where_an_accepted_event_does_not_go(capsys: pytest.CaptureFixture[str]) -> None:
    """No warning: the same line says where it does not go and why, and each is counted."""
    observer = IntakeObserver()
    observer.saw(Accepted("evt-1", ("a/main",), skipped={"b/main": "why", "c/main": "why"}), "corr-1")
    observer.flush()
    output = Output(capsys)
    (line,) = output.logs
    assert (line["level"], line["message"]) == ("INFO", "accepted")
    assert (line["destinations"], line["skipped"]) == (["a/main"], {"b/main": "why", "c/main": "why"})
    assert output.metrics == {"Accepted": [1], "Skipped": [2], "IntakeAge": [0]}


def test_a_rejected_record(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning with every reason, another count."""
    observer = IntakeObserver()
    errors = (FieldError("type", "is required"), FieldError("value", "must be a number"))
    observer.saw(Rejected(None, errors, kept=True), "corr-1")
    observer.flush()
    output = Output(capsys)
    (line,) = output.logs
    assert line["level"] == "WARNING"
    assert line["reason"] == "type: is required; value: must be a number"
    assert line["kept"] is True
    assert output.metrics == {"RejectedEvents": [1], "IntakeAge": [0]}


@pytest.mark.parametrize("event_id", ["evt-1", None])
def test_a_record_that_failed_for_a_fault_of_ours(capsys: pytest.CaptureFixture[str], event_id: str | None) -> None:
    """A warning that says where and why, and the count that an alarm looks at: nothing else would tell anybody."""
    observer = IntakeObserver()
    observer.saw(Failed(event_id, UnavailableError("SQS, yotpo lane", code="AccessDenied"), 1.25), "corr-1")
    observer.flush()
    output = Output(capsys)
    (line,) = output.logs
    expected = {
        "level": "WARNING",
        "message": "not accepted",
        "event_id": event_id or "",
        "correlation_id": "corr-1",
        "failed_at": "SQS, yotpo lane",
        "code": "AccessDenied",
        "age": 1.25,
    }
    assert {name: line[name] for name in expected} == expected
    assert output.metrics == {"IntakeFailed": [1], "IntakeAge": [1.25]}
    assert [line["service"] for line in output.emf] == ["intake"]
    assert output.dimensions == {"service"}


def test_the_age_of_an_invocations_oldest_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted, rejected or failed; each invocation for itself."""
    observer = IntakeObserver()
    for verdict in (
        Accepted("a", (), 3.0),
        Failed("b", UnavailableError("SQS"), 700.5),
        Rejected("c", (), kept=True, age=12.0),
    ):
        observer.saw(verdict, "corr-1")
    observer.flush()
    observer.saw(Accepted("d", (), 2.0), "corr-1")
    observer.flush()
    output = Output(capsys)
    assert output.metrics["IntakeAge"] == [700.5, 2.0]
    units = [metric for metric in output.emf[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"] if "Age" in metric["Name"]]
    assert units == [{"Name": "IntakeAge", "Unit": "Seconds"}]


def test_more_records_than_a_metric_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """CloudWatch takes a hundred values of a metric at a time; a call may hold a thousand events."""
    observer = IntakeObserver()
    for number in range(1_000):
        observer.saw(Accepted(f"evt-{number}", ()), "corr-1")
    observer.flush()
    assert sum(Output(capsys).metrics["Accepted"]) == 1_000


@pytest.mark.parametrize("logger", [IntakeObserver, lambda: DeliverObserver("yotpo")], ids=["intake", "deliver"])
def test_times_are_as_lambda_reads_them(capsys: pytest.CaptureFixture[str], logger: Any) -> None:
    """RFC 3339: of any other, Lambda takes the line for INFO."""
    logger().logger.warning("x")
    (line,) = Output(capsys).logs
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["timestamp"])


def test_a_batch_is_one_flush(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts of a batch go out together, and nothing goes out for nothing."""
    observer = IntakeObserver()
    for number in range(10):
        observer.saw(Accepted(f"evt-{number}", ("yotpo/main",)), "corr-1")
    observer.flush()
    observer.flush()
    output = Output(capsys)
    assert len(output.emf) == 1
    assert sum(output.metrics["Accepted"]) == 10


@pytest.mark.parametrize("event_id", [EMAIL, PHONE, f"order of {EMAIL}", "a\ud800b", "a\nb\x1b[31m"])
def test_an_event_id_brings_nothing_personal(capsys: pytest.CaptureFixture[str], event_id: str) -> None:
    """Whatever a producer takes for an id, one line of JSON without addresses comes of it."""
    intake, deliver = IntakeObserver(), DeliverObserver("yotpo")
    intake.saw(Accepted(event_id, ()), "corr-1")
    intake.saw(Rejected(event_id, ()), "corr-1")
    intake.saw(Failed(event_id, UnavailableError("SQS")), "corr-1")
    deliver.results([Result(Outcome.DELIVERED, "", event_id=event_id)])
    output = Output(capsys)
    assert EMAIL not in output.text
    assert PHONE not in output.text
    output.text.encode()
    assert len(output.logs) == 4


# ------------------------------------------------------------------------------------------------ deliver


def test_a_delivery(capsys: pytest.CaptureFixture[str]) -> None:
    """One line with all that is known of it."""
    DeliverObserver("yotpo").results([RESULT])
    (line,) = Output(capsys).logs
    expected = {
        "level": "INFO",
        "service": "deliver-yotpo",
        "event_id": "evt-1",
        "destination": "yotpo/main",
        "outcome": "delivered",
        "correlation_id": "corr-1",
        "reason": "HTTP 200",
        "status": 200,
        "attempts": 1,
        "final": True,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["age"] == pytest.approx(1.23, abs=0.01)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_its_count(capsys: pytest.CaptureFixture[str], outcome: Outcome) -> None:
    """One metric per outcome, named as it is; what needs a person's eye is a warning."""
    DeliverObserver("sender").results([Result(outcome, "why", wait=300)])
    output = Output(capsys)
    assert output.metrics[METRICS[outcome]] == [1]
    assert METRICS[outcome] == str(outcome).capitalize()
    routine = outcome in {Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.THROTTLED}
    assert output.logs[0]["level"] == ("INFO" if routine else "WARNING")
    assert ("AccountHeld" in output.metrics) is (outcome is Outcome.UNAUTHORIZED)


def test_a_refusal_that_holds_nobody_is_no_held_account(capsys: pytest.CaptureFixture[str]) -> None:
    """One event refused while others get through rings no alarm for its account."""
    DeliverObserver("sender").results([Result(Outcome.UNAUTHORIZED, "why")])
    assert "AccountHeld" not in Output(capsys).metrics


@pytest.mark.parametrize("service", [None, "deliver-yotpo"])
def test_the_provider_is_the_only_dimension(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, service: str | None
) -> None:
    """No account, no event and no person in a dimension: only the function's own name may stand beside the provider."""
    if service:
        monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", service)
    observer = DeliverObserver("yotpo")
    observer.results([RESULT])
    observer.results([RESULT])
    output = Output(capsys)
    assert len(output.emf) == 2
    for line in output.emf:
        assert line["provider"] == "yotpo"
        assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "CustomerEventRelay"
    assert output.dimensions == ({"provider", "service"} if service else {"provider"})
    assert not {"evt-1", "yotpo/main", "main", "corr-1"} & {
        str(value) for line in output.emf for value in line.values()
    }


def test_the_age_of_the_oldest(capsys: pytest.CaptureFixture[str]) -> None:
    """SQS's own age metric forgets what was received three times; ours does not."""
    results = [Result(Outcome.DELIVERED, "", age=age) for age in (3.0, 700.5, 12.0)]
    DeliverObserver("yotpo").results(results)
    output = Output(capsys)
    assert output.metrics["DeliveryAge"] == [700.5]
    assert output.metrics["DeliveredAge"] == [3.0, 700.5, 12.0]
    assert output.emf[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"][-1]["Unit"] == "Seconds"


def test_an_event_that_came_late_is_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    """Delivered as any other, its line says by which rule of the provider's it may be for nothing."""
    DeliverObserver("yotpo").results([Result(Outcome.DELIVERED, "", late="it starts nothing once older than 12:00:00")])
    (line,) = Output(capsys).logs
    assert (line["level"], line["late"]) == ("WARNING", "it starts nothing once older than 12:00:00")


def test_history_has_no_age(capsys: pytest.CaptureFixture[str]) -> None:
    """It waits for hours behind live events, and no customer gets anything late for it; it is counted all the same."""
    observer = DeliverObserver("yotpo")
    observer.results([Result(Outcome.DELIVERED, "", age=40_000.0, backfill=True)])
    assert Output(capsys).metrics == {"Delivered": [1.0]}
    observer.results(
        [Result(Outcome.DELIVERED, "", age=3.0), Result(Outcome.DELIVERED, "", age=40_000.0, backfill=True)]
    )
    output = Output(capsys)
    assert (output.metrics["DeliveryAge"], output.metrics["DeliveredAge"]) == ([3.0], [3.0])


def test_what_was_not_delivered_has_no_age_at_delivery(capsys: pytest.CaptureFixture[str]) -> None:
    """An event that fails for days must not pass for one that came late, nor a repeat for one that came soon."""
    results = [Result(outcome, "", age=9.0) for outcome in Outcome if outcome is not Outcome.DELIVERED]
    DeliverObserver("yotpo").results(results)
    assert "DeliveredAge" not in Output(capsys).metrics


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, False),
        ({"internal": True}, True),
        ({"unrecorded": True}, True),
        ({"internal": True, "unrecorded": True}, True),
    ],
)
def test_a_fault_of_our_own_is_counted(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], counted: bool
) -> None:
    """Once for an event, beside its outcome: a provider that fails is none, a table that does not answer is."""
    DeliverObserver("yotpo").results([Result(Outcome.RETRY, "", **changes)])
    output = Output(capsys)
    assert output.metrics.get("OwnFault", []) == [1] * counted
    assert output.metrics["Retry"] == [1]


def test_the_pace_of_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """In percent; nothing where no account was asked for a turn, and no line of its own where nothing came of it."""
    observer = DeliverObserver("yotpo")
    observer.saw(BatchReport([], [RESULT], {}, pace_used=0.9826))
    observer.saw(BatchReport([], [RESULT], {}))
    observer.saw(BatchReport(["m-1"], [], {"yotpo/main": 30.0}, pace_used=1.0))
    observer.saw(BatchReport([], [RESULT], {}, pace_used=0.0))
    output = Output(capsys)
    assert output.metrics["PaceUsed"] == [98.3, 0.0]
    assert len(output.emf) == 3
    units = {metric["Name"]: metric["Unit"] for metric in output.emf[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert units["PaceUsed"] == "Percent"


def test_a_crash_is_counted_as_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    """An attempt that vanished between its post and its record is counted besides what comes of it now."""
    observer = DeliverObserver("sender")
    observer.results([Result(Outcome.DELIVERED, "", crashed=1)])
    output = Output(capsys)
    assert (output.metrics["Delivered"], output.metrics["Unknown"]) == ([1], [1])
    observer.results([Result(Outcome.UNKNOWN, "", crashed=1)])
    assert Output(capsys).metrics["Unknown"] == [2]


@pytest.mark.parametrize(
    ("outcome", "crashed", "unknowns"),
    [(Outcome.DELIVERED, 0, 0), (Outcome.RETRY, 3, 3), (Outcome.UNKNOWN, 0, 1), (Outcome.UNKNOWN, 3, 4)],
)
def test_crashes_in_a_row_count_as_many(
    capsys: pytest.CaptureFixture[str], outcome: Outcome, crashed: int, unknowns: int
) -> None:
    """Each attempt that vanished, and the present one if it is unknown, too; the log says how many."""
    DeliverObserver("sender").results([Result(outcome, "", crashed=crashed)])
    output = Output(capsys)
    assert sum(output.metrics.get("Unknown", [])) == unknowns
    assert output.logs[0]["crashed_before"] == crashed


def test_a_batch_with_deferrals(capsys: pytest.CaptureFixture[str]) -> None:
    """Deferrals are logged with their seconds, and what SQS would not hide is a warning."""
    report = BatchReport(
        failed=["m-1", "m-2"], results=[RESULT], deferred={"yotpo/main": 30.0}, not_hidden=1, abandoned=2
    )
    DeliverObserver("yotpo").saw(report)
    logs = Output(capsys).logs
    (deferred,) = [line for line in logs if line["message"] == "deferred"]
    assert (deferred["destination"], deferred["seconds"]) == ("yotpo/main", 30.0)
    (trouble,) = [line for line in logs if "not_hidden" in line]
    assert (trouble["level"], trouble["not_hidden"], trouble["abandoned"]) == ("WARNING", 1, 2)


def test_a_batch_of_an_account_in_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    """Its deferral says why; what could not be noted is a warning."""
    why = "held by Ann: they asked us to stop"
    report = BatchReport(
        failed=["m-1"], results=[], deferred={"yotpo/main": 60.0}, troubles={"yotpo/main": why}, not_noted=1
    )
    DeliverObserver("yotpo").saw(report)
    logs = Output(capsys).logs
    (deferred,) = [line for line in logs if line["message"] == "deferred"]
    assert (deferred["destination"], deferred["seconds"], deferred["reason"]) == ("yotpo/main", 60.0, why)
    (trouble,) = [line for line in logs if "not_noted" in line]
    assert (trouble["level"], trouble["not_noted"]) == ("WARNING", 1)


def test_a_batch_without_results_has_no_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing happened to any event: no age, no count, no warning of Powertools."""
    DeliverObserver("yotpo").saw(BatchReport(failed=["m-1"], results=[], deferred={"yotpo/main": 30.0}))
    output = Output(capsys)
    assert output.emf == []
    assert all(line["level"] == "INFO" for line in output.logs)


def test_logs_are_quiet_where_they_are_told_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack's LogLevel counts; metrics go out all the same."""
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "ERROR")
    DeliverObserver("yotpo").results([RESULT])
    output = Output(capsys)
    assert output.logs == []
    assert output.metrics["Delivered"] == [1]


def test_libraries_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Not even what it calls critical: it writes whole URLs."""
    silence_libraries()
    for name in ("urllib3", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
        logging.getLogger(name).critical("https://api.example.com/?access_token=secret")
    assert caplog.text == ""
