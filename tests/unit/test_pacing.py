"""The limiter: never more than the limit in any window, corrected by every reply."""

import math
import threading
from email.utils import formatdate

import pytest

from relay.account.pace import ALONE, DOUBTED, LATE, LONGEST_DEFERRAL, MARGIN, Pace, Permit
from relay.providers.limits import Budget, Limit, read_count, read_wait
from tests.factories import NOW
from tests.fakes import FakeClock
from tests.simulation.limiter import limiter
from tests.simulation.plan import Limiter

YOTPO = Limit(5, 1.0)
SENDER = Limit(60, 60.0)
EVER = 7200.0


@pytest.fixture(autouse=True)
def glances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of waits pass here: a look a second is enough."""
    monkeypatch.setattr("relay.account.pace.GLANCE", 1.0)


class Account:
    """A provider's side of one account: a true sliding window. `others` requests a second are somebody else's."""

    def __init__(self, limit: Limit, clock: FakeClock) -> None:
        self.limit = limit
        self.clock = clock
        self.times: list[float] = []

    def remaining(self) -> int:
        now = self.clock.monotonic()
        return self.limit.requests - sum(time > now - self.limit.window for time in self.times)

    def take(self) -> Budget:
        self.times.append(self.clock.monotonic())
        return Budget(remaining=max(0, self.remaining()))

    def most_in_a_window(self) -> int:
        return max(sum(start <= time < start + self.limit.window for time in self.times) for start in self.times)


def send(pace: Pace) -> Permit:
    """Sends one request as soon as the pace allows; it is under way until it is answered or closed."""
    turn = pace.permit()
    assert turn.wait(EVER)
    return turn


def send_at(pace: Pace, clock: FakeClock) -> float:
    """Sends one request; returns when that was."""
    send(pace)
    return clock.monotonic()


def known(limit: Limit, clock: FakeClock) -> Pace:
    """A pace that already knows the account is its own."""
    pace = Pace(limit, clock)
    send(pace).observe(Budget(remaining=limit.requests))
    clock.pass_by(2 * limit.window)
    return pace


def begin_batch(
    pace: Pace, clock: FakeClock, *, handed_out: float = 0.0, waited: bool = True, environments_rotate: bool = True
) -> None:
    """A batch of the account begins now."""
    pace.begin_batch(
        now_since=clock.monotonic(), handed_out=handed_out, waited=waited, environments_rotate=environments_rotate
    )


# ------------------------------------------------------------------------------------------------ the first requests


@pytest.mark.parametrize("limit", [YOTPO, Limit(1, 1.0), Limit(3, 0.5)])
def test_a_short_window_is_waited_out(limit: Limit) -> None:
    """Nobody knows who was here before: no request before one window has passed."""
    clock = FakeClock()
    pace = Pace(limit, clock)
    assert pace.delay() == limit.window
    assert [send_at(pace, clock) for _ in range(limit.requests)] == [limit.window] * limit.requests


@pytest.mark.parametrize(("since", "first"), [(-0.7, 0.3), (-1.5, 0.0), (0.0, 1.0)])
def test_a_short_window_counts_from_when_nobody_else_was_there(since: float, first: float) -> None:
    """What has passed of the window need not be waited out again."""
    clock = FakeClock()
    pace = Pace(YOTPO, clock)
    begin_batch(pace, clock, handed_out=since)
    assert send_at(pace, clock) == pytest.approx(first)


def test_what_replies_said_stands_against_when_we_began() -> None:
    """Alone or not: the moment that a 429 named is waited for."""
    clock = FakeClock()
    pace = Pace(YOTPO, clock)
    first, second = send(pace), send(pace)
    first.throttle(Budget(retry_after=30))
    second.observe(Budget(remaining=0))
    before = pace.delay()
    begin_batch(pace, clock, handed_out=-60)
    assert pace.delay() == before >= 30


def served_elsewhere(limit: Limit, clock: FakeClock, answers_in: float) -> Pace:
    """A pace that has used up a window a while ago; since then other environments had the account."""
    pace = Pace(limit, clock)
    begin_batch(pace, clock, handed_out=-60)
    for left in range(limit.requests):
        turn = send(pace)
        clock.pass_by(answers_in)
        turn.observe(Budget(remaining=limit.requests - 1 - left))
    pace.end_batch()
    clock.pass_by(10 * limit.window)
    return pace


def test_after_somebody_elses_batch_a_short_window_is_waited_out() -> None:
    """GIVEN a backlog whose batches go to environments in turn WHEN one comes back here
    THEN a window passes, counted from when the last request of the other batch must have left.
    """
    clock = FakeClock()
    pace = served_elsewhere(YOTPO, clock, answers_in=0.1)
    begin_batch(pace, clock)
    assert pace.delay() == pytest.approx(0.9, abs=0.01)


def test_after_our_own_batch_nothing_is_waited_for() -> None:
    """GIVEN the next batch comes sooner than any other could have had an answer THEN the last one was ours."""
    clock = FakeClock()
    pace = served_elsewhere(YOTPO, clock, answers_in=0.1)
    pace.end_batch()
    clock.pass_by(0.09)
    begin_batch(pace, clock)
    assert pace.delay() == 0


def test_the_only_account_of_a_lane_is_always_ours() -> None:
    """One account has one batch at a time: there is no second environment to take turns with."""
    clock = FakeClock()
    pace = served_elsewhere(YOTPO, clock, answers_in=0.1)
    begin_batch(pace, clock, environments_rotate=False)
    assert pace.delay() == 0


def test_an_event_that_waited_for_nobody_asks_at_once() -> None:
    """GIVEN an account that was idle THEN one request goes at once, and its answer tells what others have left."""
    clock = FakeClock()
    pace = served_elsewhere(YOTPO, clock, answers_in=0.1)
    begin_batch(pace, clock, waited=False)
    assert pace.delay() == 0
    asking = send(pace)
    assert pace.delay() == YOTPO.window
    asking.observe(Budget(remaining=1))
    assert send_at(pace, clock) == clock.monotonic()
    assert pace.delay() == pytest.approx(YOTPO.window, abs=0.1)


def test_a_long_window_is_asked_again_after_somebody_elses_batch() -> None:
    """A minute cannot be waited out: one request asks."""
    clock = FakeClock()
    pace = served_elsewhere(SENDER, clock, answers_in=0.1)
    begin_batch(pace, clock)
    asking = send(pace)
    assert pace.delay() == SENDER.window
    asking.observe(Budget(remaining=7))
    assert pace.delay() == 0


def test_a_429_that_took_longer_than_two_windows() -> None:
    """GIVEN a request whose 429 comes long after later ones were answered THEN it is learned from all the same."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    slow = send(pace)
    for _ in range(40):
        send(pace).observe(Budget(remaining=5))
    slow.throttle(Budget(retry_after=30))
    assert pace.delay() == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize("limit", [YOTPO, SENDER])
