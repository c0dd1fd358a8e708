"""What one execution environment knows of one account: its pace, its health, and whether it is held."""

import math
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable
from copy import replace
from dataclasses import dataclass

from relay.account.pace import Pace
from relay.outcome import Outcome, Result
from relay.ports import Clock, Failure

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

MOST_EVENTS_REMEMBERED = 1_000
"""How many events that did not get through an account remembers, the newest."""

RECENT_SECONDS = 60.0
"""For how long a success is taken to say that the provider works."""

ALONE = 0.5
"""What part of its weight a failure has that counts only because its event is the one that does not get through, nobody
else having got through since it failed last: an outage may just have begun, and it is tried every few seconds.
"""

UNAUTHORIZED_SECONDS = 30.0
"""Least seconds between two refusals of an event's credentials that count against it."""

SHORTEST_HOLD = 30.0
"""Seconds that an account is held while one event alone was refused: it may be that event."""

SIDE_BY_SIDE = 1.0
"""A success that began up to so many seconds before a refusal was sent with the same credentials: they are good."""

LONGEST_BACKOFF = 900.0
PASSES_AFTER = 3
"""Failures after which an event no longer holds back later events of its own customer."""

LONGEST_LONE_BACKOFF = 60.0
SHORTEST_BACKOFF = 2.0

SLOW = 3.0
"""Seconds after which a failure is one that hangs."""

IDLE = 4.0
"""After an answer that never came the account is left alone for this many times as long as it was waited for: while it
hangs it holds one of the few threads that all accounts share.
"""


@dataclass(slots=True)
class _Tally:
    """What came of the attempts of a batch, as far as it says how long the account is to be left alone."""

    wait: float = 0.0
    """Seconds to stay away, whatever the pace says."""
    asked: float = 0.0
    """Seconds that a provider in trouble asked for."""
    failed: bool = False
    strikes: int = 0
    failed_at: float = math.inf
    succeeded: bool = False


