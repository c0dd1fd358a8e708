"""The bench's frame: a goal that is missed is seen on the terminal, on the page and in the exit code."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import bench.__main__ as bench
from bench import growth
from bench.table import Goal, Row, Section, markdown

MET = Row("quick", [0.9, 1.3, 1.1], "×", Goal.at_most(1.2))
MISSED = Row("slow", [0.9, 1.3, 1.1], "×", Goal.at_least(1.2))
SHOWN = Row("so many", [12_345.6])


@pytest.mark.parametrize(("goal", "met"), [(Goal.at_most(2), [1, 2]), (Goal.at_least(2), [2, 3])])
def test_a_bound_itself_is_met(goal: Goal, met: list[float]) -> None:
    """GIVEN a goal WHEN held against one, two and three THEN its bound is within it."""
    assert [figure for figure in (1, 2, 3) if goal.is_met_by(figure)] == met


def test_a_row_is_its_runs_median() -> None:
    """GIVEN three runs WHEN a row is made of them THEN it shows the middle one, beside goal and spread."""
    assert MET.cells == ("quick", "≤ 1.2 ×", "1.1 ×", "0.9 × to 1.3 ×")
    assert SHOWN.cells == ("so many", "", "12,346", "")


def test_the_page_says_what_is_missed() -> None:
    """GIVEN rows that meet their goal, miss it and have none WHEN written THEN only the missed one says so."""
    said = {line.split("|")[1].strip(): "missed" in line for line in markdown(_section()).splitlines() if "×" in line}
    assert said == {"quick": False, "slow": True}


@pytest.mark.parametrize(("rows", "code"), [([MET, SHOWN], 0), ([MET, MISSED, SHOWN], 1)])
def test_a_missed_goal_is_the_exit_code(
    rows: list[Row], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GIVEN a part's rows WHEN the bench has run THEN it exits with 1 for a missed one, and has written its page."""
    part = ModuleType("bench.made_up")
    part.measure = lambda _say: _section(rows)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench.made_up", part)
    monkeypatch.setattr(bench, "PARTS", ["made_up"])
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(sys, "argv", ["bench"])
    assert bench.main() == code
    assert ("missed: slow" in capsys.readouterr().out) == bool(code)
    assert "## Made up" in (tmp_path / "RESULTS.md").read_text()


def _section(rows: list[Row] | None = None) -> Section:
    return Section("Made up", [MET, MISSED, SHOWN] if rows is None else rows)


def test_the_event_that_grows_is_one_that_every_provider_of_the_bench_takes() -> None:
    """GIVEN few properties and none WHEN their cost is measured THEN each step has a figure for both."""
    measured = growth.properties([0, 2])
    assert measured
    assert all(costs.keys() == {0, 2} for costs in measured.values())
