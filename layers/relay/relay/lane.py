"""Works through one batch of a lane: at each account's pace, in order per customer, waiting or deferring as it must."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from relay.account import LONGEST_BACKOFF, Account
from relay.delivery import LONGEST_WAIT, RESERVE, Courier, Delivery
from relay.errors import FieldError, InvalidEventError, UnavailableError
from relay.event import Event
from relay.masking import mask_identifiers, shorten
from relay.outcome import Outcome, Result
from relay.pacing import LONGEST_DEFERRAL
from relay.ports import Clock, DeadLetter, LaneMessage, LaneQueue, Workers
from relay.routing import has_several, is_configured

AHEAD = 0.2
"""Seconds before its turn at which an attempt may begin: time to claim, but no claims beside the posts before it."""

AT_ONCE = 0.25
"""Seconds between a message's sending and its receive, when nothing stands before it."""

PAUSES = (0.2, 1.0, 2.0)
"""Seconds before each further try to hide what SQS would not hide."""

UNKEPT = 30
"""Seconds after which a bad record, whose dead letter could not be written, is tried again."""

BACK_AFTER = 100.0
"""Seconds after which a message that SQS would not hide may be back, and a margin: its visibility timeout is longer by
more than a batch takes. (It may be back sooner where the poller was throttled and the batch began late.)
"""

LETTER_SECONDS = 10.0
"""What it takes at most to write a dead letter, or to learn that it cannot be written: three tries of three seconds."""

WORN = 100
"""Receives after which a message waits a second for each: SQS gives up at 1,000, which then takes five days."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch came to. `failed` holds ids of the batch only, in its order: what SQS is to bring back."""

    failed: list[str]
    results: list[Result]
    deferred: dict[str, float]
    """Seconds by destination."""
    not_hidden: int = 0
    """Messages whose deferral SQS refused: they come back after the queue's own visibility timeout."""
    seconds: float = 0.0
    """How long the batch took."""
    abandoned: int = 0
    """Attempts still running when the time was up; their claims tell the next attempt."""


@dataclass(slots=True)
class _Item:
    message: LaneMessage
    delivery: Delivery
    future: Future[Result] | None = None
    result: Result | None = None
    done: bool = False


@dataclass(slots=True)
class _Bad:
    """A record that is no event of this lane: a dead letter is all that can be done for it."""

    message: LaneMessage
    destination: str
    error: InvalidEventError
    future: Future[Result] | None = None
    tried: bool = False
    done: bool = False


@dataclass(slots=True)
class _Group:
    """The batch's messages of one account, in order."""

    destination: str
    account: Account
    items: list[_Item] = field(default_factory=list)
    wait: float = 0.0
    """Seconds to stay away, whatever the pace says."""
    asked: float = 0.0
    """Seconds that a provider in trouble asked for."""
    failed: bool = False
    strikes: int = 0
    failed_at: float = math.inf
    succeeded: bool = False

    @property
    def in_flight(self) -> int:
        return sum(item.future is not None for item in self.items)

    def startable(self) -> list[_Item]:
        """Waiting items with no unfinished earlier event of the same customer.

        Where none of them gets through again and again, one more, of those that only wait behind an event answered 429:
        it may show whether that is the event's fault or the account's.
        """
        ahead: set[str] = set()
        throttled: set[str] = set()
        ready: list[_Item] = []
        behind: list[_Item] = []
        for item in self.items:
            if item.done:
                continue
            event = item.delivery.event
            names = {f"event={event.id}", *event.customer.identities}
            if item.future is None and item.result is None and not names & ahead:
                (behind if names & throttled else ready).append(item)
            ahead.add(f"event={event.id}")
            if item.future is None and self._is_stuck(item):
                throttled |= event.customer.identities
            elif item.future is not None or not self._stands_aside(item):
                ahead |= event.customer.identities
        if ready and not self.in_flight and all(self._is_hopeless(item) for item in ready):
            ready += [item for item in behind if not self._is_hopeless(item)][:1]
        return ready

    def _stands_aside(self, item: _Item) -> bool:
        # What comes for the first time is another version, or was sent again: it begins anew.
        return item.message.receives > 1 and self.account.stands_aside(item.delivery.event.id)

    def _is_hopeless(self, item: _Item) -> bool:
        return self._is_stuck(item) or self._stands_aside(item)

    def _is_stuck(self, item: _Item) -> bool:
        return self.account.is_stuck(item.delivery.event.id, came_before=item.message.receives > 1)


