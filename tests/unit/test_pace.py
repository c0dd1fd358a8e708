"""The turns of one account: reserved in its record, which all environments share, and learned from by all."""

import re
import threading
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.account.breaker import HELD_LOOK_SECONDS
from relay.account.pace import LONGEST_LEAD, TRIES, WITHIN, Pace, Permit
from relay.account.schedule import LEAD
from relay.errors import UnavailableError
from relay.ports import AccountRecord
from relay.providers.limits import Budget, Limit, Quota, Terms
from tests.drawing import drawn
from tests.fakes import FakeAccounts, FakeClock

NAME = "provider/main"
SECOND, MINUTE = Limit(5, 1.0), Limit(60, 60.0)
BOTH = pytest.mark.parametrize("limit", [SECOND, MINUTE], ids=["a second", "a minute"])
SOON = 0.5
"""Seconds within which a turn comes where there is one."""
NOTHING = Budget()


class World:
    """A clock, the accounts' records, and environments that share them."""

    def __init__(self, *limits: Limit, groups: int = 1, backoff: float | None = None) -> None:
        self.clock = FakeClock()
        self.accounts = FakeAccounts()
        self.terms = Terms(limits or (SECOND,), backoff, groups)

    def pace(self) -> Pace:
        """Another environment's."""
        return Pace(NAME, self.terms, self.accounts, self.clock)

    @property
    def record(self) -> AccountRecord:
        return self.accounts.records[NAME]

    @property
    def turns(self) -> int:
        """How many are in the log of the shortest window."""
        return sum(count for _, count in self.record.windows[0].turns)

    def send(self, pace: Pace, at_most: float = 1_000.0) -> Permit:
        """Sends one request as soon as the pace allows."""
        permit = pace.permit()
        assert permit.wait(at_most)
        return permit


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pace(world: World) -> Pace:
    return world.pace()


def left(remaining: int) -> Budget:
    return Budget((Quota(remaining=remaining),))


# ------------------------------------------------------------------------------------------------ reservations


def test_a_batch_reserves_its_turns_with_one_write(world: World, pace: Pace) -> None:
    """All that it may begin; each request then leaves without another."""
    assert pace.reserve(5) == 5
    assert (world.accounts.writes, pace.spare, world.turns) == (1, 5, 5)
    for _ in range(5):
        world.send(pace, SOON)
    assert (world.accounts.writes, pace.spare) == (1, 0)


def test_a_new_account_is_sent_to_at_full_speed(world: World, pace: Pace) -> None:
    """Nobody waits for what may have been before its record."""
    began = world.clock.monotonic()
    for _ in range(SECOND.requests):
        world.send(pace).observe(NOTHING)
    assert world.clock.monotonic() - began < SOON


@pytest.mark.parametrize("limit", [Limit(100, 1.0), Limit(600, 60.0), *(SECOND, MINUTE)], ids=str)
def test_a_turn_is_usable_once_its_own_write_is_back(limit: Limit) -> None:
    """GIVEN a table that answers after 25 ms WHEN four turns are reserved THEN that one write was enough."""
    world = World(limit)
    pace = world.pace()
    world.send(pace).observe(NOTHING)
    world.accounts.meanwhile, before = lambda: world.clock.pass_by(0.025), world.accounts.writes
    assert pace.reserve(4) == 4
    for _ in range(4):
        world.send(pace)
    assert world.accounts.writes == before + 1


def batch(world: World, pace: Pace, write: float, claim: float) -> tuple[float, int]:
    """Reserves a turn, claims its event and sends it, a minute after the last one. Returns the seconds from its
    reservation until it left, and how many writes that took.
    """
    world.clock.pass_by(60.0)
    world.accounts.meanwhile = lambda: world.clock.pass_by(write)
    began, writes = world.clock.now(), world.accounts.writes
    pace.reserve(1)
    permit = pace.permit()
    world.clock.pass_by(claim)
    assert permit.wait(at_most=60.0)
    took = world.clock.now() - began, world.accounts.writes - writes
    permit.observe(NOTHING)
    return took


