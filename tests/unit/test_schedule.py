"""When an account may be sent to: a plain policy over its record. What it does is asserted, not its figures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sandbox.limiters import SlidingLog
from relay.account import schedule
from relay.account.schedule import (
    LEFT,
    LONGEST_DEFERRAL,
    MOST_KEPT,
    answered,
    free_at,
    give_back,
    move,
    next_backfill_turn,
    next_turn,
    pause,
    shrink,
    take,
    take_for_backfill,
    used,
    want,
)
from relay.ports import AccountRecord, Window
from relay.providers.limits import Budget, Limit, Quota
from tests.drawing import drawn
from tests.factories import NOW
from tests.steps import steps

SECOND, MINUTE = Limit(5, 1.0), Limit(60, 60.0)
BOTH = pytest.mark.parametrize("limit", [SECOND, MINUTE], ids=["a second", "a minute"])
BURST, STEADY = Limit(350, 1.0), Limit(3500, 60.0)


def fit(record: AccountRecord, *limits: Limit) -> AccountRecord:
    return schedule.fit(record, limits, NOW)


def new(*limits: Limit) -> AccountRecord:
    return fit(AccountRecord("provider/main"), *limits)


SAYS_NOTHING = Budget()


def throttled(
    record: AccountRecord, budget: Budget, turn: float, now: float, backoff: float | None = None
) -> AccountRecord:
    """The record after a 429, which is the first of those in flight if the turn is after the last 429."""
    paused = pause(record, budget, turn, now, backoff)
    return shrink(paused, budget, now) if turn > record.throttled_at else paused


def left(remaining: int | None, **more: float) -> Budget:
    return Budget((Quota(remaining=remaining, **more),))  # type: ignore[arg-type]


@dataclass
class Client:
    """Sends one request after the other, each as soon as there is a turn, and learns from its answer."""

    record: AccountRecord
    now: float = NOW
    sent: list[float] = field(default_factory=list)

    def send(self, budget: Budget | Callable[[], Budget] = SAYS_NOTHING, takes: float = 0.02) -> float:
        """The moment at which it went."""
        turn = self._leave(takes)
        said = budget if isinstance(budget, Budget) else budget()
        self.record = answered(self.record, said, turn, self.now)
        return turn

    def refused(self, budget: Budget = SAYS_NOTHING, backoff: float | None = None) -> float:
        """The same with a 429; how long nothing goes after it."""
        turn = self._leave(0.02)
        self.record = throttled(give_back(self.record, [turn]), budget, turn, self.now, backoff)
        return self.record.quiet_until - self.now

    def _leave(self, takes: float) -> float:
        (turn,), self.record = take(self.record, self.now, 1, math.inf)
        self.sent.append(turn)
        self.now = turn + takes
        return turn

    def rate(self, count: int = 100) -> float:
        """Requests a second, over so many that nothing is learned from."""
        turns, _ = take(self.record, max(self.now, self.record.quiet_until) + self.idle, count + 1, math.inf)
        return count / (turns[-1] - turns[0])

    @property
    def idle(self) -> float:
        """Until nothing counts any more of what was sent."""
        return 2 * max(window.seconds for window in self.record.windows)

    def at_once(self) -> int:
        """How many go together after a while in which none did."""
        turns, _ = take(self.record, max(self.now, self.record.quiet_until) + self.idle, 1_000, math.inf)
        return sum(turn == turns[0] for turn in turns)


def most_within(times: Sequence[float], seconds: float) -> int:
    """How many of them there are in the fullest window of so many seconds."""
    times, most, first = sorted(times), 0, 0
    for place, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, place - first + 1)
    return most


# ------------------------------------------------------------------------------------------------ the limit


@pytest.mark.parametrize("limit", [SECOND, MINUTE, Limit(1, 1.0), Limit(3, 0.5), Limit(64, 1.0)])
def test_a_new_account_has_its_whole_limit_at_once(limit: Limit) -> None:
    """And the next window of it as soon as the first has passed."""
    turns, _ = take(new(limit), NOW, 3 * limit.requests, math.inf)
    first = turns[0]
    assert NOW <= first < NOW + 0.1
    for number, turn in enumerate(turns):
        window = number // limit.requests
        assert window * limit.window <= turn - first <= window * limit.window * 1.04


@pytest.mark.parametrize("within", [0.0, 0.5, 1.5, 10.0])
def test_no_turn_later_than_asked(within: float) -> None:
    """What does not fit is not taken, and leaves no trace."""
    turns, record = take(new(SECOND), NOW, 1_000, NOW + within)
    assert all(turn <= NOW + within for turn in turns)
    assert len(turns) == (0 if within == 0.0 else 5 * (int(within) or 1) + 5 * (1.1 < within < 2))
    assert sum(count for _, count in record.windows[0].turns) == len(turns)


def test_turns_come_after_those_given_out() -> None:
    """Two batches take turns one after the other: the second's are behind the first's."""
    first, record = take(new(SECOND), NOW, 3, math.inf)
    second, _ = take(record, NOW, 4, math.inf)
    assert sorted([*first, *second]) == [*first, *second]
    assert most_within([*first, *second], 1.0) == 5


def test_idle_time_brings_no_more_than_one_window() -> None:
    """An account that was quiet for an hour may still send only its limit at once."""
    client = Client(new(SECOND))
    for _ in range(20):
        client.send()
    assert client.at_once() == 5
    client.now += 3600
    assert client.at_once() == 5


LIMITS = st.lists(st.sampled_from([0.5, 1.0, 7.5, 60.0]), min_size=1, max_size=3, unique=True).map(sorted)
REPLIES = st.sampled_from(
    [
        None,
        Budget(),
        left(0),
        left(3),
        left(1_000_000),
        left(2, reset_after=0.5),
        Budget((Quota(remaining=0, window=60.0), Quota(remaining=5, window=1.0))),
    ]
)


@dataclass
class Step:
    pause: float
    most: int
    within: float
    unused: list[bool]
    reply: Budget | None
    is_429: bool
    lateness: list[float]
    """By what part of what is tolerated its requests are late, in turn."""


WALK = st.lists(
    st.builds(
        Step,
        pause=st.floats(0.0, 3.0),
        most=st.integers(1, 30),
        within=st.floats(0.0, 70.0),
        unused=st.lists(st.booleans(), max_size=30),
        reply=REPLIES,
        is_429=st.booleans(),
        lateness=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=5),
    ),
    max_size=30,
)


def arrivals(record: AccountRecord, walk: Sequence[Step]) -> list[float]:
    """When the requests of a walk arrive, each as late as it may. Turns are taken, and some given back unused."""
    now, arrived = NOW, list[float]()
    latest = min(schedule.late(window) for window in record.windows)
    for step in walk:
        now += step.pause
        turns, record = take(record, now, step.most, now + step.within)
        assert turns == sorted(turns)
        assert all(turn <= now + step.within for turn in turns)
        is_unused = [*step.unused, *(len(turns) * [False])]
        record = give_back(record, [turn for turn, is_back in zip(turns, is_unused, strict=False) if is_back])
        used = [turn for turn, is_back in zip(turns, is_unused, strict=False) if not is_back]
        arrived += [turn + latest * late for turn, late in zip(used, cycle(step.lateness), strict=False)]
        if not used or step.reply is None:
            continue
        now = max(now, used[-1] + latest)
        if step.is_429:
            record = throttled(record, step.reply, used[-1], now, 0.1)
        else:
            record = answered(record, step.reply, used[-1], now)
    return arrived


def limits(windows: Sequence[float], requests: Sequence[int]) -> tuple[Limit, ...]:
    """Of so many requests in so long windows, the longer ones with more."""
    return tuple(Limit(sum(requests[: place + 1]), window) for place, window in enumerate(windows))


@given(LIMITS, st.lists(st.integers(1, 20), min_size=3, max_size=3), WALK)
@drawn(300)
def test_never_more_than_the_limit_in_any_window(windows: list[float], requests: list[int], walk: list[Step]) -> None:
    """GIVEN turns asked for at any time, used somewhat late or given back, and whatever the replies say
    THEN no window of any of the limits holds more requests than it allows.
    """
    documented = limits(windows, requests)
    arrived = arrivals(new(*documented), walk)
    for limit in documented:
        assert most_within(arrived, limit.window) <= limit.requests


@pytest.mark.long
@pytest.mark.parametrize("limit", [Limit(65, 1.0), Limit(200, 1.0), BURST, STEADY, Limit(6_000, 60.0)])
@pytest.mark.parametrize("at_a_time", [1, 10, 64, 1_000])
def test_a_large_limit_is_kept_to_as_well(limit: Limit, at_a_time: int) -> None:
    """However many turns are taken at a time: what stands for several is as late as its latest."""
    record, turns = new(limit), list[float]()
    while len(turns) < 3 * limit.requests:
        taken, record = take(record, turns[-1] if turns else NOW, at_a_time, math.inf, lead=0.0)
        turns += taken[: 3 * limit.requests - len(turns)]
    assert most_within(turns, limit.window) <= limit.requests
    assert turns[-1] - turns[0] <= 3.5 * limit.window


@given(st.integers(65, 2_000), WALK)
@drawn(30)
def test_never_more_than_a_large_limit_in_any_window(requests: int, walk: list[Step]) -> None:
    """The same as of a small one."""
    arrived = arrivals(new(Limit(requests, 7.5)), [replace(step, most=50 * step.most) for step in walk])
    assert most_within(arrived, 7.5) <= requests


@pytest.mark.parametrize("limit", [Limit(65, 1.0), BURST, STEADY, Limit(100_000, 60.0)])
def test_a_log_is_short_however_large_the_limit(limit: Limit) -> None:
    """It is written with every reservation."""
    record, now = new(limit), NOW
    for _ in range(60):
        turns, record = take(record, now, 100, now + 10)
        now = max(turns, default=now) + 0.01
        record = give_back(record, turns[::7])
        assert all(len(window.turns) <= MOST_KEPT <= 128 for window in record.windows)


@pytest.mark.long
def test_a_turn_costs_the_same_whatever_the_limit() -> None:
    """Planning, giving back and learning are no more work for thousands a minute than for a hundred."""

    def work(limit: Limit) -> int:
        _, record = take(new(limit), NOW, limit.requests, math.inf)

        def plan() -> None:
            turns, taken = take(record, NOW + 100, 10, math.inf)
            for turn in turns[:5]:
                free_at(taken, turn)
                answered(taken, left(3), turn, turn + 0.1)
            give_back(taken, turns)

        return steps(plan)

    small = work(Limit(128, 60.0))
    assert all(work(Limit(requests, 60.0)) <= 2 * small for requests in (256, 4_096, 16_384))


# ------------------------------------------------------------------------------------------------ several windows


def test_several_windows_hold_at_once() -> None:
    """GIVEN three a second and ten a minute THEN each is kept to, and neither is given up for the other."""
    turns, record = take(new(Limit(3, 1.0), Limit(10, 60.0)), NOW, 20, math.inf)
    assert most_within(turns, 1.0) == 3
    assert most_within(turns, 60.0) == 10
    assert turns[9] - turns[0] < 4
    assert 60 <= turns[10] - turns[0] < 63
    assert [len(window.turns) for window in record.windows] == [20, 20]


@pytest.mark.parametrize(
    ("quota", "told"),
    [
        (Quota(limit=3500, window=60.0), (350, 3500)),
        (Quota(limit=7000, window=60.0), (350, 7000)),
        (Quota(limit=700, window=1.0), (700, 3500)),
        (Quota(limit=3500), (350, 3500)),
        (Quota(limit=350), (350, 3500)),
        (Quota(limit=900), (350, 3500)),
        (Quota(limit=900, window=30.0), (350, 3500)),
        (Quota(limit=0, window=1.0), (350, 3500)),
        (Quota(), (350, 3500)),
    ],
)
def test_a_header_is_of_the_window_it_speaks_of(quota: Quota, told: tuple[int, int]) -> None:
    """GIVEN two windows THEN a limit of 3,500 a minute never becomes one of a second, and what fits none is left."""
    client = Client(new(BURST, STEADY))
    for _ in range(3):
        client.send(Budget((quota,)))
    assert tuple(window.limit for window in client.record.windows) == told


def test_what_is_left_is_of_the_window_it_speaks_of() -> None:
    """GIVEN a minute that others have used up THEN it is heeded, and the second's limit stays what it was; and the
    other way round.
    """
    minute = Budget((Quota(3500, 10, 30.0, 60.0), Quota(350, 349, 1.0, 1.0)))
    client = Client(new(BURST, STEADY))
    client.send(minute)
    turns, _ = take(client.record, client.now, 100, client.now + 20)
    assert len(turns) <= 12
    second = Budget((Quota(3500, 3499, 60.0, 60.0), Quota(350, 10, 1.0, 1.0)))
    client = Client(new(BURST, STEADY))
    client.send(second)
    turns, _ = take(client.record, client.now, 3_000, client.now + 0.9)
    assert len(turns) <= 12
    turns, _ = take(client.record, client.now + 5, 300, client.now + 11)
    assert len(turns) == 300


@pytest.mark.parametrize("told", [1, 30, 120])
def test_another_limit_is_taken_over(told: int) -> None:
    """The provider's own figure for this account replaces the documented one, where there is only one window."""
    client = Client(new(MINUTE))
    client.send(Budget((Quota(limit=told),)))
    assert client.record.windows[0].limit == told
    sent, _ = take(client.record, client.now, 5 * told, math.inf)
    assert most_within([*client.sent, *sent], 60.0) == told