class Lane:
    """One provider's lane. `handle` takes one batch at a time."""

    def __init__(
        self,
        *,
        provider: str,
        destinations: Sequence[str],
        courier: Courier,
        accounts: Callable[[str], Account],
        queue: LaneQueue,
        workers: Workers,
        clock: Clock,
        open_record: Callable[[object], Event],
    ) -> None:
        self._provider = provider
        self._destinations = destinations
        self._courier = courier
        self._accounts = accounts
        self._queue = queue
        self._workers = workers
        self._clock = clock
        self._open = open_record
        # One account has one batch at a time, and Lambda no reason to keep a second environment.
        self._roams = has_several(provider, destinations)

    def handle(self, messages: Sequence[LaneMessage], deadline: float) -> BatchReport:
        """Delivers what may be delivered now. `deadline` is the monotonic second by which the invocation ends."""
        began = self._clock.monotonic()
        results: list[Result] = []
        groups: dict[str, _Group] = {}
        bad: list[_Bad] = []
        for message in messages:
            self._admit(message, groups, bad)
        for group in groups.values():
            self._take_over(group, began)
        while True:
            soon = self._start(groups, bad, deadline)
            self._write(groups, bad, deadline)
            if soon is None and not _in_flight(groups, bad):
                break
            results.extend(self._gather(groups, bad, deadline, soon))
            if self._clock.monotonic() >= deadline - RESERVE / 2:
                break
        abandoned = len(_in_flight(groups, bad))
        deferred, not_hidden = self._defer(groups, [each for each in bad if not each.done], deadline)
        for group in groups.values():
            group.account.pace.rest()
            group.account.end_batch(item.delivery.event.id for item in group.items if not item.done)
        failed = {item.message.message_id for group in groups.values() for item in group.items if not item.done}
        failed |= {each.message.message_id for each in bad if not each.done}
        return BatchReport(
            failed=[message.message_id for message in messages if message.message_id in failed],
            results=results,
            deferred=deferred,
            not_hidden=not_hidden,
            abandoned=abandoned,
            seconds=self._clock.monotonic() - began,
        )

    def _admit(self, message: LaneMessage, groups: dict[str, _Group], bad: list[_Bad]) -> None:
        """Puts a message with its account, or with the bad ones."""
        # A group id that is no account of ours may be anything, somebody's e-mail address included.
        destination = f"{self._provider}/{mask_identifiers(message.account)}"
        try:
            event = self._open(message.body)
            self._check(event, destination)
        except InvalidEventError as error:
            bad.append(_Bad(message, destination, error))
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
        )
        if destination not in groups:
            groups[destination] = _Group(destination, self._accounts(destination))
        groups[destination].items.append(_Item(message, delivery))

    def _take_over(self, group: _Group, began: float) -> None:
        """SQS hands out an account's messages when the batch before has ended, in whatever environment that was."""
        now, messages = self._clock.now(), [item.message for item in group.items]
        was_tried = any(message.receives > 1 for message in messages)
        if was_tried and group.account.pace.rested_for > BACK_AFTER:
            self._courier.heed_quiet(group.destination, group.account)
        group.account.begin_batch(was_tried=was_tried)
        handed_out = max((message.received_at for message in messages if message.received_at is not None), default=now)
        group.account.pace.take_over(
            now_since=began,
            handed_out=self._clock.monotonic() - max(0.0, now - handed_out),
            waited=handed_out - min(message.sent_at for message in messages) > AT_ONCE,
            roams=self._roams,
        )

    def _check(self, event: Event, destination: str) -> None:
        if not is_configured(destination, self._destinations):
            raise InvalidEventError([FieldError("destinations", f"{destination} is not configured here")], event.id)
        if event.destinations and destination not in event.destinations:
            raise InvalidEventError([FieldError("destinations", f"does not name {destination}")], event.id)

    def _write(self, groups: Mapping[str, _Group], bad: Sequence[_Bad], deadline: float) -> None:
        """Writes the bad records' dead letters beside the attempts, one at a time, until one cannot be written."""
        if self._clock.monotonic() + LETTER_SECONDS + RESERVE / 2 > deadline or self._is_full(groups, bad):
            return
        for each in bad:
            if each.future is not None or (each.tried and not each.done):
                return
            if not each.done:
                each.future = self._workers.submit(lambda each=each: self._refuse(each))  # type: ignore[misc]
                return

    def _refuse(self, bad: _Bad) -> Result:
        event_id, message = bad.error.event_id or "", bad.message
        reason = shorten("; ".join(map(str, bad.error.errors)), 1024)
        masked = mask_identifiers(shorten(event_id, 255))
        letter = DeadLetter(message.body, reason, bad.destination, masked, None, 0, message.message_id)
        result = Result(Outcome.REJECTED, reason, final=True, event_id=event_id, destination=bad.destination)
        try:
            self._queue.give_up(letter)
        except UnavailableError as unavailable:
            return replace(result, outcome=Outcome.RETRY, reason=str(unavailable), final=False, ours=True)
        return result

    def _is_full(self, groups: Mapping[str, _Group], bad: Sequence[_Bad]) -> bool:
        return len(_in_flight(groups, bad)) >= self._workers.size

    def _start(self, groups: Mapping[str, _Group], bad: Sequence[_Bad], deadline: float) -> float | None:
        """Starts every attempt whose turn is near; returns the seconds until the next one is, None if it is far."""
        if self._clock.monotonic() + self._courier.longest > deadline:
            return None
        waits = []
        for group in groups.values():
            for item in group.account.order(group.startable(), lambda item: item.delivery.event.id):
                if group.in_flight >= group.account.room or self._is_full(groups, bad):
                    break
                delay = group.account.pace.delay()
                if delay > AHEAD:
                    if delay <= LONGEST_WAIT:
                        waits.append(delay - AHEAD / 2)
                    break
                item.future = self._workers.submit(self._attempt(item.delivery, group.account, deadline))
        return min(waits, default=None)

    def _attempt(self, delivery: Delivery, account: Account, deadline: float) -> Callable[[], Result]:
        turn = account.pace.turn()
        return lambda: self._courier.attempt(delivery, account, turn, deadline)

    def _gather(
        self, groups: Mapping[str, _Group], bad: Sequence[_Bad], deadline: float, soon: float | None
    ) -> list[Result]:
        """Waits until an attempt has ended, for `soon` seconds at most."""
        seconds = max(0.0, deadline - RESERVE / 2 - self._clock.monotonic())
        seconds = seconds if soon is None else min(seconds, soon)
        in_flight = _in_flight(groups, bad)
        if not in_flight:
            self._clock.sleep(seconds)
        finished = self._workers.wait(in_flight, seconds) if in_flight else set()
        results = []
        for group in groups.values():
            for item in group.items:
                if item.future is None or item.future not in finished:
                    continue
                result = item.future.result()
                item.future = None
                results.append(result)
                self._note(group, item, result)
        for each in bad:
            if each.future is not None and each.future in finished:
                result = each.future.result()
                results.append(result)
                each.future, each.tried, each.done = None, True, result.final
        return results

    def _note(self, group: _Group, item: _Item, result: Result) -> None:
        item.done = result.final
        match result.outcome:
            case Outcome.DELIVERED | Outcome.REJECTED if result.final:
                group.succeeded = group.succeeded or (result.status is not None and result.status < 400)
            case Outcome.THROTTLED if not result.wait:
                # It goes again within this batch, if the pace lets it.
                return
            case Outcome.RETRY | Outcome.UNKNOWN | Outcome.UNAUTHORIZED:
                # Parked or not: the provider did not answer, or not to us.
                group.failed = True
                if result.outcome is Outcome.RETRY:
                    group.asked = max(group.asked, min(result.wait, LONGEST_BACKOFF))
                group.strikes = max(group.strikes, result.strikes)
                group.failed_at = min(group.failed_at, result.failed_at or self._clock.now())
        if not result.final:
            item.result = result
            if result.outcome is Outcome.THROTTLED:
                group.wait = max(group.wait, result.wait)

    def _defer(
        self, groups: Mapping[str, _Group], unkept: Sequence[_Bad], deadline: float
    ) -> tuple[dict[str, float], int]:
        """Hides what is left of each account until the same moment, head and followers alike. Returns the seconds by
        destination, and how many messages SQS would not hide.
        """
        deferred: dict[str, float] = {}
        refused = 0
        for destination in dict.fromkeys([*groups, *(each.destination for each in unkept)]):
            group = groups.get(destination)
            left = [item.message for item in group.items if not item.done and item.future is None] if group else []
            wait = self._wait(group) if group and left else 0.0
            if mine := [each.message for each in unkept if each.destination == destination]:
                left, wait = [*left, *mine], max(wait, UNKEPT)
            if not left:
                continue
            receives = max(message.receives for message in left)
            if receives > WORN and not (group and group.succeeded):
                wait = max(wait, min(receives, LONGEST_BACKOFF))
            # At once would be before this batch is over: somebody else might have it beside us.
            seconds = min(max(math.ceil(wait), 1), LONGEST_DEFERRAL - 60)
            deferred[destination] = seconds
            not_hidden = self._hide(left, seconds, deadline)
            if not_hidden and seconds > BACK_AFTER and self._clock.monotonic() < deadline - RESERVE / 2:
                self._courier.note_quiet(destination, seconds)
            refused += not_hidden
        return deferred, refused

    def _hide(self, messages: Sequence[LaneMessage], seconds: float, deadline: float) -> int:
        """Hides them for so long from now on, and returns how many SQS would not hide, however often asked."""
        if self._clock.monotonic() > deadline - RESERVE / 4:
            return len(messages)
        until = self._clock.monotonic() + seconds
        failed = self._queue.defer(messages, seconds)
        for pause in PAUSES:
            # Shown too early, to another environment, they would be sent too early.
            if not failed or self._clock.monotonic() + pause > deadline - RESERVE / 2:
                break
            self._clock.sleep(pause)
            left = max(math.ceil(until - self._clock.monotonic()), 1)
            failed = self._queue.defer([each for each in messages if each.message_id in failed], left)
        return len(failed)

    def _wait(self, group: _Group) -> float:
        """Seconds that the account is to be left alone."""
        held = group.account.held_for
        wait = max(group.wait, held)
        if group.failed and not held:
            failing_for = self._clock.now() - group.failed_at
            wait = max(wait, group.account.back_off(group.strikes, group.succeeded, failing_for))
            if not group.succeeded:
                wait = max(wait, group.asked)
        # Rounded down where it comes back to us: a moment early is a short wait, a moment late the provider's time.
        paced = (math.ceil if self._roams else math.floor)(group.account.pace.delay())
        return max(wait, paced)


def _in_flight(groups: Mapping[str, _Group], bad: Sequence[_Bad]) -> list[Future[Result]]:
    attempts = [item.future for group in groups.values() for item in group.items]
    return [future for future in (*attempts, *(each.future for each in bad)) if future is not None]


__all__ = ["BatchReport", "Lane"]