@pytest.mark.parametrize("limit", [Limit(100, 1.0), Limit(600, 60.0), *(SECOND, MINUTE)], ids=str)
@pytest.mark.parametrize("seconds", [0.001, 0.005, 0.025, 0.045])
def test_a_first_turn_is_as_far_ahead_as_its_claim_takes(limit: Limit, seconds: float) -> None:
    """GIVEN tables that take so long, for the account's record and for the claim WHEN batches come one by one THEN an
    event leaves as soon as it is claimed, and one write of the record is enough.
    """
    world = World(limit)
    pace = world.pace()
    batch(world, pace, seconds, seconds)
    took, writes = [batch(world, pace, seconds, seconds) for _ in range(20)][-1]
    assert took == pytest.approx(2 * seconds, abs=0.001)
    assert writes == 1


@pytest.mark.parametrize("limit", [Limit(100, 1.0), SECOND], ids=str)
def test_tables_that_become_slower_are_met_at_once(limit: Limit) -> None:
    """GIVEN a pace that knows fast tables WHEN they take longer THEN one event, at most, has to reserve again."""
    world = World(limit)
    pace = world.pace()
    for _ in range(20):
        batch(world, pace, 0.002, 0.002)
    took, writes = zip(*(batch(world, pace, 0.04, 0.04) for _ in range(5)), strict=True)
    assert writes[0] <= 2
    assert writes[1:] == (1,) * 4
    assert took[1:] == pytest.approx((0.08,) * 4, abs=0.001)


def test_what_takes_long_once_is_no_habit(world: World, pace: Pace) -> None:
    """GIVEN a pace that knows fast tables WHEN one event has its secret fetched again THEN those after it wait for the
    same no longer than a tenth of a second, each less than the one before.
    """
    for _ in range(20):
        batch(world, pace, 0.002, 0.002)
    batch(world, pace, 0.002, 0.2)
    after = [batch(world, pace, 0.002, 0.002)[0] for _ in range(20)]
    assert after[0] == pytest.approx(LONGEST_LEAD, abs=0.001)
    assert after == sorted(after, reverse=True)
    assert after[-1] == pytest.approx(0.004, abs=0.001)


def test_a_new_environment_learns_nothing_from_its_first_event(world: World, pace: Pace) -> None:
    """It fetches a secret and connects, once."""
    batch(world, pace, 0.002, 0.5)
    assert batch(world, pace, 0.002, 0.002)[0] == pytest.approx(LEAD, abs=0.001)


@pytest.mark.parametrize(("within", "turns"), [(0.5, 5), (None, 10), (5.0, 25), (-1.0, 0)])
def test_no_turn_is_reserved_later_than_asked(pace: Pace, within: float | None, turns: int) -> None:
    """By default one may be a window of a second away."""
    assert pace.reserve(100, within) == turns


def test_of_several_groups_each_waits_for_those_before_it() -> None:
    """GIVEN batches side by side THEN turns further away are worth to wait for."""
    alone, beside = World().pace(), World(groups=3).pace()
    assert beside.within() > alone.within() == WITHIN
    assert beside.reserve(100) > alone.reserve(100)


def test_without_a_reservation_a_request_takes_its_own_turn(world: World, pace: Pace) -> None:
    """A direct call, or a second try with fresh credentials."""
    assert pace.permit().wait(SOON)
    assert (world.accounts.writes, world.turns) == (1, 1)


def test_a_wait_that_is_too_long_takes_nothing() -> None:
    """A turn refused for its wait leaves the budget as it was."""
    world = World(MINUTE)
    pace = world.pace()
    for _ in range(60):
        world.send(pace)
    for _ in range(5):
        assert not pace.permit().wait(at_most=1.0)
    assert world.turns == 60
    assert 55 < pace.delay() <= 62
    world.clock.pass_by(pace.delay())
    assert pace.permit().wait(at_most=SOON)


def test_delay_counts_those_in_line(world: World, pace: Pace) -> None:
    """Who asks next is told of the wait behind all whose turn is already given."""
    pace.reserve(5)
    permits = [pace.permit() for _ in range(5)]
    assert pace.spare == 0
    assert pace.delay() >= 0.9
    permits[0].close()
    permits[0].close()
    assert pace.spare == 1
    assert pace.delay() < 0.1
    with permits[1]:
        pass
    assert pace.spare == 2
    for permit in permits[2:]:
        assert permit.wait(SOON)
    assert pace.spare == 2