def test_nothing_left_for_ever_is_not_believed_for_ever(limit: Limit) -> None:
    """GIVEN replies that say "none left" each time, and never a 429 THEN after some the limit is used in full."""
    clock = FakeClock()
    pace = known(limit, clock)
    for _ in range(DOUBTED + 5):
        send(pace).observe(Budget(remaining=0))
    began = clock.monotonic()
    for _ in range(10 * limit.requests):
        send(pace).observe(Budget(remaining=0))
    assert clock.monotonic() - began <= 11.5 * limit.window
    send(pace).throttle(Budget(retry_after=1, remaining=0))
    clock.pass_by(2 * limit.window)
    send(pace).observe(Budget(remaining=0))
    assert pace.delay() > 0, "a 429 makes it believed again"


def test_a_429_before_any_other_answer_is_heeded_by_the_next_batch() -> None:
    """GIVEN an environment that has seen only a 429 WHEN its next batch comes THEN the moment it named stands."""
    clock = FakeClock()
    pace = Pace(YOTPO, clock)
    send(pace).throttle(Budget(retry_after=30))
    begin_batch(pace, clock, handed_out=clock.monotonic())
    assert pace.delay() == pytest.approx(30, abs=0.01)


def test_a_first_window_counts_as_late() -> None:
    """GIVEN a new environment, whose first answers do not tell yet how quick an answer can be
    THEN its requests count as late as they may have been; later ones by what their answers took.
    """
    clock = FakeClock()
    pace = Pace(YOTPO, clock)
    begin_batch(pace, clock, handed_out=-60)
    for late in (LATE, 0.0):
        for turn in [send(pace) for _ in range(5)]:
            turn.observe(Budget(remaining=0))
        assert pace.delay() == pytest.approx(1.0 + late + MARGIN)
        clock.pass_by(pace.delay())


