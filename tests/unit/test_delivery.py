"""One attempt: every outcome of the table, from the claim to the record of its end."""

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.account.account import POISON_FAILURES, SHORTEST_HOLD, Account
from relay.account.pace import Pace
from relay.contract.destination import Destination
from relay.delivery.attempt import OUTDATED, Attempt
from relay.delivery.delivery import COPIES_DROPPED_SECONDS, Delivery
from relay.delivery.post import BROKEN, UNREADABLE
from relay.delivery.record import MOST_NAMED
from relay.delivery.services import LONGEST_WAIT, Services
from relay.errors import CredentialsError, NoAnswerError, NotSentError, UnavailableError, UndeliverableError
from relay.outcome import Outcome, Result
from relay.ports import Claim, Failure, Record, Reply, Request
from relay.providers import PROVIDERS
from relay.providers.base import Provider, Useless
from relay.providers.ids import ulid
from relay.providers.limits import Budget, Quota
from tests.factories import EMAIL, NOW, PHONE, TOKEN, make_delivery, make_reply
from tests.fakes import FakeAccounts, FakeClock, FakeLaneQueue, FakeLedger, FakeSecrets, FakeTransport, middle

BASE = "https://api.example.com"
HOUR = 3600.0
BOTH = pytest.mark.parametrize("destination", ["yotpo/main", "sender/main"])
ALONE = {"x_ratelimit_remaining": "59", "ratelimit_remaining": "4"}
"""A reply that says the account is ours alone, to either provider."""


@dataclass
class Harness:
    """Attempts among fakes, and one account per destination."""

    clock: FakeClock = field(default_factory=FakeClock)
    transport: FakeTransport = field(default_factory=FakeTransport)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    queue: FakeLaneQueue = field(default_factory=FakeLaneQueue)
    records: FakeAccounts = field(default_factory=FakeAccounts)
    settings: dict[str, Any] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)
    """What of the provider is not what it should be."""

    def provider(self, destination: str) -> Provider:
        named = PROVIDERS[Destination(destination).provider]
        made: type[Provider] = type("Faulty", (named,), dict(self.faults))
        return made(BASE, made.settings_model(**self.settings))

    def account(self, destination: str) -> Account:
        if destination not in self.accounts:
            pace = Pace(destination, self.provider(destination).terms, self.records, self.clock)
            self.accounts[destination] = Account(pace, self.clock, rng=middle)
        return self.accounts[destination]

    @property
    def services(self) -> Services:
        return Services(
            provider_for=self.provider,
            transport=self.transport,
            ledger=self.ledger,
            secrets=self.secrets,
            queue=self.queue,
            clock=self.clock,
            oldest=72 * HOUR,
        )

    def attempt(self, delivery: Delivery, seconds: float = 30.0) -> Result:
        account, deadline = self.account(delivery.destination), self.clock.monotonic() + seconds
        return Attempt(self.services, delivery, account, deadline).run()

    def record(self, delivery: Delivery) -> Record:
        return self.ledger.records[delivery.event.id, delivery.destination]

    @property
    def bodies(self) -> list[Any]:
        """What was sent, as JSON."""
        return [json.loads(request.body) for request in self.transport.requests]


def fault(*_: object, **__: object) -> Any:
    """What nobody thought of, with what nobody may read in its text."""
    raise RuntimeError(f"{EMAIL} {TOKEN}")


@pytest.fixture
def harness() -> Harness:
    return Harness()


# ------------------------------------------------------------------------------------------------ delivered


@BOTH
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_delivered(harness: Harness, destination: str, status: int) -> None:
    """Any 2xx: final, recorded, in one claim and one settle."""
    harness.transport = FakeTransport(make_reply(status, {"success": True}))
    delivery = make_delivery(destination, accepted_at=NOW - 5)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.status, result.attempts) == (Outcome.DELIVERED, True, status, 1)
    assert (result.event_id, result.destination, result.correlation_id) == ("evt-1", destination, "corr-1")
    assert result.age >= 5
    assert (harness.ledger.claims, len(harness.ledger.settled)) == (1, 1)
    record = harness.record(delivery)
    assert (record.state, record.outcome, record.attempts, record.status) == ("delivered", "delivered", 1, status)
    assert record.completed_at == harness.clock.now()
    assert harness.queue.letters == []


@BOTH
def test_the_request_is_the_providers(harness: Harness, destination: str) -> None:
    """What goes out is what the provider builds, with the destination's credentials."""
    delivery = make_delivery(destination)
    harness.attempt(delivery)
    expected = harness.provider(destination).build(delivery.event, harness.secrets.get(destination))
    assert harness.transport.requests == [expected]


def test_an_event_without_a_moment_happened_when_it_was_accepted(harness: Harness) -> None:
    """Other systems may write to a lane themselves and leave `occurred_at` out."""
    result = harness.attempt(make_delivery("yotpo/main", accepted_at=NOW - 60, occurred_at=...))
    assert result.outcome is Outcome.DELIVERED
    assert json.loads(harness.transport.requests[0].body)["timestamp"] == "2026-11-22T09:59:00Z"


def test_a_preview_shows_what_would_be_sent(harness: Harness) -> None:
    """The exact request, and nothing is sent, claimed or recorded."""
    delivery = make_delivery("sender/main")
    request = harness.services.preview(delivery)
    assert harness.transport.requests == []
    assert harness.ledger.claims == 0
    harness.attempt(delivery)
    assert harness.transport.requests == [request]


def test_a_preview_of_an_event_without_a_moment(harness: Harness) -> None:
    """What would be delivered can be previewed."""
    delivery = make_delivery("yotpo/main", occurred_at=...)
    request = harness.services.preview(delivery)
    harness.attempt(delivery)
    assert harness.transport.requests == [request]


def test_a_preview_says_what_is_wrong(harness: Harness) -> None:
    """What cannot be built or read is raised to the caller, who asked to see it."""
    with pytest.raises(UndeliverableError):
        harness.services.preview(make_delivery("yotpo/main", customer={"id": "1"}))
    harness.secrets.failure = CredentialsError("no readable secret for yotpo/main")
    with pytest.raises(CredentialsError):
        harness.services.preview(make_delivery("yotpo/main"))


# ------------------------------------------------------------------------------------------------ retry, unknown


@BOTH
@pytest.mark.parametrize("answer", [*map(make_reply, (500, 502, 503, 504, 599, 408, 425, 301, 302)), NotSentError("x")])
def test_retry(harness: Harness, destination: str, answer: Reply | NotSentError) -> None:
    """Trouble that passes: not final, no dead letter, the attempt counted and the record open for the next."""
    harness.transport = FakeTransport(answer)
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.RETRY, False, 1)
    assert (harness.record(delivery).state, harness.record(delivery).attempts) == ("open", 1)
    assert harness.queue.letters == []


@BOTH
def test_delivered_in_the_end(harness: Harness, destination: str) -> None:
    """Attempts add up over failures, and the last one delivers."""
    harness.transport = FakeTransport(make_reply(503), NotSentError("ConnectionRefusedError"), make_reply(201))
    delivery = make_delivery(destination)
    results = [harness.attempt(delivery) for _ in range(3)]
    assert [result.outcome for result in results] == [Outcome.RETRY, Outcome.RETRY, Outcome.DELIVERED]
    assert [result.attempts for result in results] == [1, 2, 3]
    assert harness.record(delivery).attempts == 3
    assert not harness.record(delivery).reason.startswith("no answer")


@BOTH
def test_unknown_is_tried_again(harness: Harness, destination: str) -> None:
    """By default an answer that never came is counted and tried again."""
    harness.transport = FakeTransport(NoAnswerError("ReadTimeoutError"))
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.UNKNOWN, False, 1)
    assert harness.record(delivery).state == "open"
    assert harness.attempt(delivery).outcome is Outcome.DELIVERED


@BOTH
def test_unknown_is_parked(harness: Harness, destination: str) -> None:
    """Where the destination would rather miss an event than repeat it, it becomes a dead letter."""
    harness.settings = {"on_unknown": "park"}
    harness.transport = FakeTransport(NoAnswerError("ReadTimeoutError"))
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.UNKNOWN, True)
    (letter,) = harness.queue.letters
    assert letter.reason == "no answer: ReadTimeoutError"
    assert letter.attempts == 1
    assert harness.record(delivery).state == "given_up"
    assert len(harness.transport.requests) == 1


@BOTH
def test_a_success_that_is_cut_off_is_parked(harness: Harness, destination: str) -> None:
    """GIVEN a 2xx without the end of its body THEN it is unknown, and its dead letter says why."""
    harness.settings = {"on_unknown": "park"}
    harness.transport = FakeTransport(Reply(200, {}, b'{"success": ', complete=False))
    result = harness.attempt(make_delivery(destination))
    assert (result.outcome, result.final, result.unknowns) == (Outcome.UNKNOWN, True, 1)
    assert harness.queue.letters[0].reason == "HTTP 200, its body cut off or unreadable"


def test_a_failed_connection_is_not_parked(harness: Harness) -> None:
    """What was never sent is not unknown."""
    harness.settings = {"on_unknown": "park"}
    harness.transport = FakeTransport(NotSentError("ConnectionRefusedError"))
    assert harness.attempt(make_delivery("sender/main")).outcome is Outcome.RETRY
    assert harness.queue.letters == []


# ------------------------------------------------------------------------------------------------ throttled


@BOTH
def test_throttled_by_the_provider(harness: Harness, destination: str) -> None:
    """429: away until the moment it names; no attempt is counted."""
    harness.transport = FakeTransport(make_reply(429, retry_after="30"))
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert harness.account(destination).pace.delay() >= 30
    assert (harness.record(delivery).state, harness.record(delivery).attempts) == ("open", 0)


def test_no_budget_left(harness: Harness) -> None:
    """A wait longer than a moment is not slept: nothing is sent, and the pace knows how long."""
    harness.settings = {"requests": 1}
    harness.attempt(make_delivery("sender/main"))
    delivery = make_delivery("sender/main", id="evt-2")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert harness.account("sender/main").pace.delay() > LONGEST_WAIT
    assert len(harness.transport.requests) == 1
    assert harness.record(delivery).state == "open"


