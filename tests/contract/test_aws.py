"""The adapters and the handlers against AWS, as two emulators that share no code know it."""

import importlib.util
import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import EndpointConnectionError
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber
from mypy_boto3_sqs.type_defs import MessageTypeDef

from local.machine import ROOT, free_port
from relay.adapters.dynamodb import KEEP_SECONDS, DynamoAccounts, DynamoLedger, read_account, read_record
from relay.adapters.secrets_manager import FAILED_SECONDS, MAX_AGE_SECONDS, SecretsManagerSecrets
from relay.adapters.sqs import SqsIntakeQueues, SqsLaneQueue
from relay.contract.destination import Destination
from relay.errors import CredentialsError, NotAcceptedError, UnavailableError
from relay.handlers.deliver import lane_message
from relay.intake.outbox import Outbox
from relay.intake.routing import route
from relay.ports import (
    MOST_BYTES,
    OPERATORS,
    AccountRecord,
    Accounts,
    Claim,
    DeadLetter,
    Failure,
    LaneEntry,
    LaneMessage,
    Ledger,
    Record,
    Refusal,
    RejectedRecord,
    State,
    Window,
)
from tests.contract.conftest import ONCE, Aws, Client
from tests.contract.documented import LARGEST
from tests.factories import (
    DESTINATIONS,
    EMAIL,
    NOW,
    PHONE,
    event_data,
    event_json,
    eventbridge,
    make_event,
    sqs_batch,
    sqs_record,
)
from tests.fakes import FakeClock, FakeContext, FakeLedger
from tests.kinds import PAIR
from tests.simulation.ledger import AccountsTable

DAY = 86_400


def attributes(message: MessageTypeDef) -> dict[str, str]:
    return {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()}


def nowhere(service: str) -> Any:
    """A client whose service does not answer."""
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{free_port()}", config=ONCE)  # type: ignore[call-overload]


# ------------------------------------------------------------------------------------------------ intake's queues


def send(aws: Aws, entries: Sequence[LaneEntry]) -> None:
    """Each entry to its lane."""
    for entry in entries:
        assert SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).send([entry]) == {}


def test_accepted_events_are_on_their_lanes(aws: Aws) -> None:
    """One message per destination: the event, its account as group, hash and correlation id beside it."""
    event = make_event()
    send(aws, route(event, DESTINATIONS, NOW, "corr-1"))
    for provider in PAIR:
        (message,) = aws.receive(aws.lanes[provider])
        assert json.loads(message["Body"])["destinations"] == [f"{provider}/main"]
        assert message["Attributes"]["MessageGroupId"] == "main"
        assert attributes(message) == {
            "content_hash": event.content_hash,
            "accepted_at": f"{NOW:.3f}",
            "correlation_id": "corr-1",
        }


def test_the_same_record_twice_is_one_message(aws: Aws) -> None:
    """Within five minutes SQS itself drops the copy."""
    queues = SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected)
    for record in ("record-1", "record-1", "record-2"):
        queues.send(route(make_event(), ["yotpo/main"], NOW, record_id=record))
    assert len(aws.receive(aws.lanes["yotpo"])) == 2


def test_an_update_that_is_taken_back_is_three_messages(aws: Aws) -> None:
    """Within the same five minutes: the last has the content of the first, and is a record of its own. So is one whose
    `expires_at` alone was corrected.
    """
    queues = SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected)
    for changes in ({}, {"value": 1}, {}, {"expires_at": "2999-01-01T00:00:00Z"}):
        queues.send(route(make_event(**changes), ["yotpo/main"], NOW))
    received = [json.loads(message["Body"]) for message in aws.receive(aws.lanes["yotpo"])]
    assert [(body.get("value"), "expires_at" in body) for body in received] == [
        (None, False),
        (1, False),
        (None, False),
        (None, True),
    ]


def test_an_empty_correlation_id(aws: Aws) -> None:
    """An attribute cannot be empty."""
    SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).send(route(make_event(), ["yotpo/main"], NOW))
    assert attributes(aws.receive(aws.lanes["yotpo"])[0])["correlation_id"] == "-"


@pytest.mark.parametrize("body", ["{", '{"a": "ü"}', " \n", "x" * 900_000], ids=["broken", "utf-8", "blank", "900 KB"])
def test_rejects_are_kept(aws: Aws, body: str) -> None:
    """The body to the byte, and why."""
    rejected = RejectedRecord(body, "body: is not JSON", "evt-1", NOW, letter="m-1")
    assert SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).reject([rejected]) == {}
    (message,) = aws.receive(aws.rejected)
    assert message["Body"] == body
    assert attributes(message) == {
        "reason": "body: is not JSON",
        "destination": "-",
        "event_id": "evt-1",
        "status": "-",
        "attempts": "0",
        "accepted_at": f"{NOW:.3f}",
        "letter": "m-1",
    }


def test_a_body_that_leaves_no_room_for_evidence(aws: Aws) -> None:
    """The body is what must not be lost."""
    body = "x" * (1024 * 1024 - 100)
    SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).reject([RejectedRecord(body, "why " * 500, "evt-1")])
    assert aws.receive(aws.rejected)[0]["Body"] == body


def test_a_reject_that_is_cut_says_what_it_is_cut_from(aws: Aws) -> None:
    """Its size and hash, beside as much of it as a message holds."""
    cut = RejectedRecord("é" * 520_000, "w" * 4_096, "evt-1", NOW, whole_bytes=5_000_000, whole_sha256="0" * 64)
    assert cut.size <= MOST_BYTES
    assert SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).reject([cut]) == {}
    (message,) = aws.receive(aws.rejected)
    assert message["Body"] == cut.body
    assert (attributes(message)["whole_bytes"], attributes(message)["whole_sha256"]) == ("5000000", "0" * 64)


def test_a_batch_keeps_its_order_and_tells_its_failures(aws: Aws) -> None:
    """GIVEN an entry that SQS does not take among others that it does THEN only that one is refused, by its place."""
    entries = [route(make_event(id=str(number)), ["yotpo/main"], NOW)[0] for number in range(10)]
    entries[3] = replace(entries[3], body="")
    refused = SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).send(entries)
    assert list(refused) == [3]
    assert not refused[3].again
    assert refused[3].code
    taken = [json.loads(message["Body"])["id"] for message in aws.receive(aws.lanes["yotpo"])]
    assert taken == [str(number) for number in range(10) if number != 3]


def sent(entry: str) -> dict[str, str]:
    return {"Id": entry, "MessageId": f"m-{entry}", "MD5OfMessageBody": "0" * 32}


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        ({"Successful": [], "Failed": []}, dict.fromkeys((0, 1), Refusal("no answer", again=True))),
        ({"Successful": [sent("1")], "Failed": []}, {0: Refusal("no answer", again=True)}),
        *(
            (
                {
                    "Successful": [sent("0")],
                    "Failed": [{"Id": "1", "Code": code, "SenderFault": sender, "Message": EMAIL}],
                },
                {1: Refusal(code, again=again)},
            )
            for code, sender, again in [
                ("InvalidMessageContents", True, False),
                ("RequestThrottled", True, True),
                ("ThrottlingException", False, True),
                ("InternalError", False, True),
                ("Something", False, True),
            ]
        ),
    ],
)
def test_what_sqs_may_answer_to_a_batch(aws: Aws, reply: dict[str, Any], refused: dict[int, Refusal]) -> None:
    """What it does not say it took is not taken; what is in the way for a moment is, whoever is blamed. (No emulator
    throttles, or fails on its own.)
    """
    with Stubber(aws.sqs) as stubber:
        stubber.add_response("send_message_batch", reply)
        queues = SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected)
        assert queues.send([route(make_event(), ["yotpo/main"], NOW)[0]] * 2) == refused


@pytest.mark.parametrize("code", ["InvalidParameterValue", "AWS.SimpleQueueService.BatchRequestTooLong"])
def test_a_batch_refused_for_one_of_its_entries(aws: Aws, code: str) -> None:
    """GIVEN a fault of one entry that SQS calls one of the whole batch THEN the others are sent, each by itself."""
    with Stubber(aws.sqs) as stubber:
        stubber.add_client_error("send_message_batch", code)
        stubber.add_response("send_message_batch", {"Successful": [sent("0")], "Failed": []})
        stubber.add_client_error("send_message_batch", code)
        stubber.add_response("send_message_batch", {"Successful": [sent("2")], "Failed": []})
        queues = SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected)
        entries = [route(make_event(), ["yotpo/main"], NOW)[0]] * 3
        assert queues.send(entries) == {1: Refusal(code, again=False)}


