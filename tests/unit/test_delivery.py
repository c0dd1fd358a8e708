"""One attempt: every outcome of the table, from the claim to the record of its end."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from relay.account import POISON_FAILURES, Account
from relay.delivery import LONGEST_WAIT, REMEMBERED, Courier, Delivery
from relay.errors import CredentialsError, NoAnswerError, NotSentError, UnavailableError, UndeliverableError
from relay.outcome import Outcome, Result
from relay.pacing import Pace
from relay.ports import Record, Reply, Request
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from tests.factories import EMAIL, NOW, PHONE, TOKEN, make_delivery, make_reply
from tests.fakes import FakeClock, FakeLaneQueue, FakeLedger, FakeSecrets, FakeTransport, middle

BASE = "https://api.example.com"
HOUR = 3600.0
BOTH = pytest.mark.parametrize("destination", ["yotpo/main", "sender/main"])
ROOM = {"x_ratelimit_remaining": "59", "ratelimit_remaining": "4"}
"""A reply that says the account is ours alone, to either provider."""


@dataclass
class Room:
    """A courier among fakes, and one account per destination."""

    clock: FakeClock = field(default_factory=FakeClock)
    transport: FakeTransport = field(default_factory=FakeTransport)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    queue: FakeLaneQueue = field(default_factory=FakeLaneQueue)
    settings: dict[str, Any] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)

    def provider(self, destination: str) -> Provider:
        made = PROVIDERS[destination.partition("/")[0]]
        return made(BASE, made.settings_model(**self.settings))

    def account(self, destination: str) -> Account:
        if destination not in self.accounts:
            limit = self.provider(destination).limit
            pace = Pace(limit, self.clock)
            self.clock.pass_by(limit.window)
            self.accounts[destination] = Account(pace, self.clock, rng=middle)
        return self.accounts[destination]

    @property
    def courier(self) -> Courier:
        return Courier(
            provider_for=self.provider,
            transport=self.transport,
            ledger=self.ledger,
            secrets=self.secrets,
            queue=self.queue,
            clock=self.clock,
            oldest=72 * HOUR,
        )

    def attempt(self, delivery: Delivery, seconds: float = 30.0) -> Result:
        account = self.account(delivery.destination)
        return self.courier.attempt(delivery, account, account.pace.turn(), self.clock.monotonic() + seconds)

    def record(self, delivery: Delivery) -> Record:
        return self.ledger.records[delivery.event.id, delivery.destination]


@pytest.fixture
def room() -> Room:
    return Room()


# ------------------------------------------------------------------------------------------------ delivered


@BOTH
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_delivered(room: Room, destination: str, status: int) -> None:
    """Any 2xx: final, recorded, in one claim and one settle."""
    room.transport = FakeTransport(make_reply(status, {"success": True}))
    delivery = make_delivery(destination, accepted_at=NOW - 5)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.status, result.attempts) == (Outcome.DELIVERED, True, status, 1)
    assert (result.event_id, result.destination, result.correlation_id) == ("evt-1", destination, "corr-1")
    assert result.age >= 5
    assert (room.ledger.claims, len(room.ledger.settled)) == (1, 1)
    record = room.record(delivery)
    assert (record.state, record.outcome, record.attempts, record.status) == ("delivered", "delivered", 1, status)
    assert record.completed_at == room.clock.now()
    assert room.queue.letters == []


@BOTH
def test_the_request_is_the_providers(room: Room, destination: str) -> None:
    """What goes out is what the provider builds, with the destination's credentials."""
    delivery = make_delivery(destination)
    room.attempt(delivery)
    expected = room.provider(destination).build(delivery.event, room.secrets.get(destination))
    assert room.transport.requests == [expected]


def test_an_event_without_a_moment_happened_when_it_was_accepted(room: Room) -> None:
    """Other systems may write to a lane themselves and leave `occurred_at` out."""
    result = room.attempt(make_delivery("yotpo/main", accepted_at=NOW - 60, occurred_at=...))
    assert result.outcome is Outcome.DELIVERED
    assert json.loads(room.transport.requests[0].body)["timestamp"] == "2026-11-22T09:59:00Z"


def test_a_preview_shows_what_would_be_sent(room: Room) -> None:
    """The exact request, and nothing is sent, claimed or recorded."""
    delivery = make_delivery("sender/main")
    request = room.courier.preview(delivery)
    assert room.transport.requests == []
    assert room.ledger.claims == 0
    room.attempt(delivery)
    assert room.transport.requests == [request]


def test_a_preview_of_an_event_without_a_moment(room: Room) -> None:
    """What would be delivered can be previewed."""
    delivery = make_delivery("yotpo/main", occurred_at=...)
    request = room.courier.preview(delivery)
    room.attempt(delivery)
    assert room.transport.requests == [request]


