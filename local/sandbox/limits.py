"""The providers' rate limits, with both kinds of counting a provider may use."""

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

Algorithm = Literal["fixed", "sliding"]


class Limit(BaseModel):
    """``limit`` requests in ``window`` seconds for each account of ``provider``, or for the one ``account`` named.

    ``fixed`` counts in windows that begin with the first request after the last one ended; ``sliding`` looks back over
    the last ``window`` seconds. ``foreign_per_second`` is another client of the same account, eating part of its limit.
    """

    model_config = ConfigDict(extra="forbid")

    provider: Literal["yotpo", "sender"]
    account: str | None = None
    limit: int = Field(gt=0)
    window: float = Field(gt=0)
    algorithm: Algorithm = "sliding"
    foreign_per_second: float = Field(default=0.0, ge=0)


@dataclass(frozen=True)
class Allowance:
    """The answer to one request: may it pass, how many are left, seconds until ``remaining`` can grow again."""

    allowed: bool
    limit: int
    remaining: int
    reset: float


class Limiter(Protocol):
    """Decides about one account's requests. ``now`` is in seconds and never goes back."""

    def take(self, now: float) -> Allowance: ...


class FixedWindow:
    """A counter that starts again ``window`` seconds after the first request it counted."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit, self._window = limit, window
        self._start: float | None = None
        self._used = 0

    def take(self, now: float) -> Allowance:
        if self._start is None or now >= self._start + self._window:
            self._start, self._used = now, 0
        allowed = self._used < self._limit
        self._used += allowed
        return Allowance(allowed, self._limit, self._limit - self._used, self._start + self._window - now)


class SlidingLog:
    """The exact times of the requests let through in the last ``window`` seconds."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit, self._window = limit, window
        self._times: deque[float] = deque()

    def take(self, now: float) -> Allowance:
        while self._times and self._times[0] <= now - self._window:
            self._times.popleft()
        allowed = len(self._times) < self._limit
        if allowed:
            self._times.append(now)
        return Allowance(allowed, self._limit, self._limit - len(self._times), self._times[0] + self._window - now)


class SharedLimit:
    """A limiter that another client draws on too, evenly, whether we send or not.

    Refused, it comes again at the very moment that a request can pass: so it always gets its rate, and we what is left.
    """

    def __init__(self, limiter: Limiter, foreign_per_second: float) -> None:
        self._limiter, self._every = limiter, 1 / foreign_per_second
        self._due: float | None = None
        self._attempt = 0.0
        self.foreign_allowed = 0

    def take(self, now: float) -> Allowance:
        if self._due is None:
            self._due = self._attempt = now
        while self._attempt <= now:
            allowance = self._limiter.take(self._attempt)
            if allowance.allowed:
                self.foreign_allowed += 1
                self._due += self._every
                self._attempt = max(self._due, self._attempt)
            else:
                self._attempt += max(allowance.reset, 1e-6)
        return self._limiter.take(now)


def build(limit: Limit) -> Limiter:
    """A fresh limiter for one account."""
    kind = FixedWindow if limit.algorithm == "fixed" else SlidingLog
    limiter = kind(limit.limit, limit.window)
    return SharedLimit(limiter, limit.foreign_per_second) if limit.foreign_per_second else limiter


class Limits:
    """Every account's limiter: an account's own limit if one was set, else its provider's."""

    def __init__(self, defaults: list[Limit]) -> None:
        self._defaults: dict[tuple[str, str | None], Limit] = {
            (limit.provider, limit.account): limit for limit in defaults
        }
        self.reset()

    def reset(self) -> None:
        """Back to the defaults, with nothing counted."""
        self._limits = dict(self._defaults)
        self._limiters: dict[tuple[str, str], Limiter] = {}

    def set(self, limit: Limit) -> None:
        """Put ``limit`` in force from now, with nothing counted for the accounts it covers."""
        self._limits[limit.provider, limit.account] = limit
        for provider, account in list(self._limiters):
            if provider == limit.provider and limit.account in (None, account):
                del self._limiters[provider, account]

    def take(self, provider: str, account: str, now: float) -> Allowance:
        """Count one request of ``account``."""
        key = (provider, account)
        if key not in self._limiters:
            self._limiters[key] = build(self._limits.get(key) or self._limits[provider, None])
        return self._limiters[key].take(now)

    def foreign(self) -> dict[str, int]:
        """How many requests of other clients passed, by ``provider/account``."""
        return {
            f"{provider}/{account}": limiter.foreign_allowed
            for (provider, account), limiter in self._limiters.items()
            if isinstance(limiter, SharedLimit)
        }
