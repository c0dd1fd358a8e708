"""How fast one account may be sent to: turns, reserved in the account's record, which all environments share.

A batch reserves a turn for each event that it can begin with one write. What the replies say is learned here at once
and written with the next reservation; what others must know (a 429, an account that does not work) is written without
delay. Where somebody else has written since, what was learned is applied to what stands now: the policy is a function
of the record (`schedule`, `breaker`).
"""

import math
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from copy import replace
from datetime import UTC, datetime
from uuid import uuid4

from relay.account import breaker, forgotten, schedule
from relay.errors import UnavailableError
from relay.masking import mask, shorten
from relay.ports import AccountRecord, Accounts, Clock, Hidden, State
from relay.providers.limits import Budget, Terms

WITHIN = 1.25
"""Seconds within which a turn must be for the batch to wait for it: a little more than a window of a second."""

WITHIN_SIDE_BY_SIDE = 5.0
"""The same where several batches of the account run side by side: each waits for those before it."""

WITHIN_FOR_BACKFILL = 0.4
"""The same for history: live events get their turns behind all that are given out, and need the place."""

PATIENCE = 2.0
"""Seconds after a turn within which live events that wait for it are there: until SQS has handed them over."""

RARE = 0.02
"""Seconds between two requests at the limit from which on live events want all turns where more of them may wait behind
a full batch. Where turns come faster, one batch after the other is full long before the limit is reached.
"""

FIRST = 1
"""Answers until an environment has credentials and a connection."""

THROTTLED = "throttled"
"""Why an account is open whose provider answered 429."""

LONG = 5.0
"""Seconds to stay away after which it is not taken for granted that the account may be sent to."""

MOST_TURNED_AWAY = 20

TOGETHER = 3
"""So many events answered 429 of those in flight together, and it is the pace: known odd ones come alone."""

SOONER = 0.25
"""What part of the way the lead goes towards a shorter one, each time that it could have been; a longer one is taken
over at once ...
"""

LONGEST_LEAD = 0.1
"""... up to so many seconds: what takes longer is no habit, as a secret that is fetched again."""

APART = 0.001
"""Seconds between even spacing as we reckon it and the next request."""

NOT_LATER = 0.05
"""By what part of the time between two requests the next one leaves later, at most, because the last arrived late."""

TRIES = 10
"""How often a write is tried again because somebody else's came between."""

type Change = Callable[[AccountRecord], AccountRecord]


