"""One look at a stack: how what AWS says is put together."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli.look import MOST_PAGES, Age, Look, Seen, find
from cli.stack import Lane, Relay, Where
from relay.adapters.dynamodb import _account_item, write_item
from relay.contract.destination import Destination
from relay.ports import AccountRecord, State
from relay.providers import PROVIDERS
from relay.settings import DeliverSettings
from tests.kinds import FAST, SLOW

NOW = 1_795_956_000.0
FASTS, SLOWS = (Destination.of(name, "main") for name in (FAST, SLOW))


MOST_AT_ONCE = 60
"""Items that DynamoDB gives at a time here: fewer than may be asked for."""


class Aws:
    """Answers for one stack. What is not set is empty."""

    def __init__(self) -> None:
        self.queues: dict[str, tuple[int, int, int]] = {}
        self.off: set[str] = set()
        self.accounts: list[dict[str, Any]] = []
        self.ledger: list[list[dict[str, Any]]] = [[]]
        self.records: list[dict[str, Any]] = []
        self.ages: dict[str, list[float]] = {}
        self.alarms: list[dict[str, Any]] = []
        self.refuses: set[str] = set()
        self.calls: list[str] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.refuses:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, name)

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:
        counts = self.queues.get(QueueUrl.rpartition("/")[2], (0, 0, 0))
        return {"Attributes": dict(zip(AttributeNames, map(str, counts), strict=True))}

    def list_event_source_mappings(self, FunctionName: str) -> Any:
        return {"EventSourceMappings": [{"State": "Disabled" if FunctionName in self.off else "Enabled"}]}

    def batch_get_item(self, RequestItems: Any) -> Any:
        self._called("batch_get_item")
        if "ledger" in RequestItems:
            return {"Responses": {"ledger": self.records}}
        keys = RequestItems["accounts"]["Keys"]
        given = [each for each in self.accounts if {"destination": each["destination"]} in keys[:MOST_AT_ONCE]]
        left = {"accounts": {"Keys": keys[MOST_AT_ONCE:]}} if len(keys) > MOST_AT_ONCE else {}
        return {"Responses": {"accounts": given}, "UnprocessedKeys": left}

    def get_metric_data(self, MetricDataQueries: Any, **_: Any) -> Any:
        self._called("get_metric_data")
        names = {each["Id"]: each["MetricStat"]["Metric"]["Dimensions"][0]["Value"] for each in MetricDataQueries}
        return {"MetricDataResults": [{"Id": key, "Values": self.ages.get(name, [])} for key, name in names.items()]}

    def get_paginator(self, name: str) -> Any:
        return SimpleNamespace(paginate=getattr(self, f"_{name}"))

    def _scan(self, TableName: str, **_: Any) -> Iterator[Any]:
        self._called(f"scan {TableName}")
        if TableName == "accounts":
            yield {"Items": self.accounts}
            return
        for number, items in enumerate(self.ledger, start=1):
            self.calls.append("page")
            yield {"Items": items, **({"LastEvaluatedKey": {}} if number < len(self.ledger) else {})}

    def _describe_alarms(self, AlarmNamePrefix: str, **_: Any) -> Iterator[Any]:
        self._called("describe_alarms")
        yield {"MetricAlarms": [each for each in self.alarms if each["AlarmName"].startswith(AlarmNamePrefix)]}


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture
def look(aws: Aws) -> Callable[[], Seen]:
    return Look(stack(aws), lambda: NOW)


def stack(aws: Aws) -> Relay:
    settings = {
        name: DeliverSettings(
            stage="dev",
            destinations=(FASTS, SLOWS),
            provider=name,
            base_url="https://api.example",
            queue_url="q",
            dead_letter_queue_url="d",
            ledger_table="ledger",
            accounts_table="accounts",
            letters_table="letters",
        )
        for name in PROVIDERS
    }
    relay = Relay(Where())
    relay.__dict__.update(
        **dict.fromkeys(("sqs", "dynamodb", "functions", "cloudwatch"), aws),
        outputs={
            "IntakeQueueUrl": "https://sqs/intake",
            "RejectedQueueUrl": "https://sqs/rejected",
            "IntakeFunctionName": "intake-function",
            "LedgerTableName": "ledger",
            "AccountsTableName": "accounts",
        },
        lanes={name: Lane(name, f"https://sqs/{name}", f"https://sqs/{name}-dead", f"{name}-f") for name in PROVIDERS},
        settings=settings,
        parameters={"LateAfterSeconds": "600"},
    )
    return relay


def item(name: Destination, **more: Any) -> dict[str, Any]:
    """An account's, as it stands in the table."""
    record = AccountRecord(name, version=3, **more)
    return {"destination": {"S": str(name)}, **write_item(_account_item(record))}