def test_a_limit_of_nothing_is_not_believed() -> None:
    """A limit of zero would stop an account for ever."""
    client = Client(new(SECOND))
    client.send(Budget((Quota(limit=0),)))
    assert client.rate() >= 4.5


def test_limits_that_are_set_anew() -> None:
    """GIVEN a record of other limits THEN what has not changed stays, what has is new but for the turns it saw, and
    what is gone is gone.
    """
    client = Client(new(SECOND, MINUTE))
    for _ in range(3):
        client.send()
        client.refused(Budget())
    second, minute = client.record.windows
    again = fit(client.record, SECOND, MINUTE)
    assert again.windows == (second, minute)
    changed = fit(client.record, Limit(5, 1.0), Limit(90, 60.0), Limit(1_000, 3_600.0))
    assert changed.windows[0] == second
    assert (changed.windows[1].limit, changed.windows[1].share, changed.windows[1].turns) == (90, 90, minute.turns)
    assert changed.windows[2].turns == ()
    assert fit(changed, MINUTE).windows[0].seconds == 60.0
    assert replace(changed, windows=()) == replace(client.record, windows=())


# ------------------------------------------------------------------------------------------------ others


def test_what_others_took_is_not_ours_to_use() -> None:
    """GIVEN a reply that says that one of five is left, where one was ours THEN others get theirs in the next windows,
    too; without further word the limit is ours again.
    """
    client = Client(new(SECOND))
    client.send(left(1))
    turns, _ = take(client.record, client.now, 20, math.inf)
    began = client.sent[0]
    assert most_within([began, *(turn for turn in turns if turn < began + 2)], 1.0) <= 3
    assert most_within([turn for turn in turns if turn > began + 3], 1.0) >= 2
    assert client.rate() >= 4.5


