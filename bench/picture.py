"""Draws `docs/pace.svg`: what was delivered over time against what the limit allows, for five kinds of provider.

`python -m bench.picture` plays each case in virtual time (the real delivery code, `tests/simulation`), so the picture
is the same on every machine.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from local.machine import ROOT
from tests.kinds import FAST, SLOW
from tests.simulation.figures import delivered_times, groups_for
from tests.simulation.plan import AccountPlan

BRIEF, LONG = f"{FAST}/main", f"{SLOW}/main"
"""Accounts of five a second, and of sixty a minute."""
FILE = ROOT / "docs" / "pace.svg"
WIDE, HIGH, GAP, TOP = 168, 110, 18, 34


@dataclass(frozen=True, slots=True)
class Case:
    """One panel: so many events to an account, whose limit lets `rate` a second through, after a first `burst`."""

    title: str
    account: AccountPlan
    events: int
    rate: float
    burst: int
    groups: int = 1


CASES = (
    Case("5/s, answers in 0.05 s", AccountPlan(BRIEF, answers_in=0.05), 300, 5.0, 5),
    Case("5/s, answers in 3 s", AccountPlan(BRIEF, answers_in=3.0), 300, 5.0, 5, groups_for(5, 3.0)),
    Case("5/s, no bursts at all", AccountPlan(BRIEF, "leaky", headers=False, limits=((5, 1.0),)), 300, 5.0, 1),
    Case("60/min", AccountPlan(LONG), 300, 1.0, 60),
    Case("5/s, others eat 40 %", AccountPlan(BRIEF, foreign=0.4), 300, 3.0, 3),
)


def panel(case: Case, times: Sequence[float], left: float) -> str:
    """One case as SVG: the limit as a line, what was delivered as steps, and how much of the limit it was."""
    ideal = (case.events - case.burst) / case.rate
    took = times[-1] - times[0]
    longest = max(took, ideal) * 1.02

    def x(seconds: float) -> float:
        return left + WIDE * seconds / longest

    def y(count: float) -> float:
        return TOP + HIGH * (1.0 - count / case.events)

    allowed = f"{x(0):.1f},{y(case.burst):.1f} {x(ideal):.1f},{y(case.events):.1f}"
    if case.burst > 5:
        steps = [
            (at, n) for n in range(case.burst, case.events + 1, case.burst) for at in ((n - case.burst) / case.rate,)
        ]
        allowed = " ".join(f"{x(at):.1f},{y(n - case.burst):.1f} {x(at):.1f},{y(n):.1f}" for at, n in steps)
    got = " ".join(f"{x(at - times[0]):.1f},{y(number):.1f}" for number, at in enumerate(times, start=1))
    groups = f", {case.groups} groups" if case.groups > 1 else ""
    return (
        f'<text x="{left}" y="14" class="t">{escape(case.title)}</text>'
        f'<text x="{left}" y="27">{min(ideal / took, 1.0):.0%} of the limit{groups}</text>'
        f'<rect x="{left}" y="{TOP}" width="{WIDE}" height="{HIGH}" class="f"/>'
        f'<polyline points="{allowed}" class="l"/><polyline points="{got}" class="d"/>'
        f'<text x="{left}" y="{TOP + HIGH + 12}">0 s</text>'
        f'<text x="{left + WIDE}" y="{TOP + HIGH + 12}" text-anchor="end">{longest:.0f} s</text>'
    )


def draw() -> str:
    """The whole picture."""
    panels = [
        panel(case, delivered_times(case.account, case.events, case.groups), GAP + number * (WIDE + GAP))
        for number, case in enumerate(CASES)
    ]
    width, height = GAP + len(CASES) * (WIDE + GAP), TOP + HIGH + 40
    style = (
        "text{font:11px sans-serif;fill:#57606a}.t{font-weight:bold;fill:#24292f}.f{fill:#f6f8fa;stroke:#d0d7de}"
        ".l{fill:none;stroke:#8c959f;stroke-width:1.5;stroke-dasharray:4 3}.d{fill:none;stroke:#0969da;stroke-width:2}"
    )
    key = (
        f'<text x="{GAP}" y="{height - 8}">events delivered over time: dashed what the limit allows, '
        "blue what the relay delivered (300 events at once, virtual time)</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/><style>{style}</style>{"".join(panels)}{key}</svg>\n'
    )


def main() -> int:
    FILE.write_text(draw())
    print(f"drawn: {FILE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
