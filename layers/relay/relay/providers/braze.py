"""Braze: track a custom event of a user. Sentence by sentence: docs/providers/braze.md.

It knows no ID of an event, so only the ledger prevents a repeat. A 201 may say in its body that nothing was taken.
"""

from typing import Any

from pydantic import Field

from relay.contract.event import Event
from relay.contract.fields import iso
from relay.errors import FieldError
from relay.outcome import Outcome
from relay.providers.auth import bearer
from relay.providers.base import DestinationSettings, Provider, Repeat, without_nulls
from relay.providers.checks import Check, Verdict
from relay.providers.limits import Limit
from relay.providers.replies import Rule

MOST_PROPERTIES, LONGEST_NAME, RESERVED = 256, 255, ("time", "event_name")
_CLUSTER = (
    "the key is wrong, or of another cluster: the stack's base URL for this provider must be the REST endpoint that "
    "Braze shows beside the key (Settings, APIs and Identifiers); if it is, relay connect {destination}"
)


class BrazeSettings(DestinationSettings):
    external_id: bool = Field(default=True, strict=True)
    alias_label: str | None = Field(default=None, min_length=1)
    app_id: str | None = Field(default=None, min_length=1)
    update_existing_only: bool | None = Field(default=None, strict=True)
    text_characters: int = Field(default=255, ge=1, strict=True)


class Braze(Provider):
    name = "braze"
    address = "https://rest.iad-01.braze.com"
    limits = (Limit(requests=3_000, window=3.0),)
    credentials = ("api_key",)
    path = "/users/track"
    auth = bearer("api_key")
    repeats = Repeat.FIRES_AGAIN
    # One event a request: whatever is wrong is wrong with that one.
    rules = tuple(
        Rule(Outcome.REJECTED, range(200, 300), body=body) for body in ({"errors": ...}, {"events_processed": 0})
    )
    says = ("[message][?@ != 'success']", "errors[].not_null(type, @) || errors")
    checks = (Check(Verdict.TOKEN, _CLUSTER, (401,)),)
    quota = "x-ratelimit"
    backoff = 3.0
    settings_model = BrazeSettings
    settings: BrazeSettings

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        if not (user := self._user(event)):
            yours = ", an id" if self.settings.external_id or self.settings.alias_label else ""
            needed = f"needs an email, a phone_number{yours} or provider_ids.braze for Braze"
            errors.append(FieldError("customer", needed))
        if event.occurred_at is None:
            errors.append(FieldError("occurred_at", "is required by Braze"))
        if (number := len(event.properties)) > MOST_PROPERTIES:
            errors.append(FieldError("properties", f"are {number}, Braze keeps the first {MOST_PROPERTIES}"))
        most = self.settings.text_characters
        for key, value in event.properties.items():
            if key in RESERVED or key.startswith("$") or len(key) > LONGEST_NAME:
                errors.append(FieldError(f"properties.{key}", "has a name that Braze does not take: rename it"))
            if isinstance(value, str) and len(value) > most:
                long = f"is {len(value)} characters long, Braze takes {most}"
                errors.append(FieldError(f"properties.{key}", long))
        tracked = {
            **user,
            "app_id": self.settings.app_id,
            "name": event.type,
            "time": iso(event.occurred_at) if event.occurred_at else None,
            "properties": dict(event.properties) or None,
            "_update_existing_only": self.settings.update_existing_only,
        }
        return {"events": [without_nulls(tracked)]}

    def _user(self, event: Event) -> dict[str, Any]:
        # By one identifier: which of several wins, the page says of email and phone only.
        customer, label = event.customer, self.settings.alias_label
        known: dict[str, Any] = {"braze_id": customer.provider_ids.get(self.name)}
        if customer.id and label:
            known["user_alias"] = {"alias_name": customer.id, "alias_label": label}
        elif self.settings.external_id:
            known["external_id"] = customer.id
        known |= {"email": customer.email, "phone": customer.phone_number}
        return dict([(key, value) for key, value in known.items() if value][:1])