def test_turns_that_are_not_used_are_given_back(world: World, pace: Pace) -> None:
    """At the end of the batch, for other environments; those used stay."""
    pace.reserve(5)
    for _ in range(2):
        world.send(pace).observe(NOTHING)
    other = world.pace()
    assert other.reserve(5, SOON) == 0
    pace.end_batch()
    assert (world.turns, pace.spare) == (2, 0)
    assert other.reserve(5, SOON) == 3


def test_what_was_used_of_the_limit_is_every_environment_s(world: World, pace: Pace) -> None:
    """Five sent here and five elsewhere are a fifth of what ten seconds allow; what was only reserved is nothing."""
    other = world.pace()
    for each in (pace, other):
        each.reserve(5)
        for _ in range(5):
            world.send(each).observe(NOTHING)
        each.end_batch()
    assert other.used == pytest.approx(0.2)
    other.reserve(5)
    assert other.used == pytest.approx(0.2)


def test_turns_that_cannot_be_given_back_are_only_lost(world: World, pace: Pace) -> None:
    """GIVEN a record that cannot be written at the end THEN the batch ends all the same, and the next write tells."""
    pace.reserve(5)
    world.accounts.fails = True
    pace.end_batch()
    assert world.turns == 5
    world.accounts.fails = False
    assert pace.reserve(1, SOON) == 1
    assert world.turns == 1


def test_a_record_that_cannot_be_written(world: World, pace: Pace) -> None:
    """Without a turn nothing leaves, and who asked is told why."""
    world.accounts.fails = True
    with pytest.raises(UnavailableError):
        pace.reserve(1)
    with pytest.raises(UnavailableError):
        pace.permit().wait(SOON)
    assert (pace.spare, world.accounts.records) == (0, {})


def test_a_turn_whose_time_is_past_is_not_used(world: World, pace: Pace) -> None:
    """GIVEN a turn that a slow claim let pass THEN the request has another one, and that one is given back."""
    pace.reserve(1)
    world.clock.pass_by(30)
    assert pace.permit().wait(SOON)
    world.clock.pass_by(0.1)
    pace.end_batch()
    assert pace.reserve(10, SOON) == 4


def test_side_by_side_threads_share_one_budget(world: World, pace: Pace) -> None:
    """However many threads ask at once, no more than the limit may go."""
    went: list[bool] = []
    barrier = threading.Barrier(20)
    pace.reserve(5)

    def work() -> None:
        with pace.permit() as permit:
            barrier.wait()
            went.append(permit.wait(at_most=0.2))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(went) == [False] * 15 + [True] * 5


# ------------------------------------------------------------------------------------------------ several environments


def most_within(times: list[float], seconds: float) -> int:
    times = sorted(times)
    return max((sum(at <= other < at + seconds for other in times) for at in times), default=0)


MOVES = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["reserve", "send", "send", "send", "answer", "refuse", "end", "pass"]),
        st.integers(1, 8),
        st.floats(0.0, 1.5),
    ),
    max_size=60,
)


@example(
    [(1, "send", 1, 1.0), (0, "refuse", 1, 0.0), (1, "send", 1, 1.0), (0, "reserve", 1, 0.0), (0, "send", 1, 0.0)],
    Limit(1, 1.0),
    1,
)
@given(MOVES, st.sampled_from([SECOND, Limit(1, 1.0), Limit(8, 2.0)]), st.integers(1, 2))
@drawn(200)
def test_two_environments_never_exceed_the_limit_together(
    moves: list[tuple[int, str, int, float]], limit: Limit, groups: int
) -> None:
    """GIVEN two environments that reserve, send, learn and give back in any order THEN no window holds more than the
    limit. With one group they take turns: a batch of one ends before the other's begins.
    """
    world = World(limit, groups=groups)
    paces, counted, out = (world.pace(), world.pace()), list[float](), list[tuple[Permit, float]]()
    owner = 0
    for which, move, count, seconds in moves:
        pace = paces[which]
        if groups == 1 and which != owner:
            # Else it need not have told yet how late it used a turn: up to a quarter of a window.
            paces[owner].end_batch()
            owner = which
        match move:
            case "reserve":
                pace.reserve(count)
            case "send":
                permit = pace.permit()
                if permit.wait(seconds):
                    counted.append(world.clock.monotonic())
                    out.append((permit, world.clock.monotonic()))
            case "answer" if out:
                out.pop(0)[0].observe(NOTHING)
            case "refuse" if out:
                # A provider does not count what it refuses.
                permit, at = out.pop(0)
                counted.remove(at)
                permit.throttle(Budget(retry_after=0.1))
            case "end":
                pace.end_batch()
            case _:
                world.clock.pass_by(seconds)
    assert most_within(counted, limit.window) <= limit.requests