def test_an_answer_that_was_quick_lets_the_next_window_begin() -> None:
    """GIVEN requests of a second's answer under way WHEN the answers tell that they were not late
    THEN those who wait go at once, not when a late one would have let them.
    """
    clock = FakeClock()
    pace = known(YOTPO, clock)
    began = clock.monotonic()
    first = [send(pace) for _ in range(5)]

    def answered(seconds: float) -> None:
        clock.pass_by(seconds)
        if clock.monotonic() >= began + 1.0:
            while first:
                first.pop().observe(Budget(remaining=0))

    clock.on_sleep = answered
    assert send_at(pace, clock) - began < 1.01


def test_in_a_long_window_one_request_asks() -> None:
    """Nobody knows who was here before: one request goes at once, and no other while it is under way."""
    clock = FakeClock()
    pace = Pace(SENDER, clock)
    asking = pace.permit()
    assert asking.wait(0)
    assert pace.delay() == SENDER.window
    assert not pace.permit().wait(at_most=10)
    with asking:
        pass
    assert pace.delay() == 0
    assert pace.permit().wait(0)


@pytest.mark.parametrize("limit", [YOTPO, SENDER])
def test_the_first_reply_ends_the_guessing(limit: Limit) -> None:
    """Once a reply shows that nobody else is there, the rest of the window may go at once."""
    clock = FakeClock()
    pace = Pace(limit, clock)
    first = send(pace)
    began = clock.monotonic()
    first.observe(Budget(remaining=limit.requests - 1))
    for _ in range(limit.requests - 1):
        send(pace)
    assert clock.monotonic() == began
    assert pace.delay() >= limit.window - 0.1


def test_a_first_reply_that_shows_others() -> None:
    """What others used of the window is not ours to use."""
    clock = FakeClock()
    pace = Pace(SENDER, clock)
    send(pace).observe(Budget(remaining=2, reset_after=20))
    second, third = send(pace), send(pace)
    assert pace.delay() == SENDER.window
    second.observe(Budget(remaining=1, reset_after=20))
    third.observe(Budget(remaining=0, reset_after=20))
    assert clock.monotonic() == 0
    assert send_at(pace, clock) == pytest.approx(20)


# ------------------------------------------------------------------------------------------------ the limit


@pytest.mark.long
@pytest.mark.parametrize("limit", [YOTPO, SENDER, Limit(1, 1.0), Limit(3, 0.5), Limit(100, 10.0)])
def test_never_above_the_limit_and_hardly_below(limit: Limit) -> None:
    """Over a long run no window holds more than the limit, and the limit is used."""
    clock = FakeClock()
    pace, account = Pace(limit, clock), Account(limit, clock)
    for _ in range(limit.requests * 20):
        send(pace).observe(account.take())
    assert account.most_in_a_window() <= limit.requests
    ideal = 20 * limit.window
    assert clock.monotonic() < ideal * 1.02 + limit.window


def test_without_any_header_the_documented_limit_holds() -> None:
    """A provider that says nothing is sent to at its documented limit."""
    clock = FakeClock()
    pace, account = Pace(YOTPO, clock), Account(YOTPO, clock)
    for _ in range(50):
        turn = send(pace)
        account.take()
        turn.observe(Budget())
    assert account.most_in_a_window() <= 5
    assert clock.monotonic() < 11.5


def test_side_by_side_threads_share_one_budget() -> None:
    """However many threads ask at once, no more than the limit may go."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    went: list[bool] = []
    barrier = threading.Barrier(20)

    def work() -> None:
        with pace.permit() as turn:
            barrier.wait()
            went.append(turn.wait(at_most=0.0))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(went) == [False] * 15 + [True] * 5


def test_a_wait_that_is_too_long_takes_nothing() -> None:
    """A turn refused for its wait leaves the budget as it was."""
    clock = FakeClock()
    pace = known(SENDER, clock)
    for number in range(60):
        send(pace).observe(Budget(remaining=59 - number))
    for _ in range(5):
        assert not pace.permit().wait(at_most=1.0)
    before = pace.delay()
    assert 59 < before <= 61
    clock.pass_by(before)
    assert pace.permit().wait(at_most=1.0)


def test_delay_counts_those_in_line() -> None:
    """Who asks next is told of the wait behind all whose turn is already given."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    turns = [pace.permit() for _ in range(5)]
    assert pace.delay() >= 1.0
    turns[0].close()
    turns[0].close()
    assert pace.delay() == 0
    for turn in turns[1:]:
        assert turn.wait(at_most=0)
    assert pace.delay() == 0


