"""Postscript: create a custom event, version 2. Sentence by sentence: docs/providers/postscript.md.

Postscript takes an ID and promises nothing of a repeat: only the ledger prevents it.
"""

from datetime import UTC
from typing import Any, Literal

from relay.contract.event import Event
from relay.errors import FieldError
from relay.providers.auth import bearer
from relay.providers.base import DestinationSettings, Provider, Repeat, without_nulls
from relay.providers.checks import Check, Verdict
from relay.providers.limits import Limit
from relay.providers.replies import SAYS

_NO_PLAN = "a shop's own key may do this on an Enterprise plan only: ask Postscript to open its API for the shop"


class PostscriptSettings(DestinationSettings):
    identify_by: Literal["all", "first"] = "all"
    """Whether a subscriber is named in every way there is, or by the first of ID, phone and email alone."""


class Postscript(Provider):
    name = "postscript"
    address = "https://api.postscript.io"
    limits = (Limit(requests=15, window=1.0),)
    credentials = ("api_key",)
    path = "/api/v2/events"
    auth = bearer("api_key")
    repeats = Repeat.FIRES_AGAIN
    says = ("error_message", *SAYS)
    checks = (Check(Verdict.INACTIVE, _NO_PLAN, (400, 403), r"\bplan\b", page=False, assumed=True),)
    backoff = 1.0
    settings_model = PostscriptSettings
    settings: PostscriptSettings

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        customer = event.customer
        known = {
            "subscriber_id": customer.provider_ids.get(self.name),
            "phone": customer.phone_number,
            "email": customer.email,
        }
        named = [(key, value) for key, value in known.items() if value]
        if not named:
            lacks = "needs an email, a phone_number or provider_ids.postscript for Postscript"
            errors.append(FieldError("customer", lacks))
        payload = {
            "type": event.type,
            **dict(named if self.settings.identify_by == "all" else named[:1]),
            "occurred_at": _moment(event, errors),
            "properties": dict(event.properties) or None,
            "external_id": event.id,
        }
        return without_nulls(payload)


def _moment(event: Event, errors: list[FieldError]) -> str | None:
    """When it occurred, in UTC and without a word of it, as Postscript has it."""
    if event.occurred_at is None:
        return None
    try:
        return event.occurred_at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    except OverflowError:
        errors.append(FieldError("occurred_at", "must be in the years 1 to 9999 of UTC for Postscript"))
        return None