@pytest.mark.parametrize("says", [True, False])
def test_others_who_stay_have_their_part(says: bool) -> None:
    """GIVEN another client that takes two of five a second THEN we get the rest and are hardly ever refused, whether
    the replies say what is left or not.
    """
    client, provider, theirs, refused = Client(new(SECOND)), SlidingLog(5, 1.0), NOW, 0
    for _ in range(1_000):
        (turn, *_), _ = take(client.record, client.now, 1, math.inf)
        while theirs <= turn:
            provider.admit(theirs)
            theirs += 0.5
        if provider.admit(turn):
            client.send(left(provider.remaining(turn) if says else None))
        else:
            refused += 1
            client.refused(Budget(retry_after=provider.reset_after(turn)))
    assert (1_000 - refused) / (client.sent[-1] - client.sent[0]) >= 0.8 * 3
    assert refused <= 0.05 * 1_000


@BOTH
def test_all_of_it_used_by_us_is_nobody_else(limit: Limit) -> None:
    """GIVEN a limit that we use up ourselves, as the replies say THEN the whole of it goes on being used."""
    client, provider = Client(new(limit)), SlidingLog(limit.requests, limit.window)

    def said() -> Budget:
        assert provider.admit(client.sent[-1])
        return left(provider.remaining(client.sent[-1]), reset_after=provider.reset_after(client.sent[-1]))

    for _ in range(6 * limit.requests):
        client.send(said)
    assert client.sent[-1] - client.sent[0] <= 5.5 * limit.window


