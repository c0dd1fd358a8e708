"""Customer.io, Track API version 1: track a customer event. Sentence by sentence: docs/providers/customerio.md.

The person stands in the path. What the producer knows of a customer, and a phone number, stay behind.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from relay.contract.event import Event
from relay.errors import FieldError
from relay.providers.auth import Basic, segment
from relay.providers.base import DestinationSettings, Provider, Repeat, Useless, size, without_nulls
from relay.providers.checks import Check, Verdict
from relay.providers.ids import ulid
from relay.providers.limits import Limit
from relay.providers.replies import SAYS

OWN = "cio_"
"""How Customer.io's own ID of a person begins."""
LONGEST_ID, LONGEST_NAME, LARGEST_DATA = 150, 100, 100_000
"""Bytes."""
_EU = "the workspace is in the EU: set the stack's base URL for this provider to https://track-eu.customer.io"


class CustomerioSettings(DestinationSettings):
    identify_by: Literal["id", "email"] = "id"


class Customerio(Provider):
    name = "customerio"
    address = "https://track.customer.io"
    limits = (Limit(requests=100, window=1.0),)
    credentials = ("site_id", "api_key")
    open_credentials = ("site_id",)
    repeats = Repeat.IGNORED
    useless = Useless(timedelta(hours=72), "Customer.io starts no campaign with it")
    auth = Basic("site_id", "api_key")
    says = ("meta.error", "meta.errors", *SAYS)
    checks = (Check(Verdict.ADDRESS, _EU, range(300, 400)),)
    settings_model = CustomerioSettings
    settings: CustomerioSettings

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        person = self._person(event)
        if not person:
            lacks = "needs an id, an email or provider_ids.customerio for Customer.io, which takes no phone number here"
            errors.append(FieldError("customer", lacks))
        limits = {
            "customer.id": (person if person == event.customer.id else "", LONGEST_ID),
            "type": (event.type, LONGEST_NAME),
            "properties": (event.properties or "", LARGEST_DATA),
        }
        for field, (value, most) in limits.items():
            if (found := size(value)) > most:
                errors.append(FieldError(field, f"takes {found} bytes, Customer.io allows {most}"))
        payload = {
            "name": event.type,
            "id": ulid(event),
            "timestamp": int(event.occurred_at.timestamp()) if event.occurred_at else None,
            "data": dict(event.properties) or None,
        }
        return without_nulls(payload)

    def where(self, event: Event, credentials: Mapping[str, str]) -> str:  # noqa: ARG002 the site is in the header
        return f"/api/v1/customers/{segment(self._person(event))}/events"

    def _person(self, event: Event) -> str:
        """Who it is to Customer.io; empty where nobody can be named."""
        customer = event.customer
        if own := customer.provider_ids.get(self.name):
            return own if own.startswith(OWN) else OWN + own
        known = [customer.id, customer.email]
        if self.settings.identify_by == "email":
            known.reverse()
        return next(filter(None, known), "")
