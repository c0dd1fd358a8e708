"""How providers count: a log of the last window, windows by the clock or from a first request, a token bucket.

Times are in seconds from any start and never go back.
"""

import math
from collections import deque
from typing import Protocol


class Limiter(Protocol):
    """What one account may send."""

    def admit(self, now: float, *, always: bool = False) -> bool:
        """Counts one request if there is budget for it (or `always`); False is a 429."""
        ...

    def remaining(self, now: float) -> int: ...
    def reset_after(self, now: float) -> float:
        """Seconds until there is more budget than now."""
        ...


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
