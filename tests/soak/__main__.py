"""``python -m tests.soak --seed 7 --count 10000``: a soak on a stack of its own, and its audit. Ends with 1 where an
event is not accounted for, was sent twice without being counted, or something leaked.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import SystemRandom

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from local.machine import ROOT
from local.processes import CommandError, Interrupted, raised
from local.stack import start_stack, stop_stack
from local.steps import Steps, terminal
from relay.providers import PROVIDERS
from tests.soak.audit import Audit, Found, audit, tables
from tests.soak.conduct import Conduct, Progress, open_accounts
from tests.soak.plan import Plan, draw
from tests.system.running import running_relay

ACCOUNTS = tuple(f"soak-{number}" for number in range(1, 13))
REQUESTS, WINDOW = 20, 2.0
"""What each account allows here. So many events at the providers' own limits would take hours."""

PARAMETERS = {
    "Destinations": ",".join(f"{provider}/*" for provider in PROVIDERS),
    "DestinationSettings": json.dumps(
        json.dumps({provider: {"requests": REQUESTS, "window_seconds": WINDOW} for provider in PROVIDERS})
    ),
    "HoldSeconds": "3",
}


def soak(plan: Plan, state: Path, console: Console) -> Audit:
    """Runs the plan on a stack whose files are in `state`."""
    stack = start_stack(state, Steps(console), PARAMETERS)
    [emulator] = [process.pid for process in stack.processes if process.name == "emulator"]
    with running_relay(stack, state) as relay:
        for provider in PROVIDERS:
            relay.providers.sandbox.set_limit(provider=provider, limit=REQUESTS, window=WINDOW, algorithm="sliding")
        open_accounts(relay, plan.accounts)
        with bar(console) as shown:
            task = shown.add_task("sent", total=sum(1 for _ in plan.events), told="")

            def show(progress: Progress) -> None:
                told = (
                    f"{progress.took:,} taken, {progress.waiting} on the way, "
                    f"{progress.kills} workers killed, {progress.rotations} tokens replaced"
                )
                shown.update(task, completed=progress.sent, told=told)

            Conduct(relay, emulator, plan, show).run()
        made = audit(plan, Found.at(relay, plan))
        if made.wrong:
            made.log = Path(tempfile.gettempdir()) / f"soak-{plan.seed}.log"
            shutil.copy(relay.log, made.log)
        return made


def bar(console: Console) -> Bar:
    """How far it is."""
    columns = (
        TextColumn(" {task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
    )
    return Bar(*columns, TimeElapsedColumn(), console=console)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, help="drawn if not given, and told")
    parser.add_argument("--count", type=int, default=10_000, help="how many events")
    asked = parser.parse_args()
    seed = SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    console, begun = terminal(), time.monotonic()
    console.print(f" {asked.count:,} events, SEED={seed}", highlight=False)
    state = Path(tempfile.mkdtemp(prefix=".soak-", dir=ROOT))
    try:
        with raised():
            made = soak(draw(seed, asked.count, ACCOUNTS), state, console)
    except CommandError as error:
        console.print(f"[red]failed:[/] {error}", highlight=False)
        return 1
    except Interrupted:
        return 130
    finally:
        stop_stack(state)
        shutil.rmtree(state, ignore_errors=True)
    for table in tables(made):
        console.print(table)
    for each in made.wrong[:50]:
        console.print(f" [red]✗[/] {each}", highlight=False, markup=True)
    if made.log:
        console.print(f" the emulator's log, with all that the functions wrote: {made.log}", highlight=False)
    verdict = "[bold green]✓ all accounted for[/]" if made.is_clean else f"[bold red]✗ {len(made.wrong)} wrong[/]"
    console.print(f" {verdict} in {(time.monotonic() - begun) / 60:.1f} minutes; SEED={seed}", highlight=False)
    return 0 if made.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
