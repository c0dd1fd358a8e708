"""Whose fault a failure is, and how long an account stays away."""

import random
from collections.abc import Callable, Sized

import pytest

from relay.account.account import (
    ALONE,
    IDLE,
    LONGEST_BACKOFF,
    MOST_EVENTS_REMEMBERED,
    PASSES_AFTER,
    POISON_FAILURES,
    SHORTEST_BACKOFF,
    SHORTEST_HOLD,
    TRIED_SECONDS,
    UNAUTHORIZED_SECONDS,
    WITNESS_SECONDS,
    Account,
)
from relay.account.pace import THROTTLED, Pace
from relay.outcome import Outcome, Result
from relay.ports import Failure
from relay.providers.limits import Limit, Terms
from tests.fakes import FakeAccounts, FakeClock, middle

NEVER = Failure(0, 0.0)


def made(
    clock: FakeClock, rng: Callable[[], float] = middle, *, groups: int = 1, concurrency: int | None = None
) -> Account:
    """An account of five requests a second."""
    terms = Terms((Limit(5, 1.0),), groups=groups, concurrency=concurrency)
    return Account(Pace("provider/main", terms, FakeAccounts(), clock), clock, rng=rng)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def account(clock: FakeClock) -> Account:
    return made(clock)


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


KINDS = pytest.mark.parametrize("kind", ["failed", "unauthorized", "throttled"])
"""The three ways in which an event does not get through; each is a method of the account, with the same arguments."""


def missed(account: Account, kind: str, event_id: str, before: Failure, started_at: float) -> Failure:
    """The event did not get through: one of KINDS."""
    return getattr(account, kind)(event_id, before, started_at)  # type: ignore[no-any-return]


@pytest.mark.long
@KINDS
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_provider_that_fails_now_and_then_makes_no_poison(
    account: Account, clock: FakeClock, kind: str, share: float, seed: int
) -> None:
    """GIVEN a provider that fails, refuses or throttles a share of all requests for hours, in whichever of them
    THEN five in a row prove nothing: of a thousand good events none is called poison.
    """
    rng, names = random.Random(seed), iter(range(1_000))
    waiting = {f"e{number}": NEVER for number, _ in zip(names, range(10), strict=False)}
    poison = []
    while waiting:
        for event, before in list(waiting.items()):
            clock.pass_by(UNAUTHORIZED_SECONDS / 7 if kind == "unauthorized" else 0.2)
            if rng.random() >= share:
                account.succeeded(event, clock.now())
            else:
                waiting[event] = missed(account, kind, event, before, clock.now())
                if not waiting[event].is_poison:
                    continue
                poison.append(event)
                account.forget(event)
            del waiting[event]
            waiting |= {f"e{number}": NEVER for number, _ in zip(names, range(1), strict=False)}
    assert poison == []


@KINDS
@pytest.mark.parametrize("seed", range(3))
def test_one_bad_event_among_good_ones_goes_after_five(
    account: Account, clock: FakeClock, kind: str, seed: int
) -> None:
    """GIVEN an event that never gets through, good ones by chance before and after each try
    THEN the fifth failure that others outlived ends it, neither an earlier one nor a later one; of 429s, which are an
    account's by nature, some more while few others have shown that they get through.
    """
    rng, failure = random.Random(seed), NEVER
    for number in range(100):
        clock.pass_by(UNAUTHORIZED_SECONDS)
        failure = missed(account, kind, "bad", failure, clock.now())
        if failure.is_poison:
            break
        for good in range(rng.randrange(4)):
            clock.pass_by(0.2)
            account.succeeded(f"e{number}-{good}", clock.now())
    if kind == "throttled":
        assert POISON_FAILURES < failure.strikes <= POISON_FAILURES + 3
    else:
        assert failure.strikes == POISON_FAILURES
        assert failure.blame == pytest.approx(POISON_FAILURES)


