"""The index of dead letters and rejects, on emulators of AWS: what is in a queue was in it before."""

import time
from dataclasses import replace
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer

from relay.adapters.dynamodb import KEEP_LETTERS_SECONDS, LONGEST_BODY, DynamoLetters
from relay.adapters.sqs import SqsIntakeQueues, SqsLaneQueue
from relay.contract.destination import Destination
from relay.errors import UnavailableError
from relay.ports import MOST_BYTES, DeadLetter, RejectedRecord
from tests.contract.conftest import Aws
from tests.contract.test_aws import attributes, letter, nowhere
from tests.factories import NOW, event_json
from tests.kinds import FAST

pytestmark = pytest.mark.emulator

REJECT = RejectedRecord("{", "body: is no JSON", "", NOW, letter="m-9")


def items(aws: Aws) -> dict[str, dict[str, Any]]:
    """What the index holds, by letter."""
    read = TypeDeserializer().deserialize
    found = aws.dynamodb.scan(TableName=aws.letters, ConsistentRead=True)["Items"]
    return {item["letter"]["S"]: {name: read(value) for name, value in item.items()} for item in found}


def index(aws: Aws, now: float = NOW) -> DynamoLetters:
    return DynamoLetters(aws.dynamodb, aws.letters, lambda: now)


def waiting(aws: Aws, lane: str) -> list[dict[str, Any]]:
    """The waiting letters of a lane, the oldest first, as a list of them is read."""
    reply = aws.dynamodb.query(
        TableName=aws.letters,
        IndexName="lane",
        KeyConditionExpression="lane = :lane",
        ExpressionAttributeValues={":lane": {"S": lane}},
    )
    read = TypeDeserializer().deserialize
    return [{name: read(value) for name, value in item.items()} for item in reply["Items"]]


def test_a_dead_letter_is_in_the_index_and_in_its_queue(aws: Aws) -> None:
    """GIVEN an event that is given up THEN its item has all that its message has, and the message names it."""
    given = letter(event_type="order_shipped", group="main#2")
    SqsLaneQueue(aws.sqs, aws.lanes[FAST], aws.dead_letters, index(aws)).give_up(given)
    (message,) = aws.receive(aws.dead_letters)
    (item,) = items(aws).values()
    assert attributes(message)["letter"] == item["letter"] == "m-1"
    assert item == {
        "letter": "m-1",
        "lane": given.destination.provider,
        "at": pytest.approx(NOW),
        "state": "waiting",
        "ttl": int(NOW) + KEEP_LETTERS_SECONDS,
        "body": event_json(),
        "reason": "HTTP 422: bad",
        "destination": given.destination,
        "event_id": "evt-1",
        "event_type": "order_shipped",
        "status": 422,
        "attempts": 3,
        "content_hash": "0" * 64,
        "accepted_at": pytest.approx(NOW - 0.25),
        "correlation_id": "corr-1",
        "group": "main#2",
    }


@pytest.mark.parametrize(("spare", "named"), [(1_000, True), (100, False)])
def test_a_body_that_leaves_room_for_a_name_only(aws: Aws, spare: int, named: bool) -> None:
    """GIVEN a reject as large as a message THEN it goes with its name in the index, where there is room for that."""
    body = "x" * (MOST_BYTES - spare)
    assert SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected, index(aws)).reject([replace(REJECT, body=body)]) == {}
    (message,) = aws.receive(aws.rejected)
    assert (message["Body"], attributes(message)) == (body, {"letter": REJECT.letter} if named else {})


def test_a_reject_is_in_the_index_and_in_its_queue(aws: Aws) -> None:
    """GIVEN records without an id, one cut THEN each has an item that says what is known."""
    cut = replace(REJECT, letter="m-8", event_id="e-8", event_type="t", whole_bytes=2_000_000, whole_sha256="ab")
    assert SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected, index(aws)).reject([REJECT, cut]) == {}
    found = items(aws)
    assert {attributes(each)["letter"] for each in aws.receive(aws.rejected)} == set(found) == {"m-8", "m-9"}
    assert {name: found["m-9"].get(name) for name in ("lane", "body", "reason", "event_id", "status")} == {
        "lane": "rejected",
        "body": "{",
        "reason": "body: is no JSON",
        "event_id": None,
        "status": None,
    }
    assert (found["m-8"]["whole_bytes"], found["m-8"]["event_type"]) == (2_000_000, "t")


