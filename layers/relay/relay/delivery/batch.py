"""Works through one batch of a lane: at each account's pace, in order per customer, waiting or deferring as it must."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from copy import replace
from dataclasses import dataclass, field

from relay.account.account import LONGEST_BACKOFF, Account
from relay.account.schedule import LONGEST_DEFERRAL
from relay.contract.destination import Destination
from relay.contract.event import Event
from relay.delivery.attempt import Attempt
from relay.delivery.delivery import Delivery
from relay.delivery.services import RESERVE, Services
from relay.errors import FieldError, InvalidEventError, UnavailableError
from relay.masking import mask_identifiers, shorten
from relay.outcome import Outcome, Result
from relay.ports import DeadLetter, Hidden, LaneMessage, Workers

AHEAD = 0.2
"""An attempt may begin so many seconds before its turn: enough to claim the event, not so much that its claim competes
with the requests before it.
"""

PAUSES = (0.2, 1.0, 2.0)
"""Seconds before each further try to hide what SQS would not hide."""

BAD_RECORD_RETRY = 30
"""Seconds after which a bad record, whose dead letter could not be written, is tried again."""

NOTED_SECONDS = 15
"""What an account's trouble hides for so long or longer is written down, so that an operator can have it shown."""

NOTE_SECONDS = 10.0
"""What it takes at most to write that down, or to learn that it cannot be: three tries of three seconds."""

LETTER_SECONDS = 19.0
"""What it takes at most to write a dead letter, or to learn that it cannot be written: three tries of three seconds,
for the index and for the queue.
"""

FULL = 10
"""Messages of a batch, as the template has it: behind a full one there may be more."""

FORGOTTEN = "forgotten: an operator had the customer's events removed; nothing is kept of it"

PATIENT_AFTER_RECEIVES = 100
"""Receives after which a message waits a second for each: SQS gives up at 1,000, which then takes five days."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch came to. `failed` holds ids of the batch only, in its order: what SQS is to bring back."""

    failed: list[str]
    results: list[Result]
    deferred: dict[str, float]
    """Seconds by destination."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Why, where it is not the limit alone: an operator's words or what does not work, masked, by destination."""
    not_noted: int = 0
    """Messages hidden for long that an operator cannot have shown sooner: it could not be written down."""
    not_hidden: int = 0
    """Messages whose deferral SQS refused: they come back after the queue's own visibility timeout."""
    seconds: float = 0.0
    """How long the batch took."""
    abandoned: int = 0
    """Attempts still running when the time was up; their claims tell the next attempt."""
    pace_used: float | None = None
    """What part of its limit the busiest of the batch's accounts used lately; None where none was asked for a turn."""


@dataclass(slots=True)
class _Item:
    message: LaneMessage
    delivery: Delivery
    identities: frozenset[str]
    """Its customer's: asked for again and again, and not cheap."""
    future: Future[Result] | None = None
    result: Result | None = None
    done: bool = False


@dataclass(slots=True)
class _Bad:
    """A record that is no event of this lane: a dead letter is all that can be done for it."""

    message: LaneMessage
    destination: Destination
    error: InvalidEventError
    future: Future[Result] | None = None
    tried: bool = False
    done: bool = False