@KINDS
def test_bad_events_do_not_excuse_each_other_for_ever(account: Account, clock: FakeClock, kind: str) -> None:
    """GIVEN nine events that never get through among good ones THEN their many failures do not look like chance:
    each bears witness once.
    """
    failures, strikes = {f"bad-{number}": NEVER for number in range(9)}, []
    for round_ in range(40):
        for name, before in list(failures.items()):
            clock.pass_by(1)
            failures[name] = missed(account, kind, name, before, clock.now())
            if failures[name].is_poison:
                strikes.append(failures.pop(name).strikes)
                account.forget(name)
        for good in range(10):
            clock.pass_by(UNAUTHORIZED_SECONDS / 10)
            account.succeeded(f"e{round_}-{good}", clock.now())
    assert failures == {}
    assert max(strikes) <= 2 * POISON_FAILURES


def test_what_failed_and_got_through_after_all_excuses_others(account: Account, clock: FakeClock) -> None:
    """A strike weighs less where good events had to be tried several times, too."""
    for number in range(10):
        failure = NEVER
        for _ in range(3):
            clock.pass_by(1)
            failure = account.failed(f"good-{number}", failure, clock.now())
        clock.pass_by(1)
        account.succeeded(f"good-{number}", clock.now())
    clock.pass_by(1)
    first = account.failed("bad", NEVER, clock.now())
    clock.pass_by(1)
    account.succeeded("other", clock.now())
    failure = account.failed("bad", first, clock.now())
    # Three of four tries failed, and nine of ten may, by so few witnesses.
    assert failure.strikes == 2
    assert 0 < failure.blame - first.blame < 0.1


def test_a_bad_hour_is_forgotten_after_half_an_hour(account: Account, clock: FakeClock) -> None:
    """How many attempts failed in an outage says nothing of one later: a strike then weighs a whole one."""
    for number in range(20):
        account.failed(f"e{number}", NEVER, clock.now())
        clock.pass_by(1)
        account.succeeded(f"e{number}", clock.now())
    before = Failure(1, 1.0, clock.now() - 5, clock.now() - 5)
    assert account.failed("during", before, clock.now()).blame < 2
    clock.pass_by(WITNESS_SECONDS + 1)
    assert account.failed("after", before, clock.now()).blame == 2


def test_misses_of_a_bad_hour_are_as_old_as_it_when_the_event_gets_through(account: Account, clock: FakeClock) -> None:
    """An event that waited through an outage and is delivered an hour later does not make that hour look bad."""
    failure = NEVER
    for _ in range(20):
        failure = account.failed("patient", failure, clock.now())
        clock.pass_by(1)
    clock.pass_by(WITNESS_SECONDS + 1)
    account.succeeded("patient", clock.now())
    before = Failure(1, 1.0, clock.now() - 5, clock.now() - 5)
    assert account.failed("odd", before, clock.now()).blame == 2


def test_strikes_of_a_bad_hour_and_of_a_good_one_add_up(account: Account, clock: FakeClock) -> None:
    """What a strike weighed is kept: five were not enough, and the next whole ones are added to them."""
    before = Failure(5, 2.5, clock.now() - 3600, clock.now() - 3600)
    account.succeeded("good", clock.now() - 1)
    failures = []
    for number in range(3):
        before = account.failed("bad", before, clock.now())
        failures.append(before)
        clock.pass_by(2)
        account.succeeded(f"good-{number}", clock.now())
        clock.pass_by(2)
    assert [failure.blame for failure in failures] == [3.5, 4.5, 5.5]
    assert [failure.is_poison for failure in failures] == [False, False, True]


def test_an_event_answered_429_while_others_get_through_is_poison(account: Account, clock: FakeClock) -> None:
    """A 429 while others, tried later, pass is a strike; while nothing passes it says nothing of the event."""
    failure = NEVER
    for _ in range(50):
        failure = account.throttled("bad", failure, clock.now())
        clock.pass_by(60)
    assert (failure.strikes, failure.is_poison) == (1, False)
    for number in range(20):
        account.succeeded(f"good-{number}", clock.now())
    for _ in range(POISON_FAILURES - 1):
        assert not failure.is_poison
        account.succeeded("good", clock.now())
        clock.pass_by(2)
        failure = account.throttled("bad", failure, clock.now())
        clock.pass_by(2)
    assert (failure.strikes, failure.is_poison) == (POISON_FAILURES, True)


