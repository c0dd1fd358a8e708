"""Deliver is called directly: the exact request shown, or one event delivered once, for testing and repair."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.account.account import Account
from relay.contract.destination import Destination
from relay.contract.fields import field_errors
from relay.delivery.attempt import Attempt
from relay.delivery.delivery import Delivery
from relay.delivery.post import Exchange
from relay.delivery.services import Services
from relay.errors import CredentialsError, FieldError, InvalidEventError, UnavailableError, UndeliverableError
from relay.handlers.envelope import open_record
from relay.handlers.records import Context, Json, described
from relay.masking import hide
from relay.observability import DeliverObserver
from relay.outcome import Outcome


class DirectDelivery(BaseModel):
    """A direct call of deliver. `event` may come in an envelope, as everywhere."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    destination: str
    event: dict[str, Any]
    dry_run: bool = False
    content_hash: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Of a lane's or a dead letter's body, which intake has dated: the attribute beside it."""


@dataclass(frozen=True, slots=True)
class DirectHandler:
    """`{"destination", "event", "dry_run"}`: shows the exact request, or delivers once, for testing and repair."""

    provider: str
    destinations: Sequence[str]
    services: Services
    accounts: Callable[[Destination], Account]
    observer: DeliverObserver

    def handle(self, call: Any, context: Context, deadline: float) -> Json:
        """Returns `{"outcome", "reason", "request", "response", …}`, or `{"dry_run", "destination", "request"}`."""
        try:
            asked, delivery = self._read(call, context.aws_request_id)
            if asked.dry_run:
                request = self.services.preview(delivery)
                return {"dry_run": True, "destination": asked.destination, "request": request.masked()}
        except (InvalidEventError, UndeliverableError) as error:
            return {"outcome": str(Outcome.REJECTED), "errors": described(error.errors)}
        except CredentialsError as error:
            wrong = [FieldError("destination", str(error))]
            return {"outcome": str(Outcome.UNAUTHORIZED), "errors": described(wrong)}
        account = self.accounts(delivery.destination)
        with suppress(UnavailableError):
            # A person asks: what others wrote since, a hold or its end, is to be known.
            account.pace.look()
        attempt = Attempt(self.services, delivery, account, deadline)
        result = attempt.run()
        account.pace.end_batch()
        self.observer.results([result])
        return {
            "outcome": str(result.outcome),
            "reason": result.reason,
            "detail": result.detail,
            "event_id": result.event_id,
            "destination": result.destination,
            "attempts": result.attempts,
            **_shown(attempt.exchange),
        }

    def _read(self, call: Any, request_id: str) -> tuple[DirectDelivery, Delivery]:
        try:
            asked = parse(event=call, model=DirectDelivery)
        except ValidationError as error:
            raise InvalidEventError(field_errors(error)) from None
        event = open_record(asked.event)
        destination = Destination(asked.destination)
        if destination.provider != self.provider or not destination.is_configured(self.destinations):
            here = ", ".join(each for each in map(Destination, self.destinations) if each.provider == self.provider)
            raise InvalidEventError([FieldError("destination", f"must be one of: {here}")], event.id)
        return asked, Delivery(
            event=event,
            destination=destination,
            body=event.to_json(),
            content_hash=asked.content_hash or event.content_hash,
            accepted_at=self.services.clock.now(),
            key=request_id,
            correlation_id=request_id,
            direct=True,
        )


def _shown(exchange: Exchange | None) -> Json:
    """The request and what was answered, as far as there were such, with every secret masked."""
    request, reply = (exchange.request, exchange.reply) if exchange else (None, None)
    response = None
    if reply:
        body = reply.body.decode("utf-8", "replace")
        response = {"status": reply.status, "body": hide(body, request.secrets if request else ())}
    return {"request": request.masked() if request else None, "response": response}