@pytest.mark.parametrize("code", ["AccessDenied", "RequestThrottled", "InvalidClientTokenId", "KmsDisabled"])
def test_a_queue_that_takes_nothing_is_not_asked_for_each(aws: Aws, code: str) -> None:
    """Once is enough to know."""
    with Stubber(aws.sqs) as stubber:
        stubber.add_client_error("send_message_batch", code)
        with pytest.raises(UnavailableError) as caught:
            SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).send([route(make_event(), ["yotpo/main"], NOW)[0]] * 3)
        assert caught.value.code == code


def test_the_whole_batch_of_an_outbox_fits(aws: Aws) -> None:
    """What one call is filled with, SQS takes: ten entries, and 1 MiB of all of them, attributes included."""
    large = [
        route(make_event(id=f"{number}", properties={"note": "é" * 120_000}), ["yotpo/main"], NOW, "c" * 128)[0]
        for number in range(9)
    ]
    queues, clock = SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected), FakeClock()
    outbox = Outbox("lane", queues.send, clock, math.inf)
    for place, entry in enumerate(large):
        outbox.add(place, entry)
    outbox.flush()
    assert outbox.failed == {}
    assert len(aws.receive(aws.lanes["yotpo"])) == 9


def test_queues_that_are_away(aws: Aws) -> None:
    """Our own failure, named, without the body."""
    for queues in (
        SqsIntakeQueues(nowhere("sqs"), aws.lanes, aws.rejected),
        SqsIntakeQueues(aws.sqs, {"yotpo": f"{aws.lanes['yotpo']}-gone"}, f"{aws.rejected}-gone"),
    ):
        with pytest.raises(UnavailableError, match="SQS unavailable") as caught:
            queues.send(route(make_event(), ["yotpo/main"], NOW))
        assert EMAIL not in str(caught.value)
        assert caught.value.code in ("EndpointConnectionError", "AWS.SimpleQueueService.NonExistentQueue")
        with pytest.raises(UnavailableError):
            queues.reject([RejectedRecord("{", "why", "")])


# ------------------------------------------------------------------------------------------------ a lane


def lane_messages(aws: Aws, count: int, account: str = "main") -> list[LaneMessage]:
    """Messages put on the lane and received again, as a batch."""
    for number in range(count):
        aws.sqs.send_message(
            QueueUrl=aws.lanes["yotpo"],
            MessageBody=str(number),
            MessageGroupId=account,
            MessageDeduplicationId=f"{account}-{number}",
        )
    received: list[MessageTypeDef] = []
    while len(received) < count:
        received += aws.receive(aws.lanes["yotpo"], visibility=20)
    return [LaneMessage(m["MessageId"], m["ReceiptHandle"], m["Body"], account, NOW) for m in received]


def test_deferred_messages_are_hidden_and_come_back_in_order(aws: Aws) -> None:
    """Head and followers alike: not there, and once their time has come all there again, in order."""
    queue = SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters)
    messages = lane_messages(aws, 3)
    assert queue.defer(messages, 60) == set()
    assert aws.receive(aws.lanes["yotpo"]) == []
    assert queue.defer(messages, 0) == set()
    assert [message["Body"] for message in aws.receive(aws.lanes["yotpo"])] == ["0", "1", "2"]


def test_more_than_sqs_takes_at_once(aws: Aws) -> None:
    """Ten entries a call, as many calls as it needs."""
    queue = SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters)
    messages = lane_messages(aws, 6, "a") + lane_messages(aws, 6, "b")
    assert len(messages) == 12
    assert queue.defer(messages, 0) == set()
    assert len(aws.receive(aws.lanes["yotpo"])) == 10


def test_what_could_not_be_hidden_is_said(aws: Aws) -> None:
    """`Failed` of the reply, in our own ids; the others are hidden."""
    queue = SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters)
    first, *others = lane_messages(aws, 3)
    wrong = replace(first, receipt_handle="not-a-receipt")
    assert queue.defer([wrong, *others], 60) == {first.message_id}


def test_a_lane_that_is_away(aws: Aws) -> None:
    """Deferring never raises: it says that nothing could be hidden. Giving up does."""
    queue = SqsLaneQueue(nowhere("sqs"), aws.lanes["yotpo"], aws.dead_letters)
    messages = lane_messages(aws, 2)
    assert queue.defer(messages, 60) == {message.message_id for message in messages}
    with pytest.raises(UnavailableError, match="SQS unavailable"):
        queue.give_up(letter())
    assert queue.defer([], 60) == set()


def letter(**changes: Any) -> DeadLetter:
    given = DeadLetter(
        body=event_json(),
        reason="HTTP 422: bad",
        destination=Destination("yotpo/main"),
        event_id="evt-1",
        status=422,
        content_hash="0" * 64,
        accepted_at=NOW - 0.25,
        correlation_id="corr-1",
        attempts=3,
        deduplication_id="m-1",
    )
    return replace(given, **changes)


def test_a_dead_letter(aws: Aws) -> None:
    """The original body, and the evidence as attributes."""
    SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters).give_up(letter())
    (message,) = aws.receive(aws.dead_letters)
    assert message["Body"] == event_json()
    assert message["Attributes"]["MessageGroupId"] == "main"
    assert attributes(message) == {
        "reason": "HTTP 422: bad",
        "destination": "yotpo/main",
        "event_id": "evt-1",
        "status": "422",
        "attempts": "3",
        "content_hash": "0" * 64,
        "accepted_at": f"{NOW - 0.25:.3f}",
        "correlation_id": "corr-1",
        "letter": "m-1",
    }


def test_a_dead_letter_with_little_to_say(aws: Aws) -> None:
    """No status, no id, no account: said as not known."""
    queue = SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters)
    queue.give_up(letter(status=None, event_id="", destination=Destination("yotpo/"), attempts=0, accepted_at=None))
    found = attributes(aws.receive(aws.dead_letters)[0])
    assert (found["status"], found["event_id"], found["attempts"], found["accepted_at"]) == ("-", "-", "0", "-")


def test_a_group_is_kept_from_intake_to_a_redrive(aws: Aws) -> None:
    """GIVEN an account with several groups, of the longest name there is WHEN its event is given up and redriven
    THEN it stands in the same group again, and is its account's all the way.
    """
    destination = Destination.of("yotpo", "a" * 64)
    group = next(each for number in range(99) if "#" in (each := destination.group(f"email={number}", 64)))
    (entry,) = route(make_event(destinations=[str(destination)]), [str(destination)], NOW)
    SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).send([replace(entry, group=group)])
    first = lane_message(SQSRecord(record(aws.receive(aws.lanes["yotpo"])[0])))
    assert (first.account, first.group) == (destination.account, group)
    SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters).give_up(
        letter(destination=destination, group=first.group)
    )
    redriven = lane_message(SQSRecord(record(aws.receive(aws.dead_letters)[0])))
    assert (redriven.account, redriven.group) == (destination.account, group)


def test_evidence_fits_beside_the_largest_body_that_has_any(aws: Aws) -> None:
    """The longest reason and ids there are, of four bytes a character: SQS counts names, types and values too."""
    wide = "\N{BALLOON}"
    longest = letter(body="x" * (LARGEST - 8 * 1024), reason=wide * 256, event_id=wide * 255, correlation_id=wide * 32)
    SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters).give_up(longest)
    assert attributes(aws.receive(aws.dead_letters)[0])["reason"] == longest.reason


def test_a_version_keeps_its_age_from_intake_to_its_redrive(aws: Aws) -> None:
    """GIVEN an event on its lane, given up and redriven with its attributes THEN it is as old as at first."""
    (entry,) = route(make_event(), ["yotpo/main"], NOW - 500.25)
    SqsIntakeQueues(aws.sqs, aws.lanes, aws.rejected).send([entry])
    first = lane_message(SQSRecord(record(aws.receive(aws.lanes["yotpo"])[0])))
    SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters).give_up(letter(accepted_at=first.accepted_at))
    redriven = lane_message(SQSRecord(record(aws.receive(aws.dead_letters)[0])))
    assert first.accepted_at == redriven.accepted_at == NOW - 500.25


def test_the_same_dead_letter_twice_is_one(aws: Aws) -> None:
    """A message given up again because its deletion failed does not become two."""
    queue = SqsLaneQueue(aws.sqs, aws.lanes["yotpo"], aws.dead_letters)
    queue.give_up(letter())
    queue.give_up(letter())
    queue.give_up(letter(deduplication_id="m-2"))
    assert len(aws.receive(aws.dead_letters)) == 2


# ------------------------------------------------------------------------------------------------ the ledger