def test_by_two_that_passed_a_new_environment_condemns_nobody_for_a_429(clock: FakeClock) -> None:
    """GIVEN a limit that others use up, and environments that live for seconds: in each of them one event passes, and
    another, the same each time, is answered 429
    THEN nine times are not enough: five were, and good events became dead letters (seed 88100066).
    """
    failure = NEVER
    for number in range(9):
        account = made(clock)
        account.succeeded(f"e{number}", clock.now())
        clock.pass_by(0.1)
        failure = account.throttled("unlucky", failure, clock.now())
        clock.pass_by(2)
        assert not failure.is_poison
    assert failure.strikes == 9


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


def test_one_event_alone_that_is_refused_holds_for_half_a_minute_first(account: Account, clock: FakeClock) -> None:
    """It may be what that event asks for: the hold grows by a quarter of how long it lasts, up to 15 minutes."""
    refused_at, lasted, holds = clock.now(), 0.0, []
    while lasted < 3600:
        holds.append(account.hold(refused_at, since=clock.now(), event_id="only"))
        assert holds[-1] == pytest.approx(max(SHORTEST_HOLD, lasted / 4))
        lasted += holds[-1]
        clock.pass_by(holds[-1])
    assert holds[:5] == [30, 30, 30, 30, 30]
    clock.pass_by(86_400)
    assert account.hold(refused_at, since=clock.now(), event_id="only") == 900


@pytest.mark.parametrize("second", ["other", None], ids=["another event", "no event's own"])
@pytest.mark.parametrize("after", [0, 10, 31])
def test_a_second_refusal_makes_the_hold_five_minutes(
    account: Account, clock: FakeClock, second: str | None, after: float
) -> None:
    """Two events refused, or credentials that are unknown: it is the account's trouble, even while it is held."""
    refused_at = clock.now()
    assert account.hold(refused_at, since=clock.now(), event_id="only") == SHORTEST_HOLD
    clock.pass_by(after)
    assert account.hold(refused_at, since=clock.now(), event_id=second) == 300
    clock.pass_by(5)
    assert account.hold(refused_at, since=clock.now(), event_id="only") == 295


def test_a_lone_refusal_beside_the_first_is_told_what_is_left(account: Account, clock: FakeClock) -> None:
    """The same event refused again while it is held does not hold anew."""
    account.hold(clock.now(), since=clock.now(), event_id="only")
    clock.pass_by(10)
    assert account.hold(clock.now() - 10, since=clock.now(), event_id="only") == 20


def test_a_success_makes_the_next_refusal_a_lone_one_again(account: Account, clock: FakeClock) -> None:
    """Who was refused before others got through is no second one."""
    account.hold(clock.now(), since=clock.now(), event_id="first")
    clock.pass_by(30)
    account.succeeded("good", clock.now())
    clock.pass_by(30)
    assert account.hold(clock.now(), since=clock.now(), event_id="second") == SHORTEST_HOLD


def test_nothing_is_sent_while_held(account: Account, clock: FakeClock) -> None:
    """GIVEN a held account THEN nothing may be in flight; WHEN the hold ends THEN one request asks how things are."""
    account.hold(clock.now(), since=clock.now())
    assert account.max_in_flight == 0
    clock.pass_by(300)
    assert account.max_in_flight == 1


def test_a_success_ends_the_holding(account: Account, clock: FakeClock) -> None:
    """A rotated secret that works brings the account back at once, and the next hold is short again."""
    account.hold(clock.now(), since=clock.now())
    clock.pass_by(300)
    account.hold(clock.now(), since=clock.now())
    account.succeeded("a", clock.now())
    assert account.max_in_flight > 1
    clock.pass_by(2)
    assert account.hold(clock.now(), since=clock.now()) == 300


def test_no_hold_while_others_get_through(account: Account, clock: FakeClock) -> None:
    """Credentials that work for another event, sent beside this one or after it, are not what is wrong."""
    refused_at = clock.now()
    account.succeeded("other", clock.now() - 0.1)
    assert account.hold(refused_at, since=refused_at) == 0
    assert account.pace.open_for == 0
    clock.pass_by(1)
    assert account.hold(refused_at, since=clock.now()) == 300


