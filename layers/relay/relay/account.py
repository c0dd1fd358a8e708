"""What one execution environment knows of one account: its pace, its health, and whether it is held."""

import math
import random
import threading
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass

from relay.pacing import Pace
from relay.ports import Clock

POISON_FAILURES = 5
"""An event that failed this often while others of its account succeeded becomes a dead letter ..."""

MOST_POISON_FAILURES = 25
"""... or up to this often, where attempts of the others fail, too."""

CHANCE = 1e-6
"""How likely it may be that a good event fails that often by chance alone."""

WITNESSES = 50
"""How many attempts of other events tell how often an attempt fails by chance."""

RECENT_SECONDS = 60.0
"""For how long a success is taken to say that the provider works."""

REFUSED_SECONDS = 30.0
"""Least seconds between two refusals of an event's credentials that count against it."""

SIDE_BY_SIDE = 1.0
"""Seconds by which a success may have begun before a refusal and still speak for the credentials of both."""

LONGEST_BACKOFF = 900.0
PASSES_AFTER = 3
"""Failures after which an event no longer holds back later events of its own customer."""

LONGEST_LONE_BACKOFF = 60.0
SHORTEST_BACKOFF = 2.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One event's failures: `strikes` counts those that are the event's own fault, the first one included.

    `failed_at` and `last_failed_at` are when the first and the last attempt that failed began, in Unix seconds.
    """

    strikes: int = 0
    failed_at: float = 0.0
    last_failed_at: float = 0.0
    is_poison: bool = False
    """The account's verdict on the attempt just made; never remembered."""


