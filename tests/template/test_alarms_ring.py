"""Each alarm can ring: what has to happen for it, what just does not do, and that its metric is really written."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.machine import free_port
from relay.adapters.http import CONNECT_SECONDS, READ_SECONDS
from relay.delivery.services import LONGEST_WAIT, RESERVE
from relay.observability import DeliverObserver
from relay.outcome import Outcome, Result
from relay.providers import PROVIDERS
from relay.wiring.intake import intake
from tests.factories import DESTINATIONS, event_json, sqs_batch, sqs_record
from tests.fakes import FakeContext
from tests.template.cloudwatch import FARTHER_BACK, Period, rings
from tests.template.stack import Stack, measured

type Periods = list[Period]

HOUR, DAY = 3600, 86400
LATE = 4 * HOUR
"""LateAfterSeconds where nothing is said."""

INTAKE: dict[str, tuple[Periods, Periods]] = {
    # name: after which periods it rings, after which it does not. Oldest first; a period holds what was measured.
    "intake-failed": ([[0], [1]], [[0], [0]]),
    "intake-age": ([[20, 900]], [[20, 899]]),
    "intake-queue-age": ([[900]], [[899, 899]]),
    "intake-errors": ([[0, 0, 1, 0]], [[0, 0]]),
    "intake-throttles": ([[1], [0], [0, 7]], [[0], [0], [700]]),
    "intake-near-timeout": ([[900, 27_000], [900], [], [28_000], [900], [29_000]], [[30_000], [30_000], [26_999]]),
    "intake-not-kept": ([[1]], [[0]]),
    "bus-not-kept": ([[1]], [[0]]),
    "rejected": ([[0, 1, 1]], [[0, 0]]),
    "rejected-age": ([[5 * DAY]], [[5 * DAY - 1]]),
}
LANE: dict[str, tuple[Periods, Periods]] = {
    "dead-letters": ([[0, 1]], [[0]]),
    "dead-letters-age": ([[10 * DAY]], [[10 * DAY - 1]]),
    # A quarter of an hour without a try, while the account is held, does not put it off.
    "held": ([[1], []], [[0], []]),
    "delivery-age": ([[LATE]] * 3, [[LATE], [LATE], [LATE - 1]]),
    "queue-age": ([[LATE]], [[LATE - 1]]),
    "queue-depth": ([[100_000]], [[99_999]]),
    "errors": ([[1]], [[0]]),
    "throttles": ([[1], [0], [1]], [[1], [0], [0]]),
    "near-timeout": ([[2_000, 27_000], [900], [], [28_000], [900], [29_000]], [[30_000], [30_000], [26_999]]),
    # MaximumConcurrency, where nothing is said.
    "concurrency": ([*[[10]] * 15], [*[[10]] * 14, [9]]),
    # A quarter of an hour without a try, while the account backs off, does not put it off.
    "own-fault": ([[1], []], [[0], []]),
    "standstill": (
        [{"waiting": 3, "hidden": 10}, {"hidden": 1}, *[{"waiting": 0, "hidden": 8, "ended": 0}] * 4],
        [*[{"waiting": 3, "hidden": 10}] * 5, {"waiting": 120_000, "hidden": 10, "ended": 1}],
    ),
}
RULES = INTAKE | {f"{provider}-{name}": rule for provider in PROVIDERS for name, rule in LANE.items()}

AWS = {
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): ["QueueName"],
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ["QueueName"],
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible"): ["QueueName"],
    ("AWS/SQS", "NumberOfMessagesDeleted"): ["QueueName"],
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    ("AWS/Lambda", "Errors"): ["FunctionName"],
    ("AWS/Lambda", "Throttles"): ["FunctionName"],
    ("AWS/Lambda", "Duration"): ["FunctionName"],
    ("AWS/Lambda", "ConcurrentExecutions"): ["FunctionName"],
    ("AWS/Lambda", "DestinationDeliveryFailures"): ["FunctionName"],
    # Both, for a bus that is not the default one: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    ("AWS/Events", "InvocationsFailedToBeSentToDlq"): ["EventBusName", "RuleName"],
}
"""The metrics of AWS that alarms use, each with the dimensions it is asked for by."""


def named(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    for alarm in stack.alarms.values():
        yield alarm["AlarmName"]["Fn::Sub"].removeprefix("${Stage}-customer-events-"), alarm


def threshold(stack: Stack, alarm: dict[str, Any]) -> float:
    given = alarm["Threshold"]
    return float(stack.parameters[given["Ref"]]["Default"] if isinstance(given, dict) else given)


def test_every_alarm_has_a_row(stack: Stack) -> None:
    """No alarm goes untried, and no row is about an alarm that is gone."""
    assert sorted(name for name, _ in named(stack)) == sorted(RULES)


@pytest.mark.parametrize("name", RULES)
def test_an_alarm_rings_when_it_should(stack: Stack, name: str) -> None:
    """GIVEN what it is there for THEN it is on; just below, and in silence, it is off."""
    alarm = dict(named(stack))[name]
    loud, quiet = RULES[name]
    assert rings(alarm, threshold(stack, alarm), loud)
    assert not rings(alarm, threshold(stack, alarm), quiet)
    assert not rings(alarm, threshold(stack, alarm), [[]] * 10)


@pytest.mark.parametrize("name", RULES)
def test_an_alarm_goes_off_again(stack: Stack, name: str) -> None:
    """GIVEN an alarm that is on WHEN nothing is measured any more THEN it is off once it looks at nothing else."""
    alarm = dict(named(stack))[name]
    silence: Periods = [[]] * (alarm["EvaluationPeriods"] + FARTHER_BACK)
    assert not rings(alarm, threshold(stack, alarm), [*RULES[name][0], *silence])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("ended", [{}, {"ended": 0.0}])
def test_an_empty_lane_is_no_standstill(stack: Stack, provider: str, ended: dict[str, float]) -> None:
    """Nothing waits, so nothing has to end."""
    alarm = dict(named(stack))[f"{provider}-standstill"]
    assert not rings(alarm, 1, [{"waiting": 0.0, **ended}] * 10)


def test_a_run_that_is_nearly_cut_off_is_no_ordinary_one(stack: Stack) -> None:
    """A batch begins nothing that its timeout might cut off; so answers that take five seconds do not come near the
    alarm, and it is on before Lambda ends a run.
    """
    seconds = stack.globals["Timeout"]
    longest = LONGEST_WAIT + CONNECT_SECONDS + READ_SECONDS + RESERVE
    ordinary = seconds - longest + LONGEST_WAIT + 5 + RESERVE
    limits = [threshold(stack, alarm) / 1000 for name, alarm in named(stack) if name.endswith("near-timeout")]
    assert len(limits) == 1 + len(PROVIDERS)
    assert all(ordinary < limit < seconds for limit in limits)


def test_a_lane_is_not_late_for_one_event(stack: Stack) -> None:
    """One old event among twenty, a redriven dead letter say, is no lane that is late; a fifth of them is."""
    for provider in PROVIDERS:
        alarm = dict(named(stack))[f"{provider}-delivery-age"]
        assert not rings(alarm, LATE, [[LATE] + [1.0] * 19] * 3)
        assert rings(alarm, LATE, [[LATE] * 4 + [1.0] * 16] * 3)


@pytest.mark.parametrize(
    ("most", "points", "on"),
    [
        # The documentation's own tables, column NOT BREACHING: three periods evaluated, five looked at.
        (3, "0 - X - X", False),
        (3, "0 - - - -", False),
        (3, "- - - - -", False),
        (3, "0 X X - X", True),
        (3, "- - X - -", False),
        (2, "0 - X - X", True),
        (2, "0 0 X 0 X", True),
        (2, "0 - X - -", False),
        (2, "- - - - 0", False),
        (2, "- - - X -", False),
    ],
)
def test_the_rule_is_cloudwatch_s(most: int, points: str, on: bool) -> None:
    """What evaluates the alarms here agrees with AWS's examples."""
    alarm = {
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": most,
        "Statistic": "Maximum",
    }
    periods: Periods = [{"0": [0.0], "X": [1.0], "-": []}[point] for point in points.split()]
    assert rings(alarm, 1, periods) is on


