"""Klaviyo: create event, revision 2026-07-15. Sentence by sentence: docs/providers/klaviyo.md.

Of an ID that a profile's metric has had, Klaviyo keeps the first event and answers the next as if it had taken it.
"""

from typing import Any

from pydantic import Field

from relay.contract.event import Event
from relay.contract.fields import iso
from relay.errors import FieldError
from relay.outcome import Outcome
from relay.providers.auth import Header
from relay.providers.base import DestinationSettings, Provider, Repeat, size, without_nulls
from relay.providers.checks import RETIRED, Check, Verdict
from relay.providers.limits import Limit
from relay.providers.replies import Rule

JSON_API = "application/vnd.api+json"
_WALL = "a wall against bots answered in Klaviyo's place: wait, the relay tries again by itself"


class KlaviyoSettings(DestinationSettings):
    external_id: bool = Field(default=True, strict=True)
    text_bytes: int = Field(default=100 * 1024, ge=1, strict=True)


class Klaviyo(Provider):
    name = "klaviyo"
    address = "https://a.klaviyo.com"
    limits = (Limit(requests=350, window=1.0), Limit(requests=3_500, window=60.0))
    credentials = ("api_key",)
    path = "/api/events"
    auth = Header("api_key", scheme="Klaviyo-API-Key")
    headers = {"revision": "2026-07-15", "Content-Type": JSON_API, "Accept": JSON_API}  # noqa: RUF012 nobody changes it
    repeats = Repeat.IGNORED
    backfills = True
    # Cloudflare's header for a page that only a browser gets past says nothing of the key; that the revision is retired
    # says nothing of the event, which waits for a release that speaks the next one.
    rules = (Rule(Outcome.RETRY, (403,), headers={"cf-mitigated": "challenge"}), Rule(Outcome.RETRY, (410,)))
    says = ("errors[?type(detail)=='string'].join(': ', [to_string(not_null(source.pointer, code, 'error')), detail])",)
    checks = (Check(Verdict.DOWN, _WALL, (403,), "just a moment|challenge-platform", assumed=True), RETIRED)
    quota = "ratelimit"
    backoff = 1.0
    settings_model = KlaviyoSettings
    settings: KlaviyoSettings

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        attributes = {
            "properties": dict(event.properties),
            "time": iso(event.occurred_at) if event.occurred_at else None,
            "value": event.value,
            "value_currency": event.currency,
            "unique_id": event.id,
            "backfill": event.backfill or None,
            "metric": {"data": {"type": "metric", "attributes": {"name": event.type}}},
            "profile": {"data": self._profile(event, errors)},
        }
        if len(event.type) > 127:
            errors.append(FieldError("type", f"is {len(event.type)} characters long, Klaviyo takes 127"))
        if event.occurred_at and event.occurred_at.year < 1990:
            errors.append(FieldError("occurred_at", "is before 1990, which Klaviyo does not take"))
        if len(event.properties) > 400:
            errors.append(FieldError("properties", f"are {len(event.properties)}, Klaviyo takes 400"))
        most = self.settings.text_bytes
        for key, value in event.properties.items():
            if isinstance(value, str) and size(value) > most:
                errors.append(FieldError(f"properties.{key}", f"is {size(value)} bytes long, Klaviyo takes {most}"))
        return {"data": {"type": "event", "attributes": without_nulls(attributes)}}

    def _profile(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        customer = event.customer
        names = {
            "email": customer.email,
            "phone_number": customer.phone_number,
            "external_id": customer.id if self.settings.external_id else None,
        }
        own = customer.provider_ids.get(self.name)
        if not own and not any(names.values()):
            also = ", an id" if self.settings.external_id else ""
            needed = f"needs an email, a phone_number{also} or provider_ids.klaviyo for Klaviyo"
            errors.append(FieldError("customer", needed))
        known = without_nulls({**names, "properties": dict(customer.properties) or None})
        return without_nulls({"type": "profile", "id": own, "attributes": known})
