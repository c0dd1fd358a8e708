"""One batch of a lane: at each account's pace, in order per customer, waiting or deferring as it must."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay.account.account import IDLE, PASSES_AFTER, POISON_FAILURES, SHORTEST_HOLD, Account
from relay.account.forgotten import mark
from relay.account.pace import Pace
from relay.account.schedule import LONGEST_DEFERRAL
from relay.adapters.clock import ThreadWorkers
from relay.contract.destination import KNOWN, recent
from relay.contract.event import Event
from relay.delivery.batch import BAD_RECORD_RETRY, LETTER_SECONDS, NOTE_SECONDS, BatchReport, Lane
from relay.delivery.post import BROKEN
from relay.delivery.services import RESERVE
from relay.errors import CredentialsError, FieldError, NoAnswerError
from relay.handlers.envelope import open_record
from relay.outcome import Outcome
from relay.ports import AccountRecord, DeadLetter, Failure, LaneMessage, Record, Reply, Request, State
from relay.providers.sender import Sender
from relay.providers.yotpo import Yotpo
from tests.factories import EMAIL, NOW, lane_message, make_event, make_reply
from tests.fakes import FakeAccounts, FakeClock, FakeLaneQueue, OneByOneWorkers, StuckWorkers, middle
from tests.unit.harness import Harness

HOUR = 3600.0


def message(name: str, customer: str = "", account: str = "main", **changes: Any) -> LaneMessage:
    """A message named like its event; without a customer of its own, everyone is somebody else."""
    return lane_message(
        name,
        account=account,
        customer={"email": f"{customer or name}@example.com"},
        properties={"name": name},
        **changes,
    )


def outcomes(report: BatchReport) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for result in report.results:
        found.setdefault(result.event_id, []).append(result.outcome)
    return found


@pytest.fixture
def harness() -> Harness:
    return Harness()


@pytest.fixture
def sender() -> Harness:
    """A lane whose budget is not what matters: 60 at once."""
    return Harness(provider="sender")


# ------------------------------------------------------------------------------------------------ delivering


@pytest.mark.parametrize("provider", ["yotpo", "sender"])
def test_a_batch_is_delivered(provider: str) -> None:
    """All delivered: nothing to bring back, nothing deferred."""
    harness = Harness(provider=provider)
    names = [f"e{number}" for number in range(10)]
    report = harness.handle([message(name) for name in names])
    assert report.failed == []
    assert outcomes(report) == {name: [Outcome.DELIVERED] for name in names}
    assert (report.deferred, report.not_hidden, report.abandoned) == ({}, 0, 0)
    assert harness.queue.deferred == []
    assert sorted(harness.sent) == names


def test_an_empty_batch(harness: Harness) -> None:
    """Nothing in, nothing out, and still a report."""
    report = harness.handle([])
    assert (report.failed, report.results) == ([], [])


def test_a_batch_says_what_its_busiest_account_used() -> None:
    """GIVEN eight events of one account and two of another THEN it is eight of the fifty that ten seconds allow; where
    nobody asked for a turn there is nothing to say.
    """
    harness = Harness(names=("main", "other"))
    report = harness.handle([message(f"e{number}", account="other" if number < 2 else "main") for number in range(10)])
    assert report.pace_used == pytest.approx(8 / 50)
    assert harness.handle([message("bad", account="nobody")]).pace_used is None


def test_never_above_the_limit(harness: Harness) -> None:
    """Ten events for an account of five a second: no second holds six, and no wait is left to SQS."""
    report = harness.handle([message(f"e{number}") for number in range(10)])
    assert report.failed == []
    times = harness.transport.times
    assert max(sum(start <= time < start + 1.0 for time in times) for start in times) == 5


def test_ten_at_a_time(sender: Harness) -> None:
    """Whatever the budget allows is in flight side by side."""
    sender.handle([message(f"e{number}") for number in range(10)])
    assert isinstance(sender.workers, OneByOneWorkers)
    assert sender.workers.most_in_flight == 10


def test_no_more_than_there_are_workers() -> None:
    """Three workers, three in flight, over all accounts."""
    harness = Harness(provider="sender", workers=OneByOneWorkers(3))
    report = harness.handle([message(f"e{number}", account=("main", "second")[number % 2]) for number in range(9)])
    assert report.failed == []
    assert isinstance(harness.workers, OneByOneWorkers)
    assert harness.workers.most_in_flight == 3


def test_a_message_keeps_what_came_with_it(sender: Harness) -> None:
    """Age counts from acceptance, and the content hash is intake's where it gave one."""
    given = lane_message("e1", sent_at=NOW - 100, customer={"id": "1", "email": "a@b.io"}, properties={"name": "e1"})
    hashed = LaneMessage(**{name: getattr(given, name) for name in given.__slots__} | {"content_hash": "ab" * 32})
    report = sender.handle([hashed])
    assert report.results[0].age >= 100
    assert sender.ledger.records["e1", "sender/main"].content_hash == "ab" * 32


def test_a_message_keeps_when_its_record_came_first(harness: Harness) -> None:
    """From the lane to the ledger's version, and on into the dead letter, for a redrive."""
    harness.answers = {"e1": [make_reply(422)]}
    given = replace(message("e1", sent_at=NOW), accepted_at=NOW - 5000.5)
    harness.handle([given])
    assert harness.queue.letters[0].accepted_at == NOW - 5000.5
    assert harness.ledger.records["e1", "yotpo/main"].version.endswith(f" {NOW - 5000.5:.3f}")


def test_a_late_copy_behind_its_update_is_not_sent(harness: Harness) -> None:
    """GIVEN a version, its update and a copy of the first in a batch THEN the provider ends with the update."""
    batch = [
        replace(lane_message(f"m-{number}", id="same", properties={"name": name}), accepted_at=NOW + at)
        for number, (name, at) in enumerate([("v1", 0), ("v2", 1), ("v1", 0)])
    ]
    report = harness.handle(batch)
    assert report.failed == []
    assert harness.sent == ["v1", "v2"]
    assert report.results[-1].reason == "a later version was delivered"


# ------------------------------------------------------------------------------------------------ order


def test_events_of_one_customer_go_in_order(sender: Harness) -> None:
    """GIVEN several events of one customer among others
    WHEN the batch is worked through side by side
    THEN they go one after the other, and others do not wait for them.
    """
    batch = [message("a1", "ada"), message("a2", "ada"), message("b1", "bob"), message("a3", "ada")]
    assert sender.handle(batch).failed == []
    assert [name for name in sender.sent if name.startswith("a")] == ["a1", "a2", "a3"]
    assert sender.sent.index("b1") < sender.sent.index("a2")


def test_customers_are_recognised_by_any_identifier(sender: Harness) -> None:
    """An event by e-mail, one by both, one by phone: all of one customer, in order."""
    both = {"email": "ada@example.com", "phone_number": "+15551234567"}
    batch = [
        lane_message("a1", customer={"email": "Ada@example.com"}, properties={"name": "a1"}),
        lane_message("a2", customer=both, properties={"name": "a2"}),
        lane_message("a3", customer={"phone_number": "+15551234567"}, properties={"name": "a3"}),
    ]
    assert sender.handle(batch).failed == []
    assert sender.sent == ["a1", "a2", "a3"]


def test_a_failure_holds_back_later_events_of_its_customer(sender: Harness) -> None:
    """GIVEN a customer's first event fails THEN their second is not sent, and both come back together."""
    sender.answers = {"a1": [make_reply(503)]}
    report = sender.handle([message("a1", "ada"), message("a2", "ada"), message("b1", "bob")])
    assert sender.sent == ["a1", "b1"]
    assert report.failed == ["a1", "a2"]
    ((ids, seconds),) = sender.queue.deferred
    assert ids == ["a1", "a2"]
    assert report.deferred == {"sender/main": seconds}
    assert seconds > 0


def test_an_event_that_keeps_failing_gives_way(sender: Harness) -> None:
    """GIVEN an event that has failed again and again THEN later events of its customer no longer wait for it."""
    a1 = message("a1", "ada", receives=PASSES_AFTER)
    content = make_event(id="a1", customer={"email": "ada@example.com"}, properties={"name": "a1"}).content_hash
    sender.ledger.records["a1", "sender/main"] = Record(
        "a1",
        "sender/main",
        content,
        "open",
        attempts=PASSES_AFTER - 1,
        failure=Failure(strikes=1, failed_at=NOW),
    )
    sender.answers = {"a1": [make_reply(500)]}
    report = sender.handle([a1, message("a2", "ada")])
    assert sender.sent == ["a1", "a2"]
    assert report.failed == ["a1"]