def test_a_429_reaches_those_already_waiting() -> None:
    """GIVEN a request asleep for its slot WHEN a 429 comes in meanwhile THEN it does not go."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    turns = [send(pace) for _ in range(5)]

    def throttled_meanwhile(seconds: float) -> None:
        clock.pass_by(seconds)
        turns[0].throttle(Budget(retry_after=60))
        clock.on_sleep = None

    clock.on_sleep = throttled_meanwhile
    assert not pace.permit().wait(at_most=2.0)
    assert pace.delay() > 50


def test_a_reply_without_a_request_teaches_nothing() -> None:
    """A turn that never went has nothing to learn from."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    turn = pace.permit()
    turn.close()
    turn.observe(Budget(remaining=0))
    turn.throttle(Budget(retry_after=60))
    assert pace.delay() == 0


def test_idle_time_brings_no_more_than_one_window() -> None:
    """An account that was quiet for an hour may still send only its limit at once."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    clock.pass_by(3600)
    account = Account(YOTPO, clock)
    for _ in range(20):
        send(pace)
        account.take()
    assert account.most_in_a_window() == 5


# ------------------------------------------------------------------------------------------------ what replies teach


def test_somebody_else_eats_of_the_limit() -> None:
    """GIVEN another client that takes 2 of 5 a second THEN ours takes the other 3, and is hardly ever refused."""
    clock = FakeClock()
    pace, account = Pace(YOTPO, clock), Account(YOTPO, clock)
    ours = refused = 0
    theirs = 0.0
    while clock.monotonic() < 120:
        turn = send(pace)
        while theirs <= clock.monotonic():
            account.times.append(theirs)
            theirs += 0.5
        if account.remaining() > 0:
            turn.observe(account.take())
            ours += 1
        else:
            turn.throttle(Budget(remaining=0, reset_after=1))
            refused += 1
    assert ours >= 0.9 * 3 * 120
    assert refused <= 0.03 * ours


def test_nothing_remaining_waits_for_the_reset() -> None:
    """When the provider says there is nothing left, the next request waits as long as it says."""
    clock = FakeClock()
    pace = known(SENDER, clock)
    send(pace).observe(Budget(remaining=0, reset_after=42))
    assert pace.delay() == pytest.approx(42, abs=1)


def test_a_reset_beyond_the_window_is_not_believed() -> None:
    """A budget comes back within its window, whatever a header says."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    send(pace).observe(Budget(remaining=0, reset_after=3600))
    assert pace.delay() <= 1.1


@pytest.mark.parametrize("remaining", [5, 1_000_000])
def test_a_lie_about_the_budget_does_not_raise_the_pace(remaining: int) -> None:
    """More remaining than the limit changes nothing."""
    clock = FakeClock()
    pace, account = Pace(YOTPO, clock), Account(YOTPO, clock)
    for _ in range(40):
        turn = send(pace)
        account.take()
        turn.observe(Budget(remaining=remaining))
    assert account.most_in_a_window() <= 5


@pytest.mark.parametrize("new", [1, 30, 120])
def test_another_limit_is_taken_over(new: int) -> None:
    """The provider's own figure for this account replaces the documented one."""
    clock = FakeClock()
    pace = known(SENDER, clock)
    send(pace).observe(Budget(limit=new, remaining=new - 1))
    account = Account(Limit(new, 60.0), clock)
    account.take()
    for _ in range(3 * new):
        send(pace).observe(Budget(limit=new, remaining=account.take().remaining))
    assert account.most_in_a_window() == new


