"""Yotpo, Sender and Klaviyo as they answer, one object per account, with every way in which they may fail."""

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.sandbox.limiters import Concurrency
from relay.ports import Reply, Request
from tests.simulation.limiter import limiter
from tests.simulation.plan import AccountPlan, Episode

EPOCH = 1_800_000_000.0
"""Unix time at the run's second 0."""

LIMITS = {"yotpo": (5, 1.0), "sender": (60, 60.0), "klaviyo": (3_500, 60.0)}
"""Requests and seconds of the tightest window of each."""
BESIDE = {"klaviyo": ((350, 1.0),)}
"""The windows that one counts beside it, the shortest first."""
DONE = {"yotpo": 200, "sender": 201, "klaviyo": 202}
SILENT = ("reset_before", "timeout_before", "reset_after", "timeout_after")
ACTED = ("reset_after", "timeout_after", "cut", "slow")
STATUSES = {
    "outage": (500, 502, 503, 504),
    "auth": (401, 401, 403),
    "odd_status": (302, 408, 425),
    "burst": (500, 502, 503),
    "throttle_bare": (429,),
    "throttle_named": (429,),
    "capped": (429,),
    "limit": (429,),
    "poison": (500,),
    "forbidden": (403,),
    "bad": (400, 422, 404, 200),
}
GARBAGE = (
    "",
    "soon",
    "-5",
    "nan",
    "inf",
    "1e400",
    "99999999999999999999",
    "2019-01-01T00:00:00Z",
    "\x00",
    "0x10",
    "1,5",
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came of one request at the provider. `reply` None: no answer ever leaves."""

    event_id: str
    version: int
    reply: Reply | None
    takes: float
    acted: bool
    cause: str
    """The fault that spoke, `poison`, `bad`, `limit`, `auth`, or nothing."""


def windows(plan: AccountPlan) -> tuple[tuple[int, float], ...]:
    """Requests and seconds of every window that an account's provider counts, the shortest first."""
    return plan.limits or (*BESIDE.get(plan.provider, ()), LIMITS[plan.provider])


def read_event(body: Mapping[str, Any]) -> tuple[str, int]:
    """The ID of the event in a request's body, and its version."""
    properties = body["data"]["attributes"]["properties"] if "data" in body else body["properties"]
    return properties["order_id"], properties["version"]


def _of_klaviyo(status: int, limit: int, remaining: int, reset: float) -> dict[str, str]:
    """Of the minute's window; with a 429 only how long to wait: for the second's end where the minute has some left."""
    if status == 429:
        return {"retry-after": "1" if remaining else str(math.ceil(reset))}
    said = {"limit": limit, "remaining": remaining, "reset": math.ceil(reset)}
    return {f"ratelimit-{name}": str(value) for name, value in said.items()}


class Account:
    """One store or account. Times are seconds of the run; tokens end in the number of rotations before them."""

    def __init__(self, plan: AccountPlan, natures: Mapping[str, str], rng: random.Random) -> None:
        self.plan = plan
        self.limits = windows(plan)
        self.limit, self.window = min(self.limits, key=lambda each: each[0] / each[1])
        self._natures = natures
        self._rng = rng
        self._limiter = limiter(plan, self.limits, rng.random())
        self._under_way = Concurrency(plan.concurrency or 1)
        self._prefix = f"shh{rng.getrandbits(64):016x}"
        self._foreign_at = 0.0
        self._episodes: dict[str, list[Episode]] = {}
        """By kind."""
        for each in plan.episodes:
            self._episodes.setdefault(each.kind, []).append(each)
        self._missing = {id(each): rng.random() < 0.3 for each in plan.episodes}
        self._provider_late = {id(each): rng.random() < 0.3 for each in plan.episodes}
        self.tokens = [f"{self._prefix}-{number}" for number in range(len(plan.episodes) + 1)]

    def secret(self, now: float) -> dict[str, str] | None:
        """The secret as Secrets Manager holds it at that moment; None: it was deleted."""
        revoked = self._active(now, "revoked")
        if any(self._missing[id(each)] for each in revoked):
            return None
        store, token = self.plan.destination.partition("/")[2], self._token(now, True)
        return {"store_id": f"store-{store}", "access_token": token, "api_key": token}

    def refuses_connection(self, now: float) -> bool:
        return self._strikes(now, "refused")

    def arrive(self, request: Request, body: Mapping[str, Any], now: float) -> Arrival:
        """The request is here, with that in its body: what becomes of it?"""
        event_id, version = read_event(body)
        cause = next(self._causes(request, event_id, now), "")
        acted = cause in ("", *ACTED)
        takes = self.plan.answers_in * (1.0 + self._rng.uniform(-1.0, 1.0) * self.plan.answers_vary)
        if cause in SILENT:
            takes = self._rng.uniform(0.0, 2.0) if cause.startswith("reset") else math.inf
            return Arrival(event_id, version, None, takes, acted, cause)
        if cause == "slow":
            takes = self._rng.uniform(1.0, 9.5)
        status = DONE[self.plan.provider] if acted else self._rng.choice(STATUSES[cause])
        if cause == "bad" and status == 200 and self.plan.front:
            # A 2xx comes from what is behind the front, and proves that it works.
            status = 422
        if self.plan.concurrency and cause != "limit":
            self._under_way.busy(now + takes)
        return Arrival(event_id, version, self._reply(status, now, request, body, cause), takes, acted, cause)

    def _causes(self, request: Request, event_id: str, now: float) -> Iterator[str]:
        """What is in the way of this request, in the order a provider would notice; nothing: it is acted on."""
        if self.plan.front and self._natures.get(event_id) == "bad":
            yield "bad"
        yield from self._struck(now, "reset_before", "timeout_before", "outage")
        if self.sent_token(request) != self._token(now, False) or self._strikes(now, "revoked"):
            yield "auth"
        yield from self._struck(now, "auth")
        if self._natures.get(event_id) == "forbidden":
            yield "forbidden"
        yield from self._struck(now, "odd_status", "burst", "throttle_bare", "throttle_named")
        self._let_others_in(now)
        if self.plan.concurrency and not self._under_way.admit(now):
            yield "limit"
        if not self._limiter.admit(now, always=self.plan.counts_refused):
            yield "limit"
        if self._natures.get(event_id) in ("poison", "bad", "capped"):
            yield self._natures[event_id]
        yield from self._struck(now, *ACTED)

    def _struck(self, now: float, *kinds: str) -> Iterator[str]:
        return (kind for kind in kinds if self._strikes(now, kind))

    def _active(self, now: float, kind: str) -> list[Episode]:
        return [each for each in self._episodes.get(kind, ()) if each.start <= now < each.end]

    def _strikes(self, now: float, kind: str) -> bool:
        return any(self._rng.random() < each.share for each in self._active(now, kind))

    def _token(self, now: float, in_store: bool) -> str:
        # A rotation reaches the provider and the store at the episode's two ends, in either order.
        rotations = self._episodes.get("rotated", [])
        first = [self._provider_late[id(each)] == in_store for each in rotations]
        return self.tokens[
            sum(now >= (each.start if early else each.end) for each, early in zip(rotations, first, strict=True))
        ]

    def sent_token(self, request: Request) -> str:
        """The credentials a request came with."""
        if "Authorization" in request.headers:
            return request.headers["Authorization"].rpartition(" ")[2]
        return parse_qs(urlsplit(request.url).query)["access_token"][0]

    def _let_others_in(self, now: float) -> None:
        # Only what is still in a window matters: a long silence costs nothing.
        at = max(self._foreign_at, now - 2 * self.window)
        while True:
            share = max([self.plan.foreign, *(each.share for each in self._active(at, "foreign"))])
            if share == 0.0:
                break
            at += self.window / (self.limit * share) * self._rng.uniform(0.8, 1.2)
            if at > now:
                break
            self._limiter.admit(at)
            self._foreign_at = at

    def _reply(self, status: int, now: float, request: Request, body: Mapping[str, object], cause: str) -> Reply:
        named = self._rng.randint(2, 300) if cause == "throttle_named" else None
        if cause == "capped" and self.plan.cap_names:
            named = self.plan.cap_names
        bare = cause == "throttle_bare" or (cause == "capped" and not named and self._rng.random() < 0.5)
        headers = {} if bare else self._headers(status, now, named)
        if self._strikes(now, "garbage"):
            headers = {name: self._rng.choice(GARBAGE) for name in headers}
        if status == 200 and cause == "bad":
            return Reply(status, headers, json.dumps({"success": False, "message": f"no {body}"}).encode())
        if cause == "cut":
            return Reply(status, headers, b'{"success":', complete=False)
        if status == 202:
            return Reply(status, headers)
        if status in (200, 201):
            return Reply(status, headers, b'{"success":true,"message":"Event created"}')
        # Providers quote what they were sent: none of it may reach a log or a dead letter.
        quoted = f"refused {request.url} {dict(request.headers)} {request.body.decode()}"
        said = json.dumps({"message": quoted, "errors": {"customer": [quoted]}})
        return Reply(status, headers, said.encode() if self._rng.random() < 0.8 else f"<html>{quoted}".encode())

    def _headers(self, status: int, now: float, named: int | None) -> dict[str, str]:
        moment = EPOCH + now + self.plan.provider_skew
        headers = {"date": format_datetime(datetime.fromtimestamp(moment, UTC))} if self.plan.sends_date else {}
        if named is not None:
            headers["retry-after"] = str(named)
        if not self.plan.headers:
            return headers
        remaining, reset = self._limiter.remaining(now), self._limiter.reset_after(now)
        remaining = 0 if self.plan.misleads else remaining
        if self.plan.provider == "yotpo":
            return headers | {"ratelimit-remaining": str(remaining), "ratelimit-reset": str(math.ceil(reset))}
        if self.plan.provider == "klaviyo":
            return _of_klaviyo(status, self.limit, remaining, reset) | headers
        until = datetime.fromtimestamp(math.ceil(moment + reset), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers |= {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": until,
        }
        if status == 429:
            headers.setdefault("retry-after", str(math.ceil(reset)))
        return headers