def test_a_short_wait_is_slept(harness: Harness) -> None:
    """A wait within the second happens inside the batch."""
    harness.account("yotpo/main")
    harness.transport = FakeTransport(otherwise=make_reply(200), clock=harness.clock, takes=0.02)
    results = [harness.attempt(make_delivery("yotpo/main", id=f"evt-{n}")) for n in range(6)]
    assert {result.outcome for result in results} == {Outcome.DELIVERED}
    assert harness.transport.times[5] - harness.transport.times[0] >= 1.0


def test_no_request_that_cannot_end_in_time(harness: Harness) -> None:
    """Nothing is started that may outlive the invocation: not even a claim, which would be found open, as a crash."""
    result = harness.attempt(make_delivery("yotpo/main"), seconds=harness.transport.longest)
    assert (result.outcome, result.final, result.attempts, result.wait) == (Outcome.THROTTLED, False, 0, 0)
    assert harness.transport.requests == []
    assert (harness.ledger.claims, harness.ledger.records) == (0, {})


def test_an_attempt_that_starts_after_its_batch_claims_nothing(harness: Harness) -> None:
    """GIVEN an attempt that waited for a free thread until its invocation was over THEN a batch that has the event
    meanwhile is not disturbed.
    """
    delivery = make_delivery("yotpo/main")
    assert harness.attempt(delivery, seconds=-5).outcome is Outcome.THROTTLED
    assert harness.attempt(delivery).crashed == 0
    assert harness.attempt(delivery, seconds=-5).outcome is Outcome.THROTTLED
    assert (harness.record(delivery).state, len(harness.transport.requests)) == ("delivered", 1)


def test_the_time_is_looked_at_again_after_the_wait(harness: Harness) -> None:
    """GIVEN time for a request now, not after the second that the pace makes it wait THEN it is not sent, and open."""
    harness.account("yotpo/main")
    harness.transport = FakeTransport(otherwise=make_reply(200), clock=harness.clock)
    for number in range(5):
        harness.attempt(make_delivery("yotpo/main", id=f"evt-{number}"))
    delivery = make_delivery("yotpo/main", id="late")
    result = harness.attempt(delivery, seconds=harness.transport.longest + 1.5)
    assert (result.outcome, result.final) == (Outcome.THROTTLED, False)
    assert len(harness.transport.requests) == 5
    assert (harness.record(delivery).state, harness.record(delivery).claims) == ("open", 0)


def test_an_event_always_answered_429_among_others_is_a_dead_letter(harness: Harness) -> None:
    """GIVEN an event that its provider throttles for what it is WHEN others, tried later, get through
    THEN it is a dead letter after five, with 429 as its reason. (More are needed where few others got through before.)
    """
    harness.transport = FakeTransport(
        otherwise=lambda request: (
            make_reply(429, retry_after="1") if b"bad" in request.body else make_reply(200, **ALONE)
        )
    )
    bad, results = make_delivery("yotpo/main", id="bad"), []
    for number in range(20):
        harness.attempt(make_delivery("yotpo/main", id=f"before-{number}"))
        harness.clock.pass_by(1)
    for number in range(POISON_FAILURES):
        results.append(harness.attempt(bad))
        harness.clock.pass_by(2)
        harness.attempt(make_delivery("yotpo/main", id=f"good-{number}"))
        harness.clock.pass_by(2)
    assert [result.outcome for result in results] == [Outcome.THROTTLED] * 4 + [Outcome.REJECTED]
    assert [result.strikes for result in results] == [1, 2, 3, 4, 5]
    (letter,) = harness.queue.letters
    assert (letter.event_id, letter.status, letter.attempts) == ("bad", 429, POISON_FAILURES)
    assert letter.reason == "failed 5 times while others succeeded, last HTTP 429"
    assert harness.record(bad).state == "given_up"


def test_events_all_answered_429_are_nobodys_fault(harness: Harness) -> None:
    """An account that lets nothing through, for hours: no strike but the first, no attempt counted, no dead letter."""
    harness.transport = FakeTransport(otherwise=make_reply(429, retry_after="60"))
    for _ in range(100):
        for number in range(3):
            result = harness.attempt(make_delivery("yotpo/main", id=f"evt-{number}"))
            assert result.outcome is Outcome.THROTTLED
            assert result.strikes <= 1
            assert result.attempts == 0
        harness.clock.pass_by(61)
    assert harness.queue.letters == []


# ------------------------------------------------------------------------------------------------ unauthorized


@BOTH
@pytest.mark.parametrize("status", [401, 403])
def test_a_rotated_secret_is_picked_up(harness: Harness, destination: str, status: int) -> None:
    """A refusal fetches the secret anew, once, and tries once more, with it."""
    harness.secrets = FakeSecrets({"store_id": "s", "access_token": "old"}, {"store_id": "s", "access_token": "new"})
    harness.transport = FakeTransport(make_reply(status, **ALONE), make_reply(200))
    result = harness.attempt(make_delivery(destination))
    assert (result.outcome, result.final) == (Outcome.DELIVERED, True)
    assert harness.secrets.refreshed == 1
    old, new = harness.transport.requests
    assert "old" in f"{old.url} {old.headers}"
    assert "new" in f"{new.url} {new.headers}"
    assert harness.account(destination).max_in_flight > 0


@BOTH
def test_credentials_that_stay_refused_hold_the_account(harness: Harness, destination: str) -> None:
    """Two refusals: the account is held for five minutes, and the event waits."""
    harness.transport = FakeTransport(otherwise=make_reply(401, **ALONE))
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.wait) == (Outcome.UNAUTHORIZED, False, 300)
    assert len(harness.transport.requests) == 2
    assert harness.secrets.refreshed == 1
    assert harness.account(destination).max_in_flight == 0
    assert harness.record(delivery).state == "open"
    assert harness.queue.letters == []


@BOTH
@pytest.mark.parametrize(
    ("statuses", "waits"),
    [
        ([403, 403], [SHORTEST_HOLD, 300]),
        ([401], [300]),
        ([403, 401], [SHORTEST_HOLD, 300]),
        ([401, 403], [300, 300]),
    ],
    ids=["403, then another's", "401", "403, then another's 401", "401, then another's 403"],
)
def test_a_403_of_one_event_alone_holds_for_half_a_minute(
    harness: Harness, destination: str, statuses: list[int], waits: list[float]
) -> None:
    """It may be what that event asks for. Who asks is unknown with a 401, and with a second refused event."""
    results = []
    for number, status in enumerate(statuses):
        harness.transport = FakeTransport(otherwise=make_reply(status, **ALONE))
        results.append(harness.attempt(make_delivery(destination, id=f"evt-{number}")))
        assert harness.account(destination).pace.open_for == results[-1].wait
        harness.clock.pass_by(results[-1].wait)
    assert {result.outcome for result in results} == {Outcome.UNAUTHORIZED}
    assert [result.wait for result in results] == waits


def test_nothing_goes_to_an_account_that_is_held(harness: Harness) -> None:
    """GIVEN refused credentials WHEN an attempt is under way already THEN it has no turn, and its event stays open."""
    harness.transport = FakeTransport(otherwise=make_reply(401, **ALONE))
    harness.attempt(make_delivery("sender/main"))
    sent, delivery = len(harness.transport.requests), make_delivery("sender/main", id="evt-2")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert len(harness.transport.requests) == sent
    assert harness.record(delivery).state == "open"


def test_a_refusal_never_gives_an_event_up(harness: Harness) -> None:
    """Credentials that stay refused for a day cost no event: nothing is dropped, nothing counts against an event."""
    harness.transport = FakeTransport(otherwise=make_reply(403, **ALONE))
    delivery = make_delivery("sender/main")
    for _ in range(100):
        result = harness.attempt(delivery)
        assert (result.outcome, result.final, result.strikes) == (Outcome.UNAUTHORIZED, False, 1)
        harness.clock.pass_by(result.wait)
    assert harness.queue.letters == []


@BOTH
def test_no_secret_holds_the_account(harness: Harness, destination: str) -> None:
    """A secret that is not there, or lacks a key, is as good as refused."""
    harness.secrets.failure = CredentialsError(f"no readable secret for {destination}")
    result = harness.attempt(make_delivery(destination))
    assert (result.outcome, result.final, result.wait) == (Outcome.UNAUTHORIZED, False, 300)
    harness.secrets.failure = None
    harness.secrets.credentials = {"store_id": "s", "access_token": ""}
    assert harness.attempt(make_delivery(destination)).outcome is Outcome.UNAUTHORIZED
    assert harness.transport.requests == []
    assert harness.queue.letters == []


def test_a_secret_that_is_gone_is_no_events_fault(harness: Harness) -> None:
    """GIVEN an event that is refused, and then no secret to be read WHEN others get through all the time, as in an
    environment that has the secret still THEN nothing counts against it, and what is said tells of both.
    """
    harness.transport = FakeTransport(otherwise=make_reply(403, **ALONE))
    harness.secrets.refresh_failure = CredentialsError("no readable secret for sender/main")
    delivery = make_delivery("sender/main")
    for attempts in range(1, 20):
        result = harness.attempt(delivery)
        assert (result.outcome, result.final, result.strikes) == (Outcome.UNAUTHORIZED, False, 0)
        assert (result.reason, result.status) == ("HTTP 403, then no readable secret for sender/main", 403)
        assert result.attempts == attempts
        harness.clock.pass_by(400)
        harness.account("sender/main").succeeded("other", harness.clock.now())
        harness.clock.pass_by(400)
    assert harness.queue.letters == []


def test_secrets_that_cannot_be_read_just_now(harness: Harness) -> None:
    """Secrets Manager's trouble is ours, not the account's: tried again, nothing held, nothing sent."""
    harness.secrets.failure = UnavailableError("Secrets Manager")
    delivery = make_delivery("yotpo/main")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.RETRY, False, 0)
    assert harness.account("yotpo/main").max_in_flight > 0
    assert harness.record(delivery).state == "open"


def test_a_refetch_that_fails(harness: Harness) -> None:
    """Refused, and the secret cannot be fetched anew just now: refused all the same, or every event would be."""
    harness.transport = FakeTransport(make_reply(401, **ALONE))
    harness.secrets.refresh_failure = UnavailableError("Secrets Manager")
    delivery = make_delivery("yotpo/main")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.wait) == (Outcome.UNAUTHORIZED, False, 300)
    assert harness.record(delivery).state == "open"
    assert harness.queue.letters == []