def test_what_is_told_late_is_not_taken_for_others() -> None:
    """GIVEN an environment that waits for long to tell what it learned, while others send WHEN it does THEN the log
    does not reach back as far any more, and what is missing from it was nobody else's.
    """
    client = Client(new(MINUTE))
    for number in range(40):
        client.send(left(59 - number))
    sent_at, told_at, said = client.sent[-1], client.now, left(20)
    client.now += 69.0
    client.send()
    told = answered(client.record, said, sent_at, told_at)
    assert told.windows[0].others == 0
    assert told.burst == client.record.burst


def test_turns_given_out_ahead_are_nobody_elses() -> None:
    """GIVEN a limit so high that an entry of the log stands for many turns WHEN each reply says truly what is left THEN
    nobody else is seen, and all that is allowed may still go at once.
    """
    record, provider = new(BURST, STEADY), SlidingLog(STEADY.requests, STEADY.window)
    turns, record = take(record, NOW, 700, NOW + 5)
    for turn in turns:
        assert provider.admit(turn)
        said = Quota(STEADY.requests, provider.remaining(turn), 60.0)
        record = answered(record, Budget((said,)), turn, turn + 0.1)
    assert [window.others for window in record.windows] == [0, 0]
    assert record.burst == 0


@BOTH
def test_nothing_left_for_ever_is_not_believed_for_ever(limit: Limit) -> None:
    """GIVEN replies that say "none left" each time, and never a 429 THEN after some the limit is used in full."""
    client = Client(new(limit))
    for _ in range(30 + 12 * limit.requests):
        client.send(left(0))
    last = client.sent[-10 * limit.requests :]
    assert last[-1] - last[0] <= 11.5 * limit.window