def test_an_event_that_is_here_for_the_first_time_gives_way_to_nobody(sender: Harness) -> None:
    """GIVEN an id that failed again and again, and is now sent anew THEN its customer's later events wait for it."""
    account, failure = sender.account("sender/main"), Failure()
    for _ in range(PASSES_AFTER):
        failure = account.failed("a1", failure, sender.clock.now())
    sender.answers = {"a1": [make_reply(500)]}
    report = sender.handle([message("a1", "ada"), message("a2", "ada")])
    assert sender.sent == ["a1"]
    assert report.failed == ["a1", "a2"]


def test_a_rejection_holds_nobody_back(sender: Harness) -> None:
    """An event given up does not stop its customer's next."""
    sender.answers = {"a1": [make_reply(422)]}
    report = sender.handle([message("a1", "ada"), message("a2", "ada")])
    assert report.failed == []
    assert outcomes(report) == {"a1": [Outcome.REJECTED], "a2": [Outcome.DELIVERED]}


# ------------------------------------------------------------------------------------------------ wait or defer


def test_a_budget_used_up_is_deferred(sender: Harness) -> None:
    """GIVEN replies that show that others used the minute up THEN, but for one that may be a matter of counting, what
    is left is hidden until some of it may be there again, in one go, and reported.
    """
    said = [make_reply(200, x_ratelimit_remaining=remaining, x_ratelimit_reset="40") for remaining in ("1", "0")]
    sender.answers = {"e0": [said[0]], "e1": [said[1]]}
    for name in ("e0", "e1"):
        sender.handle([message(name)])
    names = [f"f{number}" for number in range(4)]
    report = sender.handle([message(name) for name in names])
    left = [name for name in names if name not in sender.sent]
    assert len(left) >= 3
    assert report.failed == left
    ((ids, seconds),) = sender.queue.deferred
    assert ids == left
    assert 2 <= seconds <= 61
    assert sender.queue.letters == []


def test_a_budget_that_we_used_up_is_deferred() -> None:
    """GIVEN a limit of three a minute WHEN five events come THEN three go, and two are hidden for the minute."""
    harness = Harness(provider="sender", settings={"requests": 3})
    report = harness.handle([message(f"e{number}") for number in range(5)])
    assert sorted(harness.sent) == ["e0", "e1", "e2"]
    assert report.failed == ["e3", "e4"]
    assert 59 <= report.deferred["sender/main"] <= 62
    harness.clock.pass_by(report.deferred["sender/main"])
    assert harness.handle([message("e3"), message("e4")]).failed == []


def test_a_429_defers_head_and_followers_alike(sender: Harness) -> None:
    """The event that met the 429 and all behind it come back at the same moment, the one the provider named."""
    sender.workers.size = 1
    sender.answers = {"e0": [make_reply(429, retry_after="30")]}
    report = sender.handle([message(f"e{number}") for number in range(4)])
    names = [f"e{number}" for number in range(4)]
    assert sender.sent == ["e0"]
    assert report.failed == names
    ((ids, seconds),) = sender.queue.deferred
    assert ids == names
    assert 29 <= seconds <= 31


def test_a_short_429_is_waited_out(harness: Harness) -> None:
    """A second is not worth a trip through the queue."""
    alone = make_reply(200, ratelimit_remaining="4")
    harness.answers = {"e0": [make_reply(429, ratelimit_reset="1"), alone], "e1": [alone]}
    report = harness.handle([message("e0"), message("e1")])
    assert report.failed == []
    assert outcomes(report)["e0"] == [Outcome.THROTTLED, Outcome.DELIVERED]
    assert harness.queue.deferred == []


def test_a_deferral_is_at_most_twelve_hours(sender: Harness) -> None:
    """SQS refuses more, counted from the receive."""
    sender.answers = {"e0": [make_reply(429, retry_after="86400")]}
    sender.handle([message("e0")])
    ((_, seconds),) = sender.queue.deferred
    assert LONGEST_DEFERRAL - 300 <= seconds <= LONGEST_DEFERRAL - 30


def test_a_message_that_cannot_be_hidden(sender: Harness) -> None:
    """It is counted and still reported: the queue's own visibility timeout brings it back."""
    sender.answers = {"e0": [make_reply(429, retry_after="30")]}
    sender.queue.refuses = {"e0", "somebody else's"}
    report = sender.handle([message("e0")])
    assert report.not_hidden == 1
    assert report.failed == ["e0"]


def test_an_event_that_another_execution_has_waits_for_it(sender: Harness) -> None:
    """Its account is left alone until the other's lease is over; its neighbours have gone meanwhile."""
    content = make_event(id="e0", customer={"email": "e0@example.com"}, properties={"name": "e0"}).content_hash
    held = Record("e0", "sender/main", content, "claimed", owner="other@1", lease_until=sender.clock.now() + 20.0)
    sender.ledger.records["e0", "sender/main"] = held
    report = sender.handle([message("e0"), message("e1")])
    assert sender.sent == ["e1"]
    assert report.failed == ["e0"]
    assert 19 <= report.deferred["sender/main"] <= 20


def test_no_time_left(harness: Harness) -> None:
    """Nothing is started that cannot end before the invocation does; everything comes back."""
    report = harness.handle([message("e0"), message("e1")], seconds=5)
    assert harness.sent == []
    assert report.failed == ["e0", "e1"]
    assert harness.ledger.claims == 0


def test_time_runs_out_in_the_middle(harness: Harness) -> None:
    """GIVEN answers that take a second each WHEN the time is up THEN what was not sent comes back."""
    harness.transport.takes = 1.0
    report = harness.handle([message(f"e{number}") for number in range(10)], seconds=harness.services.longest + 0.5)
    assert harness.sent == ["e0", "e1", "e2"]
    assert report.failed == [f"e{number}" for number in range(3, 10)]


def test_attempts_that_do_not_end() -> None:
    """GIVEN attempts still running when the time is up THEN they are reported and not waited for; nothing is lost."""
    clock = FakeClock()
    harness = Harness(clock=clock, workers=StuckWorkers(clock))
    began = clock.monotonic()
    report = harness.handle([message("e0"), message("e1")])
    assert report.failed == ["e0", "e1"]
    assert report.abandoned == 2
    assert clock.monotonic() < began + 30


# ------------------------------------------------------------------------------------------------ trouble


def test_held_credentials_send_nothing_more(sender: Harness) -> None:
    """GIVEN refused credentials THEN the account is deferred for the hold, and nothing is dropped or sent meanwhile."""
    sender.answers = {"e0": [make_reply(401, x_ratelimit_remaining="59")] * 2}
    first = sender.handle([message("e0")])
    second = sender.handle([message("e1"), message("e2")])
    assert sender.sent == ["e0", "e0"]
    assert (first.failed, second.failed) == (["e0"], ["e1", "e2"])
    assert [ids for ids, _ in sender.queue.deferred] == [["e0"], ["e1", "e2"]]
    assert all(299 <= seconds <= 301 for _, seconds in sender.queue.deferred)
    assert sender.queue.letters == []


def test_after_the_hold_one_asks(sender: Harness) -> None:
    """GIVEN a hold that ended and a secret that works again THEN one event goes, and then the whole batch."""
    sender.answers = {"e0": [make_reply(401, x_ratelimit_remaining="59")] * 2}
    sender.handle([message("e0")])
    sender.clock.pass_by(301)
    assert sender.account("sender/main").max_in_flight == 1
    workers = sender.workers = OneByOneWorkers()
    answer, in_flight = sender.transport.send, list[int]()

    def send(request: Request, leave: Callable[[], None]) -> Reply:
        in_flight.append(workers.most_in_flight)
        return answer(request, leave)

    sender.transport.send = send  # type: ignore[method-assign]
    sender.lane = replace(sender.lane, workers=workers)
    assert sender.handle([message(f"e{number}") for number in range(4)]).failed == []
    assert in_flight == [1, 3, 3, 3]


def test_an_outage_stops_the_batch(sender: Harness) -> None:
    """GIVEN a provider that is down THEN a batch finds out with few requests, and everything waits."""
    sender.workers.size = 1
    sender.answers = {f"e{number}": [make_reply(503)] for number in range(10)}
    names = [f"e{number}" for number in range(10)]
    report = sender.handle([message(name) for name in names])
    assert len(sender.sent) <= 3
    assert report.failed == names
    ((ids, seconds),) = sender.queue.deferred
    assert ids == names
    assert seconds >= 1
    assert sender.queue.letters == []


def test_a_poison_event_costs_seconds(sender: Harness) -> None:
    """One event that fails among others that succeed comes back after seconds, not minutes."""
    sender.answers = {"bad": [make_reply(500)]}
    report = sender.handle([message("bad"), *(message(f"e{number}") for number in range(5))])
    assert report.failed == ["bad"]
    ((ids, seconds),) = sender.queue.deferred
    assert ids == ["bad"]
    assert 1 <= seconds <= 15