def test_a_secret_that_is_gone_when_it_is_read_again(harness: Harness) -> None:
    """Refused, and now there is none: no event's own doing, so five minutes, whatever the status was."""
    harness.transport = FakeTransport(make_reply(403, **ALONE))
    harness.secrets.refresh_failure = CredentialsError("no readable secret for sender/main")
    result = harness.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.final, result.wait, result.status) == (Outcome.UNAUTHORIZED, False, 300, 403)
    assert result.reason == "HTTP 403, then no readable secret for sender/main"


def test_new_credentials_that_had_no_turn_are_not_refused() -> None:
    """GIVEN a rotated secret, and a refusal of the old one that used up the budget THEN the new one has its turn."""
    harness = Harness(secrets=FakeSecrets({"access_token": "old"}, {"access_token": "new"}), settings={"requests": 1})
    harness.transport = FakeTransport(make_reply(401))
    result = harness.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.wait, harness.account("sender/main").pace.open_for) == (Outcome.THROTTLED, 0, 0)


@BOTH
def test_a_repaired_secret_needs_no_patience(harness: Harness, destination: str) -> None:
    """GIVEN a secret without a token, kept for a while WHEN it is repaired THEN the next attempt has it."""
    harness.secrets = FakeSecrets({"store_id": "s"}, {"store_id": "s", "access_token": "new"})
    assert harness.attempt(make_delivery(destination)).outcome is Outcome.DELIVERED
    assert harness.secrets.refreshed == 1


def test_one_event_refused_among_others_is_a_dead_letter(harness: Harness) -> None:
    """GIVEN an event that a firewall before the provider answers with 403 WHEN others get through
    THEN the account is not held for it, and after two minutes the event is a dead letter.
    """
    answers = {"bad": make_reply(403, **ALONE)}
    harness.transport = FakeTransport(
        otherwise=lambda request: answers.get(json.loads(request.body)["type"], make_reply(200))
    )
    bad = make_delivery("sender/main", id="evt-bad", type="bad")
    began = harness.clock.now()
    for number in range(200):
        harness.attempt(make_delivery("sender/main", id=f"evt-{number}"))
        result = harness.attempt(bad)
        if result.final:
            break
        assert harness.account("sender/main").pace.open_for == 0
        harness.clock.pass_by(2)
    assert (result.outcome, result.status) == (Outcome.REJECTED, 403)
    assert harness.clock.now() - began >= 120
    assert harness.queue.letters[0].reason.startswith("failed 5 times while others succeeded, last HTTP 403")


@pytest.mark.parametrize("trouble", ["refused", "ours"])
def test_strikes_of_before_do_not_make_todays_trouble_the_events_fault(harness: Harness, trouble: str) -> None:
    """GIVEN an event with many strikes from a provider's bad hour WHEN its credentials are refused, or our own services
    fail THEN that is no proof against it.
    """
    delivery = make_delivery("sender/main")
    harness.transport = FakeTransport(make_reply(503), otherwise=make_reply(401, **ALONE))
    harness.attempt(delivery)
    key = (delivery.event.id, delivery.destination)
    harness.ledger.records[key] = replace(harness.ledger.records[key], failure=Failure(strikes=8))
    if trouble == "ours":
        harness.secrets.failure = UnavailableError("Secrets Manager")
    result = harness.attempt(delivery)
    assert not result.final
    assert result.outcome is (Outcome.RETRY if trouble == "ours" else Outcome.UNAUTHORIZED)
    assert harness.queue.letters == []


def test_a_redriven_event_begins_anew(harness: Harness) -> None:
    """GIVEN an event that was given up as poison WHEN it is redriven THEN its old failures do not count against it."""
    harness.transport = FakeTransport(
        otherwise=lambda request: make_reply(500) if b"evt-1" in request.body else make_reply(200)
    )
    delivery = make_delivery("sender/main", properties={"order_id": "evt-1"})
    for number in range(POISON_FAILURES):
        result = harness.attempt(delivery)
        harness.clock.pass_by(2)
        harness.attempt(make_delivery("sender/main", id=f"other-{number}"))
        harness.clock.pass_by(2)
    assert (result.outcome, result.final) == (Outcome.REJECTED, True)
    again = harness.attempt(replace(delivery, key="m-2"))
    assert (again.outcome, again.final, again.strikes) == (Outcome.RETRY, False, 1)
    assert harness.record(delivery).failure.blame == 1


def test_what_strikes_weighed_is_remembered(harness: Harness) -> None:
    """An environment that knows nothing of the account goes on from the record."""
    harness.transport = FakeTransport(
        otherwise=lambda request: make_reply(500) if b"evt-bad" in request.body else make_reply(200)
    )
    bad = make_delivery("yotpo/main", id="evt-bad")
    for number in range(3):
        harness.attempt(bad)
        harness.clock.pass_by(2)
        harness.accounts.clear()
        harness.attempt(make_delivery("yotpo/main", id=f"other-{number}"))
        harness.clock.pass_by(2)
    record = harness.record(bad)
    assert (record.failure.strikes, record.failure.blame) == (3, 3)
    harness.ledger.records["evt-bad", "yotpo/main"] = replace(record, failure=replace(record.failure, blame=1.5))
    harness.attempt(bad)
    assert (harness.record(bad).failure.strikes, harness.record(bad).failure.blame) == (4, 2.5)


def test_a_second_try_without_budget_is_still_a_refusal(harness: Harness) -> None:
    """GIVEN a refusal that used up the budget THEN the account is held, not merely throttled."""
    harness.settings = {"requests": 1}
    harness.transport = FakeTransport(make_reply(401))
    result = harness.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.wait) == (Outcome.UNAUTHORIZED, 300)
    assert len(harness.transport.requests) == 1


# ------------------------------------------------------------------------------------------------ rejected


@BOTH
@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422, 451])
def test_rejected(harness: Harness, destination: str, status: int) -> None:
    """Any other 4xx is a dead letter at once, with its evidence."""
    said = {"message": "The given data was invalid.", "errors": {"type": ["is unknown"]}}
    harness.transport = FakeTransport(make_reply(status, said))
    delivery = make_delivery(destination, key="message-7")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.status) == (Outcome.REJECTED, True, status)
    (letter,) = harness.queue.letters
    assert letter.reason == f"HTTP {status}: The given data was invalid.; type: is unknown"
    assert (letter.body, letter.destination, letter.event_id) == (delivery.body, destination, "evt-1")
    assert (letter.status, letter.attempts, letter.deduplication_id) == (status, 1, "message-7")
    assert harness.record(delivery).state == "given_up"


@BOTH
@pytest.mark.parametrize("status", [200, 201])
def test_a_2xx_that_means_failure(harness: Harness, destination: str, status: int) -> None:
    """`success: false` is a failure, whatever the status."""
    harness.transport = FakeTransport(make_reply(status, {"success": False, "message": "Unknown event"}))
    result = harness.attempt(make_delivery(destination))
    assert (result.outcome, result.final) == (Outcome.REJECTED, True)
    assert "Unknown event" in harness.queue.letters[0].reason


@pytest.mark.parametrize(
    ("destination", "changes", "field"),
    [
        ("yotpo/main", {"customer": {"id": "4711"}}, "customer"),
        ("sender/main", {"customer": {"id": "4711"}}, "customer"),
        ("sender/main", {"properties": {"text": "ü" * 1_500}}, "properties.text"),
        ("sender/main", {"properties": {f"k{n}": "x" * 2_000 for n in range(5)}}, "properties"),
    ],
)
def test_what_this_provider_cannot_take(
    harness: Harness, destination: str, changes: dict[str, Any], field: str
) -> None:
    """A valid event that cannot be built for one provider is a dead letter there, unsent, with its field."""
    delivery = make_delivery(destination, **changes)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.status) == (Outcome.REJECTED, True, None)
    (letter,) = harness.queue.letters
    assert letter.reason.startswith(f"{field}: ")
    assert (letter.status, letter.attempts) == (None, 0)
    assert harness.transport.requests == []
    assert harness.record(delivery).state == "given_up"


