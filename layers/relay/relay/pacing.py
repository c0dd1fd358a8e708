"""How fast one account may be sent to: never more than its limit in any window, corrected by every reply.

The lane makes one execution environment the owner of an account, so what stands here is globally right. The limiter is
a token bucket whose tokens come back exactly one window after each was used (a sliding-window log): at the limits of
marketing providers, tens per window, it is exact, and never lets twice the limit through as a refilling bucket does.
"""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from relay.ports import Clock

DAY = 86_400.0
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
    try:
        seconds = float(text)
    except ValueError:
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


class Pace:
    """The budget of one account. Safe to share between threads; all times are the clock's monotonic seconds."""

    def __init__(self, limit: Limit, clock: Clock, backoff: float = 1.0) -> None:
        self._limit = limit
        self._clock = clock
        self._backoff = backoff
        self._lock = threading.Lock()
        self._slots: deque[float] = deque()
        self._blocked_until = 0.0
        self._expected = 0
        self._throttled = 0
        # Room for the network to bring two requests closer together than they were sent.
        self._margin = min(0.01 * limit.window, 0.05)
        # Who was here before us is unknown: start as if others had all but one of the window, until a reply tells.
        self._others = [(clock.monotonic() + limit.window, limit.requests - 1)]
        self._guessing = True

    def delay(self) -> float:
        """Seconds until one more request may start, after all whose turn is already given."""
        with self._lock:
            now = self._clock.monotonic()
            slots = list(self._slots)
            for _ in range(self._expected + 1):
                slots.append(self._next(slots, now))
            return max(0.0, slots[-1] - now)

    def turn(self) -> "Turn":
        """A place in the line for one attempt, to be closed when the attempt ends."""
        with self._lock:
            self._expected += 1
        return Turn(self)

    def _leave(self) -> None:
        with self._lock:
            self._expected -= 1

    def _reserve(self, at_most: float) -> float | None:
        with self._lock:
            now = self._clock.monotonic()
            slot = self._next(self._slots, now)
            if slot - now > at_most:
                return None
            self._slots.append(slot)
            while len(self._slots) > 2 * self._limit.requests and self._slots[0] < now - 2 * self._limit.window:
                self._slots.popleft()
            return max(0.0, slot - now)

    def observe(self, budget: Budget, sent_at: float) -> None:
        """Learns from a reply to the request that started at `sent_at`."""
        with self._lock:
            now = self._clock.monotonic()
            self._throttled = 0
            if budget.limit and budget.limit != self._limit.requests:
                self._limit = Limit(budget.limit, self._limit.window)
            if budget.remaining is not None:
                used = self._limit.requests - budget.remaining
                self._note_others(used - self._own(sent_at), now, budget.reset_after)

    def throttle(self, budget: Budget, sent_at: float) -> None:
        """Learns from a 429: nothing until the moment the provider names, or for a growing back-off."""
        with self._lock:
            now = self._clock.monotonic()
            named = budget.retry_after or budget.reset_after
            wait = named or min(self._backoff * 2**self._throttled, 900.0)
            self._throttled = min(self._throttled + 1, 16)
            self._blocked_until = max(self._blocked_until, now + min(wait, LONGEST_DEFERRAL))
            self._note_others(self._limit.requests - self._own(sent_at) + 1, now, budget.reset_after)

    def _note_others(self, count: int, now: float, reset_after: float | None) -> None:
        if self._guessing:
            self._others, self._guessing = [], False
        until = now + min(reset_after or self._limit.window, self._limit.window)
        self._others = [(end, n) for end, n in self._others if end > now]
        if count > 0:
            self._others.append((until, min(count, self._limit.requests)))

    def _own(self, sent_at: float) -> int:
        # Generous on both edges: requests side by side reach the provider in any order.
        slack = min(0.05 * self._limit.window, 0.25)
        return sum(sent_at - self._limit.window - slack < slot <= sent_at + slack for slot in self._slots)

    def _next(self, slots: "deque[float] | list[float]", now: float) -> float:
        earliest = max(now, self._blocked_until, slots[-1] if slots else now)
        while True:
            others = max((n for end, n in self._others if end > earliest), default=0)
            allowed = self._limit.requests - others
            slot = earliest
            if 0 < allowed <= len(slots):
                slot = max(earliest, slots[-allowed] + self._limit.window + self._margin)
            change = (
                min((end for end, n in self._others if earliest < end and n == others), default=slot)
                if others
                else slot
            )
            if allowed > 0 and (not others or slot <= change):
                return slot
            earliest = max(change, earliest)


class Turn:
    """One attempt's place in the line: counted ahead of later ones until it takes its slot or leaves."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting = True

    def take(self, at_most: float) -> float | None:
        """Takes the next slot and returns the seconds to wait for it; None, and no slot, if that is over `at_most`."""
        self.close()
        return self._pace._reserve(at_most)

    def close(self) -> None:
        if self._waiting:
            self._waiting = False
            self._pace._leave()

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