# ------------------------------------------------------------------------------------------------ 429


@BOTH
@pytest.mark.parametrize(
    "budget",
    [
        Budget(retry_after=7),
        Budget((Quota(reset_after=7),)),
        Budget((Quota(reset_after=9),), retry_after=7),
    ],
    ids=range(3),
)
def test_a_429_that_names_a_moment(limit: Limit, budget: Budget) -> None:
    """Nothing goes before the moment the provider names, and then something does."""
    client = Client(new(limit))
    for _ in range(3):
        client.send()
    assert client.refused(budget) == pytest.approx(7)
    assert client.record.asked_until == client.record.quiet_until
    (turn,), _ = take(client.record, client.now, 1, math.inf)
    assert 7 <= turn - client.now <= 8.1


def test_a_429_without_a_word() -> None:
    """The back-off doubles up to a quarter of an hour, and a success ends it."""
    client = Client(new(SECOND))
    waits = [client.refused(backoff=1.0) for _ in range(14)]
    assert waits[:5] == pytest.approx([1, 2, 4, 8, 16])
    assert waits[-1] == 900
    assert client.record.asked_until == 0
    client.send()
    assert client.refused(backoff=1.0) == pytest.approx(1)


@BOTH
def test_a_429_of_a_provider_without_a_backoff(limit: Limit) -> None:
    """About as long as two requests take, then longer and longer."""
    client = Client(new(limit))
    waits = [client.refused() for _ in range(5)]
    assert waits[0] == pytest.approx(2 * limit.window / limit.requests)
    assert all(later >= 1.9 * earlier for earlier, later in pairwise(waits))


def test_a_moment_named_again_and_again_is_not_believed_for_ever() -> None:
    """GIVEN a 429 at the very moment that the last one named, each time THEN the waits grow all the same."""
    client = Client(new(SECOND))
    waits = [client.refused(Budget(retry_after=1), backoff=1.0) for _ in range(14)]
    assert waits[:4] == pytest.approx([1] * 4)
    assert waits[-1] > 60


def test_a_429_is_at_most_a_deferral() -> None:
    """SQS cannot hide a message for longer than twelve hours."""
    assert Client(new(SECOND)).refused(Budget(retry_after=86_400)) == LONGEST_DEFERRAL


def test_a_shorter_429_does_not_shorten_a_longer_one() -> None:
    """Replies come in any order; the later moment stands."""
    turns, record = take(new(SECOND), NOW, 2, math.inf)
    record = throttled(record, Budget(retry_after=60), turns[0], NOW + 0.1)
    record = throttled(record, Budget(retry_after=1), turns[1], NOW + 0.2)
    assert record.quiet_until == record.asked_until == NOW + 60.1


def test_after_a_429_no_burst() -> None:
    """GIVEN a provider that turns a burst away WHEN the moment comes THEN requests go one by one, evenly, at hardly
    less than the limit.
    """
    client = Client(new(SECOND))
    assert client.at_once() == 5
    client.refused(Budget(retry_after=1))
    assert client.at_once() == 1
    turns, _ = take(client.record, client.record.quiet_until, 50, math.inf)
    assert min(later - earlier for earlier, later in pairwise(turns)) >= 0.19
    assert client.rate() >= 4.5


@pytest.mark.long
def test_a_burst_grows_again() -> None:
    """GIVEN no 429 for long THEN it is tried again whether more may go at once, twice as many at a time, up to all."""
    client, seen = Client(new(SECOND)), list[int]()
    client.refused(Budget(retry_after=1))
    for number in range(3_000):
        client.send(left(None))
        if number % 100 == 0:
            seen.append(client.at_once())
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (1, 5)