@BOTH
def test_a_reason_holds_nothing_personal(harness: Harness, destination: str) -> None:
    """A provider that repeats the customer or the token in its words does not bring them into dead letter or ledger."""
    words = f"{EMAIL} {PHONE} is unknown to {TOKEN} at https://api.example.com/?t={TOKEN}"
    harness.transport = FakeTransport(make_reply(422, {"message": words, "errors": {EMAIL: [PHONE]}}))
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    for text in (harness.queue.letters[0].reason, repr(result), repr(harness.record(delivery))):
        assert not any(secret in text for secret in (EMAIL, PHONE, PHONE[1:], TOKEN, "https://"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff\xfe", b"[" * 50_000, b'{"message": 5}', b"null"])
def test_a_rejection_without_words(harness: Harness, body: bytes) -> None:
    """A body that says nothing readable leaves the status as the reason."""
    harness.transport = FakeTransport(make_reply(400, body))
    harness.attempt(make_delivery("sender/main"))
    assert harness.queue.letters[0].reason == "HTTP 400"


@pytest.mark.parametrize("event_id", ["a\x01b", "a\uffffb", "a\x00", "\u0085", "plain"])
@BOTH
def test_a_dead_letter_can_be_queued(harness: Harness, destination: str, event_id: str) -> None:
    """SQS refuses control characters in an attribute; a dead letter that cannot be written would come back for ever."""
    harness.transport = FakeTransport(make_reply(400))
    try:
        delivery = make_delivery(destination, id=event_id)
    except ValueError:
        pytest.skip("such an event is not accepted")
    harness.attempt(delivery)
    (letter,) = harness.queue.letters
    for text in (letter.event_id, letter.reason, letter.destination):
        assert not {c for c in text if (c < " " and c not in "\t\n\r") or c in "\ufffe\uffff"}


def test_reasons_are_bounded(harness: Harness) -> None:
    """However much the provider has to say."""
    harness.transport = FakeTransport(make_reply(400, {"message": "ü" * 30_000}))
    harness.attempt(make_delivery("sender/main"))
    assert len(harness.queue.letters[0].reason.encode()) <= 1024


# ------------------------------------------------------------------------------------------------ poison


def test_poison(harness: Harness) -> None:
    """GIVEN an event at which the provider fails while it takes all others
    WHEN it has failed five times
    THEN it is a dead letter and its account is well.
    """

    def answer(request: Request) -> Reply:
        return make_reply(500 if b"poison" in request.body else 200)

    harness.transport = FakeTransport(otherwise=answer)
    bad = make_delivery("yotpo/main", id="poison")
    results = []
    for number in range(POISON_FAILURES):
        results.append(harness.attempt(bad))
        harness.clock.pass_by(5)
        harness.attempt(make_delivery("yotpo/main", id=f"good-{number}"))
        harness.clock.pass_by(5)
    assert [result.outcome for result in results] == [Outcome.RETRY] * 4 + [Outcome.REJECTED]
    assert [result.final for result in results] == [False] * 4 + [True]
    (letter,) = harness.queue.letters
    assert (letter.event_id, letter.attempts, letter.status) == ("poison", POISON_FAILURES, 500)
    assert "while others succeeded" in letter.reason
    assert harness.account("yotpo/main").max_in_flight > 1


def test_an_outage_makes_no_poison(harness: Harness) -> None:
    """When the provider fails at everything, nothing is given up, however often."""
    harness.transport = FakeTransport(otherwise=make_reply(503))
    deliveries = [make_delivery("yotpo/main", id=f"evt-{number}") for number in range(3)]
    for _ in range(30):
        for delivery in deliveries:
            assert harness.attempt(delivery).outcome is Outcome.RETRY
        harness.clock.pass_by(harness.account("yotpo/main").back_off(1, succeeded=False, failing_for=0))
    assert harness.queue.letters == []


# ------------------------------------------------------------------------------------------------ faults of our own

WORDING: dict[str, dict[str, Callable[..., Any]]] = {
    "detail": {"detail": fault},
    "budget": {"budget": fault},
    "pace": {"budget": lambda *_: Budget((Quota(remaining="many"),))},  # type: ignore[arg-type]
    "throttle": {"budget": lambda *_: Budget((Quota(reset_after="soon"),))},  # type: ignore[arg-type]
    "all": {"detail": fault, "budget": lambda *_: Budget((Quota(remaining="many", reset_after="soon"),))},  # type: ignore[arg-type]
}
"""Ways in which all that a provider says beside its outcome may be unreadable."""


@BOTH
@pytest.mark.parametrize("faults", WORDING.values(), ids=WORDING)
@pytest.mark.parametrize("status", [200, 204, 400, 401, 403, 404, 408, 422, 429, 500, 503, 301])
def test_no_fault_in_what_else_an_answer_says_loses_its_outcome(
    harness: Harness, destination: str, status: int, faults: dict[str, Callable[..., Any]]
) -> None:
    """Once the outcome is read, it is what happens: whatever breaks in wording, headers or pace."""
    plain = Harness(transport=FakeTransport(otherwise=make_reply(status)))
    harness.transport, harness.faults = FakeTransport(otherwise=make_reply(status)), faults
    delivery = make_delivery(destination)
    result, expected = harness.attempt(delivery), plain.attempt(delivery)
    assert (result.outcome, result.final, result.status, result.attempts, result.reason, result.internal) == (
        expected.outcome,
        expected.final,
        expected.status,
        expected.attempts,
        expected.reason,
        expected.internal,
    )
    assert harness.record(delivery).state == plain.record(delivery).state
    assert len(harness.queue.letters) == len(plain.queue.letters)


def test_a_dead_letter_whose_words_cannot_be_read_says_so(harness: Harness) -> None:
    """A 400 is a 400, whatever it says."""
    harness.transport, harness.faults = FakeTransport(make_reply(400)), {"detail": fault}
    harness.attempt(make_delivery("sender/main"))
    assert harness.queue.letters[0].reason == f"HTTP 400: {UNREADABLE}"


def raises(request: Request) -> Reply:
    fault()
    return Reply(200)


@BOTH
@pytest.mark.parametrize("where", ["transport", "read"])
def test_a_fault_around_the_sending_is_unknown(harness: Harness, destination: str, where: str) -> None:
    """It may have left, and we do not know how it was answered: counted, tried again, and nothing of its text shown."""
    harness.transport = FakeTransport(raises if where == "transport" else make_reply(200))
    harness.faults = {} if where == "transport" else {"read": fault}
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.unknowns, result.attempts) == (Outcome.UNKNOWN, False, 1, 1)
    assert result.reason == f"{BROKEN}: RuntimeError"
    assert (harness.record(delivery).state, harness.record(delivery).unknowns) == ("open", 1)
    harness.faults = {}
    assert harness.attempt(delivery).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("where", ["transport", "read"])
def test_a_fault_around_the_sending_is_parked(harness: Harness, where: str) -> None:
    """Where the destination would rather miss an event than repeat it."""
    harness.settings = {"on_unknown": "park"}
    harness.transport = FakeTransport(raises if where == "transport" else make_reply(200))
    harness.faults = {} if where == "transport" else {"read": fault}
    result = harness.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.final) == (Outcome.UNKNOWN, True)
    assert harness.queue.letters[0].reason == f"{BROKEN}: RuntimeError"


@BOTH
def test_a_fault_before_the_sending_is_a_retry(harness: Harness, destination: str) -> None:
    """Nothing has left: not unknown, no attempt, not even where unknown ones are parked; alone it says nothing."""
    harness.settings, harness.faults = {"on_unknown": "park"}, {"payload": fault}
    delivery = make_delivery(destination)
    for _ in range(20):
        result = harness.attempt(delivery)
        assert (result.outcome, result.final, result.strikes) == (Outcome.RETRY, False, 1)
        assert (result.attempts, result.unknowns) == (0, 0)
        harness.clock.pass_by(120)
    assert harness.record(delivery).state == "open"
    assert harness.transport.requests == []


@BOTH
def test_an_event_that_breaks_us_among_others_is_a_dead_letter(harness: Harness, destination: str) -> None:
    """A fault that one event brings out is that event's, after five: it does not come back for days."""
    bad, results = make_delivery(destination, id="bad"), []
    for number in range(POISON_FAILURES):
        harness.faults = {"payload": fault}
        results.append(harness.attempt(bad))
        harness.faults = {}
        harness.clock.pass_by(2)
        assert harness.attempt(make_delivery(destination, id=f"good-{number}")).outcome is Outcome.DELIVERED
        harness.clock.pass_by(2)
    assert [result.outcome for result in results] == [Outcome.RETRY] * 4 + [Outcome.REJECTED]
    (letter,) = harness.queue.letters
    assert letter.reason == f"failed 5 times while others succeeded, last {BROKEN}: RuntimeError"
    assert (letter.event_id, letter.status) == ("bad", None)


class FaultyLedger(FakeLedger):
    def claim(self, record: Record, *, now: float, overrides: bool) -> Claim:
        return fault()  # type: ignore[no-any-return]


def test_a_fault_of_a_service_of_our_own_is_nobodys(harness: Harness) -> None:
    """What nobody thought of, outside of any event: it comes back, its account backs off, and nothing counts."""
    harness.ledger = FaultyLedger()
    result = harness.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.final, result.internal, result.strikes) == (Outcome.RETRY, False, True, 0)
    assert result.reason == f"{BROKEN}: RuntimeError"
    assert result.failed_at == harness.clock.now()
    assert harness.transport.requests == []


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("You must activate workflow first", "HTTP 400 (activate the workflow at Sender, then redrive)"),
        ("Bad request", "HTTP 400"),
    ],
)
def test_what_an_operator_can_mend_is_said(harness: Harness, message: str, reason: str) -> None:
    """GIVEN a refusal for the account's state THEN the dead letter says what to do, and is sent once that is done."""
    harness.transport = FakeTransport(make_reply(400, {"success": False, "message": message}))
    delivery = make_delivery("sender/main")
    assert harness.attempt(delivery).outcome is Outcome.REJECTED
    assert harness.queue.letters[0].reason == f"{reason}: {message}"
    assert harness.attempt(replace(delivery, key="redriven")).outcome is Outcome.DELIVERED


# ------------------------------------------------------------------------------------------------ expired


@BOTH
def test_expired_by_age(harness: Harness, destination: str) -> None:
    """Older than the stack allows, counted from acceptance: a dead letter, unsent."""
    harness.account(destination)
    delivery = make_delivery(destination, accepted_at=harness.clock.now() - 72 * HOUR)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.EXPIRED, True, 0)
    assert "since acceptance" in harness.queue.letters[0].reason
    assert harness.transport.requests == []
    assert harness.record(delivery).state == "given_up"


def test_not_yet_expired(harness: Harness) -> None:
    """A second before, it is delivered."""
    harness.account("yotpo/main")
    delivery = make_delivery("yotpo/main", accepted_at=harness.clock.now() - 72 * HOUR + 1)
    assert harness.attempt(delivery).outcome is Outcome.DELIVERED


@BOTH
@pytest.mark.parametrize("seconds", [0, 6 * HOUR - 1, 6 * HOUR, 12 * HOUR - 1, 12 * HOUR, 48 * HOUR])
def test_expired_by_the_providers_rule(destination: str, seconds: float) -> None:
    """GIVEN a provider that does nothing with an event from an age on WHEN one is as old THEN it is a dead letter with
    that rule as its reason; near that age it is delivered, and a person can see that it came late.
    """
    useless = Useless(timedelta(hours=12), "it starts nothing")
    harness = Harness(faults={"useless": useless})
    occurred_at = datetime.fromtimestamp(harness.clock.now() - seconds, UTC).isoformat()
    result = harness.attempt(make_delivery(destination, occurred_at=occurred_at, accepted_at=harness.clock.now() - 1))
    if seconds >= 12 * HOUR:
        assert (result.outcome, result.final, result.late) == (Outcome.EXPIRED, True, "")
        assert harness.queue.letters[0].reason == "older than 12:00:00: it starts nothing"
        assert harness.transport.requests == []
        return
    assert result.outcome is Outcome.DELIVERED
    assert result.late == ("it starts nothing once older than 12:00:00" if seconds >= 6 * HOUR else "")


def test_an_event_without_a_moment_keeps_that_of_its_first_acceptance() -> None:
    """GIVEN one that another system put on a lane WHEN it is redriven a day later THEN the provider is told the same
    moment, of which its own form of an ID may be made, and the event is as old as it is.
    """
    first = make_delivery("sender/main", occurred_at=None)
    letter = first.dead_letter("reason", "", None, 1)
    again = replace(first, accepted_at=NOW + 24 * HOUR, first_accepted_at=letter.accepted_at)
    assert again.dated_event == first.dated_event
    assert ulid(again.dated_event) == ulid(first.dated_event)
    assert (first.occurred_at, again.occurred_at) == (NOW, NOW)


