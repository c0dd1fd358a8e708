"""The limiter of an account in the simulation, by the name it has in a plan."""

from local.sandbox.limiters import FixedWindow, Limiter, SlidingLog, TokenBucket
from tests.simulation import plan


def limiter(kind: plan.Limiter, limit: int, window: float, phase: float) -> Limiter:
    match kind:
        case "log":
            return SlidingLog(limit, window)
        case "fixed":
            return FixedWindow(limit, window, phase)
        case "bucket":
            return TokenBucket(limit, window)
