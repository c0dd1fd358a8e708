"""One request to a provider: built, sent when the pace permits, and sent once more if it was unauthorized and the
secret could be read again.
"""

from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass

from relay.account.pace import Permit
from relay.contract.event import Event
from relay.delivery.delivery import Delivery
from relay.delivery.services import LONGEST_WAIT, Services
from relay.errors import CredentialsError, TransportError, UnavailableError, UndeliverableError
from relay.masking import mask_identifiers, shorten
from relay.outcome import Outcome
from relay.ports import Reply, Request
from relay.providers.base import Provider
from relay.providers.limits import Budget

BROKEN = "a fault of the relay's own"
OUT_OF_TIME = "no time left in this invocation"
UNREADABLE = "what it said could not be read"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of a post. `request` is None where none could be built, or no secret read; times are seconds."""

    outcome: Outcome
    reason: str
    status: int | None = None
    detail: str = ""
    wait: float = 0.0
    started_at: float = 0.0
    request: Request | None = None
    reply: Reply | None = None
    internal: bool = False
    """A service of our own failed, not the provider."""
    broken: bool = False
    """A fault of our own, which this event brings out."""

    @property
    def is_unsent(self) -> bool:
        """The pace or the deadline left no time for the request."""
        return self.outcome is Outcome.THROTTLED and self.status is None


class _NotNowError(Exception):
    """The request has not left: there was no turn for it, or no time."""


@dataclass(frozen=True, slots=True)
class Post:
    """Posts one delivery with a `permit` of its account's pace. `deadline`: the monotonic second at which the
    invocation ends.
    """

    services: Services
    delivery: Delivery
    provider: Provider
    permit: Permit
    deadline: float

    def send(self) -> Exchange:
        """Raises what a fault of ours raises while a request is made ready; what raises once one may have left is an
        `unknown`.
        """
        began = self.services.clock.now()
        try:
            credentials = self.services.secrets.get(self.delivery.destination, self.permit.resumed)
        except CredentialsError as error:
            return Exchange(Outcome.UNAUTHORIZED, str(error), started_at=began)
        except UnavailableError as error:
            return Exchange(Outcome.RETRY, str(error), internal=True)
        first = self._exchange(credentials)
        return self._again(first, credentials) if first.outcome is Outcome.UNAUTHORIZED else first

    def _again(self, first: Exchange, credentials: Mapping[str, str]) -> Exchange:
        """Once more, with the secret fetched anew."""
        try:
            fresh = self.services.secrets.refresh(self.delivery.destination, credentials)
        except CredentialsError as error:
            reason = f"{first.reason}, then {error}" if first.request else str(error)
            return replace(first, reason=reason, request=None)
        except UnavailableError:
            return first
        again = self._exchange(fresh)
        if again.outcome is Outcome.UNAUTHORIZED:
            return replace(again, started_at=first.started_at)
        # The same credentials once more, without a turn to use them: the first answer stands.
        return first if again.is_unsent and fresh == credentials else again

    def _exchange(self, credentials: Mapping[str, str]) -> Exchange:
        event = self.delivery.dated_event
        try:
            request = self.provider.build(event, credentials)
        except CredentialsError as error:
            return Exchange(Outcome.UNAUTHORIZED, str(error), started_at=self.services.clock.now())
        except UndeliverableError as error:
            said = "; ".join(mask_identifiers(str(each)) for each in error.errors)
            return Exchange(Outcome.REJECTED, shorten(said, 1024))
        if self.services.is_late(self.deadline):
            return Exchange(Outcome.THROTTLED, OUT_OF_TIME)
        return self._send(request, event)

    def _send(self, request: Request, event: Event) -> Exchange:
        started_at = self.services.clock.now()
        answer: Reply | TransportError

        def leave() -> None:
            nonlocal started_at
            if not self.permit.wait(at_most=LONGEST_WAIT):
                raise _NotNowError("no budget left")
            if self.services.is_late(self.deadline):
                raise _NotNowError(OUT_OF_TIME)
            started_at = self.services.clock.now()

        try:
            try:
                answer = self.services.transport.send(request, leave)
            except TransportError as error:
                answer = error
            outcome = self.provider.read(answer)
        except _NotNowError as error:
            return Exchange(Outcome.THROTTLED, str(error))
        except UnavailableError as error:
            return Exchange(Outcome.RETRY, str(error), internal=True)
        except Exception as error:
            # It may have left, and we do not know how it was answered.
            return Exchange(Outcome.UNKNOWN, fault(error), started_at=started_at, request=request)
        if isinstance(answer, TransportError):
            return Exchange(outcome, f"no answer: {answer}", started_at=started_at, request=request)
        # The outcome is read: no fault in what else the answer says may lose it.
        budget = _or(Budget(), self.provider.budget, answer, self.services.clock.now())
        if outcome is Outcome.THROTTLED:
            _or(None, self.permit.throttle, budget, event.id)
        else:
            _or(None, self.permit.observe, budget)
        reason, detail = f"HTTP {answer.status}", ""
        if outcome is Outcome.UNKNOWN:
            reason += ", its body cut off or unreadable"
        if outcome is not Outcome.DELIVERED:
            if mend := _or("", self.provider.mend, answer):
                reason += f" ({mend}, then redrive)"
            detail = _or(UNREADABLE, self.provider.detail, answer, (*request.secrets, *event.private))
        return Exchange(
            outcome,
            reason,
            status=answer.status,
            detail=detail,
            wait=(budget.retry_after or 0.0) if outcome is Outcome.RETRY else 0.0,
            started_at=started_at,
            request=request,
            reply=answer,
        )


def fault(error: Exception) -> str:
    """Its name only: the text may hold anything."""
    return f"{BROKEN}: {type(error).__name__}"


def _or[T, **P](otherwise: T, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """What the call returns, or `otherwise` where it raises."""
    try:
        return call(*args, **more)
    except Exception:
        return otherwise