@BOTH
def test_expired_by_its_own_wish(harness: Harness, destination: str) -> None:
    """A stale trigger is worse than none."""
    delivery = make_delivery(destination, expires_at="2026-11-22T10:00:00Z")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.EXPIRED, 1)
    assert harness.queue.letters[0].reason == "passed its expires_at"
    assert harness.transport.requests == []


def test_expiry_in_the_future(harness: Harness) -> None:
    """An event that may still be delivered is."""
    assert harness.attempt(make_delivery("yotpo/main", expires_at="2026-11-22T12:00:00Z")).outcome is Outcome.DELIVERED


def test_a_delivered_event_does_not_expire(harness: Harness) -> None:
    """A repeat that comes too late is still only a repeat."""
    delivery = make_delivery("yotpo/main")
    harness.attempt(delivery)
    harness.clock.pass_by(100 * HOUR)
    assert harness.attempt(delivery).outcome is Outcome.DUPLICATE
    assert harness.queue.letters == []


# ------------------------------------------------------------------------------------------------ the ledger


@BOTH
def test_a_repeat_is_not_sent(harness: Harness, destination: str) -> None:
    """What the ledger has as delivered is a duplicate: final, no request."""
    harness.attempt(make_delivery(destination, key="m-1"))
    result = harness.attempt(make_delivery(destination, key="m-2"))
    assert (result.outcome, result.final, result.attempts) == (Outcome.DUPLICATE, True, 1)
    assert len(harness.transport.requests) == 1


def test_destinations_do_not_share_a_record(harness: Harness) -> None:
    """Delivered to one destination says nothing of another."""
    assert harness.attempt(make_delivery("yotpo/main")).outcome is Outcome.DELIVERED
    assert harness.attempt(make_delivery("yotpo/other")).outcome is Outcome.DELIVERED
    assert harness.attempt(make_delivery("sender/main")).outcome is Outcome.DELIVERED
    assert len(harness.transport.requests) == 3


def test_changed_content_updates_yotpo(harness: Harness) -> None:
    """Yotpo overwrites by id, so other content under the same id is an update that must be sent."""
    harness.attempt(make_delivery("yotpo/main"))
    changed = make_delivery("yotpo/main", value=7)
    result = harness.attempt(changed)
    assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 1)
    assert len(harness.transport.requests) == 2
    assert harness.record(changed).content_hash == changed.content_hash
    assert harness.attempt(changed).outcome is Outcome.DUPLICATE


def test_changed_content_is_an_error_at_sender(harness: Harness) -> None:
    """At Sender the same id with other content is a producer's error, and the record of the first stays."""
    first = make_delivery("sender/main")
    harness.attempt(first)
    result = harness.attempt(make_delivery("sender/main", value=7))
    assert (result.outcome, result.final) == (Outcome.REJECTED, True)
    assert harness.queue.letters[0].reason.startswith("id_reused")
    assert len(harness.transport.requests) == 1
    assert harness.record(first).content_hash == first.content_hash
    assert harness.attempt(first).outcome is Outcome.DUPLICATE


@BOTH
def test_another_execution_has_it(harness: Harness, destination: str) -> None:
    """A live claim of somebody else is left alone until it ends."""
    delivery = make_delivery(destination)
    held = _claimed(delivery, lease_until=harness.clock.now() + 1000)
    harness.ledger.records["evt-1", destination] = held
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.attempts) == (Outcome.THROTTLED, False, 0)
    assert result.wait == held.lease_until - harness.clock.now()
    assert harness.transport.requests == []
    assert harness.record(delivery) == held


@BOTH
def test_two_executions_do_not_send_one_event(harness: Harness, destination: str) -> None:
    """GIVEN an event whose answer takes its time WHEN another environment has the same message meanwhile, as AWS may
    invoke a batch twice, THEN that one leaves it alone.
    """
    delivery, other, told = make_delivery(destination), Harness(clock=harness.clock, ledger=harness.ledger), []
    other.account(destination)

    def slow(_: Request) -> Reply:
        harness.clock.pass_by(10)
        told.append(other.attempt(delivery).outcome)
        return make_reply(200, {"success": True})

    harness.transport = FakeTransport(slow)
    assert harness.attempt(delivery).outcome is Outcome.DELIVERED
    assert told == [Outcome.THROTTLED]
    assert other.transport.requests == []
    assert other.attempt(delivery).outcome is Outcome.DUPLICATE


def test_an_update_while_another_execution_has_the_event(harness: Harness) -> None:
    """GIVEN an event on its way to Yotpo WHEN its update comes meanwhile THEN the update waits."""
    first = make_delivery("yotpo/main")
    harness.ledger.records["evt-1", "yotpo/main"] = _claimed(first, lease_until=harness.clock.now() + 1000)
    result = harness.attempt(make_delivery("yotpo/main", customer={"email": "new@example.com"}))
    assert (result.outcome, result.final) == (Outcome.THROTTLED, False)
    assert harness.queue.letters == []


@BOTH
def test_a_crash_is_found(harness: Harness, destination: str) -> None:
    """A claim that was never settled: the earlier attempt may have been sent, so it counts, and this one goes."""
    delivery = make_delivery(destination)
    harness.ledger.records["evt-1", destination] = _claimed(delivery, lease_until=NOW - 1, attempts=2)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.crashed) == (Outcome.DELIVERED, True, 1)
    assert result.attempts == 4


@BOTH
def test_a_crash_is_parked(harness: Harness, destination: str) -> None:
    """Where unknown deliveries are parked, so is what a crash left behind, unsent."""
    harness.settings = {"on_unknown": "park"}
    delivery = make_delivery(destination)
    harness.ledger.records["evt-1", destination] = _claimed(delivery, lease_until=NOW - 1)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.UNKNOWN, True)
    assert "parked" in harness.queue.letters[0].reason
    assert harness.transport.requests == []
    assert harness.record(delivery).state == "given_up"


@BOTH
@pytest.mark.parametrize("crashes", [1, 2, 5])
def test_crashes_in_a_row_are_all_counted(harness: Harness, destination: str, crashes: int) -> None:
    """GIVEN attempts that died one after the other THEN each is an unknown and an attempt; and once only, for the next
    one that leaves a record ends the count.
    """
    delivery = make_delivery(destination)
    harness.transport = FakeTransport(make_reply(503), make_reply(200))
    for number in range(crashes):
        claim = replace(_claimed(delivery, lease_until=NOW - 1), owner=f"dead@{number}")
        assert harness.ledger.claim(claim, now=NOW, overrides=destination == "yotpo/main").granted
    first, second = harness.attempt(delivery), harness.attempt(delivery)
    assert (first.outcome, first.crashed, first.unknowns, first.attempts) == (
        Outcome.RETRY,
        crashes,
        crashes,
        crashes + 1,
    )
    assert (second.outcome, second.crashed, second.unknowns) == (Outcome.DELIVERED, 0, crashes)
    assert (harness.record(delivery).claims, harness.record(delivery).unknowns) == (0, crashes)


@pytest.mark.parametrize("crashes", [1, 3])
@pytest.mark.parametrize("is_lost", [False, True], ids=["written", "not written at first"])
def test_of_the_crashes_that_park_an_event_one_is_its_outcome(harness: Harness, crashes: int, is_lost: bool) -> None:
    """GIVEN crashes, and unknown deliveries to be parked THEN the outcome counts one of them and `crashed` the others,
    all of them once, whether the dead letter could be written at once or not.
    """
    harness.settings, delivery = {"on_unknown": "park"}, make_delivery("sender/main")
    harness.ledger.records["evt-1", "sender/main"] = _claimed(delivery, lease_until=NOW - 1, claims=crashes)
    results: list[Result] = []
    harness.queue.loses_letters = is_lost
    while not results or not results[-1].final:
        results.append(harness.attempt(delivery))
        if is_lost and len(results) == 1:
            record = harness.record(delivery)
            assert (record.state, record.claims, record.unknowns) == ("claimed", 1, crashes - 1)
        harness.queue.loses_letters = False
        harness.clock.pass_by(60)
    assert len(results) == 1 + is_lost
    assert results[-1].outcome is Outcome.UNKNOWN
    assert sum(result.crashed for result in results) == crashes - 1
    assert (harness.record(delivery).unknowns, harness.record(delivery).claims) == (crashes, 0)
    assert harness.transport.requests == []


def test_a_crash_that_a_copy_has_counted_parks_its_own_message(harness: Harness) -> None:
    """GIVEN a message parked without a record of it, and a copy of it parked after it
    WHEN the first comes back
    THEN it is parked, too, with a dead letter of its own, and not posted; redriven it is.
    """
    harness.settings = {"on_unknown": "park"}
    first, copy = make_delivery("sender/main", key="m-1"), make_delivery("sender/main", key="m-2")
    harness.ledger.fails_on = {"settle"}
    harness.transport = FakeTransport(NoAnswerError("timeout"), make_reply(200))
    assert harness.attempt(first).outcome is Outcome.UNKNOWN
    harness.ledger.fails_on = set()
    harness.clock.pass_by(60)
    assert harness.attempt(copy).outcome is Outcome.UNKNOWN
    assert harness.record(copy).claimants == ("m-1",)
    again = harness.attempt(first)
    assert (again.outcome, again.final, again.crashed) == (Outcome.UNKNOWN, True, 0)
    assert [letter.deduplication_id for letter in harness.queue.letters] == ["m-1", "m-2", "m-1"]
    assert (harness.record(copy).given_up, harness.record(copy).claimants) == (("m-2", "m-1"), ())
    assert len(harness.transport.requests) == 1
    assert harness.attempt(first).outcome is Outcome.DUPLICATE
    assert harness.attempt(replace(first, key="redriven")).outcome is Outcome.DELIVERED


def test_a_crash_that_expired_meanwhile(harness: Harness) -> None:
    """The end is the expiry, and the crash is still counted."""
    delivery = make_delivery("sender/main", expires_at="2026-11-22T10:00:00Z")
    harness.ledger.records["evt-1", "sender/main"] = _claimed(delivery, lease_until=NOW - 1)
    result = harness.attempt(delivery)
    assert (result.outcome, result.crashed) == (Outcome.EXPIRED, 1)


def test_a_dead_letter_that_comes_back(harness: Harness) -> None:
    """What was given up may be tried again, after a redrive."""
    harness.transport = FakeTransport(make_reply(422), make_reply(200))
    delivery = make_delivery("sender/main")
    assert harness.attempt(delivery).outcome is Outcome.REJECTED
    result = harness.attempt(replace(delivery, key="redriven"))
    assert (result.outcome, result.attempts) == (Outcome.DELIVERED, 2)
    assert harness.record(delivery).state == "delivered"