def test_a_single_429_among_hundreds_that_passed_is_no_reason() -> None:
    """GIVEN replies that say what is left, and show nobody else, for long THEN one 429 changes nothing but its wait."""
    client = Client(new(SECOND))
    for _ in range(200):
        client.send(lambda: left(5 - sum(turn > client.now - 1.0 for turn in client.sent)))
    client.refused(Budget((Quota(remaining=0),), retry_after=1))
    assert client.at_once() == 5
    assert client.rate() >= 4.5


def test_a_429_as_soon_as_a_burst_grows_takes_it_back() -> None:
    """GIVEN a burst that grew after hundreds that passed WHEN it is turned away THEN requests go one by one again, even
    where replies say what is left.
    """
    client = Client(new(SECOND))
    client.refused(Budget(retry_after=1))
    while client.record.burst == 1:
        client.send(lambda: left(5 - sum(turn > client.now - 1.0 for turn in client.sent)))
    client.refused(Budget((Quota(remaining=0),), retry_after=1))
    assert client.at_once() == 1


def test_two_429s_in_flight_together_are_waited_out_as_one() -> None:
    """GIVEN a provider that names no moment WHEN requests side by side are refused THEN the wait does not grow."""
    turns, record = take(new(SECOND), NOW, 5, math.inf)
    now = turns[-1] + 0.1
    waits = []
    for turn in turns:
        record = throttled(give_back(record, [turn]), SAYS_NOTHING, turn, now)
        waits.append(record.quiet_until - now)
    assert waits == [waits[0]] * 5
    # One of them that comes in after something got through still waits for the time of two requests.
    straggler = pause(answered(record, SAYS_NOTHING, now, now), SAYS_NOTHING, turns[0], now + 1.0)
    assert straggler.quiet_until - (now + 1.0) == pytest.approx(waits[0])
    _, record = take(record, now, 1, math.inf)
    later = throttled(record, SAYS_NOTHING, now + 1.0, now + 1.1)
    assert later.quiet_until - (now + 1.1) == pytest.approx(2 * waits[0])


# ------------------------------------------------------------------------------------------------ the share


@BOTH
def test_429s_of_a_limit_that_is_kept_to_cut_our_share(limit: Limit) -> None:
    """Who is refused with even spacing shares the limit with others, or counts otherwise: each one takes a little."""
    client, rates = Client(new(limit)), []
    for _ in range(6):
        client.refused(Budget(retry_after=1))
        rates.append(client.rate())
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.95 * rates[0]
    assert all(later >= 0.85 * earlier for earlier, later in pairwise(rates))


def test_requests_refused_together_cut_it_once() -> None:
    """Ten requests side by side that are refused together tell one thing."""
    rates = []
    for side_by_side in (1, 10):
        client = Client(new(MINUTE))
        client.refused(Budget(retry_after=1))
        client.now = client.record.quiet_until
        turns, record = take(client.record, client.now, side_by_side, math.inf)
        now = turns[-1] + 0.1
        for turn in turns:
            record = throttled(record, Budget(retry_after=1), turn, now)
        assert record.throttled == 2
        client.record, client.now = record, now
        rates.append(client.rate())
    assert rates[0] == pytest.approx(rates[1])


def test_what_others_leave_is_ours_however_often_it_is_refused() -> None:
    """GIVEN replies that tell what others take WHEN requests are refused again and again THEN four fifths
    of what that leaves are tried.
    """
    client = Client(new(SECOND))
    client.refused(Budget(retry_after=0.1))
    for _ in range(50):
        client.now += 2.0
        client.send(left(2))
        client.refused(Budget((Quota(remaining=0),), retry_after=0.1), backoff=0.1)
    window = client.record.windows[0]
    assert window.others == 1  # One may be a matter of rounding.
    assert window.share == pytest.approx(0.8 * 4, abs=0.1)


def test_a_share_is_never_cut_to_nothing() -> None:
    """However often it is refused, a tenth of the limit is tried."""
    client = Client(new(SECOND))
    for _ in range(100):
        client.refused(Budget(retry_after=0.1), backoff=0.1)
        client.send()
    assert client.rate() >= 0.09 * 5


@BOTH
def test_a_share_grows_back_when_nothing_is_refused_any_more(limit: Limit) -> None:
    """GIVEN an account refused for long WHEN that is over THEN all of the limit is used again, in bounded time."""
    client = Client(new(limit))
    for _ in range(25):
        client.refused(Budget(retry_after=1), backoff=1.0)
    low = client.rate()
    for _ in range(3_000):
        client.send()
    assert low < 0.6 * limit.requests / limit.window
    assert client.rate() >= 0.95 * limit.requests / limit.window / 1.03


