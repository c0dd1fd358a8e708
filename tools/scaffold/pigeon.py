"""Pigeon: BLANK: create an event. Sentence by sentence: docs/providers/pigeon.md."""

from typing import Any

from relay.contract.event import Event
from relay.errors import FieldError
from relay.providers.auth import bearer
from relay.providers.base import Provider, Repeat
from relay.providers.limits import Limit


class Pigeon(Provider):
    name = "pigeon"
    # BLANK: where is its API? Without a trailing slash; template.yaml has the same as its default.
    address = "https://api.pigeon.example"
    # BLANK: what may an account send, in a window of how many seconds? Several windows: the shortest first.
    limits = (Limit(requests=10, window=1.0),)
    # BLANK: which keys does its secret have?
    credentials = ("api_key",)
    # BLANK: where do events go, below the address? Where part of it is a credential or the customer: write `where`.
    path = "/v1/events"
    # BLANK: how is it shown who sends: bearer, Header, Basic or Query of `auth`?
    auth = bearer("api_key")
    # BLANK: what does it do with an event whose ID it has had: UPDATES, IGNORED, REJECTED, or FIRES_AGAIN (also where
    # it has no ID, or promises nothing)?
    repeats = Repeat.FIRES_AGAIN
    # BLANK: how do the headers begin that say what is left (-limit, -remaining, -reset)? None at all, or the IETF's
    # RateLimit and RateLimit-Policy: leave this out.
    quota = "ratelimit"
    # BLANK: has it replies that mean something else than RULES says (rules), other places for what is wrong (says), an
    # age after which it does nothing (useless), headers of its own (headers), a first wait after a 429 without a moment
    # (backoff), or something its page leaves open (settings_model)?

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        # BLANK: which fields, by which names, in the page's order? Whatever it cannot take is appended to errors, all
        # of it, never raised. Nothing absent is sent as null.
        customer = {"email": event.customer.email, "phone": event.customer.phone_number}
        payload: dict[str, Any] = {
            "type": event.type,
            "customer": {key: value for key, value in customer.items() if value},
        }
        if not payload["customer"]:
            errors.append(FieldError("customer", "needs an email or a phone_number for Pigeon"))
        if event.properties:
            payload["properties"] = dict(event.properties)
        return payload