def test_an_event_refused_while_others_get_through_is_poison_after_minutes(account: Account, clock: FakeClock) -> None:
    """GIVEN one event that is always refused, others always taken WHEN that has lasted for two minutes
    THEN it is the event's fault; not earlier, for a provider's nodes learn of a new token one by one.
    """
    failure, began = NEVER, clock.now()
    while not failure.is_poison:
        failure = account.unauthorized("bad", failure, clock.now())
        clock.pass_by(2)
        account.succeeded("good", clock.now())
        clock.pass_by(2)
    assert failure.strikes == POISON_FAILURES
    assert 4 * UNAUTHORIZED_SECONDS <= clock.now() - began < 6 * UNAUTHORIZED_SECONDS


def test_an_outage_that_has_just_begun_is_not_the_fault_of_the_one_event_that_meets_it(
    account: Account, clock: FakeClock
) -> None:
    """GIVEN an event that failed once, and others that got through since WHEN it alone fails every five seconds for
    half a minute THEN each of its failures weighs half: nothing got through in between.
    """
    failure = account.failed("one", NEVER, clock.now())
    clock.pass_by(5)
    account.succeeded("other", clock.now())
    for _ in range(6):
        clock.pass_by(5)
        failure = account.failed("one", failure, clock.now())
    assert (failure.strikes, failure.blame) == (7, 1.0 + 1.0 + 5 * ALONE)
    assert not failure.is_poison


def test_a_refused_event_is_passed_by_what_the_ledger_knows_of_it(account: Account, clock: FakeClock) -> None:
    """GIVEN an environment that has not seen the event before WHEN it is refused a third time THEN later events of its
    customer need not wait for it.
    """
    account.unauthorized("second", NEVER, clock.now(), attempts=2)
    account.unauthorized("third", NEVER, clock.now(), attempts=3)
    assert not account.stands_aside("second")
    assert account.stands_aside("third")


def test_refused_credentials_are_nobodys_fault_while_nothing_gets_through(account: Account, clock: FakeClock) -> None:
    """Refused for a day with all the others: not one strike more than the first."""
    failure = NEVER
    for _ in range(200):
        failure = account.unauthorized("any", failure, clock.now())
        clock.pass_by(430)
    assert failure.strikes == 1


# ------------------------------------------------------------------------------------------- in flight, and back-off


def test_room_ends_when_whatever_is_tried_fails(account: Account, clock: FakeClock) -> None:
    """Three events in a row that fail are reason enough to stop the batch."""
    for name in ("a", "b"):
        account.failed(name, NEVER, clock.now())
        assert account.max_in_flight > 0
    account.failed("c", NEVER, clock.now())
    assert account.max_in_flight == 0


def test_one_event_that_fails_leaves_room(account: Account, clock: FakeClock) -> None:
    """The same event again and again does not stop the others."""
    failure = NEVER
    for _ in range(4):
        failure = account.failed("bad", failure, clock.now())
    assert account.max_in_flight > 1


def test_after_an_outage_one_request_asks_first(account: Account, clock: FakeClock) -> None:
    """GIVEN a provider that was down WHEN the wait is over THEN one request probes; a success opens the account."""
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    clock.pass_by(account.back_off(1, succeeded=False, failing_for=0))
    account.begin_batch()
    assert account.max_in_flight == 1
    account.succeeded("a", clock.now())
    assert account.max_in_flight > 1


def test_an_event_given_up_no_longer_counts(account: Account, clock: FakeClock) -> None:
    """A dead letter is not evidence against its provider."""
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    account.forget("c")
    assert account.max_in_flight > 0
    account.forget("unheard of")


def test_a_success_that_started_before_a_failure_does_not_outweigh_it(account: Account, clock: FakeClock) -> None:
    """What was sent before the outage and answered during it does not say that the provider works now."""
    started = clock.now()
    clock.pass_by(5)
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    account.succeeded("slow", started)
    assert account.max_in_flight == 0


def test_an_outage_backs_off_to_a_quarter_of_an_hour(clock: FakeClock) -> None:
    """GIVEN a provider that stays down THEN each round waits longer, up to 15 minutes."""
    account = made(clock, most_random)
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
    least = made(clock, least_random)
    most = made(clock, most_random)
    for account in (least, most):
        for name in ("a", "b"):
            account.failed(name, NEVER, clock.now())
        wait = account.back_off(1, succeeded=False, failing_for=300)
        if account is least:
            assert 0 < wait <= 2
        else:
            assert wait > 100


