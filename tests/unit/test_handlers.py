"""The handlers: what comes in each way, and what is answered."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from relay.adapters.clock import SystemClock
from relay.contract.parsing import as_text
from relay.errors import CredentialsError, NotAcceptedError, NotSentError
from relay.handlers.deliver import DeliverHandler, lane_message
from relay.handlers.direct import DirectHandler
from relay.handlers.envelope import unwrap, validate
from relay.handlers.intake import MOST_ERROR_BYTES, MOST_EVENTS, IntakeHandler
from relay.handlers.records import is_sns_call, is_sqs_batch
from relay.intake.intake import Intake
from relay.observability import DeliverObserver, IntakeObserver
from relay.ports import LaneEntry
from tests.factories import (
    CREDENTIALS,
    DESTINATIONS,
    EMAIL,
    NOW,
    TOKEN,
    event_data,
    event_json,
    eventbridge,
    lane_record,
    make_reply,
    sns,
    sqs_batch,
    sqs_record,
)
from tests.fakes import FakeClock, FakeContext, FakeIntakeQueues, FakeSecrets
from tests.unit.harness import Harness

CONTEXT = FakeContext()


@pytest.fixture
def queues() -> FakeIntakeQueues:
    return FakeIntakeQueues()


@pytest.fixture
def intake(queues: FakeIntakeQueues) -> IntakeHandler:
    return IntakeHandler(Intake(queues, FakeClock(), DESTINATIONS, unwrap, validate), IntakeObserver(), FakeClock())


def deliver_handler(harness: Harness, destinations: Sequence[str] = DESTINATIONS) -> DeliverHandler:
    observer = DeliverObserver(harness.provider)
    direct = DirectHandler(harness.provider, destinations, harness.services, harness.account, observer)
    return DeliverHandler(harness.lane, direct, observer, SystemClock())


def rejected(answer: dict[str, Any]) -> list[dict[str, Any]]:
    assert set(answer) == {"accepted", "rejected"}
    found: list[dict[str, Any]] = answer["rejected"]
    return found


def failures(answer: dict[str, Any]) -> list[str]:
    assert set(answer) == {"batchItemFailures"}
    return [entry["itemIdentifier"] for entry in answer["batchItemFailures"]]


# ------------------------------------------------------------------------------------------------ intake: SQS


def test_a_batch_is_accepted(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """Events, EventBridge envelopes and SNS envelopes in one batch: all on their lanes, nothing reported."""
    bodies = [
        event_json(id="a"),
        json.dumps(eventbridge(event_data(id="b"))),
        json.dumps(sns(event_data(id="c"))),
        json.dumps(sns(eventbridge(event_data(id="d")))),
    ]
    assert failures(intake.handle(sqs_batch(*map(sqs_record, bodies)), CONTEXT)) == []
    assert [json.loads(entry.body)["id"] for entry in queues.entries] == list("abcd" * len(DESTINATIONS))


def test_the_message_id_is_the_correlation_id(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """What a producer got from SQS finds the event in both functions' logs."""
    intake.handle(sqs_batch(sqs_record(event_json(), "m-7")), CONTEXT)
    assert {entry.correlation_id for entry in queues.entries} == {"m-7"}


def names(entries: list[LaneEntry]) -> list[str]:
    """The deduplication ids."""
    return [entry.deduplication_id for entry in entries]


