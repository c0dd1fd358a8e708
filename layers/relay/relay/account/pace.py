"""How fast one account may be sent to: never more than its limit in any window, corrected by every reply.

The lane makes one execution environment at a time the owner of an account, so what stands here is globally right, once
it has allowed for what the owner before may have sent. The limiter is a token bucket whose tokens come back exactly one
window after each was used (a sliding-window log): at the limits of marketing providers, tens per window, it is exact,
and never lets twice the limit through as a refilling bucket does.

Others may use the same account. What they took of a window shows in the replies; what they take for good shows in 429s:
each cuts our share of the limit, each delivery lets it grow (additive increase, multiplicative decrease).
"""

import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from relay.ports import Clock
from relay.providers.limits import Budget, Limit

MARGIN = 0.003
"""Seconds between the end of a window as we reckon it and the next request."""

LATE = 0.02
"""By what part of a window a request is taken to arrive later than the fastest one does, until its answer tells."""

LATEST = 0.05
"""By what part of a window at most, however long its answer took."""

SHORT_WINDOW = 1.0
"""Seconds of window that a new environment waits out rather than ask."""

GLANCE = 0.05
"""Seconds between looks at the budget while a reply may change it."""

DOUBTED = 30
"""How many replies in a row may say that others left nothing while none is a 429."""

BELIEVED = 5
"""How many 429s in a row may name a moment at which the next one comes."""

DECREASE = 0.9
"""What a 429 leaves of our share of the limit."""

LEAST_SHARE = 0.1
"""The part of the limit that is used however often it is throttled."""

TARGET_REJECTIONS = 0.01
"""The part of the requests that may be throttled: a delivery grows the share by this part of what a 429 cuts."""

ALONE = 5
"""After so many windows in which nobody else was seen the share grows by `INCREASE` of the limit with each delivery."""

INCREASE = 0.01

LONGEST_GROWING_WAIT = 900.0

LONGEST_DEFERRAL = 12 * 3600.0
"""SQS hides a message for at most twelve hours after its receive."""


@dataclass(slots=True, eq=False)
class _Slot:
    """One request's place in the window: planned, then sent, then answered."""

    at: float
    late: float
    """Seconds by which it may have reached the provider later than the fastest one would."""
    sent: bool = False
    ended: bool = False

    @property
    def counted(self) -> float:
        """When the provider counted it, give or take what all requests take."""
        return self.at + self.late