class Account:
    """Safe to share between the threads of a batch, but for `note`, `end_batch` and `got_through`, which are its own
    thread's. Times are Unix seconds, waits are seconds.

    The question it answers is whose fault a failure is. An event that fails while others, tried after it, succeed has
    itself to blame; when whatever is tried fails, it is the provider.
    """

    def __init__(
        self, pace: Pace, clock: Clock, hold_seconds: float = 300.0, rng: Callable[[], float] = random.random
    ) -> None:
        self.pace = pace
        at_once = pace.terms.concurrency
        # One batch's part of what the provider takes at the same time.
        self._concurrency = max(1, at_once // pace.terms.groups) if at_once else 1_000
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._rng = rng
        self._lock = threading.Lock()
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
        self._unauthorized: set[str | None] = set()
        """Events whose credentials were refused since the last success, two at most; None: it was not for the event."""
        self._held_alone = False
        self._attempts: deque[tuple[str, bool, float]] = deque(maxlen=2 * WITNESSES)
        """The last attempts: whose, whether the provider took it, and when."""
        self._missed: dict[str, tuple[int, float]] = {}
        """How often each event has been tried without getting through, and when last."""
        self._round_at = float("-inf")
        self._waited = 0.0
        """The longest that a failure of this batch took, in seconds."""
        self._dependency_failed_at = 0.0
        self._tally = _Tally()

    def begin_batch(self) -> None:
        """A batch begins: what failed in an earlier one does not keep this one from asking."""
        with self._lock:
            self._round_at = self._clock.now()
            self._waited = 0.0
            self._asked.clear()
            self._tally = _Tally()

    def note(self, result: Result) -> None:
        """What came of one attempt of this batch."""
        batch = self._tally
        match result.outcome:
            case Outcome.DELIVERED | Outcome.REJECTED if result.final:
                batch.succeeded = batch.succeeded or (result.status is not None and result.status < 400)
            case Outcome.THROTTLED:
                batch.wait = max(batch.wait, result.wait)
            case Outcome.RETRY | Outcome.UNKNOWN | Outcome.UNAUTHORIZED:
                # Parked or not, the provider did not do its work.
                batch.failed = True
                if result.outcome is Outcome.RETRY:
                    batch.asked = max(batch.asked, min(result.wait, LONGEST_BACKOFF))
                batch.strikes = max(batch.strikes, result.strikes)
                batch.failed_at = min(batch.failed_at, result.failed_at or self._clock.now())

    def end_batch(self) -> float:
        """The batch comes to its end. Returns the seconds that the account is to be left alone, whatever its pace says,
        for events that wait.
        """
        batch, held = self._tally, self.pace.open_for
        wait = max(batch.wait, held)
        # The few seconds after a 429 are no rest for what fails otherwise.
        if batch.failed and (not held or self.pace.is_throttled):
            wait = max(wait, self.back_off(batch.strikes, batch.succeeded, self._clock.now() - batch.failed_at))
            if not batch.succeeded:
                wait = max(wait, batch.asked)
        return wait

    def leave(self, left: Iterable[str]) -> None:
        """The batch is over and leaves these events. Those that had no turn stand in their place next time."""
        with self._lock:
            self._passed_over = set(left) - self._asked.keys()

    @property
    def got_through(self) -> bool:
        """Whether the provider took an event of this batch."""
        return self._tally.succeeded

    def succeeded(self, event_id: str, started_at: float) -> None:
        """The provider took an event whose request started then."""
        with self._lock:
            self.pace.work(started_at)
            self._witness(event_id, True)
            self.pace.let_in(event_id)
            self._tries.pop(event_id, None)
            self._failing = {
                other: at for other, at in self._failing.items() if at > self.pace.worked_at and other != event_id
            }
            self.pace.reset()
            self._unauthorized.clear()
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
            worked_between = self.pace.worked_at > before.last_failed_at
            strike = before.strikes == 0 or worked_between or (alone and self._worked_since(first))
            if before.strikes:
                self.pace.turn_away(event_id)
            _keep(self._failing, event_id, self._clock.now())
            self._waited = max(self._waited, self._clock.now() - started_at)
            _keep(self._tries, event_id, (max(attempts, self._tried(event_id) + 1), self._clock.now()))
            failure = self._struck(event_id, before, strike, alone=not worked_between)
            return replace(failure, failed_at=first, last_failed_at=started_at)

    def parked(self, event_id: str, started_at: float) -> None:
        """The event, whose request started then, was not answered, and is not tried again."""
        with self._lock:
            self._waited = max(self._waited, self._clock.now() - started_at)
            if started_at > self.pace.worked_at:
                _keep(self._failing, event_id, self._clock.now())
            self._witness(event_id, False)

    def _struck(
        self, event_id: str, before: Failure, strike: bool, *, throttled: bool = False, alone: bool = False
    ) -> Failure:
        """The event did not get through once more, perhaps because it was `throttled`; `strike`: while others did;
        `alone`: none of them since it failed last. Returns what weighs against it now, its moments as `before`.
        """
        weight = 0.0
        if strike:
            # A first strike is no evidence against the event; it only begins the count.
            weight = self._weight(event_id, throttled) * (ALONE if alone else 1.0) if before.strikes else 1.0
        self._witness(event_id, False)
        strikes, blame = before.strikes + strike, before.blame + weight
        is_poison = strike and before.strikes > 0 and blame >= POISON_FAILURES - 1e-6
        return replace(before, strikes=strikes, blame=blame, is_poison=is_poison)

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
            # The upper bound of what so few attempts are evidence for (two standard errors).
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
            self.pace.turn_away(event_id)
            _keep(self._throttled, event_id, self._throttled.get(event_id, 0) + 1)
            if len(self._throttled) == 1:
                self.pace.ask_within(LONGEST_LONE_BACKOFF)
            strike = before.strikes == 0 or self.pace.worked_at > before.last_failed_at
            return replace(self._struck(event_id, before, strike, throttled=True), last_failed_at=started_at)

    def unauthorized(self, event_id: str, before: Failure, started_at: float, attempts: int = 1) -> Failure:
        """The credentials were refused for one event, in an attempt begun then, its `attempts`th. That is the event's
        own fault only where others get through with them, and not at once: a provider's nodes learn of a new token one
        by one.
        """
        with self._lock:
            self.pace.turn_away(event_id)
            _keep(self._tries, event_id, (max(attempts, self._tried(event_id) + 1), self._clock.now()))
            first = before.failed_at or started_at
            strike = before.strikes == 0 or (
                self.pace.worked_at > before.last_failed_at
                and started_at - before.last_failed_at >= UNAUTHORIZED_SECONDS
            )
            if not strike:
                self._witness(event_id, False)
                return before
            failure = self._struck(event_id, before, strike)
            return replace(failure, failed_at=first, last_failed_at=started_at)

    def hold(self, unauthorized_at: float, since: float, event_id: str | None = None) -> float:
        """The credentials are not accepted, first at `unauthorized_at`. Returns the seconds to stay away: five minutes,
        growing to fifteen the longer it lasts; none where others have got through `since`.

        With an `event_id` it may be that event: half a minute, growing, while no other is refused.
        """
        with self._lock:
            now = self._clock.now()
            if len(self._unauthorized) < 2:
                self._unauthorized.add(event_id)
            if self.pace.worked_at > since - SIDE_BY_SIDE:
                return 0.0
            lone = self._unauthorized == {event_id} and event_id is not None
            if not self.pace.open_for or self._held_alone > lone:
                lasted = now - unauthorized_at
                seconds = self._hold_seconds * min(max(1 + lasted // self._hold_seconds, 1.0), 3.0)
                self.pace.trip(min(seconds, max(SHORTEST_HOLD, lasted / 4)) if lone else seconds, "unauthorized")
                self._held_alone = lone
            return self.pace.open_for

    def dependency_failed(self) -> float:
        """A service of our own failed. Returns since when that has been so, in Unix seconds."""
        with self._lock:
            self._dependency_failed_at = self._dependency_failed_at or self._clock.now()
            return self._dependency_failed_at

    def dependency_recovered(self) -> None:
        """An attempt came to its end: our services work."""
        with self._lock:
            self._dependency_failed_at = 0.0

    @property
    def max_in_flight(self) -> int:
        """How many requests may be in flight: one while we probe whether the provider is back, none when it is not."""
        with self._lock:
            if self.pace.open_for:
                return 0
            is_half_open = self.pace.is_half_open
            failed_now = sum(at >= self._round_at for at in self._failing.values())
            # While probing, one slow failure is enough: a second would hold one of the few threads for as long again.
            enough = 3 if not is_half_open else 2 if self._waited < SLOW else 1
            if failed_now >= enough:
                return 0
            return 1 if is_half_open else self._concurrency

    def _worked_since(self, moment: float) -> bool:
        # An older success says nothing: an outage may have begun since.
        return self.pace.worked_at > max(moment, self._down_at, self._clock.now() - RECENT_SECONDS)

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
            last = {*self.pace.turned_away, *self._tries} - self._passed_over
            if self.pace.is_half_open:
                start = int(self._rng() * len(items))
                items = items[start:] + items[:start]
            if not last and not self._throttled:
                return items
            return sorted(items, key=lambda item: (event_id(item) in last, self._throttled.get(event_id(item), 0)))

    def back_off(self, strikes: int, succeeded: bool, failing_for: float) -> float:
        """Ends a batch in which something failed; returns the seconds until the account's next try.

        `strikes`: the most of any failed event. `succeeded`: others got through, so the provider is well.
        `failing_for`: seconds since the first of the failures; the ledger remembers it where an environment would not.
        """
        with self._lock:
            lone = len(self._failing) <= 1
            if succeeded or (lone and self._worked_since(self._clock.now() - failing_for)):
                self.pace.reset()
                return SHORTEST_BACKOFF * min(max(1, strikes), POISON_FAILURES)
            if not lone:
                # The provider is down: until it works again no failure is an event's own.
                self._down_at = self._clock.now()
            most = max(LONGEST_LONE_BACKOFF, failing_for / 20) if lone else LONGEST_BACKOFF
            # While our own tables are away each group finds that out for itself, again in each environment: together
            # they ask no oftener than one of them would.
            asking = self.pace.terms.groups if self._dependency_failed_at else 1
            # In proportion to how long it has lasted: that grows as exponential back-off does, and needs no count of
            # tries.
            wait = self._rng() * min(max(failing_for, 2 * SHORTEST_BACKOFF * asking), most, LONGEST_BACKOFF)
            wait = max(1.0, wait, (0.5 + self._rng()) * IDLE * self._waited)
            if self.pace.is_throttled:
                wait = max(wait, self.pace.open_for)
            self.pace.trip(wait, "failing")
            return wait


def _keep[T](remembered: dict[str, T], event_id: str, what: T) -> None:
    """Remembers `what` of an event, and forgets what was remembered longest ago."""
    remembered.pop(event_id, None)
    remembered[event_id] = what
    if len(remembered) > MOST_EVENTS_REMEMBERED:
        del remembered[next(iter(remembered))]