def test_a_preview_says_what_is_wrong(room: Room) -> None:
    """What cannot be built or read is raised to the caller, who asked to see it."""
    with pytest.raises(UndeliverableError):
        room.courier.preview(make_delivery("yotpo/main", customer={"id": "1"}))
    room.secrets.failure = CredentialsError("no readable secret for yotpo/main")
    with pytest.raises(CredentialsError):
        room.courier.preview(make_delivery("yotpo/main"))


# ------------------------------------------------------------------------------------------------ retry, unknown


@BOTH
@pytest.mark.parametrize("answer", [*map(make_reply, (500, 502, 503, 504, 599, 408, 425, 301, 302)), NotSentError("x")])
def test_retry(room: Room, destination: str, answer: Reply | NotSentError) -> None:
    """Trouble that passes: not final, no dead letter, the attempt counted and the record open for the next."""
    room.transport = FakeTransport(answer)
    delivery = make_delivery(destination)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.RETRY, False, 1)
    assert (room.record(delivery).state, room.record(delivery).attempts) == ("open", 1)
    assert room.queue.letters == []


@BOTH
def test_delivered_in_the_end(room: Room, destination: str) -> None:
    """Attempts add up over failures, and the last one delivers."""
    room.transport = FakeTransport(make_reply(503), NotSentError("ConnectionRefusedError"), make_reply(201))
    delivery = make_delivery(destination)
    results = [room.attempt(delivery) for _ in range(3)]
    assert [result.outcome for result in results] == [Outcome.RETRY, Outcome.RETRY, Outcome.DELIVERED]
    assert [result.attempts for result in results] == [1, 2, 3]
    assert room.record(delivery).attempts == 3
    assert not room.record(delivery).reason.startswith("no answer")


@BOTH
def test_unknown_is_tried_again(room: Room, destination: str) -> None:
    """By default an answer that never came is counted and tried again."""
    room.transport = FakeTransport(NoAnswerError("ReadTimeoutError"))
    delivery = make_delivery(destination)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.UNKNOWN, False, 1)
    assert room.record(delivery).state == "open"
    assert room.attempt(delivery).outcome is Outcome.DELIVERED


@BOTH
def test_unknown_is_parked(room: Room, destination: str) -> None:
    """Where the destination would rather miss an event than repeat it, it becomes a dead letter."""
    room.settings = {"on_unknown": "park"}
    room.transport = FakeTransport(NoAnswerError("ReadTimeoutError"))
    delivery = make_delivery(destination)
    result = room.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.UNKNOWN, True)
    (letter,) = room.queue.letters
    assert letter.reason == "no answer: ReadTimeoutError"
    assert letter.attempts == 1
    assert room.record(delivery).state == "given_up"
    assert len(room.transport.requests) == 1


@BOTH
def test_a_success_that_is_cut_off_is_parked(room: Room, destination: str) -> None:
    """GIVEN a 2xx without the end of its body THEN it is unknown, and its dead letter says why."""
    room.settings = {"on_unknown": "park"}
    room.transport = FakeTransport(Reply(200, {}, b'{"success": ', complete=False))
    result = room.attempt(make_delivery(destination))
    assert (result.outcome, result.final, result.unknowns) == (Outcome.UNKNOWN, True, 1)
    assert room.queue.letters[0].reason == "HTTP 200, its body cut off or unreadable"


def test_a_failed_connection_is_not_parked(room: Room) -> None:
    """What never left the house is not unknown."""
    room.settings = {"on_unknown": "park"}
    room.transport = FakeTransport(NotSentError("ConnectionRefusedError"))
    assert room.attempt(make_delivery("sender/main")).outcome is Outcome.RETRY
    assert room.queue.letters == []


# ------------------------------------------------------------------------------------------------ throttled


@BOTH
def test_throttled_by_the_provider(room: Room, destination: str) -> None:
    """429: away until the moment it names; no attempt is counted."""
    room.transport = FakeTransport(make_reply(429, retry_after="30"))
    delivery = make_delivery(destination)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert room.account(destination).pace.delay() >= 30
    assert (room.record(delivery).state, room.record(delivery).attempts) == ("open", 0)


def test_no_budget_left(room: Room) -> None:
    """A wait longer than a moment is not slept: nothing is sent, and the pace knows how long."""
    room.account("sender/main")
    room.transport = FakeTransport(make_reply(201, x_ratelimit_remaining="0"))
    room.attempt(make_delivery("sender/main"))
    delivery = make_delivery("sender/main", id="evt-2")
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert room.account("sender/main").pace.delay() > LONGEST_WAIT
    assert len(room.transport.requests) == 1
    assert room.record(delivery).state == "open"


