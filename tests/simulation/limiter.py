"""The limiter of an account in the simulation, by the name it has in a plan."""

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


def limiter(account: plan.AccountPlan, limit: int, window: float, phase: float) -> Limiter:
    if len(account.limits) > 1:
        return Together(*(SlidingLog(*each) for each in account.limits))
    kinds: dict[plan.Limiter, Limiter] = {
        "log": SlidingLog(limit, window),
        "fixed": FixedWindow(limit, window, phase),
        "bucket": TokenBucket(limit, window),
        "opened": OpenedWindow(limit, window),
        "counter": SlidingCounter(limit, window, phase),
        "leaky": LeakyBucket(limit, window),
        "leaky, burst": LeakyBucket(limit, window, limit),
    }
    return kinds[account.limiter]