def test_a_limit_of_nothing_is_not_believed() -> None:
    """A limit of zero would stop an account for ever."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    send(pace).observe(Budget(limit=0))
    assert pace.delay() == 0


# ------------------------------------------------------------------------------------------------ 429


@pytest.mark.parametrize("limit", [YOTPO, SENDER])
@pytest.mark.parametrize("budget", [Budget(retry_after=7), Budget(reset_after=7), Budget(retry_after=7, reset_after=7)])
def test_a_429_that_names_a_moment(limit: Limit, budget: Budget) -> None:
    """Nothing goes before the moment the provider names, and then something does."""
    clock = FakeClock()
    pace = known(limit, clock)
    send(pace).throttle(budget)
    assert 7 <= pace.delay() <= 8.1


def test_a_429_without_a_word() -> None:
    """The back-off doubles up to a quarter of an hour, and a success ends it."""
    clock = FakeClock()
    pace = Pace(YOTPO, clock, backoff=1.0)
    waits = []
    for _ in range(14):
        send(pace).throttle(Budget())
        waits.append(pace.delay())
    assert waits[:5] == pytest.approx([1, 2, 4, 8, 16], abs=0.1)
    assert waits[-1] == 900
    send(pace).observe(Budget(remaining=4))
    send(pace).throttle(Budget())
    assert pace.delay() == pytest.approx(1, abs=0.1)


def test_a_429_is_at_most_a_deferral() -> None:
    """SQS cannot hide a message for longer than twelve hours."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    send(pace).throttle(Budget(retry_after=86_400))
    assert pace.delay() == LONGEST_DEFERRAL


def test_a_shorter_429_does_not_shorten_a_longer_one() -> None:
    """Replies come in any order; the later moment stands."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    first, second = send(pace), send(pace)
    first.throttle(Budget(retry_after=60))
    second.throttle(Budget(retry_after=1))
    assert pace.delay() >= 60


def test_after_a_429_no_burst() -> None:
    """When the moment comes, the account is sent to at its limit, not all at once."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    send(pace).throttle(Budget(retry_after=30))
    account = Account(YOTPO, clock)
    for _ in range(20):
        send(pace).observe(account.take())
    assert account.most_in_a_window() <= 5


@pytest.mark.parametrize("limit", [YOTPO, SENDER])
def test_after_a_429_one_request_asks(limit: Limit) -> None:
    """Others wait until it was told what is left, or ended without an answer."""
    clock = FakeClock()
    pace = known(limit, clock)
    send(pace).throttle(Budget(retry_after=7))
    asking = send(pace)
    assert pace.delay() == limit.window
    assert not pace.permit().wait(at_most=0.5)
    asking.observe(Budget(remaining=limit.requests - 1))
    assert pace.delay() == 0


# ------------------------------------------------------------------------------------------------ the share


def rate(pace: Pace, clock: FakeClock, count: int) -> float:
    """Requests per second over so many, by a provider that says nothing of what is left."""
    began = clock.monotonic()
    for _ in range(count):
        send(pace).observe(Budget())
    return count / (clock.monotonic() - began)


@pytest.mark.parametrize("limit", [YOTPO, SENDER])
def test_a_429_cuts_our_share_of_the_limit(limit: Limit) -> None:
    """Who is refused at the documented pace shares the limit with others: from then on a tenth less."""
    clock = FakeClock()
    pace = known(limit, clock)
    send(pace).throttle(Budget(retry_after=1))
    clock.pass_by(limit.window)
    sent = 0
    while pace.delay() == 0:
        send(pace).observe(Budget())
        sent += 1
    share = sent / pace.delay() * limit.window / limit.requests
    assert 0.88 < share < 0.99


def test_a_lone_429_is_our_own_jitter() -> None:
    """GIVEN replies that show nobody else WHEN one request comes a moment early THEN nothing but its wait is lost."""
    clock = FakeClock()
    pace, account = known(YOTPO, clock), Account(YOTPO, clock)
    clock.pass_by(ALONE * YOTPO.window)
    for _ in range(3):
        send(pace).throttle(Budget(remaining=0, reset_after=1))
        clock.pass_by(1.1)
        began = clock.monotonic()
        for _ in range(60):
            send(pace).observe(account.take())
        assert clock.monotonic() - began == pytest.approx(11, abs=0.3)