def test_a_short_wait_is_slept(room: Room) -> None:
    """A wait within the second happens inside the batch."""
    room.account("yotpo/main")
    room.transport = FakeTransport(otherwise=make_reply(200), clock=room.clock, takes=0.02)
    results = [room.attempt(make_delivery("yotpo/main", id=f"evt-{n}")) for n in range(6)]
    assert {result.outcome for result in results} == {Outcome.DELIVERED}
    assert room.transport.times[5] - room.transport.times[0] >= 1.0


def test_no_request_that_cannot_end_in_time(room: Room) -> None:
    """Nothing is started that may outlive the invocation."""
    delivery = make_delivery("yotpo/main")
    result = room.attempt(delivery, seconds=room.transport.longest)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert room.transport.requests == []
    assert room.record(delivery).state == "open"


# ------------------------------------------------------------------------------------------------ unauthorized


@BOTH
@pytest.mark.parametrize("status", [401, 403])
def test_a_rotated_secret_is_picked_up(room: Room, destination: str, status: int) -> None:
    """A refusal fetches the secret anew, once, and tries once more, with it."""
    room.secrets = FakeSecrets({"store_id": "s", "access_token": "old"}, {"store_id": "s", "access_token": "new"})
    room.transport = FakeTransport(make_reply(status, **ROOM), make_reply(200))
    result = room.attempt(make_delivery(destination))
    assert (result.outcome, result.final) == (Outcome.DELIVERED, True)
    assert room.secrets.refreshed == 1
    old, new = room.transport.requests
    assert "old" in f"{old.url} {old.headers}"
    assert "new" in f"{new.url} {new.headers}"
    assert room.account(destination).room > 0


@BOTH
def test_credentials_that_stay_refused_hold_the_account(room: Room, destination: str) -> None:
    """Two refusals: the account is held for five minutes, and the event waits."""
    room.transport = FakeTransport(otherwise=make_reply(401, **ROOM))
    delivery = make_delivery(destination)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.wait) == (Outcome.UNAUTHORIZED, False, 300)
    assert len(room.transport.requests) == 2
    assert room.secrets.refreshed == 1
    assert room.account(destination).room == 0
    assert room.record(delivery).state == "open"
    assert room.queue.letters == []


def test_a_refusal_never_gives_an_event_up(room: Room) -> None:
    """Credentials that stay refused for a day cost no event: nothing is dropped, nothing counts against an event."""
    room.transport = FakeTransport(otherwise=make_reply(403, **ROOM))
    delivery = make_delivery("sender/main")
    for _ in range(100):
        result = room.attempt(delivery)
        assert (result.outcome, result.final, result.strikes) == (Outcome.UNAUTHORIZED, False, 1)
        room.clock.pass_by(result.wait)
    assert room.queue.letters == []


@BOTH
def test_no_secret_holds_the_account(room: Room, destination: str) -> None:
    """A secret that is not there, or lacks a key, is as good as refused."""
    room.secrets.failure = CredentialsError(f"no readable secret for {destination}")
    result = room.attempt(make_delivery(destination))
    assert (result.outcome, result.final, result.wait) == (Outcome.UNAUTHORIZED, False, 300)
    room.secrets.failure = None
    room.secrets.credentials = {"store_id": "s", "access_token": ""}
    assert room.attempt(make_delivery(destination)).outcome is Outcome.UNAUTHORIZED
    assert room.transport.requests == []
    assert room.queue.letters == []


def test_secrets_that_cannot_be_read_just_now(room: Room) -> None:
    """Secrets Manager's trouble is ours, not the account's: tried again, nothing held, nothing sent."""
    room.secrets.failure = UnavailableError("Secrets Manager")
    delivery = make_delivery("yotpo/main")
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.RETRY, False, 0)
    assert room.account("yotpo/main").room > 0
    assert room.record(delivery).state == "open"


def test_a_refetch_that_fails(room: Room) -> None:
    """Refused, and the secret cannot be fetched anew just now: refused all the same, or every event would be."""
    room.transport = FakeTransport(make_reply(401, **ROOM))
    room.secrets.refresh_failure = UnavailableError("Secrets Manager")
    delivery = make_delivery("yotpo/main")
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.wait) == (Outcome.UNAUTHORIZED, False, 300)
    assert room.record(delivery).state == "open"
    assert room.queue.letters == []


def test_new_credentials_that_had_no_turn_are_not_refused() -> None:
    """GIVEN a rotated secret, and a refusal of the old one that used up the budget THEN the new one has its turn."""
    room = Room(secrets=FakeSecrets({"access_token": "old"}, {"access_token": "new"}))
    room.transport = FakeTransport(make_reply(401, x_ratelimit_remaining="0"))
    result = room.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.wait, room.account("sender/main").held_for) == (Outcome.THROTTLED, 0, 0)


