"""How fast one account may be sent to: never more than its limit in any window, corrected by every reply.

The lane makes one execution environment the owner of an account, so what stands here is globally right. The limiter is
a token bucket whose tokens come back exactly one window after each was used (a sliding-window log): at the limits of
marketing providers, tens per window, it is exact, and never lets twice the limit through as a refilling bucket does.
"""

import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from relay.ports import Clock

DAY = 86_400.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
MARGIN = 0.001
"""Seconds between the end of a window as we reckon it and the next request."""

SHORT_WINDOW = 1.0
"""Seconds of window that a new environment waits out rather than ask."""

GLANCE = 0.05
"""Seconds between looks at the budget while nothing is known of it."""

BELIEVED = 5
"""How many 429s in a row may name a moment at which the next one comes."""

LONGEST_GROWING_WAIT = 900.0

LONGEST_DEFERRAL = 12 * 3600.0
"""SQS hides a message for at most twelve hours after its receive."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a provider allows an account: `requests` in each `window` of seconds."""

    requests: int
    window: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What one reply said of the account's budget. None: not said, or not believable. `reset_after` is in seconds."""

    limit: int | None = None
    remaining: int | None = None
    reset_after: float | None = None
    retry_after: float | None = None


def read_count(text: str | None, most: int = 1_000_000) -> int | None:
    """A header's whole number from 0 to `most`, else None."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= most else None


def read_wait(text: str | None, headers: Mapping[str, str], now: float) -> float | None:
    """A header's wait in seconds, given as seconds or as an HTTP or ISO 8601 date; None for anything not believable.

    A date is taken against the reply's own `Date`, so that a skewed clock on either side does not matter. Zero, past
    and negative waits and those beyond a day say nothing.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        moment = _read_date(text)
        if moment is None:
            return None
        sent = _read_date(headers.get("date", ""))
        seconds = moment - (sent if sent is not None else now)
    return seconds if 0 < seconds <= DAY else None


def _read_date(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None


@dataclass(slots=True, eq=False)
class _Slot:
    """One request's place in the window: planned, then sent, then answered."""

    at: float


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
        self._blocked_until = 0.0
        self._throttled = 0
        self._apart_until = 0.0
        # Who was here before us is unknown. A short window is waited out; of a long one, all but one is taken for used
        # until a reply tells.
        used = limit.requests - (1 if limit.window > SHORT_WINDOW else 0)
        self._others = [(clock.monotonic() + limit.window, used)]
        self._guessing = True

    def delay(self) -> float:
        """Seconds until one more request may start, after all whose turn is already given."""
        with self._lock:
            now = self._clock.monotonic()
            times = [slot.at for slot in self._slots]
            for _ in range(self._expected + 1):
                times.append(self._next(times, now))
            return max(0.0, times[-1] - now)

    def turn(self) -> "Turn":
        """A place in the line for one attempt, to be closed when the attempt ends."""
        with self._lock:
            self._expected += 1
        return Turn(self)

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
                at = self._next([other.at for other in self._ahead_of(slot)], now)
                if at > until:
                    if slot:
                        self._slots.remove(slot)
                    return None
                if slot is None:
                    slot = _Slot(at)
                    self._slots.append(slot)
                slot.at = at
                if at <= now:
                    self._forget(now)
                    return slot
                # The first reply may open the whole window: do not sleep through it.
                longest = GLANCE if self._guessing or now < self._apart_until else at_most
            self._clock.sleep(min(at - now, longest))

    def _observe(self, budget: Budget, slot: _Slot) -> None:
        with self._lock:
            now = self._answered(slot)
            self._throttled = 0
            if budget.limit and budget.limit != self._limit.requests:
                self._limit = Limit(budget.limit, self._limit.window)
            if budget.remaining is None and self._guessing:
                # A provider that says nothing is believed a request at a time.
                self._others = [(end, max(0, count - 1)) for end, count in self._others]
            if budget.remaining is not None:
                self._apart_until = 0.0
                used = self._limit.requests - budget.remaining
                self._note_others(used - self._own(slot), now, budget.reset_after)

    def _throttle(self, budget: Budget, slot: _Slot) -> None:
        with self._lock:
            now = self._answered(slot)
            growing = min(self._backoff * 2.0**self._throttled, LONGEST_GROWING_WAIT)
            named = budget.retry_after or budget.reset_after
            # Refused again and again at the moment it named, the provider is not believed any more.
            wait = named if named and self._throttled < BELIEVED else max(named or 0.0, growing)
            if self._blocked_until <= now:
                self._throttled = min(self._throttled + 1, 16)
            self._blocked_until = max(self._blocked_until, now + min(wait, LONGEST_DEFERRAL))
            self._apart_until = self._blocked_until + self._limit.window
            # What was refused did not count.
            self._slots.remove(slot)

    def _answered(self, slot: _Slot) -> float:
        # The provider counted it somewhere between its send and its reply: on the safe side, at the reply.
        now = self._clock.monotonic()
        slot.at = min(now, slot.at + min(0.008 * self._limit.window, 0.25))
        return now

    def _note_others(self, count: int, now: float, reset_after: float | None) -> None:
        if self._guessing:
            self._others, self._guessing = [], False
        # Until the window ends, where the provider says when; else for long enough to be seen again.
        window = self._limit.window
        until = now + (reset_after if reset_after and reset_after < window else 2 * window)
        self._others = [(end, n) for end, n in self._others if end > now]
        if count > 0:
            self._others.append((until, min(count, self._limit.requests)))

    def _own(self, slot: _Slot) -> int:
        # Generous towards the future: requests side by side reach the provider in any order.
        slack = min(0.05 * self._limit.window, 0.25)
        return sum(slot.at - self._limit.window < other.at <= slot.at + slack for other in self._slots)

    def _ahead_of(self, slot: _Slot | None) -> Iterator[_Slot]:
        for other in self._slots:
            if other is slot:
                return
            yield other

    def _forget(self, now: float) -> None:
        while len(self._slots) > 2 * self._limit.requests and self._slots[0].at < now - 2 * self._limit.window:
            self._slots.popleft()

    def _next(self, times: list[float], now: float) -> float:
        """When one more request may start after those `times`."""
        # After a 429 one request asks whether it is over; the others come when it was told what is left.
        apart = self._backoff if now < self._apart_until else 0.0
        earliest = max(now, self._blocked_until, times[-1] + apart if times else now)
        while True:
            others = max((n for end, n in self._others if end > earliest), default=0)
            allowed = self._limit.requests - others
            at = earliest
            if 0 < allowed <= len(times):
                at = max(earliest, sorted(times)[-allowed] + self._limit.window + MARGIN)
            change = min((end for end, n in self._others if earliest < end and n == others), default=at)
            if allowed > 0 and (not others or at <= change):
                return at
            earliest = max(change, earliest)


class Turn:
    """One attempt's place in the line: counted ahead of later ones until it takes its slot or leaves."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting = True
        self._slot: _Slot | None = None

    def wait(self, at_most: float) -> bool:
        """Sleeps until this request may start: True. False, at once, when that is over `at_most` seconds away."""
        self.close()
        self._slot = self._pace._wait(at_most)
        return self._slot is not None

    def observe(self, budget: Budget) -> None:
        """Learns from the reply to this request."""
        if self._slot:
            self._pace._observe(budget, self._slot)

    def throttle(self, budget: Budget) -> None:
        """Learns from a 429: nothing until the moment the provider names, or for a growing back-off."""
        if self._slot:
            self._pace._throttle(budget, self._slot)

    def close(self) -> None:
        if self._waiting:
            self._waiting = False
            self._pace._leave()

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
