"""Many seeds, one after the other or on several processes, until one breaks an invariant or the time is up."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context

from tests.simulation.history import Totals
from tests.simulation.plan import DRAWN
from tests.simulation.world import play

type Seed = tuple[int, str]
"""A seed, and how its plan is drawn: one of `DRAWN`."""


@dataclass(slots=True)
class Campaign:
    """What the seeds came to so far. `violations` are (seed, what)."""

    seeds: int = 0
    crashing: int = 0
    totals: Totals = field(default_factory=Totals)
    violations: list[tuple[Seed, str]] = field(default_factory=list)
    seconds: float = 0.0


def one(seed: Seed) -> tuple[Seed, bool, Totals, str | None]:
    number, drawn = seed
    plan = DRAWN[drawn](number)
    try:
        run = play(plan)
    except Exception as error:
        error.add_note(f"in seed {number} of the simulation")
        raise
    return seed, plan.crash > 0, run.history.totals, run.violation


def campaign(seeds: Iterator[Seed], seconds: float | None, jobs: int, keep_going: bool = False) -> Campaign:
    """Runs the seeds, for at most `seconds`; at the first violation it ends, unless it is to `keep_going`."""
    result = Campaign()
    began = time.monotonic()
    for seed, crashing, totals, violation in _outcomes(seeds, jobs):
        result.seeds += 1
        result.crashing += crashing
        result.totals.add(totals)
        result.seconds = time.monotonic() - began
        if violation:
            result.violations.append((seed, violation))
            if not keep_going:
                break
        if seconds is not None and result.seconds >= seconds:
            break
    return result


def side_by_side[T](play: Callable[[str], T], names: Sequence[str], jobs: int) -> Iterator[T]:
    """What `play` makes of each name, in their order, on so many processes; a line on standard error tells how far."""
    with get_context("spawn").Pool(jobs) as pool:
        for number, result in enumerate(pool.imap(play, names), start=1):
            print(f"\r{number} of {len(names)}", end="\n" if number == len(names) else "", file=sys.stderr, flush=True)
            yield result


def _outcomes(seeds: Iterator[Seed], jobs: int) -> Iterator[tuple[Seed, bool, Totals, str | None]]:
    if jobs == 1:
        yield from map(one, seeds)
        return
    with get_context("spawn").Pool(jobs) as pool:
        # In rounds: an endless supply would be read to its end ahead of the work.
        while chunk := list(islice(seeds, 20 * jobs)):
            yield from pool.imap(one, chunk)