@BOTH
def test_a_repaired_secret_needs_no_patience(room: Room, destination: str) -> None:
    """GIVEN a secret without a token, kept for a while WHEN it is repaired THEN the next attempt has it."""
    room.secrets = FakeSecrets({"store_id": "s"}, {"store_id": "s", "access_token": "new"})
    assert room.attempt(make_delivery(destination)).outcome is Outcome.DELIVERED
    assert room.secrets.refreshed == 1


def test_one_event_refused_among_others_is_a_dead_letter(room: Room) -> None:
    """GIVEN an event that a firewall before the provider answers with 403 WHEN others get through
    THEN the account is not held for it, and after two minutes the event is a dead letter.
    """
    answers = {"bad": make_reply(403, **ROOM)}
    room.transport = FakeTransport(
        otherwise=lambda request: answers.get(json.loads(request.body)["type"], make_reply(200))
    )
    bad = make_delivery("sender/main", id="evt-bad", type="bad")
    began = room.clock.now()
    for number in range(200):
        result = room.attempt(bad)
        if result.final:
            break
        room.attempt(make_delivery("sender/main", id=f"evt-{number}"))
        assert room.account("sender/main").held_for == 0
        room.clock.pass_by(2)
    assert (result.outcome, result.status) == (Outcome.REJECTED, 403)
    assert room.clock.now() - began >= 120
    assert room.queue.letters[0].reason.startswith("failed 5 times while others succeeded, last HTTP 403")


@pytest.mark.parametrize("trouble", ["refused", "ours"])
def test_strikes_of_before_do_not_make_todays_trouble_the_events_fault(room: Room, trouble: str) -> None:
    """GIVEN an event with many strikes from a provider's bad hour WHEN its credentials are refused, or our own services
    fail THEN that is no proof against it.
    """
    delivery = make_delivery("sender/main")
    room.transport = FakeTransport(make_reply(503), otherwise=make_reply(401, **ROOM))
    room.attempt(delivery)
    key = (delivery.event.id, delivery.destination)
    room.ledger.records[key] = replace(room.ledger.records[key], strikes=8)
    if trouble == "ours":
        room.secrets.failure = UnavailableError("Secrets Manager")
    result = room.attempt(delivery)
    assert not result.final
    assert result.outcome is (Outcome.RETRY if trouble == "ours" else Outcome.UNAUTHORIZED)
    assert room.queue.letters == []


def test_a_redriven_event_begins_anew(room: Room) -> None:
    """GIVEN an event that was given up as poison WHEN it is redriven THEN its old failures do not count against it."""
    room.transport = FakeTransport(
        otherwise=lambda request: make_reply(500) if b"evt-1" in request.body else make_reply(200)
    )
    delivery = make_delivery("sender/main", properties={"order_id": "evt-1"})
    for number in range(POISON_FAILURES):
        result = room.attempt(delivery)
        room.clock.pass_by(2)
        room.attempt(make_delivery("sender/main", id=f"other-{number}"))
        room.clock.pass_by(2)
    assert (result.outcome, result.final) == (Outcome.REJECTED, True)
    again = room.attempt(replace(delivery, key="m-2"))
    assert (again.outcome, again.final, again.strikes) == (Outcome.RETRY, False, 1)


def test_a_second_try_without_budget_is_still_a_refusal(room: Room) -> None:
    """GIVEN a refusal that used up the budget THEN the account is held, not merely throttled."""
    room.transport = FakeTransport(make_reply(401, x_ratelimit_remaining="0"))
    result = room.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.wait) == (Outcome.UNAUTHORIZED, 300)
    assert len(room.transport.requests) == 1


# ------------------------------------------------------------------------------------------------ rejected


@BOTH
@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422, 451])
def test_rejected(room: Room, destination: str, status: int) -> None:
    """Any other 4xx is a dead letter at once, with its evidence."""
    said = {"message": "The given data was invalid.", "errors": {"type": ["is unknown"]}}
    room.transport = FakeTransport(make_reply(status, said))
    delivery = make_delivery(destination, key="message-7")
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.status) == (Outcome.REJECTED, True, status)
    (letter,) = room.queue.letters
    assert letter.reason == f"HTTP {status}: The given data was invalid.; type: is unknown"
    assert (letter.body, letter.destination, letter.event_id) == (delivery.body, destination, "evt-1")
    assert (letter.status, letter.attempts, letter.deduplication_id) == (status, 1, "message-7")
    assert room.record(delivery).state == "given_up"


@BOTH
@pytest.mark.parametrize("status", [200, 201])
def test_a_2xx_that_means_failure(room: Room, destination: str, status: int) -> None:
    """`success: false` is a failure, whatever the status."""
    room.transport = FakeTransport(make_reply(status, {"success": False, "message": "Unknown event"}))
    result = room.attempt(make_delivery(destination))
    assert (result.outcome, result.final) == (Outcome.REJECTED, True)
    assert "Unknown event" in room.queue.letters[0].reason