class Pace:
    """The turns of one account. Safe to share between threads. Moments are Unix seconds."""

    def __init__(self, destination: str, terms: Terms, accounts: Accounts, clock: Clock) -> None:
        self.terms = terms
        self._is_alone = terms.groups == 1
        self._shortest = min(limit.window for limit in terms.limits)
        self._accounts = accounts
        self._clock = clock
        self._me = str(uuid4())
        self._lock = threading.Lock()
        self._stands = schedule.fit(AccountRecord(destination), terms.limits, clock.now())
        """The record as it was written last, as far as is known here."""
        self._record = self._stands
        """The same with what was learned since."""
        self._learned: list[Change] = []
        self._is_urgent = False
        self._turns: list[float] = []
        """Reserved and not used yet."""
        self._planned_at: dict[float, float] = {}
        """When each of them was reserved last."""
        self._claiming = schedule.LEAD
        """Seconds that a reservation and the claim of its first event took together lately."""
        self._soonest: tuple[float, float] | None = None
        """The first turn of the last reservation, and when that began, if nothing but the lead kept it from coming
        sooner.
        """
        self._sent_at = 0.0
        self._is_suspect = False
        self._expected = 0
        """Attempts that will ask for a turn."""
        self._is_excused, self._together = False, 0
        """The first 429 of those in flight together was a known odd event's; how many there are of them."""
        self._fastest = 0.0
        self._answers = 0

    def within(self, *, backfill: bool = False) -> float:
        """Seconds within which a turn must be for the batch to wait for it."""
        return WITHIN_FOR_BACKFILL if backfill else WITHIN if self._is_alone else WITHIN_SIDE_BY_SIDE

    @property
    def _is_new(self) -> bool:
        """It has no credentials and no connection yet, and others plan by its turns."""
        return not self._is_alone and self._answers < FIRST

    # Reservations

    def reserve(
        self,
        most: int,
        within: float | None = None,
        *,
        suspect: bool = False,
        backfill: bool = False,
        more: bool = False,
    ) -> int:
        """Reserves at most so many turns, none later than `within` so many seconds. Returns how many there are.
        `suspect`: they are for events that were all turned away before. `backfill`: for history, which gets what live
        events leave. `more`: live events may wait behind those that these turns are for.

        Raises UnavailableError where the record cannot be written.
        """
        seconds = self.within(backfill=backfill) if within is None else within
        give = schedule.take_for_backfill if backfill else schedule.take

        def take(record: AccountRecord) -> tuple[list[float], AccountRecord]:
            now = self._clock.now()
            beside = backfill or not self._is_alone or breaker.is_waited_for(record)
            self._is_suspect = suspect and beside
            if backfill:
                record = breaker.wait_for(record, self._me)
            denied, record = breaker.admit(record, self._me, now, suspect=self._is_suspect)
            count = 0 if denied else 1 if record.state is State.HALF_OPEN else most
            lead = self._lead(record, now)
            turns, record = give(record, now, count, now + seconds, lead)
            self._soonest = (turns[0], now) if turns and turns[0] <= now + self._claiming else None
            if not backfill and not denied and (len(turns) < most or (more and schedule.interval(record) >= RARE)):
                record = schedule.want(record, now, lead, PATIENCE + self._fastest)
            return turns, record

        turns, now = self._write(take), self._clock.now()
        with self._lock:
            self._planned_at = dict.fromkeys(turns, now) | {turn: self._planned_at[turn] for turn in self._turns}
            self._turns = sorted([*self._turns, *turns])
        return len(turns)

    def _lead(self, record: AccountRecord, now: float) -> float:
        """Seconds from a reservation to the first of its turns."""
        lead = schedule.LEAD_AT_FIRST if self._is_new else self._claiming
        if record.burst == 1 and not self._is_new:
            spaced = self._spaced(record)
            if spaced - schedule.next_turn(record, now, lead) > self._tolerance:
                # Sooner after the last request it could not be used: it would be given back, and another one taken.
                return spaced - now
        return lead

    def _spaced(self, record: AccountRecord) -> float:
        """When the next request may leave where they are evenly spaced."""
        return self._sent_at + schedule.interval(record) + APART

    def _write[T](self, change: Callable[[AccountRecord], tuple[T, AccountRecord]]) -> T:
        for _ in range(TRIES):
            with self._lock:
                stands, record, learned = self._stands, self._record, len(self._learned)
            result, record = change(record)
            record = replace(record, version=stands.version + 1, writer=str(uuid4()))
            found = self._accounts.write(record)
            with self._lock:
                if found is None:
                    self._stands = record
                    del self._learned[:learned]
                    self._is_urgent = bool(self._learned) and self._is_urgent
                else:
                    self._stands = schedule.fit(found, self.terms.limits, self._clock.now())
                self._record = self._stands
                for each in self._learned:
                    self._record = each(self._record)
            if found is None:
                return result
        raise UnavailableError("DynamoDB", code="contention")

    def _learn(self, change: Change, *, urgent: bool = False) -> None:
        with self._lock:
            self._learned.append(change)
            self._record = change(self._record)
            self._is_urgent = self._is_urgent or urgent

    def look(self) -> None:
        """Hears what others did to the account's record. Raises UnavailableError where it cannot be written."""
        self._write(lambda record: (None, record))

    def note(self, hidden: Hidden) -> None:
        """Writes down what is hidden for long, so that an operator need not wait for it. Raises UnavailableError."""
        self._accounts.note(hidden)

    def flush(self) -> None:
        """Writes what others must know, if there is anything; what cannot be written is told with the next write."""
        if self._is_urgent:
            with suppress(UnavailableError):
                self._write(lambda record: (None, record))

    @property
    def spare(self) -> int:
        """Reserved turns that no attempt is waiting for."""
        with self._lock:
            return len(self._turns) - self._expected

    def delay(self, *, backfill: bool = False) -> float:
        """Seconds until one more request may start: to the next spare turn, or to what could be reserved, for
        `backfill` or for a live event.
        """
        next_turn = schedule.next_backfill_turn if backfill else schedule.next_turn
        with self._lock:
            now = self._clock.now()
            if self._expected < len(self._turns):
                return max(0.0, self._turns[self._expected] - now)
            turn = next_turn(self._record, now, self._claiming) - now
            return max(
                breaker.denied_for(self._record, self._me, now, suspect=self._is_suspect),
                turn if turn > self._claiming else 0.0,
            )

    @property
    def used(self) -> float:
        """What part of what the account allowed lately was used, by whichever environment."""
        with self._lock:
            return schedule.used(self._record, self._clock.now())

    def end_batch(self) -> None:
        """The batch is over: turns that it did not use are given back, and others hear what they must know."""
        with self._lock:
            unused, self._turns = self._turns, []
        if unused:
            self._learn(lambda record: schedule.give_back(record, unused), urgent=True)
        self.flush()

    # The breaker

    @property
    def is_half_open(self) -> bool:
        """Whether we probe if the account works again, or are to when it is not open any more."""
        with self._lock:
            return self._record.state is not State.CLOSED

    @property
    def open_for(self) -> float:
        """Seconds that nothing is sent, because the account does not work."""
        with self._lock:
            return max(0.0, self._record.until - self._clock.now()) if self._record.state is State.OPEN else 0.0

    @property
    def resumed(self) -> int:
        """How often an operator has ended the account's waiting, as far as is known here."""
        return self._record.resumed

    def is_resumed(self) -> bool:
        """Whether an operator has ended the account's waiting since this environment heard of it last: looks, where
        there is something to tell.
        """
        before = self.resumed
        self.flush()
        return self.resumed != before

    def forgets(self, identities: Collection[str], accepted_at: float) -> bool:
        """Whether the customer of an event, accepted at that Unix second, was to be forgotten since."""
        return forgotten.is_marked(self._record.forgotten, self._record.destination, identities, accepted_at)

    @property
    def trouble(self) -> str:
        """Why nothing is sent, or only a probe: an operator's words, masked, or what does not work. Empty where nothing
        but the limit stands in the way.
        """
        with self._lock:
            record = self._record
            if not breaker.held_for(record, self._clock.now()):
                return record.why if record.state is not State.CLOSED else ""
        by = f" by {mask(record.held_by)}" if record.held_by else ""
        until = f" until {datetime.fromtimestamp(record.held_until, UTC):%FT%TZ}" if record.held_until else ""
        return shorten(f"held{by}{until}: {mask(record.held)}", 512)

    @property
    def is_throttled(self) -> bool:
        """Whether it is 429s that the account is open for."""
        with self._lock:
            return self._record.state is State.OPEN and self._record.why == THROTTLED

    def trip(self, seconds: float, why: str) -> None:
        """The account does not work: nothing for so long, then one probe."""
        now, resumed = self._clock.now(), self.resumed

        def learn(record: AccountRecord) -> AccountRecord:
            # What was found before an operator resumed it says nothing of how it is since.
            return breaker.trip(record, seconds, why, now) if record.resumed == resumed else record

        self._learn(learn, urgent=True)

    def reset(self) -> None:
        """The account works."""
        with self._lock:
            is_closed = self._record.state is State.CLOSED
        if not is_closed:
            self._learn(breaker.reset, urgent=True)

    @property
    def turned_away(self) -> tuple[str, ...]:
        """Events that were answered 429, 401 or 403, or failed twice, last, whichever environment sent them."""
        return self._record.turned_away

    def turn_away(self, event_id: str) -> None:
        """The event did not get through so."""

        def learn(record: AccountRecord) -> AccountRecord:
            others = tuple(each for each in record.turned_away if each != event_id)
            return replace(record, turned_away=(*others, event_id)[-MOST_TURNED_AWAY:])

        self._learn(learn, urgent=event_id not in self.turned_away)

    def let_in(self, event_id: str) -> None:
        """The provider took the event."""
        if event_id in self.turned_away:
            self._learn(
                lambda record: replace(
                    record, turned_away=tuple(each for each in record.turned_away if each != event_id)
                )
            )

    @property
    def worked_at(self) -> float:
        """When the last request began that the provider took, whichever environment sent it; -inf for none."""
        return self._record.worked_at or float("-inf")

    def work(self, started_at: float) -> None:
        """The provider took an event whose request began then."""
        if started_at > self.worked_at:
            self._learn(lambda record: replace(record, worked_at=max(record.worked_at, started_at)))

    def ask_within(self, seconds: float) -> None:
        """Not later than that, unless the provider asked for it: it may be one event that is answered 429."""
        soon = self._clock.now() + seconds

        def sooner(record: AccountRecord) -> AccountRecord:
            until = max(soon, record.asked_until)
            is_open = record.state is State.OPEN and record.why == THROTTLED
            return replace(
                record,
                quiet_until=min(record.quiet_until, until),
                until=min(record.until, until) if is_open else record.until,
            )

        self._learn(sooner)

    # Turns

    def permit(self, *, backfill: bool = False) -> "Permit":
        """A place in the line for one attempt, to be closed when the attempt ends; `backfill`: of history."""
        with self._lock:
            self._expected += 1
        return Permit(self, backfill=backfill)

    def _leave(self) -> None:
        with self._lock:
            self._expected -= 1

    def _wait(self, at_most: float, *, backfill: bool) -> float | None:
        """Waits for a turn. Returns it as it is used."""
        until, is_newly_planned = self._clock.now() + at_most, False
        while True:
            with self._lock:
                turn = self._turns.pop(0) if self._turns else None
                if not is_newly_planned:
                    self._claimed(turn)
            if turn is None:
                if not self.reserve(1, within=until - self._clock.now(), backfill=backfill):
                    return None
                is_newly_planned = True
                continue
            planned_at = self._planned_at.get(turn, until)
            if self._record.throttled_at > planned_at and not is_newly_planned:
                # Planned before a 429: there may be a sooner one now.
                self._give_back(turn)
                continue
            if (early := turn - self._clock.now()) > 0:
                self._clock.sleep(early)
            # Those before it may have gone out late.
            while 0 < (wait := self._held_up(turn)) < math.inf:
                self._clock.sleep(wait)
            now = self._clock.now()
            if wait < math.inf and self._is_usable(turn, planned_at, now):
                return self._use(turn, now)
            self._give_back(turn)
            if now >= until:
                return None

    def _claimed(self, turn: float | None) -> None:
        """The event that has that turn is claimed: learns how far ahead of the first turn a reservation has to be."""
        if self._soonest is None or self._soonest[0] != turn:
            return
        took, self._soonest = self._clock.now() - self._soonest[1], None
        if self._answers >= FIRST:
            self._claiming = min(max(took, self._claiming + SOONER * (took - self._claiming)), LONGEST_LEAD)

    def _give_back(self, turn: float) -> None:
        self._learn(lambda record: schedule.give_back(record, [turn]))

    def _held_up(self, turn: float) -> float:
        """Seconds until the turn may be used; infinite where that is too late."""
        with self._lock:
            now = self._clock.now()
            at = schedule.free_at(self._record, turn)
            if self._record.burst == 1:
                at = max(at, self._spaced(self._record))
            return at - now if at - turn <= self._tolerance else math.inf

    def _is_usable(self, turn: float, planned_at: float, now: float) -> bool:
        with self._lock:
            record = self._record
            usable = now - turn <= self._tolerance and record.quiet_until <= now and record.throttled_at < planned_at
            self._sent_at = now if usable else self._sent_at
            return usable

    @property
    def _tolerance(self) -> float:
        """How late a turn may be used. Where others plan theirs by it, not later than it counts in any case."""
        moves = all(window.limit <= schedule.MOST_ENTRIES for window in self._record.windows)
        return (0.25 if self._is_alone and moves else schedule.LATE) * min(self._shortest, 4.0)

    def _use(self, turn: float, now: float) -> float:
        if now - turn <= 0.001:
            return turn
        # Who has the account next plans by when a turn counts.
        is_late = now - turn > schedule.LATE * self._shortest
        self._learn(lambda record: schedule.move(record, turn, now), urgent=is_late)
        return now

    def _observe(self, budget: Budget, turn: float) -> None:
        now = self._clock.now()
        with self._lock:
            took = now - turn
            self._fastest = min(took, 0.99 * self._fastest + 0.01 * took) if self._fastest else took
            self._answers += 1
            later = took - self._fastest
            if self._answers <= self.terms.limits[0].requests:
                # Too few answers so far to know the fastest.
                later = max(later, schedule.LATE * self._shortest)
            if abs(self._sent_at - turn) <= APART and not schedule.are_others_seen(self._record, now):
                # It arrived later than most: the next one must not come too soon after it.
                self._sent_at += min(later, NOT_LATER * schedule.interval(self._record))

        def learn(record: AccountRecord) -> AccountRecord:
            return schedule.answered(schedule.move(record, turn, turn, later), budget, turn, now)

        self._learn(learn)

    def _throttle(self, budget: Budget, turn: float, event_id: str) -> None:
        now, backoff, again = self._clock.now(), self.terms.backoff, event_id in self.turned_away
        with self._lock:
            is_first = turn > self._record.throttled_at
            if is_first:
                self._is_excused, self._together = again, 0
            self._together += 1
            are_several = self._is_excused and self._together == TOGETHER

        def learn(record: AccountRecord) -> AccountRecord:
            is_news = turn > record.throttled_at
            # The provider does not count what it throttles.
            record = schedule.pause(schedule.give_back(record, [turn]), budget, turn, now, backoff)
            if (is_news and not again) or are_several:
                record = schedule.shrink(record, budget, now)
            wait = record.quiet_until - now
            # After a long wait, or several, one request finds out whether it is over.
            return breaker.trip(record, wait, THROTTLED, now) if wait > LONG or record.throttled > 1 else record

        self._learn(learn, urgent=is_first or are_several)
        self.flush()


class Permit:
    """One attempt's place in the line: counted ahead of later ones until it takes a turn or leaves."""

    def __init__(self, pace: Pace, *, backfill: bool = False) -> None:
        self._pace = pace
        self._backfill = backfill
        self._waiting = True
        self._turn: float | None = None

    def wait(self, at_most: float) -> bool:
        """Sleeps until this request may start: True. False where that is over `at_most` seconds away.

        Raises UnavailableError where a turn cannot be reserved.
        """
        self.close()
        self._turn = self._pace._wait(at_most, backfill=self._backfill)
        return self._turn is not None

    @property
    def resumed(self) -> int:
        """How often an operator has ended the account's waiting."""
        return self._pace.resumed

    def observe(self, budget: Budget) -> None:
        """Learns from the reply to this request."""
        if self._turn:
            self._pace._observe(budget, self._turn)

    def throttle(self, budget: Budget, event_id: str = "") -> None:
        """Learns from a 429 to an event: nothing until the moment the provider names, or for a growing back-off."""
        if self._turn:
            self._pace._throttle(budget, self._turn, event_id)

    def close(self) -> None:
        if self._waiting:
            self._waiting = False
            self._pace._leave()

    def __enter__(self) -> "Permit":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
