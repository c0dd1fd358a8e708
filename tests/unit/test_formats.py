"""What one release wrote another reads: in an upgrade and a rollback both meet. docs/upgrade.md promises it.

The samples are what the code of 2026-11-29 writes, word for word. They stay as they are: one that has to be changed
here is one that cannot be read any more in somebody's tables and queues.
"""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from relay.adapters.dynamodb import DynamoAccounts, DynamoLedger, read_account, read_record
from relay.errors import InvalidEventError
from relay.handlers.deliver import lane_message
from relay.handlers.envelope import open_record
from relay.ports import State, Window
from tests.kinds import FAST

HASH = "9f" * 32
NAME = f"{FAST}/main"
EVENT = {
    "id": "evt-1",
    "source": "quizapp",
    "type": "order_shipped",
    "occurred_at": "2026-11-22T10:00:00Z",
    "customer": {"email": "customer@example.com", "properties": {"tier": "gold"}},
    "properties": {"order_id": "A-1001", "total": 6.7},
    "destinations": [NAME],
}
MESSAGE: dict[str, Any] = {
    "messageId": "m-1",
    "receiptHandle": "r-1",
    "body": json.dumps(EVENT),
    "attributes": {"ApproximateReceiveCount": "2", "SentTimestamp": "1795341600123", "MessageGroupId": "main#1"},
    "messageAttributes": {
        "content_hash": {"stringValue": HASH, "dataType": "String"},
        "accepted_at": {"stringValue": "1795341599.500", "dataType": "String"},
        "correlation_id": {"stringValue": "corr-1", "dataType": "String"},
    },
}
DELIVERED: dict[str, Any] = {
    "event_id": {"S": "evt-1"},
    "destination": {"S": NAME},
    "content_hash": {"S": HASH},
    "version": {"S": "001795341600.000000 1795341599.500"},
    "state": {"S": "delivered"},
    "owner": {"S": "m-1@5c1d"},
    "message_id": {"S": "m-1"},
    "lease_until": {"N": "1795341630.0"},
    "accepted_at": {"N": "1795341600.123"},
    "ttl": {"N": "1797933600"},
    "claims": {"N": "0"},
    "state_before": {"S": "new"},
    "hash_before": {"S": "new"},
    "attempts": {"N": "3"},
    "unknowns": {"N": "1"},
    "delivered_hash": {"S": HASH},
    "delivered_version": {"S": "001795341600.000000 1795341599.500"},
    "outcome": {"S": "delivered"},
    "reason": {"S": "HTTP 200"},
    "status": {"N": "200"},
    "completed_at": {"N": "1795341601.25"},
    "strikes": {"N": "1"},
    "blame": {"N": "1.0"},
    "failed_at": {"N": "0.0"},
    "last_failed_at": {"N": "1795341591.0"},
}
WINDOWS = '[{"seconds":1.0,"documented":5,"limit":5,"share":4.8,"others":1,"turns":[17953416000000,2000]}]'
ACCOUNT: dict[str, Any] = {
    "destination": {"S": NAME},
    "version": {"N": "7"},
    "writer": {"S": "5c1d"},
    "windows": {"S": WINDOWS},
    "last_at": {"N": "0.0"},
    "rejections": {"N": "0.0"},
    "due": {"N": "0.0"},
    "burst": {"N": "0"},
    "calm": {"N": "0"},
    "patience": {"N": "0"},
    "quiet_until": {"N": "0.0"},
    "asked_until": {"N": "0.0"},
    "throttled": {"N": "2"},
    "throttled_at": {"N": "0.0"},
    "state": {"S": "open"},
    "until": {"N": "1795341700.5"},
    "why": {"S": "throttled"},
    "since": {"N": "0.0"},
    "probe": {"S": ""},
    "worked_at": {"N": "0.0"},
    "turned_away": {"L": []},
    "ttl": {"N": "1797933600"},
    "held": {"S": "they asked us to stop"},
}
LATER = {"colour": {"S": "red"}, "shapes": {"L": [{"S": "round"}, {"S": "flat"}]}, "since_when": {"N": "12"}}
"""What a later release may have added."""


def without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in item.items() if each != name}


@pytest.mark.parametrize("more", [{}, LATER], ids=["as written", "with more"])
def test_a_ledger_record_is_read(more: dict[str, Any]) -> None:
    """What decides whether an event is sent again is there; what is not known is passed over."""
    record = read_record({**DELIVERED, **more})
    assert record
    assert (record.state, record.delivered_hash) == ("delivered", HASH)
    assert record.delivered_version == record.version == "001795341600.000000 1795341599.500"
    assert (record.attempts, record.unknowns, record.status) == (3, 1, 200)
    assert (record.failure.strikes, record.failure.last_failed_at) == (1, 1795341591.0)
    assert (record.accepted_at, record.completed_at) == (1795341600.123, 1795341601.25)