def test_somebody_elses_write_comes_between(world: World, pace: Pace) -> None:
    """GIVEN another environment that takes turns at the same moment THEN ours are behind its, none is given out twice,
    and nothing of what either learned is lost.
    """
    other = world.pace()
    pace.reserve(1)
    world.send(pace).throttle(Budget(retry_after=0.2))
    world.clock.pass_by(2)
    world.send(pace).observe(left(4))

    def meanwhile() -> None:
        world.accounts.meanwhile = lambda: None
        other.reserve(3)

    world.accounts.meanwhile = meanwhile
    assert pace.reserve(5, SOON) <= 2
    assert world.turns <= 5
    assert world.record.throttled_at > 0
    assert world.record.calm >= 1


def test_a_record_that_others_always_change(world: World, pace: Pace) -> None:
    """GIVEN a write of somebody else's before each of ours THEN it is tried a few times, and then told as trouble."""
    world.accounts.meanwhile = lambda: world.accounts.change(NAME)
    with pytest.raises(UnavailableError):
        pace.reserve(1)
    assert world.accounts.writes == TRIES


def test_a_429_is_heard_of_in_other_environments_at_once(world: World, pace: Pace) -> None:
    """It is written without delay; another one reserves nothing before the moment."""
    other = world.pace()
    other.reserve(1)
    world.send(other).observe(NOTHING)
    writes = world.accounts.writes
    world.send(pace).throttle(Budget(retry_after=30))
    assert world.accounts.writes > writes
    assert other.reserve(5) == 0
    assert 29 <= other.delay() <= 31


def test_what_a_429_taught_is_not_lost_where_it_cannot_be_written(world: World, pace: Pace) -> None:
    """Here it holds at once, and others hear of it with the next write."""
    permit = world.send(pace)
    world.accounts.fails = True
    permit.throttle(Budget(retry_after=30))
    assert pace.delay() >= 29
    world.accounts.fails = False
    pace.flush()
    assert world.pace().reserve(1) == 0


def test_nothing_is_written_without_need(world: World, pace: Pace) -> None:
    """What a delivery teaches waits for the next reservation."""
    pace.reserve(2)
    for _ in range(2):
        world.send(pace).observe(left(3))
    pace.flush()
    pace.end_batch()
    assert world.accounts.writes == 1
    pace.reserve(1)
    assert world.record.calm == 2


# ------------------------------------------------------------------------------------------------ what replies teach


def test_a_429_reaches_those_already_waiting(world: World, pace: Pace) -> None:
    """GIVEN a request asleep for its turn WHEN a 429 comes in meanwhile THEN it does not go."""
    pace.reserve(6)
    first = [world.send(pace) for _ in range(5)]

    def throttled_meanwhile(seconds: float) -> None:
        world.clock.on_sleep = None
        world.clock.pass_by(seconds)
        first[0].throttle(Budget(retry_after=60))

    world.clock.on_sleep = throttled_meanwhile
    assert not pace.permit().wait(at_most=2.0)
    assert pace.delay() > 50


def test_a_reply_without_a_request_teaches_nothing(world: World, pace: Pace) -> None:
    """A permit that never had its turn has nothing to learn from."""
    permit = pace.permit()
    permit.close()
    permit.observe(left(0))
    permit.throttle(Budget(retry_after=60))
    assert pace.delay() == 0
    assert world.accounts.writes == 0


