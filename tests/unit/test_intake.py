"""Accepting: validate, route, put on the lanes; or reject with every reason."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.contract.event import Event
from relay.contract.fields import MOST_DESTINATIONS
from relay.errors import MOST_ERRORS, FieldError, InvalidEventError, UnavailableError
from relay.handlers.envelope import unwrap, validate
from relay.intake.intake import REASON_BYTES, Accepted, Failed, Incoming, Intake, Rejected, Verdict
from relay.intake.outbox import LONGEST_CALL, NO_TIME, TRIES
from relay.ports import EVIDENCE_BYTES, MOST_BYTES, Refusal
from relay.wiring.aws import CONFIG
from tests.factories import DESTINATIONS, EMAIL, NOW, event_data, event_json, eventbridge, sns
from tests.fakes import FakeClock, FakeIntakeQueues


@pytest.fixture
def queues() -> FakeIntakeQueues:
    return FakeIntakeQueues()


@pytest.fixture
def intake(queues: FakeIntakeQueues) -> Intake:
    return Intake(queues, FakeClock(), DESTINATIONS, unwrap, validate)


def take(intake: Intake, content: object, *names: Any, **more: Any) -> Verdict:
    """The verdict on one record."""
    (verdict,) = intake.accept([Incoming(content, *names, **more)])
    return verdict


def many(count: int, **changes: Any) -> list[Incoming]:
    """Records of as many customers."""
    return [
        Incoming(event_json(id=f"e-{number}", customer={"id": str(number)}, **changes), f"m-{number}", f"m-{number}")
        for number in range(count)
    ]


def test_accepted(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A valid event is on the lane of each of its destinations."""
    assert take(intake, event_json(), "corr-1") == Accepted("evt-1", DESTINATIONS)
    assert [entry.destination.provider for entry in queues.entries] == ["yotpo", "sender"]
    assert {entry.correlation_id for entry in queues.entries} == {"corr-1"}


def test_where_it_does_not_go(queues: FakeIntakeQueues) -> None:
    """GIVEN destinations that skip an event THEN it is on no lane of theirs, whether it names them or not; it is
    accepted all the same, for the others or for none, and kept nowhere as an error.
    """
    here, there = DESTINATIONS
    unwanted = {here: "not here"}
    intake = Intake(
        queues, FakeClock(), DESTINATIONS, unwrap, validate, skips=lambda where, _: unwanted.get(str(where), "")
    )
    assert take(intake, event_json()) == Accepted("evt-1", (there,), skipped={here: "not here"})
    assert take(intake, event_json(destinations=[here])) == Accepted("evt-1", (), skipped={here: "not here"})
    assert [entry.destination for entry in queues.entries] == [there]
    assert queues.rejects == []


