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

OWN_NEEDS = ("queues", "ledger", "data out")
"""What the promise takes whatever the code is like: each event through both queues, claimed and settled, and sent."""


def measure(say: Callable[[str], None]) -> Section:
    """What a million events to one destination cost, by how they come, and what others' ways would."""
    counts = read_counts()
    rows, notes = [], []
    for shape, together in SHAPES.items():
        name, usage = NAMES[shape], sum(counts[shape].values(), start=Usage())
        lines = usage.lines
        say(f"{name}: {sum(lines.values()):.2f} dollars")
        rows += [
            _row(f"a million events, {name}", sum(lines.values()), Goal.at_most(GOALS[shape])),
            _row(
                f"a million events, {name}: for queues, ledger and data alone", sum(lines[each] for each in OWN_NEEDS)
            ),
            _row(
                f"a million events, {name}: by the textbook", sum(_textbook(together, usage.sent_bytes).lines.values())
            ),
        ]
        notes.append(f"{name.capitalize()}: {', '.join(f'{each} ${amount:.2f}' for each, amount in lines.items())}.")
    out = usage.sent_bytes / 1e3 * TRANSFER_OUT_GB
    rows.append(_row("a million events: by EventBridge API destinations", EVENTBRIDGE_EVENTS + API_DESTINATIONS + out))
    return Section(f"Cost, at AWS's list prices known on {PRICED}", rows, [*notes, WHY, OTHERS])


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
