"""What one execution environment knows of one account: its pace, its health, and whether it is held."""

import math
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from relay.pacing import Pace
from relay.ports import Clock

KNOWN = 1_000
"""How many accounts one environment knows, those it had last. Idle, one takes 4 KB; busy at sixty a minute, 80."""

POISON_FAILURES = 5
"""An event that failed this often while others of its account succeeded becomes a dead letter ..."""

CHANCE = 1e-6
"""... or oftener, where attempts of the others fail, too: until chance alone would do that to one in a million."""

WITNESSES = 50
"""How many attempts of other events tell how often an attempt fails by chance."""

WITNESS_SECONDS = 1800.0
"""For how long they tell it: what was so in an outage says nothing of an hour later."""

TRIED_SECONDS = 4 * 3600.0
"""For how long an event's failures are remembered here: several bad ones, each of which holds a quiet account for a
quarter of an hour, come an hour apart.
"""

REMEMBERED = 1_000
"""How many events that did not get through an account remembers, the newest."""

RECENT_SECONDS = 60.0
"""For how long a success is taken to say that the provider works."""

REFUSED_SECONDS = 30.0
"""Least seconds between two refusals of an event's credentials that count against it."""

SHORTEST_HOLD = 30.0
"""Seconds that an account is held while one event alone was refused: it may be that event."""

SIDE_BY_SIDE = 1.0
"""Seconds by which a success may have begun before a refusal and still speak for the credentials of both."""

LONGEST_BACKOFF = 900.0
PASSES_AFTER = 3
"""Failures after which an event no longer holds back later events of its own customer."""

LONGEST_LONE_BACKOFF = 60.0
SHORTEST_BACKOFF = 2.0

SLOW = 3.0
"""Seconds after which a failure is one that hangs."""

