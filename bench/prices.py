"""What a million events cost, beside what else would bring them to a provider: from what `bench.cost` counted and AWS's
list prices. Nothing is counted or timed here.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench.cost import (
    ANSWER_SECONDS,
    CPU_SHARE,
    EVENTBRIDGE_EVENTS,
    LAMBDA_GB_SECOND,
    LOG_LINE_OVERHEAD,
    MEMORY_GB,
    PLATFORM_LINES,
    PRICED,
    SHAPES,
    TRANSFER_OUT_GB,
    Usage,
    read_counts,
)
from bench.plot import lines as drawn
from bench.table import Goal, Row, Section
from local.machine import ROOT

GOALS = {"bursts": 2.50, "single": 6.00}
NAMES = {"bursts": "in bursts of ten", "single": "one by one"}

API_DESTINATIONS = 0.20
"""Dollars for a million invocations."""

MEMORIES = (128, 256, 512, 1024, 1769)
"""Megabytes."""

OWN_NEEDS = ("queues", "ledger", "data out")
"""What the promise takes whatever the code is like: each event through both queues, claimed and settled, and sent."""


def measure(say: Callable[[str], None]) -> Section:
    """What a million events to one destination cost, by how they come, and what others' ways would."""
    counts = read_counts()
    rows, notes = [], []
    for shape, together in SHAPES.items():
        name, usage = NAMES[shape], _sum(counts[shape])
        lines = usage.lines
        say(f"{name}: {sum(lines.values()):.2f} dollars")
        rows += [
            _row(f"a million events, {name}", sum(lines.values()), Goal.at_most(GOALS[shape])),
            _row("  of it for queues, ledger and data", sum(lines[each] for each in OWN_NEEDS)),
            _row("  by the textbook", sum(_textbook(together, usage.sent_bytes).lines.values())),
        ]
        notes.append(f"{name.capitalize()}: {', '.join(f'{each} ${amount:.2f}' for each, amount in lines.items())}.")
    out = usage.sent_bytes / 1e3 * TRANSFER_OUT_GB
    rows.append(_row("  by EventBridge API destinations", EVENTBRIDGE_EVENTS + API_DESTINATIONS + out))
    plots = list(_by_memory({NAMES[shape]: _sum(counts[shape]) for shape in SHAPES}))
    return Section(f"Cost, at AWS's list prices known on {PRICED}", rows, [*notes, WHY, OTHERS], plots)


WHY = (
    "The ledger's two writes, the account's one a batch, an item for 30 days and the requests of two queues are what "
    "the promise is made of: what they leave of a goal is all that functions and logs may cost. In bursts most of a "
    "function's time is spent waiting for the account's second window, at the pace that is promised."
)
OTHERS = (
    "The textbook is a standard queue and a function that posts one event of a batch after the other, its computing "
    "and its own log lines not counted; it has no ledger, so it repeats, and no pace, so it is refused. API "
    "destinations give up on an answer after five seconds and on an event after 185 tries or a day, keep a rate of "
    "whole requests a second (300 at most) and no order, know nothing of what was delivered before, and drop what is "
    "given up where there is no dead-letter queue; a retry costs as the first try does."
)


def _row(what: str, dollars: float, goal: Goal | None = None) -> Row:
    return Row(what, [dollars], "$", goal)


def _sum(parts: Mapping[str, Usage]) -> Usage:
    return sum(parts.values(), start=Usage())


def _by_memory(usages: Mapping[str, Usage]) -> Iterator[Path]:
    """What each would cost with more memory or less: drawn, where it was counted how much of the time is computing."""
    if all(usage.computed for usage in usages.values()):
        series = {name: [(float(size), _at(usage, size)) for size in MEMORIES] for name, usage in usages.items()}
        title = "What a million events cost, by the memory of the functions"
        yield drawn(ROOT / "docs" / "memory.svg", title, ("MB", "dollars"), series)


def _at(usage: Usage, megabytes: int) -> float:
    """Dollars for a million with that memory, and the part of a processor that comes with it."""
    size = megabytes / 1024
    waited = usage.seconds - usage.computed / CPU_SHARE
    seconds = waited + usage.computed / CPU_SHARE * MEMORY_GB / size
    more = seconds * size - usage.seconds * MEMORY_GB
    return sum(usage.lines.values()) + more * LAMBDA_GB_SECOND * 1e6


def _textbook(together: int, sent_bytes: float) -> Usage:
    """What one event needs there: it is sent, received and deleted; its batch is one call."""
    logged = sum(len(line) + LOG_LINE_OVERHEAD for line in PLATFORM_LINES)
    return Usage(
        sqs_standard=1 + 2 / together,
        invocations=1 / together,
        seconds=ANSWER_SECONDS,
        log_bytes=logged / together,
        sent_bytes=sent_bytes,
    )