def test_the_seconds_after_a_429_are_no_rest_for_what_fails_otherwise(clock: FakeClock) -> None:
    """GIVEN an event that always fails and one that is always answered 429 WHEN they alone are tried for an hour
    THEN the account backs off as for an outage, although the 429s alone ask for seconds.
    """
    account = made(clock, most_random)
    waits, first = [], clock.now()
    for _ in range(4):
        account.begin_batch()
        account.failed("bad", NEVER, clock.now())
        account.note(Result(Outcome.RETRY, "HTTP 500", event_id="bad", status=500, failed_at=first))
        account.pace.trip(2.0, THROTTLED)
        account.note(Result(Outcome.THROTTLED, "HTTP 429", event_id="capped", status=429))
        waits.append(account.end_batch())
        clock.pass_by(1_200)
    assert waits == sorted(waits)
    assert waits[-1] >= 60


def test_what_failed_twice_is_asked_after_the_others_everywhere(account: Account, clock: FakeClock) -> None:
    """GIVEN an event that fails WHEN it fails again THEN every environment knows, until the provider takes it."""
    failure = account.failed("bad", NEVER, clock.now())
    assert list(account.pace.turned_away) == []
    account.failed("bad", failure, clock.now())
    assert list(account.pace.turned_away) == ["bad"]
    account.succeeded("bad", clock.now())
    assert list(account.pace.turned_away) == []


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
    account = made(clock, most_random)
    account.failed("only", NEVER, clock.now())
    assert account.back_off(1, succeeded=False, failing_for=600) <= 60


def test_a_lone_failure_of_hours_is_not_asked_every_minute(clock: FakeClock) -> None:
    """A thousand receives would end it without a reason: three days must cost far fewer."""
    account = made(clock)
    began, tries = clock.now(), 0
    while clock.now() - began < 72 * 3600:
        account.failed("only", NEVER, clock.now())
        clock.pass_by(account.back_off(1, succeeded=False, failing_for=clock.now() - began))
        tries += 1
    assert 50 < tries < 900


def test_while_probing_any_event_may_be_the_one_that_asks(clock: FakeClock) -> None:
    """GIVEN a provider that was down THEN the probe may begin anywhere, or poison at the head would answer for all."""
    account = made(clock)
    assert account.order(["w", "x", "y", "z"], str) == ["w", "x", "y", "z"]
    for name in ("a", "b", "c"):
        account.failed(name, NEVER, clock.now())
    clock.pass_by(account.back_off(1, succeeded=False, failing_for=0))
    assert account.order(["w", "x", "y", "z"], str) == ["y", "z", "w", "x"]
    assert account.order(["a", "w", "b", "x"], str) == ["x", "w", "b", "a"]
    assert account.order([], str) == []


@pytest.mark.parametrize(("rng", "times"), [(least_random, 0.5), (middle, 1.0), (most_random, 1.5)])
@pytest.mark.parametrize("way", ["failed", "parked"])
def test_an_account_that_hangs_leaves_its_place_to_others(
    clock: FakeClock, rng: Callable[[], float], times: float, way: str
) -> None:
    """GIVEN failures that took ten seconds and two THEN it is left alone four times as long as the longer, with jitter;
    the next batch begins anew.
    """
    account = made(clock, rng)
    account.begin_batch()
    for seconds in (10, 2):
        if way == "failed":
            account.failed("slow", NEVER, clock.now() - seconds)
        else:
            account.parked("slow", clock.now() - seconds)
    assert account.back_off(1, succeeded=False, failing_for=0) == pytest.approx(times * IDLE * 10)
    account.begin_batch()
    account.failed("quick", NEVER, clock.now())
    assert account.back_off(1, succeeded=False, failing_for=0) <= 2 * SHORTEST_BACKOFF


def test_a_hanging_event_among_others_costs_seconds(account: Account, clock: FakeClock) -> None:
    """Where others got through, the account is not what hangs."""
    account.failed("slow", NEVER, clock.now() - 10)
    assert account.back_off(1, succeeded=True, failing_for=0) <= 2


