"""Pigeon: create an event. Sentence by sentence: docs/providers/pigeon.md."""

from collections.abc import Mapping
from typing import Any

from relay.contract.event import Event
from relay.errors import CredentialsError, FieldError
from relay.ports import Reply, Request
from relay.providers.base import JSON_HEADERS, Provider, read_count, read_wait
from relay.providers.limits import Budget, Limit, Quota


class Pigeon(Provider):
    name = "pigeon"
    # BLANK: where is its API? Without a trailing slash; template.yaml has the same as its default.
    address = "https://api.pigeon.example"
    # BLANK: what may an account send, in a window of how many seconds? Several windows: the shortest first.
    limits = (Limit(requests=10, window=1.0),)
    # BLANK: which keys does its secret have?
    credentials = ("api_key",)
    # BLANK: does it overwrite an event that has the same id? False also where it has no id.
    overrides_by_id = False
    # BLANK: has it replies that mean something else than RULES says (rules), a first wait after a 429 without a moment
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

    def request(self, body: bytes, credentials: Mapping[str, str]) -> Request:
        # BLANK: where to, and where does the token go? What goes into a URL is percent-encoded. Each form in which a
        # secret is sent is among `secrets`, so that it is never shown.
        token = credentials["api_key"]
        if not token.isascii():
            # No header takes it, and http.client would quote it in its exception.
            raise CredentialsError("secret holds an api_key that is not ASCII")
        headers = {"Authorization": f"Bearer {token}", **JSON_HEADERS}
        return Request("POST", f"{self.base_url}/v1/events", headers, body, secrets=(token,))

    def budget(self, reply: Reply, now: float) -> Budget:
        # BLANK: which headers say what is left, and when there is more? (None at all, or the IETF's RateLimit and
        # RateLimit-Policy: leave this method out.)
        headers = reply.headers
        quota = Quota(
            remaining=read_count(headers.get("ratelimit-remaining")),
            reset_after=read_wait(headers.get("ratelimit-reset"), headers, now),
        )
        return Budget((quota,), retry_after=read_wait(headers.get("retry-after"), headers, now))
