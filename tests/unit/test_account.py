"""Whose fault a failure is, and how long an account stays away."""

import random

import pytest

from relay.account import POISON_FAILURES, REFUSED_SECONDS, Account, Failure
from relay.pacing import Limit, Pace
from tests.fakes import FakeClock, middle

NEVER = Failure(0, 0.0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def account(clock: FakeClock) -> Account:
    return Account(Pace(Limit(5, 1.0), clock), clock, rng=middle)


def most_random() -> float:
    return 1.0


def least_random() -> float:
    return 0.0


def since(clock: FakeClock, failure: Failure) -> float:
    return clock.now() - failure.failed_at


# ------------------------------------------------------------------------------------------------ poison


def test_an_event_that_fails_while_others_succeed_is_poison(account: Account, clock: FakeClock) -> None:
    """GIVEN an event that fails and fails, and others that succeed in between
    WHEN it has failed five times
    THEN it is the event's fault.
    """
    failure = NEVER
    for round_ in range(POISON_FAILURES):
        assert not failure.is_poison, round_
        failure = account.failed("bad", failure, clock.now())
        clock.pass_by(2)
        account.succeeded(f"good-{round_}", clock.now())
        clock.pass_by(2)
    assert failure.strikes == POISON_FAILURES
    assert failure.is_poison


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_provider_that_fails_now_and_then_makes_no_poison(account: Account, clock: FakeClock, share: float) -> None:
    """GIVEN a provider that fails a share of all requests for hours, in whichever of them
    THEN five failures in a row prove nothing against an event.
    """
    rng, failures, poison = random.Random(1), dict.fromkeys(range(10), NEVER), 0
    for number in range(10, 3000):
        for event, before in list(failures.items()):
            clock.pass_by(0.2)
            if rng.random() >= share:
                account.succeeded(str(event), clock.now())
                del failures[event]
                continue
            failures[event] = account.failed(str(event), before, clock.now())
            if failures[event].is_poison:
                poison += 1
                account.forget(str(event))
                del failures[event]
        failures.setdefault(number, NEVER)
    assert poison <= 1


def test_when_everything_fails_it_is_nobodys_fault(account: Account, clock: FakeClock) -> None:
    """GIVEN a provider that is down
    WHEN event after event fails, for hours
    THEN none of them becomes poison.
    """
    failures = dict.fromkeys(("a", "b", "c"), NEVER)
    for _ in range(100):
        for name in failures:
            failures[name] = account.failed(name, failures[name], clock.now())
        clock.pass_by(account.back_off(1, succeeded=False, failing_for=since(clock, failures["a"])))
    assert not any(failure.is_poison for failure in failures.values())


def test_an_event_alone_with_a_dead_provider_is_not_poison(account: Account, clock: FakeClock) -> None:
    """One event, tried a hundred times with no other to compare, has nothing proven against it."""
    failure = NEVER
    for _ in range(100):
        failure = account.failed("only", failure, clock.now())
        clock.pass_by(account.back_off(failure.strikes, succeeded=False, failing_for=since(clock, failure)))
    assert not failure.is_poison


def test_a_success_from_before_the_outage_proves_nothing(account: Account, clock: FakeClock) -> None:
    """That others succeeded before an event first failed says nothing of why it fails."""
    account.succeeded("earlier", clock.now())
    clock.pass_by(1)
    failure = account.failed("late", NEVER, clock.now())
    clock.pass_by(1)
    assert account.failed("late", failure, clock.now()).strikes == 1


def test_the_first_failure_is_remembered(account: Account, clock: FakeClock) -> None:
    """When an event first failed is kept through all its failures."""
    first = account.failed("bad", NEVER, clock.now())
    clock.pass_by(60)
    assert account.failed("bad", first, clock.now()).failed_at == first.failed_at


# ------------------------------------------------------------------------------------------------ holding


def test_a_hold_grows_from_five_to_fifteen_minutes(account: Account, clock: FakeClock) -> None:
    """Refused credentials are tried again after 5, 10, 15, 15 … minutes."""
    holds = []
    refused_at = clock.now()
    for _ in range(5):
        holds.append(account.hold(refused_at, since=clock.now()))
        clock.pass_by(holds[-1])
    assert holds == [300, 600, 900, 900, 900]


def test_a_new_environment_holds_for_as_long_as_the_old_one_would(account: Account, clock: FakeClock) -> None:
    """The ledger remembers since when the credentials are refused."""
    assert account.hold(clock.now() - 3600, since=clock.now()) == 900


def test_a_hold_is_one_for_all_in_flight(account: Account, clock: FakeClock) -> None:
    """Ten requests refused at once are one hold, with what is left of it."""
    refused_at = clock.now()
    assert account.hold(refused_at, since=clock.now()) == 300
    clock.pass_by(100)
    assert account.hold(refused_at, since=clock.now()) == 200


def test_nothing_is_sent_while_held(account: Account, clock: FakeClock) -> None:
    """GIVEN a held account THEN there is no room; WHEN the hold ends THEN one request asks how things are."""
    account.hold(clock.now(), since=clock.now())
    assert account.room == 0
    clock.pass_by(300)
    assert account.room == 1


def test_a_success_ends_the_holding(account: Account, clock: FakeClock) -> None:
    """A rotated secret that works brings the account back at once, and the next hold is short again."""
    account.hold(clock.now(), since=clock.now())
    clock.pass_by(300)
    account.hold(clock.now(), since=clock.now())
    account.succeeded("a", clock.now())
    assert account.room > 1
    clock.pass_by(2)
    assert account.hold(clock.now(), since=clock.now()) == 300


def test_no_hold_while_others_get_through(account: Account, clock: FakeClock) -> None:
    """Credentials that work for another event, sent beside this one or after it, are not what is wrong."""
    refused_at = clock.now()
    account.succeeded("other", clock.now() - 0.1)
    assert account.hold(refused_at, since=refused_at) == 0
    assert account.held_for == 0
    clock.pass_by(1)
    assert account.hold(refused_at, since=clock.now()) == 300


def test_an_event_refused_while_others_get_through_is_poison_after_minutes(account: Account, clock: FakeClock) -> None:
    """GIVEN one event that is always refused, others always taken WHEN that has lasted for two minutes
    THEN it is the event's fault; not earlier, for a provider's nodes learn of a new token one by one.
    """
    failure, began = NEVER, clock.now()
    while not failure.is_poison:
        failure = account.refused("bad", failure, clock.now())
        clock.pass_by(2)
        account.succeeded("good", clock.now())
        clock.pass_by(2)
    assert failure.strikes == POISON_FAILURES
    assert 4 * REFUSED_SECONDS <= clock.now() - began < 6 * REFUSED_SECONDS


def test_refused_credentials_are_nobodys_fault_while_nothing_gets_through(account: Account, clock: FakeClock) -> None:
    """Refused for a day with all the others: not one strike more than the first."""
    failure = NEVER
    for _ in range(200):
        failure = account.refused("any", failure, clock.now())
        clock.pass_by(430)
    assert failure.strikes == 1


# ------------------------------------------------------------------------------------------------ room and back-off


def test_room_ends_when_whatever_is_tried_fails(account: Account, clock: FakeClock) -> None:
    """Three events in a row that fail are reason enough to stop the batch."""
    for name in ("a", "b"):
        account.failed(name, NEVER, clock.now())
        assert account.room > 0
    account.failed("c", NEVER, clock.now())
    assert account.room == 0


def test_one_event_that_fails_leaves_room(account: Account, clock: FakeClock) -> None:
    """The same event again and again does not stop the others."""
    failure = NEVER
    for _ in range(4):
        failure = account.failed("bad", failure, clock.now())
    assert account.room > 1


def test_after_an_outage_one_request_asks_first(account: Account, clock: FakeClock) -> None:
    """GIVEN a provider that was down WHEN the wait is over THEN one request probes; a success opens the account."""
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    clock.pass_by(account.back_off(1, succeeded=False, failing_for=0))
    account.begin_round()
    assert account.room == 1
    account.succeeded("a", clock.now())
    assert account.room > 1


def test_an_event_given_up_no_longer_counts(account: Account, clock: FakeClock) -> None:
    """A dead letter is not evidence against its provider."""
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    account.forget("c")
    assert account.room > 0
    account.forget("unheard of")


def test_a_success_that_started_before_a_failure_does_not_outweigh_it(account: Account, clock: FakeClock) -> None:
    """What was sent before the outage and answered during it does not say that the provider works now."""
    started = clock.now()
    clock.pass_by(5)
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    account.succeeded("slow", started)
    assert account.room == 0


def test_an_outage_backs_off_to_a_quarter_of_an_hour(clock: FakeClock) -> None:
    """GIVEN a provider that stays down THEN each round waits longer, up to 15 minutes."""
    account = Account(Pace(Limit(5, 1.0), clock), clock, rng=most_random)
    waits: list[float] = []
    for _ in range(12):
        for name in ("a", "b"):
            account.failed(name, NEVER, clock.now())
        waits.append(account.back_off(1, succeeded=False, failing_for=sum(waits)))
        clock.pass_by(waits[-1])
    assert waits == sorted(waits)
    assert waits[0] < 10
    assert waits[-1] == 900


def test_the_back_off_is_jittered_in_full(clock: FakeClock) -> None:
    """The same round waits anything from a moment to its whole; never nothing."""
    least = Account(Pace(Limit(5, 1.0), clock), clock, rng=least_random)
    most = Account(Pace(Limit(5, 1.0), clock), clock, rng=most_random)
    for account in (least, most):
        for name in ("a", "b"):
            account.failed(name, NEVER, clock.now())
        wait = account.back_off(1, succeeded=False, failing_for=300)
        if account is least:
            assert 0 < wait <= 2
        else:
            assert wait > 100


def test_a_failure_among_successes_waits_seconds(account: Account, clock: FakeClock) -> None:
    """An event's own fault costs its account seconds, a little more each time."""
    account.failed("bad", NEVER, clock.now())
    waits = [account.back_off(strikes, succeeded=True, failing_for=60) for strikes in (1, 2, 3, 4)]
    assert waits == sorted(waits)
    assert all(1 <= wait <= 15 for wait in waits)


def test_an_event_known_to_fail_alone_waits_seconds(account: Account, clock: FakeClock) -> None:
    """An event with strikes that comes back in a batch of its own does not slow its account down to minutes."""
    account.succeeded("good", clock.now() - 30)
    account.failed("bad", Failure(3, clock.now() - 60), clock.now())
    assert account.back_off(3, succeeded=False, failing_for=60) <= 15


def test_a_lone_failure_asks_again_within_a_minute(clock: FakeClock) -> None:
    """One event that fails with nothing to compare may be poison or an outage: neither may stop a lane for long."""
    account = Account(Pace(Limit(5, 1.0), clock), clock, rng=most_random)
    account.failed("only", NEVER, clock.now())
    assert account.back_off(1, succeeded=False, failing_for=600) <= 60


def test_a_lone_failure_of_hours_is_not_asked_every_minute(clock: FakeClock) -> None:
    """A thousand receives would end it without a reason: three days must cost far fewer."""
    account = Account(Pace(Limit(5, 1.0), clock), clock, rng=middle)
    began, tries = clock.now(), 0
    while clock.now() - began < 72 * 3600:
        account.failed("only", NEVER, clock.now())
        clock.pass_by(account.back_off(1, succeeded=False, failing_for=clock.now() - began))
        tries += 1
    assert 50 < tries < 900


def test_while_probing_any_event_may_be_the_one_that_asks(clock: FakeClock) -> None:
    """GIVEN a provider that was down THEN the probe may begin anywhere, or poison at the head would answer for all."""
    account = Account(Pace(Limit(5, 1.0), clock), clock, rng=middle)
    assert account.order(["w", "x", "y", "z"], str) == ["w", "x", "y", "z"]
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    clock.pass_by(account.back_off(1, succeeded=False, failing_for=0))
    assert account.order(["w", "x", "y", "z"], str) == ["y", "z", "w", "x"]
    assert account.order(["a", "w", "b", "x"], str) == ["x", "w", "b", "a"]
    assert account.order([], str) == []


# ------------------------------------------------------------------------------------------------ our own services


def test_trouble_of_our_own_is_remembered_until_something_ends(account: Account, clock: FakeClock) -> None:
    """Since when a service of ours fails: that, not the last failure, is what the back-off grows with."""
    began = account.troubled()
    clock.pass_by(600)
    assert account.troubled() == began
    account.untroubled()
    assert account.troubled() == clock.now()