def test_a_share_that_is_no_whole_number() -> None:
    """GIVEN a limit of one a second, cut THEN it goes on at less than one a second, not at none."""
    client = Client(new(Limit(1, 1.0)))
    for _ in range(4):
        client.refused(Budget(retry_after=1))
    assert 0.5 < client.rate() < 0.98


# ------------------------------------------------------------------------------------------------ turns that move


def test_a_turn_that_is_given_back_is_there_again() -> None:
    """At the place it had, and once."""
    turns, record = take(new(SECOND), NOW, 5, math.inf)
    assert take(record, NOW, 5, NOW + 0.9)[0] == []
    again, record = take(give_back(record, turns[3:]), NOW, 5, NOW + 0.9)
    assert again == turns[3:]
    assert take(record, NOW, 5, NOW + 0.9)[0] == []


def test_what_was_not_given_out_is_not_given_back() -> None:
    """GIVEN a moment at which no turn was THEN nothing is there that was not."""
    _, record = take(new(SECOND), NOW, 5, math.inf)
    for wrong in (NOW - 5, NOW + 0.5, NOW + 50):
        assert give_back(record, [wrong]).windows == record.windows
    assert give_back(record, []) == record


def test_a_turn_used_late_counts_from_then() -> None:
    """GIVEN a turn that was used half a second late THEN the window after it begins so much later."""
    (turn, *_), record = take(new(Limit(1, 1.0)), NOW, 1, math.inf)
    (before,), _ = take(record, NOW, 1, math.inf)
    (after,), _ = take(move(record, turn, turn + 0.5), NOW, 1, math.inf)
    assert after - before == pytest.approx(0.5)


def test_an_answer_that_tells_that_it_was_not_late_lets_the_next_one_go_sooner() -> None:
    """Until then it may have been so late; one that was is counted as late."""
    (turn, *_), record = take(new(Limit(1, 1.0)), NOW, 1, math.inf)
    (unknown,), _ = take(record, NOW, 1, math.inf)
    (quick,), _ = take(move(record, turn, turn, later=0.0), NOW, 1, math.inf)
    (slow,), _ = take(move(record, turn, turn, later=10.0), NOW, 1, math.inf)
    assert turn + 1.0 < quick < unknown < slow < turn + 1.3