@pytest.fixture(params=["ministack", "moto", "fake"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """The real one, and the fake that the unit tests trust."""
    if request.param == "fake":
        return FakeLedger()
    aws = Aws(request.getfixturevalue(request.param))
    return DynamoLedger(aws.dynamodb, aws.table)


def claim(owner: str = "m-1@1", **changes: Any) -> Record:
    given = Record(
        event_id="evt-1",
        destination="sender/main",
        content_hash="aa",
        state="claimed",
        owner=owner,
        message_id=owner.partition("@")[0],
        lease_until=NOW + 30,
        accepted_at=NOW - 5.25,
    )
    return replace(given, **changes)


BOTH = pytest.mark.parametrize("overrides", [False, True])


@BOTH
def test_a_first_claim(ledger: Ledger, overrides: bool) -> None:
    """Never seen: granted, with nothing before."""
    granted = ledger.claim(claim(), now=NOW, overrides=overrides)
    assert (granted.granted, granted.before) == (True, None)


@BOTH
def test_a_claim_of_a_live_claim(ledger: Ledger, overrides: bool) -> None:
    """Leased: refused, and told by whom and until when."""
    ledger.claim(claim("m-1@1"), now=NOW, overrides=overrides)
    refused = ledger.claim(claim("m-2@2"), now=NOW + 29, overrides=overrides)
    assert not refused.granted
    assert refused.before is not None
    assert (refused.before.state, refused.before.owner) == ("claimed", "m-1@1")
    assert refused.before.lease_until == NOW + 30


@BOTH
@pytest.mark.parametrize("state", [None, "claimed", "open", "given_up", "delivered"])
def test_a_claim_whose_answer_was_lost(ledger: Ledger, overrides: bool, state: Any) -> None:
    """GIVEN a claim that took effect without our hearing of it WHEN botocore asks again
    THEN it is ours, and told as if the first answer had come: a crash before it is still a crash.
    """
    if state is not None:
        ledger.claim(claim("m-0@0", lease_until=NOW - 1, content_hash="bb"), now=NOW - 9, overrides=overrides)
        if state != "claimed":
            ledger.settle(claim("m-0@0", state=state, content_hash="bb", attempts=2, given_up=("m-8",)))
    ours = claim("m-1@1", content_hash="cc" if state == "delivered" else "bb")
    first = ledger.claim(ours, now=NOW, overrides=overrides)
    second = ledger.claim(ours, now=NOW + 1, overrides=overrides)
    assert second.granted == first.granted == (state != "delivered" or overrides)

    def told(answer: Claim) -> object:
        before = answer.before
        return before and (
            before.state,
            before.content_hash,
            before.attempts,
            before.given_up,
            before.claims,
            before.claimants,
        )

    assert told(second) == told(first)


@BOTH
def test_a_claim_of_a_stale_claim(ledger: Ledger, overrides: bool) -> None:
    """The lease has passed: taken over, and the old claim is seen."""
    ledger.claim(claim("m-1@1"), now=NOW, overrides=overrides)
    taken = ledger.claim(claim("m-2@2", lease_until=NOW + 90), now=NOW + 31, overrides=overrides)
    assert taken.granted
    assert taken.before is not None
    assert (taken.before.state, taken.before.owner) == ("claimed", "m-1@1")
    again = ledger.claim(claim("m-3@3"), now=NOW + 32, overrides=overrides)
    assert not again.granted


@BOTH
def test_claims_are_counted_until_one_leaves_a_record_of_its_end(ledger: Ledger, overrides: bool) -> None:
    """How many died in a row is told to the next; a settle ends the count, and a refused claim does not count."""

    def claims(owner: str, seconds: float) -> int | None:
        answer = ledger.claim(claim(owner, lease_until=NOW + seconds + 30), now=NOW + seconds, overrides=overrides)
        return answer.before.claims if answer.granted and answer.before else None

    ledger.claim(claim("m-1@1"), now=NOW, overrides=overrides)
    assert claims("m-1@2", 5) is None
    assert [claims(f"m-1@{number}", 31.0 * number) for number in (3, 4, 5)] == [1, 2, 3]
    ledger.settle(claim("m-1@5", state="open", claims=0))
    assert claims("m-1@6", 200) == 0
    assert claims("m-1@7", 300) == 1


@BOTH
def test_who_claimed_is_named_until_one_leaves_a_record_of_its_end(ledger: Ledger, overrides: bool) -> None:
    """Each claim adds its message, once however often it is asked for; a settle leaves those that it was given."""

    def claimants(owner: str, seconds: float) -> object:
        ours = claim(owner, message_id=owner[:3], lease_until=NOW + seconds + 30)
        befores = [ledger.claim(ours, now=NOW + seconds, overrides=overrides).before for _ in range(2)]
        first, again = [before and before.claimants for before in befores]
        assert first == again
        return first

    assert claimants("m-1@1", 0) is None
    assert claimants("m-2@2", 31) == ("m-1",)
    assert claimants("m-1@3", 62) == ("m-1", "m-2")
    ledger.settle(claim("m-1@3", state="open", claimants=("m-2",)))
    assert claimants("m-1@4", 93) == ("m-2",)
    ledger.settle(claim("m-1@4", state="open"))
    assert claimants("m-3@5", 124) == ()


@BOTH
def test_a_claim_asked_for_twice_counts_once(ledger: Ledger, overrides: bool) -> None:
    """Botocore's second try, after the first one's answer was lost: no crash is counted for it, then or later."""
    ledger.claim(claim("m-1@1"), now=NOW, overrides=overrides)
    ours = claim("m-1@2", lease_until=NOW + 61)
    told = [ledger.claim(ours, now=NOW + 31, overrides=overrides) for _ in range(3)]
    assert [each.granted for each in told] == [True] * 3
    assert [each.before and each.before.claims for each in told] == [1] * 3
    later = ledger.claim(claim("m-1@3"), now=NOW + 62, overrides=overrides)
    assert later.before is not None
    assert later.before.claims == 2


@pytest.mark.parametrize(
    ("content_hash", "version", "granted"),
    [
        ("aa", "002 1", False),
        ("aa", "001 9", False),
        ("aa", "", False),
        ("aa", "002 2", True),
        ("aa", "003 0", True),
        ("bb", "001 9", True),
        ("bb", "002 1", True),
        ("bb", "003 0", True),
    ],
)
def test_a_claim_of_another_version_after_delivery(
    ledger: Ledger, content_hash: str, version: str, granted: bool
) -> None:
    """A later version of the content that stands may be claimed, an earlier or equal one not; other content always:
    whether it is outdated is not the ledger's to say.
    """
    ledger.claim(claim(version="002 1"), now=NOW, overrides=True)
    ledger.settle(claim(state="delivered", version="002 1", delivered_hash="aa", delivered_version="002 1"))
    given = claim("m-2@2", content_hash=content_hash, version=version)
    answer = ledger.claim(given, now=NOW + 1, overrides=True)
    assert answer.granted is granted
    assert answer.before is not None
    assert (answer.before.delivered_hash, answer.before.delivered_version) == ("aa", "002 1")


@pytest.mark.parametrize("overrides", [True, False])
def test_a_claim_of_a_later_version_where_nothing_says_which_was_delivered(ledger: Ledger, overrides: bool) -> None:
    """A record of before versions were kept: delivered is delivered."""
    ledger.claim(claim(), now=NOW, overrides=overrides)
    ledger.settle(claim(state="delivered"))
    assert not ledger.claim(claim("m-2@2", version="003 0"), now=NOW + 1, overrides=overrides).granted


def test_where_nothing_is_overwritten_no_version_is_later(ledger: Ledger) -> None:
    """Delivered once is delivered, whatever its moment."""
    ledger.claim(claim(version="002 1"), now=NOW, overrides=False)
    ledger.settle(claim(state="delivered", version="002 1", delivered_hash="aa", delivered_version="002 1"))
    assert not ledger.claim(claim("m-2@2", version="003 0"), now=NOW + 1, overrides=False).granted


@BOTH
def test_what_a_record_knows_of_versions_comes_back(ledger: Ledger, overrides: bool) -> None:
    """Each field, after a settle and through the claim that follows it."""
    known: dict[str, Any] = {
        "version": "001795341540.000000 1795341600.000",
        "delivered_hash": "aa",
        "delivered_version": "001795341540.000000 1795341600.125",
        "replaced": ("bb", "cc"),
        "failure": Failure(strikes=4, blame=2.5, failed_at=NOW - 60.0, last_failed_at=NOW + 0.125),
        "unknowns": 3,
    }
    ledger.claim(claim(), now=NOW, overrides=overrides)
    ledger.settle(claim(state="open", **known))
    for owner in ("m-2@2", "m-3@3"):
        before = ledger.claim(claim(owner, version="9", lease_until=NOW), now=NOW + 1, overrides=overrides).before
        assert before is not None
        assert {name: getattr(before, name) for name in known} == known
        # The claim itself says which version is under way, and nothing else of it.
        known["version"] = "9"


@BOTH
def test_a_settle_takes_the_delivered_content_back(ledger: Ledger, overrides: bool) -> None:
    """What the provider holds is not known any more; which version was delivered last stays."""
    ledger.claim(claim(), now=NOW, overrides=overrides)
    ledger.settle(claim(state="open", delivered_hash="aa", delivered_version="002 1"))
    ledger.claim(claim("m-2@2"), now=NOW + 1, overrides=overrides)
    ledger.settle(claim("m-2@2", state="open", delivered_hash="", delivered_version="002 1"))
    before = ledger.claim(claim("m-3@3"), now=NOW + 2, overrides=overrides).before
    assert before is not None
    assert (before.delivered_hash, before.delivered_version) == ("", "002 1")


@BOTH
@pytest.mark.parametrize("state", ["open", "given_up"])
def test_a_claim_between_attempts(ledger: Ledger, overrides: bool, state: Any) -> None:
    """Settled but not delivered: granted, with all that is remembered."""
    ledger.claim(claim(), now=NOW, overrides=overrides)
    ended = claim(
        state=state,
        attempts=2,
        failure=Failure(strikes=1, failed_at=NOW + 0.5),
        outcome="retry",
        reason="HTTP 503",
        status=503,
    )
    ledger.settle(ended)
    granted = ledger.claim(claim("m-2@2"), now=NOW + 1, overrides=overrides)
    assert granted.granted
    before = granted.before
    assert before is not None
    assert (before.state, before.attempts, before.failure.strikes, before.failure.failed_at) == (state, 2, 1, NOW + 0.5)
    assert (before.outcome, before.reason, before.status) == ("retry", "HTTP 503", 503)


@BOTH
def test_a_claim_of_a_message_that_was_given_up(ledger: Ledger, overrides: bool) -> None:
    """The same message, brought back after a crash: refused, for its end is written."""
    ledger.claim(claim("m-1@1"), now=NOW, overrides=overrides)
    ledger.settle(claim("m-1@1", state="given_up", outcome="unknown", reason="parked", given_up=("m-1",)))
    refused = ledger.claim(claim("m-1@2"), now=NOW + 200, overrides=overrides)
    assert not refused.granted
    assert refused.before is not None
    assert (refused.before.state, refused.before.outcome) == ("given_up", "unknown")
    assert refused.before.given_up == ("m-1",)


@BOTH
@pytest.mark.parametrize("state", ["claimed", "open", "given_up", "delivered"])
def test_a_claim_of_a_message_that_was_given_up_before_another(ledger: Ledger, overrides: bool, state: Any) -> None:
    """Whatever became of a later message of the same event, the one that was given up stays so."""
    ledger.claim(claim("m-1@1"), now=NOW, overrides=overrides)
    ledger.settle(claim("m-1@1", state="given_up", given_up=("m-1",)))
    assert ledger.claim(claim("m-2@2"), now=NOW + 1, overrides=overrides).granted
    ledger.settle(claim("m-2@2", state=state, given_up=("m-1", "m-2") if state == "given_up" else ("m-1",)))
    for content_hash in ("aa", "bb"):
        refused = ledger.claim(claim("m-1@3", content_hash=content_hash), now=NOW + 200, overrides=overrides)
        assert not refused.granted
    assert ledger.claim(claim("m-3@4"), now=NOW + 200, overrides=overrides).granted is (state != "delivered")


@BOTH
def test_a_claim_after_delivery(ledger: Ledger, overrides: bool) -> None:
    """Delivered with this content: refused for ever, at either kind of provider."""
    ledger.claim(claim(), now=NOW, overrides=overrides)
    ledger.settle(claim(state="delivered", attempts=1, outcome="delivered", completed_at=NOW + 1))
    refused = ledger.claim(claim("m-2@2"), now=NOW + 5 * DAY, overrides=overrides)
    assert not refused.granted
    assert refused.before is not None
    assert (refused.before.state, refused.before.completed_at) == ("delivered", NOW + 1)


@pytest.mark.parametrize(("overrides", "granted"), [(True, True), (False, False)])
@pytest.mark.parametrize("state", ["open", "given_up", "delivered"])
def test_a_claim_with_other_content(ledger: Ledger, state: Any, overrides: bool, granted: bool) -> None:
    """An update where the provider overwrites by id; refused where it cannot."""
    ledger.claim(claim(), now=NOW, overrides=overrides)
    ledger.settle(claim(state=state))
    answer = ledger.claim(claim("m-2@2", content_hash="bb"), now=NOW + 1, overrides=overrides)
    assert answer.granted is granted
    assert answer.before is not None
    assert answer.before.content_hash == "aa"


@BOTH
def test_a_claim_with_other_content_of_a_live_claim(ledger: Ledger, overrides: bool) -> None:
    """Whatever the provider: what is under way is not taken away."""
    ledger.claim(claim(), now=NOW, overrides=overrides)
    assert not ledger.claim(claim("m-2@2", content_hash="bb"), now=NOW + 1, overrides=overrides).granted


def test_a_settle_of_somebody_elses_claim_is_ignored(ledger: Ledger) -> None:
    """GIVEN a claim taken over WHEN the first owner comes late THEN its end does not count."""
    ledger.claim(claim("m-1@1"), now=NOW, overrides=False)
    ledger.claim(claim("m-2@2", lease_until=NOW + 90), now=NOW + 31, overrides=False)
    ledger.settle(claim("m-1@1", state="delivered"))
    seen = ledger.claim(claim("m-3@3"), now=NOW + 32, overrides=False).before
    assert seen is not None
    assert (seen.state, seen.owner) == ("claimed", "m-2@2")


def test_a_settle_of_nothing_is_ignored(ledger: Ledger) -> None:
    """A record whose time to live has passed is not brought back by a late settle."""
    ledger.settle(claim(state="delivered"))
    assert ledger.claim(claim(), now=NOW, overrides=False).before is None


def test_a_later_end_replaces_an_earlier_one(ledger: Ledger) -> None:
    """The status and reason of a failure do not survive the delivery."""
    ledger.claim(claim(), now=NOW, overrides=False)
    ledger.settle(claim(state="open", reason="no answer", status=503, outcome="retry"))
    ledger.claim(claim("m-2@2"), now=NOW + 1, overrides=False)
    ledger.settle(claim("m-2@2", state="delivered", outcome="delivered"))
    before = ledger.claim(claim("m-3@3"), now=NOW + 2, overrides=False).before
    assert before is not None
    assert (before.status, before.reason, before.outcome) == (None, "", "delivered")


def test_records_are_one_per_destination(ledger: Ledger) -> None:
    """The same event elsewhere is another record."""
    ledger.claim(claim(), now=NOW, overrides=False)
    assert ledger.claim(claim(destination="sender/other"), now=NOW, overrides=False).granted
    assert ledger.claim(claim(event_id="evt-2"), now=NOW, overrides=False).granted


# Not moto: it looks at the condition and writes in two steps, so two of ten threads may both be told yes. In AWS a
# conditional write is one step: docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html
@pytest.mark.parametrize("ledger", ["ministack", "fake"], indirect=True)
@BOTH
def test_racing_claims(ledger: Ledger, overrides: bool) -> None:
    """GIVEN ten that claim at once THEN one has it."""
    together = threading.Barrier(10)
    granted: list[bool] = []

    def race(number: int) -> None:
        together.wait()
        granted.append(ledger.claim(claim(f"m-{number}@1"), now=NOW, overrides=overrides).granted)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [False] * 9 + [True]


def test_odd_ids(ledger: Ledger) -> None:
    """An id of 255 characters of any kind is a key like any other."""
    for event_id in ("🎈" * 255, "a/b c%20\n", "#state", "\x00"):
        assert ledger.claim(claim(event_id=event_id), now=NOW, overrides=False).granted
        assert not ledger.claim(claim("m-2@2", event_id=event_id), now=NOW, overrides=False).granted


def test_what_happened_to_an_event_is_one_query(aws: Aws) -> None:
    """All destinations of an event are under its id, and every figure is readable."""
    ledger = DynamoLedger(aws.dynamodb, aws.table)
    for destination in DESTINATIONS:
        ledger.claim(claim(destination=destination), now=NOW, overrides=False)
        ledger.settle(claim(destination=destination, state="delivered", attempts=1, outcome="delivered", status=201))
    found = aws.dynamodb.query(
        TableName=aws.table,
        KeyConditionExpression="event_id = :id",
        ExpressionAttributeValues={":id": {"S": "evt-1"}},
    )["Items"]
    records = [read_record(item) for item in found]
    assert [record and record.destination for record in records] == sorted(DESTINATIONS)
    assert {record and (record.state, record.attempts, record.status) for record in records} == {("delivered", 1, 201)}
    assert {record and record.accepted_at for record in records} == {NOW - 5.25}


def test_records_have_a_time_to_live(aws: Aws) -> None:
    """Longer than any queue keeps a message, and a settle does not lose it."""
    ledger = DynamoLedger(aws.dynamodb, aws.table)
    ledger.claim(claim(), now=NOW, overrides=False)
    until = int(aws.item("evt-1", "sender/main")["ttl"]["N"])
    assert NOW + 14 * DAY < until < NOW + 400 * DAY
    ledger.settle(claim(state="delivered"))
    assert int(aws.item("evt-1", "sender/main")["ttl"]["N"]) >= until


def test_a_ledger_that_is_away(aws: Aws) -> None:
    """Away or without its table: our own failure, named."""
    for ledger in (DynamoLedger(nowhere("dynamodb"), aws.table), DynamoLedger(aws.dynamodb, "no-such-table")):
        with pytest.raises(UnavailableError, match="DynamoDB unavailable"):
            ledger.claim(claim(), now=NOW, overrides=False)
        with pytest.raises(UnavailableError, match="DynamoDB unavailable"):
            ledger.settle(claim(state="open"))


# ------------------------------------------------------------------------------------------------ the accounts


@pytest.fixture(params=["ministack", "moto", "fake"])
def accounts(request: pytest.FixtureRequest) -> Accounts:
    """The real ones, and the table that the simulation and the unit tests trust."""
    if request.param == "fake":
        return AccountsTable()
    aws = Aws(request.getfixturevalue(request.param))
    return DynamoAccounts(aws.dynamodb, aws.accounts)


def account(version: int = 1, writer: str | None = None, **changes: Any) -> AccountRecord:
    return AccountRecord("yotpo/main", version, writer or f"w-{version}", **changes)


SECOND = Window(1.0, 350, 350, 350.0, turns=((NOW + 0.0205, 6), (NOW + 0.0235, 6), (NOW + 1.0265, 2)))
MINUTE = Window(
    60.0,
    3_500,
    3_000,
    2_812.5,
    others=40,
    others_until=NOW + 60.25,
    others_at=NOW + 0.125,
    zeros=3,
    turns=((NOW - 60.5, 1), (NOW, 1), (NOW, 1), (NOW + 12.3456, 1)),
)
KNOWN = account(
    windows=(SECOND, MINUTE),
    last_at=NOW + 1.0065,
    rejections=0.0396,
    due=NOW + 1.2,
    burst=2,
    calm=17,
    patience=120,
    quiet_until=NOW + 900.125,
    asked_until=NOW + 900.0625,
    wanted_until=NOW + 2.5,
    throttled=4,
    throttled_at=NOW - 0.5,
    state=State.HALF_OPEN,
    until=NOW + 35.0,
    why="HTTP 503",
    since=NOW - 3_600.25,
    worked_at=NOW - 7.5,
    turned_away=("evt-1", "evt-2"),
    probe="3c2f7a9e-8a9c-4bd6-9b43-0d3c3ad3b6d2",
)
"""An account of which everything is known."""


def test_a_first_write_of_an_account(accounts: Accounts) -> None:
    """Never seen: written, and there for whoever comes next."""
    assert accounts.write(account()) is None
    assert accounts.write(account(writer="other")) == account()


def test_an_account_whose_record_is_gone(accounts: Accounts) -> None:
    """GIVEN a record that expired, or was deleted by hand WHEN its successor is written THEN there is none, and the
    first one is written again.
    """
    assert accounts.write(account(7)) == AccountRecord("yotpo/main")
    assert accounts.write(account(1)) is None


def test_writes_of_an_account_follow_one_another(accounts: Accounts) -> None:
    """Each is one above what stands; whatever else is refused, and told what stands."""
    for version in (1, 2, 3):
        assert accounts.write(account(version, calm=version)) is None
    for version in (1, 2, 3, 5):
        assert accounts.write(account(version, "other")) == account(3, calm=3)
    assert accounts.write(account(4)) is None


def test_a_write_whose_answer_was_lost(accounts: Accounts) -> None:
    """GIVEN a write that took effect without our hearing of it WHEN botocore asks again THEN it is ours."""
    for version in (1, 2):
        for _ in range(3):
            assert accounts.write(account(version)) is None
    assert accounts.write(account(3, "other")) is None
    assert accounts.write(account(2)) == account(3, "other")


def test_accounts_are_one_record_each(accounts: Accounts) -> None:
    """Another account's is another."""
    assert accounts.write(account()) is None
    assert accounts.write(replace(account(writer="other"), destination="sender/main")) is None
    assert accounts.write(account(2)) is None


def test_all_that_is_known_of_an_account_comes_back(accounts: Accounts) -> None:
    """Each field of the record and of several windows; and none that is not known any more."""
    defaults = AccountRecord("yotpo/main")
    assert [each.name for each in fields(KNOWN) if getattr(KNOWN, each.name) == getattr(defaults, each.name)] == [
        "destination",
        *OPERATORS,
    ]
    assert accounts.write(KNOWN) is None
    assert accounts.write(account(writer="other")) == KNOWN
    assert accounts.write(account(2)) is None
    assert accounts.write(account(1, "other")) == account(2)


# In AWS a conditional write is one step, as with racing claims.
@pytest.mark.parametrize("accounts", ["ministack", "fake"], indirect=True)
def test_racing_writes(accounts: Accounts) -> None:
    """GIVEN ten that write the same version at once THEN one has, and each other is told by whom."""
    together = threading.Barrier(10)
    found: list[AccountRecord | None] = []

    def race(number: int) -> None:
        together.wait()
        found.append(accounts.write(account(writer=f"w-{number}")))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(None) == 1
    assert len({each.writer for each in found if each}) == 1


@pytest.mark.parametrize("counts", [(55, 55, 55, 37), (1, 1), (6,), (2, 1, 2, 2, 3)])
def test_what_each_turn_of_an_account_stands_for_comes_back(aws: Aws, counts: tuple[int, ...]) -> None:
    """Written by the row, and as it was written before: each by itself."""
    turns = tuple((NOW + number, count) for number, count in enumerate(counts))
    accounts = DynamoAccounts(aws.dynamodb, aws.accounts)
    accounts.write(account(windows=(replace(MINUTE, turns=turns),)))
    item = aws.account("yotpo/main")
    assert read_account("yotpo/main", item).windows[0].turns == turns
    (window,) = json.loads(item["windows"]["S"])
    window.pop("runs", None)
    before = {**item, "windows": {"S": json.dumps([{**window, "counts": list(counts)}])}}
    assert read_account("yotpo/main", before).windows[0].turns == turns


def test_a_moment_of_an_account_is_kept_as_finely_as_turns_are_told_apart(aws: Aws) -> None:
    """To a ten-thousandth of a second, however many turns there are: rounding does not add up."""
    turns = tuple((NOW + number / 7.0, 1) for number in range(128))
    written = account(windows=(Window(1.0, 7, 7, 100 / 3, turns=turns),), due=NOW + 1 / 3, rejections=0.02 * 0.98**99)
    accounts = DynamoAccounts(aws.dynamodb, aws.accounts)
    accounts.write(written)
    found = accounts.write(account(writer="other"))
    assert found is not None
    (window,) = found.windows
    assert len(window.turns) == 128
    assert all(abs(kept - at) <= 0.000_051 for (kept, _), (at, _) in zip(window.turns, turns, strict=True))
    for kept, given in [
        (window.share, 100 / 3),
        (found.due, written.due),
        (found.rejections, written.rejections),
    ]:
        assert abs(kept - given) <= 0.000_051


def test_a_share_of_rejections_that_is_next_to_nothing(aws: Aws) -> None:
    """GIVEN no 429 for so many requests that DynamoDB has no number as small THEN it is nothing."""
    accounts = DynamoAccounts(aws.dynamodb, aws.accounts)
    assert accounts.write(account(rejections=0.02 * 0.98**20_000)) is None
    assert accounts.write(account(writer="other")) == account()


def size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes that DynamoDB bills a write of the item for ("Item sizes and formats"): names and values."""
    digits = {
        name: len(value["N"].strip("-").replace(".", "").strip("0")) for name, value in item.items() if "N" in value
    }
    numbers = sum(math.ceil(each / 2) + 1 for each in digits.values())
    return sum(len(name) for name in item) + numbers + sum(len(value.get("S", "").encode()) for value in item.values())


@pytest.mark.parametrize(
    ("window", "limit", "each"),
    [(1.0, 64, 1), (10.0, 64, 1), (60.0, 64, 1), (1.0, 350, 6), (60.0, 3_500, 55)],
    ids=str,
)
def test_a_write_of_64_turns_is_one_unit(aws: Aws, window: float, limit: int, each: int) -> None:
    """GIVEN an account of which everything is known WHEN it is written with as many moments as a window's log has
    THEN its item stays below the KiB that DynamoDB takes for one unit.
    """
    turns = tuple((NOW + number * window / 63.7, each) for number in range(64))
    given = replace(MINUTE, seconds=window, documented=limit, limit=limit, share=limit - 0.1234, turns=turns)
    writer = "0d3c3ad3-8a9c-4bd6-9b43-3c2f7a9eb6d2"
    DynamoAccounts(aws.dynamodb, aws.accounts).write(replace(KNOWN, writer=writer, windows=(given,)))
    item = aws.account("yotpo/main")
    assert size(item) <= 1_024
    assert len(read_account("yotpo/main", item).windows[0].turns) == 64


def by_hand(aws: Aws, number: int) -> None:
    """One of the runbook's two commands: to hold an account, and to end that."""
    section = (ROOT / "docs/runbook.md").read_text().split("### Hold an account by hand")[1].split("\n## ")[0]
    command = re.findall(r"^aws dynamodb update-item .*?^```$", section, re.MULTILINE | re.DOTALL)[number]
    given = dict(re.findall(r"--([a-z-]+) '([^']+)'", command))
    aws.dynamodb.update_item(
        TableName=aws.accounts,
        Key=json.loads(given["key"]),
        UpdateExpression=given["update-expression"],
        ExpressionAttributeValues=json.loads(given["expression-attribute-values"]),
    )


@pytest.mark.parametrize("version", [0, 1, 2])
def test_an_account_that_an_operator_holds(aws: Aws, version: int) -> None:
    """GIVEN `held`, put there by hand, with `version` one up THEN who comes next is told of it, whatever was known, and
    no write takes it away until the operator does.
    """
    accounts = DynamoAccounts(aws.dynamodb, aws.accounts)
    for each in range(1, version + 1):
        accounts.write(account(each))
    by_hand(aws, 0)
    found = accounts.write(account(version + 1, "other"))
    assert found is not None
    assert (found.version, found.held) == (version + 1, "they asked us to stop")

    assert accounts.write(account(version + 2, held="of ours")) is None
    found = accounts.write(account(version + 2, "other"))
    assert found == account(version + 2, held="they asked us to stop")

    by_hand(aws, 1)
    found = accounts.write(account(version + 3))
    assert found is not None
    assert (found.version, found.held) == (version + 3, "")


def test_what_is_known_of_an_account_has_a_time_to_live(aws: Aws) -> None:
    """It begins anew with each write, whatever moments the record has: also that of an account never sent to."""
    now = NOW
    accounts = DynamoAccounts(aws.dynamodb, aws.accounts, lambda: now)
    assert KEEP_SECONDS > 14 * DAY
    for version, now in ((1, NOW), (2, NOW + 90 * DAY)):
        accounts.write(account(version, last_at=0.0))
        assert aws.account("yotpo/main")["ttl"] == {"N": str(int(now) + KEEP_SECONDS)}


def test_what_a_later_release_knows_of_an_account_is_passed_over(aws: Aws) -> None:
    """GIVEN an item with more in it WHEN read after a roll-back THEN what is known here is read."""
    DynamoAccounts(aws.dynamodb, aws.accounts).write(KNOWN)
    windows = json.loads(aws.account("yotpo/main")["windows"]["S"])
    later = json.dumps([{**window, "colour": "blue"} for window in windows])
    item = aws.account("yotpo/main") | {"windows": {"S": later}, "colour": {"S": "blue"}}
    assert read_account("yotpo/main", item) == KNOWN


def test_a_write_of_an_account_is_one_call(aws: Aws) -> None:
    """Of the one action that the function's role has, also where somebody else has written."""
    called: list[str] = []
    accounts = DynamoAccounts(aws.dynamodb, aws.accounts)
    aws.dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: called.append(model.name))
    for version, writer in ((1, "a"), (1, "b"), (2, "a"), (5, "a")):
        accounts.write(account(version, writer))
    assert called == ["UpdateItem"] * 4


def test_accounts_that_are_away(aws: Aws) -> None:
    """Away or without their table: our own failure, named."""
    for accounts in (DynamoAccounts(nowhere("dynamodb"), "accounts"), DynamoAccounts(aws.dynamodb, "no-such-table")):
        with pytest.raises(UnavailableError, match="DynamoDB unavailable"):
            accounts.write(account())


# ------------------------------------------------------------------------------------------------ secrets


@dataclass
class Kept:
    """Secrets on a clock of their own; `fetches` counts what reached Secrets Manager, `away` cuts it off."""

    aws: Aws
    now: float = 0.0
    fetches: int = 0
    away: bool = False

    def __post_init__(self) -> None:
        self.aws.secrets.meta.events.register_first("before-call.secrets-manager.GetSecretValue", self._called)
        self.secrets = SecretsManagerSecrets(self.aws.secrets, self.aws.name, lambda: self.now)

    def _called(self, **_: Any) -> None:
        self.fetches += 1
        if self.away:
            raise EndpointConnectionError(endpoint_url=self.aws.endpoint)

    def rotate(self, text: str) -> None:
        name = f"{self.aws.name}/customer-events/yotpo/main"
        self.aws.secrets.put_secret_value(SecretId=name, SecretString=text)


@pytest.fixture
def kept(aws: Aws) -> Kept:
    aws.secret("yotpo/main", '{"store_id": "s", "access_token": "one"}')
    return Kept(aws)


def test_a_secret_is_fetched_once(kept: Kept) -> None:
    """Kept for a quarter of an hour, then fetched again."""
    for _ in range(5):
        assert kept.secrets.get("yotpo/main") == {"store_id": "s", "access_token": "one"}
    assert kept.fetches == 1
    kept.rotate('{"access_token": "two"}')
    kept.now = MAX_AGE_SECONDS - 1
    assert kept.secrets.get("yotpo/main")["access_token"] == "one"
    kept.now = MAX_AGE_SECONDS + 1
    assert kept.secrets.get("yotpo/main")["access_token"] == "two"


def test_a_rotated_secret_is_fetched_when_refused(kept: Kept) -> None:
    """A refresh does not wait for the quarter of an hour."""
    seen = kept.secrets.get("yotpo/main")
    kept.rotate('{"access_token": "two"}')
    assert kept.secrets.refresh("yotpo/main", seen)["access_token"] == "two"
    assert kept.secrets.get("yotpo/main")["access_token"] == "two"


def test_a_refresh_is_one_flight(kept: Kept) -> None:
    """GIVEN ten attempts refused at once THEN the secret is fetched anew once."""
    seen = kept.secrets.get("yotpo/main")
    kept.rotate('{"access_token": "two"}')
    tokens: list[str] = []
    together = threading.Barrier(10)

    def refused() -> None:
        together.wait()
        tokens.append(kept.secrets.refresh("yotpo/main", seen)["access_token"])

    threads = [threading.Thread(target=refused) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tokens == ["two"] * 10
    assert kept.fetches == 2


def test_a_secret_that_is_replaced_a_moment_after_a_refresh(kept: Kept) -> None:
    """GIVEN two attempts refused with the same token, the first of which still finds that one WHEN it is replaced
    THEN the second has the new one: what is equal to what was refused is no news.
    """
    seen = kept.secrets.get("yotpo/main")
    assert kept.secrets.refresh("yotpo/main", seen)["access_token"] == "one"
    kept.rotate('{"access_token": "two"}')
    assert kept.secrets.refresh("yotpo/main", seen)["access_token"] == "two"


def test_secrets_manager_away(kept: Kept) -> None:
    """What was fetched before goes on being used; what never was cannot be, just now."""
    kept.secrets.get("yotpo/main")
    kept.now, kept.away = MAX_AGE_SECONDS + 1, True
    assert kept.secrets.get("yotpo/main")["access_token"] == "one"
    with pytest.raises(UnavailableError, match="Secrets Manager unavailable"):
        kept.secrets.get("yotpo/other")
    with pytest.raises(UnavailableError):
        kept.secrets.refresh("yotpo/main", kept.secrets.get("yotpo/main"))
    kept.away = False
    assert kept.secrets.get("yotpo/main")["access_token"] == "one"


def test_a_fetch_that_failed_is_not_repeated_by_all_who_waited_for_it(kept: Kept) -> None:
    """GIVEN ten attempts refused at once WHEN Secrets Manager is away THEN one asks, and the others hear of it."""
    seen = kept.secrets.get("yotpo/main")
    kept.away, failed = True, []
    for _ in range(10):
        with pytest.raises(UnavailableError):
            kept.secrets.refresh("yotpo/main", seen)
        failed.append(kept.fetches)
    assert failed == [2] * 10
    kept.now, kept.away = FAILED_SECONDS + 1, False
    assert kept.secrets.refresh("yotpo/main", seen)["access_token"] == "one"


def test_nobody_waits_for_another_destinations_fetch(kept: Kept) -> None:
    """GIVEN a fetch that hangs THEN another destination's credentials are there at once."""
    kept.aws.secret("yotpo/other", '{"access_token": "other"}')
    kept.secrets.get("yotpo/other")
    hangs, asked = threading.Event(), threading.Event()

    def hang(**_: Any) -> None:
        asked.set()
        hangs.wait(30)

    kept.aws.secrets.meta.events.register_first("before-call.secrets-manager.GetSecretValue", hang)
    slow = threading.Thread(target=lambda: kept.secrets.get("yotpo/main"))
    slow.start()
    assert asked.wait(30)
    assert kept.secrets.get("yotpo/other")["access_token"] == "other"
    assert slow.is_alive()
    hangs.set()
    slow.join()


def test_the_secrets_asked_for_last_are_kept(kept: Kept) -> None:
    """Of more destinations than are kept, the one asked for longest ago is fetched again."""
    for name in ("yotpo/b", "yotpo/c"):
        kept.aws.secret(name, '{"access_token": "x"}')
    secrets = SecretsManagerSecrets(kept.aws.secrets, kept.aws.name, lambda: kept.now, most=2)
    for name in ("yotpo/main", "yotpo/b", "yotpo/main", "yotpo/c", "yotpo/main"):
        secrets.get(name)
    assert kept.fetches == 3
    secrets.get("yotpo/b")
    assert kept.fetches == 4


def test_no_such_secret(kept: Kept) -> None:
    """Said with its destination."""
    with pytest.raises(CredentialsError, match="sender/other"):
        kept.secrets.get("sender/other")


@pytest.mark.parametrize("text", ["hello", "[1]", '"tok-in-the-text"', "5", "null", "{"])
def test_a_secret_that_is_no_object(aws: Aws, text: str) -> None:
    """Malformed is as good as missing, and is not repeated."""
    aws.secret("yotpo/main", text)
    with pytest.raises(CredentialsError) as caught:
        Kept(aws).secrets.get("yotpo/main")
    assert "tok-in" not in str(caught.value)


def test_a_secret_that_waits_for_its_deletion(kept: Kept) -> None:
    """As good as missing, until it is restored."""
    name = f"{kept.aws.name}/customer-events/yotpo/main"
    kept.aws.secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    with pytest.raises(CredentialsError, match="yotpo/main"):
        kept.secrets.get("yotpo/main")
    kept.aws.secrets.restore_secret(SecretId=name)
    kept.now = FAILED_SECONDS + 1
    assert kept.secrets.get("yotpo/main")["access_token"] == "one"


def test_a_secret_in_binary(aws: Aws) -> None:
    """The console writes text; a script may not. Held as malformed, and not repeated."""
    aws.secrets.create_secret(Name=f"{aws.name}/customer-events/yotpo/main", SecretBinary=b'{"access_token": "tok-b"}')
    with pytest.raises(CredentialsError) as caught:
        Kept(aws).secrets.get("yotpo/main")
    assert "tok-b" not in str(caught.value)


NO_VALUE = (
    "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html: no version without one"
)


@pytest.mark.differs("ministack", NO_VALUE)
def test_a_secret_without_a_value(aws: Aws) -> None:
    """Made, and to be filled in later: not found, so its account is held, as with none."""
    aws.secrets.create_secret(Name=f"{aws.name}/customer-events/yotpo/main")
    with pytest.raises(CredentialsError, match="no readable secret"):
        Kept(aws).secrets.get("yotpo/main")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", CredentialsError),
        ("DecryptionFailure", CredentialsError),
        ("InternalServiceError", UnavailableError),
        ("ThrottlingException", UnavailableError),
        ("ExpiredTokenException", UnavailableError),
    ],
)
def test_a_secret_that_is_refused(kept: Kept, code: str, error: type[Exception]) -> None:
    """What stays so until a person mends it holds the account; what passes by itself is tried again."""
    with Stubber(kept.aws.secrets) as stubber:
        stubber.add_client_error("get_secret_value", code)
        with pytest.raises(error):
            kept.secrets.get("yotpo/main")