def test_changed_content_starts_its_own_count(harness: Harness) -> None:
    """Failures of the old content are not held against the new."""
    harness.transport = FakeTransport(make_reply(503), make_reply(503), make_reply(200))
    harness.attempt(make_delivery("yotpo/main"))
    harness.attempt(make_delivery("yotpo/main"))
    changed = make_delivery("yotpo/main", value=7)
    assert harness.attempt(changed).attempts == 1
    assert harness.record(changed).failure.strikes == 0


@BOTH
def test_a_ledger_that_cannot_be_asked(harness: Harness, destination: str) -> None:
    """Without a claim nothing is sent: the event comes back."""
    harness.ledger.fails_on = {"claim"}
    result = harness.attempt(make_delivery(destination))
    assert (result.outcome, result.final) == (Outcome.RETRY, False)
    assert "DynamoDB" in result.reason
    assert harness.transport.requests == []
    assert harness.queue.letters == []


def test_a_delivery_that_cannot_be_recorded(harness: Harness) -> None:
    """GIVEN a delivery WHEN its record cannot be written THEN it is delivered all the same, and looks like a crash."""
    harness.ledger.fails_on = {"settle"}
    delivery = make_delivery("sender/main")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.DELIVERED, True)
    assert "not recorded" in result.reason
    harness.ledger.fails_on = set()
    harness.clock.pass_by(60)
    assert harness.attempt(delivery).crashed == 1


def test_a_lease_ends_with_the_invocation(harness: Harness) -> None:
    """A claim binds others for as long as this invocation may live, no longer."""
    harness.ledger.fails_on = {"settle"}
    delivery = make_delivery("yotpo/main")
    harness.account("yotpo/main")
    began = harness.clock.now()
    harness.attempt(delivery, seconds=25)
    # The difference: a millionth of a Unix time, which approx allows, is half an hour.
    assert harness.record(delivery).lease_until - began == pytest.approx(25)


def test_attempts_have_owners_of_their_own(harness: Harness) -> None:
    """Two attempts of the same message are two owners, so that a late one cannot settle over the other."""
    harness.transport = FakeTransport(otherwise=make_reply(503))
    harness.attempt(make_delivery("yotpo/main"))
    harness.clock.pass_by(1)
    harness.attempt(make_delivery("yotpo/main"))
    owners = [record.owner for record in harness.ledger.settled]
    assert len(set(owners)) == 2


@BOTH
@pytest.mark.parametrize("status", [200, 422, 503])
def test_nothing_personal_in_the_ledger(harness: Harness, destination: str, status: int) -> None:
    """Ids, hashes, states and reasons only."""
    harness.transport = FakeTransport(make_reply(status, {"message": f"about {EMAIL} and {PHONE}"}))
    delivery = make_delivery(destination, customer={"email": EMAIL, "phone_number": PHONE})
    harness.attempt(delivery)
    kept = repr(harness.record(delivery))
    assert not any(personal in kept for personal in (EMAIL, PHONE, PHONE[1:], "A-1001"))


# ------------------------------------------------------------------------------------------------ no dead letter


def test_a_dead_letter_that_cannot_be_written(harness: Harness) -> None:
    """GIVEN a rejection WHEN its dead letter cannot be written THEN the message stays, for the next attempt."""
    harness.transport = FakeTransport(otherwise=make_reply(422))
    harness.queue.loses_letters = True
    delivery = make_delivery("sender/main")
    result = harness.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.RETRY, False)
    assert "dead letter not written" in result.reason
    assert harness.record(delivery).state == "open"
    harness.queue.loses_letters = False
    assert harness.attempt(delivery).final
    assert len(harness.queue.letters) == 1


def test_an_unknown_delivery_stays_unknown_until_it_is_parked(harness: Harness) -> None:
    """GIVEN an unknown delivery to be parked WHEN the dead letter cannot be written THEN it is never sent again."""
    harness.settings = {"on_unknown": "park"}
    harness.transport = FakeTransport(NoAnswerError("ReadTimeoutError"))
    harness.queue.loses_letters = True
    delivery = make_delivery("sender/main")
    assert not harness.attempt(delivery).final
    record = harness.record(delivery)
    # Open as a crash is: the next attempt counts it.
    assert (record.state, record.claims, record.unknowns, record.delivered_hash) == ("claimed", 1, 0, "")
    harness.queue.loses_letters = False
    harness.clock.pass_by(60)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final) == (Outcome.UNKNOWN, True)
    assert (result.crashed, result.unknowns) == (0, 1)
    assert len(harness.transport.requests) == 1
    assert len(harness.queue.letters) == 1


def test_a_reused_id_whose_dead_letter_cannot_be_written(harness: Harness) -> None:
    """It comes back, and the record of the first is not touched."""
    first = make_delivery("sender/main")
    harness.attempt(first)
    before = harness.record(first)
    harness.queue.loses_letters = True
    result = harness.attempt(make_delivery("sender/main", value=7))
    assert (result.outcome, result.final) == (Outcome.RETRY, False)
    assert harness.record(first) == before


# ------------------------------------------------------------------------------------------------ the exchange


def test_an_attempt_shows_its_exchange(harness: Harness) -> None:
    """A direct call is shown what went out and what came back."""
    harness.transport = FakeTransport(make_reply(200, {"ok": True}))
    account = harness.account("yotpo/main")
    attempt = Attempt(harness.services, make_delivery("yotpo/main"), account, harness.clock.monotonic() + 30)
    attempt.run()
    assert attempt.exchange is not None
    assert attempt.exchange.request == harness.transport.requests[0]
    assert attempt.exchange.reply is not None
    assert attempt.exchange.reply.status == 200


def test_a_turn_is_given_back(harness: Harness) -> None:
    """An attempt that sends nothing leaves no place in the line behind."""
    harness.ledger.fails_on = {"claim"}
    for number in range(20):
        harness.attempt(make_delivery("yotpo/main", id=f"evt-{number}"))
    assert harness.account("yotpo/main").pace.delay() == 0


def _claimed(delivery: Delivery, lease_until: float, attempts: int = 0, claims: int = 1) -> Record:
    return Record(
        event_id=delivery.event.id,
        destination=delivery.destination,
        content_hash=delivery.content_hash,
        state="claimed",
        owner="somebody@1",
        lease_until=lease_until,
        claims=claims,
        attempts=attempts,
    )


@BOTH
def test_a_given_up_message_that_comes_back_is_not_tried_again(harness: Harness, destination: str) -> None:
    """GIVEN a crash between the dead letter and the end of the batch
    WHEN SQS brings the same message back
    THEN it ends as it had, without a request and without a second letter; redriven as a new message it is tried.
    """
    harness.transport = FakeTransport(otherwise=make_reply(422))
    delivery = make_delivery(destination)
    assert harness.attempt(delivery).outcome is Outcome.REJECTED
    again = harness.attempt(delivery)
    assert (again.outcome, again.final) == (Outcome.DUPLICATE, True)
    assert "given up before" in again.reason
    assert (len(harness.transport.requests), len(harness.queue.letters)) == (1, 1)
    harness.attempt(replace(delivery, key="redriven"))
    assert len(harness.transport.requests) == 2


@BOTH
def test_of_two_given_up_messages_neither_is_tried_again(harness: Harness, destination: str) -> None:
    """GIVEN two messages of one event, both given up WHEN SQS brings both back THEN each ends as it had."""
    harness.transport = FakeTransport(otherwise=make_reply(422))
    first, second = make_delivery(destination), make_delivery(destination, key="another")
    harness.attempt(first)
    harness.attempt(second)
    assert [harness.attempt(each).outcome for each in (first, second, first)] == [Outcome.DUPLICATE] * 3
    assert (len(harness.transport.requests), len(harness.queue.letters)) == (2, 2)


def test_a_record_names_so_many_given_up_messages(harness: Harness) -> None:
    """A record does not grow for ever."""
    harness.transport = FakeTransport(otherwise=make_reply(422))
    for number in range(MOST_NAMED + 5):
        harness.attempt(make_delivery("sender/main", key=f"m{number}"))
    named = harness.record(make_delivery("sender/main")).given_up
    assert named == tuple(f"m{number}" for number in range(5, MOST_NAMED + 5))


# ------------------------------------------------------------------------------------------------ versions of one id

EARLIER, LATER = "2026-11-22T09:00:00Z", "2026-11-22T09:30:00Z"


def version(content: str, first_accepted_at: float | None = NOW, key: str = "", **changes: Any) -> Delivery:
    """A version of one event, for a provider that overwrites by id. `content` is what it says."""
    delivery = make_delivery("yotpo/main", **{"properties": {"says": content}, **changes})
    return replace(delivery, first_accepted_at=first_accepted_at, key=key or f"m-{next(_keys)}")


_keys = itertools.count(1)


def said(harness: Harness) -> list[str]:
    return [body["properties"]["says"] for body in harness.bodies]


VERSIONS = [
    version("a", 0.0, occurred_at="1969-12-31T23:59:59Z"),
    version("a", NOW, occurred_at="1999-01-01T00:00:00Z"),
    version("a", NOW - 1000.5, occurred_at=EARLIER),
    version("a", NOW, occurred_at=EARLIER),
    version("a", NOW + 0.001, occurred_at=EARLIER),
    version("a", NOW, occurred_at="2026-11-22T09:00:00.000001Z"),
    version("a", NOW, occurred_at="2026-11-22T11:30:00+02:00"),
    version("a", NOW + 10_000, occurred_at=LATER),
    version("a", NOW - 5000, occurred_at="9999-12-31T23:59:59Z"),
]


def test_versions_are_ordered_by_when_they_occurred_and_then_by_acceptance() -> None:
    """As text, whose width does not depend on the moment."""
    texts = [delivery.version for delivery in VERSIONS]
    assert texts == sorted(texts)
    assert len(set(texts)) == len(texts)
    assert len({len(text) for text in texts}) == 1


@pytest.mark.parametrize(
    "written", ["2026-11-22 12:30 +0200", "2026-11-22t10:30z", "2026-11-22T10:30:00.0000009Z[UTC]"]
)
def test_a_moment_is_the_same_version_however_it_is_written(written: str) -> None:
    """GIVEN one moment in two writings, with two offsets even THEN neither is the later version."""
    assert version("a", NOW, occurred_at=written).version == version("a", occurred_at="2026-11-22T10:30:00Z").version