@BOTH
def test_a_429_that_names_a_moment(limit: Limit) -> None:
    """Nothing goes before, and then something does."""
    world = World(limit)
    pace = world.pace()
    world.send(pace).throttle(Budget(retry_after=7))
    assert 7 <= pace.delay() <= 8.1
    assert not pace.permit().wait(1.0)
    world.clock.pass_by(pace.delay())
    assert pace.permit().wait(1.5)


def test_a_429_without_a_word_waits_for_the_providers_backoff() -> None:
    """Doubled each time, until something gets through."""
    world, waits = World(backoff=3.0), []
    pace = world.pace()
    for _ in range(4):
        world.send(pace).throttle(NOTHING)
        waits.append(pace.delay())
        world.clock.pass_by(pace.delay())
    assert waits == pytest.approx([3, 6, 12, 24], abs=0.5)


def test_an_answer_that_was_quick_lets_the_next_window_begin(world: World, pace: Pace) -> None:
    """GIVEN requests of which it is not known how late they came WHEN the answers tell that they were not THEN the next
    ones go sooner.
    """
    for _ in range(40):
        world.send(pace).observe(NOTHING)
    times = []
    for _ in range(20):
        permit = world.send(pace)
        times.append(world.clock.monotonic())
        permit.observe(NOTHING)
    assert times[-1] - times[0] <= 19 / 5 * 1.03


def test_evenly_spaced_the_next_leaves_as_much_later_as_the_last_arrived(world: World, pace: Pace) -> None:
    """GIVEN a provider that takes no burst WHEN a request was longer on its way THEN the next one does not come too
    soon after it, and one that was not is followed as soon as the limit lets it.
    """
    world.send(pace).throttle(NOTHING, "event")
    for _ in range(20):
        permit = world.send(pace)
        world.clock.pass_by(0.02)
        permit.observe(NOTHING)
    gaps = []
    for took in (0.02, 0.026, 0.5):
        permit, sent_at = world.send(pace), world.clock.now()
        world.clock.pass_by(min(took, 0.1))
        permit.observe(NOTHING)
        permit = world.send(pace)
        gaps.append(world.clock.now() - sent_at)
        world.clock.pass_by(0.02)
        permit.observe(NOTHING)
    usual, later, much_later = gaps
    assert usual == pytest.approx(0.201, abs=0.002)
    assert later == pytest.approx(usual + 0.006, abs=0.002)
    assert much_later == pytest.approx(usual + 0.01, abs=0.002)


def test_turns_planned_before_a_429_are_planned_anew(world: World, pace: Pace) -> None:
    """GIVEN turns a second away WHEN a 429 says that evenly spaced it goes on sooner THEN it does."""
    assert pace.reserve(10) == 10
    first, second = world.send(pace), world.send(pace)
    for permit in (first, second):
        permit.throttle(NOTHING, "event")
    throttled_at = world.clock.now()
    for _ in range(3):
        world.send(pace)
    assert world.clock.now() - throttled_at < 0.4 + 3 * 0.21


@pytest.mark.parametrize(("odd", "bursts"), [(0, False), (1, True), (2, True), (3, False), (5, False)])
def test_events_known_to_be_odd_excuse_a_429_but_not_three(world: World, odd: int, bursts: bool) -> None:
    """GIVEN events that were turned away before WHEN one or two of those in flight together are answered 429
    THEN it may be for what they are; of three it is the pace that the provider dislikes, as of one that is not known.
    """
    pace, events = world.pace(), [f"event {number}" for number in range(odd or 1)]
    for event in events:
        if odd:
            pace.turn_away(event)
    pace.reserve(len(events))
    flight = [world.send(pace) for _ in events]
    for permit, event in zip(flight, events, strict=True):
        permit.throttle(Budget(retry_after=1), event)
    assert (world.record.burst == 0) is bursts


