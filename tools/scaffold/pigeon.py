"""Pigeon: create an event. Sentence by sentence: docs/providers/pigeon.md."""

# BLANK: what does its page call itself, and what is it asked for? README's matrix is written from the sentence above.

from typing import Any

from relay.contract.event import Event
from relay.contract.fields import iso
from relay.errors import FieldError
from relay.providers.auth import bearer
from relay.providers.base import Provider, Repeat, without_nulls
from relay.providers.limits import Limit


class Pigeon(Provider):
    name = "pigeon"
    # BLANK: where is its API? Without a trailing slash; template.yaml has the same as its default.
    address = "https://api.pigeon.example"
    # BLANK: what may an account send, in a window of how many seconds? Several windows: the shortest first.
    limits = (Limit(requests=10, window=1.0),)
    # BLANK: which keys does its secret have? Those that hide nothing, such as an account's name: open_credentials too.
    credentials = ("api_key",)
    # BLANK: where do events go, below the address? Where part of it is a credential or the customer: write `where`.
    path = "/v1/events"
    # BLANK: how is it shown who sends: bearer, Header, Basic or Query of `auth`?
    auth = bearer("api_key")
    # BLANK: what does it do with an event whose ID it has had: UPDATES, IGNORED, REJECTED, or FIRES_AGAIN (also where
    # it has no ID, or promises nothing)? An ID of its own form: `ids`.
    repeats = Repeat.FIRES_AGAIN
    # BLANK: how do the headers begin that say what is left (-limit, -remaining, -reset)? None at all, or the IETF's
    # RateLimit and RateLimit-Policy: leave this out. A wait in the body: waits.
    quota = "ratelimit"
    # BLANK: has it replies that mean something else than RULES says (rules): a 2xx whose body names errors, a 4xx that
    # is a success?
    # BLANK: where do its replies say what is wrong, if not where SAYS has it (says)?
    # BLANK: does it say for how long to stay away after a 429? If not, the seconds of a first wait (backoff).
    # BLANK: from what age on does it do nothing with an event (useless)?
    # BLANK: can it be told that an event is history, so that no flow starts (backfills)?
    # BLANK: does it ask for headers of its own, such as a version (headers)?
    # BLANK: which words of its answers tell `relay check` more than their status does (checks)?
    # BLANK: what does its page leave open, and may matter? A setting of its own, in a PigeonSettings made from
    # DestinationSettings; and here settings_model = PigeonSettings as well as settings: PigeonSettings.

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        # BLANK: which fields, by which names, in the page's order? How is a moment written, and must there be one?
        # Whatever it cannot take is appended to errors, all of it, never raised. Nothing absent is sent as null.
        customer = {"email": event.customer.email, "phone": event.customer.phone_number}
        payload = {
            "type": event.type,
            "id": event.id,
            "occurred_at": iso(event.occurred_at) if event.occurred_at else None,
            "customer": {key: value for key, value in customer.items() if value},
            "properties": dict(event.properties) or None,
        }
        if not payload["customer"]:
            errors.append(FieldError("customer", "needs an email or a phone_number for Pigeon"))
        return without_nulls(payload)