@pytest.mark.parametrize(
    ("destination", "changes", "field"),
    [
        ("yotpo/main", {"customer": {"id": "4711"}}, "customer"),
        ("sender/main", {"customer": {"id": "4711"}}, "customer"),
        ("sender/main", {"properties": {"text": "ü" * 1_500}}, "properties.text"),
        ("sender/main", {"properties": {f"k{n}": "x" * 2_000 for n in range(5)}}, "properties"),
    ],
)
def test_what_this_provider_cannot_take(room: Room, destination: str, changes: dict[str, Any], field: str) -> None:
    """A valid event that cannot be built for one provider is a dead letter there, unsent, with its field."""
    delivery = make_delivery(destination, **changes)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.status) == (Outcome.REJECTED, True, None)
    (letter,) = room.queue.letters
    assert letter.reason.startswith(f"{field}: ")
    assert (letter.status, letter.attempts) == (None, 0)
    assert room.transport.requests == []
    assert room.record(delivery).state == "given_up"


@BOTH
def test_a_reason_holds_nothing_personal(room: Room, destination: str) -> None:
    """A provider that repeats the customer or the token in its words does not bring them into dead letter or ledger."""
    words = f"{EMAIL} {PHONE} is unknown to {TOKEN} at https://api.example.com/?t={TOKEN}"
    room.transport = FakeTransport(make_reply(422, {"message": words, "errors": {EMAIL: [PHONE]}}))
    delivery = make_delivery(destination)
    result = room.attempt(delivery)
    for text in (room.queue.letters[0].reason, repr(result), repr(room.record(delivery))):
        assert not any(secret in text for secret in (EMAIL, PHONE, PHONE[1:], TOKEN, "https://"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff\xfe", b"[" * 50_000, b'{"message": 5}', b"null"])
def test_a_rejection_without_words(room: Room, body: bytes) -> None:
    """A body that says nothing readable leaves the status as the reason."""
    room.transport = FakeTransport(make_reply(400, body))
    room.attempt(make_delivery("sender/main"))
    assert room.queue.letters[0].reason == "HTTP 400"


@pytest.mark.parametrize("event_id", ["a\x01b", "a\uffffb", "a\x00", "\u0085", "plain"])
@BOTH
def test_a_dead_letter_can_be_queued(room: Room, destination: str, event_id: str) -> None:
    """SQS refuses control characters in an attribute; a dead letter that cannot be written would come back for ever."""
    room.transport = FakeTransport(make_reply(400))
    try:
        delivery = make_delivery(destination, id=event_id)
    except ValueError:
        pytest.skip("such an event is not accepted")
    room.attempt(delivery)
    (letter,) = room.queue.letters
    for text in (letter.event_id, letter.reason, letter.destination):
        assert not {c for c in text if (c < " " and c not in "\t\n\r") or c in "\ufffe\uffff"}


def test_reasons_are_bounded(room: Room) -> None:
    """However much the provider has to say."""
    room.transport = FakeTransport(make_reply(400, {"message": "ü" * 30_000}))
    room.attempt(make_delivery("sender/main"))
    assert len(room.queue.letters[0].reason.encode()) <= 1024


# ------------------------------------------------------------------------------------------------ poison


def test_poison(room: Room) -> None:
    """GIVEN an event at which the provider fails while it takes all others
    WHEN it has failed five times
    THEN it is a dead letter and its account is well.
    """

    def answer(request: Request) -> Reply:
        return make_reply(500 if b"poison" in request.body else 200)

    room.transport = FakeTransport(otherwise=answer)
    bad = make_delivery("yotpo/main", id="poison")
    results = []
    for number in range(POISON_FAILURES):
        results.append(room.attempt(bad))
        room.clock.pass_by(5)
        room.attempt(make_delivery("yotpo/main", id=f"good-{number}"))
        room.clock.pass_by(5)
    assert [result.outcome for result in results] == [Outcome.RETRY] * 4 + [Outcome.REJECTED]
    assert [result.final for result in results] == [False] * 4 + [True]
    (letter,) = room.queue.letters
    assert (letter.event_id, letter.attempts, letter.status) == ("poison", POISON_FAILURES, 500)
    assert "while others succeeded" in letter.reason
    assert room.account("yotpo/main").room > 1


def test_an_outage_makes_no_poison(room: Room) -> None:
    """When the provider fails at everything, nothing is given up, however often."""
    room.transport = FakeTransport(otherwise=make_reply(503))
    deliveries = [make_delivery("yotpo/main", id=f"evt-{number}") for number in range(3)]
    for _ in range(30):
        for delivery in deliveries:
            assert room.attempt(delivery).outcome is Outcome.RETRY
        room.clock.pass_by(room.account("yotpo/main").back_off(1, succeeded=False, failing_for=0))
    assert room.queue.letters == []


# ------------------------------------------------------------------------------------------------ expired


@BOTH
def test_expired_by_age(room: Room, destination: str) -> None:
    """Older than the stack allows, counted from acceptance: a dead letter, unsent."""
    room.account(destination)
    delivery = make_delivery(destination, accepted_at=room.clock.now() - 72 * HOUR)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.EXPIRED, True, 0)
    assert "since acceptance" in room.queue.letters[0].reason
    assert room.transport.requests == []
    assert room.record(delivery).state == "given_up"


def test_not_yet_expired(room: Room) -> None:
    """A second before, it is delivered."""
    room.account("yotpo/main")
    delivery = make_delivery("yotpo/main", accepted_at=room.clock.now() - 72 * HOUR + 1)
    assert room.attempt(delivery).outcome is Outcome.DELIVERED


@BOTH
def test_expired_by_its_own_wish(room: Room, destination: str) -> None:
    """A stale trigger is worse than none."""
    delivery = make_delivery(destination, expires_at="2026-11-22T10:00:00Z")
    result = room.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.EXPIRED, 1)
    assert room.queue.letters[0].reason == "passed its expires_at"
    assert room.transport.requests == []


def test_expiry_in_the_future(room: Room) -> None:
    """An event that may still be delivered is."""
    assert room.attempt(make_delivery("yotpo/main", expires_at="2026-11-22T12:00:00Z")).outcome is Outcome.DELIVERED


def test_a_delivered_event_does_not_expire(room: Room) -> None:
    """A repeat that comes too late is still only a repeat."""
    delivery = make_delivery("yotpo/main")
    room.attempt(delivery)
    room.clock.pass_by(100 * HOUR)
    assert room.attempt(delivery).outcome is Outcome.DUPLICATE
    assert room.queue.letters == []


# ------------------------------------------------------------------------------------------------ the ledger


@BOTH
def test_a_repeat_is_not_sent(room: Room, destination: str) -> None:
    """What the ledger has as delivered is a duplicate: final, no request."""
    room.attempt(make_delivery(destination, key="m-1"))
    result = room.attempt(make_delivery(destination, key="m-2"))
    assert (result.outcome, result.final, result.attempts) == (Outcome.DUPLICATE, True, 1)
    assert len(room.transport.requests) == 1


def test_destinations_do_not_share_a_record(room: Room) -> None:
    """Delivered to one destination says nothing of another."""
    assert room.attempt(make_delivery("yotpo/main")).outcome is Outcome.DELIVERED
    assert room.attempt(make_delivery("yotpo/other")).outcome is Outcome.DELIVERED
    assert room.attempt(make_delivery("sender/main")).outcome is Outcome.DELIVERED
    assert len(room.transport.requests) == 3


def test_changed_content_updates_yotpo(room: Room) -> None:
    """Yotpo overwrites by id, so other content under the same id is an update that must be sent."""
    room.attempt(make_delivery("yotpo/main"))
    changed = make_delivery("yotpo/main", value=7)
    result = room.attempt(changed)
    assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 1)
    assert len(room.transport.requests) == 2
    assert room.record(changed).content_hash == changed.content_hash
    assert room.attempt(changed).outcome is Outcome.DUPLICATE