@pytest.mark.parametrize("groups", [1, 3])
def test_a_429_that_asks_for_less_than_the_spacing_costs_one_write(groups: int) -> None:
    """GIVEN requests that are spaced evenly, and a 429 that asks for less than lies between two of them
    THEN the next one leaves when it is due, with the first turn that is reserved for it.
    """
    world = World(Limit(12, 60.0), groups=groups)
    pace = world.pace()
    for seconds in (0.0, 2.0):
        world.send(pace).observe(NOTHING)
        world.clock.pass_by(seconds)
    writes: list[int] = []
    for _ in range(3):
        world.send(pace).throttle(Budget(retry_after=0.1))
        throttled_at = world.clock.monotonic()
        world.clock.pass_by(0.02)
        before = world.accounts.writes
        world.send(pace).observe(NOTHING)
        writes.append(world.accounts.writes - before)
    assert writes == [1, 1, 1]
    assert 5.0 < world.clock.monotonic() - throttled_at < 6.0


def test_a_lone_429_is_asked_about_within_a_minute() -> None:
    """A back-off that grew by itself is shortened; one that the provider named is not."""
    for named, least, most in ((None, 0.0, 61.0), (600.0, 599.0, 901.0)):
        world = World(backoff=1.0)
        pace = world.pace()
        for _ in range(12):
            world.send(pace).throttle(Budget(retry_after=named))
            pace.ask_within(60.0)
            assert least <= pace.delay() <= most
            world.clock.pass_by(pace.delay())


def test_replies_teach_of_each_window() -> None:
    """GIVEN a limit of a second and one of a minute THEN both are kept to."""
    world = World(Limit(3, 1.0), Limit(10, 60.0))
    pace, times = world.pace(), []
    for _ in range(25):
        permit = world.send(pace)
        times.append(world.clock.monotonic())
        permit.observe(Budget((Quota(10, None, None, 60.0), Quota(3, None, None, 1.0))))
    assert most_within(times, 1.0) <= 3
    assert most_within(times, 60.0) <= 10
    assert times[-1] - times[0] <= 2.2 * 60


# ------------------------------------------------------------------------------------------------ the breaker


def test_an_account_that_does_not_work_is_closed_to_all(world: World, pace: Pace) -> None:
    """As soon as one environment found out."""
    pace.trip(30.0, "failing")
    assert pace.open_for == pytest.approx(30)
    pace.flush()
    other = world.pace()
    assert other.reserve(3) == 0
    assert other.open_for == other.delay() == pytest.approx(30)
    with pytest.raises(AssertionError):
        world.send(other, 1.0)


def test_the_probe_is_elected_once(world: World) -> None:
    """GIVEN environments that all ask at once WHEN the account is no longer open THEN one has a turn, one only, and the
    others look again in a moment; when the probe succeeds all have theirs.
    """
    paces = [world.pace() for _ in range(5)]
    paces[0].trip(30.0, "failing")
    paces[0].flush()
    for each in paces[1:]:
        assert each.reserve(3) == 0
    world.clock.pass_by(31)
    assert [each.reserve(3) for each in paces] == [1, 0, 0, 0, 0]
    assert all(0 < each.delay() <= 10 for each in paces[1:])
    world.send(paces[0]).observe(NOTHING)
    paces[0].reset()
    paces[0].flush()
    assert not paces[0].is_half_open
    world.clock.pass_by(2)
    assert [each.reserve(1) for each in paces] == [1, 1, 1, 1, 1]


def probes(pace: Pace, *, suspect: bool = False, backfill: bool = False) -> bool:
    """Whether it may, and if so does without success: the account is open for 30 s more."""
    if not pace.reserve(1, suspect=suspect, backfill=backfill):
        return False
    pace.end_batch()
    pace.trip(30.0, "refused")
    pace.flush()
    return True


def test_of_history_and_live_events_those_turned_away_probe_last(world: World) -> None:
    """GIVEN an account of one group WHEN all that its live batch has was turned away before THEN it probes at once, but
    lets history that waits go first for a while; and such history lets live events go first.
    """
    live, history = world.pace(), world.pace()
    live.trip(30.0, "refused")
    live.flush()
    world.clock.pass_by(31)
    assert probes(live, suspect=True)
    assert not probes(history, backfill=True)
    world.clock.pass_by(31)
    assert not probes(live, suspect=True)
    assert 10 < live.delay() <= 12
    assert probes(history, backfill=True)
    assert not probes(history, backfill=True)
    world.clock.pass_by(43)
    assert probes(live, suspect=True)
    world.clock.pass_by(31)
    assert not probes(history, suspect=True, backfill=True)
    assert not probes(live, suspect=True)
    assert probes(live)
    world.clock.pass_by(43)
    assert probes(history, suspect=True, backfill=True)


