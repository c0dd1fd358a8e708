"""Deliver is called directly: the exact request shown, or one event delivered once, for testing and repair."""

from collections.abc import Callable, Sequence
from typing import Any

from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.account.account import Account
from relay.contract.destination import Destination, is_configured
from relay.contract.fields import field_errors
from relay.delivery.attempt import Courier, Delivery
from relay.errors import CredentialsError, FieldError, InvalidEventError, UndeliverableError
from relay.handlers.envelope import open_record
from relay.handlers.records import Context, Json, described
from relay.masking import hide
from relay.observability import DeliverObserver
from relay.outcome import Outcome
from relay.ports import Clock, Reply, Request


class DirectDelivery(BaseModel):
    """A direct call of deliver. `event` may come in an envelope, as everywhere."""

    model_config = ConfigDict(extra="forbid", strict=True)

    destination: str
    event: dict[str, Any]
    dry_run: bool = False
    content_hash: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Of a lane's or a dead letter's body, which intake has dated: the attribute beside it."""


class DirectDoor:
    """`{"destination", "event", "dry_run"}`: shows the exact request, or delivers once, for testing and repair."""

    def __init__(
        self,
        provider: str,
        destinations: Sequence[str],
        courier: Courier,
        accounts: Callable[[str], Account],
        observer: DeliverObserver,
        clock: Clock,
    ) -> None:
        self._provider = provider
        self._destinations = destinations
        self._courier = courier
        self._accounts = accounts
        self._observer = observer
        self._clock = clock

    def open(self, call: Any, context: Context, deadline: float) -> Json:
        """Returns `{"outcome", "reason", "request", "response", …}`, or `{"dry_run", "destination", "request"}`."""
        try:
            asked, delivery = self._read(call, context.aws_request_id)
            if asked.dry_run:
                request = self._courier.preview(delivery)
                return {"dry_run": True, "destination": asked.destination, "request": request.masked()}
        except (InvalidEventError, UndeliverableError) as error:
            return {"outcome": str(Outcome.REJECTED), "errors": described(error.errors)}
        except CredentialsError as error:
            return {"outcome": str(Outcome.UNAUTHORIZED), "errors": described([FieldError("destination", str(error))])}
        seen: list[tuple[Request | None, Reply | None]] = []
        account = self._accounts(asked.destination)
        result = self._courier.attempt(
            delivery, account, account.pace.turn(), deadline, witness=lambda *exchange: seen.append(exchange)
        )
        self._observer.results([result])
        request_sent, reply = seen[-1] if seen else (None, None)
        return {
            "outcome": str(result.outcome),
            "reason": result.reason,
            "detail": result.detail,
            "event_id": result.event_id,
            "destination": result.destination,
            "attempts": result.attempts,
            "request": request_sent.masked() if request_sent else None,
            "response": _show(reply, request_sent) if reply else None,
        }

    def _read(self, call: Any, request_id: str) -> tuple[DirectDelivery, Delivery]:
        try:
            asked = parse(event=call, model=DirectDelivery)
        except ValidationError as error:
            raise InvalidEventError(field_errors(error)) from None
        event = open_record(asked.event)
        named = Destination.parse(asked.destination)
        if named.provider != self._provider or not is_configured(asked.destination, self._destinations):
            here = ", ".join(name for name in self._destinations if name.partition("/")[0] == self._provider)
            raise InvalidEventError([FieldError("destination", f"must be one of: {here}")], event.id)
        return asked, Delivery(
            event=event,
            destination=asked.destination,
            body=event.to_json(),
            content_hash=asked.content_hash or event.content_hash,
            accepted_at=self._clock.now(),
            key=request_id,
            correlation_id=request_id,
            direct=True,
        )


def _show(reply: Reply, request: Request | None) -> Json:
    body = reply.body.decode("utf-8", "replace")
    return {"status": reply.status, "body": hide(body, request.secrets if request else ())}
