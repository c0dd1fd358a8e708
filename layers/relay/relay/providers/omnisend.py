"""Omnisend: send a customer event. Sentence by sentence: docs/providers/omnisend.md.

Events with one ID and one time are taken once, but only where they are history: a live event fires its automation
again, so only the ledger prevents that.
"""

from typing import Any

from pydantic import Field

from relay.contract.event import Event
from relay.contract.fields import iso
from relay.errors import FieldError
from relay.outcome import Outcome
from relay.providers.auth import Header
from relay.providers.base import DestinationSettings, Provider, Repeat, without_nulls
from relay.providers.checks import RETIRED
from relay.providers.ids import uuid
from relay.providers.limits import Limit
from relay.providers.replies import SAYS, Rule

LONGEST_PHONE = 15
"""Characters, the plus sign among them."""


class OmnisendSettings(DestinationSettings):
    origin: str = Field(default="api", min_length=1)


class Omnisend(Provider):
    name = "omnisend"
    address = "https://api.omnisend.com"
    limits = (Limit(requests=400, window=60.0),)
    credentials = ("api_key",)
    repeats = Repeat.FIRES_AGAIN
    path = "/api/events"
    auth = Header("api_key", scheme="Omnisend-API-Key")
    headers = {"Omnisend-Version": "2026-03-15"}  # noqa: RUF012 a Mapping: nobody changes it
    # Omnisend has retired that version: its events wait for a release that speaks the next one.
    rules = (Rule(Outcome.RETRY, (410,)),)
    checks = (RETIRED,)
    says = ("title", "detail", *SAYS)
    quota = "x-rate-limit"
    waits = "retryAfter"
    backoff = 5.0
    settings_model = OmnisendSettings
    settings: OmnisendSettings

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        customer = event.customer
        contact: dict[str, Any] = {
            "id": customer.provider_ids.get(self.name),
            "email": customer.email,
            "phone": customer.phone_number,
        }
        if not any(contact.values()):
            lacks = "needs an email, a phone_number or provider_ids.omnisend for Omnisend"
            errors.append(FieldError("customer", lacks))
        if (length := len(customer.phone_number or "")) > LONGEST_PHONE:
            too_long = f"is {length} characters long, Omnisend takes {LONGEST_PHONE}"
            errors.append(FieldError("customer.phone_number", too_long))
        contact["customProperties"] = dict(customer.properties) or None
        payload = {
            "eventName": event.type,
            "origin": self.settings.origin,
            "eventID": str(uuid(event)),
            "eventTime": iso(event.occurred_at) if event.occurred_at else None,
            "contact": {key: value for key, value in contact.items() if value},
            "properties": dict(event.properties) or None,
        }
        return without_nulls(payload)
