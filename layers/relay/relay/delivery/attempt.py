"""One attempt to deliver one event to one destination: claim, post, settle."""

from copy import replace
from datetime import timedelta
from typing import Any, Literal
from uuid import uuid4

from relay.account.account import Account
from relay.delivery.delivery import MOMENT, Delivery
from relay.delivery.post import OUT_OF_TIME, Exchange, Post, fault
from relay.delivery.record import delivered, given_up, resume
from relay.delivery.services import LONGEST_WAIT, Services
from relay.errors import UnavailableError
from relay.outcome import Outcome, Result
from relay.ports import Claim, Failure, Record
from relay.providers.base import Provider, Useless

CRASHED = "an earlier attempt ended without a record of its answer: parked"
OUTDATED = "outdated: a version of this id that happened later was delivered before"


class Attempt:
    """Tries a delivery once. It has its place in the account's pace from the moment it is made.

    `deadline` is the monotonic second by which the invocation ends.
    """

    _provider: Provider
    _record: Record
    """What the ledger is to hold of the event. Both are there once `run` has begun."""

    def __init__(self, services: Services, delivery: Delivery, account: Account, deadline: float) -> None:
        self.exchange: Exchange | None = None
        """With the provider, once there was one."""
        self._services = services
        self._clock = services.clock
        self._delivery = delivery
        self._account = account
        self._deadline = deadline
        self._permit = account.pace.permit(backfill=delivery.is_backfill)
        self._crashes = 0
        """Earlier attempts that ended between their post and its record."""
        self._is_unsure = False
        """There were some, or one of this very message, that another message's attempt has counted."""

    def run(self) -> Result:
        """Safe to run beside others, in a thread of its own. Never raises for anything a provider, a customer's data or
        one of our own services does: each ends as a Result.
        """
        with self._permit:
            try:
                result = self._try()
            except Exception as error:  # One event must not take its batch along, whatever we did not think of.
                result = self._result(Outcome.RETRY, fault(error), internal=True, crashed=0)
        if result.internal:
            return replace(result, failed_at=self._account.dependency_failed())
        if result.final:
            self._account.dependency_recovered()
        return result

    def _try(self) -> Result:
        delivery = self._delivery
        self._provider = self._services.provider_for(delivery.destination)
        began = self._clock.now()
        if self._services.is_late(self._deadline):
            # It waited for a free thread, and its batch is over: a claim would be found open by the next attempt.
            return self._result(Outcome.THROTTLED, OUT_OF_TIME)
        self._record = self._new_record(began)
        try:
            claim = self._services.ledger.claim(self._record, now=began, overrides=self._provider.repeats.overrides)
        except UnavailableError as error:
            return self._result(Outcome.RETRY, str(error), internal=True)
        if not claim.granted:
            return self._denied(claim)
        before = claim.before
        self._crashes = max(1, before.claims) if before and before.state == "claimed" else 0
        self._is_unsure = self._crashes > 0 or (before is not None and self._record.message_id in before.claimants)
        self._record = resume(self._record, before, self._crashes)
        return self._end_unsent() or self._post(began)

    def withdraw(self, why: str) -> None:
        """Closes the event's record, without a request and without a dead letter, in place of `run`. Where the ledger
        cannot be reached, or another has the event in hand, the record stays as it is.
        """
        now = self._clock.now()
        self._provider = self._services.provider_for(self._delivery.destination)
        self._record = self._new_record(now)
        with self._permit:  # Its place is another's.
            try:
                claim = self._services.ledger.claim(self._record, now=now, overrides=self._provider.repeats.overrides)
            except UnavailableError:
                return
            if claim.granted:
                self._record = given_up(resume(self._record, claim.before, crashes=0))
                self._settle(Exchange(Outcome.REJECTED, why), "given_up")

    def _new_record(self, now: float) -> Record:
        delivery = self._delivery
        return Record(
            event_id=delivery.event.id,
            destination=delivery.destination,
            content_hash=delivery.content_hash,
            version=delivery.version,
            state="claimed",
            owner=f"{delivery.key}@{uuid4()}",
            message_id=delivery.key,
            lease_until=now + max(0.0, self._deadline - self._clock.monotonic()),
            accepted_at=delivery.accepted_at,
        )

    def _denied(self, claim: Claim) -> Result:
        """The end of an attempt whose claim the ledger does not grant."""
        before, record = claim.before, self._record
        if before is not None:
            if before.content_hash != record.content_hash and not self._provider.repeats.overrides:
                reused = Exchange(Outcome.REJECTED, "id_reused: this id was used before with other content")
                return self._give_up_unclaimed(reused)
            if before.state == "delivered":
                return self._result(Outcome.DUPLICATE, "delivered before", final=True, attempts=before.attempts)
            if record.message_id in before.given_up:
                # A crash between the dead letter and the end of its batch: the message came back, its end is written.
                reason = f"given up before: {before.reason}"
                return self._result(Outcome.DUPLICATE, reason, final=True, attempts=before.attempts)
        wait = max(2 * LONGEST_WAIT, before.lease_until - self._clock.now() if before is not None else 0.0)
        return self._result(Outcome.THROTTLED, "another execution has it", wait=wait)

    def _end_unsent(self) -> Result | None:
        """The end of an event that is not to be sent any more; None for all others."""
        record, now = self._record, self._clock.now()
        was_delivered = record.delivered_hash == record.content_hash
        if self._is_unsure and not was_delivered and self._provider.settings.on_unknown == "park":
            # The outcome `unknown` counts one of the crashes; the others are counted beside it.
            self._crashes = max(0, self._crashes - 1)
            return self._give_up(Exchange(Outcome.UNKNOWN, CRASHED))
        if was_delivered:
            self._record = replace(record, delivered_version=max(record.delivered_version, record.version))
            return self._recorded(self._settle(Exchange(Outcome.DUPLICATE, "delivered before"), "delivered"))
        if self._provider.repeats.overrides and self._delivery.is_outdated(record, now):
            return self._end_outdated()
        if stale := self._stale(now):
            self._account.forget(record.event_id)
            why = f"{stale}, last: {record.reason}" if record.reason else stale
            return self._give_up(Exchange(Outcome.EXPIRED, why))
        return None

    def _end_outdated(self) -> Result:
        record = self._record
        came_later = record.version[-MOMENT:] > record.delivered_version[-MOMENT:]
        if came_later and record.content_hash not in record.replaced:
            # It says that it happened earlier: a late event, or a correction of when. A person can tell.
            return self._give_up(Exchange(Outcome.REJECTED, OUTDATED))
        outdated = Exchange(Outcome.DUPLICATE, "a later version was delivered")
        if record.delivered_hash:
            self._record = replace(record, content_hash=record.delivered_hash, version=record.delivered_version)
            return self._settle(outdated, "delivered")
        # Nobody knows what the provider holds, but this came before it.
        return replace(self._settle(outdated, "open"), final=True)

    def _stale(self, now: float) -> str:
        expires_at = self._delivery.event.expires_at
        if expires_at is not None and now >= expires_at.timestamp():
            return "passed its expires_at"
        if now - self._delivery.accepted_at >= self._services.oldest:
            return f"older than {timedelta(seconds=self._services.oldest)} since acceptance"
        useless = self._useless
        if useless and useless.is_reached(now - self._delivery.occurred_at):
            return f"older than {useless.after}: {useless.rule}"
        return ""

    @property
    def _useless(self) -> Useless | None:
        """History starts nothing, and so is never too late."""
        return None if self._delivery.event.backfill else self._provider.useless

    def _late(self, exchange: Exchange) -> str:
        useless = self._useless
        seconds = exchange.started_at - self._delivery.occurred_at
        return f"{useless.rule} once older than {useless.after}" if useless and useless.is_near(seconds) else ""

    def _post(self, began: float) -> Result:
        post = Post(self._services, self._delivery, self._provider, self._permit, self._deadline)
        try:
            self.exchange = post.send()
        except Exception as error:
            # Nothing that the provider may have acted on: what raises once a request may have left is caught in Post.
            self.exchange = Exchange(Outcome.RETRY, fault(error), started_at=began, broken=True)
        return self._conclude(self.exchange)

    def _conclude(self, exchange: Exchange) -> Result:
        account, event_id = self._account, self._record.event_id
        match exchange.outcome:
            case Outcome.DELIVERED:
                account.succeeded(event_id, exchange.started_at)
                self._record = delivered(self._record)
                return replace(self._recorded(self._settle(exchange, "delivered")), late=self._late(exchange))
            case Outcome.REJECTED:
                if exchange.status is not None and exchange.status < 400:
                    account.succeeded(event_id, exchange.started_at)
                else:
                    # A gateway may answer 4xx while the service behind it is down: that does not prove that the
                    # provider works.
                    account.forget(event_id)
                self._count(attempts=bool(exchange.status))
                return self._give_up(exchange)
            case Outcome.UNKNOWN if self._provider.settings.on_unknown == "park":
                account.parked(event_id, exchange.started_at)
                self._count(attempts=1, unknowns=1)
                return self._give_up(exchange)
        failure, exchange = self._missed(exchange)
        if not failure.is_poison:
            return self._settle(exchange, "open")
        account.forget(event_id)
        # An unknown stays one: it may have been acted on, and is counted.
        outcome = exchange.outcome if exchange.outcome is Outcome.UNKNOWN else Outcome.REJECTED
        # An answer of 429 is not counted as an attempt, but each was a try.
        self._record = replace(self._record, attempts=max(self._record.attempts, failure.strikes))
        reason = f"failed {failure.strikes} times while others succeeded, last {exchange.reason}"
        return self._give_up(replace(exchange, outcome=outcome, reason=reason))

    def _missed(self, exchange: Exchange) -> tuple[Failure, Exchange]:
        """Tells the account that the event did not get through. Returns the account's verdict, and the exchange with
        the seconds to stay away.
        """
        account, event_id, started_at = self._account, self._record.event_id, exchange.started_at
        before = failure = self._record.failure
        match exchange.outcome:
            case Outcome.UNKNOWN | Outcome.RETRY if exchange.request is not None or exchange.broken:
                failure = account.failed(event_id, before, started_at, self._record.attempts + 1)
                self._count(attempts=not exchange.broken, unknowns=exchange.outcome is Outcome.UNKNOWN)
            case Outcome.THROTTLED if exchange.status is not None:
                failure = account.throttled(event_id, before, started_at)
            case Outcome.UNAUTHORIZED:
                self._count(attempts=bool(exchange.status))
                if exchange.request is None:
                    # Without credentials nobody knows what the provider says of the event.
                    failure = replace(before, failed_at=before.failed_at or started_at, last_failed_at=started_at)
                    suspect = None
                else:
                    failure = account.unauthorized(event_id, before, started_at, self._record.attempts)
                    # 403: this one event may ask for something forbidden. 401: the account's credentials are unknown.
                    suspect = event_id if exchange.status == 403 else None
                if not failure.is_poison:
                    since = before.last_failed_at or started_at
                    exchange = replace(exchange, wait=account.hold(failure.failed_at, since, suspect))
        self._record = replace(self._record, failure=replace(failure, is_poison=False))
        return failure, exchange

    def _count(self, attempts: int, unknowns: int = 0) -> None:
        """An unknown may have put this content in the place of what was delivered before."""
        record = self._record
        self._record = replace(
            record,
            attempts=record.attempts + attempts,
            unknowns=record.unknowns + unknowns,
            delivered_hash="" if unknowns else record.delivered_hash,
        )

    def _settle(self, exchange: Exchange, state: Literal["claimed", "open", "delivered", "given_up"]) -> Result:
        ended = replace(
            self._record,
            state=state,
            claims=1 if state == "claimed" else 0,
            claimants=(*self._record.claimants, *([self._record.message_id] if state == "claimed" else [])),
            outcome=str(exchange.outcome),
            reason=exchange.reason,
            status=exchange.status,
            completed_at=self._clock.now(),
        )
        reason, unrecorded = exchange.reason, False
        try:
            self._services.ledger.settle(ended)
        except UnavailableError as error:
            # What happened has happened. Unsettled, the claim reads as a crash: the next attempt counts as unknown.
            reason, unrecorded = f"{reason} (not recorded: {error})", True
        return self._result(
            exchange.outcome,
            reason,
            final=state in ("delivered", "given_up"),
            status=exchange.status,
            detail=exchange.detail,
            attempts=ended.attempts,
            wait=exchange.wait,
            strikes=ended.failure.strikes,
            failed_at=ended.failure.failed_at,
            unknowns=ended.unknowns,
            unrecorded=unrecorded,
            internal=exchange.internal,
        )

    def _recorded(self, result: Result) -> Result:
        """The end of a delivered event, or a retry where it is not written down and the provider overwrites by id: once
        more does no harm, and a late copy of an earlier version must not have the last word.
        """
        provider = self._provider
        if result.unrecorded and provider.repeats.overrides and provider.settings.on_unknown == "retry":
            return replace(result, outcome=Outcome.RETRY, final=False, internal=True)
        return result

    def _give_up(self, exchange: Exchange) -> Result:
        try:
            self._write_dead_letter(exchange, self._record.attempts)
        except UnavailableError as error:
            state: Literal["claimed", "open"] = "open"
            if exchange.outcome is Outcome.UNKNOWN:
                # As if it had crashed: an unknown delivery must not look as if it had never been tried.
                state, unknowns, attempts = "claimed", self._record.unknowns - 1, self._record.attempts - 1
                self._record = replace(self._record, unknowns=unknowns, attempts=attempts)
            self._settle(exchange, state)
            return self._not_given_up(exchange, error)
        self._record = given_up(self._record)
        return self._settle(exchange, "given_up")

    def _give_up_unclaimed(self, exchange: Exchange) -> Result:
        """A dead letter for an event whose record is another's."""
        try:
            self._write_dead_letter(exchange, attempts=0)
        except UnavailableError as error:
            return self._not_given_up(exchange, error)
        return self._result(exchange.outcome, exchange.reason, final=True)

    def _write_dead_letter(self, exchange: Exchange, attempts: int) -> None:
        letter = self._delivery.dead_letter(exchange.reason, exchange.detail, exchange.status, attempts)
        self._services.queue.give_up(letter)

    def _not_given_up(self, exchange: Exchange, error: UnavailableError) -> Result:
        return self._result(Outcome.RETRY, f"{exchange.reason} (dead letter not written: {error})", internal=True)

    def _result(self, outcome: Outcome, reason: str, **more: Any) -> Result:
        delivery = self._delivery
        return Result(
            outcome,
            reason,
            event_id=delivery.event.id,
            destination=delivery.destination,
            correlation_id=delivery.correlation_id,
            age=self._clock.now() - delivery.accepted_at,
            backfill=delivery.is_backfill,
            **{"crashed": self._crashes, **more},
        )