def test_an_unknown_answer_comes_back(sender: Harness) -> None:
    """An answer that never came is not final by default."""
    sender.answers = {"e0": [NoAnswerError("ReadTimeoutError")]}
    report = sender.handle([message("e0"), message("e1")])
    assert report.failed == ["e0"]
    assert outcomes(report)["e0"] == [Outcome.UNKNOWN]


def test_a_ledger_that_is_away(sender: Harness) -> None:
    """Nothing is sent, everything comes back, nothing is given up."""
    sender.ledger.fails_on = {"claim"}
    report = sender.handle([message("e0"), message("e1")])
    assert report.failed == ["e0", "e1"]
    assert sender.sent == []
    assert sender.queue.letters == []


@pytest.mark.long
def test_an_outage_of_our_own_is_not_asked_for_ever(sender: Harness) -> None:
    """GIVEN a ledger that stays away for three days THEN its lane backs off, and a thousand receives last."""
    sender.ledger.fails_on = {"claim"}
    began, receives = sender.clock.now(), 0
    while sender.clock.now() - began < 72 * HOUR:
        receives += 1
        report = sender.handle([message("e0", receives=receives), message("e1", receives=receives)])
        sender.clock.pass_by(report.deferred["sender/main"])
    assert receives < 700
    sender.ledger.fails_on = set()
    assert sender.handle([message("e2")]).failed == []


@pytest.mark.long
@pytest.mark.parametrize("status", [429, 503])
def test_whatever_lasts_a_thousand_receives_take_five_days(sender: Harness, status: int) -> None:
    """GIVEN environments that never live to learn THEN the messages' own count of receives makes the lane patient."""
    sender.answers = {"e0": [make_reply(status) for _ in range(2000)]}
    began = sender.clock.now()
    for receives in range(1, 1000):
        sender.accounts.clear()
        sender.ledger.records.clear()
        report = sender.handle([message("e0", receives=receives)])
        if not report.failed:
            break
        sender.clock.pass_by(report.deferred["sender/main"])
    assert sender.clock.now() - began > 72 * HOUR