class Pace:
    """The budget of one account. Safe to share between threads; all times are the clock's monotonic seconds."""

    def __init__(self, limit: Limit, clock: Clock, backoff: float = 1.0) -> None:
        """`backoff`: seconds to stay away after a first 429 that names no moment."""
        self._limit = limit
        self._clock = clock
        self._backoff = backoff
        self._lock = threading.Lock()
        self._slots: deque[_Slot] = deque()
        self._expected = 0
        self._in_flight = 0
        self._throttled = 0
        self._share = float(limit.requests)
        self._throttled_at = float("-inf")
        self._asked_until = float("-inf")
        self._is_new = True
        self._zeros = 0
        self._answers = 0
        self._fastest = 0.0
        self._idle_since = float("-inf")
        self._others_at = float("-inf")
        self._others: list[tuple[float, int]] = []
        self._is_short = limit.window <= SHORT_WINDOW
        # Another environment may just have used up the limit. A short window is waited out; in a long one a single
        # request finds out.
        self._blocked_until = clock.monotonic() + limit.window if self._is_short else float("-inf")
        self._most_in_flight = math.inf if self._is_short else 1.0

    def begin_batch(self, *, now_since: float, handed_out: float, waited: bool, environments_rotate: bool) -> None:
        """A batch of the account is here: whoever had the account before has ended. All moments are monotonic seconds.

        `now_since`: when the batch began here, `handed_out`: when SQS gave it away, `waited`: its messages had to wait
        behind earlier ones, `environments_rotate`: environments take turns with the account.
        """
        with self._lock:
            if self._is_new:
                if self._is_short:
                    self._blocked_until = min(self._blocked_until, handed_out + self._limit.window)
            elif not environments_rotate or now_since - self._idle_since < self._fastest:
                # Too short for anyone else to have had an answer in between: the batch before was this environment's.
                return
            elif self._is_short and waited:
                # The batch before ended with an answer, so its last request left at least an answer's time earlier: a
                # window after that moment nothing of it counts any more.
                self._blocked_until = max(self._blocked_until, now_since - self._fastest + self._limit.window)
            else:
                self._most_in_flight = 1.0

    def end_batch(self) -> None:
        """The batch of the account is over."""
        with self._lock:
            self._idle_since = self._clock.monotonic()

    @property
    def idle_for(self) -> float:
        """Seconds since the last batch of the account was over here; infinite before the first one."""
        with self._lock:
            return self._clock.monotonic() - self._idle_since

    def delay(self) -> float:
        """Seconds until one more request may start, after all whose turn is already given; a window while only a reply
        can tell.
        """
        with self._lock:
            now = self._clock.monotonic()
            slots = list(self._slots)
            if self._in_flight + self._expected + sum(not slot.sent for slot in self._slots) >= self._most_in_flight:
                return max(self._limit.window, self._blocked_until - now)
            for _ in range(self._expected + 1):
                slots.append(self._plan(slots, now))
            return max(0.0, slots[-1].at - now)

    def stay_away(self, seconds: float) -> None:
        """Nothing for so long: an environment before this one was asked for it."""
        with self._lock:
            until = self._clock.monotonic() + min(seconds, LONGEST_DEFERRAL)
            self._blocked_until, self._asked_until = max(self._blocked_until, until), max(self._asked_until, until)

    def ask_within(self, seconds: float) -> None:
        """Not later than that, unless the provider asked for it: it may be one event that is answered 429."""
        with self._lock:
            soon = self._clock.monotonic() + seconds
            self._blocked_until = min(self._blocked_until, max(soon, self._asked_until))

    def permit(self) -> "Permit":
        """A place in the line for one attempt, to be closed when the attempt ends."""
        with self._lock:
            self._expected += 1
        return Permit(self)

    def _leave(self) -> None:
        with self._lock:
            self._expected -= 1

    def _wait(self, at_most: float) -> _Slot | None:
        slot = None
        until = self._clock.monotonic() + at_most
        while True:
            with self._lock:
                now = self._clock.monotonic()
                # Again at every look: those ahead may have gone out late, and a 429 may have come in.
                plan = self._plan(list(self._ahead_of(slot)), now)
                if plan.at > until:
                    if slot:
                        self._slots.remove(slot)
                    return None
                if slot is None:
                    slot = plan
                    self._slots.append(slot)
                slot.at = at = plan.at
                if at <= now and self._in_flight < self._most_in_flight:
                    slot.sent, self._is_new = True, False
                    self._in_flight += 1
                    self._forget(now)
                    return slot
                # A reply may change the plan: wake up now and then to see.
                look = GLANCE if self._others or self._most_in_flight < math.inf else at_most
                if any(other.sent and not other.ended for other in self._ahead_of(slot)):
                    # An answer under way may tell that its request was not late, and bring the next turn forward.
                    look = min(look, max(at - now - self._lateness, self._lateness / 5))
            self._clock.sleep(min(at - now, look) if at > now else GLANCE)

    def _observe(self, budget: Budget, slot: _Slot, connect_seconds: float) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._end(slot)
            slot.at += connect_seconds
            # Whatever it took longer than the fastest may all have been on its way to the provider.
            took = now - slot.at
            self._fastest = min(took, 0.99 * self._fastest + 0.01 * took) if self._fastest else took
            slot.late = min(took - self._fastest, LATEST * self._limit.window, 0.25)
            self._answers += 1
            if self._answers <= self._limit.requests:
                # Too few answers so far to know the fastest.
                slot.late = max(slot.late, self._lateness)
            self._throttled = 0
            if budget.limit and budget.limit != self._limit.requests:
                self._limit = Limit(budget.limit, self._limit.window)
                self._share = float(budget.limit)
            self._share = min(self._share * (1.0 + TARGET_REJECTIONS * (1.0 - DECREASE)), self._limit.requests)
            if self._is_short:
                self._most_in_flight = math.inf
            if budget.remaining is not None:
                self._learn(budget.remaining, budget.reset_after, slot, now)
            else:
                # No header says how much is left, so each success allows one more at once (slow start).
                self._most_in_flight += 1.0

    def _learn(self, remaining: int, reset_after: float | None, slot: _Slot, now: float) -> None:
        limit = self._limit
        others = limit.requests - remaining - self._own(slot, now)
        self._zeros = 0 if remaining > 0 else self._zeros + (others > 0)
        if self._zeros > DOUBTED:
            # It says that nothing is left, and accepts one request after the other: do not believe it.
            others, remaining = 0, limit.requests
        if others > 0:
            self._others_at = now
        elif self._is_alone(now):
            self._share = min(self._share + INCREASE * limit.requests, limit.requests)
        if self._is_short:
            self._others = [(end, count) for end, count in self._others if end > now]
            if others > 0:
                # For two windows, so that another reply can confirm it before it is forgotten.
                self._others.append((now + 2 * limit.window, others))
        else:
            # `remaining` is as of when this request was counted; those sent since have used some of it.
            later = sum(other.sent and other.at > slot.at for other in self._slots)
            self._most_in_flight = max(1.0, self._in_flight + remaining - later)
            if others > 0 and remaining == 0:
                wait = min(reset_after or limit.window, limit.window)
                self._blocked_until = max(self._blocked_until, now + wait)

    def _throttle(self, budget: Budget, slot: _Slot, connect_seconds: float) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._end(slot)
            slot.at += connect_seconds
            self._zeros = 0
            growing = min(self._backoff * 2.0**self._throttled, LONGEST_GROWING_WAIT)
            named = budget.retry_after or budget.reset_after
            # Throttled again and again at the very moment it named, the provider is not believed any more.
            wait = named if named and self._throttled < BELIEVED else max(named or 0.0, growing)
            if self._blocked_until <= now:
                self._throttled = min(self._throttled + 1, 16)
            self._blocked_until = max(self._blocked_until, now + min(wait, LONGEST_DEFERRAL))
            if named:
                self._asked_until = max(self._asked_until, now + min(named, LONGEST_DEFERRAL))
            # Where replies show no other client, a first 429 comes of our own requests arriving a little early.
            jitter = budget.remaining is not None and self._is_alone(now)
            if not jitter or not self._is_short:
                # One request at a time until a reply shows that the limit lets more through.
                self._most_in_flight = 1.0
            if slot.at > self._throttled_at:
                # Only the first 429 of those in flight together: the others tell the same news again.
                self._throttled_at = now
                if not jitter:
                    self._share = max(LEAST_SHARE * self._limit.requests, DECREASE * self._share)
            # The provider does not count what it throttles.
            self._slots.remove(slot)

    def _unanswered(self, slot: _Slot) -> None:
        with self._lock:
            self._end(slot)

    def _end(self, slot: _Slot) -> None:
        self._in_flight -= not slot.ended
        slot.ended = True

    def _is_alone(self, now: float) -> bool:
        return now - max(self._others_at, self._throttled_at) > ALONE * self._limit.window

    def _own(self, slot: _Slot, now: float) -> int:
        # Requests sent while this one was under way may have been counted before it, too.
        window = self._limit.window
        slack = max(min(0.05 * window, 0.25), min(now - slot.at, window / 2))
        since, until = slot.at - window, slot.at + slack
        return sum(other.sent and since < other.counted and other.at <= until for other in self._slots)

    def _ahead_of(self, slot: _Slot | None) -> Iterator[_Slot]:
        for other in self._slots:
            if other is slot:
                return
            yield other

    def _forget(self, now: float) -> None:
        old = now - 2 * self._limit.window
        while len(self._slots) > 2 * self._limit.requests and self._slots[0].ended and self._slots[0].at < old:
            self._slots.popleft()

    def _plan(self, slots: list[_Slot], now: float) -> _Slot:
        """The next request's place after those `slots`."""
        at = max(now, self._blocked_until, slots[-1].at if slots else now)
        counted = sorted(slot.counted for slot in slots)
        # A share that is no whole number is rounded up, and its window stretched in proportion.
        most = math.ceil(self._share)
        window = self._limit.window
        stretched = window * most / self._share
        if len(counted) >= most:
            at = max(at, counted[-most] + stretched + MARGIN)
        others = max((count for end, count in self._others if end > now), default=0)
        left = max(1, self._limit.requests - others)
        if len(counted) >= left:
            at = max(at, counted[-left] + window + MARGIN)
        return _Slot(at, self._lateness)

    @property
    def _lateness(self) -> float:
        """Seconds by which a request counts as late until its answer is there."""
        return min(LATE * self._limit.window, 0.25)


class Permit:
    """One attempt's place in the line: counted ahead of later ones until it takes its slot or leaves."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting = True
        self._slot: _Slot | None = None

    def wait(self, at_most: float) -> bool:
        """Sleeps until this request may start: True. False when that is over `at_most` seconds away: at once, or after
        `at_most` where only a reply could tell.
        """
        self.close()
        self._slot = self._pace._wait(at_most)
        return self._slot is not None

    def observe(self, budget: Budget, connect_seconds: float = 0.0) -> None:
        """Learns from the reply to this request, which left so many seconds after its turn had come."""
        if self._slot:
            self._pace._observe(budget, self._slot, connect_seconds)

    def throttle(self, budget: Budget, connect_seconds: float = 0.0) -> None:
        """Learns from a 429: nothing until the moment the provider names, or for a growing back-off."""
        if self._slot:
            self._pace._throttle(budget, self._slot, connect_seconds)

    def close(self) -> None:
        if self._waiting:
            self._waiting = False
            self._pace._leave()

    def __enter__(self) -> "Permit":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._slot:
            self._pace._unanswered(self._slot)