@dataclass(slots=True)
class _Group:
    """The batch's messages of one account, in order, history behind the live ones."""

    destination: Destination
    account: Account
    items: list[_Item] = field(default_factory=list)
    asked: bool = False
    """Whether a turn was asked for: what others did to the account's record is known since."""
    is_away: bool = False
    """The account's record could not be written."""

    @property
    def in_flight(self) -> int:
        return sum(item.future is not None for item in self.items)

    @property
    def waiting(self) -> list[_Item]:
        """What the batch leaves behind, but for attempts that still run."""
        return [item for item in self.items if not item.done and item.future is None]

    def startable(self) -> list[_Item]:
        """Waiting items with no unfinished earlier event of the same customer.

        Where none of them gets through again and again, one more, of those that only wait behind an event answered 429:
        it may show whether that is the event's fault or the account's. History only where no live event can begin.
        """
        if self.is_away or not any(item.result is None for item in self.waiting):
            return []
        ahead: set[str] = set()
        throttled: set[str] = set()
        ready: list[_Item] = []
        behind: list[_Item] = []
        for item in self.items:
            if item.done:
                continue
            event, identities = f"event={item.delivery.event.id}", item.identities
            if item.future is None and item.result is None and event not in ahead and ahead.isdisjoint(identities):
                (ready if throttled.isdisjoint(identities) else behind).append(item)
            ahead.add(event)
            if item.future is None and self._is_stuck(item):
                throttled |= identities
            elif item.future is not None or not self._stands_aside(item):
                ahead |= identities
        if ready and not self.in_flight and all(self._is_hopeless(item) for item in ready):
            ready += [item for item in behind if not self._is_hopeless(item)][:1]
        return [item for item in ready if not item.message.is_backfill] or ready

    @property
    def is_history_stuck(self) -> bool:
        """Whether none of the history had its turn: that live events got through means nothing to it."""
        return not any(item.done for item in self.items if item.message.is_backfill)

    def _stands_aside(self, item: _Item) -> bool:
        # On its first receive it is a new version, or was sent again: what failed before does not count.
        return item.message.receives > 1 and self.account.stands_aside(item.delivery.event.id)

    def _is_hopeless(self, item: _Item) -> bool:
        return self._is_stuck(item) or self._stands_aside(item)

    def _is_stuck(self, item: _Item) -> bool:
        return self.account.is_stuck(item.delivery.event.id, came_before=item.message.receives > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One provider's lane. `handle` takes one batch at a time.

    `accounts` gives what this environment knows of an account, `open_record` the event in a message's body.
    """

    provider: str
    destinations: Sequence[str]
    services: Services
    accounts: Callable[[Destination], Account]
    workers: Workers
    open_record: Callable[[object], Event]

    def handle(self, messages: Sequence[LaneMessage], deadline: float) -> BatchReport:
        """Delivers what may be delivered now. `deadline` is the monotonic second by which the invocation ends."""
        return _Batch(self, messages, deadline).run()


class _Batch:
    def __init__(self, lane: Lane, messages: Sequence[LaneMessage], deadline: float) -> None:
        self._lane = lane
        self._services = lane.services
        self._workers = lane.workers
        self._clock = lane.services.clock
        self._messages = messages
        self._deadline = deadline
        self._began = self._clock.monotonic()
        self._groups: dict[Destination, _Group] = {}
        self._bad: list[_Bad] = []
        self._results: list[Result] = []
        self._not_noted = 0

    def run(self) -> BatchReport:
        for message in self._messages:
            self._admit(message)
        for group in self._groups.values():
            group.items.sort(key=lambda item: item.message.is_backfill)
            group.account.begin_batch()
        while True:
            soon = self._start()
            self._write_letters()
            if soon is None and not self._in_flight():
                break
            self._gather(soon)
            if self._clock.monotonic() >= self._deadline - RESERVE / 2:
                break
        abandoned = len(self._in_flight())
        deferred, not_hidden = self._defer()
        troubles = {
            str(group.destination): trouble
            for group in self._groups.values()
            if group.destination in deferred and (trouble := group.account.pace.trouble)
        }
        for group in self._groups.values():
            group.account.pace.end_batch()
            group.account.leave(item.delivery.event.id for item in group.items if not item.done)
        failed = {item.message.message_id for group in self._groups.values() for item in group.items if not item.done}
        failed |= {each.message.message_id for each in self._bad if not each.done}
        return BatchReport(
            failed=[message.message_id for message in self._messages if message.message_id in failed],
            results=self._results,
            deferred=deferred,
            troubles=troubles,
            not_noted=self._not_noted,
            not_hidden=not_hidden,
            abandoned=abandoned,
            seconds=self._clock.monotonic() - self._began,
            pace_used=max((group.account.pace.used for group in self._groups.values() if group.asked), default=None),
        )

    def _admit(self, message: LaneMessage) -> None:
        """Puts a message with its account, or with the bad ones."""
        # A group id that is no account of ours may be anything, somebody's e-mail address included.
        destination = Destination.of(self._lane.provider, mask_identifiers(message.account))
        try:
            event = self._lane.open_record(message.body)
            self._check(event, destination)
        except InvalidEventError as error:
            self._bad.append(_Bad(message, destination, error))
            return
        delivery = Delivery(
            event=event,
            destination=destination,
            body=message.body,
            content_hash=message.content_hash or event.content_hash,
            accepted_at=message.sent_at,
            key=message.message_id,
            correlation_id=message.correlation_id,
            first_accepted_at=message.accepted_at,
            group=message.group,
        )
        if destination not in self._groups:
            self._groups[destination] = _Group(destination, self._lane.accounts(destination))
        self._groups[destination].items.append(_Item(message, delivery, event.customer.identities))

    def _check(self, event: Event, destination: Destination) -> None:
        if not destination.is_configured(self._lane.destinations):
            raise InvalidEventError([FieldError("destinations", f"{destination} is not configured here")], event.id)
        if event.destinations and destination not in event.destinations:
            raise InvalidEventError([FieldError("destinations", f"does not name {destination}")], event.id)

    def _write_letters(self) -> None:
        """Writes the bad records' dead letters beside the attempts, one at a time, until one cannot be written."""
        if self._clock.monotonic() + LETTER_SECONDS + RESERVE / 2 > self._deadline or self._is_full():
            return
        for each in self._bad:
            if each.future is not None or (each.tried and not each.done):
                return
            if not each.done:
                each.future = self._workers.submit(lambda each=each: self._reject(each))  # type: ignore[misc]
                return

    def _reject(self, bad: _Bad) -> Result:
        event_id, message = bad.error.event_id or "", bad.message
        reason = shorten("; ".join(map(str, bad.error.errors)), 1024)
        masked = mask_identifiers(shorten(event_id, 255))
        letter = DeadLetter(
            message.body, reason, bad.destination, masked, None, 0, message.message_id, group=message.group
        )
        result = Result(Outcome.REJECTED, reason, final=True, event_id=event_id, destination=bad.destination)
        try:
            self._services.queue.give_up(letter)
        except UnavailableError as unavailable:
            return replace(result, outcome=Outcome.RETRY, reason=str(unavailable), final=False, internal=True)
        return result

    def _is_full(self) -> bool:
        return len(self._in_flight()) >= self._workers.size

    def _start(self) -> float | None:
        """Starts every attempt whose turn is near; returns the seconds until the next one is, None if it is far."""
        if self._clock.monotonic() + self._services.longest > self._deadline:
            return None
        waits = [wait for group in self._groups.values() if (wait := self._start_group(group)) is not None]
        return min(waits, default=None)

    def _start_group(self, group: _Group) -> float | None:
        account, pace = group.account, group.account.pace
        while items := group.startable():
            backfill = items[0].message.is_backfill
            room = self._workers.size - len(self._in_flight())
            if room > 0 and pace.open_for and not group.asked:
                # It was hidden for as long as that, and is here: an operator may have resumed the account.
                self._reserve(group, items, 1)
                if self._forget(group):
                    continue
            most = min(account.max_in_flight, 1) if backfill and pace.terms.concurrency else account.max_in_flight
            free = min(most - group.in_flight, room)
            if free <= 0 or group.is_away:
                return None
            if pace.spare <= 0:
                self._reserve(group, items, min(free, len(items)))
                if self._forget(group):
                    continue
            delay = pace.delay(backfill=backfill)
            if delay > AHEAD or pace.spare <= 0:
                near = delay <= pace.within(backfill=backfill)
                return max(delay - AHEAD / 2, AHEAD) if near and not group.is_away else None
            # In this order only once it is known whether we probe.
            item = account.order(items, lambda item: item.delivery.event.id)[0]
            attempt = Attempt(self._services, item.delivery, account, self._deadline)
            item.future = self._workers.submit(attempt.run)
        return None

    def _forget(self, group: _Group) -> bool:
        """Takes out what waits for customers who are to be forgotten, once the account's record was heard. Returns
        whether there was any. The event of an attempt that runs is not stopped.
        """
        theirs = [
            item
            for item in group.waiting
            if group.account.pace.forgets(item.identities, item.message.accepted_at or item.delivery.accepted_at)
        ]
        for item in theirs:
            item.done = True
            Attempt(self._services, item.delivery, group.account, self._deadline).withdraw(FORGOTTEN)
            self._results.append(
                Result(
                    Outcome.REJECTED,
                    FORGOTTEN,
                    final=True,
                    event_id=item.delivery.event.id,
                    destination=group.destination,
                    correlation_id=item.delivery.correlation_id,
                    age=self._clock.now() - item.delivery.accepted_at,
                    backfill=item.message.is_backfill,
                )
            )
        return bool(theirs)

    def _reserve(self, group: _Group, items: Sequence[_Item], most: int) -> None:
        """Reserves turns for the group, at most so many. Where the account's record cannot be written the event that
        was to begin, and the others behind it, come back.
        """
        backfill = items[0].message.is_backfill
        if group.asked and group.account.pace.delay(backfill=backfill) > group.account.pace.within(backfill=backfill):
            return
        group.asked = True
        suspects = group.account.pace.turned_away
        suspect = all(each.delivery.event.id in suspects for each in items)
        try:
            more = sum(not item.message.is_backfill for item in group.items) >= FULL
            group.account.pace.reserve(most, suspect=suspect, backfill=backfill, more=more)
        except UnavailableError as error:
            item = items[0]
            failed_at = group.account.dependency_failed()
            item.result = Result(
                Outcome.RETRY,
                str(error),
                event_id=item.delivery.event.id,
                destination=group.destination,
                correlation_id=item.delivery.correlation_id,
                age=self._clock.now() - item.delivery.accepted_at,
                backfill=backfill,
                failed_at=failed_at,
                internal=True,
            )
            self._results.append(item.result)
            group.account.note(item.result)
            group.is_away = True

    def _gather(self, soon: float | None) -> None:
        """Waits until an attempt has ended, for `soon` seconds at most."""
        seconds = max(0.0, self._deadline - RESERVE / 2 - self._clock.monotonic())
        seconds = seconds if soon is None else min(seconds, soon)
        in_flight = self._in_flight()
        if not in_flight:
            self._clock.sleep(seconds)
        finished = self._workers.wait(in_flight, seconds) if in_flight else set()
        for group in self._groups.values():
            for item in group.items:
                if item.future is None or item.future not in finished:
                    continue
                result = item.future.result()
                item.future, item.done = None, result.final
                self._results.append(result)
                group.account.note(result)
                if not result.final and (result.outcome is not Outcome.THROTTLED or result.wait):
                    # Else it goes again within this batch, if the pace lets it.
                    item.result = result
        for each in self._bad:
            if each.future is not None and each.future in finished:
                result = each.future.result()
                self._results.append(result)
                each.future, each.tried, each.done = None, True, result.final

    def _defer(self) -> tuple[dict[str, float], int]:
        """Hides what is left of each account until the same moment, head and followers alike; its history apart.
        Returns the seconds by destination, of live events where there are both, and how many SQS would not hide.
        """
        deferred: dict[str, float] = {}
        unhidden = 0
        for destination, left, wait in self._left():
            # Never zero: visible at once, the messages could go to another environment while this batch still runs.
            seconds = min(max(math.ceil(wait), 1), LONGEST_DEFERRAL - 60)
            deferred.setdefault(destination, seconds)
            unhidden += self._hide(left, seconds)
            self._note(destination, left, seconds)
        return deferred, unhidden

    def _left(self) -> Iterator[tuple[Destination, list[LaneMessage], float]]:
        """Each destination's messages that are to come again, and the seconds until then; history behind the live ones,
        for it may have come so often that it waits longer.
        """
        unwritten = [each for each in self._bad if not each.done]
        for destination in dict.fromkeys([*self._groups, *(each.destination for each in unwritten)]):
            left, got_through = [each.message for each in unwritten if each.destination == destination], False
            wait: float = BAD_RECORD_RETRY if left else 0.0
            if group := self._groups.get(destination):
                left = [*(item.message for item in group.waiting), *left]
                wait, got_through = max(wait, self._wait(group)), group.account.got_through
            for backfill in (False, True):
                if some := [message for message in left if message.is_backfill is backfill]:
                    receives = max(message.receives for message in some)
                    moves = got_through and not (backfill and group and group.is_history_stuck)
                    is_patient = receives > PATIENT_AFTER_RECEIVES and not moves
                    yield destination, some, max(wait, min(receives, LONGEST_BACKOFF)) if is_patient else wait

    def _wait(self, group: _Group) -> float:
        """Seconds that the account is to be left alone for those that wait."""
        if not group.waiting:
            return 0.0
        pace, wait = group.account.pace, group.account.end_batch()
        if wait >= NOTED_SECONDS and pace.is_resumed():
            # While this batch was under way: what it found out before is no reason to hide anything for long.
            wait = 0.0
        # Rounded down: too early costs a short wait, too late the provider's time.
        backfill = all(item.message.is_backfill for item in group.waiting)
        return max(wait, math.floor(pace.delay(backfill=backfill)))

    def _hide(self, messages: Sequence[LaneMessage], seconds: float) -> int:
        """Hides them for so long from now on, and returns how many SQS would not hide, however often asked."""
        queue, deadline = self._services.queue, self._deadline
        if self._clock.monotonic() > deadline - RESERVE / 4:
            return len(messages)
        until = self._clock.monotonic() + seconds
        failed = queue.defer(messages, seconds)
        for pause in PAUSES:
            # A message that SQS shows too early is sent too early, by whichever environment gets it.
            if not failed or self._clock.monotonic() + pause > deadline - RESERVE / 2:
                break
            self._clock.sleep(pause)
            left = max(math.ceil(until - self._clock.monotonic()), 1)
            failed = queue.defer([each for each in messages if each.message_id in failed], left)
        return len(failed)

    def _note(self, destination: Destination, messages: Sequence[LaneMessage], seconds: float) -> None:
        """Writes down what is hidden for long because its account is held, or does not work."""
        group = self._groups.get(destination)
        if seconds < NOTED_SECONDS or group is None or not group.account.pace.trouble:
            return
        until = self._clock.now() + seconds
        receipts: dict[str, list[str]] = {}
        for message in messages:
            receipts.setdefault(message.group or message.account, []).append(message.receipt_handle)
        for name, noted in receipts.items():
            in_time = self._clock.monotonic() + NOTE_SECONDS + RESERVE / 2 <= self._deadline
            try:
                if group.is_away or not in_time:
                    raise UnavailableError("DynamoDB")
                group.account.pace.note(Hidden(destination, name, tuple(noted), until))
            except UnavailableError:
                self._not_noted += len(noted)

    def _in_flight(self) -> list[Future[Result]]:
        attempts = [item.future for group in self._groups.values() for item in group.items]
        return [future for future in (*attempts, *(each.future for each in self._bad)) if future is not None]
