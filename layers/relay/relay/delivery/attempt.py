"""One attempt to deliver one event to one destination: claim, post, settle."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import uuid4

from relay.account.account import Account, Failure
from relay.account.pace import Turn
from relay.contract.event import Event
from relay.delivery.record import REMEMBERED, resume
from relay.delivery.result import Result
from relay.errors import CredentialsError, TransportError, UnavailableError, UndeliverableError
from relay.masking import mask_identifiers, printable, shorten
from relay.outcome import Outcome
from relay.ports import Claim, Clock, DeadLetter, LaneQueue, Ledger, Record, Reply, Request, Secrets, Transport
from relay.providers.base import Provider
from relay.providers.limits import Budget

LONGEST_WAIT = 1.25
"""Seconds a batch may wait for the pace: a little more than a window of a second. A longer wait is deferred."""

RESERVE = 2.0
"""Seconds kept at the end of an invocation to settle, defer and answer."""

BROKEN = "a fault of the relay's own"
OUT_OF_TIME = "no time left in this invocation"
CRASHED = "an earlier attempt ended without a record of its answer: parked"
OUTDATED = "outdated: a version of this id that happened later was delivered before"
MOMENT = 14
"""Characters at the end of a version that say when it came to us."""

UNREADABLE = "what it said could not be read"

AT_ONCE = 300.0
"""Seconds within which SQS drops copies itself: what comes so soon after its acceptance is no late copy."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one destination. `body` is the original message; `accepted_at` is Unix seconds."""

    event: Event
    destination: str
    body: str
    content_hash: str
    accepted_at: float
    key: str
    """What tells this message from every other: names its attempts and its dead letter."""
    correlation_id: str = ""
    first_accepted_at: float | None = None
    """Where this message is a copy, or was redriven: when the record behind it came to us first."""
    direct: bool = False
    """Somebody wants it sent now, whatever was sent since; what waits on the lane is not older for it."""

    @property
    def dated_event(self) -> Event:
        """The event with a moment: that of its acceptance, where nobody before us gave it one."""
        if self.event.occurred_at is not None:
            return self.event
        accepted_at = datetime.fromtimestamp(self.accepted_at, UTC).replace(microsecond=0)
        return self.event.model_copy(update={"occurred_at": accepted_at})

    @property
    def version(self) -> str:
        """Its place among the versions of one event, greater for a later one: when it occurred, then when it came
        to us, both as Unix seconds in text of a fixed width.
        """
        occurred_at, moment = self.event.occurred_at, self.accepted_at
        if self.direct or self.first_accepted_at is not None:
            moment = self.first_accepted_at or 0.0
        return f"{max(0.0, occurred_at.timestamp() if occurred_at else moment):019.6f} {moment:014.3f}"


@dataclass(frozen=True, slots=True)
class _Post:
    """The end of one HTTP exchange. `request` is None where none could be built."""

    outcome: Outcome
    reason: str
    status: int | None = None
    detail: str = ""
    wait: float = 0.0
    started_at: float = 0.0
    request: Request | None = None
    reply: Reply | None = None
    ours: bool = False
    """A service of our own failed, not the provider."""
    broken: bool = False
    """A fault of our own, which this event brings out."""

    @property
    def is_unsent(self) -> bool:
        """The pace or the deadline left no room for the request."""
        return self.outcome is Outcome.THROTTLED and self.status is None