def test_without_a_moment_a_version_is_as_late_as_its_acceptance() -> None:
    """That is what intake writes as its moment, too."""
    undated = version("a", NOW + 60, occurred_at=...)
    assert undated.version > version("a", NOW + 60, occurred_at="2026-11-22T10:00:59Z").version
    assert undated.version < version("a", NOW + 60, occurred_at="2026-11-22T10:01:01Z").version


def test_a_redriven_version_is_as_old_as_it_was() -> None:
    """Its message is new, the record behind it is not; without that moment its message's counts."""
    redriven = replace(version("a", NOW), accepted_at=NOW + 86_400)
    assert redriven.version == version("a", NOW).version
    assert replace(redriven, first_accepted_at=None).version == version("a", NOW + 86_400).version


def test_a_redriven_event_without_a_moment_keeps_the_one_it_was_sent_with() -> None:
    """GIVEN an event that was put on its lane undated WHEN it is redriven THEN its request is the same, byte for byte:
    Customer.io's ULID, by which a repeat is ignored, begins with the moment.
    """
    first = make_delivery("customerio/main", occurred_at=None)
    redriven = replace(first, accepted_at=NOW + 86_400, first_accepted_at=NOW)
    provider, secret = PROVIDERS["customerio"]("https://provider.example"), {"site_id": "site", "api_key": "key"}
    assert provider.build(redriven.dated_event, secret) == provider.build(first.dated_event, secret)
    assert redriven.occurred_at == first.occurred_at == NOW


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"occurred_at": EARLIER}, {"occurred_at": LATER}),
        ({"occurred_at": EARLIER, "first_accepted_at": NOW + 60}, {"occurred_at": LATER, "first_accepted_at": NOW}),
        ({"first_accepted_at": NOW}, {"first_accepted_at": NOW + 60}),
        ({"occurred_at": ..., "first_accepted_at": NOW}, {"occurred_at": ..., "first_accepted_at": NOW + 60}),
    ],
    ids=["it occurred", "it occurred, though it came later", "it came", "it came, undated"],
)
def test_a_late_copy_of_an_older_version_does_not_undo_a_later_one(
    harness: Harness, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """GIVEN one version and its update, delivered WHEN a copy of the first comes late
    THEN it is a duplicate, unsent, and the record still tells of the update.
    """
    first, update = version("one", **old), version("two", **new)
    assert [harness.attempt(each).outcome for each in (first, update)] == [Outcome.DELIVERED] * 2
    before = harness.record(update)
    copy = replace(first, key="copy")
    result = harness.attempt(copy)
    assert (result.outcome, result.final, result.reason) == (Outcome.DUPLICATE, True, "a later version was delivered")
    assert said(harness) == ["one", "two"]
    after = harness.record(update)
    kept = ("state", "content_hash", "version", "delivered_hash", "delivered_version", "replaced")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert harness.attempt(replace(update, key="again")).reason == "delivered before"


@pytest.mark.parametrize("occurred_at", ["2026-11-22T09:59:00Z", ...], ids=["dated", "undated"])
def test_an_older_version_that_was_never_sent_is_not_sent_after_a_later_one(harness: Harness, occurred_at: Any) -> None:
    """The order of the lane is not the order of the versions."""
    assert harness.attempt(version("two", NOW + 60, occurred_at=occurred_at)).outcome is Outcome.DELIVERED
    assert harness.attempt(version("one", NOW, occurred_at=occurred_at)).outcome is Outcome.DUPLICATE
    assert said(harness) == ["two"]


@pytest.mark.parametrize("occurred_at", ["2026-11-22T09:59:00Z", ...], ids=["dated", "undated"])
def test_an_update_that_is_taken_back_is_sent(harness: Harness, occurred_at: Any) -> None:
    """One content, another, and the first again, each a record of its own: all three are sent."""
    for number, content in enumerate("aba"):
        assert harness.attempt(version(content, NOW + number, occurred_at=occurred_at)).outcome is Outcome.DELIVERED
    assert said(harness) == ["a", "b", "a"]
    assert harness.attempt(version("b", NOW + 1, occurred_at=occurred_at)).outcome is Outcome.DUPLICATE


@pytest.mark.parametrize(
    ("seconds", "outcome"),
    [
        (0, Outcome.DELIVERED),
        (COPIES_DROPPED_SECONDS - 10, Outcome.DELIVERED),
        (COPIES_DROPPED_SECONDS + 10, Outcome.DUPLICATE),
        (HOUR, Outcome.DUPLICATE),
    ],
)
def test_of_one_moment_what_was_replaced_is_a_late_copy_unless_it_comes_at_once(
    harness: Harness, seconds: float, outcome: Outcome
) -> None:
    """An exact tie: within the minutes in which SQS drops copies itself, it is a change of mind."""
    harness.account("yotpo/main")
    now = harness.clock.now()
    first, second = version("a", now), version("b", now)
    for each in (first, second):
        assert harness.attempt(each).outcome is Outcome.DELIVERED
    harness.clock.pass_by(seconds)
    assert harness.attempt(replace(first, key="again", accepted_at=now)).outcome is outcome
    assert said(harness) == (["a", "b", "a"] if outcome is Outcome.DELIVERED else ["a", "b"])


def test_of_one_moment_what_was_not_delivered_yet_is_sent(harness: Harness) -> None:
    """However late: nothing says that it was replaced."""
    harness.attempt(version("a"))
    harness.clock.pass_by(HOUR)
    assert harness.attempt(version("b")).outcome is Outcome.DELIVERED


def test_a_record_names_so_many_replaced_contents(harness: Harness) -> None:
    """The newest, and never the one that stands."""
    contents = [version(str(number), NOW + number) for number in range(MOST_NAMED + 5)]
    for each in [*contents, replace(contents[-3], first_accepted_at=NOW + 100, key="back")]:
        assert harness.attempt(each).outcome is Outcome.DELIVERED
    replaced = harness.record(contents[0]).replaced
    assert len(replaced) == MOST_NAMED
    assert replaced[-2:] == (contents[-2].content_hash, contents[-1].content_hash)
    assert contents[-3].content_hash not in replaced


@pytest.mark.parametrize("end", ["crash", "unknown", "fault"])
def test_after_an_unknown_end_of_another_content_the_old_one_is_sent_again(harness: Harness, end: str) -> None:
    """GIVEN a content delivered, and another that may have been since WHEN the old one comes again, as the latest
    THEN nobody knows what the provider holds: it is sent.
    """
    first, update = version("a", NOW), version("b", NOW + 1)
    harness.transport = FakeTransport(make_reply(200), raises if end == "fault" else NoAnswerError("ReadTimeoutError"))
    harness.attempt(first)
    if end == "crash":
        died = replace(_claimed(update, lease_until=NOW - 1), owner="dead@1")
        assert harness.ledger.claim(died, now=NOW, overrides=True).granted
        harness.transport = FakeTransport()
    else:
        assert harness.attempt(update).outcome is Outcome.UNKNOWN
        assert harness.record(first).delivered_hash == ""
    assert harness.attempt(version("a", NOW + 2)).outcome is Outcome.DELIVERED
    assert said(harness)[-1] == "a"
    assert harness.record(first).delivered_hash == first.content_hash


def test_after_an_unknown_end_to_be_parked_the_old_content_is_sent_again(harness: Harness) -> None:
    """Parked, it may have been delivered all the same."""
    harness.settings = {"on_unknown": "park"}
    harness.transport = FakeTransport(make_reply(200), NoAnswerError("ReadTimeoutError"))
    harness.attempt(version("a", NOW))
    assert harness.attempt(version("b", NOW + 1)).outcome is Outcome.UNKNOWN
    assert harness.attempt(version("a", NOW + 2)).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("status", [422, 503, 429])
def test_after_a_known_end_of_another_content_the_old_one_is_a_duplicate(harness: Harness, status: int) -> None:
    """The provider did not take the update, so it holds what it held."""
    harness.transport = FakeTransport(make_reply(200), make_reply(status, **ALONE))
    harness.attempt(version("a", NOW))
    harness.attempt(version("b", NOW + 1))
    assert harness.attempt(version("a", NOW + 2)).outcome is Outcome.DUPLICATE
    assert said(harness) == ["a", "b"]


def test_a_crash_of_the_content_that_stands_is_a_duplicate(harness: Harness) -> None:
    """Whatever became of that attempt, the provider holds the same."""
    first = version("a", NOW)
    harness.attempt(first)
    again = version("a", NOW + 1)
    died = replace(_claimed(again, lease_until=NOW - 1), owner="dead@1", version=again.version)
    assert harness.ledger.claim(died, now=NOW, overrides=True).granted
    result = harness.attempt(again)
    assert (result.outcome, result.crashed) == (Outcome.DUPLICATE, 1)
    assert said(harness) == ["a"]


def test_a_repeat_with_a_later_version_outranks_what_came_between(harness: Harness) -> None:
    """GIVEN a content repeated, unsent, as the latest WHEN a version between the two comes late
    THEN it does not replace what was said last.
    """
    harness.attempt(version("a", NOW))
    assert harness.attempt(version("a", NOW + 20)).outcome is Outcome.DUPLICATE
    assert harness.record(version("a")).delivered_version == version("a", NOW + 20).version
    assert harness.attempt(version("b", NOW + 10)).reason == "a later version was delivered"
    assert harness.attempt(version("b", NOW + 30)).outcome is Outcome.DELIVERED
    assert said(harness) == ["a", "b"]


def direct(content: str, **changes: Any) -> Delivery:
    """A direct call, which comes after everything else."""
    return replace(version(content, None, **changes), direct=True, accepted_at=NOW + 120)


@pytest.mark.parametrize("occurred_at", [EARLIER, LATER, ...], ids=["earlier", "the same", "undated"])
def test_a_direct_call_is_sent_whatever_was_delivered_since(harness: Harness, occurred_at: Any) -> None:
    """Somebody wants it sent now."""
    harness.attempt(version("a", NOW, occurred_at=EARLIER))
    harness.attempt(version("b", NOW + 1, occurred_at=LATER))
    harness.clock.pass_by(HOUR)
    assert harness.attempt(direct("a", occurred_at=occurred_at)).outcome is Outcome.DELIVERED
    assert said(harness) == ["a", "b", "a"]


@pytest.mark.parametrize("occurred_at", [EARLIER, ...], ids=["dated", "undated"])
def test_a_direct_call_does_not_outrank_what_waits(harness: Harness, occurred_at: Any) -> None:
    """GIVEN a version that waits on the lane WHEN another is sent directly THEN the first is no older for it."""
    waiting = version("b", NOW, occurred_at=occurred_at)
    harness.attempt(version("a", NOW - 60, occurred_at=occurred_at))
    harness.clock.pass_by(60)
    harness.attempt(direct("repair", occurred_at=occurred_at))
    assert harness.attempt(waiting).outcome is Outcome.DELIVERED
    assert said(harness) == ["a", "repair", "b"]


def test_a_direct_call_does_not_lower_the_version_that_stands(harness: Harness) -> None:
    """What is older than what the lane delivered stays so."""
    harness.attempt(version("b", NOW + 60))
    harness.attempt(direct("repair", occurred_at=EARLIER))
    assert harness.attempt(version("a", NOW)).outcome is Outcome.DUPLICATE


@pytest.mark.parametrize("first_accepted_at", [NOW - 500.25, None])
def test_a_dead_letter_keeps_when_its_record_came_first(harness: Harness, first_accepted_at: float | None) -> None:
    """Redriven, it must not pass for a later version than it is."""
    harness.transport = FakeTransport(make_reply(422))
    harness.attempt(replace(make_delivery("yotpo/main"), first_accepted_at=first_accepted_at))
    assert harness.queue.letters[0].accepted_at == (first_accepted_at or NOW)


def test_nothing_at_sender_is_a_later_version(harness: Harness) -> None:
    """It does not overwrite by id: a later repeat is a repeat, other content an error, whatever its moment."""
    first = make_delivery("sender/main", occurred_at=LATER)
    harness.attempt(first)
    again = replace(make_delivery("sender/main", occurred_at=LATER, key="m-2"), first_accepted_at=NOW + 500)
    assert harness.attempt(again).outcome is Outcome.DUPLICATE
    assert harness.record(first).delivered_version == first.version
    other = make_delivery("sender/main", occurred_at=EARLIER, key="m-3", value=7)
    assert harness.attempt(other).outcome is Outcome.REJECTED


@pytest.mark.parametrize("seed", range(100))
def test_in_the_end_a_provider_that_overwrites_holds_the_latest_version(harness: Harness, seed: int) -> None:
    """GIVEN versions of one event, with contents that come back, copies, failures and answers that never came, in any
    order WHEN each message has reached its end THEN the provider holds what the latest of them says.
    """
    rng, held = random.Random(seed), []

    def answer(request: Request) -> Reply | NoAnswerError:
        acts, answers = rng.random() < 0.8, rng.random() < 0.8
        if acts:
            held.append(json.loads(request.body)["properties"]["says"])
        return make_reply(200 if acts else 503) if answers else NoAnswerError("ReadTimeoutError")

    harness.transport = FakeTransport(otherwise=answer)
    moments = rng.sample(range(1_000), 8)
    versions = [version(rng.choice("abc"), NOW + at, occurred_at=rng.choice([EARLIER, LATER])) for at in moments]
    waiting = [*versions, *(replace(each, key=f"{each.key}-copy") for each in rng.sample(versions, 4))]
    while waiting:
        delivery = waiting.pop(rng.randrange(len(waiting)))
        if not harness.attempt(delivery).final:
            waiting.append(delivery)
        harness.clock.pass_by(rng.choice([1, 30, 400]))
    latest = max(versions, key=lambda each: each.version)
    assert held[-1] == latest.event.properties["says"]
    assert {letter.reason for letter in harness.queue.letters} <= {OUTDATED}


def test_an_update_that_says_it_happened_earlier_is_not_lost_in_silence(harness: Harness) -> None:
    """GIVEN a delivered version WHEN another comes in after it that happened before it THEN a person sees it."""
    harness.attempt(version("one", NOW, occurred_at=LATER))
    result = harness.attempt(version("put right", NOW + 60, occurred_at=EARLIER))
    assert (result.outcome, result.final, result.reason) == (Outcome.REJECTED, True, OUTDATED)
    assert [letter.reason for letter in harness.queue.letters] == [OUTDATED]
    assert said(harness) == ["one"]
    assert harness.attempt(version("one", NOW, occurred_at=LATER)).reason == "delivered before"


def test_two_crashes_of_different_contents_leave_nothing_certain(harness: Harness) -> None:
    """GIVEN B, and then A again, in attempts that died WHEN A is tried THEN it is sent: B may be what is there."""
    first = version("a", NOW)
    harness.attempt(first)
    again = version("a", NOW + 20)
    for crashed in (version("b", NOW + 10), again):
        record = harness.record(first)
        harness.ledger.claim(
            replace(
                record,
                content_hash=crashed.content_hash,
                version=crashed.version,
                owner=f"died-{crashed.version}",
                message_id=f"died-{crashed.version}",
                lease_until=harness.clock.now() + 5,
            ),
            now=harness.clock.now(),
            overrides=True,
        )
        harness.clock.pass_by(60)
    result = harness.attempt(again)
    assert (result.outcome, result.crashed) == (Outcome.DELIVERED, 2)
    assert said(harness) == ["a", "a"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_at_the_front_does_not_say_that_the_provider_works(harness: Harness, status: int) -> None:
    """GIVEN an event that fails while another is refused for what it is THEN that is no strike against it."""
    harness.transport = FakeTransport(make_reply(503), make_reply(status), make_reply(503))
    failing = make_delivery("yotpo/main", id="evt-good", key="good")
    assert harness.attempt(failing).strikes == 1
    assert harness.attempt(make_delivery("yotpo/main", id="evt-bad", key="bad")).outcome is Outcome.REJECTED
    harness.clock.pass_by(5)
    assert harness.attempt(failing).strikes == 1


def test_a_delivery_that_cannot_be_recorded_where_a_repeat_does_no_harm(harness: Harness) -> None:
    """GIVEN a provider that overwrites by id WHEN a delivery cannot be written down THEN the event comes back: no late
    copy of an earlier version has the last word.
    """
    harness.ledger.fails_on = {"settle"}
    later = make_delivery("yotpo/main", accepted_at=NOW + 1, value=2)
    result = harness.attempt(later)
    assert (result.outcome, result.final, result.internal) == (Outcome.RETRY, False, True)
    assert "not recorded" in result.reason
    harness.ledger.fails_on = set()
    harness.clock.pass_by(60)
    harness.attempt(make_delivery("yotpo/main", key="m-2", value=1))
    assert harness.attempt(later).final
    assert [json.loads(each.body)["id"] for each in harness.transport.requests] == ["evt-1"] * len(
        harness.transport.requests
    )
    assert harness.record(later).delivered_hash == later.content_hash


def test_a_repeat_that_cannot_be_recorded_comes_back_for_its_place_among_the_versions(harness: Harness) -> None:
    """GIVEN A, B and A again, the last a duplicate that cannot be written down WHEN B comes late THEN B is outdated:
    A comes back and says that it is the latest.
    """
    first = make_delivery("yotpo/main", value=1)
    assert harness.attempt(first).outcome is Outcome.DELIVERED
    back = make_delivery("yotpo/main", key="m-3", accepted_at=NOW + 30, value=1)
    harness.ledger.fails_on = {"settle"}
    result = harness.attempt(back)
    assert (result.outcome, result.final, result.internal) == (Outcome.RETRY, False, True)
    harness.ledger.fails_on = set()
    harness.clock.pass_by(60)
    assert harness.attempt(back).outcome is Outcome.DUPLICATE
    assert harness.attempt(make_delivery("yotpo/main", key="m-2", accepted_at=NOW + 1, value=2)).final
    assert len(harness.transport.requests) == 1


def test_a_wait_that_was_named_is_in_the_accounts_record(harness: Harness) -> None:
    """Until when the account is to be left alone, another environment can read at once."""
    harness.transport = FakeTransport(make_reply(429, retry_after="300", **ALONE))
    harness.attempt(make_delivery("sender/main"))
    kept = harness.records.records["sender/main"]
    assert kept.quiet_until == kept.asked_until == pytest.approx(harness.clock.now() + 300, abs=1)


@BOTH
def test_an_accounts_record_that_cannot_be_written(harness: Harness, destination: str) -> None:
    """GIVEN no turn to be reserved THEN nothing is sent, and the event waits: that is trouble of our own."""
    harness.records.fails = True
    delivery = make_delivery(destination)
    result = harness.attempt(delivery)
    assert (result.outcome, result.final, result.internal, result.attempts) == (Outcome.RETRY, False, True, 0)
    assert result.failed_at == harness.clock.now()
    assert harness.transport.requests == []
    assert harness.record(delivery).state == "open"
    assert harness.queue.letters == []
    harness.records.fails = False
    assert harness.attempt(delivery).outcome is Outcome.DELIVERED


def test_an_accounts_record_that_cannot_be_written_any_more(harness: Harness) -> None:
    """GIVEN a turn reserved before WHEN the record cannot be written THEN the event has its turn, and is delivered."""
    harness.account("sender/main").pace.reserve(1)
    harness.records.fails = True
    assert harness.attempt(make_delivery("sender/main")).outcome is Outcome.DELIVERED
    assert harness.attempt(make_delivery("sender/main", id="evt-2")).outcome is Outcome.RETRY


def test_a_dead_letter_keeps_its_group(harness: Harness) -> None:
    """Redriven, it is to stand in its customer's line again."""
    harness.transport = FakeTransport(make_reply(422), make_reply(422))
    harness.attempt(replace(make_delivery("sender/main"), group="main#2"))
    harness.attempt(make_delivery("sender/main", id="evt-2"))
    assert [letter.group for letter in harness.queue.letters] == ["main#2", ""]


@pytest.mark.parametrize("policy", ["retry", "park"])
def test_a_fault_in_reading_that_no_answer_came(harness: Harness, policy: str) -> None:
    """It left: a fault of our own afterwards does not make it unsent."""
    harness.settings = {"on_unknown": policy}
    harness.transport = FakeTransport(NoAnswerError("ReadTimeoutError"))

    def read(self: Provider, answer: object) -> Outcome:
        raise AttributeError

    harness.faults = {"read": read}
    result = harness.attempt(make_delivery("sender/main"))
    assert (result.outcome, result.unknowns) == (Outcome.UNKNOWN, 1)
    assert result.reason == f"{BROKEN}: AttributeError"