def test_requests_refused_together_cut_it_once() -> None:
    """Ten requests side by side that are refused together tell one thing."""
    clock = FakeClock()
    pace = known(SENDER, clock)
    for turn in [send(pace) for _ in range(10)]:
        turn.throttle(Budget(retry_after=1))
    assert rate(pace, clock, 300) >= 0.85


def test_a_share_is_never_cut_to_nothing() -> None:
    """However often it is refused, a tenth of the limit is tried."""
    clock = FakeClock()
    pace = known(YOTPO, clock)
    for _ in range(60):
        send(pace).throttle(Budget(retry_after=0.1))
        send(pace).observe(Budget(remaining=0))
    began = clock.monotonic()
    for _ in range(10):
        send(pace).observe(Budget(remaining=0))
    assert clock.monotonic() - began < 10 * 2.1


@pytest.mark.long
@pytest.mark.parametrize("limit", [YOTPO, SENDER])
def test_a_share_grows_back_when_others_leave(limit: Limit) -> None:
    """GIVEN an account refused for long WHEN replies show nobody else THEN all of the limit is used within minutes."""
    clock = FakeClock()
    pace = known(limit, clock)
    for _ in range(25):
        send(pace).throttle(Budget(retry_after=1))
    account = Account(limit, clock)
    send(pace).observe(account.take())
    began = clock.monotonic()
    while clock.monotonic() < began + 120 + 8 * limit.window:
        send(pace).observe(account.take())
    last = clock.monotonic() - 3 * limit.window
    assert sum(time > last for time in account.times) >= 0.95 * 3 * limit.requests


@pytest.mark.long
@pytest.mark.parametrize("kind", ["log", "fixed", "bucket"])
@pytest.mark.parametrize("limit", [YOTPO, SENDER])
def test_a_shared_limit_however_the_provider_counts(limit: Limit, kind: Limiter) -> None:
    """GIVEN another client that takes two fifths THEN we get nine tenths of the rest, hardly ever refused."""
    clock = FakeClock()
    pace, theirs = Pace(limit, clock), limiter(kind, limit.requests, limit.window, 0.3 * limit.window)
    every, windows = limit.window / (0.4 * limit.requests), 200 if limit is YOTPO else 60
    ours = refused = others = 0
    while clock.monotonic() < windows * limit.window:
        turn = send(pace)
        clock.pass_by(0.02)
        while others * every <= clock.monotonic():
            theirs.admit(others * every)
            others += 1
        if theirs.admit(clock.monotonic()):
            reset = math.ceil(theirs.reset_after(clock.monotonic()))
            turn.observe(Budget(remaining=theirs.remaining(clock.monotonic()), reset_after=reset))
            ours += 1
        else:
            turn.throttle(Budget(remaining=0, reset_after=math.ceil(theirs.reset_after(clock.monotonic()))))
            refused += 1
    assert ours >= 0.9 * 0.6 * limit.requests * windows
    assert refused <= 0.03 * ours


# ------------------------------------------------------------------------------------------------ long windows


def test_no_more_under_way_than_is_left() -> None:
    """GIVEN a long window of which little is left THEN requests side by side cannot overrun it."""
    clock = FakeClock()
    pace = known(SENDER, clock)
    send(pace).observe(Budget(remaining=3, reset_after=30))
    for _ in range(3):
        send(pace)
    assert pace.delay() > 0
    assert not pace.permit().wait(at_most=1)


def test_without_headers_a_request_more_after_each_reply() -> None:
    """Of a long window nothing is known: what gets through shows how much may be under way."""
    clock = FakeClock()
    pace = Pace(SENDER, clock)
    for under_way in range(1, 6):
        turns = [send(pace) for _ in range(under_way)]
        assert not pace.permit().wait(at_most=0)
        turns[0].observe(Budget())
        for turn in turns[1:]:
            turn.__exit__()
    assert clock.monotonic() < 10


def test_all_of_it_used_by_us_is_not_somebody_else() -> None:
    """Nothing is left because we used it: the next request goes when our own first one leaves the window."""
    clock = FakeClock()
    pace = known(SENDER, clock)
    for number in range(60):
        send(pace).observe(Budget(remaining=59 - number, reset_after=1))
    assert pace.delay() == pytest.approx(60, abs=0.3)


# ------------------------------------------------------------------------------------------------ headers

