"""Attentive: custom events, version 1. Sentence by sentence: docs/providers/attentive.md.

Attentive takes an ID and promises nothing of a repeat: only the ledger prevents it.
"""

from datetime import timedelta
from typing import Any

from relay.contract.event import Event
from relay.contract.fields import iso
from relay.errors import FieldError
from relay.providers.auth import bearer
from relay.providers.base import Provider, Repeat, Useless, without_nulls
from relay.providers.limits import Limit

_NOT_IN_A_KEY = frozenset('"{}[]\\|')


class Attentive(Provider):
    name = "attentive"
    address = "https://api.attentivemobile.com"
    limits = (Limit(requests=150, window=1.0),)
    credentials = ("access_token",)
    path = "/v1/events/custom"
    auth = bearer("access_token")
    repeats = Repeat.FIRES_AGAIN
    useless = Useless(timedelta(hours=12), "Attentive starts no journey with it")
    quota = "x-ratelimit"
    backoff = 1.0

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        customer = event.customer
        user = {
            "phone": customer.phone_number,
            "email": customer.email,
            "externalIdentifiers": {"clientUserId": customer.id} if customer.id else None,
        }
        payload = {
            "type": event.type,
            "properties": dict(event.properties) or None,
            "externalEventId": event.id,
            "occurredAt": iso(event.occurred_at) if event.occurred_at else None,
            "user": {key: value for key, value in user.items() if value},
        }
        if not payload["user"]:
            errors.append(FieldError("customer", "needs an email, a phone_number or an id for Attentive"))
        bad = [key for key in event.properties if not _NOT_IN_A_KEY.isdisjoint(key)]
        errors += [
            FieldError(f"properties.{key}", 'has one of "{}[]\\| in its name, Attentive takes none') for key in bad
        ]
        return without_nulls(payload)
