"""What one execution environment knows of one account: its pace, its health, and whether it is held."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from relay.pacing import Pace
from relay.ports import Clock

POISON_FAILURES = 5
"""An event that failed this often while others of its account succeeded becomes a dead letter."""

LONGEST_BACKOFF = 900.0
LONGEST_LONE_BACKOFF = 60.0
SHORTEST_BACKOFF = 2.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One event's failures: `strikes` counts those that are the event's own fault, the first one included."""

    strikes: int
    failed_at: float

    @property
    def is_poison(self) -> bool:
        return self.strikes >= POISON_FAILURES


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
        self._rounds = 0
        self._holds = 0
        self._held_until = 0.0

    def succeeded(self, event_id: str, started_at: float) -> None:
        """The provider took an event whose request started then."""
        with self._lock:
            self._worked_at = max(self._worked_at, started_at)
            self._failing = {
                other: at for other, at in self._failing.items() if at > self._worked_at and other != event_id
            }
            self._rounds = self._holds = 0
            self._held_until = 0.0

    def failed(self, event_id: str, before: Failure) -> Failure:
        """The event failed again; `before` is what the ledger remembers of it (no strikes: it never failed)."""
        with self._lock:
            now = self._clock.now()
            first = before.failed_at or now
            others_fail = any(other != event_id for other in self._failing)
            proven = bool(before.strikes) and self._worked_at > max(first, self._down_at) and not others_fail
            self._failing[event_id] = now
            return Failure(max(before.strikes, 1) + (1 if proven else 0), first)

    def forget(self, event_id: str) -> None:
        """The event is given up: it no longer speaks for its account."""
        with self._lock:
            self._failing.pop(event_id, None)

    def hold(self) -> float:
        """The credentials are refused. Returns the seconds to stay away: five minutes, growing to fifteen."""
        with self._lock:
            now = self._clock.now()
            if self._held_until <= now:
                self._held_until = now + self._hold_seconds * min(1 + self._holds, 3)
                self._holds += 1
            return self._held_until - now

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
            probing = self._rounds > 0 or self._holds > 0
            if len(self._failing) >= (2 if probing else 3):
                return 0
            return 1 if probing else 1_000

    def back_off(self, strikes: int, succeeded: bool) -> float:
        """Ends a batch in which something failed; returns the seconds until the account's next try.

        `strikes`: the most of any failed event. `succeeded`: others got through, so the provider is well.
        """
        with self._lock:
            lone = len(self._failing) <= 1
            if not lone:
                # The next round asks anew: what failed in this one does not speak against it.
                self._failing.clear()
            if succeeded or (lone and strikes > 1):
                self._rounds = 0
                return SHORTEST_BACKOFF * max(1, strikes)
            self._rounds = min(self._rounds + 1, 16)
            if not lone:
                # The provider is down: until it works again no failure is an event's own.
                self._down_at = self._clock.now()
            most = LONGEST_LONE_BACKOFF if lone else LONGEST_BACKOFF
            return max(1.0, self._rng() * min(SHORTEST_BACKOFF * float(2**self._rounds), most))
