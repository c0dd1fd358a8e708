"""Many seeds, one after the other or on several processes, until one breaks an invariant or the time is up."""

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import get_context

from tests.simulation.history import Totals
from tests.simulation.plan import DRAWN
from tests.simulation.world import play

type Seed = tuple[int, str]
"""A seed, and how its plan is drawn: one of `DRAWN`."""

AHEAD = 16
"""Seeds handed out for each process: one that takes long must not leave the others without work."""


@dataclass(slots=True)
class Campaign:
    """What the seeds came to so far. `violations` are (seed, what)."""

    seeds: int = 0
    crashing: int = 0
    totals: Totals = field(default_factory=Totals)
    violations: list[tuple[Seed, str]] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    """Somebody pressed Ctrl-C."""


def one(seed: Seed) -> tuple[Seed, bool, Totals, str | None]:
    number, drawn = seed
    plan = DRAWN[drawn](number)
    try:
        run = play(plan)
    except Exception as error:
        # Of the model: it fails this seed, and tells nothing of the others.
        return seed, plan.crash > 0, Totals(), f"model: {error!r}"
    return seed, plan.crash > 0, run.history.totals, run.violation


def campaign(
    seeds: Iterator[Seed],
    seconds: float | None,
    jobs: int,
    keep_going: bool = False,
    tell: Callable[[Campaign], None] = lambda _: None,
) -> Campaign:
    """Runs the seeds, for at most `seconds`; at the first violation it ends, unless it is to `keep_going`. Ctrl-C ends
    it with what there is by then. `tell` hears after each seed how far it is.
    """
    result = Campaign()
    began = time.monotonic()
    try:
        for seed, crashing, totals, violation in _outcomes(seeds, jobs):
            result.seeds += 1
            result.crashing += crashing
            result.totals.add(totals)
            result.seconds = time.monotonic() - began
            if violation:
                result.violations.append((seed, violation))
            tell(result)
            if violation and not keep_going:
                break
            if seconds is not None and result.seconds >= seconds:
                break
    except KeyboardInterrupt:
        result.interrupted = True
    return result


def side_by_side[T](play: Callable[[str], T], names: Sequence[str], jobs: int) -> list[T]:
    """What `play` makes of each name, in their order, on so many processes; a line on standard error tells how far.

    The last are begun first: they take longest, and would be waited for by one process alone.
    """
    made: dict[str, T] = {}
    with get_context("spawn").Pool(jobs) as pool:
        for name, result in pool.imap_unordered(partial(_named, play), reversed(names)):
            made[name] = result
            end = "\n" if len(made) == len(names) else ""
            print(f"\r{len(made)} of {len(names)}", end=end, file=sys.stderr, flush=True)
    return [made[name] for name in names]


def _named[T](play: Callable[[str], T], name: str) -> tuple[str, T]:
    return name, play(name)


def _outcomes(seeds: Iterator[Seed], jobs: int) -> Iterator[tuple[Seed, bool, Totals, str | None]]:
    if jobs == 1:
        yield from map(one, seeds)
        return
    with get_context("spawn").Pool(jobs, initializer=_leave_interrupts) as pool:
        # Not all of them at once: the supply may be endless.
        under_way = deque(pool.apply_async(one, (seed,)) for seed in islice(seeds, AHEAD * jobs))
        while under_way:
            yield under_way.popleft().get()
            under_way.extend(pool.apply_async(one, (seed,)) for seed in islice(seeds, 1))


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; what is to be done about it, the first one knows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