def test_changed_content_is_an_error_at_sender(room: Room) -> None:
    """At Sender the same id with other content is a producer's error, and the record of the first stays."""
    first = make_delivery("sender/main")
    room.attempt(first)
    result = room.attempt(make_delivery("sender/main", value=7))
    assert (result.outcome, result.final) == (Outcome.REJECTED, True)
    assert room.queue.letters[0].reason.startswith("id_reused")
    assert len(room.transport.requests) == 1
    assert room.record(first).content_hash == first.content_hash
    assert room.attempt(first).outcome is Outcome.DUPLICATE


@BOTH
def test_another_execution_has_it(room: Room, destination: str) -> None:
    """A live claim of somebody else is left alone until it ends."""
    delivery = make_delivery(destination)
    held = _claimed(delivery, lease_until=room.clock.now() + 1000)
    room.ledger.records["evt-1", destination] = held
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert result.wait == held.lease_until - room.clock.now()
    assert room.transport.requests == []
    assert room.record(delivery) == held


def test_an_update_while_another_execution_has_the_event(room: Room) -> None:
    """GIVEN an event on its way to Yotpo WHEN its update comes meanwhile THEN the update waits."""
    first = make_delivery("yotpo/main")
    room.ledger.records["evt-1", "yotpo/main"] = _claimed(first, lease_until=room.clock.now() + 1000)
    result = room.attempt(make_delivery("yotpo/main", customer={"email": "new@example.com"}))
    assert (result.outcome, result.final) == (Outcome.THROTTLED, False)
    assert room.queue.letters == []