def test_an_answer_without_a_secret(kept: Kept) -> None:
    """Says nothing of the secret, so it is tried again. (Neither emulator answers so, nor is AWS known to.)"""
    with Stubber(kept.aws.secrets) as stubber:
        stubber.add_response("get_secret_value", {})
        with pytest.raises(UnavailableError, match="Secrets Manager"):
            kept.secrets.get("yotpo/main")


@pytest.mark.parametrize(
    "fault", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), AttributeError("keys"), ResponseParserError("no")]
)
def test_an_answer_that_cannot_be_parsed(kept: Kept, fault: Exception) -> None:
    """botocore raises what its parser raises: Secrets Manager is away, and what was fetched before is still used."""

    def broken(**_: Any) -> None:
        raise fault

    kept.aws.secrets.meta.events.register_first("after-call.secrets-manager.GetSecretValue", broken)
    with pytest.raises(UnavailableError, match="Secrets Manager"):
        kept.secrets.get("yotpo/main")
    kept.aws.secrets.meta.events.unregister("after-call.secrets-manager.GetSecretValue", broken)
    kept.now = 2 * FAILED_SECONDS
    before = kept.secrets.get("yotpo/main")
    kept.aws.secrets.meta.events.register_first("after-call.secrets-manager.GetSecretValue", broken)
    kept.now += MAX_AGE_SECONDS + 1
    assert kept.secrets.get("yotpo/main") is before