def test_a_record_named_and_dated_by_the_handler(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A copy is the same messages, of the same moment, however late it is taken."""
    for name in ("record-1", "record-1", "record-2"):
        take(intake, event_json(occurred_at=...), "corr-1", name, NOW - 60.5)
    first, copy, other = (queues.entries[start : start + 2] for start in (0, 2, 4))
    assert copy == first
    assert {entry.deduplication_id for entry in other}.isdisjoint(entry.deduplication_id for entry in first)
    assert {entry.accepted_at for entry in queues.entries} == {NOW - 60.5}
    assert {json.loads(entry.body)["occurred_at"] for entry in queues.entries} == {"2026-11-22T09:58:59Z"}


def test_a_record_without_a_name_is_one_of_its_own(queues: FakeIntakeQueues) -> None:
    """Received now, and no copy of any other."""
    clock = FakeClock()
    intake = Intake(queues, clock, ["yotpo/main"])
    for _ in range(2):
        clock.pass_by(1)
        take(intake, event_json())
    first, second = queues.entries
    assert (first.accepted_at, second.accepted_at) == (NOW + 1, NOW + 2)
    assert first.deduplication_id != second.deduplication_id


def test_a_customers_events_share_a_group(queues: FakeIntakeQueues) -> None:
    """GIVEN an account of several groups THEN a customer's events are in one of them, many customers' in all; where
    there is one, it has the account's name.
    """
    groups = {"yotpo/main": 3, "sender/main": 1}
    intake = Intake(queues, FakeClock(), DESTINATIONS, groups=lambda destination: groups[destination])
    for way in ({}, {"email": EMAIL}, {"email": EMAIL, "phone_number": "+15551234567"}):
        for number in range(30):
            take(intake, event_json(id=f"{number}-{len(way)}", customer={"id": str(number), **way}))
    found: dict[str, dict[str, set[str]]] = {"yotpo": {}, "sender": {}}
    for entry in queues.entries:
        customer = json.loads(entry.body)["customer"]["id"]
        found[entry.destination.provider].setdefault(customer, set()).add(entry.group)
    assert all(len(each) == 1 for customers in found.values() for each in customers.values())
    assert set().union(*found["yotpo"].values()) == {"main", "main#1", "main#2"}
    assert set().union(*found["sender"].values()) == {"main"}
    assert {entry.destination for entry in queues.entries} == set(DESTINATIONS)


def test_history_is_in_one_group(queues: FakeIntakeQueues) -> None:
    """GIVEN an account of several groups THEN the history of all its customers stands apart from them, in one."""
    intake = Intake(queues, FakeClock(), DESTINATIONS, groups=lambda _: 3)
    for number in range(20):
        take(intake, event_json(id=f"{number}", customer={"id": str(number)}, backfill=True))
    assert {entry.group for entry in queues.entries} == {"main#backfill"}


# ------------------------------------------------------------------------------------------------ envelopes


@pytest.mark.parametrize("wrapped", [sns, eventbridge, lambda event: sns(eventbridge(event))])
def test_two_messages_of_one_notification_are_one_record(
    intake: Intake, queues: FakeIntakeQueues, wrapped: Callable[[object], object]
) -> None:
    """SNS and EventBridge are at least once: the copy comes hours later, in a message of its own."""
    body = json.dumps(wrapped(event_data()))
    take(intake, body, "m-1", "m-1", NOW + 1)
    take(intake, body, "m-2", "m-2", NOW + 7200)
    first, copy = (queues.entries[start : start + 2] for start in (0, 2))
    assert [entry.deduplication_id for entry in copy] == [entry.deduplication_id for entry in first]
    assert [entry.accepted_at for entry in copy] == [entry.accepted_at for entry in first]


def test_two_notifications_are_two_records(intake: Intake, queues: FakeIntakeQueues) -> None:
    """An update that is taken back has the content of the first."""
    for name in ("n-1", "n-2"):
        take(intake, json.dumps(sns(event_data(), MessageId=name)), "m-1", "m-1", NOW)
        take(intake, json.dumps(eventbridge(event_data(), id=name)), "m-1", "m-1", NOW)
    assert len({entry.deduplication_id for entry in queues.entries}) == 4 * len(DESTINATIONS)


def test_two_events_of_one_envelope_id_are_two_records(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A console's sample event keeps its envelope, whatever is written into it."""
    for name in ("a", "b"):
        take(intake, eventbridge(event_data(id=name)))
    assert len({entry.deduplication_id for entry in queues.entries}) == 4


def test_the_innermost_envelope_names_the_record(intake: Intake, queues: FakeIntakeQueues) -> None:
    """EventBridge may hand one event to SNS twice."""
    for name in ("n-1", "n-2"):
        take(intake, sns(eventbridge(event_data()), MessageId=name, Timestamp="2026-11-22T09:30:00.000Z"))
    take(intake, eventbridge(event_data()))
    assert len({(entry.deduplication_id, entry.accepted_at) for entry in queues.entries}) == len(DESTINATIONS)


@pytest.mark.parametrize(
    ("envelope", "accepted_at"),
    [
        (sns("{}", Timestamp="2026-11-22T09:00:00.250Z"), NOW - 3600 + 0.25),
        # EventBridge's are whole seconds: the last moment of that one.
        (eventbridge({}, time="2026-11-22T09:00:00Z"), NOW - 3600 + 0.999),
        (eventbridge({}, time="2026-11-22T11:00:00+02:00"), NOW - 3600 + 0.999),
        (eventbridge({}, time="2026-11-22T09:00:00"), NOW - 3600 + 0.999),
        # Within that second, SQS knows better: two updates of one second keep their order.
        (eventbridge({}, time="2026-11-22T09:59:55Z"), NOW - 5),
        (eventbridge({}, time="2026-11-22T09:59:54Z"), NOW - 6 + 0.999),
        # Not believed: to come, or before there was anything.
        (eventbridge({}, time="2026-11-22T10:00:01Z"), NOW - 5),
        (sns("{}", Timestamp="2999-01-01T00:00:00.000Z"), NOW - 5),
        (eventbridge({}, time="0001-01-01T00:00:00Z"), NOW - 5),
        (eventbridge({}, time="1969-12-31T23:59:59Z"), NOW - 5),
    ],
)
def test_a_record_came_when_its_envelope_says(
    intake: Intake, queues: FakeIntakeQueues, envelope: dict[str, Any], accepted_at: float
) -> None:
    """Not when this copy of it came: that is its version. A reject keeps it, too."""
    held = {"Message": json.dumps(event_data())} if "Message" in envelope else {"detail": event_data()}
    take(intake, json.dumps({**envelope, **held}), "m-1", "m-1", NOW - 5)
    assert {entry.accepted_at for entry in queues.entries} == {accepted_at}
    take(intake, json.dumps({**envelope, **({"Message": "{}"} if "Message" in envelope else {})}), "", "", NOW - 5)
    assert [kept.accepted_at for kept in queues.rejects] == [accepted_at]


def test_at_the_function_nothing_is_from_later_than_now(intake: Intake, queues: FakeIntakeQueues) -> None:
    """Nor is its age below nothing."""
    for time in ("2026-11-22T10:00:00Z", "2026-11-22T10:00:01Z", "2999-01-01T00:00:00Z"):
        assert take(intake, eventbridge(event_data(), time=time)).age == 0
    assert {entry.accepted_at for entry in queues.entries} == {NOW}


def test_a_reject_put_in_again_is_as_old_as_at_first(intake: Intake, queues: FakeIntakeQueues) -> None:
    """No later version for having been mended; how long it waits counts from when it was put in again."""
    verdict = take(intake, event_json(), sent_at=NOW - 5, first_sent_at=NOW - 86_400)
    assert {entry.accepted_at for entry in queues.entries} == {NOW - 86_400}
    assert verdict.age == 5


@pytest.mark.parametrize(
    ("content", "sent_at", "age"),
    [
        (event_json(), NOW - 60.5, 60.5),
        (event_json(), None, 0),
        (event_json(), NOW + 5, 0),
        ("{", NOW - 60.5, 60.5),
        (json.dumps(sns(event_data(), Timestamp="2026-11-22T08:00:00.000Z")), NOW - 60.5, 60.5),
        (sns(event_data(), Timestamp="2026-11-22T09:59:00.000Z"), None, 60),
        (eventbridge(event_data(), time="2026-11-22T09:59:00Z"), None, 60),
    ],
)
def test_the_age_of_a_record(intake: Intake, content: object, sent_at: float | None, age: float) -> None:
    """Since it was put into our queue; at the function itself, since SNS or EventBridge had it."""
    assert take(intake, content, sent_at=sent_at).age == age


# ------------------------------------------------------------------------------------------------ rejects


def test_rejected_with_every_reason(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A bad record reaches no lane and comes back with every field that is wrong."""
    verdict = take(intake, event_json(type="?", customer={}))
    assert isinstance(verdict, Rejected)
    assert verdict.event_id == "evt-1"
    assert [error.field for error in verdict.errors] == ["type", "customer"]
    assert queues.entries == []


def test_unknown_destination(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A destination this stack does not have is a rejection, not a partial delivery."""
    verdict = take(intake, event_data(destinations=["yotpo/main", "sender/other"]))
    assert isinstance(verdict, Rejected)
    assert verdict.errors[0].field == "destinations.1"
    assert queues.entries == []


def test_unknown_destinations_are_counted(intake: Intake) -> None:
    """The first are named, and how many more there are."""
    verdict = take(intake, event_data(destinations=["sender/other"] * MOST_DESTINATIONS))
    assert isinstance(verdict, Rejected)
    *named, last = verdict.errors
    assert [error.field for error in named] == [f"destinations.{index}" for index in range(MOST_ERRORS)]
    assert str(last) == f"body: errors not named here: {MOST_DESTINATIONS - MOST_ERRORS}"


def test_a_reject_is_kept_with_its_original_body(intake: Intake, queues: FakeIntakeQueues) -> None:
    """The body is kept to the byte, with the id and the reasons."""
    body = event_json(type="Order Shipped") + " \n"
    verdict = take(intake, body)
    (kept,) = queues.rejects
    assert kept.body == body
    assert kept.event_id == "evt-1"
    assert kept.reason == "type: may hold only letters, digits and underscores, such as order_shipped"
    assert isinstance(verdict, Rejected)
    assert verdict.kept


def test_parsed_json_is_kept_as_short_as_it_came(intake: Intake, queues: FakeIntakeQueues) -> None:
    """520 kB of Cyrillic or Chinese text are not 1.56 MB, which no queue takes."""
    record = event_data(colour="д" * 130_000 + "色" * 87_000)
    verdict = take(intake, record)
    (kept,) = queues.rejects
    assert json.loads(kept.body) == record
    assert len(kept.body.encode()) < 530_000
    assert isinstance(verdict, Rejected)
    assert verdict.kept


def test_what_no_queue_takes_is_kept_cut(intake: Intake, queues: FakeIntakeQueues) -> None:
    """As much as a message holds, with the size and the hash of the whole; the verdict does not call that kept."""
    record = event_data(colour="é" * 1_000_000)
    whole = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    verdict = take(intake, record)
    (kept,) = queues.rejects
    assert isinstance(verdict, Rejected)
    assert not verdict.kept
    assert whole.startswith(kept.body)
    assert MOST_BYTES - EVIDENCE_BYTES - 4 < len(kept.body.encode()) <= MOST_BYTES - EVIDENCE_BYTES
    assert (kept.whole_bytes, kept.whole_sha256) == (len(whole.encode()), hashlib.sha256(whole.encode()).hexdigest())
    assert kept.reason == f"body: is cut, of {len(whole.encode())} bytes; colour: is not a field of an event"


@pytest.mark.parametrize(("surplus", "whole"), [(0, True), (1, False)])
def test_the_largest_body_that_is_kept_whole(
    intake: Intake, queues: FakeIntakeQueues, surplus: int, whole: bool
) -> None:
    """To the byte."""
    verdict = take(intake, "x" * (MOST_BYTES + surplus))
    assert isinstance(verdict, Rejected)
    assert verdict.kept is whole
    assert (queues.rejects[0].whole_bytes is None) is whole


@pytest.mark.parametrize("content", ["a\ud800", {"a\uffff": "\x00\x1f\ud800\ufffe"}, "\x00", "", ["\x7f\n\t"]])
def test_what_sqs_would_not_take_is_kept_as_json_says_it(
    intake: Intake, queues: FakeIntakeQueues, content: object
) -> None:
    """Nothing is lost for a character."""
    take(intake, content)
    (kept,) = queues.rejects
    assert json.loads(kept.body) == content
    assert kept.body.encode()
    assert not any(c < " " or c in "\ufffe\uffff" for c in kept.body)


def test_an_accepted_record_is_not_kept(intake: Intake, queues: FakeIntakeQueues) -> None:
    """RejectedQueue holds rejects only."""
    assert isinstance(take(intake, event_json()), Accepted)
    assert queues.rejects == []


@pytest.mark.parametrize("body", ["", "hello", "[]", "5", '{"id": "a\\ud800"}', '{"id": "a\\u0000"}'])
def test_a_reject_can_be_queued(intake: Intake, queues: FakeIntakeQueues, body: str) -> None:
    """Whatever the id and the reasons hold, SQS takes them as attributes."""
    take(intake, body)
    (kept,) = queues.rejects
    for text in (kept.reason, kept.event_id):
        text.encode()
        assert all(c in "\t\n" or c >= " " for c in text)


def test_an_email_as_id_is_not_spread(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A producer that uses an e-mail address as id does not bring it into an attribute."""
    take(intake, event_json(id=EMAIL, type="?"))
    assert EMAIL not in queues.rejects[0].event_id


def test_what_the_handler_finds_wrong_is_a_reject(intake: Intake, queues: FakeIntakeQueues) -> None:
    """Kept as it came, good events in it or not."""
    wrong = (FieldError("events", "holds too many"),)
    verdict = take(intake, {"events": [event_data()]}, errors=wrong)
    assert verdict == Rejected(None, wrong, kept=True)
    assert json.loads(queues.rejects[0].body) == {"events": [event_data()]}
    assert queues.entries == []


# ------------------------------------------------------------------------------------------------ many at once


def test_one_call_per_lane_and_ten_entries(intake: Intake, queues: FakeIntakeQueues) -> None:
    """Across all records of an invocation; rejects alike."""
    records = many(25) + [Incoming("{")] * 12
    verdicts = intake.accept(records)
    assert [type(verdict) for verdict in verdicts] == [Accepted] * 25 + [Rejected] * 12
    calls = sorted(queues.calls)
    assert calls == sorted(
        [("rejected", 10), ("rejected", 2)] + [(p, n) for p in ("yotpo", "sender") for n in (10, 10, 5)]
    )
    for provider in ("yotpo", "sender"):
        ids = [json.loads(entry.body)["id"] for entry in queues.entries if entry.destination.provider == provider]
        assert ids == [f"e-{number}" for number in range(25)]


def test_large_events_fill_a_call_by_their_bytes(intake: Intake, queues: FakeIntakeQueues) -> None:
    """1 MiB in all: four of the largest there are, never five. (The fake queue counts.)"""
    intake.accept(many(9, properties={"note": "x" * 240_000}, destinations=["yotpo/main"]))
    assert [size for _, size in queues.calls] == [4, 4, 1]


def test_a_record_fails_where_one_of_its_destinations_does(queues: FakeIntakeQueues) -> None:
    """It comes back whole: what was sent is the same message then. Its neighbours are accepted."""
    queues.fails_for = lambda body: '"e-1"' in body and "sender" in body
    verdicts = Intake(queues, FakeClock(), DESTINATIONS).accept(many(3))
    assert [type(verdict) for verdict in verdicts] == [Accepted, Failed, Accepted]
    sent = [(json.loads(entry.body)["id"], entry.destination.provider) for entry in queues.entries]
    assert sorted(sent) == sorted({(f"e-{n}", p) for n in range(3) for p in ("yotpo", "sender")} - {("e-1", "sender")})
    before = list(queues.entries)
    queues.fails_for = lambda body: False
    Intake(queues, FakeClock(), DESTINATIONS).accept(many(2)[1:])
    again = queues.entries[len(before) :]
    assert {entry.deduplication_id for entry in before} & {entry.deduplication_id for entry in again}


def test_what_fails_says_where_and_why(queues: FakeIntakeQueues) -> None:
    """The lane, and SQS's own word."""
    queues.fails_for = lambda body: "yotpo" in body or body == "{"
    first, second = Intake(queues, FakeClock(), DESTINATIONS).accept([Incoming(event_json()), Incoming("{")])
    assert isinstance(first, Failed)
    assert isinstance(second, Failed)
    assert (first.event_id, first.error.service, first.error.code) == (
        "evt-1",
        "SQS, yotpo lane",
        "InvalidMessageContents",
    )
    assert (second.event_id, second.error.service) == (None, "SQS, RejectedQueue")


def test_order_holds_across_calls(queues: FakeIntakeQueues) -> None:
    """GIVEN an event that its lane does not take WHEN later ones of its customer come THEN they stay behind it.
    Those of others, and the same customer's at another account, do not.
    """
    queues.fails_for = lambda body: '"e-0"' in body and "yotpo/a" in body
    to = {"destinations": ["yotpo/a", "yotpo/b"]}
    later = [
        Incoming(event_json(id="late", customer={"id": "0", "email": EMAIL}, **to)),
        Incoming(event_json(id="later", customer={"email": EMAIL}, **to)),
        Incoming(event_json(id="other", customer={"id": "x"}, **to)),
    ]
    intake = Intake(queues, FakeClock(), ["yotpo/a", "yotpo/b"])
    verdicts = intake.accept(many(5, **to) + later)
    assert [type(verdict) for verdict in verdicts] == [Failed, *[Accepted] * 4, Failed, Failed, Accepted]
    sent = {(json.loads(entry.body)["id"], entry.destination.account) for entry in queues.entries}
    assert {account for name, account in sent if name in ("e-0", "late", "later")} == {"b"}


def test_a_lane_that_is_away_is_asked_once(intake: Intake, queues: FakeIntakeQueues) -> None:
    """Botocore has tried three times: all of it fails at once, and nothing is rejected for it."""
    queues.away = UnavailableError("SQS", code="AccessDenied")
    verdicts = intake.accept([*many(40), Incoming("{")])
    assert {type(verdict) for verdict in verdicts} == {Failed}
    assert sorted(queues.calls) == [("rejected", 1), ("sender", 10), ("yotpo", 10)]


def test_whatever_a_queue_raises_nothing_passes_for_sent(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A fault of our own in between is one of ours, by its kind only."""
    queues.away = KeyError(EMAIL)
    verdict = take(intake, event_json())
    assert isinstance(verdict, Failed)
    assert (verdict.error.code, str(verdict.error)) == ("KeyError", "SQS, yotpo lane unavailable (KeyError)")


def test_a_fault_of_our_own_takes_no_neighbour_along(queues: FakeIntakeQueues) -> None:
    """Whatever it is that one record brings out: it is reported, by its kind only."""

    def broken(data: object) -> Event:
        event = validate(data)
        if event.id == "e-1":
            raise ZeroDivisionError(EMAIL)
        return event

    verdicts = Intake(queues, FakeClock(), DESTINATIONS, unwrap, broken).accept(many(3))
    assert [type(verdict) for verdict in verdicts] == [Accepted, Failed, Accepted]
    failed = verdicts[1]
    assert isinstance(failed, Failed)
    assert str(failed.error) == "intake unavailable (ZeroDivisionError)"


def test_a_reject_that_cannot_be_kept_fails(queues: FakeIntakeQueues) -> None:
    """Nobody may take it for kept."""
    queues.fails_for = lambda body: body == "{"
    verdicts = Intake(queues, FakeClock(), DESTINATIONS).accept([Incoming("{"), Incoming("["), *many(1)])
    assert [type(verdict) for verdict in verdicts] == [Failed, Rejected, Accepted]


@pytest.mark.parametrize("together", [False, True])
def test_what_all_comes_again_is_not_kept_meanwhile(queues: FakeIntakeQueues, together: bool) -> None:
    """GIVEN a call that is made again as a whole WHEN one event fails THEN the rejects wait for that."""
    queues.fails_for = lambda body: '"e-0"' in body
    verdicts = Intake(queues, FakeClock(), DESTINATIONS).accept([Incoming("{"), *many(1)], together=together)
    assert len(queues.rejects) == (0 if together else 1)
    assert isinstance(verdicts[0], Rejected)
    assert verdicts[0].kept is not together


def test_a_throttled_lane_is_asked_again(queues: FakeIntakeQueues) -> None:
    """GIVEN a lane that has no room for some for a moment THEN they follow, and before what comes after them."""
    clock = FakeClock()
    queues.refusal = Refusal("RequestThrottled", again=True)

    def throttled(body: str) -> bool:
        return clock.monotonic() < 0.3 and json.loads(body)["id"] in ("e-3", "e-7")

    queues.fails_for = throttled
    verdicts = Intake(queues, clock, ["yotpo/main"]).accept(many(12))
    assert {type(verdict) for verdict in verdicts} == {Accepted}
    ids = [json.loads(entry.body)["id"] for entry in queues.entries]
    assert ids[8:] == ["e-3", "e-7", "e-10", "e-11"]
    assert [size for _, size in queues.calls][:2] == [10, 2]


def test_a_lane_that_stays_throttled_is_left(queues: FakeIntakeQueues) -> None:
    """After five tries in some three seconds: SQS brings the record back."""
    clock = FakeClock()
    queues.refusal, queues.fails_for = Refusal("RequestThrottled", again=True), lambda body: True
    (verdict,) = Intake(queues, clock, ["yotpo/main"]).accept(many(1))
    assert isinstance(verdict, Failed)
    assert verdict.error.code == "RequestThrottled"
    assert len(queues.calls) == TRIES
    assert 1 < sum(clock.slept) < 4


def test_a_call_of_sqs_ends_in_its_time() -> None:
    """All that botocore tries, and its pauses of up to one and two seconds."""
    config: Any = CONFIG
    assert config.retries["total_max_attempts"] == 3
    assert 3 * (config.connect_timeout + config.read_timeout) + 3 <= LONGEST_CALL


def test_what_cannot_be_done_in_time_fails(queues: FakeIntakeQueues) -> None:
    """GIVEN calls of two seconds and fourteen to spare THEN no call begins that may not end."""
    clock = FakeClock()
    slow = FakeIntakeQueues()

    def send(entries: Any) -> Any:
        clock.pass_by(2)
        return slow.send(entries)

    queues.send = send  # type: ignore[method-assign]
    verdicts = Intake(queues, clock, ["yotpo/main"]).accept([*many(100), Incoming("{")], LONGEST_CALL + 14)
    done = [isinstance(verdict, Accepted) for verdict in verdicts]
    assert done == [True] * 80 + [False] * 21
    assert len(slow.entries) == 80
    last = verdicts[-1]
    assert isinstance(last, Failed)
    assert last.error.code == NO_TIME
    assert queues.rejects == []


def test_reasons_are_bounded() -> None:
    """A thousand errors fit an attribute, cut at a character."""
    errors = tuple(FieldError(f"properties.ü{index}", "must not be nested") for index in range(1_000))
    reason = Rejected(None, errors).reason
    assert len(reason.encode()) <= REASON_BYTES
    assert reason.endswith("…")


def test_parsed_json_needs_no_envelope() -> None:
    """By itself, intake takes plain events."""
    assert isinstance(take(Intake(FakeIntakeQueues(), FakeClock(), DESTINATIONS), event_data()), Accepted)


def test_errors_read_as_field_and_message() -> None:
    """An error's text is what a person reads: every field with its message."""
    error = InvalidEventError([FieldError("a", "is required"), FieldError("b", "must be text")])
    assert str(error) == "a: is required; b: must be text"