def record(event_id: str, destination: Destination, state: str = "open", **more: Any) -> dict[str, Any]:
    kept = {"event_id": event_id, "destination": str(destination), "content_hash": "h", "state": state, **more}
    return write_item(kept)


def test_what_waits_is_visible_hidden_or_delayed(aws: Aws, look: Callable[[], Seen]) -> None:
    """A deferred event is hidden; it waits all the same."""
    aws.queues = {FAST: (1, 20, 300), f"{FAST}-dead": (4, 1, 0), "intake": (7, 0, 0), "rejected": (9, 0, 0)}
    seen = look()
    assert (seen.lanes[FAST].queue.messages, seen.lanes[FAST].queue.visible, seen.lanes[FAST].given_up) == (321, 1, 5)
    assert (seen.intake.queue.messages, seen.intake.given_up, seen.late_after) == (7, 9, 600)


def test_accounts_are_those_configured_and_those_found(aws: Aws, look: Callable[[], Seen]) -> None:
    """What others keep beside the records is no account, nor is one of a provider that is gone."""
    other = Destination.of(SLOW, "other")
    aws.accounts = [
        item(SLOWS, held="they asked") | {"held_by": {"S": "ana"}, "held_until": {"N": str(NOW + 60)}},
        item(other),
        {"destination": {"S": f"{SLOW}/main seen"}},
        {"destination": {"S": "gone/main"}},
    ]
    seen = look()
    assert [each.destination for each in seen.accounts] == [FASTS, SLOWS, other]
    assert (seen.accounts[1].record.held_by, seen.accounts[1].record.held_until) == ("ana", NOW + 60)
    assert [each.is_known for each in seen.accounts] == [False, True, True]
    assert seen.accounts[0].record.windows[0].documented == PROVIDERS[FAST].limits[0].requests


def test_the_ledger_says_why_an_account_does_not_work(aws: Aws, look: Callable[[], Seen]) -> None:
    """Its record names events that did not get through; those that have since do not count."""
    aws.accounts = [item(SLOWS, state=State.OPEN, why="unauthorized", until=NOW + 9, turned_away=("e-1", "e-2"))]
    aws.records = [
        record("e-1", SLOWS, status=401, reason="HTTP 401", accepted_at=int(NOW - 205), completed_at=int(NOW - 9)),
        record("e-2", SLOWS, "delivered", status=200, accepted_at=int(NOW - 999), completed_at=int(NOW)),
        record("e-3", SLOWS, status=403, reason="HTTP 403", accepted_at=int(NOW - 60), completed_at=int(NOW - 99)),
    ]
    aws.queues = {SLOW: (1, 0, 0)}
    aws.ages = {SLOW: [12.0]}
    seen = look()
    assert seen.accounts[1].said == "HTTP 401"
    # SQS's own age passes over what was received three times.
    assert seen.lanes[SLOW].oldest == Age(205)
    assert "scan ledger" not in aws.calls