@BOTH
def test_a_crash_is_found(room: Room, destination: str) -> None:
    """A claim that was never settled: the earlier attempt may have been sent, so it counts, and this one goes."""
    delivery = make_delivery(destination)
    room.ledger.records["evt-1", destination] = _claimed(delivery, lease_until=NOW - 1, attempts=2)
    result = room.attempt(delivery)
    assert (result.outcome, result.final, result.crashed) == (Outcome.DELIVERED, True, 1)
    assert result.attempts == 4


@BOTH
def test_a_crash_is_parked(room: Room, destination: str) -> None:
    """Where unknown deliveries are parked, so is what a crash left behind, unsent."""
    room.settings = {"on_unknown": "park"}
    delivery = make_delivery(destination)
    room.ledger.records["evt-1", destination] = _claimed(delivery, lease_until=NOW - 1)
    result = room.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.UNKNOWN, True)
    assert "parked" in room.queue.letters[0].reason
    assert room.transport.requests == []
    assert room.record(delivery).state == "given_up"


def test_a_crash_that_expired_meanwhile(room: Room) -> None:
    """The end is the expiry, and the crash is still counted."""
    delivery = make_delivery("sender/main", expires_at="2026-11-22T10:00:00Z")
    room.ledger.records["evt-1", "sender/main"] = _claimed(delivery, lease_until=NOW - 1)
    result = room.attempt(delivery)
    assert (result.outcome, result.crashed) == (Outcome.EXPIRED, 1)


def test_a_dead_letter_that_comes_back(room: Room) -> None:
    """What was given up may be tried again, after a redrive."""
    room.transport = FakeTransport(make_reply(422), make_reply(200))
    delivery = make_delivery("sender/main")
    assert room.attempt(delivery).outcome is Outcome.REJECTED
    result = room.attempt(replace(delivery, key="redriven"))
    assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 2)
    assert room.record(delivery).state == "delivered"


def test_changed_content_starts_its_own_count(room: Room) -> None:
    """Failures of the old content are not held against the new."""
    room.transport = FakeTransport(make_reply(503), make_reply(503), make_reply(200))
    room.attempt(make_delivery("yotpo/main"))
    room.attempt(make_delivery("yotpo/main"))
    changed = make_delivery("yotpo/main", value=7)
    assert room.attempt(changed).attempts == 1
    assert room.record(changed).strikes == 0


@BOTH
def test_a_ledger_that_cannot_be_asked(room: Room, destination: str) -> None:
    """Without a claim nothing is sent: the event comes back."""
    room.ledger.fails_on = {"claim"}
    result = room.attempt(make_delivery(destination))
    assert (result.outcome, result.final) == (Outcome.RETRY, False)
    assert "DynamoDB" in result.reason
    assert room.transport.requests == []
    assert room.queue.letters == []


def test_a_delivery_that_cannot_be_recorded(room: Room) -> None:
    """GIVEN a delivery WHEN its record cannot be written THEN it is delivered all the same, and looks like a crash."""
    room.ledger.fails_on = {"settle"}
    delivery = make_delivery("sender/main")
    result = room.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.DELIVERED, True)
    assert "not recorded" in result.reason
    room.ledger.fails_on = set()
    room.clock.pass_by(60)
    assert room.attempt(delivery).crashed == 1


def test_a_lease_ends_with_the_invocation(room: Room) -> None:
    """A claim binds others for as long as this invocation may live, no longer."""
    room.ledger.fails_on = {"settle"}
    delivery = make_delivery("yotpo/main")
    room.account("yotpo/main")
    began = room.clock.now()
    room.attempt(delivery, seconds=25)
    assert room.record(delivery).lease_until == pytest.approx(began + 25)


def test_attempts_have_owners_of_their_own(room: Room) -> None:
    """Two attempts of the same message are two owners, so that a late one cannot settle over the other."""
    room.transport = FakeTransport(otherwise=make_reply(503))
    room.attempt(make_delivery("yotpo/main"))
    room.clock.pass_by(1)
    room.attempt(make_delivery("yotpo/main"))
    owners = [record.owner for record in room.ledger.settled]
    assert len(set(owners)) == 2


@BOTH
@pytest.mark.parametrize("status", [200, 422, 503])
def test_nothing_personal_in_the_ledger(room: Room, destination: str, status: int) -> None:
    """Ids, hashes, states and reasons only."""
    room.transport = FakeTransport(make_reply(status, {"message": f"about {EMAIL} and {PHONE}"}))
    delivery = make_delivery(destination, customer={"email": EMAIL, "phone_number": PHONE})
    room.attempt(delivery)
    kept = repr(room.record(delivery))
    assert not any(personal in kept for personal in (EMAIL, PHONE, PHONE[1:], "A-1001"))


# ------------------------------------------------------------------------------------------------ no dead letter