DATE = {"date": formatdate(NOW, usegmt=True)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        (" 30 ", 30.0),
        ("0.5", 0.5),
        ("86400", 86_400.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        ("2026-11-22T10:00:30Z", 30.0),
        ("2026-11-22T10:00:30+00:00", 30.0),
        ("2026-11-22T12:00:30+02:00", 30.0),
        ("2026-11-22 10:00:30", 30.0),
    ],
)
def test_waits_that_are_believed(text: str, seconds: float) -> None:
    """Seconds, an HTTP date or an ISO 8601 date, with or without the reply's own date."""
    assert read_wait(text, {}, NOW) == seconds
    assert read_wait(text, DATE, NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "soon",
        "0",
        "-1",
        "86401",
        "1e99",
        "nan",
        "inf",
        "-inf",
        "1,5",
        formatdate(NOW - 30, usegmt=True),
        formatdate(NOW, usegmt=True),
        formatdate(NOW + 100_000, usegmt=True),
        "2026-11-22T09:59:59Z",
        "9999-12-31T23:59:59Z",
        "Mon, 99 Foo 2026 10:00:00 GMT",
        "x" * 10_000,
        "\x00",
        "1795341600",
    ],
)
def test_waits_that_say_nothing(text: str | None) -> None:
    """Missing, past, negative, zero, absurd and garbled: as if the header were not there."""
    assert read_wait(text, DATE, NOW) is None
    assert read_wait(text, {}, NOW) is None


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_date_is_taken_against_the_replys_own(skew: float) -> None:
    """Neither our clock nor theirs need be right, as long as theirs agrees with itself."""
    theirs = {"date": formatdate(NOW + skew, usegmt=True)}
    assert read_wait(formatdate(NOW + skew + 30, usegmt=True), theirs, NOW) == 30


@pytest.mark.parametrize("date", ["", "garbage", "0"])
def test_a_garbled_own_date_is_no_date(date: str) -> None:
    """Then our clock must do."""
    assert read_wait("2026-11-22T10:00:30Z", {"date": date}, NOW) == 30


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("5", 5), (" 60 ", 60), ("1000000", 1_000_000)])
def test_counts_that_are_believed(text: str, count: int) -> None:
    """Whole numbers."""
    assert read_count(text) == count


@pytest.mark.parametrize("text", [None, "", "-1", "+1", "1.5", "1e3", "٣", "²", "x", "1000001", "9" * 5_000, "1_000"])
def test_counts_that_say_nothing(text: str | None) -> None:
    """Anything else is as if it were not there."""
    assert read_count(text) is None


def test_counts_have_a_bound() -> None:
    """Nobody allows that many."""
    assert read_count("101", most=100) is None


def test_a_lone_429_is_asked_about_within_a_minute() -> None:
    """A back-off that grew by itself is shortened; one that the provider named is not."""
    clock = FakeClock()
    for named, most in ((None, 60.0), (600.0, 600.0)):
        pace = Pace(Limit(5, 1.0), clock)
        clock.pass_by(2)
        for _ in range(12):
            with pace.permit() as turn:
                assert turn.wait(1000)
                turn.throttle(Budget(retry_after=named))
            pace.ask_within(60.0)
            assert pace.delay() <= most
            clock.pass_by(pace.delay())
        assert pace.delay() == 0.0


def test_what_an_environment_before_was_asked_for() -> None:
    """It is left alone for so long, and nothing shortens that."""
    clock = FakeClock()
    pace = Pace(Limit(5, 1.0), clock)
    pace.stay_away(300)
    pace.ask_within(60)
    assert pace.delay() == pytest.approx(300)


def test_what_was_left_before_later_requests_left_is_not_left_any_more() -> None:
    """GIVEN three requests for the three that were left WHEN their replies come in any order THEN none goes beyond."""
    clock = FakeClock()
    pace = Pace(Limit(60, 60.0), clock)
    with pace.permit() as turn:
        turn.wait(0)
        turn.observe(Budget(remaining=3))
    three = [pace.permit() for _ in range(3)]
    for turn in three:
        clock.pass_by(0.01)
        assert turn.wait(0)
    clock.pass_by(1)
    for number, remaining in ((1, 1), (0, 2)):
        three[number].observe(Budget(remaining=remaining))
        assert pace.delay() > 1