# ------------------------------------------------------------------------------------------------ the handlers


def load(function: str) -> Callable[[Any, Any], dict[str, Any]]:
    """A function's handler, as Lambda loads it: by path."""
    spec = importlib.util.spec_from_file_location(f"{function}_app", ROOT / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[[Any, Any], dict[str, Any]] = module.handler
    return handler


def when_called(function: str) -> Callable[[Any, Any], dict[str, Any]]:
    """A handler that is loaded by its first call, with the environment as it is then."""
    loaded = cache(load)

    def handler(event: Any, context: Any) -> dict[str, Any]:
        return loaded(function)(event, context)

    return handler


def set_all(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def intake(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], dict[str, Any]]:
    """The intake function, with the environment of the template."""
    set_all(
        monkeypatch,
        {
            "AWS_ENDPOINT_URL": aws.endpoint,
            "POWERTOOLS_SERVICE_NAME": "intake",
            "POWERTOOLS_LOG_LEVEL": "DEBUG",
            "RELAY_STAGE": aws.name,
            "RELAY_DESTINATIONS": "yotpo/main,sender/main",
            "RELAY_LANES": json.dumps(aws.lanes),
            "RELAY_REJECTED_QUEUE_URL": aws.rejected,
            "RELAY_LETTERS_TABLE": aws.letters,
        },
    )
    return when_called("intake")


@pytest.fixture(params=["yotpo", "sender"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def deliver(
    aws: Aws, provider: str, sandbox: Client, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any, Any], dict[str, Any]]:
    """The deliver function of one provider, whose provider is the sandbox."""
    aws.secret("yotpo/main", '{"store_id": "sandbox-store", "access_token": "sandbox-yotpo-token"}')
    aws.secret("sender/main", '{"access_token": "sandbox-sender-token"}')
    set_all(
        monkeypatch,
        {
            "AWS_ENDPOINT_URL": aws.endpoint,
            "POWERTOOLS_SERVICE_NAME": f"deliver-{provider}",
            "POWERTOOLS_LOG_LEVEL": "DEBUG",
            "RELAY_STAGE": aws.name,
            "RELAY_DESTINATIONS": "yotpo/main,sender/main",
            "RELAY_PROVIDER": provider,
            "RELAY_BASE_URL": sandbox.url,
            "RELAY_QUEUE_URL": aws.lanes[provider],
            "RELAY_DEAD_LETTER_QUEUE_URL": aws.dead_letters,
            "RELAY_LEDGER_TABLE": aws.table,
            "RELAY_ACCOUNTS_TABLE": aws.accounts,
            "RELAY_LETTERS_TABLE": aws.letters,
            "RELAY_MAX_DELIVERY_AGE_HOURS": "72",
            "RELAY_HOLD_SECONDS": "300",
            "RELAY_DESTINATION_SETTINGS": "{}",
        },
    )
    return when_called("deliver")


def record(message: MessageTypeDef) -> dict[str, Any]:
    """A received message as Lambda hands it to a function."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:lane",
        "awsRegion": "us-east-1",
    }


@pytest.mark.parametrize("function", ["intake", "deliver"])
def test_loading_a_function_asks_nobody(
    function: str,
    intake: Callable[[Any, Any], dict[str, Any]],
    deliver: Callable[[Any, Any], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its clients are there before the first call, while Lambda gives it a whole processor, and none has called yet."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert callable(load(function))


def test_intake_takes_a_batch(aws: Aws, intake: Callable[[Any, Any], dict[str, Any]]) -> None:
    """Good events are on both lanes, the bad one in RejectedQueue, SQS hears of no failure."""
    batch = sqs_batch(
        sqs_record(event_json()), sqs_record("{"), sqs_record(json.dumps(eventbridge(event_data(id="b"))))
    )
    assert intake(batch, FakeContext()) == {"batchItemFailures": []}
    for provider in PAIR:
        lane = aws.receive(aws.lanes[provider])
        assert [json.loads(message["Body"])["id"] for message in lane] == ["evt-1", "b"]
    assert [message["Body"] for message in aws.receive(aws.rejected)] == ["{"]


@pytest.mark.parametrize("character", ["\x01", "\ufffe", "\uffff", "\ud800"], ids=ascii)
def test_intake_keeps_what_sqs_would_not_take(
    aws: Aws, intake: Callable[[Any, Any], dict[str, Any]], character: str
) -> None:
    """Characters of JSON that no SQS message may hold, in a bad event of a rule: kept all the same."""
    envelope = eventbridge(event_data(id=f"a{character}", properties={f"k{character}": character}, colour="blue"))
    assert len(intake(envelope, FakeContext())["rejected"]) == 1
    (message,) = aws.receive(aws.rejected)
    assert json.loads(message["Body"])["detail"]["colour"] == "blue"


def test_intake_takes_a_direct_call(aws: Aws, intake: Callable[[Any, Any], dict[str, Any]]) -> None:
    """Accepted by id, rejected with every error."""
    answer = intake({"events": [event_data(), event_data(id="b", type="?")]}, FakeContext())
    assert answer["accepted"] == ["evt-1"]
    assert [(entry["index"], entry["id"], entry["kept"]) for entry in answer["rejected"]] == [(1, "b", True)]
    assert [json.loads(message["Body"]) for message in aws.receive(aws.rejected)] == [event_data(id="b", type="?")]
    (kept,) = aws.dynamodb.scan(TableName=aws.letters)["Items"]
    assert json.loads(kept["body"]["S"]) == event_data(id="b", type="?")


def test_intake_reports_our_own_failure(
    aws: Aws,
    intake: Callable[[Any, Any], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A lane that is not there is our failure: the record comes back, the caller hears it, and so does an alarm."""
    monkeypatch.setenv("RELAY_LANES", json.dumps({name: f"{url}-gone" for name, url in aws.lanes.items()}))
    answer = intake(sqs_batch(sqs_record(event_json(), "m-1")), FakeContext())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    with pytest.raises(
        NotAcceptedError, match=r"SQS, yotpo lane unavailable \(AWS.SimpleQueueService.NonExistentQueue\)"
    ):
        intake(event_data(), FakeContext())
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    logged = [
        (line["level"], line["failed_at"], line["code"]) for line in lines if line.get("message") == "not accepted"
    ]
    assert logged == [("WARNING", "SQS, yotpo lane", "AWS.SimpleQueueService.NonExistentQueue")] * 2
    assert [line["IntakeFailed"] for line in lines if "IntakeFailed" in line] == [[1], [1]]


def test_the_whole_way(
    aws: Aws,
    provider: str,
    intake: Callable[[Any, Any], dict[str, Any]],
    deliver: Callable[[Any, Any], dict[str, Any]],
    sandbox: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """GIVEN an event accepted by intake WHEN deliver gets its lane's message THEN the provider has it, exactly once."""
    intake(event_data(customer={"email": EMAIL, "phone_number": PHONE}), FakeContext())
    batch = sqs_batch(*map(record, aws.receive(aws.lanes[provider])))
    assert deliver(batch, FakeContext()) == {"batchItemFailures": []}
    assert len(sandbox.requests()) == 1

    # The same message again, as after a deletion that failed.
    assert deliver(batch, FakeContext()) == {"batchItemFailures": []}
    assert len(sandbox.requests()) == 1

    item = aws.item("evt-1", f"{provider}/main")
    assert item["state"] == {"S": "delivered"}
    assert item["attempts"] == {"N": "1"}
    written = json.dumps(item) + capsys.readouterr().out
    for secret in (EMAIL, PHONE, PHONE[1:], "sandbox-yotpo-token", "sandbox-sender-token", sandbox.url):
        assert secret not in written


def test_deliver_reports_what_comes_back(
    aws: Aws, provider: str, deliver: Callable[[Any, Any], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIVEN a provider that cannot be reached THEN the message is reported, hidden for a while, and not given up."""
    monkeypatch.setenv("RELAY_BASE_URL", f"http://127.0.0.1:{free_port()}")
    send(aws, route(make_event(), DESTINATIONS, time.time()))
    received = aws.receive(aws.lanes[provider], visibility=0)
    answer = deliver(sqs_batch(*map(record, received)), FakeContext())
    assert answer == {"batchItemFailures": [{"itemIdentifier": received[0]["MessageId"]}]}
    assert aws.item("evt-1", f"{provider}/main")["state"] == {"S": "open"}
    assert aws.receive(aws.dead_letters) == []


def test_deliver_writes_a_dead_letter(aws: Aws, provider: str, deliver: Callable[[Any, Any], dict[str, Any]]) -> None:
    """What this provider cannot take is in its dead-letter queue, and SQS may delete the message."""
    event = make_event(customer={"id": "4711"})
    send(aws, route(event, DESTINATIONS, time.time()))
    received = aws.receive(aws.lanes[provider])
    assert deliver(sqs_batch(*map(record, received)), FakeContext()) == {"batchItemFailures": []}
    (letter_,) = aws.receive(aws.dead_letters)
    assert letter_["Body"] == received[0]["Body"]
    assert attributes(letter_)["reason"].startswith("customer: ")
    key = {"letter": {"S": attributes(letter_)["letter"]}}
    assert aws.dynamodb.get_item(TableName=aws.letters, Key=key)["Item"]["body"]["S"] == letter_["Body"]


def test_deliver_shows_a_request(aws: Aws, provider: str, deliver: Callable[[Any, Any], dict[str, Any]]) -> None:
    """A dry run: the request, without its secret."""
    call = {"destination": f"{provider}/main", "event": event_data(), "dry_run": True}
    answer = deliver(call, FakeContext())
    assert answer["request"]["method"] == "POST"
    assert f"sandbox-{provider}-token" not in json.dumps(answer)
    assert aws.item("evt-1", f"{provider}/main") == {}


def test_deliver_delivers_directly(
    aws: Aws, provider: str, deliver: Callable[[Any, Any], dict[str, Any]], sandbox: Client
) -> None:
    """A direct call delivers once; what it cannot deliver it says, and leaves no dead letter."""
    call = {"destination": f"{provider}/main", "event": event_data()}
    assert deliver(call, FakeContext())["outcome"] == "delivered"
    assert deliver(call, FakeContext())["outcome"] == "duplicate"
    assert len(sandbox.requests()) == 1
    rejected = deliver({**call, "event": event_data(id="b", customer={"id": "1"})}, FakeContext())
    assert rejected["outcome"] == "rejected"
    assert aws.receive(aws.dead_letters) == []


def test_settings_of_a_destination_count(
    aws: Aws, deliver: Callable[[Any, Any], dict[str, Any]], provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stack's DestinationSettings say reaches the provider."""
    monkeypatch.setenv("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"identify_by": "phone_number"}}')
    call = {"destination": f"{provider}/main", "event": event_data(customer={"email": EMAIL, "phone_number": PHONE})}
    body = deliver({**call, "dry_run": True}, FakeContext())["request"]["body"]
    assert PHONE in body
    assert (EMAIL in body) is (provider == "sender")


def test_a_function_without_settings_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not start, and names every setting it misses: Lambda logs that as the end of its init."""
    for name in ("RELAY_STAGE", "RELAY_DESTINATIONS", "RELAY_LANES", "RELAY_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="stage"):
        load("intake")
    with pytest.raises(ValueError, match="provider"):
        load("deliver")