def test_what_nobody_thought_of_takes_no_batch_along(sender: Harness) -> None:
    """GIVEN an event on which our own code breaks THEN the others are delivered, and it comes back with its reason;
    among others that get through it is a dead letter in the end.
    """

    def payload(provider: Sender, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        if event.id == "bad":
            raise ZeroDivisionError(EMAIL)
        return Sender.payload(provider, event, errors)

    sender.faults = {"payload": payload}
    report = sender.handle([message("bad"), message("e0")])
    assert report.failed == ["bad"]
    assert [result.reason for result in report.results if result.event_id == "bad"] == [f"{BROKEN}: ZeroDivisionError"]
    assert sender.sent == ["e0"]
    for number in range(1, 10):
        if not report.failed:
            break
        sender.clock.pass_by(report.deferred["sender/main"])
        report = sender.handle([message("bad"), message(f"e{number}")])
    assert [letter.event_id for letter in sender.queue.letters] == ["bad"]
    assert sender.queue.letters[0].reason.startswith(f"failed {POISON_FAILURES} times while others succeeded, last ")
    assert sender.sent == [f"e{each}" for each in range(number)]


@pytest.mark.parametrize("body", [b'{"message":' + b"[" * 1200 + b"]" * 1200 + b"}", b"[" * 60_000])
def test_an_answer_nested_a_thousand_deep(sender: Harness, body: bytes) -> None:
    """A provider's nonsense is no more than a refusal."""
    sender.answers = {"e0": [make_reply(400, body)]}
    report = sender.handle([message("e0"), message("e1")])
    assert report.failed == []
    assert outcomes(report) == {"e0": [Outcome.REJECTED], "e1": [Outcome.DELIVERED]}


def test_an_event_that_is_always_answered_429_stops_nobody(sender: Harness) -> None:
    """GIVEN an event that its provider throttles for what it is THEN those behind it are tried before it, and it is a
    dead letter as soon as they have shown whose fault it is, within a window or two.
    """
    sender.workers.size = 1
    sender.answers = {"bad": [make_reply(429) for _ in range(50)]}
    names = [f"e{number}" for number in range(50)]
    waiting, began = ["bad", *names], sender.clock.now()
    for _ in range(20):
        report = sender.handle([message(name) for name in waiting[:10]])
        waiting = report.failed + waiting[10:]
        if not waiting:
            break
        sender.clock.pass_by(max(report.deferred.values(), default=0))
    (letter,) = sender.queue.letters
    assert (letter.event_id, letter.status) == ("bad", 429)
    assert [name for name in sender.sent if name != "bad"] == names
    assert sender.clock.now() - began < 120


@pytest.mark.parametrize("provider", ["yotpo", "sender"])
def test_in_a_quiet_account_an_event_always_answered_429_costs_its_neighbours_seconds(provider: str) -> None:
    """GIVEN one good event at a time beside it THEN each is delivered within seconds, and soon it is a dead letter."""
    harness, receives = Harness(provider=provider), 0
    harness.answers = {"bad": [make_reply(429) for _ in range(50)]}
    for number in range(20):
        name, came_at = f"e{number}", harness.clock.now()
        while name not in harness.sent:
            assert harness.clock.now() - came_at <= 30
            receives += 1
            report = harness.handle([message("bad", receives=receives), message(name)])
            harness.clock.pass_by(max(report.deferred.values(), default=0))
        if not report.failed:
            break
    assert [letter.event_id for letter in harness.queue.letters] == ["bad"]
    assert number < 2 * POISON_FAILURES


def stuck(harness: Harness, name: str) -> None:
    """The event has been answered 429 again and again, and nothing got through since."""
    account = harness.account(f"{harness.provider}/main")
    for _ in range(PASSES_AFTER):
        account.throttled(name, Failure(), harness.clock.now())


def test_behind_an_event_always_answered_429_one_of_its_customer_may_go(sender: Harness) -> None:
    """GIVEN events of one customer, the first throttled again and again WHEN nothing else is there to ask with
    THEN the next one shows that it is the event's own fault.
    """
    stuck(sender, "a1")
    sender.answers = {"a1": [make_reply(429) for _ in range(50)]}
    sender.handle([message(name, "ada") for name in ("a1", "a2", "a3")])
    assert sender.sent[0] == "a2"
    assert sender.ledger.records["a2", "sender/main"].state == "delivered"


@pytest.mark.parametrize("answer", [make_reply(429), make_reply(503), NoAnswerError("ReadTimeoutError")])
def test_behind_an_event_always_answered_429_only_one_of_its_customer_may_go(
    sender: Harness, answer: Reply | NoAnswerError
) -> None:
    """What does not get through either is no reason for the third to pass the two."""
    stuck(sender, "a1")
    sender.answers = {"a1": [make_reply(429) for _ in range(50)], "a2": [answer] * 50}
    report = sender.handle([message(name, "ada") for name in ("a1", "a2", "a3")])
    assert sender.sent[0] == "a2"
    assert "a3" not in sender.sent
    assert report.failed == ["a1", "a2", "a3"]


def test_one_customers_events_behind_an_event_answered_429_wait_for_few_tries_of_it(sender: Harness) -> None:
    """GIVEN one customer's events alone, the first always answered 429 for a quarter of an hour THEN after three tries
    of it each further one is a strike, for the next of its customer passes it: in three hours it is a dead letter.
    """
    sender.answers = {"a0": [make_reply(429, retry_after="900") for _ in range(50)]}
    left, receives, began = [f"a{number}" for number in range(30)], 0, sender.clock.now()
    while "a0" in left and receives < 60:
        receives += 1
        batch = [message(name, "ada", receives=receives) for name in left[:10]]
        report = sender.handle(batch)
        left = [*report.failed, *left[10:]]
        sender.clock.pass_by(report.deferred.get("sender/main", 0))
    assert [letter.event_id for letter in sender.queue.letters] == ["a0"]
    assert sender.sent.count("a0") <= 12
    assert sender.clock.now() - began <= 3 * HOUR


def test_behind_events_always_answered_429_one_of_all_customers_goes_at_a_time(sender: Harness) -> None:
    """One is enough to ask with."""
    names = ["a1", "a2", "b1", "b2"]
    stuck(sender, "a1")
    stuck(sender, "b1")
    sender.answers = {name: [make_reply(429) for _ in range(50)] for name in names}
    sender.handle([message(name, name[0]) for name in names])
    assert sender.sent == ["a2"]


def test_before_it_is_answered_429_three_times_nobody_passes_it(sender: Harness) -> None:
    """In order per customer, while it may be the account's pace."""
    sender.answers = {"a1": [make_reply(429, retry_after="1")]}
    sender.handle([message(name, "ada") for name in ("a1", "a2")])
    assert sender.sent == ["a1", "a1", "a2"]


def test_none_passes_an_event_that_failed(sender: Harness) -> None:
    """GIVEN a customer's first event fails, their second is throttled again and again THEN the third waits for both."""
    stuck(sender, "a2")
    sender.answers = {"a1": [make_reply(503)] * 5, "a2": [make_reply(429) for _ in range(50)]}
    report = sender.handle([message(name, "ada") for name in ("a1", "a2", "a3")])
    assert sender.sent == ["a1"]
    assert report.failed == ["a1", "a2", "a3"]


def test_none_passes_while_another_customers_event_may_tell(sender: Harness) -> None:
    """It gets through, so the throttled one is tried again, and the next of its customer waits behind it."""
    stuck(sender, "a1")
    sender.answers = {"a1": [make_reply(429, retry_after="1")]}
    sender.handle([message("a1", "ada"), message("a2", "ada"), message("b1", "bob")])
    assert sender.sent == ["b1", "a1", "a1", "a2"]


@pytest.mark.parametrize(("named", "seconds"), [("600", 600), ("7200", 900)])
def test_a_provider_in_trouble_names_its_own_wait(sender: Harness, named: str, seconds: float) -> None:
    """A 503 with Retry-After is taken at its word, up to a quarter of an hour."""
    sender.answers = {"e0": [make_reply(503, retry_after=named)]}
    sender.handle([message("e0")])
    assert sender.queue.deferred == [(["e0"], seconds)]


def test_an_event_in_trouble_names_no_wait_for_others(sender: Harness) -> None:
    """GIVEN one event answered 503 while others get through THEN its Retry-After does not speak for the account."""
    sender.answers = {"e0": [make_reply(503, retry_after="600")]}
    sender.handle([message("e0"), message("e1"), message("e2")])
    assert [ids for ids, seconds in sender.queue.deferred if seconds < 15] == [["e0"]]


def test_real_threads_side_by_side() -> None:
    """The same with the workers and the clock of production: ten at once, each once, all ended."""
    harness = Harness(provider="sender", workers=ThreadWorkers(10))
    together = threading.Barrier(10, timeout=10)
    answer = harness.transport.send

    def send(request: Request, leave: Callable[[], None]) -> Reply:
        together.wait()
        return answer(request, leave)

    harness.transport.send = send  # type: ignore[method-assign]
    report = harness.handle([message(f"e{number}") for number in range(10)])
    assert report.failed == []
    assert sorted(harness.sent) == [f"e{number}" for number in range(10)]


def test_in_a_quiet_account_one_403_costs_half_a_minute(sender: Harness) -> None:
    """Nothing tells whether it is the event: others are asked again soon, and then it is the event's."""
    sender.answers = {"e0": [make_reply(403, x_ratelimit_remaining="59") for _ in range(50)]}
    assert sender.handle([message("e0")]).deferred == {"sender/main": SHORTEST_HOLD}
    sender.clock.pass_by(SHORTEST_HOLD)
    report = sender.handle([message("e0"), message("e1")])
    assert "e1" in sender.sent
    assert report.failed == ["e0"]
    assert report.deferred["sender/main"] <= 15


def test_two_events_with_a_403_hold_the_account_for_five_minutes(sender: Harness) -> None:
    """That is no event's own. The first holds it for half a minute, and then the other is asked with."""
    sender.answers = {name: [make_reply(403, x_ratelimit_remaining="59")] * 4 for name in ("e0", "e1")}
    for seconds in (SHORTEST_HOLD, 300):
        report = sender.handle([message("e0"), message("e1")])
        assert report.failed == ["e0", "e1"]
        assert report.deferred == {"sender/main": seconds}
        sender.clock.pass_by(seconds)
    assert sender.sent == ["e0", "e0", "e1", "e1"]


def test_an_account_that_hangs_leaves_its_place_to_others(sender: Harness) -> None:
    """GIVEN answers that never come, each after ten seconds THEN the account is away four times as long, not two."""
    sender.transport.takes = 10.0
    sender.answers = {"e0": [NoAnswerError("ReadTimeoutError")]}
    report = sender.handle([message("e0")])
    assert report.deferred == {"sender/main": IDLE * 10}


def test_refused_among_others_costs_seconds(sender: Harness) -> None:
    """One event refused while those after it get through holds nobody: it comes back after seconds."""
    sender.answers = {"e0": [make_reply(403, x_ratelimit_remaining="59")] * 2}
    report = sender.handle([message(f"e{number}") for number in range(5)])
    assert report.failed == ["e0"]
    assert 1 <= report.deferred["sender/main"] <= 15


# ------------------------------------------------------------------------------------------------ many accounts


@pytest.fixture
def three() -> Harness:
    """Three accounts on one lane."""
    return Harness(provider="sender", names=("main", "second", "third"))


def test_an_account_in_trouble_does_not_touch_another(three: Harness) -> None:
    """GIVEN three accounts in a batch, one throttled and one refused THEN the third is delivered, the two deferred."""
    three.answers = {
        "m1": [make_reply(429, retry_after="30")],
        "s1": [make_reply(403, x_ratelimit_remaining="59")] * 2,
    }
    batch = [
        message("m1", "ada", "main"),
        message("s1", "bob", "second"),
        message("t1", account="third"),
        message("m2", "ada", "main"),
        message("s2", "bob", "second"),
        message("t2", account="third"),
    ]
    report = three.handle(batch)
    assert report.failed == ["m1", "s1", "m2", "s2"]
    assert set(report.deferred) == {"sender/main", "sender/second"}
    assert sorted(ids for ids, _ in three.queue.deferred) == [["m1", "m2"], ["s1", "s2"]]
    # A 403 of one event alone: it may be that event.
    assert report.deferred["sender/second"] == SHORTEST_HOLD
    assert report.deferred["sender/main"] >= 29
    assert {"t1", "t2"} <= set(three.sent)


def test_the_same_event_for_two_accounts(three: Harness) -> None:
    """An event id is one per destination: two accounts are two deliveries."""
    batch = [
        lane_message("m-1", account="main", id="same", properties={"name": "x"}),
        lane_message("m-2", account="second", id="same", properties={"name": "x"}),
    ]
    assert three.handle(batch).failed == []
    assert len(three.sent) == 2


def test_environments_that_take_turns_keep_the_pace_together() -> None:
    """GIVEN two accounts whose batches go to two environments in turn
    THEN in no second an account gets more than its limit, and none is idle for longer than a batch takes.
    """
    clock, records, times = FakeClock(), FakeAccounts(), []
    harnesses = [Harness(names=("main", "second"), clock=clock, records=records) for _ in range(2)]
    for number in range(8):
        harness = harnesses[(number // 2 + number) % 2]
        names = [f"e{number}-{each}" for each in range(10)]
        account = ("main", "second")[number % 2]
        before = len(harness.transport.times)
        harness.handle([message(name, account=account) for name in names])
        times += [(account, at) for at in harness.transport.times[before:]]
        clock.pass_by(0.02)
    for account in ("main", "second"):
        sent = [at for name, at in times if name == account]
        assert len(sent) == 40
        assert all(later - earlier >= 1.0 for earlier, later in zip(sent, sent[5:], strict=False))
        assert sent[-1] - sent[0] <= 16


# ------------------------------------------------------------------------------------------------ the account's record


def another(harness: Harness) -> Harness:
    """Another environment of the same lane."""
    return Harness(
        provider=harness.provider,
        clock=harness.clock,
        ledger=harness.ledger,
        records=harness.records,
        settings=harness.settings,
        names=harness.names,
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_environments_side_by_side_keep_the_limit_together(groups: int) -> None:
    """GIVEN batches of one account in two environments at once, in one of them while the other waits for a turn
    THEN no second holds more than the limit, all are delivered, and hardly any time is lost.
    """
    first = Harness(settings={"groups": groups}, clock=FakeClock())
    second, clock = another(first), first.clock
    left = {first: [f"a{number}" for number in range(30)], second: [f"b{number}" for number in range(30)]}

    def handle(harness: Harness) -> None:
        report = harness.handle([message(name) for name in left[harness][:10]])
        left[harness] = [*report.failed, *left[harness][10:]]

    def meanwhile(seconds: float) -> None:
        clock.on_sleep = None
        until = clock.monotonic() + seconds
        handle(second)
        clock.pass_by(max(0.0, until - clock.monotonic()))

    for _ in range(30):
        clock.on_sleep = meanwhile
        handle(first)
        if clock.on_sleep is not None:
            # The first had nothing to wait for.
            clock.on_sleep = None
            handle(second)
        if not any(left.values()):
            break
        clock.pass_by(0.1)
    assert left == {first: [], second: []}
    times = sorted([*first.transport.times, *second.transport.times])
    assert len(times) == 60
    assert all(later - earlier >= 1.0 for earlier, later in zip(times, times[5:], strict=False))
    assert times[-1] - times[0] < 20


def test_an_accounts_record_that_cannot_be_written(sender: Harness) -> None:
    """GIVEN no turn to be reserved THEN nothing is sent, everything comes back, and it counts as trouble of our own;
    afterwards all is delivered.
    """
    sender.records.fails = True
    report = sender.handle([message("e0"), message("e1"), message("e2")])
    assert report.failed == ["e0", "e1", "e2"]
    assert (sender.sent, sender.ledger.claims, sender.queue.letters) == ([], 0, [])
    (result,) = report.results
    assert (result.outcome, result.internal, result.final, result.event_id) == (Outcome.RETRY, True, False, "e0")
    assert result.failed_at == sender.clock.now()
    assert "DynamoDB" in result.reason
    ((ids, seconds),) = sender.queue.deferred
    assert ids == ["e0", "e1", "e2"]
    assert 1 <= seconds <= 15
    sender.records.fails = False
    sender.clock.pass_by(seconds)
    assert sender.handle([message("e0"), message("e1"), message("e2")]).failed == []


def test_one_accounts_record_does_not_stop_another(three: Harness) -> None:
    """GIVEN a record that another environment changes each time THEN the other accounts are delivered."""
    write = three.records.write

    def contended(record: AccountRecord) -> AccountRecord | None:
        if record.destination == "sender/second":
            three.records.change(record.destination)
        return write(record)

    three.records.write = contended  # type: ignore[method-assign]
    report = three.handle([message("m", account="main"), message("s", account="second"), message("t", account="third")])
    assert report.failed == ["s"]
    assert sorted(three.sent) == ["m", "t"]


@pytest.mark.parametrize("knows", [True, False])
def test_an_account_that_an_operator_holds(sender: Harness, knows: bool) -> None:
    """GIVEN `held` in the record THEN no environment sends anything, whatever it knew before, until that is gone."""
    if knows:
        sender.handle([message("before")])
    sender.records.change("sender/main", held="their maintenance")
    for _ in range(3):
        report = sender.handle([message("e0"), message("e1")])
        assert report.failed == ["e0", "e1"]
        assert 30 <= report.deferred["sender/main"] <= 60
        sender.clock.pass_by(report.deferred["sender/main"])
    assert sender.sent == ["before"] * knows
    assert sender.queue.letters == []
    sender.records.change("sender/main", held="")
    assert sender.handle([message("e0"), message("e1")]).failed == []


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("held", ["", "their maintenance"])
def test_who_is_to_be_forgotten_is_sent_nothing(sender: Harness, knows: bool, held: str) -> None:
    """GIVEN a mark in the account's record, held or not, whatever the environment knew before
    THEN what waits for that customer is taken out unsent, without a dead letter; others', and what comes later, is not.
    """
    if knows:
        sender.handle([message("before")])
    sender.clock.pass_by(60.0)
    now = sender.clock.now()
    marks = (mark("sender/main", "email=gone@example.com", now), mark("sender/main", "phone=+15551234567", now))
    sender.records.change("sender/main", forgotten=marks, held=held)
    theirs = [
        replace(message("mail", "gone"), accepted_at=now - 5),
        replace(message("lane", "gone"), accepted_at=None, sent_at=now - 5),
    ]
    others = [
        replace(message("other"), accepted_at=now - 5),
        replace(message("later", "gone"), accepted_at=now + 5),
    ]
    report = sender.handle([*theirs, *others])
    assert [name for name, found in outcomes(report).items() if found == [Outcome.REJECTED]] == ["mail", "lane"]
    assert all("forgotten" in each.reason for each in report.results if each.outcome is Outcome.REJECTED)
    assert report.failed == (["other", "later"] if held else [])
    assert sender.sent == ["before"] * knows + ([] if held else ["other", "later"])
    assert sender.queue.letters == []
    # Nothing is open any more: nobody waits for it.
    assert {sender.ledger.records[name, "sender/main"].state for name in ("mail", "lane")} == {"given_up"}


REFUSED = [make_reply(401)] * 2
"""Once, and once more with the secret read again."""


def test_what_an_accounts_trouble_hides_for_long_is_noted() -> None:
    """GIVEN credentials that are refused THEN the receipts of what is hidden for minutes are written down, by message
    group, the first message first, with the moment at which they come up by themselves.
    """
    answers: dict[str, list[Reply | NoAnswerError]] = {name: list(REFUSED) for name in ("e0", "e1", "e2")}
    harness = Harness(provider="sender", answers=answers, settings={"groups": 2})
    report = harness.handle([message("e0"), replace(message("e2"), group="main#1"), message("e1")])
    seconds = report.deferred["sender/main"]
    assert seconds == 300
    assert (report.troubles, report.not_noted) == ({"sender/main": "unauthorized"}, 0)
    until = harness.clock.now() + seconds
    assert {(each.destination, each.group, each.receipts) for each in harness.records.noted} == {
        ("sender/main", "main", ("receipt-e0", "receipt-e1")),
        ("sender/main", "main#1", ("receipt-e2",)),
    }
    assert all(abs(each.until - until) < 1 for each in harness.records.noted)


def test_what_waits_for_its_turn_is_not_noted(sender: Harness) -> None:
    """It would be a write for each minute of a backlog, and an operator could not make it any sooner."""
    report = sender.handle([message(f"e{number}") for number in range(70)])
    assert report.deferred["sender/main"] > 50
    assert (sender.records.noted, report.troubles) == ([], {})


def test_what_is_hidden_for_seconds_is_not_noted(sender: Harness) -> None:
    """It is back before anybody could have typed a command."""
    sender.answers["e0"] = [make_reply(500)]
    report = sender.handle([message("e0")])
    assert 0 < report.deferred["sender/main"] < 15
    assert sender.records.noted == []


@pytest.mark.parametrize("seconds", [30.0, NOTE_SECONDS])
def test_what_cannot_be_noted_is_counted(sender: Harness, seconds: float) -> None:
    """GIVEN a table that fails, or no time to wait for it THEN the batch ends as ever, and says how many it was."""
    sender.records.loses_notes = seconds == 30.0
    sender.handle([message("before")])
    sender.account("sender/main").pace.trip(300.0, "failing")
    report = sender.handle([message("e0"), message("e1")], seconds)
    assert report.failed == ["e0", "e1"]
    assert (report.deferred, report.not_noted) == ({"sender/main": 300}, 2)
    assert sender.records.noted == []


@pytest.mark.parametrize("knows", [True, False])
def test_an_account_that_an_operator_resumes(knows: bool) -> None:
    """GIVEN an account that waits for minutes WHEN it is resumed and its messages are shown THEN the next batch
    delivers, also in an environment that knows of the wait: one probes, and the others follow.
    """
    harness = Harness(provider="sender", answers={"e0": list(REFUSED)})
    assert harness.handle([message("e0"), message("e1")]).deferred == {"sender/main": 300}
    harness.clock.pass_by(3)
    harness.records.resume("sender/main")
    environment = harness if knows else another(harness)
    assert environment.handle([message("e0"), message("e1")]).failed == []
    assert environment.secrets.resumed == 1


def test_an_account_that_is_resumed_while_a_batch_is_refused() -> None:
    """GIVEN credentials that are refused WHEN an operator resumes the account before the batch is over THEN the batch
    does not hide for minutes what it has, and the next one sends it.
    """
    harness = Harness(provider="sender", answers={"e0": list(REFUSED)})
    answer = harness.transport.send

    def send(request: Request, leave: Callable[[], None]) -> Reply:
        reply = answer(request, leave)
        if len(harness.sent) == 2:
            harness.records.resume("sender/main")
        return reply

    harness.transport.send = send  # type: ignore[method-assign]
    report = harness.handle([message("e0")])
    assert report.deferred["sender/main"] <= 5
    assert harness.records.noted == []
    harness.clock.pass_by(5)
    assert harness.handle([message("e0")]).failed == []


def test_an_account_that_waits_on_is_looked_up_once(sender: Harness) -> None:
    """GIVEN messages that come before their time, and no resume THEN nothing is sent; they are hidden for the rest."""
    sender.answers["e0"] = list(REFUSED)
    sender.handle([message("e0")])
    sender.clock.pass_by(100)
    writes = sender.records.writes
    report = sender.handle([message("e0")])
    assert (len(sender.sent), report.deferred) == (2, {"sender/main": 200})
    assert sender.records.writes == writes + 1


def test_turns_that_are_not_used_are_given_back() -> None:
    """GIVEN three a minute, and of three events two that were delivered before THEN two others go in their place."""
    harness = Harness(provider="sender", settings={"requests": 3})
    elsewhere = Harness(provider="sender", ledger=harness.ledger)
    elsewhere.handle([message("old-1"), message("old-2")])
    assert harness.handle([message("old-1"), message("old-2"), message("e0")]).failed == []
    assert another(harness).handle([message("e1"), message("e2")]).failed == []
    assert harness.handle([message("e3")]).failed == ["e3"]


def test_one_environment_probes(sender: Harness) -> None:
    """GIVEN a provider that was down WHEN two environments have batches of it THEN one asks, and the other sends
    nothing until it heard how that went.
    """
    names = [f"e{number}" for number in range(5)]
    sender.answers = {name: [make_reply(503)] for name in names}
    report = sender.handle([message(name) for name in names])
    sender.clock.pass_by(report.deferred["sender/main"])
    other, probe, answer = another(sender), another(sender), sender.transport.send
    reports: list[BatchReport] = []

    def send(request: Request, leave: Callable[[], None]) -> Reply:
        leave()
        if not reports:
            reports.append(other.handle([message("o1"), message("o2")]))
        return answer(request, lambda: None)

    probe.transport.send = send  # type: ignore[method-assign]
    assert probe.handle([message(f"p{number}") for number in range(3)]).failed == []
    assert (other.sent, reports[0].failed) == ([], ["o1", "o2"])
    assert 1 <= reports[0].deferred["sender/main"] <= 10
    other.clock.pass_by(reports[0].deferred["sender/main"])
    assert other.handle([message("o1"), message("o2")]).failed == []


def test_an_outage_is_found_out_once_for_all_environments(sender: Harness) -> None:
    """GIVEN a provider that is down, as one environment found out THEN another one sends nothing to it meanwhile."""
    names = [f"e{number}" for number in range(5)]
    sender.answers = {name: [make_reply(503)] for name in names}
    sender.handle([message(name) for name in names])
    other = another(sender)
    assert other.handle([message("o1"), message("o2")]).failed == ["o1", "o2"]
    assert other.sent == []


def test_a_probe_in_a_new_environment_may_be_any_event(sender: Harness) -> None:
    """GIVEN an account that does not work, as the record says THEN poison at the head does not always answer for it."""
    sender.records.change("sender/main", state=State.OPEN, until=sender.clock.now() - 1)
    sender.handle([message(name) for name in ("a", "b", "c", "d")])
    assert sender.sent[0] == "c"


def test_an_event_of_a_second_group_goes_to_its_account() -> None:
    """GIVEN two message groups of one account THEN both go to it, and dead letters keep the group they came from."""
    harness = Harness(settings={"groups": 2})
    harness.answers = {"e1": [make_reply(422)], "e2": [make_reply(422)]}
    batch = [
        message("e0", group="main#1"),
        message("e1", group="main#1"),
        message("e2"),
        lane_message("bad-1", body="{", group="main#1"),
        lane_message("bad", body="{"),
    ]
    assert harness.handle(batch).failed == []
    assert harness.sent == ["e0", "e1", "e2"]
    assert {destination for _, destination in harness.ledger.records} == {"yotpo/main"}
    letters = {letter.deduplication_id: (letter.destination, letter.group) for letter in harness.queue.letters}
    assert letters == {
        "e1": ("yotpo/main", "main#1"),
        "e2": ("yotpo/main", ""),
        "bad-1": ("yotpo/main", "main#1"),
        "bad": ("yotpo/main", ""),
    }


@pytest.mark.parametrize(("settings", "most"), [({"concurrency": 3}, 3), ({"concurrency": 5, "groups": 2}, 2)])
def test_no_more_at_the_same_time_than_the_provider_takes(settings: dict[str, int], most: int) -> None:
    """Each of several groups has its part of that."""
    harness = Harness(provider="sender", settings=settings)
    assert harness.handle([message(f"e{number}") for number in range(10)]).failed == []
    assert isinstance(harness.workers, OneByOneWorkers)
    assert harness.workers.most_in_flight == most


def history(name: str, customer: str = "", **changes: Any) -> LaneMessage:
    return message(name, customer, group="main#backfill", backfill=True, **changes)


SENT = {"backfill": "send"}


def test_history_begins_when_no_live_event_can() -> None:
    """GIVEN a batch with both, history first THEN the live events go first, those of the same customer, too."""
    harness = Harness(provider="sender", settings=SENT)
    batch = [history("h0", "ada"), history("h1"), message("e0", "ada"), message("e1")]
    assert harness.handle(batch).failed == []
    assert harness.sent[:2] == ["e0", "e1"]
    assert sorted(harness.sent[2:]) == ["h0", "h1"]


def test_history_is_deferred_by_its_own_pace() -> None:
    """GIVEN a batch of history THEN a slice of it goes, what comes after is hidden until the next one, and a live event
    that comes meanwhile goes at once.
    """
    harness = Harness(provider="sender", settings=SENT)
    assert harness.handle([history(f"h{number}") for number in range(10)]).failed == []
    report = harness.handle([history(f"i{number}") for number in range(10)])
    assert len(report.failed) == 10
    assert 5 <= report.deferred["sender/main"] <= 15
    assert harness.handle([message("e0")]).failed == []
    harness.clock.pass_by(report.deferred["sender/main"])
    assert len(harness.handle([history(f"i{number}") for number in range(10)]).failed) < 3


def test_history_that_has_come_often_hides_no_live_event() -> None:
    """GIVEN history that waited so long behind live events that it is hidden for minutes WHEN a live event waits in the
    same batch THEN that one is hidden for its own pace alone.
    """
    harness = Harness(provider="sender", settings=SENT)
    for ten in range(6):
        assert harness.handle([message(f"e{ten}{number}") for number in range(10)]).failed == []
    alone = harness.handle([message("live")]).deferred["sender/main"]
    harness.queue.deferred.clear()
    assert harness.handle([history("h", receives=500), message("live")]).deferred == {"sender/main": alone}
    assert harness.queue.deferred == [(["live"], alone), (["h"], 500)]


def test_history_outlasts_live_events_that_take_all_there_is() -> None:
    """GIVEN batches of live events, all delivered, with history behind them that has no turn THEN it is hidden for
    longer and longer: SQS ends what it has handed out a thousand times.
    """
    harness = Harness(settings=SENT)
    batch = [*(message(f"e{number}") for number in range(9)), history("h", receives=500)]
    assert harness.handle(batch).failed == ["h"]
    assert harness.queue.deferred == [(["h"], 500)]


def test_history_has_no_age_whatever_becomes_of_it() -> None:
    """GIVEN tables that are away, or a customer who is to be forgotten THEN what comes of history says that it is."""
    harness = Harness(provider="sender", settings=SENT)
    harness.records.fails = True
    (result,) = harness.handle([history("h0")]).results
    assert (result.outcome, result.backfill) == (Outcome.RETRY, True)
    harness.records.fails = False
    marks = (mark("sender/main", "email=gone@example.com", harness.clock.now() + 1.0),)
    harness.records.change("sender/main", forgotten=marks)
    harness.clock.pass_by(60.0)
    (result,) = harness.handle([history("h1", "gone")]).results
    assert (result.outcome, result.backfill) == (Outcome.REJECTED, True)


def test_history_in_a_live_group_holds_nobody_up() -> None:
    """GIVEN an event that says so on a lane's live group, as another system may put it THEN it goes as any other: what
    stands behind it would have to wait for it.
    """
    harness = Harness(provider="sender", settings=SENT)
    assert harness.handle([message(f"e{number}", backfill=True) for number in range(10)]).failed == []
    assert harness.handle([message(f"f{number}", backfill=True) for number in range(10)]).failed == []


def test_history_that_a_provider_cannot_be_told_of() -> None:
    """GIVEN no setting THEN it is a dead letter that says what to do and keeps its group, and live events go on."""
    harness = Harness(provider="sender")
    report = harness.handle([*(history(f"h{number}") for number in range(9)), message("e0")])
    assert (report.failed, harness.sent) == ([], ["e0"])
    assert len(harness.queue.letters) == 9
    (reason,) = {letter.reason for letter in harness.queue.letters}
    assert reason.startswith("backfill: sender cannot be told that an event is history")
    assert {letter.group for letter in harness.queue.letters} == {"main#backfill"}
    assert harness.handle([history(f"i{number}") for number in range(10)]).failed == []


def test_history_takes_one_place_where_a_provider_counts_them() -> None:
    """Beside the live events', which may be busy with all that there are."""
    harness = Harness(provider="sender", settings={**SENT, "concurrency": 4})
    harness.handle([history(f"h{number}") for number in range(10)])
    assert isinstance(harness.workers, OneByOneWorkers)
    assert harness.workers.most_in_flight == 1


def any_account(most: int = KNOWN) -> tuple[Harness, Counter[str]]:
    """A lane of `yotpo/*` that knows so many accounts, and how often each has been met as a new one."""
    harness, met = Harness(names=("*",)), Counter[str]()

    def meet(destination: str) -> Account:
        met[destination] += 1
        terms = Yotpo("https://api.example.com").terms
        return Account(Pace(destination, terms, harness.records, harness.clock), harness.clock, rng=middle)

    harness.lane = Lane(
        provider="yotpo",
        destinations=["yotpo/*"],
        services=harness.services,
        accounts=recent(meet, most),
        workers=harness.workers,
        open_record=open_record,
    )
    return harness, met


@pytest.mark.long
def test_a_thousand_accounts_in_one_environment() -> None:
    """GIVEN `yotpo/*` and twice as many accounts as an environment knows THEN all are delivered to, those met before
    the last thousand are forgotten, and one that is always busy is not.
    """
    harness, met = any_account()
    names = [f"shop-{number}" for number in range(2 * KNOWN)]
    for at in range(0, len(names), 9):
        batch = [message(name, account=name) for name in names[at : at + 9]]
        assert harness.handle([*batch, message(f"busy-{at}", account="busy")]).failed == []
    assert len(harness.sent) == len(names) + -(-len(names) // 9)
    assert met["yotpo/busy"] == 1
    assert set(met.values()) == {1}
    harness.handle([message("again", account=names[-1]), message("forgotten", account=names[0])])
    assert (met[f"yotpo/{names[-1]}"], met[f"yotpo/{names[0]}"]) == (1, 2)


def test_an_account_that_was_forgotten_is_not_sent_to_too_fast() -> None:
    """GIVEN three accounts in turn where two are known THEN each is new every time, and none gets above its limit."""
    harness, met = any_account(most=2)
    times: dict[str, list[float]] = {}
    for number in range(12):
        account, before = f"shop-{number % 3}", len(harness.transport.times)
        names = [f"e{number}-{each}" for each in range(5)]
        harness.handle([message(name, account=account) for name in names])
        times.setdefault(account, []).extend(harness.transport.times[before:])
    assert set(met.values()) == {4}
    for sent in times.values():
        assert len(sent) == 20
        assert all(later - earlier >= 1.0 for earlier, later in zip(sent, sent[5:], strict=False))


def test_an_account_that_does_not_exist() -> None:
    """GIVEN `yotpo/*` and an account without a secret THEN it is held, never sent to, and in nobody's way; in the end
    its event is a dead letter that says why.
    """
    harness, _ = any_account()

    def get(destination: str, resumed: int = 0) -> Any:
        if destination == "yotpo/mian":
            raise CredentialsError(f"no readable secret for {destination}")
        return harness.secrets.credentials

    harness.secrets.get = get  # type: ignore[method-assign]
    report = harness.handle([message("e0", account="mian"), message("e1", account="main")])
    assert outcomes(report) == {"e0": [Outcome.UNAUTHORIZED], "e1": [Outcome.DELIVERED]}
    assert (report.failed, report.deferred) == (["e0"], {"yotpo/mian": 300})
    harness.clock.pass_by(72 * HOUR)
    report = harness.handle([message("e0", account="mian", receives=2)])
    assert outcomes(report) == {"e0": [Outcome.EXPIRED]}
    (letter,) = harness.queue.letters
    assert letter.reason == "older than 3 days, 0:00:00 since acceptance, last: no readable secret for yotpo/mian"
    assert harness.sent == ["e1"]


@pytest.mark.parametrize("account", ["ada@example.com", "+15551234567", "a b", "*", "a/b", "x" * 65, "\u00fc", ""])
def test_a_group_that_can_be_no_account_becomes_a_dead_letter(account: str) -> None:
    """GIVEN `yotpo/*` and a group with a name no secret can have THEN nothing is held for it, and it is not repeated
    where it may be personal.
    """
    harness, met = any_account()
    report = harness.handle([message("e0", account=account)])
    assert (report.failed, met, harness.sent) == ([], {}, [])
    (letter,) = harness.queue.letters
    assert "is not configured here" in letter.reason
    assert "example.com" not in letter.reason
    assert "555" not in letter.reason


def test_the_same_event_twice_in_a_batch(sender: Harness) -> None:
    """The second is a duplicate."""
    batch = [lane_message(name, id="same", properties={"name": "x"}) for name in ("m-1", "m-2")]
    report = sender.handle(batch)
    assert report.failed == []
    assert outcomes(report) == {"same": [Outcome.DELIVERED, Outcome.DUPLICATE]}
    assert len(sender.sent) == 1


def test_an_update_for_another_address_in_the_same_batch(harness: Harness) -> None:
    """GIVEN an event and its update, which names the customer otherwise THEN both reach Yotpo, and none is an error."""
    batch = [
        lane_message("m-1", id="same", customer={"email": "old@example.com"}, properties={"name": "x"}),
        lane_message("m-2", id="same", customer={"email": "new@example.com"}, properties={"name": "y"}),
    ]
    report = harness.handle(batch)
    assert harness.queue.letters == []
    assert harness.sent[0] == "x"
    assert "y" in harness.sent or report.failed == ["m-2"]


# ------------------------------------------------------------------------------------------------ bad records

BAD_BODIES = [
    "",
    "hello",
    "[]",
    "5",
    "null",
    "[" * 10_000 + "]" * 10_000,
    '{"value": NaN}',
    '{"id": "\\ud800"}',
    '{"id": 1, "id": 1}',
    json.dumps({"id": "bad", "source": "s", "type": "t", "customer": {}}),
    "x" * 200_000,
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_bad_record_never_touches_its_neighbours(harness: Harness, body: str) -> None:
    """It becomes a dead letter with its body and its reasons, and the batch goes on."""
    report = harness.handle([message("e0"), lane_message("bad", body=body), message("e1")])
    assert report.failed == []
    assert sorted(harness.sent) == ["e0", "e1"]
    (letter,) = harness.queue.letters
    assert letter.body == body
    assert letter.deduplication_id == "bad"
    assert ": " in letter.reason
    assert len(letter.reason.encode()) <= 1024
    assert [result.outcome for result in report.results if result.final and not result.status] == [Outcome.REJECTED]


def test_a_bad_record_whose_dead_letter_cannot_be_written(harness: Harness) -> None:
    """It is reported and comes back, with all that is left of its account: a bad record is never simply gone."""
    harness.queue.loses_letters = True
    harness.answers = {"e2": [make_reply(503)]}
    report = harness.handle([lane_message("bad", body="{"), message("e1"), message("e2")])
    assert report.failed == ["bad", "e2"]
    assert harness.sent == ["e1", "e2"]
    assert harness.queue.deferred == [(["e2", "bad"], BAD_RECORD_RETRY)]


class Letters(FakeLaneQueue):
    """Dead letters that take some seconds each; `began` tells when."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__()
        self.began: list[float] = []
        self._clock = clock
        self._seconds = seconds

    def give_up(self, letter: DeadLetter) -> None:
        self.began.append(self._clock.monotonic())
        self._clock.pass_by(self._seconds)
        super().give_up(letter)


def slow_letters(seconds: float, workers: OneByOneWorkers | None = None) -> tuple[Harness, Letters]:
    clock = FakeClock()
    letters = Letters(clock, seconds)
    return Harness("sender", clock=clock, queue=letters, workers=workers or OneByOneWorkers()), letters


def bad_records(count: int) -> list[LaneMessage]:
    return [lane_message(f"bad{number}", body="{") for number in range(count)]


@pytest.mark.parametrize("size", [1, 10])
def test_good_neighbours_go_before_dead_letters(size: int) -> None:
    """GIVEN bad records at the head, whose letters take long THEN the good ones behind them are sent first."""
    harness, letters = slow_letters(3.0, OneByOneWorkers(size))
    report = harness.handle([*bad_records(2), *(message(f"e{number}") for number in range(5))])
    assert report.failed == []
    assert len(letters.began) == 2
    assert max(harness.transport.times) < min(letters.began)


@pytest.mark.parametrize(("good", "most"), [(0, 1), (4, 5)])
def test_dead_letters_are_written_one_at_a_time_beside_the_attempts(good: int, most: int) -> None:
    """They take one worker at most."""
    workers = OneByOneWorkers()
    harness, letters = slow_letters(0.01, workers)
    report = harness.handle([*bad_records(6), *(message(f"e{number}") for number in range(good))])
    assert report.failed == []
    assert len(letters.letters) == 6
    assert workers.most_in_flight == most


@pytest.mark.parametrize("seconds", [1.0, 6.0, LETTER_SECONDS])
def test_no_dead_letter_is_begun_without_time_for_it(seconds: float) -> None:
    """GIVEN nine bad records with slow letters THEN those for which there is no time come back, and the batch ends in
    its own; nothing is lost, nothing twice.
    """
    harness, letters = slow_letters(seconds)
    batch, began = [*bad_records(9), message("e0")], harness.clock.monotonic()
    report = harness.handle(batch, seconds=30)
    assert harness.clock.monotonic() - began <= 30
    assert harness.sent == ["e0"]
    written = [letter.deduplication_id for letter in letters.letters]
    assert written == [f"bad{number}" for number in range(len(written))]
    assert report.failed == [f"bad{number}" for number in range(len(written), 9)]
    assert all(at - began <= 30 - LETTER_SECONDS for at in letters.began)
    assert harness.queue.deferred == ([(report.failed, BAD_RECORD_RETRY)] if report.failed else [])
    assert len(written) == min(9, 1 + int((30 - LETTER_SECONDS - RESERVE / 2 - 0.02) // seconds))


def test_no_dead_letter_is_begun_after_one_that_could_not_be_written() -> None:
    """The queue is away: the rest is not asked about it one by one."""
    harness, letters = slow_letters(1.0)
    letters.loses_letters = True
    report = harness.handle([*bad_records(9), message("e0")])
    assert len(letters.began) == 1
    assert harness.sent == ["e0"]
    assert report.failed == [f"bad{number}" for number in range(9)]
    assert harness.queue.deferred == [(report.failed, BAD_RECORD_RETRY)]
    assert [result.outcome for result in report.results if result.internal] == [Outcome.RETRY]


def test_a_dead_letter_that_does_not_end() -> None:
    """It is not waited for: the record comes back, and its letter is the same one then."""
    clock = FakeClock()
    harness = Harness(clock=clock, workers=StuckWorkers(clock))
    report = harness.handle(bad_records(2))
    assert report.failed == ["bad0", "bad1"]
    assert report.abandoned == 1


def test_a_record_for_nobody_whose_dead_letter_cannot_be_written(harness: Harness) -> None:
    """An account that is none of ours blocks its group no longer than another, and is more patient when worn."""
    harness.queue.loses_letters = True
    for receives, seconds in ((1, BAD_RECORD_RETRY), (700, 700)):
        assert harness.handle([message("e0", account="elsewhere", receives=receives)]).failed == ["e0"]
        assert harness.queue.deferred[-1] == (["e0"], seconds)


@pytest.mark.parametrize("account", ["elsewhere", "", "main/second", "a@b.io"])
def test_an_account_that_is_not_configured(harness: Harness, account: str) -> None:
    """A message for nobody here is a dead letter that says so, and names nobody."""
    report = harness.handle([message("e0", account=account), message("e1")])
    assert report.failed == []
    (letter,) = harness.queue.letters
    assert "is not configured here" in letter.reason
    assert letter.event_id == "e0"
    assert "a@b.io" not in f"{letter.reason}{letter.destination}"
    assert harness.sent == ["e1"]


def test_an_event_for_another_destination(harness: Harness) -> None:
    """A message on the wrong lane is not sent to whoever owns the lane."""
    report = harness.handle([message("e0", destinations=["sender/main"])])
    assert report.failed == []
    assert harness.queue.letters[0].reason == "destinations: does not name yotpo/main"
    assert harness.sent == []


def test_a_lane_takes_envelopes_too(harness: Harness) -> None:
    """Other systems may route EventBridge to a lane themselves."""
    inner = json.loads(message("e0").body)
    envelope = {
        "version": "0",
        "id": "1",
        "detail-type": "x",
        "source": "shop",
        "account": "123456789012",
        "time": "2026-11-22T10:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": inner,
    }
    assert harness.handle([lane_message("m-1", body=json.dumps(envelope))]).failed == []
    assert harness.sent == ["e0"]


# ------------------------------------------------------------------------------------------------ the report

SCENES: list[Callable[[Harness], None]] = [
    lambda harness: None,
    lambda harness: harness.answers.update({f"e{n}": [make_reply(503)] for n in range(10)}),
    lambda harness: harness.answers.update({f"e{n}": [make_reply(429, retry_after="9")] for n in range(10)}),
    lambda harness: harness.answers.update({f"e{n}": [make_reply(401)] * 2 for n in range(10)}),
    lambda harness: harness.answers.update({f"e{n}": [make_reply(422)] for n in range(10)}),
    lambda harness: setattr(harness.queue, "loses_letters", True),
    lambda harness: setattr(harness.ledger, "fails_on", {"claim"}),
    lambda harness: setattr(harness.ledger, "fails_on", {"settle"}),
]


@pytest.mark.parametrize("scene", SCENES, ids=range(len(SCENES)))
def test_every_message_is_accounted_for(sender: Harness, scene: Callable[[Harness], None]) -> None:
    """Whatever happens: ids of the batch only, each once, in its order; what is not reported has reached its end."""
    batch = [message(f"e{number}") for number in range(8)]
    batch.insert(3, lane_message("bad", body="{"))
    scene(sender)
    report = sender.handle(batch)
    ids = [each.message_id for each in batch]
    assert report.failed == [each for each in ids if each in set(report.failed)]
    ended = {result.event_id for result in report.results if result.final}
    lettered = {letter.deduplication_id for letter in sender.queue.letters}
    for each in ids:
        assert (each in report.failed) != (each in ended or each in lettered)


def test_a_deferral_that_sqs_refuses_is_asked_for_again(sender: Harness) -> None:
    """GIVEN messages that SQS will not hide at first WHEN it is asked again THEN they come back at the same moment."""
    sender.answers = {"e0": [make_reply(429, retry_after="300")]}
    asked: list[float] = []

    def refuse_twice(messages: Sequence[LaneMessage], seconds: float) -> set[str]:
        asked.append(sender.clock.monotonic() + seconds)
        return {each.message_id for each in messages} if len(asked) < 3 else set()

    sender.queue.defer = refuse_twice  # type: ignore[method-assign]
    report = sender.handle([message("e0"), message("e1")])
    assert (len(asked), report.not_hidden) == (3, 0)
    assert max(asked) - min(asked) <= 1.0


def test_a_deferral_is_not_asked_for_beyond_the_invocation(sender: Harness) -> None:
    """Where SQS refuses for good, the batch ends in time and says how many messages are not hidden."""
    sender.answers = {"e0": [make_reply(429, retry_after="300")]}
    sender.queue.refuses = {"e0", "e1"}
    began = sender.clock.monotonic()
    report = sender.handle([message("e0"), message("e1")], seconds=18.0)
    assert report.not_hidden == 2
    assert sender.clock.monotonic() - began < 18.0


def test_another_environment_heeds_what_the_last_one_was_asked_for(sender: Harness) -> None:
    """GIVEN an event answered 429 and not hidden WHEN another environment has it THEN it waits for the named moment."""
    sender.queue.refuses = {"e0"}
    sender.answers = {"e0": [make_reply(429, retry_after="300")]}
    sender.handle([message("e0")])
    other = Harness(provider="sender", clock=sender.clock, ledger=sender.ledger, records=sender.records)
    sender.clock.pass_by(100)
    report = other.handle([message("e0")])
    assert other.sent == []
    assert 100 <= report.deferred["sender/main"] <= 200
    sender.clock.pass_by(200)
    assert other.handle([message("e0")]).failed == []


def test_of_those_turned_away_the_one_that_was_so_least_goes_first(sender: Harness) -> None:
    """GIVEN two events answered 429, one of them oftener WHEN one may go THEN it is the other."""
    account = sender.account("sender/main")
    for name in ("often", "often", "once"):
        account.throttled(name, Failure(), sender.clock.now())
    assert account.order(["often", "once", "new"], str) == ["new", "once", "often"]


@pytest.mark.parametrize(("works", "least"), [(True, 1), (False, 500)])
def test_a_worn_message_slows_its_account_only_while_nothing_gets_through(
    sender: Harness, works: bool, least: int
) -> None:
    """Receives from an outage say nothing once others are delivered: the event ends as any that fails."""
    sender.answers = {"bad": [make_reply(500)] * 3} if works else {n: [make_reply(500)] * 3 for n in ("bad", "e1")}
    worn = [replace(message(name), receives=500) for name in ("bad", "e1")]
    report = sender.handle(worn)
    assert least <= report.deferred["sender/main"] < least + 60