class Account:
    """Safe to share between the threads of a batch. Times are Unix seconds, waits are seconds.

    The question it answers is whose fault a failure is. An event that fails while others, tried after it, succeed has
    itself to blame; when whatever is tried fails, it is the provider.
    """

    def __init__(
        self, pace: Pace, clock: Clock, hold_seconds: float = 300.0, rng: Callable[[], float] = random.random
    ) -> None:
        self.pace = pace
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._rng = rng
        self._lock = threading.Lock()
        self._worked_at = float("-inf")
        self._down_at = float("-inf")
        self._failing: dict[str, float] = {}
        """Events that failed since the last success, and when."""
        self._tries: dict[str, int] = {}
        """How often each of the events that do not get through has failed here."""
        self._turned_away: deque[str] = deque(maxlen=WITNESSES)
        """Events that were answered 429, 401 or 403 last."""
        self._attempts: deque[tuple[str, bool]] = deque(maxlen=2 * WITNESSES)
        """The last attempts: whose, and whether the provider took it."""
        self._round_at = float("-inf")
        self._probing = False
        self._held_until = 0.0
        self._troubled_at = 0.0

    def begin_round(self) -> None:
        """A batch begins: what failed in an earlier one does not keep this one from asking."""
        with self._lock:
            self._round_at = self._clock.now()

    def succeeded(self, event_id: str, started_at: float) -> None:
        """The provider took an event whose request started then."""
        with self._lock:
            self._worked_at = max(self._worked_at, started_at)
            self._attempts.append((event_id, True))
            if event_id in self._turned_away:
                self._turned_away.remove(event_id)
            self._tries.pop(event_id, None)
            self._failing = {
                other: at for other, at in self._failing.items() if at > self._worked_at and other != event_id
            }
            self._probing = False
            self._held_until = 0.0

    def failed(self, event_id: str, before: Failure, started_at: float, attempts: int = 1) -> Failure:
        """The event failed again, in an attempt begun then, its `attempts`th; `before` is what the ledger remembers."""
        with self._lock:
            first = before.failed_at or started_at
            alone = not any(other != event_id for other in self._failing)
            # Another event, tried after this one failed last, got through; or this is the only one that does not.
            worked_between = self._worked_at > before.last_failed_at
            strike = before.strikes > 0 and (worked_between or (alone and self._worked_since(first)))
            self._failing[event_id] = self._clock.now()
            self._tries[event_id] = max(attempts, self._tries.get(event_id, 0) + 1)
            self._attempts.append((event_id, False))
            strikes = max(before.strikes, 1) + strike
            return Failure(strikes, first, started_at, strike and strikes >= self._most_strikes(event_id))

    def _most_strikes(self, event_id: str) -> int:
        # A provider that fails every other attempt fails a good event five times in a row once in thirty.
        others = [took for other, took in self._attempts if other != event_id][-WITNESSES:]
        by_chance = others.count(False) / len(others) if others else 0.0
        if by_chance in (0.0, 1.0):
            return POISON_FAILURES
        return min(max(POISON_FAILURES, math.ceil(math.log(CHANCE) / math.log(by_chance))), MOST_POISON_FAILURES)

    def forget(self, event_id: str) -> None:
        """The event is given up: it no longer speaks for its account."""
        with self._lock:
            self._failing.pop(event_id, None)
            self._tries.pop(event_id, None)

    def throttled(self, event_id: str) -> None:
        """The event was answered 429: for its account's pace, or for what it is."""
        with self._lock:
            self._turned_away.append(event_id)

    def refused(self, event_id: str, before: Failure, started_at: float) -> Failure:
        """The credentials were refused for one event, in an attempt begun then. That is the event's own fault only
        where others get through with them, and not at once: a provider's nodes learn of a new token one by one.
        """
        with self._lock:
            self._turned_away.append(event_id)
            self._tries[event_id] = self._tries.get(event_id, 0) + 1
            first = before.failed_at or started_at
            if before.strikes == 0:
                return Failure(1, first, started_at)
            others_pass = self._worked_at > before.last_failed_at
            if not others_pass or started_at - before.last_failed_at < REFUSED_SECONDS:
                return before
            return Failure(before.strikes + 1, first, started_at, before.strikes + 1 >= POISON_FAILURES)

    def hold(self, refused_at: float, since: float) -> float:
        """The credentials are refused, first at `refused_at`. Returns the seconds to stay away: five minutes, growing
        to fifteen the longer it lasts; none where others have got through `since`.
        """
        with self._lock:
            now = self._clock.now()
            if self._worked_at > since - SIDE_BY_SIDE:
                return 0.0
            if self._held_until <= now:
                times = 1 + (now - refused_at) // self._hold_seconds
                self._held_until = now + self._hold_seconds * min(max(times, 1.0), 3.0)
                self._probing = True
            return self._held_until - now

    def troubled(self) -> float:
        """A service of our own failed. Returns since when that has been so, in Unix seconds."""
        with self._lock:
            self._troubled_at = self._troubled_at or self._clock.now()
            return self._troubled_at

    def untroubled(self) -> None:
        """An attempt came to its end: our services work."""
        with self._lock:
            self._troubled_at = 0.0

    @property
    def held_for(self) -> float:
        """Seconds the account is still held; zero if it is not."""
        with self._lock:
            return max(0.0, self._held_until - self._clock.now())

    @property
    def room(self) -> int:
        """How many requests may be in flight: one while we probe whether the provider is back, none when it is not."""
        with self._lock:
            if self._held_until > self._clock.now():
                return 0
            failed_now = sum(at >= self._round_at for at in self._failing.values())
            if failed_now >= (2 if self._probing else 3):
                return 0
            return 1 if self._probing else 1_000

    def _worked_since(self, moment: float) -> bool:
        # A while ago says nothing: an outage may have begun.
        return self._worked_at > max(moment, self._down_at, self._clock.now() - RECENT_SECONDS)

    def stands_aside(self, event_id: str) -> bool:
        """Whether the event failed so often that later events of its customer no longer wait behind it."""
        with self._lock:
            return self._tries.get(event_id, 0) >= PASSES_AFTER

    def order[T](self, items: list[T], event_id: Callable[[T], str]) -> list[T]:
        """The order in which to try: as they come, but what was turned away after the others, and while we probe from
        anywhere and what failed before last, or one event at the head would answer for all behind it.
        """
        with self._lock:
            last: Container[str] = self._turned_away
            if self._probing:
                start = int(self._rng() * len(items))
                items, last = items[start:] + items[:start], {*self._turned_away, *self._tries}
            return sorted(items, key=lambda item: event_id(item) in last)

    def back_off(self, strikes: int, succeeded: bool, failing_for: float) -> float:
        """Ends a batch in which something failed; returns the seconds until the account's next try.

        `strikes`: the most of any failed event. `succeeded`: others got through, so the provider is well.
        `failing_for`: seconds since the first of the failures; the ledger remembers it where an environment would not.
        """
        with self._lock:
            lone = len(self._failing) <= 1
            if succeeded or (lone and self._worked_since(self._clock.now() - failing_for)):
                self._probing = False
                return SHORTEST_BACKOFF * max(1, strikes)
            self._probing = True
            if not lone:
                # The provider is down: until it works again no failure is an event's own.
                self._down_at = self._clock.now()
            most = max(LONGEST_LONE_BACKOFF, failing_for / 20) if lone else LONGEST_BACKOFF
            # In proportion to what it has lasted: that grows as powers of a number of tries would, and needs no count.
            return max(1.0, self._rng() * min(max(failing_for, 2 * SHORTEST_BACKOFF), most, LONGEST_BACKOFF))