# ---------------------------------------------------------------------------------------------- what is written


@pytest.mark.long
def test_alarms_on_aws_s_metrics_ask_for_what_aws_writes(stack: Stack) -> None:
    """A metric that exists, by the dimensions that it has, of a queue, a function or the rule of this stack."""
    (rule,) = stack.of("AWS::Events::Rule").values()
    values: dict[str, list[Any]] = {
        "QueueName": [{"Fn::GetAtt": [queue, "QueueName"]} for queue in stack.queues],
        "FunctionName": [{"Ref": function} for function in stack.functions],
        "EventBusName": [rule["EventBusName"]],
        "RuleName": [rule["Name"]],
    }
    for name, alarm in named(stack):
        for metric in measured(alarm):
            if isinstance(metric["Namespace"], str):
                dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
                assert AWS[metric["Namespace"], metric["MetricName"]] == list(dimensions), name
                assert all(value in values[dimension] for dimension, value in dimensions.items()), name


def test_alarms_on_intake_s_metrics_ask_for_what_it_writes(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """WHEN SQS cannot be reached THEN what intake writes holds each metric that its alarms ask for."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name, value in {
        "AWS_ENDPOINT_URL": nowhere,
        "POWERTOOLS_METRICS_NAMESPACE": namespace(stack, "IntakeFunction"),
        "RELAY_STAGE": "dev",
        "RELAY_DESTINATIONS": ",".join(DESTINATIONS),
        "RELAY_LANES": json.dumps({provider: f"{nowhere}/{provider}.fifo" for provider in PROVIDERS}),
        "RELAY_REJECTED_QUEUE_URL": f"{nowhere}/rejected",
        "RELAY_LETTERS_TABLE": "letters",
    }.items():
        monkeypatch.setenv(name, value)
    assert intake().handle(sqs_batch(sqs_record(event_json())), FakeContext())["batchItemFailures"]
    written = metrics(capsys.readouterr().out)
    assert asked(stack, "service", "intake") == {name for name in written if name[1] in ("IntakeFailed", "IntakeAge")}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_alarms_on_deliver_s_metrics_ask_for_what_it_writes(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], provider: str
) -> None:
    """WHEN an account is held, or a table is away THEN what deliver writes holds each metric that its lane's alarms ask
    for.
    """
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", namespace(stack, f"{provider.capitalize()}Function"))
    away = Result(Outcome.RETRY, "DynamoDB unavailable", internal=True)
    DeliverObserver(provider).results([Result(Outcome.UNAUTHORIZED, "why", wait=300.0, age=9.0), away])
    written = metrics(capsys.readouterr().out)
    asked_for = {"AccountHeld", "DeliveryAge", "OwnFault"}
    assert asked(stack, "provider", provider) == {name for name in written if name[1] in asked_for}


def test_every_alarm_is_on_a_metric_that_is_looked_at_here(stack: Stack) -> None:
    """AWS's, intake's or a lane's: there is no fourth kind."""
    ours = [asked(stack, "service", "intake"), *(asked(stack, "provider", provider) for provider in PROVIDERS)]
    theirs = [name for name, alarm in named(stack) if all(isinstance(one["Namespace"], str) for one in measured(alarm))]
    assert len(theirs) + sum(map(len, ours)) == len(stack.alarms)


type Metric = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name, dimensions."""


def namespace(stack: Stack, function: str) -> str:
    """What the stage dev gives a function."""
    return str(stack.environment(function)["POWERTOOLS_METRICS_NAMESPACE"]["Fn::Sub"]).replace("${Stage}", "dev")


def asked(stack: Stack, dimension: str, value: str) -> set[Metric]:
    """Our own metrics of that one dimension that alarms ask for, in the stage dev."""
    return {
        (one["Namespace"]["Fn::Sub"].replace("${Stage}", "dev"), one["MetricName"], frozenset({(dimension, value)}))
        for alarm in stack.alarms.values()
        for one in measured(alarm)
        if not isinstance(one["Namespace"], str) and one["Dimensions"] == [{"Name": dimension, "Value": value}]
    }


def metrics(output: str) -> set[Metric]:
    """A function's metrics, as CloudWatch extracts them from its log."""
    return {
        (directive["Namespace"], metric["Name"], frozenset((name, line[name]) for name in names))
        for line in map(json.loads, output.splitlines())
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for names in directive["Dimensions"]
        for metric in directive["Metrics"]
    }
