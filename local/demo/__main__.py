"""``python -m local.demo``: a stack of its own, the events by every way in, the tables, and away with it all."""

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from local.demo.observe import Observed, Observer
from local.demo.plan import AGAIN, CASES, FAULT, FIRST, files
from local.demo.publish import publish
from local.demo.report import Results, as_expected, show_fates, show_reasons, show_received, show_verdict
from local.invoke import NotTakenError
from local.processes import CommandError, Interrupted, raised
from local.sandbox.client import SandboxClient
from local.stack import start_stack, stop_stack
from local.steps import Steps, terminal

_PATIENCE_SECONDS = 120.0
_SETTLED_SECONDS = 8.0


def demo(steps: Steps, state: Path) -> bool:
    """Run the demo on a stack whose files are in ``state``. Returns whether everything was as planned."""
    stack = start_stack(state, steps)
    try:
        sandbox = SandboxClient(stack.sandbox_url)
        observer = Observer(stack, sandbox)
        sandbox.add_fault(**FAULT)
        results: Results = []
        for act in (FIRST, AGAIN):
            for file in files(act):
                observer.answers[file] = publish(stack, file)
            again = ", the repeats" if act == AGAIN else ""
            steps.say(f"{len(files(act))} files of events/ published{again}")
            results += watch(steps.console, observer, act)
        show_fates(steps.console, results)
        show_reasons(steps.console, results)
        summary = sandbox.summary()
        show_received(steps.console, sandbox.requests(), summary)
        return show_verdict(steps.console, results, sum(counts["repeats"] for counts in summary.values()))
    finally:
        stop_stack(state)
        steps.say("stack taken down, nothing left behind")


def watch(console: Console, observer: Observer, act: str) -> Results:
    """Wait until every case of ``act`` has ended and nothing is on the way, and show how far it is."""
    cases = [case for case in CASES if case.act == act]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    quiet_since = None
    columns = (TextColumn(" {task.description}"), BarColumn(30), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TextColumn("{task.fields[waiting]}"), TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("[cyan]…[/] outcomes known", total=len(cases), waiting="")
        while True:
            observer.read_letters()
            results = [(case, observer.observe(case)) for case in cases]
            waiting = observer.waiting()
            now = time.monotonic()
            progress.update(task, completed=_ended(results), waiting=f"{waiting} messages on the way")
            quiet_since = None if waiting else quiet_since or now
            settled = quiet_since is not None and (
                all(as_expected(*one) for one in results) or now - quiet_since > _SETTLED_SECONDS
            )
            if settled or now > deadline:
                progress.update(task, description="[green]✓[/] outcomes known")
                return results
            time.sleep(0.5)


def _ended(results: Results) -> int:
    return sum(observed != Observed() for _, observed in results)


def main() -> int:
    console = terminal()
    steps = Steps(console)
    state = Path(tempfile.mkdtemp(prefix="customer-event-relay-"))
    try:
        with raised():
            return 0 if demo(steps, state) else 1
    except (CommandError, NotTakenError) as error:
        console.print("[red]failed:[/]", Text(str(error)), highlight=False)
    except Interrupted:
        console.print("[yellow]interrupted:[/] nothing was left behind")
        return 130
    finally:
        stop_stack(state)
    return 1


if __name__ == "__main__":
    sys.exit(main())