def test_a_dead_letter_that_cannot_be_written(room: Room) -> None:
    """GIVEN a rejection WHEN its dead letter cannot be written THEN the message stays, for the next attempt."""
    room.transport = FakeTransport(otherwise=make_reply(422))
    room.queue.loses_letters = True
    delivery = make_delivery("sender/main")
    result = room.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.RETRY, False)
    assert "dead letter not written" in result.reason
    assert room.record(delivery).state == "open"
    room.queue.loses_letters = False
    assert room.attempt(delivery).final
    assert len(room.queue.letters) == 1


def test_an_unknown_delivery_stays_unknown_until_it_is_parked(room: Room) -> None:
    """GIVEN an unknown delivery to be parked WHEN the dead letter cannot be written THEN it is never sent again."""
    room.settings = {"on_unknown": "park"}
    room.transport = FakeTransport(NoAnswerError("ReadTimeoutError"))
    room.queue.loses_letters = True
    delivery = make_delivery("sender/main")
    assert not room.attempt(delivery).final
    room.queue.loses_letters = False
    room.clock.pass_by(60)
    result = room.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.UNKNOWN, True)
    assert len(room.transport.requests) == 1
    assert len(room.queue.letters) == 1


def test_a_reused_id_whose_dead_letter_cannot_be_written(room: Room) -> None:
    """It comes back, and the record of the first is not touched."""
    first = make_delivery("sender/main")
    room.attempt(first)
    before = room.record(first)
    room.queue.loses_letters = True
    result = room.attempt(make_delivery("sender/main", value=7))
    assert (result.outcome, result.final) == (Outcome.RETRY, False)
    assert room.record(first) == before


# ------------------------------------------------------------------------------------------------ the witness


def test_a_witness_sees_the_exchange(room: Room) -> None:
    """A direct call is shown what went out and what came back."""
    seen: list[tuple[Request | None, Reply | None]] = []
    delivery, account = make_delivery("yotpo/main"), room.account("yotpo/main")
    room.transport = FakeTransport(make_reply(200, {"ok": True}))
    room.courier.attempt(
        delivery, account, account.pace.turn(), room.clock.monotonic() + 30, witness=lambda *both: seen.append(both)
    )
    ((request, reply),) = seen
    assert request == room.transport.requests[0]
    assert reply is not None
    assert reply.status == 200


def test_a_turn_is_given_back(room: Room) -> None:
    """An attempt that sends nothing leaves no place in the line behind."""
    room.ledger.fails_on = {"claim"}
    for number in range(20):
        room.attempt(make_delivery("yotpo/main", id=f"evt-{number}"))
    assert room.account("yotpo/main").pace.delay() == 0


def _claimed(delivery: Delivery, lease_until: float, attempts: int = 0) -> Record:
    return Record(
        event_id=delivery.event.id,
        destination=delivery.destination,
        content_hash=delivery.content_hash,
        state="claimed",
        owner="somebody@1",
        lease_until=lease_until,
        attempts=attempts,
    )


@BOTH
def test_a_given_up_message_that_comes_back_is_not_tried_again(room: Room, destination: str) -> None:
    """GIVEN a crash between the dead letter and the end of the batch
    WHEN SQS brings the same message back
    THEN it ends as it had, without a request and without a second letter; redriven as a new message it is tried.
    """
    room.transport = FakeTransport(otherwise=make_reply(422))
    delivery = make_delivery(destination)
    assert room.attempt(delivery).outcome is Outcome.REJECTED
    again = room.attempt(delivery)
    assert (again.outcome, again.final) == (Outcome.DUPLICATE, True)
    assert "given up before" in again.reason
    assert (len(room.transport.requests), len(room.queue.letters)) == (1, 1)
    room.attempt(replace(delivery, key="redriven"))
    assert len(room.transport.requests) == 2


@BOTH
def test_of_two_given_up_messages_neither_is_tried_again(room: Room, destination: str) -> None:
    """GIVEN two messages of one event, both given up WHEN SQS brings both back THEN each ends as it had."""
    room.transport = FakeTransport(otherwise=make_reply(422))
    first, second = make_delivery(destination), make_delivery(destination, key="another")
    room.attempt(first)
    room.attempt(second)
    assert [room.attempt(each).outcome for each in (first, second, first)] == [Outcome.DUPLICATE] * 3
    assert (len(room.transport.requests), len(room.queue.letters)) == (2, 2)


def test_a_record_names_so_many_given_up_messages(room: Room) -> None:
    """A record does not grow for ever."""
    room.transport = FakeTransport(otherwise=make_reply(422))
    for number in range(REMEMBERED + 5):
        room.attempt(make_delivery("sender/main", key=f"m{number}"))
    named = room.record(make_delivery("sender/main")).given_up
    assert named == tuple(f"m{number}" for number in range(5, REMEMBERED + 5))