IDLE = 4.0
"""How many times as long as it was waited for an answer that did not come an account is left alone: it holds one of the
few places that all accounts share.
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """One event's failures: `strikes` counts those since which others succeeded, the first one included.

    `blame` is what they weigh: a strike weighs less where others fail, too. At `POISON_FAILURES` the event is at fault.

    `failed_at` and `last_failed_at` are when the first and the last attempt that failed began, in Unix seconds.
    """

    strikes: int = 0
    blame: float = 0.0
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
        self._tries: dict[str, tuple[int, float]] = {}
        """How often each of the events that do not get through has failed here, and when last."""
        self._asked: dict[str, bool] = {}
        """Events that were tried in this batch."""
        self._passed_over: set[str] = set()
        """Events that the last batch had no turn for."""
        self._throttled: dict[str, int] = {}
        """How often each event was answered 429 since the last success."""
        self._suspects: dict[str, float] = {}
        """Events that were answered 429 again and again until another one got through, and when it did."""
        self._turned_away: deque[str] = deque(maxlen=WITNESSES)
        """Events that were answered 429, 401 or 403 last."""
        self._refused: set[str | None] = set()
        """Events that were refused since the last success, two at most; None: it was not for the event."""
        self._held_alone = False
        self._attempts: deque[tuple[str, bool, float]] = deque(maxlen=2 * WITNESSES)
        """The last attempts: whose, whether the provider took it, and when."""
        self._missed: dict[str, tuple[int, float]] = {}
        """How often each event has been tried without getting through, and when last."""
        self._round_at = float("-inf")
        self._probing = False
        self._waited = 0.0
        """The longest that a failure of this batch took, in seconds."""
        self._held_until = 0.0
        self._troubled_at = 0.0

    def begin_batch(self, *, was_tried: bool) -> None:
        """A batch begins: what failed in an earlier one does not keep this one from asking.

        `was_tried`: some of its messages came before and did not get through. An environment that meets the account
        with such a batch knows nothing of why, so it probes: its head may be a bad event, or the provider be down.
        """
        with self._lock:
            self._probing = self._probing or (was_tried and self._round_at < 0)
            self._round_at = self._clock.now()
            self._waited = 0.0
            self._asked.clear()

    def end_batch(self, left: Iterable[str]) -> None:
        """A batch ends and leaves these events: those that had no turn stand in their place next time."""
        with self._lock:
            self._passed_over = set(left) - self._asked.keys()

    def succeeded(self, event_id: str, started_at: float) -> None:
        """The provider took an event whose request started then."""
        with self._lock:
            self._worked_at = max(self._worked_at, started_at)
            self._witness(event_id, True)
            if event_id in self._turned_away:
                self._turned_away.remove(event_id)
            self._tries.pop(event_id, None)
            self._failing = {
                other: at for other, at in self._failing.items() if at > self._worked_at and other != event_id
            }
            self._probing = False
            self._held_until = 0.0
            self._refused.clear()
            for other, times in self._throttled.items():
                if times >= PASSES_AFTER:
                    _keep(self._suspects, other, self._clock.now())
            self._throttled.clear()
            self._suspects.pop(event_id, None)

    def failed(self, event_id: str, before: Failure, started_at: float, attempts: int = 1) -> Failure:
        """The event failed again, in an attempt begun then, its `attempts`th; `before` is what the ledger remembers."""
        with self._lock:
            first = before.failed_at or started_at
            alone = not any(other != event_id for other in self._failing)
            # Another event, tried after this one failed last, got through; or this is the only one that does not.
            worked_between = self._worked_at > before.last_failed_at
            strike = before.strikes == 0 or worked_between or (alone and self._worked_since(first))
            _keep(self._failing, event_id, self._clock.now())
            self._waited = max(self._waited, self._clock.now() - started_at)
            _keep(self._tries, event_id, (max(attempts, self._tried(event_id) + 1), self._clock.now()))
            return self._struck(event_id, before, strike, first, started_at)

    def parked(self, event_id: str, started_at: float) -> None:
        """The event, whose request started then, was not answered, and is not tried again."""
        with self._lock:
            self._waited = max(self._waited, self._clock.now() - started_at)
            if started_at > self._worked_at:
                _keep(self._failing, event_id, self._clock.now())
            self._witness(event_id, False)

    def _struck(
        self,
        event_id: str,
        before: Failure,
        strike: bool,
        failed_at: float,
        last_failed_at: float,
        throttled: bool = False,
    ) -> Failure:
        """The event did not get through once more, perhaps because it was `throttled`; `strike`: while others did."""
        weight = 0.0
        if strike:
            # The first one says nothing against it, by however few witnesses; it only begins the count.
            weight = self._weight(event_id, throttled) if before.strikes else 1.0
        self._witness(event_id, False)
        strikes, blame = before.strikes + strike, before.blame + weight
        is_poison = strike and before.strikes > 0 and blame >= POISON_FAILURES - 1e-6
        return Failure(strikes, blame, failed_at, last_failed_at, is_poison)

    def _witness(self, event_id: str, succeeded: bool) -> None:
        """Keeps an attempt. Of those that fail, the first at once and the rest when the event has got through after
        all: a few bad events, which never do, would make it look as if anything failed.
        """
        _keep(self._asked, event_id, True)
        now, (missed, missed_at) = self._clock.now(), self._missed.pop(event_id, (0, 0.0))
        if succeeded:
            self._attempts.extend([(event_id, False, missed_at)] * min(missed - 1, WITNESSES // 2))
        else:
            _keep(self._missed, event_id, (missed + 1, now))
        if succeeded or not missed:
            self._attempts.append((event_id, succeeded, now))

    def _weight(self, event_id: str, throttled: bool) -> float:
        """What one strike weighs, at most 1: as many as make an event poison are one chance in a million together."""
        # A provider that fails every other attempt fails a good event five times in a row once in thirty.
        since = self._clock.now() - WITNESS_SECONDS
        others = [took for other, took, at in self._attempts if other != event_id and at >= since][-WITNESSES:]
        # A 429 is by nature about the account: that one or two got through in a new environment does not prove that
        # the third was turned away for what it is.
        by_chance = 1.0 / (len(others) + 2) if throttled else 0.0
        if not all(others):
            share = others.count(False) / len(others)
            # As high as it may well be, by so few witnesses.
            by_chance = max(by_chance, min(share + 2.0 * math.sqrt(share * (1.0 - share) / len(others)), 0.999))
        return min(1.0, POISON_FAILURES * math.log(by_chance) / math.log(CHANCE)) if by_chance else 1.0

    def forget(self, event_id: str) -> None:
        """The event is given up: it no longer speaks for its account."""
        with self._lock:
            self._failing.pop(event_id, None)
            self._tries.pop(event_id, None)
            self._suspects.pop(event_id, None)

    def throttled(self, event_id: str, before: Failure, started_at: float) -> Failure:
        """The event was answered 429, in an attempt begun then: for its account's pace, or for what it is. It is the
        event's own fault where others, tried after it, get through.
        """
        with self._lock:
            self._turned_away.append(event_id)
            _keep(self._throttled, event_id, self._throttled.get(event_id, 0) + 1)
            if len(self._throttled) == 1:
                self.pace.ask_within(LONGEST_LONE_BACKOFF)
            strike = before.strikes == 0 or self._worked_at > before.last_failed_at
            return self._struck(event_id, before, strike, before.failed_at, started_at, throttled=True)

    def refused(self, event_id: str, before: Failure, started_at: float) -> Failure:
        """The credentials were refused for one event, in an attempt begun then. That is the event's own fault only
        where others get through with them, and not at once: a provider's nodes learn of a new token one by one.
        """
        with self._lock:
            self._turned_away.append(event_id)
            _keep(self._tries, event_id, (self._tried(event_id) + 1, self._clock.now()))
            first = before.failed_at or started_at
            strike = before.strikes == 0 or (
                self._worked_at > before.last_failed_at and started_at - before.last_failed_at >= REFUSED_SECONDS
            )
            if not strike:
                self._witness(event_id, False)
                return before
            return self._struck(event_id, before, strike, first, started_at)

    def hold(self, refused_at: float, since: float, event_id: str | None = None) -> float:
        """The credentials are refused, first at `refused_at`. Returns the seconds to stay away: five minutes, growing
        to fifteen the longer it lasts; none where others have got through `since`.

        With an `event_id` it may be that event: half a minute, growing, while no other is refused.
        """
        with self._lock:
            now = self._clock.now()
            if len(self._refused) < 2:
                self._refused.add(event_id)
            if self._worked_at > since - SIDE_BY_SIDE:
                return 0.0
            lone = self._refused == {event_id} and event_id is not None
            if self._held_until <= now or self._held_alone > lone:
                lasted = now - refused_at
                seconds = self._hold_seconds * min(max(1 + lasted // self._hold_seconds, 1.0), 3.0)
                self._held_until = now + (min(seconds, max(SHORTEST_HOLD, lasted / 4)) if lone else seconds)
                self._held_alone = lone
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
            # A second one would take its place for as long again.
            enough = 3 if not self._probing else 2 if self._waited < SLOW else 1
            if failed_now >= enough:
                return 0
            return 1 if self._probing else 1_000

    def _worked_since(self, moment: float) -> bool:
        # A while ago says nothing: an outage may have begun.
        return self._worked_at > max(moment, self._down_at, self._clock.now() - RECENT_SECONDS)

    def stands_aside(self, event_id: str) -> bool:
        """Whether the event failed so often that later events of its customer no longer wait behind it."""
        with self._lock:
            return self._tried(event_id) >= PASSES_AFTER

    def _tried(self, event_id: str) -> int:
        # Long ago it may have been another version of it, and delivered elsewhere since.
        tries, at = self._tries.get(event_id, (0, 0.0))
        return tries if at > self._clock.now() - TRIED_SECONDS else 0

    def is_stuck(self, event_id: str, *, came_before: bool = False) -> bool:
        """Whether the event is answered 429 again and again, and nothing else gets through; or, where it `came_before`,
        whether it was, until something else did.
        """
        with self._lock:
            suspected_at = self._suspects.get(event_id, float("-inf")) if came_before else float("-inf")
            is_suspect = suspected_at > self._clock.now() - TRIED_SECONDS
            return is_suspect or self._throttled.get(event_id, 0) >= PASSES_AFTER

    def order[T](self, items: list[T], event_id: Callable[[T], str]) -> list[T]:
        """The order in which to try: as they come, but what did not get through after the others, or a few bad events
        at the head would answer for all behind them. Once: one that had no turn for it stands in its place again. While
        we probe, from anywhere.
        """
        with self._lock:
            last = {*self._turned_away, *self._tries} - self._passed_over
            if self._probing:
                start = int(self._rng() * len(items))
                items = items[start:] + items[:start]
            return sorted(items, key=lambda item: (event_id(item) in last, self._throttled.get(event_id(item), 0)))

    def back_off(self, strikes: int, succeeded: bool, failing_for: float) -> float:
        """Ends a batch in which something failed; returns the seconds until the account's next try.

        `strikes`: the most of any failed event. `succeeded`: others got through, so the provider is well.
        `failing_for`: seconds since the first of the failures; the ledger remembers it where an environment would not.
        """
        with self._lock:
            lone = len(self._failing) <= 1
            if succeeded or (lone and self._worked_since(self._clock.now() - failing_for)):
                self._probing = False
                return SHORTEST_BACKOFF * min(max(1, strikes), POISON_FAILURES)
            self._probing = True
            if not lone:
                # The provider is down: until it works again no failure is an event's own.
                self._down_at = self._clock.now()
            most = max(LONGEST_LONE_BACKOFF, failing_for / 20) if lone else LONGEST_BACKOFF
            # In proportion to what it has lasted: that grows as powers of a number of tries would, and needs no count.
            wait = self._rng() * min(max(failing_for, 2 * SHORTEST_BACKOFF), most, LONGEST_BACKOFF)
            return max(1.0, wait, (0.5 + self._rng()) * IDLE * self._waited)


def recent[T](make: Callable[[str], T], most: int = KNOWN) -> Callable[[str], T]:
    """What there is for each destination, made when first asked for; kept for the `most` that were asked for last.

    An account that is forgotten is met again as a new environment meets it, which may have it next at any time.
    """
    return lru_cache(maxsize=most)(make)


def _keep[T](remembered: dict[str, T], event_id: str, what: T) -> None:
    """Remembers `what` of an event, and forgets what was remembered longest ago."""
    remembered.pop(event_id, None)
    remembered[event_id] = what
    if len(remembered) > REMEMBERED:
        del remembered[next(iter(remembered))]
