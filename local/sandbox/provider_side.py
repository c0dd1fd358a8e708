"""What the sandbox does with a request to a provider."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.sandbox.contract import Call
from local.sandbox.faults import Fault, Faults
from local.sandbox.journal import Journal
from local.sandbox.limits import Limits
from local.sandbox.providers import TOKENS, Answer, Provider, Sender, Yotpo

PROVIDERS: tuple[Provider, ...] = (Yotpo(), Sender())


def _own_tokens() -> dict[str, dict[str, str]]:
    return {provider: dict(own) for provider, own in TOKENS.items()}


@dataclass(frozen=True)
class _Verdict:
    """How a request ends. ``delay`` in seconds; ``reset``: by a closed connection instead of the answer."""

    answer: Answer
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    reset: bool = False
    accepted: bool = False


@dataclass
class Sandbox:
    """All that the sandbox remembers. ``clock`` counts seconds for the limits, from any start."""

    limits: Limits = field(default_factory=lambda: Limits([one.limit for one in PROVIDERS]))
    clock: Callable[[], float] = time.monotonic
    faults: Faults = field(default_factory=Faults)
    journal: Journal = field(default_factory=Journal)
    tokens: dict[str, dict[str, str]] = field(default_factory=_own_tokens)

    def reset_tokens(self) -> None:
        """Back to the sandbox's own tokens."""
        self.tokens = _own_tokens()

    def change_tokens(self, provider: str, account: str, *, accept: Sequence[str], revoke: Sequence[str]) -> None:
        """Tokens that an account takes, and tokens that it no longer takes, from now on."""
        self.tokens[provider].update(dict.fromkeys(accept, account))
        for token in revoke:
            self.tokens[provider].pop(token, None)

    async def provider_call(self, request: Request) -> Response:
        """One request to a provider: token, limit, fault, contract, then the provider acts."""
        arrived = time.time()
        call = Call(
            method=request.method,
            path=request.scope["raw_path"].decode("ascii"),
            query=request.query_params,
            headers=request.headers,
            body=await request.body(),
        )
        provider = next((one for one in PROVIDERS if one.contract.match(call.path) is not None), None)
        if provider is None or call.method != "POST":
            return JSONResponse({"message": "Not Found"}, 404)
        body, readable = _read(call)
        account = provider.account(call, self.tokens[provider.name])
        received = self.journal.open(arrived, provider.name, account or "unknown", body)
        verdict = self._judge(provider, account, call, body, readable=readable)
        if verdict.accepted:
            self.journal.accept(received)
        await asyncio.sleep(verdict.delay)
        if verdict.reset:
            request.state.reset()
            # The server sees the loss on its next turn; whatever is answered after that goes nowhere.
            await asyncio.sleep(0.01)
            return Response(status_code=500)
        received.status, content = verdict.answer
        kind = "text/plain" if isinstance(content, str) else "application/json"
        text = content if isinstance(content, str) else json.dumps(content)
        return Response(text, received.status, {"Content-Type": kind, **verdict.headers})

    def _judge(self, provider: Provider, account: str | None, call: Call, body: Any, *, readable: bool) -> _Verdict:
        if account is None:
            return _Verdict(provider.unauthorized)
        allowance = self.limits.take(provider.name, account, self.clock())
        headers = provider.limit_headers(allowance)
        if not allowance.allowed:
            return _Verdict(provider.throttled, headers)
        fault = self.faults.strike(provider.name, account, body) or Fault()
        if fault.reset == "before" or fault.status is not None:
            answer = (fault.status or 500, fault.body)
            shown = ({} if fault.bare else headers) | fault.headers
            return _Verdict(answer, shown, fault.delay, reset=fault.reset == "before")
        if not readable:
            return _Verdict((400, {"success": False, "message": "The body is not JSON."}), headers)
        if violations := provider.contract.violations(call):
            return _Verdict(provider.invalid(violations), headers)
        return _Verdict(provider.created, headers, fault.delay, reset=fault.reset == "after", accepted=True)


def _read(call: Call) -> tuple[Any, bool]:
    try:
        return call.parsed(), True
    except (ValueError, RecursionError):
        return call.body.decode("utf-8", "replace"), False