def test_an_event_with_many_strikes_waits_no_longer_than_one_with_five(account: Account) -> None:
    """An event that chance excuses is tried again every ten seconds, however often it has been tried."""
    assert account.back_off(25, succeeded=True, failing_for=600) == 2 * POISON_FAILURES


def test_a_parked_event_counts_against_its_provider_only(account: Account, clock: FakeClock) -> None:
    """Nothing answered: that ends a batch, though none of the events is tried again; one that began before a success
    does not.
    """
    account.succeeded("good", clock.now())
    for name in ("a", "b", "c"):
        account.parked(name, clock.now() - 1)
    assert account.max_in_flight > 0
    clock.pass_by(1)
    for name in ("d", "e", "f"):
        account.parked(name, clock.now())
    assert account.max_in_flight == 0


@pytest.mark.parametrize(("concurrency", "groups", "most"), [(4, 1, 4), (5, 2, 2), (1, 2, 1)])
def test_no_more_in_flight_than_the_provider_takes(clock: FakeClock, concurrency: int, groups: int, most: int) -> None:
    """Each of several groups has its part of it, and one at least."""
    assert made(clock, groups=groups, concurrency=concurrency).max_in_flight == most


# ------------------------------------------------------------------------------------------------ who may pass


def test_an_event_is_stuck_after_three_429s_with_no_success_since(account: Account, clock: FakeClock) -> None:
    """Until anything gets through; then it counts anew."""
    for _ in range(PASSES_AFTER):
        assert not account.is_stuck("a")
        account.throttled("a", NEVER, clock.now())
    assert account.is_stuck("a")
    assert not account.is_stuck("b")
    account.succeeded("b", clock.now())
    assert not account.is_stuck("a")


@pytest.mark.parametrize("end", ["succeeded", "forgotten", "long ago"])
def test_an_event_that_was_stuck_until_another_got_through_is_stuck_again(
    account: Account, clock: FakeClock, end: str
) -> None:
    """GIVEN an event that was stuck until another got through WHEN it comes back THEN the next may pass it at once,
    until it gets through, is given up, or hours have passed; another version of it is not held to that.
    """
    for _ in range(PASSES_AFTER):
        account.throttled("a", NEVER, clock.now())
    account.throttled("unlucky", NEVER, clock.now())
    account.succeeded("b", clock.now())
    assert account.is_stuck("a", came_before=True)
    assert not account.is_stuck("a")
    assert not account.is_stuck("unlucky", came_before=True)
    match end:
        case "succeeded":
            account.succeeded("a", clock.now())
        case "forgotten":
            account.forget("a")
        case _:
            clock.pass_by(TRIED_SECONDS)
    assert not account.is_stuck("a", came_before=True)


# ------------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize("way", ["failed", "unauthorized", "throttled", "parked", "held"])
def test_an_account_remembers_so_many_events_and_no_more(account: Account, clock: FakeClock, way: str) -> None:
    """However many do not get through, whatever is kept of them stays bounded, the newest of them."""
    for number in range(3 * MOST_EVENTS_REMEMBERED):
        clock.pass_by(0.01)
        match way:
            case "parked":
                account.parked(f"e{number}", clock.now())
            case "held":
                account.hold(clock.now(), clock.now(), f"e{number}")
            case _:
                missed(account, way, f"e{number}", NEVER, clock.now())
    kept = {name: value for name, value in vars(account).items() if isinstance(value, Sized)}
    assert {name: len(value) for name, value in kept.items() if len(value) > MOST_EVENTS_REMEMBERED} == {}
    for value in kept.values():
        if isinstance(value, dict) and value:
            assert list(value) == [
                f"e{number}" for number in range(2 * MOST_EVENTS_REMEMBERED, 3 * MOST_EVENTS_REMEMBERED)
            ]


def test_an_event_that_goes_on_failing_is_not_forgotten_for_new_ones(account: Account, clock: FakeClock) -> None:
    """What was remembered longest ago goes first, not what was seen first."""
    for round_ in range(PASSES_AFTER):
        account.throttled("old", NEVER, clock.now())
        account.failed("old", NEVER, clock.now())
        for number in range(MOST_EVENTS_REMEMBERED - 1):
            account.throttled(f"e{round_}-{number}", NEVER, clock.now())
            account.failed(f"e{round_}-{number}", NEVER, clock.now())
    assert account.stands_aside("old")
    assert account.is_stuck("old")


