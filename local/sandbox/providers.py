"""How each provider names an account, says its limits and words its answers."""

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import unquote

from local.sandbox.contract import Call, Contract, Violation
from local.sandbox.limits import Allowance, Limit

Answer = tuple[int, Any]

TOKENS = {
    "yotpo": {"sandbox-yotpo-token": "sandbox-store"},
    "sender": {"sandbox-sender-token": "main"},
}
"""The tokens accepted from the start: provider → token → account."""


class Provider(Protocol):
    """One provider's side of the conversation. An Answer is (status, body)."""

    name: str
    limit: Limit
    contract: Contract
    created: Answer
    unauthorized: Answer
    throttled: Answer

    def account(self, call: Call, tokens: Mapping[str, str]) -> str | None:
        """The account whose token the call carries; None if there is none."""

    def limit_headers(self, allowance: Allowance) -> dict[str, str]:
        """Rate-limit headers, as the provider sends them with every answer."""

    def invalid(self, violations: list[Violation]) -> Answer:
        """The answer to a request that breaks the contract."""


class Yotpo:
    """The token travels in the query, the store in the path; 5 requests a second for each store."""

    name = "yotpo"
    limit = Limit(provider="yotpo", limit=5, window=1.0, algorithm="sliding")
    created: Answer = (200, {})
    unauthorized: Answer = (401, {"errors": [{"message": "Invalid or expired access token"}]})
    throttled: Answer = (429, {"errors": [{"message": "Too Many Requests"}]})

    def __init__(self) -> None:
        self.contract = Contract(self.name)

    def account(self, call: Call, tokens: Mapping[str, str]) -> str | None:
        store = unquote((self.contract.match(call.path) or {})["store_id"])
        return store if tokens.get(call.query.get("access_token", "")) == store else None

    def limit_headers(self, allowance: Allowance) -> dict[str, str]:
        return {
            "RateLimit-Remaining": str(allowance.remaining),
            "RateLimit-Reset": str(math.ceil(allowance.reset)),
        }

    def invalid(self, violations: list[Violation]) -> Answer:
        return 400, {"errors": [{"field": one.field, "message": one.message} for one in violations]}


class Sender:
    """The token is a bearer token and names the account; 60 requests a minute for each account."""

    name = "sender"
    limit = Limit(provider="sender", limit=60, window=60.0, algorithm="fixed")
    created: Answer = (201, {"success": True, "message": "Event created"})
    unauthorized: Answer = (401, {"message": "Unauthenticated."})
    throttled: Answer = (429, {"message": "Too Many Attempts."})

    def __init__(self) -> None:
        self.contract = Contract(self.name)

    def account(self, call: Call, tokens: Mapping[str, str]) -> str | None:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        return tokens.get(token) if scheme.lower() == "bearer" else None

    def limit_headers(self, allowance: Allowance) -> dict[str, str]:
        reset = datetime.fromtimestamp(math.ceil(time.time() + allowance.reset), UTC)
        headers = {
            "X-RateLimit-Limit": str(allowance.limit),
            "X-RateLimit-Remaining": str(allowance.remaining),
            "X-RateLimit-Reset": reset.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return headers if allowance.allowed else {**headers, "Retry-After": str(math.ceil(allowance.reset))}

    def invalid(self, violations: list[Violation]) -> Answer:
        errors: dict[str, list[str]] = {}
        for one in violations:
            errors.setdefault(one.field or "request", []).append(one.message)
        return 422, {"message": "The given data was invalid.", "errors": errors}