class Courier:
    """Carries deliveries of one provider. Safe to call from several threads at once.

    Never raises for anything a provider, a customer's data or one of our own services does: each ends as a Result.
    """

    def __init__(
        self,
        *,
        provider_for: Callable[[str], Provider],
        transport: Transport,
        ledger: Ledger,
        secrets: Secrets,
        queue: LaneQueue,
        clock: Clock,
        oldest: float,
    ) -> None:
        """`oldest` is the age in seconds, from acceptance, at which an event is given up."""
        self._provider_for = provider_for
        self._transport = transport
        self._ledger = ledger
        self._secrets = secrets
        self._queue = queue
        self._clock = clock
        self._oldest = oldest

    @property
    def longest(self) -> float:
        """Seconds an attempt needs at most once it may start."""
        return LONGEST_WAIT + self._transport.longest + RESERVE

    def note_quiet(self, destination: str, seconds: float) -> None:
        """Leaves word for another environment that the account is to be left alone for so long."""
        # Its messages come back meanwhile either way; that they could not be hidden is told by the batch's report.
        with suppress(UnavailableError):
            self._ledger.note_quiet(destination, self._clock.now() + seconds)

    def heed_quiet(self, destination: str, account: Account) -> None:
        """Stays away from the account as another environment left word."""
        # Without a ledger nothing is sent anyway.
        with suppress(UnavailableError):
            seconds = self._ledger.quiet_until(destination) - self._clock.now()
            if seconds > 0:
                account.pace.stay_away(seconds)

    def preview(self, delivery: Delivery) -> Request:
        """The exact request, unsent. Raises UndeliverableError, CredentialsError or UnavailableError."""
        provider = self._provider_for(delivery.destination)
        return provider.build(delivery.dated_event, self._secrets.get(delivery.destination))

    def attempt(
        self,
        delivery: Delivery,
        account: Account,
        turn: Turn,
        deadline: float,
        witness: Callable[[Request | None, Reply | None], None] | None = None,
    ) -> Result:
        """Tries once, with a `turn` of the account's pace. `deadline` is the monotonic second by which the invocation
        ends; `witness` sees the exchange.
        """
        with turn:
            try:
                result = self._attempt(delivery, account, turn, deadline, witness)
            except Exception as error:  # One event must not take its batch along, whatever we did not think of.
                result = self._result(delivery, Outcome.RETRY, _fault(error), ours=True)
        if result.ours:
            return replace(result, failed_at=account.troubled())
        if result.final:
            account.untroubled()
        return result

    def _attempt(
        self,
        delivery: Delivery,
        account: Account,
        turn: Turn,
        deadline: float,
        witness: Callable[[Request | None, Reply | None], None] | None,
    ) -> Result:
        provider = self._provider_for(delivery.destination)
        began = self._clock.now()
        if self._is_late(deadline):
            # It waited for a free thread, and its batch is over: a claim would be found open by the next attempt.
            return self._result(delivery, Outcome.THROTTLED, OUT_OF_TIME)
        record = Record(
            event_id=delivery.event.id,
            destination=delivery.destination,
            content_hash=delivery.content_hash,
            version=delivery.version,
            state="claimed",
            owner=f"{delivery.key}@{uuid4()}",
            message_id=delivery.key,
            lease_until=began + max(0.0, deadline - self._clock.monotonic()),
            accepted_at=delivery.accepted_at,
        )
        try:
            claim = self._ledger.claim(record, now=began, overrides=provider.overrides_by_id)
        except UnavailableError as error:
            return self._result(delivery, Outcome.RETRY, str(error), ours=True)
        if not claim.granted:
            return self._denied(delivery, record, claim, provider.overrides_by_id)
        if claim.before is not None and claim.before.not_before > began:
            account.pace.stay_away(claim.before.not_before - began)
        crashes = max(1, claim.before.claims) if claim.before and claim.before.state == "claimed" else 0
        record = resume(record, claim.before, crashes)
        result = self._end_unsent(delivery, provider, account, record, crashes)
        if result is None:
            try:
                post = self._post(delivery, provider, turn, deadline)
            except Exception as error:
                # Nothing was sent: whatever raises once it may have been is caught there.
                post = _Post(Outcome.RETRY, _fault(error), started_at=began, broken=True)
            if witness:
                witness(post.request, post.reply)
            result = replace(self._conclude(delivery, provider, account, record, post), crashed=crashes)
        return result

    def _end_unsent(
        self, delivery: Delivery, provider: Provider, account: Account, record: Record, crashes: int
    ) -> Result | None:
        """The end of an event that is not to be sent any more; None for all others."""
        if crashes and record.delivered_hash != record.content_hash and provider.settings.on_unknown == "park":
            # One of its crashes is what it is parked for: counted by its outcome.
            return replace(self._give_up(delivery, record, _Post(Outcome.UNKNOWN, CRASHED)), crashed=crashes - 1)
        result, now = None, self._clock.now()
        if record.delivered_hash == record.content_hash:
            record = replace(record, delivered_version=max(record.delivered_version, record.version))
            post = _Post(Outcome.DUPLICATE, "delivered before")
            result = _recorded(self._settle(delivery, record, post, "delivered", record.attempts), provider)
        elif provider.overrides_by_id and _is_outdated(delivery, record, now):
            result = self._end_outdated(delivery, record)
        elif stale := self._stale(delivery, now):
            account.forget(delivery.event.id)
            why = f"{stale}, last: {record.reason}" if record.reason else stale
            result = self._give_up(delivery, record, _Post(Outcome.EXPIRED, why))
        return result and replace(result, crashed=crashes)

    def _end_outdated(self, delivery: Delivery, record: Record) -> Result:
        came_later = record.version[-MOMENT:] > record.delivered_version[-MOMENT:]
        if came_later and record.content_hash not in record.replaced:
            # It says that it happened earlier: a late event, or a correction of when. A person can tell.
            return self._give_up(delivery, record, _Post(Outcome.REJECTED, OUTDATED))
        post = _Post(Outcome.DUPLICATE, "a later version was delivered")
        if record.delivered_hash:
            record = replace(record, content_hash=record.delivered_hash, version=record.delivered_version)
            return self._settle(delivery, record, post, "delivered", record.attempts)
        # Nobody knows what the provider holds, but this came before it.
        return replace(self._settle(delivery, record, post, "open", record.attempts), final=True)

    def _denied(self, delivery: Delivery, record: Record, claim: Claim, overrides: bool) -> Result:
        before = claim.before
        if before is not None and before.content_hash != record.content_hash and not overrides:
            post = _Post(Outcome.REJECTED, "id_reused: this id was used before with other content")
            return self._give_up(delivery, replace(record, attempts=0), post, settle=False)
        if before is not None and before.state == "delivered":
            return self._result(delivery, Outcome.DUPLICATE, "delivered before", final=True, attempts=before.attempts)
        if before is not None and record.message_id in before.given_up:
            # A crash between the dead letter and the end of its batch: the message came back, its end is written.
            reason = f"given up before: {before.reason}"
            return self._result(delivery, Outcome.DUPLICATE, reason, final=True, attempts=before.attempts)
        wait = max(2 * LONGEST_WAIT, before.lease_until - self._clock.now() if before is not None else 0.0)
        return self._result(delivery, Outcome.THROTTLED, "another execution has it", wait=wait)

    def _is_late(self, deadline: float) -> bool:
        return self._clock.monotonic() + self._transport.longest + RESERVE / 2 > deadline

    def _stale(self, delivery: Delivery, now: float) -> str:
        expires_at = delivery.event.expires_at
        if expires_at is not None and now >= expires_at.timestamp():
            return "passed its expires_at"
        if now - delivery.accepted_at >= self._oldest:
            return f"older than {timedelta(seconds=self._oldest)} since acceptance"
        return ""

    def _post(self, delivery: Delivery, provider: Provider, turn: Turn, deadline: float) -> _Post:
        began = self._clock.now()
        try:
            credentials = self._secrets.get(delivery.destination)
        except CredentialsError as error:
            return _Post(Outcome.UNAUTHORIZED, str(error), started_at=began)
        except UnavailableError as error:
            return _Post(Outcome.RETRY, str(error), ours=True)
        post = self._exchange(delivery, provider, credentials, turn, deadline)
        if post.outcome is Outcome.UNAUTHORIZED:
            return self._post_again(delivery, provider, credentials, turn, deadline, post)
        return post

    def _post_again(
        self,
        delivery: Delivery,
        provider: Provider,
        credentials: Mapping[str, str],
        turn: Turn,
        deadline: float,
        post: _Post,
    ) -> _Post:
        """Once more, after a refusal, with the secret fetched anew."""
        try:
            fresh = self._secrets.refresh(delivery.destination, credentials)
        except CredentialsError as error:
            return _Post(Outcome.UNAUTHORIZED, str(error), started_at=post.started_at)
        except UnavailableError:
            return post
        again = self._exchange(delivery, provider, fresh, turn, deadline)
        if again.outcome is Outcome.UNAUTHORIZED:
            return replace(again, started_at=post.started_at)
        # New credentials that had no turn yet prove nothing; the old ones were refused.
        return post if again.is_unsent and fresh == credentials else again

    def _exchange(
        self,
        delivery: Delivery,
        provider: Provider,
        credentials: Mapping[str, str],
        turn: Turn,
        deadline: float,
    ) -> _Post:
        event = delivery.dated_event
        try:
            request = provider.build(event, credentials)
        except CredentialsError as error:
            return _Post(Outcome.UNAUTHORIZED, str(error), started_at=self._clock.now())
        except UndeliverableError as error:
            said = "; ".join(mask_identifiers(str(each)) for each in error.errors)
            return _Post(Outcome.REJECTED, shorten(said, 1024))
        if not turn.wait(at_most=LONGEST_WAIT):
            return _Post(Outcome.THROTTLED, "no budget left")
        if self._is_late(deadline):
            return _Post(Outcome.THROTTLED, OUT_OF_TIME)
        return self._send(request, event, provider, turn)

    def _send(self, request: Request, event: Event, provider: Provider, turn: Turn) -> _Post:
        started_at = self._clock.now()
        answer: Reply | TransportError
        try:
            try:
                answer = self._transport.send(request)
            except TransportError as error:
                answer = error
            outcome = provider.read(answer)
        except Exception as error:
            # It may have left, and we do not know how it was answered.
            return _Post(Outcome.UNKNOWN, _fault(error), started_at=started_at, request=request)
        if isinstance(answer, TransportError):
            return _Post(outcome, f"no answer: {answer}", started_at=started_at, request=request)
        # The outcome is read: no fault in what else the answer says may lose it.
        budget = _or(Budget(), provider.budget, answer, self._clock.now())
        _or(None, turn.throttle if outcome is Outcome.THROTTLED else turn.observe, budget, answer.left_after)
        detail = ""
        if outcome is not Outcome.DELIVERED:
            detail = _or(UNREADABLE, provider.detail, answer, (*request.secrets, *event.private))
        return _Post(
            outcome,
            f"HTTP {answer.status}" + (", its body cut off or unreadable" if outcome is Outcome.UNKNOWN else ""),
            status=answer.status,
            detail=detail,
            wait=(budget.retry_after or 0.0) if outcome is Outcome.RETRY else 0.0,
            started_at=started_at,
            request=request,
            reply=answer,
        )

    def _conclude(
        self, delivery: Delivery, provider: Provider, account: Account, record: Record, post: _Post
    ) -> Result:
        event_id = delivery.event.id
        failure = Failure(record.strikes, record.blame, record.failed_at, record.last_failed_at)
        match post.outcome:
            case Outcome.DELIVERED:
                account.succeeded(event_id, post.started_at)
                result = self._settle(delivery, record, post, "delivered", attempts=record.attempts + 1)
                return _recorded(result, provider)
            case Outcome.REJECTED:
                if post.status is not None and post.status < 400:
                    account.succeeded(event_id, post.started_at)
                else:
                    # A front may refuse it while what is behind is down, or the token is bad: that proves nothing.
                    account.forget(event_id)
                return self._give_up(delivery, replace(record, attempts=record.attempts + bool(post.status)), post)
            case Outcome.UNKNOWN if provider.settings.on_unknown == "park":
                account.parked(event_id, post.started_at)
                unknowns = record.unknowns + 1
                record = replace(record, attempts=record.attempts + 1, unknowns=unknowns, delivered_hash="")
                return self._give_up(delivery, record, post)
            case Outcome.UNKNOWN | Outcome.RETRY if post.request is not None or post.broken:
                failure = account.failed(event_id, failure, post.started_at, record.attempts + 1)
                record = replace(record, attempts=record.attempts + (not post.broken))
                if post.outcome is Outcome.UNKNOWN:
                    record = replace(record, unknowns=record.unknowns + 1, delivered_hash="")
            case Outcome.THROTTLED if post.status is not None:
                failure = account.throttled(event_id, failure, post.started_at)
                record = replace(record, not_before=self._clock.now() + account.pace.delay())
            case Outcome.UNAUTHORIZED:
                record = replace(record, attempts=record.attempts + bool(post.status))
                before, failure = failure, account.refused(event_id, failure, post.started_at)
                if not failure.is_poison:
                    since = before.last_failed_at or post.started_at
                    # Forbidden may be what this event asks for; unknown is who asks.
                    suspect = event_id if post.status == 403 else None
                    post = replace(post, wait=account.hold(failure.failed_at, since, suspect))
        record = replace(
            record,
            strikes=failure.strikes,
            blame=failure.blame,
            failed_at=failure.failed_at,
            last_failed_at=failure.last_failed_at,
        )
        if failure.is_poison:
            account.forget(event_id)
            reason = f"failed {failure.strikes} times while others succeeded, last {post.reason}"
            # An unknown stays one: it may have been acted on, and is counted.
            outcome = post.outcome if post.outcome is Outcome.UNKNOWN else Outcome.REJECTED
            # An answer of 429 is no attempt, but it was a try.
            record = replace(record, attempts=max(record.attempts, failure.strikes))
            return self._give_up(delivery, record, replace(post, outcome=outcome, reason=reason))
        return self._settle(delivery, record, post, "open", attempts=record.attempts)

    def _settle(
        self,
        delivery: Delivery,
        record: Record,
        post: _Post,
        state: Literal["claimed", "open", "delivered", "given_up"],
        attempts: int,
    ) -> Result:
        reason, unrecorded = post.reason, False
        if post.outcome is Outcome.DELIVERED:
            replaced = (*record.replaced, record.delivered_hash) if record.delivered_hash else record.replaced
            record = replace(
                record,
                failed_at=0.0,
                delivered_hash=record.content_hash,
                delivered_version=max(record.delivered_version, record.version),
                replaced=tuple(each for each in replaced if each != record.content_hash)[-REMEMBERED:],
            )
        if state == "given_up":
            record = replace(record, given_up=(*record.given_up, record.message_id)[-REMEMBERED:])
        ended = replace(
            record,
            state=state,
            claims=1 if state == "claimed" else 0,
            attempts=attempts,
            outcome=str(post.outcome),
            reason=reason,
            status=post.status,
            completed_at=self._clock.now(),
        )
        try:
            self._ledger.settle(ended)
        except UnavailableError as error:
            # What happened has happened. Unsettled, the claim reads as a crash: the next attempt counts as unknown.
            reason, unrecorded = f"{reason} (not recorded: {error})", True
        return self._result(
            delivery,
            post.outcome,
            reason,
            final=state in ("delivered", "given_up"),
            status=post.status,
            detail=post.detail,
            attempts=attempts,
            wait=post.wait,
            strikes=ended.strikes,
            failed_at=ended.failed_at,
            unknowns=ended.unknowns,
            unrecorded=unrecorded,
            ours=post.ours,
        )

    def _give_up(self, delivery: Delivery, record: Record, post: _Post, settle: bool = True) -> Result:
        letter = dead_letter(delivery, post.reason, post.detail, post.status, record.attempts)
        try:
            self._queue.give_up(letter)
        except UnavailableError as error:
            if settle and post.outcome is Outcome.UNKNOWN:
                # As if it had crashed: an unknown delivery must not look as if it had never been tried.
                open_again = replace(record, unknowns=record.unknowns - 1)
                self._settle(delivery, open_again, post, "claimed", record.attempts - 1)
            elif settle:
                self._settle(delivery, record, post, "open", record.attempts)
            reason = f"{post.reason} (dead letter not written: {error})"
            return self._result(delivery, Outcome.RETRY, reason, ours=True)
        if not settle:
            return self._result(delivery, post.outcome, post.reason, final=True, attempts=record.attempts)
        return self._settle(delivery, record, post, "given_up", record.attempts)

    def _result(self, delivery: Delivery, outcome: Outcome, reason: str, **more: object) -> Result:
        result = Result(
            outcome,
            reason,
            event_id=delivery.event.id,
            destination=delivery.destination,
            correlation_id=delivery.correlation_id,
        )
        return replace(result, age=self._clock.now() - delivery.accepted_at, **more)  # type: ignore[arg-type]