def test_nothing_is_asked_of_the_ledger_while_all_work(aws: Aws, look: Callable[[], Seen]) -> None:
    """A look is a few calls."""
    look()
    assert sorted(aws.calls) == ["describe_alarms", "get_metric_data", "scan accounts"]


def test_where_cloudwatch_knows_no_age_the_ledger_is_looked_through(aws: Aws, look: Callable[[], Seen]) -> None:
    """The oldest that was tried, for each destination; nothing where nothing was."""
    aws.queues = {FAST: (5, 0, 0), SLOW: (5, 0, 0)}
    aws.ledger = [[record("e-1", FASTS, accepted_at=int(NOW - 30)), record("e-2", FASTS, accepted_at=int(NOW - 60))]]
    seen = look()
    assert seen.lanes[FAST].oldest == Age(60)
    assert seen.lanes[SLOW].oldest is None


def test_a_large_ledger_is_looked_through_in_part(aws: Aws, look: Callable[[], Seen]) -> None:
    """Bounded, and what it says is the least."""
    aws.queues = {FAST: (5, 0, 0)}
    aws.ledger = [[record("e-1", FASTS, accepted_at=int(NOW - 30))]] * 9
    seen = look()
    assert aws.calls.count("page") == MOST_PAGES
    assert seen.lanes[FAST].oldest == Age(30, is_least=True)


def test_an_empty_lane_has_no_age(aws: Aws, look: Callable[[], Seen]) -> None:
    """A metric of minutes ago is none."""
    aws.ages = {FAST: [12.0], "intake": [12.0]}
    seen = look()
    assert (seen.lanes[FAST].oldest, seen.intake.oldest) == (None, None)


def test_alarms_that_ring_come_without_the_stack_s_prefix(aws: Aws, look: Callable[[], Seen]) -> None:
    """Another stack's do not come."""
    since = datetime.fromtimestamp(NOW - 60, UTC)
    names = (f"dev-customer-events-{FAST}-errors", "prod-customer-events-rejected")
    aws.alarms = [{"AlarmName": name, "AlarmDescription": "…", "StateUpdatedTimestamp": since} for name in names]
    assert [(each.name, each.since) for each in look().alarms] == [(f"{FAST}-errors", NOW - 60)]


def test_a_function_that_takes_nothing_is_seen(aws: Aws, look: Callable[[], Seen]) -> None:
    """Its event source mapping is disabled."""
    aws.off = {f"{SLOW}-f"}
    seen = look()
    assert [lane.is_on for lane in (seen.intake, seen.lanes[FAST], seen.lanes[SLOW])] == [True, True, False]


def test_what_somebody_may_not_see_is_said(aws: Aws, look: Callable[[], Seen]) -> None:
    """And the rest is shown."""
    aws.refuses = {"get_metric_data", "describe_alarms"}
    assert sorted(look().notes) == ["ages could not be read: AccessDenied", "alarms could not be read: AccessDenied"]


def test_who_looks_again_asks_for_metrics_no_more_often_than_they_change(aws: Aws) -> None:
    """They cost money, and have a value a minute."""
    now = [NOW]
    look = Look(stack(aws), lambda: now[0])
    for seconds in (0, 2, 29, 31):
        now[0] = NOW + seconds
        look()
    assert aws.calls.count("get_metric_data") == 2
    assert aws.calls.count("describe_alarms") == 4


def test_the_accounts_of_an_event_are_found_in_a_few_calls(aws: Aws) -> None:
    """GIVEN one for 200 destinations THEN all are there, also those that DynamoDB left for later, or does not know."""
    names = [Destination.of(SLOW, f"a-{number}") for number in range(199)]
    aws.accounts = [item(name) for name in names]
    found = find(stack(aws), [*names, FASTS, "gone/main"], NOW)
    assert [each.destination for each in found] == [*names, FASTS]
    assert [each.is_known for each in found] == [True] * 199 + [False]
    assert aws.calls.count("batch_get_item") == 4
