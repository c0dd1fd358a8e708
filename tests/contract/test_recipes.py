"""Every file of `events/connect/` is sound by itself, and `docs/connect.md` names it."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.machine import ROOT
from relay.contract.event import Event
from relay.handlers.envelope import open_record
from tests.filling import at_path, filled_in
from tests.template.stack import Stack
from tools.template import load

FOLDER = ROOT / "events" / "connect"
TEMPLATES = sorted(FOLDER.glob("*.yaml"))
PAGE = (ROOT / "docs" / "connect.md").read_text()

THEIRS = json.loads((FOLDER / "order-placed.json").read_text()) | {
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "time": "2026-11-28T10:00:01Z",
}
"""The shop's event as EventBridge hands it over."""


def targets(template: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every rule that makes an event of ours, and its transformer."""
    for resource in template["Resources"].values():
        for goal in resource["Properties"].get("Targets", []):
            if "InputTransformer" in goal:
                yield resource["Properties"], goal["InputTransformer"]


RULES = [(path.name, *found) for path in TEMPLATES for found in targets(load(path))]


@pytest.mark.long
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_one_that_cloudformation_takes(path: Path) -> None:
    """As far as cfn-lint knows, which is also what it says of the relay's own."""
    # Two seconds that whoever only collects the tests has no use for.
    from cfnlint.api import ManualArgs, lint_file  # type: ignore[import-untyped]  # noqa: PLC0415

    assert [str(found) for found in lint_file(path, config=ManualArgs(regions=["us-east-1"]))] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_asks_for_outputs_of_the_relay_by_their_names(path: Path) -> None:
    """What is called as an output is one, and says so; every parameter says what it is."""
    outputs = Stack.load().outputs
    template = load(path)
    assert template["Description"]
    for name, parameter in template["Parameters"].items():
        if "the relay's stack" in parameter["Description"]:
            named = re.findall(r"\b([A-Z]\w+Arn)\b", parameter["Description"])
            assert named
            assert set(named) <= set(outputs)
            assert name in (*named, "IntakeArn")
        else:
            assert name not in outputs


@pytest.mark.parametrize(("name", "rule", "transformer"), RULES, ids=[name for name, _, _ in RULES])
def test_a_rule_s_template_makes_a_valid_event(name: str, rule: Any, transformer: Any) -> None:
    """Of the shop's sample, by AWS's rules."""
    paths = transformer["InputPathsMap"]
    event = open_record(filled_in(transformer["InputTemplate"], lambda variable: at_path(THEIRS, paths[variable])))
    assert isinstance(event, Event)
    assert (event.id, event.occurred_at and event.occurred_at.isoformat()) == (
        THEIRS["id"],
        "2026-11-28T10:00:01+00:00",
    )
    assert event.customer.email == "customer@example.com"
    assert event.properties["order_id"] == "100451"


@pytest.mark.parametrize(("name", "rule", "transformer"), RULES, ids=[name for name, _, _ in RULES])
def test_a_rule_asks_for_all_that_its_template_takes(name: str, rule: Any, transformer: Any) -> None:
    """EventBridge leaves a hole where a path leads nowhere, so such an event must not match."""
    assert len(transformer["InputTemplate"]) <= 8192
    used = set(re.findall(r"<([^<>]+)>", transformer["InputTemplate"]))
    assert used == set(transformer["InputPathsMap"])
    for path in transformer["InputPathsMap"].values():
        if path not in ("$.id", "$.time"):
            assert at_path(rule["EventPattern"], path) == [{"exists": True}], path


def test_every_recipe_is_on_the_page_and_every_file_of_the_page_is_there() -> None:
    named = set(re.findall(r"\(\.\./events/connect/([\w.-]+)\)", PAGE))
    assert named == {path.name for path in FOLDER.iterdir() if path.is_file()}


def test_the_script_s_event_is_valid() -> None:
    tree = ast.parse((FOLDER / "put_events.py").read_text())
    [given] = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "EVENT"]  # type: ignore[attr-defined]
    assert open_record(ast.literal_eval(given)).type == "order_placed"


def test_the_commands_of_the_page_send_valid_events() -> None:
    """One each way, and all the same."""
    [entries] = re.findall(r"--entries '(.+?)'", PAGE, re.DOTALL)
    sent = [entry["Detail"] for entry in json.loads(entries)]
    sent += re.findall(r"--(?:message-body|payload) \\\n +'(.+?)'", PAGE)
    assert len(sent) == 3
    assert len({open_record(text).to_json() for text in sent}) == 1