def _recorded(result: Result, provider: Provider) -> Result:
    """The end of a delivered event, or a retry where it is not written down and the provider overwrites by id: once
    more does no harm, and a late copy of an earlier version must not have the last word.
    """
    if result.unrecorded and provider.overrides_by_id and provider.settings.on_unknown == "retry":
        return replace(result, outcome=Outcome.RETRY, final=False, ours=True)
    return result


def _is_outdated(delivery: Delivery, record: Record, now: float) -> bool:
    """Whether the provider holds a later version of the event: this one would undo it."""
    if delivery.direct:
        return False
    if record.version != record.delivered_version:
        return record.version < record.delivered_version
    # Two versions of one moment. What the other one replaced comes back as a late copy, or at once as a change of mind.
    first = delivery.accepted_at if delivery.first_accepted_at is None else delivery.first_accepted_at
    return record.content_hash in record.replaced and now - first > AT_ONCE


def dead_letter(delivery: Delivery, reason: str, detail: str, status: int | None, attempts: int) -> DeadLetter:
    """The dead letter of a delivery; `reason` and the provider's `detail` are already masked."""
    return DeadLetter(
        body=delivery.body,
        reason=shorten(printable(f"{reason}: {detail}" if detail else reason), 1024),
        destination=delivery.destination,
        event_id=printable(delivery.event.id),
        status=status,
        attempts=attempts,
        deduplication_id=delivery.key,
        content_hash=delivery.content_hash,
        accepted_at=delivery.first_accepted_at or delivery.accepted_at,
        correlation_id=delivery.correlation_id,
    )


def _fault(error: Exception) -> str:
    """Its name only: the text may hold anything."""
    return f"{BROKEN}: {type(error).__name__}"


def _or[T, **P](otherwise: T, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """What the call returns, or `otherwise` where it raises."""
    try:
        return call(*args, **more)
    except Exception:
        return otherwise