def test_a_copy_of_an_sqs_record_is_no_new_message(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """GIVEN a record that SQS hands out twice THEN its messages are the same; those of its like are not."""
    for message_id in ("m-1", "m-1", "m-2"):
        assert failures(intake.handle(sqs_batch(sqs_record(event_json(), message_id)), CONTEXT)) == []
    assert queues.entries[2:4] == queues.entries[:2]
    assert len(set(names(queues.entries))) == 4


def test_an_sqs_record_came_when_it_was_put_on_its_queue(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """Not when it is received, which may be hours later: that is its version, and its moment where it has none."""
    record = sqs_record(event_json(occurred_at=...))
    record["attributes"]["SentTimestamp"] = str(int((NOW - 7200) * 1000) + 125)
    intake.handle(sqs_batch(record), CONTEXT)
    assert {entry.accepted_at for entry in queues.entries} == {NOW - 7200 + 0.125}
    assert json.loads(queues.entries[0].body)["occurred_at"] == "2026-11-22T08:00:00Z"


@pytest.mark.parametrize("given", [None, "", "soon", "-5", "1.5", "²", " 1795341600000"])
def test_an_sqs_record_that_does_not_say_when_came_now(
    intake: IntakeHandler, queues: FakeIntakeQueues, given: str | None
) -> None:
    """Absent or malformed."""
    record = sqs_record(event_json())
    if given is None:
        del record["attributes"]["SentTimestamp"]
    else:
        record["attributes"]["SentTimestamp"] = given
    assert failures(intake.handle(sqs_batch(record), CONTEXT)) == []
    assert {entry.accepted_at for entry in queues.entries} == {NOW}


@pytest.mark.parametrize("bad", ["", "{", "[]", "5", '{"id": NaN}', event_json(type="?"), "[" * 10_000])
def test_a_bad_record_never_touches_its_neighbours(intake: IntakeHandler, queues: FakeIntakeQueues, bad: str) -> None:
    """It is kept with its body and reasons; the others are accepted, and SQS hears of no failure."""
    batch = sqs_batch(sqs_record(event_json(id="a")), sqs_record(bad), sqs_record(event_json(id="b")))
    assert failures(intake.handle(batch, CONTEXT)) == []
    assert len(queues.entries) == 4
    assert [kept.body for kept in queues.rejects] == [as_text(bad)]
    assert queues.rejects[0].reason


def test_a_wholly_bad_batch(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """Ten bad records are ten rejects, and no failure of ours."""
    assert failures(intake.handle(sqs_batch(*(sqs_record("{") for _ in range(10))), CONTEXT)) == []
    assert len(queues.rejects) == 10


def test_our_own_failure_is_reported(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """GIVEN a lane that will not take one event THEN only that record comes back."""
    queues.fails_for = lambda body: '"b"' in body
    batch = sqs_batch(*(sqs_record(event_json(id=name), f"m-{name}") for name in "abc"))
    assert failures(intake.handle(batch, CONTEXT)) == ["m-b"]


def test_a_whole_batch_of_our_own_failures(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """GIVEN SQS away THEN every record is reported, rejects too, and nothing is raised."""
    queues.fails_for = lambda body: True
    batch = sqs_batch(sqs_record(event_json(), "m-1"), sqs_record("{", "m-2"))
    assert failures(intake.handle(batch, CONTEXT)) == ["m-1", "m-2"]


def test_batches_do_not_share_failures(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """A warm function starts each batch afresh."""
    queues.fails_for = lambda body: True
    intake.handle(sqs_batch(sqs_record(event_json(), "m-1")), CONTEXT)
    queues.fails_for = lambda body: False
    assert failures(intake.handle(sqs_batch(sqs_record(event_json(), "m-2")), CONTEXT)) == []


def test_an_empty_batch(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """SQS never sends one; whoever does hears that there was nothing in it."""
    answer = intake.handle({"Records": []}, CONTEXT)
    assert answer.get("batchItemFailures", answer.get("rejected")) is not None
    assert queues.entries == []


# ------------------------------------------------------------------------------------------------ intake: EventBridge


def test_eventbridge(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """A rule that targets the function itself: the detail is the event, the envelope's id the correlation id."""
    envelope = eventbridge(event_data())
    assert intake.handle(envelope, CONTEXT) == {"accepted": ["evt-1"], "rejected": []}
    assert {entry.correlation_id for entry in queues.entries} == {envelope["id"]}


def test_an_eventbridge_event_tried_again_is_no_new_message(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """GIVEN an event that Lambda hands over twice THEN its messages are the same; those of another id are not."""
    for event_id in ("one", "one", "two"):
        intake.handle(eventbridge(event_data(), id=event_id), CONTEXT)
    assert queues.entries[2:4] == queues.entries[:2]
    assert len(set(names(queues.entries))) == 4


@pytest.mark.parametrize("given", ["soon", "", None, [], {}, ...])
def test_an_eventbridge_event_without_a_moment_is_kept(
    intake: IntakeHandler, queues: FakeIntakeQueues, given: Any
) -> None:
    """EventBridge never makes one: it is a reject like any other, not a crash that Lambda tries again."""
    envelope = {name: value for name, value in eventbridge(event_data(), time=given).items() if value is not ...}
    assert intake.handle(envelope, CONTEXT)["accepted"] == []
    assert [json.loads(kept.body) for kept in queues.rejects] == [envelope]


@pytest.mark.parametrize("detail", [{}, event_data(type="?"), 5, None, eventbridge(event_data())])
def test_a_bad_eventbridge_event_is_kept(intake: IntakeHandler, queues: FakeIntakeQueues, detail: object) -> None:
    """Nobody waits for the answer, so the whole envelope is kept."""
    envelope = eventbridge(detail)
    answer = intake.handle(envelope, CONTEXT)
    assert answer["accepted"] == []
    assert answer["rejected"][0]["errors"]
    assert answer["rejected"][0]["kept"]
    assert [json.loads(kept.body) for kept in queues.rejects] == [envelope]


def test_eventbridge_when_a_lane_is_away(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """Lambda tries an asynchronous call again when it fails."""
    queues.fails_for = lambda body: True
    with pytest.raises(NotAcceptedError):
        intake.handle(eventbridge(event_data()), CONTEXT)


# ------------------------------------------------------------------------------------------------ intake: SNS


def sns_call(*messages: object) -> dict[str, Any]:
    """What SNS calls a function with: keys of its own, and `Url` where a queue gets `URL`."""
    records = []
    for number, message in enumerate(messages):
        given = sns(message, MessageId=f"n-{number}")
        given["SigningCertUrl"], given["UnsubscribeUrl"] = given.pop("SigningCertURL"), given.pop("UnsubscribeURL")
        arn = f"{given['TopicArn']}:6a7e8feb"
        records.append(
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": arn,
                "Sns": {**given, "Subject": None, "MessageAttributes": {}},
            }
        )
    return {"Records": records}


@pytest.mark.parametrize("message", [event_data(), eventbridge(event_data())], ids=["event", "eventbridge"])
def test_a_topic_that_calls_the_function(intake: IntakeHandler, queues: FakeIntakeQueues, message: object) -> None:
    """A subscription of the protocol `lambda`: the message is the event, in an envelope of EventBridge or not."""
    assert intake.handle(sns_call(message), CONTEXT) == {"accepted": ["evt-1"], "rejected": []}
    assert {entry.correlation_id for entry in queues.entries} == {"n-0"}


def test_a_notification_in_a_queue_and_at_the_function_is_one_record(
    intake: IntakeHandler, queues: FakeIntakeQueues
) -> None:
    """GIVEN a topic that both are subscribed to THEN its message is on each lane once."""
    intake.handle(sns_call(event_data()), CONTEXT)
    intake.handle(sqs_batch(sqs_record(json.dumps(sns(event_data(), MessageId="n-0")))), CONTEXT)
    assert len(set(names(queues.entries))) == len(DESTINATIONS)


@pytest.mark.parametrize("message", ["hello", event_data(type="?"), sns(event_data())])
def test_a_bad_notification_is_kept(intake: IntakeHandler, queues: FakeIntakeQueues, message: object) -> None:
    """Nobody waits for the answer. Put into IntakeQueue, what is kept is a notification as any."""
    call = sns_call(message, event_data(id="good"))
    assert intake.handle(call, CONTEXT)["accepted"] == ["good"]
    assert [json.loads(kept.body) for kept in queues.rejects] == [call["Records"][0]["Sns"]]
    (error,) = {error["field"] for each in rejected(intake.handle(call, CONTEXT)) for error in each["errors"]}
    assert intake.handle(sqs_batch(sqs_record(queues.rejects[0].body)), CONTEXT) == {"batchItemFailures": []}
    assert error in queues.rejects[-1].reason


@pytest.mark.parametrize("record", [{}, {"Sns": None}, {"Sns": 5}, {"Sns": {}}, {"Sns": {"MessageId": 5}}])
def test_a_notification_that_is_none(intake: IntakeHandler, queues: FakeIntakeQueues, record: dict[str, Any]) -> None:
    """A reject like any other, not a crash that Lambda tries again."""
    answer = intake.handle({"Records": [{"EventSource": "aws:sns", **record}]}, CONTEXT)
    assert answer["accepted"] == []
    assert len(queues.rejects) == 1


def test_a_notification_that_cannot_be_taken_comes_again(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """SNS calls asynchronously: Lambda tries again."""
    queues.fails_for = lambda body: True
    with pytest.raises(NotAcceptedError):
        intake.handle(sns_call(event_data()), CONTEXT)


@pytest.fixture
def logged_ways(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Message and way of each line logged. Asked for before the handler, whose logger takes its level at birth."""
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "INFO")
    return lambda: {(record.message, vars(record)["via"]) for record in caplog.records}


@pytest.mark.parametrize(
    ("call", "via"),
    [
        (sqs_batch(sqs_record(event_json())), "sqs"),
        (sqs_batch(sqs_record(json.dumps(eventbridge(event_data())))), "eventbridge, sqs"),
        (sqs_batch(sqs_record(json.dumps(sns(event_data())))), "sns, sqs"),
        (sqs_batch(sqs_record(json.dumps(sns(eventbridge(event_data()))))), "eventbridge, sns, sqs"),
        (eventbridge(event_data()), "eventbridge"),
        (sns_call(event_data()), "sns"),
        (sns_call(eventbridge(event_data())), "eventbridge, sns"),
        (event_data(), "direct"),
        ({"events": [event_data()]}, "direct"),
    ],
)
def test_the_log_says_which_way_a_record_came(
    logged_ways: Callable[[], Any], intake: IntakeHandler, call: dict[str, Any], via: str
) -> None:
    """The services it came through, the first one first: whoever asks what happened to an event begins there."""
    intake.handle(call, CONTEXT)
    assert logged_ways() == {("accepted", via)}


@pytest.mark.parametrize(
    ("call", "via"),
    [
        (sqs_batch(sqs_record("{")), "sqs"),
        (sqs_batch(sqs_record(json.dumps(sns(eventbridge({}))))), "eventbridge, sns, sqs"),
        (eventbridge(None, time="soon"), "eventbridge"),
        (sns_call("hello"), "sns"),
        ({"events": 5}, "direct"),
    ],
)
def test_the_way_of_a_reject_is_logged_too(
    logged_ways: Callable[[], Any], intake: IntakeHandler, call: dict[str, Any], via: str
) -> None:
    """As far as it could be read; its producer has to be told."""
    intake.handle(call, CONTEXT)
    assert logged_ways() == {("rejected", via)}


# ------------------------------------------------------------------------------------------------ intake: direct


def test_one_event_directly(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """The event itself, answered with its id; the request's id is the correlation id."""
    assert intake.handle(event_data(), CONTEXT) == {"accepted": ["evt-1"], "rejected": []}
    assert {entry.correlation_id for entry in queues.entries} == {"req-1"}


def test_many_events_directly(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """The good are accepted, the bad come back with place, id and every error."""
    call = {"events": [event_data(id="a"), event_data(id="b", type="Order Shipped", value="1"), 5, event_data(id="c")]}
    answer = intake.handle(call, CONTEXT)
    assert answer["accepted"] == ["a", "c"]
    assert [(entry["index"], entry["id"]) for entry in answer["rejected"]] == [(1, "b"), (2, None)]
    assert answer["rejected"][0]["errors"] == [
        {"field": "type", "message": "may hold only letters, digits and underscores, such as order_shipped"},
        {"field": "value", "message": "must be a number"},
    ]
    assert answer["rejected"][1]["errors"] == [{"field": "body", "message": "must be a JSON object, is a number"}]
    assert len(queues.entries) == 4


@pytest.mark.parametrize(
    "call",
    [event_data(type="?"), {"events": [event_data(type="?")]}, {"events": 5}, "text", None, {}],
    ids=["one", "many", "no list", "text", "null", "empty"],
)
def test_what_nobody_may_hear_of_is_kept(intake: IntakeHandler, queues: FakeIntakeQueues, call: Any) -> None:
    """An asynchronous call (an SDK's, a rule's whose InputPath makes an event) looks like any other; nobody hears its
    answer.
    """
    (entry,) = rejected(intake.handle(call, CONTEXT))
    assert entry["kept"] is True
    (kept,) = queues.rejects
    whole = call["events"][0] if isinstance(call, dict) and isinstance(call.get("events"), list) else call
    assert kept.body == call if isinstance(call, str) else json.loads(kept.body) == whole
    assert kept.reason


def test_what_is_kept_in_part_is_not_called_kept(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """6 MB can only come from a caller who hears the answer."""
    (entry,) = rejected(intake.handle(event_data(colour="x" * 2_000_000), CONTEXT))
    assert entry["kept"] is False
    assert queues.rejects[0].whole_bytes is not None
    assert queues.rejects[0].whole_bytes > 2_000_000


def test_what_cannot_be_kept_is_no_answer(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """An asynchronous call would lose it. Made again, the call repeats nothing: its accepted events are the same
    messages, or known to the ledger.
    """
    queues.fails_for = lambda body: '"?"' in body
    with pytest.raises(NotAcceptedError) as caught:
        intake.handle({"events": [event_data(), event_data(type="?")]}, CONTEXT)
    assert "SQS, RejectedQueue unavailable (InvalidMessageContents)" in str(caught.value)
    assert "1 of 2 events not accepted, the first has index 1" in str(caught.value)


def test_a_call_made_again_keeps_its_rejects_once(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """GIVEN a call of which an event cannot be taken WHEN Lambda makes it again THEN its rejects are kept, and once."""
    call = {"events": [event_data(), event_data(type="?")]}
    queues.fails_for = lambda body: "order_shipped" in body
    with pytest.raises(NotAcceptedError):
        intake.handle(call, CONTEXT)
    queues.fails_for = lambda body: False
    assert intake.handle(call, CONTEXT)["accepted"] == ["evt-1"]
    assert len(queues.rejects) == 1


def test_more_events_than_a_call_may_hold(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """One error, which names the field, the number and what to do; nothing is accepted halfway."""
    (entry,) = rejected(intake.handle({"events": [event_data()] * (MOST_EVENTS + 1)}, CONTEXT))
    (error,) = entry["errors"]
    assert error["field"] == "events"
    assert f"{MOST_EVENTS + 1} events, at most {MOST_EVENTS}" in error["message"]
    assert (entry["index"], entry["kept"]) == (0, True)
    assert queues.entries == []


@pytest.mark.long
def test_as_many_events_as_a_call_may_hold(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """In a hundred calls per lane."""
    call = {"events": [event_data(id=f"e-{number}") for number in range(MOST_EVENTS)]}
    assert intake.handle(call, CONTEXT)["accepted"] == [f"e-{number}" for number in range(MOST_EVENTS)]
    assert len(queues.calls) == 2 * MOST_EVENTS // 10


def test_a_call_that_is_not_done_in_time_fails(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """As a whole, and says how far it came."""
    with pytest.raises(NotAcceptedError, match=r"intake unavailable \(no time left\); 2 of 2 events"):
        intake.handle({"events": [event_data()] * 2}, FakeContext(remaining=11_000))
    assert intake.handle(sqs_batch(sqs_record(event_json(), "m-1")), FakeContext(remaining=11_000)) == {
        "batchItemFailures": [{"itemIdentifier": "m-1"}]
    }


def test_a_failed_call_says_nothing_personal(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """Its caller, and Lambda's log, read the exception."""
    queues.away = KeyError(EMAIL)
    with pytest.raises(NotAcceptedError) as caught:
        intake.handle(event_data(id=EMAIL), CONTEXT)
    assert EMAIL not in f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.__context__}"


def test_each_event_of_a_call_is_a_record_of_its_own(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """The same event twice in one call, or in two, is sent twice: an update taken back is not swallowed. The same
    request tried again is the same messages.
    """
    for request in ("req-1", "req-2", "req-1"):
        intake.handle({"events": [event_data(), event_data()]}, FakeContext(request))
    first, second, again = (queues.entries[start : start + 4] for start in (0, 4, 8))
    assert len(set(names([*first, *second]))) == 8
    assert again == first
    assert {entry.accepted_at for entry in queues.entries} == {NOW}


def test_an_answer_stays_short(intake: IntakeHandler) -> None:
    """Whatever is wrong with an event, and however often: its answer is a few kilobytes."""
    long = "x" * 100_000
    call = {"events": [event_data(id=long, properties={f"{long}{index}": [] for index in range(30)})]}
    assert len(json.dumps(intake.handle(call, CONTEXT))) < 5_000


@pytest.mark.long
def test_an_answer_to_many_stays_short(intake: IntakeHandler) -> None:
    """Lambda calls an answer above 6 MB a failure of the function. What is not named is counted, for each."""
    bad = event_data(**{f"{'x' * 250}{index}": 1 for index in range(25)})
    answer = intake.handle({"events": [bad] * MOST_EVENTS}, CONTEXT)
    assert MOST_ERROR_BYTES < len(json.dumps(answer)) < 2 * MOST_ERROR_BYTES
    assert rejected(answer)[-1]["errors"] == [{"field": "body", "message": "errors not named here: 21"}]
    assert all(entry["errors"] and entry["kept"] for entry in rejected(answer))


def test_envelopes_directly(intake: IntakeHandler) -> None:
    """What may stand alone may stand in the list."""
    call = {"events": [eventbridge(event_data(id="a")), sns(event_data(id="b"))]}
    assert intake.handle(call, CONTEXT) == {"accepted": ["a", "b"], "rejected": []}


def test_no_events_directly(intake: IntakeHandler) -> None:
    """An empty list is an answer as empty."""
    assert intake.handle({"events": []}, CONTEXT) == {"accepted": [], "rejected": []}


@pytest.mark.parametrize("events", ["x", 5, None, {}, event_data()])
def test_events_that_are_no_list(intake: IntakeHandler, events: object) -> None:
    """One error, about `events`."""
    (rejected,) = intake.handle({"events": events}, CONTEXT)["rejected"]
    assert [error["field"] for error in rejected["errors"]] == ["events"]


def test_events_with_something_beside_them(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """What else was meant is not guessed, and nothing is accepted halfway."""
    (rejected,) = intake.handle({"events": [event_data()], "dry_run": True}, CONTEXT)["rejected"]
    assert [error["field"] for error in rejected["errors"]] == ["events"]
    assert queues.entries == []


@pytest.mark.parametrize(
    "call",
    [
        None,
        5,
        "text",
        [],
        [event_data()],
        True,
        1.5,
        {},
        {"Records": "x"},
        {"Records": [{}]},
        {"Records": [5]},
        {"detail": 1},
    ],
)
def test_wrong_shapes(intake: IntakeHandler, queues: FakeIntakeQueues, call: object) -> None:
    """Anything else is one rejection that names fields, never a crash."""
    answer = intake.handle(call, CONTEXT)
    assert answer["accepted"] == []
    (rejected,) = answer["rejected"]
    assert all(error["field"] and error["message"] for error in rejected["errors"])
    assert queues.entries == []


def test_direct_when_a_lane_is_away(intake: IntakeHandler, queues: FakeIntakeQueues) -> None:
    """The caller holds the event and hears that it was not taken."""
    queues.fails_for = lambda body: True
    with pytest.raises(NotAcceptedError, match="SQS, yotpo lane unavailable"):
        intake.handle(event_data(), CONTEXT)


@pytest.mark.parametrize(
    ("event", "is_one"),
    [
        (sqs_batch(sqs_record("x")), True),
        ({"Records": [{"eventSource": "aws:sns"}]}, False),
        ({"Records": [sqs_record("x"), {}]}, False),
        ({"Records": {}}, False),
        ({}, False),
        (None, False),
        ([], False),
    ],
)
def test_what_is_an_sqs_batch(event: object, is_one: bool) -> None:
    """Records, all of them from SQS."""
    assert is_sqs_batch(event) is is_one


@pytest.mark.parametrize(
    ("event", "is_one"),
    [
        (sns_call("x"), True),
        ({"Records": [*sns_call("x")["Records"], sqs_record("x")]}, False),
        (sqs_batch(sqs_record("x")), False),
        ({"Records": []}, False),
        (sns("x"), False),
        (None, False),
    ],
)
def test_what_is_a_call_of_sns(event: object, is_one: bool) -> None:
    """Records, all of them from SNS. (A notification by itself is a direct call with an envelope.)"""
    assert is_sns_call(event) is is_one


# ------------------------------------------------------------------------------------------------ deliver: SQS


def test_a_lane_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not delivered is reported by the id of its message, not of its event."""
    harness = Harness("sender", answers={"b": [make_reply(503)]})
    handler = deliver_handler(harness)
    records = [
        lane_record(
            event_json(id=name, properties={"name": name}, customer={"id": name, "email": f"{name}@b.io"}), f"m-{name}"
        )
        for name in "abc"
    ]
    assert failures(handler.handle(sqs_batch(*records), CONTEXT)) == ["m-b"]
    assert sorted(harness.sent) == ["a", "b", "c"]


def test_an_empty_lane_batch() -> None:
    """SQS never sends one; whoever does hears that there was nothing in it."""
    answer = deliver_handler(Harness()).handle({"Records": []}, CONTEXT)
    assert answer.get("batchItemFailures", answer.get("errors")) is not None


def test_what_a_lane_record_carries() -> None:
    """Account, age, hash and correlation id come from the record."""
    harness = Harness("sender", names=("main", "second"))
    body = event_json(properties={"name": "x"})
    record = lane_record(
        body, "m-1", "second", harness.clock.now() - 100, content_hash="ab" * 32, correlation_id="corr-9"
    )
    assert failures(deliver_handler(harness).handle(sqs_batch(record), CONTEXT)) == []
    kept = harness.ledger.records["evt-1", "sender/second"]
    assert kept.content_hash == "ab" * 32
    assert kept.accepted_at == pytest.approx(harness.clock.now() - 100, abs=1)


@pytest.mark.parametrize("receive_count", [1, 2, 700])
def test_how_often_a_lane_record_was_received(receive_count: int) -> None:
    """As SQS counts."""
    assert lane_message(SQSRecord(lane_record(event_json(), receive_count=receive_count))).receives == receive_count


@pytest.mark.parametrize(
    ("given", "account", "group"),
    [("main", "main", ""), ("main#2", "main", "main#2"), ("main#backfill", "main", "main#backfill"), ("", "", "")],
)
def test_whose_a_message_group_is(given: str, account: str, group: str) -> None:
    """An account's only group, or its first, has its name; each other one a number beside it, its history a word."""
    message = lane_message(SQSRecord(lane_record(event_json(), account=given)))
    assert (message.account, message.group) == (account, group)
    assert message.is_backfill == given.endswith("#backfill")


def test_a_lane_record_of_a_second_group_is_its_accounts() -> None:
    """GIVEN messages of `main#2` THEN they go to account main at its pace, and a dead letter keeps the group."""
    harness = Harness()
    harness.answers = {"bad": [make_reply(422)]}
    records = [lane_record(event_json(id=name, properties={"name": name}), name, "main#2") for name in ("e0", "bad")]
    assert failures(deliver_handler(harness).handle(sqs_batch(*records), CONTEXT)) == []
    assert set(harness.ledger.records) == {("e0", "yotpo/main"), ("bad", "yotpo/main")}
    assert list(harness.records.records) == ["yotpo/main"]
    assert [(letter.destination, letter.group) for letter in harness.queue.letters] == [("yotpo/main", "main#2")]


def test_when_the_record_behind_a_lane_record_came() -> None:
    """As intake wrote it beside the body, and a dead letter kept it."""
    record = SQSRecord(lane_record(event_json(), sent_at=NOW + 500, accepted_at="1795341600.125"))
    assert (lane_message(record).accepted_at, lane_message(record).sent_at) == (NOW + 0.125, NOW + 500)


@pytest.mark.parametrize(
    "given", ["", "-", "soon", "1795341600", "1795341600.5", "-1.000", "17953416000.000", "1e9", "nan"]
)
def test_a_moment_that_is_none_is_not_taken(given: str) -> None:
    """Other systems may write to the lane: then the moment at which they did counts."""
    assert lane_message(SQSRecord(lane_record(event_json(), accepted_at=given))).accepted_at is None
    assert lane_message(SQSRecord(lane_record(event_json()))).accepted_at is None


@pytest.mark.parametrize("given", ["", "-", "not a hash", "AB" * 32, "é" * 64])
def test_a_hash_that_is_none_is_not_taken(given: str) -> None:
    """Other systems may write to the lane: what they write as hash is believed only if it is one."""
    harness = Harness("sender")
    record = lane_record(event_json(properties={"name": "x"}), content_hash=given)
    assert failures(deliver_handler(harness).handle(sqs_batch(record), CONTEXT)) == []
    assert len(harness.ledger.records["evt-1", "sender/main"].content_hash) == 64
    assert harness.ledger.records["evt-1", "sender/main"].content_hash != given


def test_a_lane_record_without_attributes() -> None:
    """A message that somebody wrote by hand is delivered too."""
    harness = Harness("sender")
    assert (
        failures(deliver_handler(harness).handle(sqs_batch(lane_record(event_json(properties={"name": "x"}))), CONTEXT))
        == []
    )
    assert harness.sent == ["x"]


# ------------------------------------------------------------------------------------------------ deliver: direct


def call(**changes: Any) -> dict[str, Any]:
    given = {"destination": "yotpo/main", "event": event_data(properties={"name": "x"}), **changes}
    return {key: value for key, value in given.items() if value is not ...}


@pytest.mark.parametrize("provider", ["yotpo", "sender"])
def test_a_dry_run(provider: str) -> None:
    """The exact request, with every secret masked, and nothing sent, claimed or written."""
    harness = Harness(provider, secrets=FakeSecrets({"store_id": "store 1", "access_token": "to/k+en&1"}))
    answer = deliver_handler(harness).handle(call(destination=f"{provider}/main", dry_run=True), CONTEXT)
    assert (answer["dry_run"], answer["destination"]) == (True, f"{provider}/main")
    request = answer["request"]
    assert request["method"] == "POST"
    assert json.loads(request["body"])["type"] == "order_shipped"
    assert "***" in f"{request['url']}{request['headers']}"
    shown = json.dumps(answer)
    assert "to/k+en&1" not in shown
    assert "to%2Fk%2Ben%261" not in shown
    assert harness.sent == []
    assert harness.ledger.claims == 0


def test_a_dry_run_of_an_event_without_a_moment() -> None:
    """What would be delivered can be shown."""
    answer = deliver_handler(Harness()).handle(call(event=event_data(occurred_at=...), dry_run=True), CONTEXT)
    assert "request" in answer


def test_delivered_directly() -> None:
    """Without dry_run it delivers once, and shows what went out and what came back."""
    harness = Harness(answers={"x": [make_reply(201, {"message": f"created with {TOKEN}"})]})
    answer = deliver_handler(harness).handle(call(), CONTEXT)
    assert (answer["outcome"], answer["event_id"], answer["destination"]) == ("delivered", "evt-1", "yotpo/main")
    assert answer["attempts"] == 1
    assert answer["response"]["status"] == 201
    assert TOKEN not in json.dumps(answer)
    assert EMAIL in answer["request"]["body"]
    assert harness.ledger.records["evt-1", "yotpo/main"].state == "delivered"


def test_a_direct_call_knows_what_an_operator_has_just_done() -> None:
    """GIVEN an environment that takes its account for one that works, or does not WHEN an operator has held it, or
    resumed it, since THEN a direct call goes by that.
    """
    harness = Harness()
    handler = deliver_handler(harness)
    handler.handle(call(), CONTEXT)
    harness.records.change("yotpo/main", held="they asked us to stop")
    held = handler.handle(call(event=event_data(id="evt-2", properties={"name": "y"})), CONTEXT)
    assert (held["outcome"], held["request"]) == ("throttled", None)
    harness.records.resume("yotpo/main")
    answer = handler.handle(call(event=event_data(id="evt-3", properties={"name": "z"})), CONTEXT)
    assert answer["outcome"] == "delivered"
    assert harness.secrets.resumed == 1


def test_any_account_directly() -> None:
    """GIVEN `yotpo/*` THEN a direct call may name every account that can have a secret, and no other."""
    handler = deliver_handler(Harness(names=("*",)), ("yotpo/*", "sender/*"))
    assert handler.handle(call(destination="yotpo/shop-0417"), CONTEXT)["outcome"] == "delivered"
    for name in ("yotpo/*", "yotpo/a b", "sender/shop-0417", "yotpo/ada@example.com"):
        (error,) = handler.handle(call(destination=name), CONTEXT)["errors"]
        assert error == {"field": "destination", "message": "must be one of: yotpo/*"}


def test_delivered_directly_twice() -> None:
    """The ledger holds for direct calls too: the second shows no request."""
    handler = deliver_handler(Harness())
    handler.handle(call(), CONTEXT)
    answer = handler.handle(call(), CONTEXT)
    assert (answer["outcome"], answer["request"], answer["response"]) == ("duplicate", None, None)


def test_delivered_directly_whatever_came_later() -> None:
    """A repair of what a later version broke: an earlier content is sent, and no version for the lane."""
    harness = Harness()
    handler = deliver_handler(harness)
    later = event_json(occurred_at="2026-11-22T10:30:00Z", properties={"name": "y"})
    assert failures(handler.handle(sqs_batch(lane_record(later)), CONTEXT)) == []
    assert handler.handle(call(), CONTEXT)["outcome"] == "delivered"
    assert harness.sent == ["y", "x"]
    assert harness.ledger.records["evt-1", "yotpo/main"].delivered_version.startswith("001795343400.000000 ")


def test_refused_directly() -> None:
    """The provider's answer is shown, its reason masked."""
    harness = Harness(answers={"x": [make_reply(422, {"message": f"{EMAIL} is bad"})]})
    answer = deliver_handler(harness).handle(call(), CONTEXT)
    assert (answer["outcome"], answer["reason"]) == ("rejected", "HTTP 422")
    assert EMAIL not in answer["detail"]
    assert answer["response"]["status"] == 422


def test_no_answer_directly() -> None:
    """No reply, no response; the request is shown."""
    harness = Harness()
    harness.transport._otherwise = NotSentError("ConnectionRefusedError")
    answer = deliver_handler(harness).handle(call(), CONTEXT)
    assert answer["outcome"] == "retry"
    assert answer["response"] is None
    assert answer["request"]


def test_an_envelope_directly() -> None:
    """The event may come in an envelope, as everywhere."""
    wrapped = eventbridge(event_data(properties={"name": "x"}))
    assert deliver_handler(Harness()).handle(call(event=wrapped), CONTEXT)["outcome"] == "delivered"


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (None, ["body"]),
        (5, ["body"]),
        ("text", ["body"]),
        ([], ["body"]),
        ({}, ["destination", "event"]),
        (call(destination=...), ["destination"]),
        (call(event=...), ["event"]),
        (call(event="text"), ["event"]),
        (call(event=[]), ["event"]),
        (call(dry_run="yes"), ["dry_run"]),
        (call(dry_run=1), ["dry_run"]),
        (call(colour="red"), ["colour"]),
        (call(destination=5), ["destination"]),
        (call(destination="yotpo/other"), ["destination"]),
        (call(destination="sender/main"), ["destination"]),
        (call(destination="yotpo/*"), ["destination"]),
        (call(destination=""), ["destination"]),
        (call(event=event_data(type="?", value="x")), ["type", "value"]),
        (call(event=event_data(customer={"id": "4711"}), dry_run=True), ["customer"]),
        ({"Records": [{"eventSource": "aws:sns"}]}, ["destination", "event", "Records"]),
    ],
)
def test_wrong_calls(given: object, fields: list[str]) -> None:
    """One answer with every error and its field; nothing sent."""
    harness = Harness()
    answer = deliver_handler(harness).handle(given, CONTEXT)
    assert answer["outcome"] == "rejected"
    assert [error["field"] for error in answer["errors"]] == fields
    assert all(error["message"] for error in answer["errors"])
    assert harness.sent == []


def test_a_dry_run_without_a_secret() -> None:
    """What is missing is said, not raised."""
    harness = Harness()
    harness.secrets.failure = CredentialsError("no readable secret for yotpo/main")
    answer = deliver_handler(harness).handle(call(dry_run=True), CONTEXT)
    assert answer["outcome"] == "unauthorized"
    assert answer["errors"] == [{"field": "destination", "message": "no readable secret for yotpo/main"}]


HOSTILE: list[Callable[[], dict[str, Any]]] = [
    lambda: call(event=event_data(properties={"name": "x", "big": "ü" * 200_000})),
    lambda: call(event=json.loads('{"a":' * 900 + "1" + "}" * 900)),
    lambda: call(event={"\ud800": 1}),
    lambda: {"destination": "\ud800", "event": {}},
]


@pytest.mark.parametrize("given", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_calls(given: Callable[[], dict[str, Any]]) -> None:
    """Size, depth and broken text end as an answer that is JSON."""
    answer = deliver_handler(Harness()).handle(given(), CONTEXT)
    assert answer["outcome"] == "rejected"
    json.dumps(answer).encode()


def test_no_secret_in_any_answer() -> None:
    """The token is in no answer, whatever the provider repeats of it."""
    harness = Harness(answers={"x": [make_reply(400, {"message": f"{TOKEN} {TOKEN}"})]})
    assert CREDENTIALS["access_token"] == TOKEN
    assert TOKEN not in json.dumps(deliver_handler(harness).handle(call(), CONTEXT))


@pytest.mark.parametrize(
    "quoted",
    [
        "ab+cd/ef==",
        "ab\\u002Bcd\\/ef==",
        "ab%2Bcd%2Fef%3D%3D",
        "AB%252bCD%252fEF==",
        "ab&#43;cd&sol;ef==",
        "ab+cd/\u200bef==",
    ],
    ids=ascii,
)
def test_no_answer_holds_the_token_in_whatever_encoding(quoted: str) -> None:
    """GIVEN a provider that repeats the token as JSON, HTML or a URL writes it THEN nothing of it is in the answer."""
    harness = Harness(secrets=FakeSecrets({"store_id": "store-1", "access_token": "ab+cd/ef==\n"}))
    harness.answers["x"] = [make_reply(201, f'no token "{quoted}" here'.encode())]
    answer = deliver_handler(harness).handle(call(), CONTEXT)
    assert answer["response"]["body"] == 'no token "***" here'
    assert answer["request"]["url"].endswith("access_token=***")


def test_a_rejected_record_that_is_put_in_again_keeps_its_moment(
    intake: IntakeHandler, queues: FakeIntakeQueues
) -> None:
    """Redriven, it is no later version than it was."""
    record = sqs_record("{", "m-1")
    intake.handle(sqs_batch(record), CONTEXT)
    (reject,) = queues.rejects
    assert reject.accepted_at == NOW
    again = sqs_record(event_json(), "m-2", accepted_at="1795341000.250")
    intake.handle(sqs_batch(again), CONTEXT)
    assert {entry.accepted_at for entry in queues.entries} == {1795341000.25}


def test_a_body_that_intake_has_dated_is_the_same_event_in_a_direct_call() -> None:
    """GIVEN a lane's body and the hash beside it WHEN it is delivered directly THEN it is no other content."""
    harness = Harness("sender", deaf=True)
    handler = deliver_handler(harness)
    assert handler.handle({"destination": "sender/main", "event": event_data()}, CONTEXT)["outcome"] == "delivered"
    dated = {**event_data(), "value": 7}
    kept = next(iter(harness.ledger.records.values())).content_hash
    call = {"destination": "sender/main", "event": dated}
    assert handler.handle({**call, "content_hash": kept}, CONTEXT)["outcome"] == "duplicate"
    assert handler.handle(call, CONTEXT)["outcome"] == "rejected"
    assert "errors" in handler.handle({**call, "content_hash": "no hash"}, CONTEXT)