def test_a_race_for_the_probe_has_one_winner(world: World) -> None:
    """GIVEN somebody who is elected between our look and our write THEN we are not."""
    first, second = world.pace(), world.pace()
    first.trip(1.0, "failing")
    first.flush()
    world.clock.pass_by(2)

    def meanwhile() -> None:
        world.accounts.meanwhile = lambda: None
        assert second.reserve(1) == 1

    world.accounts.meanwhile = meanwhile
    assert first.reserve(1) == 0


def test_a_probe_that_dies_is_followed_by_another(world: World) -> None:
    """An environment that never comes back does not keep the account closed."""
    first, second = world.pace(), world.pace()
    first.trip(1.0, "failing")
    first.flush()
    world.clock.pass_by(2)
    assert first.reserve(1) == 1
    assert second.reserve(1) == 0
    world.clock.pass_by(60)
    assert second.reserve(1) == 1


def test_an_account_that_works_needs_no_word(world: World, pace: Pace) -> None:
    """Each delivery says so: that is not written each time."""
    pace.reserve(1)
    for _ in range(3):
        pace.reset()
        pace.flush()
    assert world.accounts.writes == 1


def test_an_operator_holds_the_account(world: World, pace: Pace) -> None:
    """GIVEN `held` in the record THEN nobody has a turn, until it is gone; it is not overwritten."""
    pace.reserve(1)
    world.send(pace).observe(NOTHING)
    world.accounts.change(NAME, held="their maintenance")
    for each in (pace, world.pace()):
        assert each.reserve(3) == 0
        assert each.delay() == HELD_LOOK_SECONDS
    assert world.record.held == "their maintenance"
    world.clock.pass_by(3600)
    assert pace.reserve(3) == 0
    world.accounts.change(NAME, held="")
    assert pace.reserve(3) == 3


def test_a_hold_that_is_over_is_none(world: World, pace: Pace) -> None:
    """GIVEN a hold with an end THEN turns are given again from then on, though nobody has written anything."""
    pace.reserve(1)
    world.accounts.change(NAME, held="their maintenance", held_until=world.clock.now() + 90)
    assert pace.reserve(3) == 0
    world.clock.pass_by(90)
    assert (pace.trouble, pace.delay()) == ("", 0)
    assert pace.reserve(3) == 3


def test_who_holds_an_account_and_why_is_told_without_what_is_personal(world: World, pace: Pace) -> None:
    """An operator's words are for people, and go into logs: masked, and not without end."""
    world.accounts.change(NAME, held="ada@example.com asked, call +15551234567", held_by="Ann")
    pace.look()
    assert pace.trouble == "held by Ann: *** asked, call ***"
    world.accounts.change(NAME, held="x" * 5_000, held_by="", held_until=world.clock.now() + 3_600)
    pace.look()
    assert re.match(r"held until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: x+", pace.trouble)
    assert len(pace.trouble.encode()) <= 512
    world.accounts.change(NAME, held="")
    pace.look()
    assert pace.trouble == ""


def test_what_does_not_work_is_told(world: World, pace: Pace) -> None:
    """As long as it is not known to work again."""
    pace.trip(300, "unauthorized")
    assert pace.trouble == "unauthorized"
    world.clock.pass_by(301)
    assert pace.trouble == "unauthorized"
    pace.reset()
    assert pace.trouble == ""


def test_an_account_that_is_resumed_is_asked_at_once(world: World, pace: Pace) -> None:
    """GIVEN an account that is open for minutes WHEN an operator resumes it THEN who looks has a turn, one to probe."""
    pace.trip(300, "unauthorized")
    pace.flush()
    world.accounts.resume(NAME)
    assert pace.open_for == 300
    pace.look()
    assert (pace.open_for, pace.resumed) == (0, 1)
    assert pace.reserve(5) == 1


