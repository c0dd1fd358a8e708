"""`python -m bench` measures everything, prints goal and figure of every row and writes `bench/RESULTS.md`.

`--only NAME` measures one part and writes nothing. Exits with 1 where a goal is missed.
"""

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from multiprocessing import cpu_count
from pathlib import Path

from rich.console import Console

from bench.table import Section, markdown, printed
from local.machine import ROOT

RESULTS = ROOT / "bench" / "RESULTS.md"
LIBRARIES = ("boto3", "aws-lambda-powertools", "pydantic", "urllib3")

PARTS: Sequence[str] = ("throughput", "textbook", "events", "growth", "starts", "weight", "prices", "model")
"""Modules of this package, each with `measure(say) -> Section`, in the order in which they run: one at a time."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS)
    only = parser.parse_args().only
    console = Console(width=None if sys.stdout.isatty() else 140)
    began = time.monotonic()
    sections: list[Section] = []
    for name in only or PARTS:

        def say(text: str, name: str = name) -> None:
            console.print(f"{time.monotonic() - began:4.0f} s  {name}: {text}", style="dim", highlight=False)

        sections.append(import_module(f"bench.{name}").measure(say))
        console.print(printed(sections[-1]))
    if not only:
        RESULTS.write_text(page(sections, time.monotonic() - began))
        console.print(f"written: {RESULTS.relative_to(ROOT)}")
    missed = [row for section in sections for row in section.rows if not row.is_met]
    for what, goal, figure, _ in (row.cells for row in missed):
        console.print(f"missed: {what}: {figure}, {goal}", markup=False, highlight=False)
    console.print(f"{len(missed)} goals are missed" if missed else "every goal is met", highlight=False)
    return 1 if missed else 0


def page(sections: Sequence[Section], seconds: float) -> str:
    """All of it as Markdown."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    head = (
        "# What the bench measured\n\n"
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.1f} minutes, on {machine()}; "
        f"{versions}. A figure is the median of several runs, the spread goes from the least to the greatest. Two "
        "things that are compared took turns in the same run.\n"
    )
    return "\n".join([head, *(f"{markdown(section)}\n" for section in sections)])


def machine() -> str:
    """What was measured on, in a few words."""
    file = Path("/proc/cpuinfo")
    said = file.read_text().splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in said if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{cpu_count()} processors ({model}), {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
