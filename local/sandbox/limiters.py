"""How providers count: a log of the last window, two windows weighted, windows by the clock or from a first request, a
bucket of tokens, one that leaks, requests under way; and several of these at once. And as the package `limits` does.

Times are in seconds from any start and never go back.
"""

import math
import time
from collections import deque
from typing import Literal, Protocol

StrategyName = Literal["fixed-window", "moving-window", "sliding-window-counter"]


class Limiter(Protocol):
    """What one account may send."""

    def admit(self, now: float, *, always: bool = False) -> bool:
        """Counts one request if there is budget for it (or `always`); False is a 429."""
        ...

    def remaining(self, now: float) -> int: ...
    def reset_after(self, now: float) -> float:
        """Seconds until there is more budget than now."""
        ...


class SlidingCounter:
    """Two windows by the clock: this one's count, and the last one's by how much of it is still within a window."""

    def __init__(self, limit: int, window: float, phase: float = 0.0) -> None:
        self._limit, self._window, self._phase = limit, window, phase
        self._number, self._used, self._before = -1, 0, 0

    def admit(self, now: float, *, always: bool = False) -> bool:
        free = self._count(now) + 1 <= self._limit + 1e-9
        self._used += free or always
        return free

    def remaining(self, now: float) -> int:
        return max(0, math.floor(self._limit - self._count(now) + 1e-9))

    def reset_after(self, now: float) -> float:
        return self._window - (now + self._phase) % self._window

    def _count(self, now: float) -> float:
        whole, part = divmod((now + self._phase) / self._window, 1.0)
        if int(whole) != self._number:
            self._before = self._used if int(whole) == self._number + 1 else 0
            self._number, self._used = int(whole), 0
        return self._before * (1.0 - part) + self._used


class LeakyBucket:
    """A bucket that leaks `limit` requests in a `window` and holds `burst` beside the one that drips: nginx's
    `limit_req rate=… burst=… nodelay`.
    """

    def __init__(self, limit: int, window: float, burst: int = 0) -> None:
        self._rate, self._burst = limit / window, burst
        self._excess, self._at = 0.0, -math.inf

    def admit(self, now: float, *, always: bool = False) -> bool:
        excess = max(0.0, self._excess - (now - self._at) * self._rate + 1.0) if self._at > -math.inf else 0.0
        free = excess <= self._burst + 1e-9
        if free or always:
            self._excess, self._at = excess, now
        return free

    def remaining(self, now: float) -> int:
        left = self._excess - (now - self._at) * self._rate if self._at > -math.inf else -1.0
        return max(0, math.floor(self._burst - max(left, -1.0)))

    def reset_after(self, now: float) -> float:
        return max(0.0, (self._excess + 1.0 - self._burst) / self._rate - (now - self._at)) if self._excess else 0.0


class Concurrency:
    """At most `limit` requests under way; `busy` says of one that was admitted when it is over."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ends: list[float] = []

    def admit(self, now: float, *, always: bool = False) -> bool:
        return self.remaining(now) > 0 or always

    def busy(self, until: float) -> None:
        self._ends.append(until)

    def remaining(self, now: float) -> int:
        self._ends = [end for end in self._ends if end > now]
        return max(0, self._limit - len(self._ends))

    def reset_after(self, now: float) -> float:
        return 0.0 if self.remaining(now) else min(self._ends) - now


class Together:
    """Several limiters at once: what one of them refuses, none counts."""

    def __init__(self, *limiters: Limiter) -> None:
        self._limiters = limiters

    def admit(self, now: float, *, always: bool = False) -> bool:
        free = all(each.remaining(now) > 0 for each in self._limiters)
        if free or always:
            for each in self._limiters:
                each.admit(now, always=True)
        return free

    def remaining(self, now: float) -> int:
        """Of the tightest, which is the last."""
        return self._limiters[-1].remaining(now)

    def reset_after(self, now: float) -> float:
        return max(each.reset_after(now) for each in self._limiters)


class SlidingLog:
    """The exact times of what was counted in the last `window` seconds."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit, self._window = limit, window
        self._log: deque[float] = deque()

    def admit(self, now: float, *, always: bool = False) -> bool:
        free = self.remaining(now) > 0
        if free or always:
            self._log.append(now)
        return free

    def remaining(self, now: float) -> int:
        while self._log and self._log[0] <= now - self._window:
            self._log.popleft()
        return max(0, self._limit - len(self._log))

    def reset_after(self, now: float) -> float:
        return self._log[0] + self._window - now if self._log else 0.0


class FixedWindow:
    """Windows by the clock, one after the other, whoever sends; `phase` seconds into one at second 0."""

    def __init__(self, limit: int, window: float, phase: float) -> None:
        self._limit, self._window, self._phase = limit, window, phase
        self._number, self._used = -1, 0

    def admit(self, now: float, *, always: bool = False) -> bool:
        free = self.remaining(now) > 0
        self._used += free or always
        return free

    def remaining(self, now: float) -> int:
        number = math.floor((now + self._phase) / self._window)
        if number != self._number:
            self._number, self._used = number, 0
        return max(0, self._limit - self._used)

    def reset_after(self, now: float) -> float:
        return self._window - (now + self._phase) % self._window


class OpenedWindow:
    """A window that the first request after the last one opens."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit, self._window = limit, window
        self._ends = -math.inf
        self._used = 0

    def admit(self, now: float, *, always: bool = False) -> bool:
        if now >= self._ends:
            self._ends, self._used = now + self._window, 0
        free = self._used < self._limit
        self._used += free or always
        return free

    def remaining(self, now: float) -> int:
        return self._limit if now >= self._ends else max(0, self._limit - self._used)

    def reset_after(self, now: float) -> float:
        return max(0.0, self._ends - now)


class TokenBucket:
    """A token a request; so many a second come back, up to `limit`."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit, self._rate = limit, limit / window
        self._tokens, self._at = float(limit), 0.0

    def admit(self, now: float, *, always: bool = False) -> bool:
        free = self.remaining(now) > 0
        if free or always:
            self._tokens = max(-1.0, self._tokens - 1)
        return free

    def remaining(self, now: float) -> int:
        self._tokens = min(self._limit, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(0, math.floor(self._tokens + 1e-9))

    def reset_after(self, now: float) -> float:
        self.remaining(now)
        return max(0.0, (math.floor(self._tokens + 1e-9) + 1 - self._tokens) / self._rate)


class Strategy:
    """A strategy of the package `limits`, with its counts in memory. It reads the clock itself."""

    def __init__(self, name: StrategyName, limit: int, window: int) -> None:
        # Here, not above: the sandbox runs without the package.
        from limits import RateLimitItemPerSecond  # noqa: PLC0415
        from limits.storage import MemoryStorage  # noqa: PLC0415
        from limits.strategies import STRATEGIES  # noqa: PLC0415

        self._item = RateLimitItemPerSecond(limit, window)
        self._limiter = STRATEGIES[name](MemoryStorage())

    def admit(self, now: float, *, always: bool = False) -> bool:  # noqa: ARG002 (has its own clock)
        free: bool = self._limiter.hit(self._item)
        return free or always

    def remaining(self, now: float) -> int:  # noqa: ARG002
        left: int = self._limiter.get_window_stats(self._item).remaining
        return left

    def reset_after(self, now: float) -> float:  # noqa: ARG002
        moment: float = self._limiter.get_window_stats(self._item).reset_time
        return max(0.0, moment - time.time())
