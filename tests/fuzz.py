"""``python -m tests.fuzz --seconds 600``: the properties of every way in and of every answer, drawn anew, round after
round, until the time is over. Prints how many examples each had, and what failed with the example that shows it.

The same properties are tests, which draw few examples and mostly the same ones; here they are never the same.
"""

import argparse
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial, wraps
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from hypothesis import is_hypothesis_test, settings
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from relay.providers import PROVIDERS
from tests.conftest import ENVIRONMENT
from tests.drawing import FUZZ

MODULES = (
    "tests.unit.test_handlers_properties",
    "tests.unit.test_ways_in_properties",
    "tests.unit.test_replies_properties",
    "tests.unit.test_masking_properties",
    "tests.unit.test_schedule",
    "tests.unit.test_pace",
    "tests.unit.providers.test_every_provider",
    "tests.unit.providers.test_reading",
    "tests.contract.test_any_bytes",
    "tests.contract.test_conversations",
)
"""Where the properties are."""


@dataclass
class Target:
    """One property, and what came of it. `failed` is the error, with the example that shows it."""

    name: str
    check: Callable[[], None]
    examples: int = 0
    seconds: float = 0.0
    failed: str = ""

    def run(self) -> None:
        """One round: as many examples as it has as a test."""
        began = time.monotonic()
        try:
            self.check()
        except Exception as error:
            # Hypothesis has made the example small, and says it in the error's notes.
            self.failed = "".join(traceback.format_exception(error, limit=-4))
        self.seconds += time.monotonic() - began


def targets(modules: Iterable[ModuleType]) -> Iterator[Target]:
    """Each property of these modules, for each provider where it asks for one. What needs a fixture is left out."""
    for module in modules:
        for name, test in vars(module).items():
            # What a module has from another is found there.
            if not is_hypothesis_test(test) or not name.startswith("test_") or test.__module__ != module.__name__:
                continue
            asked = list(inspect.signature(test).parameters)
            title = f"{module.__name__.rpartition('.')[2].removeprefix('test_')}: {name.removeprefix('test_')}"
            if asked == ["provider"]:
                for provider in PROVIDERS:
                    yield counting(Target(f"{title} [{provider}]", partial(test, provider=provider)), test)
            elif not asked:
                yield counting(Target(title, test), test)


def counting(target: Target, test: Any) -> Target:
    """The target, which counts its own examples."""
    checked, check = test.hypothesis.inner_test, target.check

    @wraps(checked)
    def one(*args: Any, **given: Any) -> None:
        target.examples += 1
        checked(*args, **given)

    def all_of_them() -> None:
        # Hypothesis lets others put themselves around a test so.
        test.hypothesis.inner_test = one
        try:
            check()
        finally:
            test.hypothesis.inner_test = checked

    target.check = all_of_them
    return target


def fuzz(found: list[Target], seconds: float, console: Console) -> None:
    """Lets those that had least have the next round, until the time is over. One that failed is done with."""
    began = time.monotonic()
    columns = (TextColumn(" {task.fields[told]}"), BarColumn(20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=seconds, told="")
        while (passed := time.monotonic() - began) < seconds and (left := [each for each in found if not each.failed]):
            target = min(left, key=lambda each: each.seconds)
            bar.update(task, completed=passed, told=f"{sum(each.examples for each in found):,} examples, {target.name}")
            target.run()


def table(found: Iterable[Target]) -> Table:
    """For a person."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("property", no_wrap=True)
    for name in ("examples", "seconds", ""):
        made.add_column(name, justify="right")
    for each in found:
        verdict = "[red]failed[/]" if each.failed else "held" if each.examples else "[red]not tried[/]"
        made.add_row(each.name.replace("[", r"\["), f"{each.examples:,}", f"{each.seconds:.0f}", verdict)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--only", default="", help="a part of the names of those that are wanted")
    asked = parser.parse_args()
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
    # Before a module is read: each property takes its settings then.
    settings.load_profile(FUZZ)
    # What the functions log goes nowhere, but where a property reads it.
    with pytest.MonkeyPatch.context() as patch, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        found = [each for each in targets(map(import_module, MODULES)) if asked.only in each.name]
        fuzz(found, asked.seconds, console)
    console.print(table(found))
    for each in found:
        if each.failed:
            console.print(f"[bold red]✗[/] {each.name}", highlight=False)
            console.print(each.failed, markup=False, highlight=False)
    return 0 if found and all(each.examples and not each.failed for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