def test_a_turn_waits_for_those_before_it() -> None:
    """GIVEN two turns planned one after the other WHEN the first is used late THEN the second is not free as planned;
    those behind it do not count.
    """
    turns, record = take(new(Limit(1, 1.0)), NOW, 3, math.inf)
    assert [free_at(record, turn) for turn in turns] == pytest.approx(turns)
    late = move(record, turns[0], turns[0] + 0.4)
    assert free_at(late, turns[1]) == pytest.approx(turns[1] + 0.4)
    assert free_at(late, turns[0] + 0.4) == pytest.approx(turns[0] + 0.4)


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [((SECOND,), 30), ((MINUTE,), 180), ((BURST,), 30), ((Limit(20, 1.0),), 30), ((Limit(7, 10.0),), 60)],
)
def test_who_takes_every_turn_uses_all_that_is_allowed(limits: tuple[Limit, ...], seconds: int) -> None:
    """Whatever the window and however far back its log reaches: at the end of a window not more, and hardly less."""
    record, now, found = new(*limits), NOW, []
    while now < NOW + seconds:
        turns, record = take(record, now, 10, now + 1.25)
        now = turns[-1] if turns else next_turn(record, now) - schedule.LEAD
        found.append(used(record, now))
    assert 0.94 <= max(found[len(found) // 2 :]) < 1.001
    longest = max(limit.window for limit in limits) + schedule.HISTORY
    assert used(record, now + longest / 2) < 0.75
    assert used(record, now + 2 * longest) == 0.0


def test_a_burst_alone_is_little_of_what_ten_seconds_allow() -> None:
    """GIVEN five requests at once at five a second THEN a tenth is used: a second that was full says nothing."""
    turns, record = take(new(SECOND), NOW, 5, math.inf)
    assert used(record, turns[-1]) == pytest.approx(0.1)
    assert used(record, turns[-1] + 9.9) == pytest.approx(0.1)
    assert used(new(SECOND), NOW) == 0.0


def test_of_two_windows_the_fuller_tells() -> None:
    """GIVEN 30 of 60 a minute and of 50 in ten seconds THEN it is the three fifths of the ten seconds."""
    turns, record = take(new(SECOND, MINUTE), NOW, 30, math.inf)
    assert used(record, turns[-1]) == pytest.approx(30 / 50)
    assert used(record, turns[-1] + 30) == pytest.approx(30 / 60)


def test_a_turn_that_is_yet_to_come_is_not_used() -> None:
    """Others reserve ahead."""
    turns, record = take(new(SECOND), NOW, 10, math.inf)
    assert used(record, turns[4]) == pytest.approx(5 / 50)
    assert used(record, turns[9]) == pytest.approx(10 / 50)


def test_what_is_long_past_is_forgotten() -> None:
    """A log holds its window, and a little more."""
    record = new(SECOND)
    for second in range(100):
        _, record = take(record, NOW + second, 5, math.inf)
    (window,) = record.windows
    assert isinstance(window, Window)
    assert 5 <= len(window.turns) <= 100


# ------------------------------------------------------------------------------------------------ history


def worked_off(record: AccountRecord, seconds: float, live: Sequence[float] = ()) -> tuple[list[float], list[float]]:
    """The turns that history takes in so many seconds, looking whenever there is one, and those of live events that
    come at these moments.
    """
    history: list[float] = []
    turns: list[float] = []
    at = NOW
    for until in (*live, NOW + seconds):
        while (at := max(at, next_backfill_turn(record, at, 0.0))) < until:
            taken, record = take_for_backfill(record, at, 10, at + 0.001, 0.0)
            history += taken
        at = until
        taken, record = take(record, at, 1, math.inf, 0.0)
        turns += taken
    return history, turns[: len(live)]


@pytest.mark.parametrize("limit", [SECOND, MINUTE, BURST, Limit(3, 10.0), Limit(1, 1.0)])
def test_history_leaves_a_part_of_each_window(limit: Limit) -> None:
    """GIVEN no live event THEN history takes nearly all but that part, in every window, and a single turn in each where
    there is no more.
    """
    history, _ = worked_off(new(limit), 5 * limit.window)
    most = most_within(history, limit.window)
    assert most <= math.ceil((1 - LEFT) * limit.requests)
    assert len(history) >= 0.9 * 5 * (1 - LEFT) * limit.requests * 0.9


def test_history_comes_in_slices() -> None:
    """Not all that a window leaves at once: else a live event that finds none has to wait for all of it to pass."""
    history, _ = worked_off(new(MINUTE), 300.0)
    assert most_within(history, 10.0) <= 12
    gaps = [later - earlier for earlier, later in pairwise(history)]
    assert max(gaps) < 13
    assert sum(gap > 0.1 for gap in gaps) < len(gaps) / 4, "fetched one by one, each costs a call"


def test_a_live_event_finds_a_turn_however_much_history_waits() -> None:
    """GIVEN history without end WHEN live events come, half of what is allowed THEN each goes at once, and history gets
    most of what they leave.
    """
    live = [NOW + 120.0 + 2.0 * number for number in range(60)]
    history, turns = worked_off(new(MINUTE), 240.0, live)
    assert all(turn - at < 0.01 for at, turn in zip(live, turns, strict=True))
    meanwhile = sum(NOW + 120.0 <= at < NOW + 240.0 for at in history)
    assert meanwhile >= 0.7 * ((1 - LEFT) * 120 - 60)


def test_history_waits_while_live_events_do() -> None:
    """GIVEN live events that did not get all that they asked for THEN until their next turn, and until they are there
    for it, history gets none, however much is free; and not for longer than a window, whatever else they wait for.
    """
    record = new(SECOND)
    assert next_backfill_turn(record, NOW, 0.0) == pytest.approx(NOW)
    wanted = want(record, NOW, 0.0, 2.0)
    assert next_backfill_turn(wanted, NOW, 0.0) == NOW + 2.0
    assert next_turn(wanted, NOW, 0.0) == pytest.approx(NOW)
    paused = want(replace(record, quiet_until=NOW + 3600.0), NOW, 0.0, 2.0)
    assert paused.wanted_until == NOW + 3.0
    assert want(wanted, NOW - 1.0, 0.0, 2.0).wanted_until == wanted.wanted_until


def test_history_leaves_part_of_what_others_leave() -> None:
    """GIVEN another client that was seen to take half THEN it takes less than the other half."""
    record = new(MINUTE)
    (window,) = record.windows
    shared = replace(record, windows=(replace(window, others=30, others_until=NOW + 600.0, others_at=NOW),))
    history, _ = worked_off(shared, 300.0)
    assert most_within(history, 60.0) <= 30 - LEFT * 60
