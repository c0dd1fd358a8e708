"""docs/metrics.md names every metric that is written or looked at, its unit, its alarms and its dashboards."""

import json
import re
from typing import Any

import pytest

from relay.delivery.batch import BatchReport
from relay.errors import UnavailableError
from relay.intake.intake import Accepted, Failed, Rejected
from relay.observability import DeliverObserver, IntakeObserver
from relay.outcome import Outcome, Result
from relay.providers import PROVIDERS
from tests.template.stack import ROOT, Stack, measured

PAGE = (ROOT / "docs" / "metrics.md").read_text()
OURS, AWS = PAGE.split("## AWS's")

NONE = "\N{EN DASH}"

type Row = dict[str, str]


def rows(part: str) -> dict[str, Row]:
    """The rows of a part's tables by metric: each cell under its column's title."""
    found: dict[str, Row] = {}
    titles: list[str] = []
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if cells and cells[0] == "metric":
            titles = cells
        elif len(cells) == len(titles) and cells:
            name = " ".join(re.findall(r"`([\w/]+)`", cells[0]))
            assert name not in found
            found[name] = dict(zip(titles, cells, strict=True))
    return found


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    """Unit and dimension of every metric that the functions write."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "CustomerEventRelay/dev")
    intake = IntakeObserver()
    accepted = Accepted("a", (), skipped={"b/main": "why"})
    for verdict in (accepted, Rejected("b", ()), Failed("c", UnavailableError("SQS"))):
        intake.saw(verdict, "corr-1")
    intake.flush()
    results = [Result(outcome, "why", wait=300.0, internal=True) for outcome in Outcome]
    DeliverObserver(next(iter(PROVIDERS))).saw(BatchReport([], results, {}, pace_used=1.0))
    found = {}
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            ((dimension,),) = directive["Dimensions"]
            for metric in directive["Metrics"]:
                found[metric["Name"]] = (metric["Unit"], dimension)
    return found


def test_every_metric_that_is_written_has_its_row(written: dict[str, tuple[str, str]]) -> None:
    """By its dimension, in its unit; and no row is about one that nobody writes."""
    source = (ROOT / "layers/relay/relay/observability.py").read_text()
    assert set(re.findall(r'add_metric\(\s*"(\w+)"', source)) <= set(written)
    parts = dict(re.findall(r"By the dimension `(\w+)`(.+?)(?=By the dimension|\Z)", OURS, re.DOTALL))
    documented = {
        name: (row["unit"], dimension) for dimension, part in parts.items() for name, row in rows(part).items()
    }
    assert documented == written


def test_every_metric_that_is_looked_at_has_its_row(stack: Stack) -> None:
    """Ours and AWS's: each that an alarm or a dashboard asks for, and no other of AWS's."""
    asked = {name for names in (watched(stack), *shown(stack).values()) for name in names}
    assert {name for name in asked if name.startswith("AWS/")} == set(rows(AWS))
    assert {name for name in asked if not name.startswith("AWS/")} <= set(rows(OURS))


def test_a_row_names_the_alarms_and_dashboards_of_its_metric(stack: Stack) -> None:
    """All of them, as the template has them."""
    alarms, boards = watched(stack), shown(stack)
    for name, row in {**rows(OURS), **rows(AWS)}.items():
        assert set(re.findall(r"`(…[\w<>-]+)`", row["alarms"])) == alarms.get(name, set()), name
        wanted = [board for board in ("main", "provider") if name in boards[board]]
        assert row["shown by"] == (", ".join(wanted) or NONE), name
        assert row["healthy"], name


def test_a_row_of_aws_names_its_dimensions(stack: Stack) -> None:
    """Those by which the alarms ask for it."""
    for alarm in stack.alarms.values():
        for metric in measured(alarm):
            if isinstance(metric["Namespace"], str):
                row = rows(AWS)[f"{metric['Namespace']} {metric['MetricName']}"]
                assert row["by"] == ", ".join(f"`{one['Name']}`" for one in metric["Dimensions"])


def watched(stack: Stack) -> dict[str, set[str]]:
    """The alarms of each metric, as the runbook calls them."""
    found: dict[str, set[str]] = {}
    for alarm in stack.alarms.values():
        called = alarm["AlarmName"]["Fn::Sub"].replace("${Stage}-customer-events", "…")
        called = re.sub(rf"^…-({'|'.join(PROVIDERS)})-", "…-<provider>-", called)
        for metric in measured(alarm):
            found.setdefault(_named(metric["Namespace"], metric["MetricName"]), set()).add(called)
    return found


def shown(stack: Stack) -> dict[str, set[str]]:
    """The metrics of the main dashboard, and of a provider's."""
    found: dict[str, set[str]] = {}
    for name, board in stack.of("AWS::CloudWatch::Dashboard").items():
        given = board["DashboardBody"]["Fn::Sub"]
        text = given if isinstance(given, str) else given[0]
        metrics = set(re.findall(r'MetricName=\\"(\w+)\\"', text))
        for widget in json.loads(re.sub(r"(?<=: )\$\{\w+\}", "0", text))["widgets"]:
            metrics |= set(_of_widget(widget["properties"]["metrics"]))
        found.setdefault("main" if name == "Dashboard" else "provider", set()).update(metrics)
    return found


def _of_widget(entries: list[list[Any]]) -> list[str]:
    """The metrics of a widget, its shorthands written out: "." repeats what stands above, "..." all of it."""
    found, above = [], ["", ""]
    for entry in entries:
        if isinstance(entry[0], str) and entry[0] != "...":
            above = [old if new == "." else new for new, old in zip(entry[:2], above, strict=True)]
            found.append(_named(*above))
    return found


def _named(namespace: Any, metric: str) -> str:
    return f"{namespace} {metric}" if str(namespace).startswith("AWS/") else metric
