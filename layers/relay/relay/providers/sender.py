"""Sender.net: create a custom event. Sentence by sentence: docs/providers/sender.md.

Sender has no event id, so a repeat fires the customer's automation again: only the ledger prevents it. It has no
timestamp and no customer properties either; both stay behind.
"""

from typing import Any

from pydantic import Field

from relay.contract.event import Event
from relay.errors import FieldError
from relay.outcome import Outcome
from relay.providers.auth import bearer
from relay.providers.base import DestinationSettings, Provider, Repeat, size, without_nulls
from relay.providers.limits import Limit
from relay.providers.replies import Rule


class SenderSettings(DestinationSettings):
    text_bytes: int = Field(default=2 * 1024, ge=1, strict=True)
    properties_bytes: int = Field(default=8 * 1024, ge=1, strict=True)


class Sender(Provider):
    name = "sender"
    address = "https://api.sender.net"
    limits = (Limit(requests=60, window=60.0),)
    credentials = ("access_token",)
    repeats = Repeat.FIRES_AGAIN
    path = "/v2/events"
    auth = bearer("access_token")
    quota = "x-ratelimit"
    rules = (
        Rule(Outcome.REJECTED, range(200, 300), body={"success": False}),
        Rule(
            Outcome.REJECTED,
            (400,),
            body={"contains(to_string(message), 'activate')": True},
            mend="activate the workflow at Sender",
        ),
    )
    backoff = 5.0
    settings_model = SenderSettings
    settings: SenderSettings

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        customer = event.customer
        subscriber = {
            "id": customer.provider_ids.get(self.name),
            "email": customer.email,
            "phone": customer.phone_number,
        }
        payload = {
            "subscriber": {key: value for key, value in subscriber.items() if value},
            "type": event.type,
            "value": event.value,
            "value_currency": event.currency,
            "properties": dict(event.properties) or None,
        }
        if not payload["subscriber"]:
            errors.append(FieldError("customer", "needs an email, a phone_number or provider_ids.sender for Sender"))
        longest, most = self.settings.text_bytes, self.settings.properties_bytes
        together = size(event.properties)
        for key, value in event.properties.items() if together > longest else ():
            if isinstance(value, str) and size(value) > longest:
                errors.append(FieldError(f"properties.{key}", f"is {size(value)} bytes long, Sender takes {longest}"))
        if together > most:
            errors.append(FieldError("properties", f"are {together} bytes together, Sender takes {most}"))
        return without_nulls(payload)