@pytest.mark.parametrize(
    "missing", sorted(DELIVERED.keys() - {"event_id", "destination", "content_hash", "version", "state"})
)
def test_a_ledger_record_lacks_what_was_not_written_yet(missing: str) -> None:
    """Any but its key, its content and its state: the rest has a default."""
    record = read_record(without(DELIVERED, missing))
    assert record
    assert (record.state, record.content_hash) == ("delivered", HASH)


@pytest.mark.parametrize("more", [{}, LATER], ids=["as written", "with more"])
def test_an_account_s_record_is_read(more: dict[str, Any]) -> None:
    """The turns given out, what was learned, whether it works, an operator's hold."""
    record = read_account(NAME, {**ACCOUNT, **more})
    turns = ((1795341600.0, 1), (1795341600.2, 1))
    assert record.windows == (Window(1.0, 5, 5, 4.8, others=1, turns=turns),)
    assert (record.version, record.state, record.why, record.until) == (7, State.OPEN, "throttled", 1795341700.5)
    assert (record.throttled, record.held) == (2, "they asked us to stop")


def test_a_window_of_a_later_release_is_read() -> None:
    """What stands in it besides is passed over, too."""
    windows = {"S": WINDOWS.replace('"limit"', '"colour":"red","limit"')}
    assert read_account(NAME, {**ACCOUNT, "windows": windows}) == read_account(NAME, ACCOUNT)


@pytest.mark.parametrize("missing", sorted(ACCOUNT.keys() - {"destination"}))
def test_an_account_s_record_lacks_what_was_not_written_yet(missing: str) -> None:
    """Anything: an account that nothing is known of is sent to at its documented limit."""
    assert read_account(NAME, without(ACCOUNT, missing)).destination == NAME


def test_what_an_older_release_reads_is_still_written() -> None:
    """Each attribute of the samples, for whoever rolls back to the release that wrote them."""
    written: dict[str, set[str]] = {}

    def update(**call: Any) -> dict[str, Any]:
        names = re.findall(r"(#?\w+) = (?::|if_not_exists|list_append)", call["UpdateExpression"])
        found = written.setdefault(call["TableName"], set(call["Key"]))
        found |= {call["ExpressionAttributeNames"].get(name, name) for name in names}
        return {}

    client: Any = SimpleNamespace(update_item=update)
    record = read_record(DELIVERED)
    assert record
    DynamoLedger(client, "ledger").claim(record, now=1795341600.0, overrides=True)
    DynamoLedger(client, "ledger").settle(record)
    DynamoAccounts(client, "accounts").write(read_account(NAME, ACCOUNT))
    assert DELIVERED.keys() <= written["ledger"]
    # The hold is an operator's: no run writes it, and while it lasts the record has no end.
    assert ACCOUNT.keys() - {"held", "ttl"} <= written["accounts"]


def test_a_message_of_a_lane_is_read() -> None:
    """Its event, when it was accepted, its content, its account and group."""
    message = lane_message(SQSRecord(MESSAGE))
    assert (message.account, message.group, message.receives) == ("main", "main#1", 2)
    assert (message.content_hash, message.accepted_at, message.correlation_id) == (HASH, 1795341599.5, "corr-1")
    event = open_record(message.body)
    assert (event.id, event.type, event.destinations) == ("evt-1", "order_shipped", [NAME])


def test_a_message_s_attributes_may_be_more_or_fewer() -> None:
    """Another system writes none, a later release one that this one does not know."""
    bare = lane_message(SQSRecord({**MESSAGE, "messageAttributes": {}}))
    assert (bare.content_hash, bare.accepted_at, bare.correlation_id) == (None, None, "m-1")
    colour = {"colour": {"stringValue": "red", "dataType": "String"}}
    more = {**MESSAGE, "messageAttributes": {**MESSAGE["messageAttributes"], **colour}}
    assert lane_message(SQSRecord(more)) == lane_message(SQSRecord(MESSAGE))


def test_a_field_of_a_later_event_is_refused() -> None:
    """Why a new field comes in two releases, and is not rolled back over: it would be a dead letter."""
    with pytest.raises(InvalidEventError, match="colour"):
        open_record(json.dumps({**EVENT, "colour": "red"}))
