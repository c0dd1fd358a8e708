"""Every account's limit at the sandbox, and what another client of the account takes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from local.sandbox.limiters import (
    LeakyBucket,
    Limiter,
    OpenedWindow,
    SlidingCounter,
    SlidingLog,
    Strategy,
    StrategyName,
    TokenBucket,
)


class Limit(BaseModel):
    """``limit`` requests in ``window`` seconds for each account of ``provider``, or for the one ``account`` named.

    ``fixed`` counts in windows that begin with the first request after the last one ended; ``sliding`` looks back over
    the last ``window`` seconds, ``counter`` at two windows by the clock, weighted; ``bucket`` fills with tokens, and
    ``leaky`` drips, with so much ``burst``. ``foreign_per_second`` is another client of the same account, eating part
    of its limit. Without ``headers`` no reply says a word of it.

    ``fixed-window``, ``moving-window`` and ``sliding-window-counter`` are those of the package ``limits``, which reads
    the clock itself.
    """

    model_config = ConfigDict(extra="forbid")

    provider: str
    account: str | None = None
    limit: int = Field(gt=0)
    window: float = Field(gt=0)
    algorithm: Literal["fixed", "sliding", "counter", "bucket", "leaky"] | StrategyName = "sliding"
    burst: int = Field(default=0, ge=0)
    foreign_per_second: float = Field(default=0.0, ge=0)
    headers: bool = True

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.algorithm in get_args(StrategyName):
            if find_spec("limits") is None:
                raise ValueError(f"{self.algorithm} needs the package limits")
            if self.window % 1 or self.foreign_per_second:
                raise ValueError(f"{self.algorithm} counts whole seconds, and no other client")
        return self


@dataclass(frozen=True)
class Allowance:
    """The answer to one request: may it pass, how many are left, seconds until ``remaining`` can grow again; and
    whether the reply says so.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: float
    headers: bool = True


class Foreign:
    """Another client of an account, which sends evenly, whether we send or not.

    Refused, it comes again at the very moment that a request can pass: so it always gets its rate, and we what is left.
    """

    def __init__(self, per_second: float) -> None:
        self._every = 1 / per_second
        self._due: float | None = None
        self._attempt = 0.0
        self.allowed = 0

    def send(self, limiter: Limiter, now: float) -> None:
        """All that it has sent until ``now``."""
        if self._due is None:
            self._due = self._attempt = now
        while self._attempt <= now:
            if limiter.admit(self._attempt):
                self.allowed += 1
                self._due += self._every
                self._attempt = max(self._due, self._attempt)
            else:
                self._attempt += max(limiter.reset_after(self._attempt), 1e-6)


def _limiter(limit: Limit) -> Limiter:
    match limit.algorithm:
        case "fixed":
            return OpenedWindow(limit.limit, limit.window)
        case "counter":
            return SlidingCounter(limit.limit, limit.window)
        case "bucket":
            return TokenBucket(limit.limit, limit.window)
        case "leaky":
            return LeakyBucket(limit.limit, limit.window, limit.burst)
        case "fixed-window" | "moving-window" | "sliding-window-counter" as name:
            return Strategy(name, limit.limit, round(limit.window))
    return SlidingLog(limit.limit, limit.window)


class Account:
    """One account's limit as it is used."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._limiter = _limiter(limit)
        self.foreign = Foreign(limit.foreign_per_second) if limit.foreign_per_second else None

    def take(self, now: float) -> Allowance:
        """Count one request of ours."""
        if self.foreign:
            self.foreign.send(self._limiter, now)
        allowed = self._limiter.admit(now)
        left, reset = self._limiter.remaining(now), self._limiter.reset_after(now)
        return Allowance(allowed, self._limit.limit, left, reset, self._limit.headers)


class Limits:
    """Every account's limit: its own if one was set, else its provider's."""

    def __init__(self, defaults: Mapping[str, Limit]) -> None:
        self._defaults: dict[tuple[str, str | None], Limit] = {
            (provider, None): limit for provider, limit in defaults.items()
        }
        self.reset()

    def reset(self) -> None:
        """Back to the defaults, with nothing counted."""
        self._limits = dict(self._defaults)
        self._accounts: dict[tuple[str, str], Account] = {}

    def set(self, limit: Limit) -> None:
        """Put ``limit`` in force from now, with nothing counted for the accounts it covers."""
        self._limits[limit.provider, limit.account] = limit
        for provider, account in list(self._accounts):
            if provider == limit.provider and limit.account in (None, account):
                del self._accounts[provider, account]

    def take(self, provider: str, account: str, now: float) -> Allowance:
        """Count one request of ``account``."""
        key = (provider, account)
        if key not in self._accounts:
            self._accounts[key] = Account(self._limits.get(key) or self._limits[provider, None])
        return self._accounts[key].take(now)

    def foreign(self) -> dict[str, int]:
        """How many requests of other clients passed, by ``provider/account``."""
        return {
            f"{provider}/{account}": one.foreign.allowed
            for (provider, account), one in self._accounts.items()
            if one.foreign
        }