# ------------------------------------------------------------------------------------------------ our own services


def test_trouble_of_our_own_is_remembered_until_something_ends(account: Account, clock: FakeClock) -> None:
    """Since when a service of ours fails: that, not the last failure, is what the back-off grows with."""
    began = account.dependency_failed()
    clock.pass_by(600)
    assert account.dependency_failed() == began
    account.dependency_recovered()
    assert account.dependency_failed() == clock.now()


@pytest.mark.parametrize(("groups", "own_fault", "most"), [(1, True, 1), (4, True, 4), (4, False, 1)])
def test_groups_together_ask_our_tables_no_oftener_than_one(
    clock: FakeClock, groups: int, own_fault: bool, most: int
) -> None:
    """GIVEN a service of our own that just failed WHEN a group backs off THEN for as many times as long as there are
    groups; where it is the provider, the account's record tells all of them.
    """
    account = made(clock, most_random, groups=groups)
    if own_fault:
        account.dependency_failed()
    assert account.back_off(1, succeeded=False, failing_for=0.0) == most * 2 * SHORTEST_BACKOFF


# ------------------------------------------------------------------------------------------------ whose turn it is


def test_what_failed_is_asked_last_also_when_all_is_well(account: Account, clock: FakeClock) -> None:
    """A few bad events at the head do not answer for all behind them, batch after batch."""
    for name in ("bad-1", "bad-2"):
        account.failed(name, NEVER, clock.now())
    clock.pass_by(1)
    account.succeeded("good", clock.now())
    assert account.order(["bad-1", "bad-2", "e1", "e2"], str) == ["e1", "e2", "bad-1", "bad-2"]


def test_who_had_no_turn_at_the_end_stands_in_its_place_again(account: Account, clock: FakeClock) -> None:
    """GIVEN an event once answered 429 that newer ones pass WHEN a batch had no turn for it THEN it goes as it came."""
    account.throttled("once", NEVER, clock.now())
    for number in range(3):
        account.begin_batch()
        account.succeeded(f"e{number}", clock.now())
        assert account.order(["once", "next"], str) == (["once", "next"] if number else ["next", "once"])
        account.leave(["once"])
    account.begin_batch()
    account.throttled("once", NEVER, clock.now())
    account.leave(["once"])
    assert account.order(["once", "next"], str) == ["next", "once"]


def test_failures_of_long_ago_let_nobody_pass(account: Account, clock: FakeClock) -> None:
    """An id that failed three times, and was delivered elsewhere since, holds its customer's order again."""
    failure = NEVER
    for _ in range(PASSES_AFTER):
        failure = account.failed("cart", failure, clock.now())
    assert account.stands_aside("cart")
    clock.pass_by(TRIED_SECONDS + 1)
    assert not account.stands_aside("cart")


def test_two_bad_events_that_hold_the_account_in_turn_both_let_others_pass(account: Account, clock: FakeClock) -> None:
    """Each is tried once in half an hour, for a quarter of an hour is the longest hold; a third of their customer would
    wait behind whichever was forgotten.
    """
    failures = {"a": NEVER, "b": NEVER}
    for _ in range(PASSES_AFTER):
        for name, before in failures.items():
            failures[name] = account.unauthorized(name, before, clock.now())
            account.hold(failures[name].failed_at, failures[name].failed_at, name)
            clock.pass_by(LONGEST_BACKOFF + 3)
    assert account.stands_aside("a")
    assert account.stands_aside("b")


def test_one_hanging_request_is_enough_while_we_probe(account: Account, clock: FakeClock) -> None:
    """A second one would hold the account's place for as long again; quick failures are tried twice."""
    account.pace.trip(1.0, "failing")
    clock.pass_by(1)
    for took, most in ((0.1, 1), (13.0, 0)):
        account.begin_batch()
        began = clock.now()
        clock.pass_by(took)
        account.failed(f"took-{took}", NEVER, began)
        assert account.max_in_flight == most
        account.back_off(1, succeeded=False, failing_for=took)
        clock.pass_by(1000)
