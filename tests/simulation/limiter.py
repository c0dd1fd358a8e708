"""The limiter of an account in the simulation, by the name it has in a plan."""

from collections.abc import Sequence

from local.sandbox.limiters import (
    FixedWindow,
    LeakyBucket,
    Limiter,
    OpenedWindow,
    SlidingCounter,
    SlidingLog,
    Together,
    TokenBucket,
)
from tests.simulation import plan


def limiter(account: plan.AccountPlan, limits: Sequence[tuple[int, float]], phase: float) -> Limiter:
    """Of each window alike. `phase`: what part of one is over at second 0, where they go by the clock."""
    if len(limits) > 1:
        return Together(*(limiter(account, [each], phase) for each in limits))
    ((limit, window),) = limits
    kinds: dict[plan.Limiter, Limiter] = {
        "log": SlidingLog(limit, window),
        "fixed": FixedWindow(limit, window, phase * window),
        "bucket": TokenBucket(limit, window),
        "opened": OpenedWindow(limit, window),
        "counter": SlidingCounter(limit, window, phase * window),
        "leaky": LeakyBucket(limit, window),
        "leaky, burst": LeakyBucket(limit, window, limit),
    }
    return kinds[account.limiter]
