"""`python -m tests.simulation`: many seeds, one seed with its timeline, the figures, or the breakages."""

import argparse
import sys
from dataclasses import fields
from itertools import chain, count, islice
from os import process_cpu_count

from rich.console import Console
from rich.table import Table

from tests.simulation import figures, mutations
from tests.simulation.campaign import Campaign, Seed, campaign
from tests.simulation.plan import DRAWN, Plan
from tests.simulation.seeds import FAILED, fresh
from tests.simulation.world import play

CONSOLE = Console(width=120)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many seeds to run")
    parser.add_argument("--seconds", type=float, help="stop after that long")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="run this one and print its timeline")
    parser.add_argument("--drawn", choices=DRAWN, default="now", help="how plans are drawn, or were (default now)")
    parser.add_argument("--fresh", action="store_true", help="those that failed once, then this commit's own")
    parser.add_argument("--figures", action="store_true", help="run the named scenarios")
    parser.add_argument("--breakages", action="store_true", help="break the relay on purpose; each must be noticed")
    parser.add_argument("--only", help="of scenarios or breakages, those with this in their name")
    jobs = process_cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=jobs, help=f"processes (default {jobs}: as many as processors)")
    parser.add_argument("--keep-going", action="store_true", help="go on after a violation")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _show(DRAWN[asked.drawn](asked.seed))
    if asked.figures:
        return figures.show(CONSOLE, asked.jobs, asked.only)
    if asked.breakages:
        return mutations.show(CONSOLE, asked.jobs, asked.only)
    most = asked.seeds if asked.seeds is not None or asked.seconds is not None else 1000
    first = asked.first
    before: list[Seed] = []
    if asked.fresh:
        first, source = fresh()
        before = [(seed, drawn) for drawn, failed in FAILED.items() for seed in failed]
        print(f"{len(before)} seeds that failed once, then new ones from {first} on ({source})")
    seeds = chain(before, islice(((seed, asked.drawn) for seed in count(first)), most))
    result = campaign(seeds, asked.seconds, asked.jobs, asked.keep_going, Progress(most).tell)
    if asked.fresh and (new := result.seeds - len(before)) > 0:
        print(f"the new ones once more: make simulate FIRST={first} SEEDS={new}")
    return _tell(result)


class Progress:
    """Says on standard error how far a campaign is, a terminal every second and a file every minute, and each seed that
    fails as soon as it does. `most`: how many seeds there are, if that is known.
    """

    def __init__(self, most: int | None) -> None:
        self._of = f" of {most:,}" if most else ""
        self._line = Console(stderr=True, highlight=False)
        self._every = 1.0 if self._line.is_terminal else 60.0
        self._next = self._every
        self._failed = 0

    def tell(self, result: Campaign) -> None:
        for seed, violation in result.violations[self._failed :]:
            self._line.print(f"{_named(seed)} broke {violation}", style="bold red", markup=False)
        self._failed = len(result.violations)
        if result.seconds >= self._next:
            self._next = result.seconds + self._every
            said = f"{result.seeds:,}{self._of} seeds in {result.seconds:,.0f} s, {self._failed} failed"
            self._line.print(f"{said:<79}", end="\r" if self._line.is_terminal else "\n", style="dim")


def _named(seed: Seed) -> str:
    number, drawn = seed
    return f"seed {number}{'' if drawn == 'now' else f' ({drawn})'}"


def _show(plan: Plan) -> int:
    for account in plan.accounts:
        troubles = ", ".join(f"{e.kind} {e.start:.0f}-{e.end:.0f} s x {e.share}" for e in account.episodes)
        print(
            f"{account.destination}: {account.limiter}, answers in {account.answers_in} s, {troubles or 'no trouble'}"
        )
    print(", ".join(f"{name} {value}" for name, value in _others(plan).items() if value))
    run = play(plan, timeline=True)
    for line in run.history.timeline.lines:
        print(line)
    print(f"seed {plan.seed}: {run.violation or 'every invariant held'}")
    return 1 if run.violation else 0


def _others(plan: Plan) -> dict[str, object]:
    """What a plan says besides its accounts and events."""
    return {each.name: getattr(plan, each.name) for each in fields(plan) if each.name not in ("accounts", "events")}


def _tell(result: Campaign) -> int:
    totals = result.totals
    table = Table(title=f"{result.seeds} seeds in {result.seconds:.0f} s", show_header=False)
    for name, value in (
        ("seeds with crashes", result.crashing),
        ("environments crashed or timed out", totals.crashes),
        ("deliveries accepted on a lane", totals.accepted),
        ("records rejected by intake", totals.rejected),
        ("requests to providers", totals.requests),
        ("answered 429", totals.throttled),
        ("events a provider acted on", totals.acts),
        ("repeats", totals.repeats),
        ("unknown outcomes counted by the relay", totals.unknowns),
        ("repeats without an unknown", totals.unexplained),
        ("dead letters", totals.letters),
        *((f"  {kind}", number) for kind, number in sorted(totals.dead.items())),
        ("events without an end", totals.unended),
        ("steps of the model", totals.steps),
        ("seeds/s", round(result.seeds / max(result.seconds, 1e-9), 1)),
        ("steps/s", round(totals.steps / max(result.seconds, 1e-9))),
    ):
        table.add_row(name, f"{value:,}")
    CONSOLE.print(table)
    for (seed, drawn), violation in result.violations:
        CONSOLE.print(f"[bold red]seed {seed}[/] broke {violation}")
        CONSOLE.print(
            f"repeat it with: make simulate SEED={seed}{'' if drawn == 'now' else f' DRAWN={drawn}'}", highlight=False
        )
    print(f"{result.seeds - len(result.violations)} passed, {len(result.violations)} failed")
    if result.interrupted:
        print("interrupted: nothing is known of the rest")
    return 1 if result.violations or result.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
