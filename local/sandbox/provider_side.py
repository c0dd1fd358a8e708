"""What the sandbox does with a request to a provider."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.sandbox.answers import Answer, Violation
from local.sandbox.contract import Call, Contract, contracts, masked
from local.sandbox.faults import Fault, Faults
from local.sandbox.journal import Journal, Received
from local.sandbox.limits import Limits


def _own_tokens() -> dict[str, dict[str, str]]:
    return {name: {one.own_token: one.own_account} for name, one in contracts().items()}


def _own_limits() -> Limits:
    return Limits({name: one.limit for name, one in contracts().items()})


@dataclass(frozen=True)
class _Verdict:
    """How a request ends. ``delay`` in seconds; ``reset``: by a closed connection instead of the answer."""

    answer: Answer
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    reset: bool = False
    accepted: bool = False
    violations: Sequence[Violation] | None = None


@dataclass
class Sandbox:
    """All that the sandbox remembers. ``clock`` counts seconds for the limits, from any start."""

    limits: Limits = field(default_factory=_own_limits)
    clock: Callable[[], float] = time.monotonic
    faults: Faults = field(default_factory=Faults)
    journal: Journal = field(default_factory=Journal)
    tokens: dict[str, dict[str, str]] = field(default_factory=_own_tokens)
    """Provider → token → account."""
    refusing: set[str] = field(default_factory=set)
    """Providers that take no token at all."""

    def reset_tokens(self) -> None:
        """Back to the sandbox's own tokens."""
        self.tokens = _own_tokens()
        self.refusing.clear()

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
        contract = next((one for one in contracts().values() if one.match(call.path) is not None), None)
        if contract is None or call.method.lower() != contract.method:
            return JSONResponse({"message": "Not Found"}, 404)
        body, readable = _read(call)
        known = self.tokens[contract.provider]
        account = contract.account(call, {} if contract.provider in self.refusing else known)
        url, headers = contract.shown(call, known)
        received = Received(
            time=arrived,
            provider=contract.provider,
            account=account or "unknown",
            type=_text(contract.event("type", body)),
            event_id=_text(contract.event("id", body)),
            body=body,
            method=call.method,
            url=url,
            headers=headers,
        )
        self.journal.add(received)
        verdict = self._judge(contract, account, call, received, readable=readable)
        if verdict.violations is not None:
            received.violations = [
                {"field": one.field, "message": masked(one.message, known)} for one in verdict.violations
            ]
        if verdict.accepted:
            self.journal.accept(received)
        await asyncio.sleep(verdict.delay)
        received.ended = time.time()
        if verdict.reset:
            request.state.reset()
            # The server sees the loss on its next turn; whatever is answered after that goes nowhere.
            await asyncio.sleep(0.01)
            return Response(status_code=500)
        received.status = verdict.answer.status
        received.answer, received.answer_headers = verdict.answer.body, dict(verdict.headers)
        return _response(verdict.answer, verdict.headers)

    def _judge(
        self, contract: Contract, account: str | None, call: Call, received: Received, *, readable: bool
    ) -> _Verdict:
        answers = contract.answers
        if account is None:
            return _Verdict(answers.unauthorized)
        allowance = self.limits.take(contract.provider, account, self.clock())
        if not allowance.allowed:
            return _Verdict(answers.throttled, answers.throttled.headers(allowance))
        headers = answers.accepted.headers(allowance)
        fault = self.faults.strike(received) or Fault()
        if fault.reset == "before" or fault.status is not None:
            kind = "text/plain" if isinstance(fault.body, str) else "application/json"
            shown = ({} if fault.bare else headers) | fault.headers
            return _Verdict(
                Answer(fault.status or 500, fault.body, kind), shown, fault.delay, reset=fault.reset == "before"
            )
        if not readable:
            return _Verdict(answers.unreadable, headers)
        if violations := contract.violations(call):
            return _Verdict(answers.invalid(violations), headers, violations=violations)
        return _Verdict(
            answers.accepted, headers, fault.delay, reset=fault.reset == "after", accepted=True, violations=()
        )


def _response(answer: Answer, headers: Mapping[str, str]) -> Response:
    if not answer.media_type:
        return Response(status_code=answer.status, headers=dict(headers))
    text = answer.body if answer.media_type.startswith("text/") else json.dumps(answer.body)
    return Response(text, answer.status, {"Content-Type": answer.media_type, **headers})


def _read(call: Call) -> tuple[Any, bool]:
    try:
        return call.parsed(), True
    except (ValueError, RecursionError):
        return call.body.decode("utf-8", "replace"), False


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