def test_without_its_item_there_is_no_message(aws: Aws) -> None:
    """GIVEN a table that is away THEN nothing is in a queue either: the event comes again, none is lost."""
    away = DynamoLetters(nowhere("dynamodb"), aws.letters)
    with pytest.raises(UnavailableError, match="DynamoDB unavailable"):
        SqsLaneQueue(aws.sqs, aws.lanes[FAST], aws.dead_letters, away).give_up(letter())
    with pytest.raises(UnavailableError, match="DynamoDB unavailable"):
        SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected, away).reject([REJECT])
    assert aws.receive(aws.dead_letters) == aws.receive(aws.rejected) == []


def test_a_queue_that_is_away_leaves_an_item(aws: Aws) -> None:
    """GIVEN a dead-letter queue that is away THEN the event is in the index, and written over when it comes again."""
    index_ = index(aws)
    with pytest.raises(UnavailableError, match="SQS unavailable"):
        SqsLaneQueue(nowhere("sqs"), "https://queue", "https://dead", index_).give_up(letter())
    SqsLaneQueue(aws.sqs, aws.lanes[FAST], aws.dead_letters, index_).give_up(letter(attempts=4))
    (item,) = items(aws).values()
    assert item["attempts"] == 4


def test_what_dynamodb_leaves_undone_is_not_done(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a reply with unprocessed items, as a throttled table gives THEN that is a failure."""
    left: Any = {"UnprocessedItems": {aws.letters: [{"PutRequest": {"Item": {}}}]}}
    monkeypatch.setattr(aws.dynamodb, "batch_write_item", lambda **_: left)
    with pytest.raises(UnavailableError, match="UnprocessedItems"):
        index(aws).keep([letter()])


def test_waiting_letters_are_listed_by_lane_and_time(aws: Aws) -> None:
    """GIVEN letters of two lanes WHEN one is listed THEN its own come, the oldest first, without their bodies."""
    other = Destination("elsewhere/main")
    for number, (destination, at) in enumerate([(f"{FAST}/b", 20.0), (f"{FAST}/a", 10.0), (other, 15.0)]):
        one = letter(destination=Destination(destination), deduplication_id=f"m-{number}")
        index(aws, NOW + at).keep([one])
    index(aws).keep([REJECT])
    listed = waiting(aws, FAST)
    assert [each["destination"] for each in listed] == [f"{FAST}/a", f"{FAST}/b"]
    assert all("body" not in each and each["reason"] for each in listed)


@pytest.mark.parametrize(
    "given",
    [
        letter(body="é" * LONGEST_BODY, event_id="\N{BALLOON}" * 255, reason="\N{BALLOON}" * 256),
        replace(REJECT, body="x" * (LONGEST_BODY + 1)),
        replace(REJECT, body="x" * (LONGEST_BODY + 1), whole_bytes=9_000_000, whole_sha256="ab"),
    ],
)
def test_the_largest_fit(aws: Aws, given: DeadLetter | RejectedRecord) -> None:
    """GIVEN more than an item takes THEN its beginning is kept, with how large the whole is."""
    index(aws, time.time()).keep([given])
    (item,) = items(aws).values()
    assert given.body.startswith(item["body"])
    assert len(item["body"].encode()) <= LONGEST_BODY
    known = getattr(given, "whole_bytes", None)
    assert item["whole_bytes"] == (known or len(given.body.encode()))


def test_ten_at_once(aws: Aws) -> None:
    """GIVEN as many as intake writes in a call, two of one name THEN all are there, the last of the two."""
    many = [replace(REJECT, letter=f"m-{number % 9}", reason=str(number)) for number in range(10)]
    index(aws).keep(many)
    found = items(aws)
    assert len(found) == 9
    assert found["m-0"]["reason"] == "9"
