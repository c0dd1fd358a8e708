"""What the bench prints: a figure for each row, the median of several runs, beside the goal it is held against."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a row's median."""

    bound: float
    least: bool

    @classmethod
    def at_least(cls, bound: float) -> Self:
        return cls(bound, least=True)

    @classmethod
    def at_most(cls, bound: float) -> Self:
        return cls(bound, least=False)

    def is_met_by(self, figure: float) -> bool:
        return figure >= self.bound if self.least else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `runs` has what each run came to, in `unit`; a ratio is of two things timed in the same run."""

    what: str
    runs: Sequence[float]
    unit: str = ""
    goal: Goal | None = None

    @property
    def figure(self) -> float:
        return median(self.runs)

    @property
    def is_met(self) -> bool:
        return self.goal is None or self.goal.is_met_by(self.figure)

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What, goal, figure, and from which run to which it went."""
        goal = f"{'≥' if self.goal.least else '≤'} {self._written(self.goal.bound)}" if self.goal else ""
        spread = f"{self._written(min(self.runs))} to {self._written(max(self.runs))}" if len(self.runs) > 1 else ""
        return self.what, goal, self._written(self.figure), spread

    def _written(self, number: float) -> str:
        # Three digits that count: more would be none that anybody measured.
        shown = f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
        return f"{shown} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Section:
    """What one part of the bench measured. `notes` say what a reader must know to believe the rows; `plots` are the
    pictures it drew.
    """

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    plots: Sequence[Path] = field(default=())


HEAD = ("what", "goal", "figure", "spread")


def printed(section: Section) -> Table:
    """The section for a terminal: a row that misses its goal is red."""
    made = Table(title=section.title, title_justify="left")
    for name in HEAD:
        made.add_column(name, justify="left" if name == "what" else "right")
    for row in section.rows:
        made.add_row(*map(escape, row.cells), style="" if row.is_met else "red")
    return made


def markdown(section: Section) -> str:
    """The section for a page: a row that misses its goal says so."""
    lines = [f"## {section.title}", "", f"| {' | '.join(HEAD)} |", "|---|---:|---:|---:|"]
    for row in section.rows:
        what, goal, figure, spread = row.cells
        lines.append(f"| {what} | {goal} | {figure if row.is_met else f'**{figure}, missed**'} | {spread} |")
    pictures = [f"\n![{section.title}]({Path('..', *plot.parts[-2:])})" for plot in section.plots]
    return "\n".join([*lines, *(f"\n{note}" for note in section.notes), *pictures])