def test_what_was_found_before_a_resume_says_nothing_of_now(world: World, pace: Pace) -> None:
    """GIVEN a refusal that is not written yet WHEN an operator resumes the account meanwhile THEN it stays resumed."""
    pace.reserve(1)
    pace.trip(300, "unauthorized")
    world.accounts.resume(NAME)
    pace.flush()
    assert (world.record.state, world.record.resumed) == ("closed", 1)
    assert pace.open_for == 0
    pace.trip(300, "unauthorized")
    pace.flush()
    assert world.record.state == "open"


def test_a_look_that_cannot_be_had(world: World, pace: Pace) -> None:
    """Is said to be none."""
    world.accounts.fails = True
    with pytest.raises(UnavailableError):
        pace.look()


def test_limits_that_were_set_anew(world: World, pace: Pace) -> None:
    """GIVEN a stack that was deployed with another limit THEN its environments go by that."""
    pace.reserve(5)
    world.terms = replace(world.terms, limits=(Limit(2, 1.0),))
    world.clock.pass_by(2)
    assert world.pace().reserve(10, SOON) == 2


# ------------------------------------------------------------------------------------------------ whole runs


@pytest.mark.long
@pytest.mark.parametrize(
    "limit",
    [
        *(SECOND, MINUTE, Limit(1, 1.0), Limit(3, 0.5), Limit(50, 10.0)),
        Limit(100, 10.0),
    ],
)
def test_never_above_the_limit_and_hardly_below(limit: Limit) -> None:
    """Over a long run no window holds more than the limit, and the limit is used."""
    world, times = World(limit), []
    pace = world.pace()
    for _ in range(limit.requests * 20):
        permit = world.send(pace)
        times.append(world.clock.monotonic())
        world.clock.pass_by(0.001)
        permit.observe(left(max(0, limit.requests - sum(at > times[-1] - limit.window for at in times))))
    assert most_within(times, limit.window) <= limit.requests
    assert times[-1] < 20 * limit.window * 1.04 + limit.window


# ------------------------------------------------------------------------------------------------ history


def test_history_gets_fewer_turns_than_live_events(world: World) -> None:
    """And none that is far away, for live events get theirs behind it; nobody is told that it waits."""
    live, history = World(MINUTE), World(MINUTE)
    assert live.pace().reserve(60) == 60
    assert 6 <= history.pace().reserve(60, backfill=True) <= 12
    assert history.record.wanted_until == 0.0
    other = history.pace()
    assert other.reserve(60, backfill=True) == 0
    assert other.delay(backfill=True) > 1.0
    assert other.delay() == 0.0
    assert other.reserve(40) == 40


@pytest.mark.parametrize(("most", "more", "waits"), [(5, False, False), (5, True, True), (30, False, True)])
def test_history_hears_that_live_events_wait(world: World, most: int, more: bool, waits: bool) -> None:
    """GIVEN a live batch that got all its turns, or did not, or has more behind it THEN history of another environment
    gets none in the last two cases, for a while.
    """
    world.pace().reserve(most, more=more)
    world.clock.pass_by(2.5 if waits and not more else 1.5)
    assert (world.pace().reserve(5, backfill=True) == 0) == waits
    world.clock.pass_by(10.0)
    assert world.pace().reserve(5, backfill=True) > 0


@pytest.mark.parametrize("requests", [5, 40, 60, 350])
def test_full_batches_far_below_the_limit_do_not_stop_history(requests: int) -> None:
    """GIVEN one full batch of live events after the other WHEN the account could take many times as many THEN history
    gets turns between them; where such batches take all there is, none.
    """
    world = World(Limit(requests, 1.0))
    live, history, got = world.pace(), world.pace(), 0
    for _ in range(20):
        for _ in range(live.reserve(10, more=True)):
            world.send(live)
        world.clock.pass_by(0.2)
        got += history.reserve(5, backfill=True)
        history.end_batch()
    assert (got > 0) == (requests > 50)


def test_an_attempt_of_history_takes_its_own_turn_as_history(world: World) -> None:
    """GIVEN none reserved for it THEN it waits for what live events leave."""
    world.pace().reserve(5, more=True)
    world.clock.pass_by(1.2)
    assert not world.pace().permit(backfill=True).wait(at_most=0.3)
    assert world.pace().permit().wait(at_most=0.3)
