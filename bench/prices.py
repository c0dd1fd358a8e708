"""What a million events cost, beside what else would bring them to a provider: from what `bench.cost` counted and AWS's
list prices. Nothing is counted or timed here.
"""

from collections.abc import Callable

from bench.cost import (
    ANSWER_SECONDS,
    EVENTBRIDGE_EVENTS,
    LOG_LINE_OVERHEAD,
    PLATFORM_LINES,
    PRICED,
    SHAPES,
    TRANSFER_OUT_GB,
    Usage,
    read_counts,
)
from bench.table import Goal, Row, Section

GOALS = {"bursts": 2.50, "single": 6.00}
NAMES = {"bursts": "in bursts of ten", "single": "one by one"}

API_DESTINATIONS = 0.20
"""Dollars for a million invocations."""


def measure(say: Callable[[str], None]) -> Section:
    """What a million events to one destination cost, by how they come, and what others' ways would."""
    counts = read_counts()
    rows, notes = [], []
    for shape, together in SHAPES.items():
        usages = list(counts[shape].values())
        lines = {name: sum(usage.lines[name] for usage in usages) for name in usages[0].lines}
        sent = counts[shape]["delivery"].sent_bytes
        say(f"{NAMES[shape]}: {sum(lines.values()):.2f} dollars")
        rows += [
            _row(f"a million events, {NAMES[shape]}", sum(lines.values()), Goal.at_most(GOALS[shape])),
            _row(f"by the textbook, {NAMES[shape]}", sum(_textbook(together, sent).lines.values())),
        ]
        parts = ", ".join(f"{name} ${amount:.2f}" for name, amount in lines.items())
        notes.append(f"What makes up the cost {NAMES[shape]}: {parts}.")
    out = sent / 1e3 * TRANSFER_OUT_GB
    rows.append(_row("by EventBridge API destinations", EVENTBRIDGE_EVENTS + API_DESTINATIONS + out))
    return Section(f"Cost, at AWS's list prices known on {PRICED}", rows, [*notes, OTHERS])


OTHERS = (
    "The textbook is a standard queue and a function that posts one event of a batch after the other, its computing "
    "and its own log lines not counted; it has no ledger, so it repeats, and no pace, so it is refused. API "
    "destinations give up on an answer after five seconds and on an event after 185 tries or a day, keep a rate of "
    "whole requests a second (300 at most) and no order, know nothing of what was delivered before, and drop what is "
    "given up where there is no dead-letter queue; a retry costs as the first try does."
)


def _row(what: str, dollars: float, goal: Goal | None = None) -> Row:
    return Row(what, [dollars], "$", goal)


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
