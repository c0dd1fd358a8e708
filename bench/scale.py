"""What a rate of events needs of AWS: the table of docs/scale.md, from what `bench.cost` counted.

`python -m bench.scale` prints it, `--write` puts it into the page. `make bench-cost` does so after it has counted.
"""

import argparse
import sys
from collections.abc import Callable, Mapping

from bench.cost import SHAPES, Usage, read_counts
from local.machine import ROOT

PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- make bench-cost writes this -->\n", "\n<!-- to here -->"
RATES = (10, 1_000, 100_000)
"""Events a second, each to one destination."""
LEDGER_WRITES = 2
"""Of a delivery that succeeds at once: claimed, settled."""
DAY = 86_400
LEDGER_DAYS = 30

type Need = Callable[[Usage, Usage], float]
"""What one event needs, by what intake and a delivery do for it."""

NEEDS: dict[str, Need] = {
    "runs of intake at once": lambda intake, _: intake.seconds,
    "runs of deliver at once, where nothing waits for its turn": lambda _, delivery: delivery.seconds,
    "`SendMessageBatch` to the lane, a second": lambda intake, _: intake.sqs_fifo,
    "`ReceiveMessage` of the lane, and as many deletes, a second": lambda _, delivery: delivery.sqs_fifo / 2,
    "writes to the ledger, a second": lambda *_: LEDGER_WRITES,
    "writes to the accounts, a second": lambda _, delivery: delivery.writes - LEDGER_WRITES,
    "logs, GB a day": lambda intake, delivery: (intake.log_bytes + delivery.log_bytes) * DAY / 1e9,
    "the ledger after its 30 days, GB": lambda _, delivery: delivery.stored_bytes * DAY * LEDGER_DAYS / 1e9,
    "dollars a day": lambda *both: sum(sum(usage.lines.values()) for usage in both) * DAY / 1e6,
}


def table(counts: Mapping[str, Mapping[str, Usage]]) -> str:
    """The table, in Markdown: from what events in bursts of ten need to what single ones do."""
    rows = [
        "| | " + " | ".join(f"{rate:,} a second" for rate in RATES) + " |",
        "|---" * (1 + len(RATES)) + "|",
    ]
    for title, need in NEEDS.items():
        each = [need(counts[shape]["intake"], counts[shape]["delivery"]) for shape in SHAPES]
        cells = [_from_to(min(each) * rate, max(each) * rate) for rate in RATES]
        rows.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _from_to(least: float, most: float) -> str:
    low, high = _short(least), _short(most)
    return low if low == high else f"{low} to {high}"


def _short(number: float) -> str:
    """Two digits that count: more would be none that anybody measured."""
    return f"{float(f'{number:.2g}'):,.{1 if number < 9.95 else 0}f}".removesuffix(".0")


def with_table(text: str) -> str:
    """The page's text with the table as it is now. Raises ValueError if it has no place for it."""
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError("docs/scale.md has no place for the table of bench/scale.py")
    return head + BEGIN + table(read_counts()) + END + tail


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into docs/scale.md")
    if parser.parse_args().write:
        PAGE.write_text(with_table(PAGE.read_text()))
    print(table(read_counts()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
