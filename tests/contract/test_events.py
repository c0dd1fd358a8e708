"""Every file of ``events/`` is what its name says, and the demo knows it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel, SqsModel
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from local.demo.plan import CASES
from local.invoke import function_for
from local.machine import ROOT
from local.stack import STAGE
from relay.contract.foreign import read
from relay.contract.parsing import parse_json
from relay.errors import InvalidEventError
from relay.handlers.direct import DirectDelivery
from relay.handlers.envelope import open_record, unwrap
from relay.handlers.records import content_of
from relay.intake.routing import route
from relay.providers import PROVIDERS
from tests.kinds import EVERYWHERE

FILES = sorted((ROOT / "events").glob("*.json"))
OUTPUTS = {f"{name.capitalize()}FunctionName": name for name in ("intake", *PROVIDERS)}


def records(path: Path) -> Iterator[Any]:
    """Each record of the file as its handler hands it on, after AWS's own model has taken the file."""
    content = json.loads(path.read_text())
    match path.stem.partition("-")[0]:
        case "sqs":
            SqsModel.model_validate(content)
            yield from map(content_of, content["Records"])
        case "eventbridge":
            EventBridgeModel.model_validate(content)
            yield content
        case "deliver":
            yield DirectDelivery.model_validate(content).event
        case "direct":
            yield from content.get("events", [content])
        case other:
            pytest.fail(f"{path.name}: nothing takes {other}")


def errors(record: Any) -> int:
    """How many errors the relay finds in a record."""
    try:
        route(open_record(record), EVERYWHERE, 0.0)
    except InvalidEventError as error:
        return len(error.errors)
    return 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_valid_unless_it_says_otherwise(path: Path) -> None:
    """GIVEN a file WHEN AWS's model and the event's model read it THEN only files named so hold a bad event."""
    bad = [record for record in records(path) if errors(record)]
    assert bool(bad) == ("-bad-" in path.stem or path.stem == "direct-many-events")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_goes_to_the_function_it_is_for(path: Path) -> None:
    """GIVEN a file WHEN it is invoked THEN deliver gets what names a destination, intake all else."""
    expected = path.stem.split("-")[1] if path.stem.startswith("deliver-") else "intake"
    assert function_for(json.loads(path.read_text()), OUTPUTS) == expected


def test_the_demo_plans_for_every_event_of_every_file() -> None:
    """GIVEN the demo's plan WHEN compared with the files THEN it has every event at every destination, and no other."""
    planned = {(case.file, case.event_id, case.destination) for case in CASES}
    found = set()
    for path in FILES:
        if path.stem.endswith("-dry-run"):
            continue
        for record in records(path):
            found |= {(path.stem, *fate) for fate in fates(path, record)}
    assert planned == found


def fates(path: Path, record: Any) -> list[tuple[str, str]]:
    """Event ID and destination of each end that the record must come to."""
    if path.stem.startswith("deliver-"):
        return [(record["id"], json.loads(path.read_text())["destination"])]
    try:
        event = open_record(record)
        entries = route(event, EVERYWHERE, 0.0)
    except InvalidEventError as error:
        return [(error.event_id or "", "")]
    return [(event.id, str(entry.destination)) for entry in entries]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_published_schema_takes_what_the_relay_takes(path: Path) -> None:
    """GIVEN an event that the relay accepts WHEN checked with docs/event.schema.json THEN that accepts it too."""
    published = Draft202012Validator(json.loads((ROOT / "docs" / "event.schema.json").read_text()))
    for record in records(path):
        if not errors(record):
            event: Any = unwrap(parse_json(record) if isinstance(record, str) else record).content
            # What others send has a form of its own; what is made of it has ours.
            ours = json.loads(open_record(record).to_json()) if read(event) else event
            assert not list(published.iter_errors(ours))


def test_nobody_real_is_in_the_files() -> None:
    """GIVEN the files WHEN searched for addresses THEN all are of the domain and the numbers kept for examples."""
    for path in FILES:
        text = path.read_text()
        assert text.count("@") == text.count("@example.com")
        assert text.count("+1") == text.count("+1555")


def test_the_local_stage_is_the_one_the_secrets_are_for() -> None:
    """GIVEN the fixed names WHEN the stack is local THEN so is the stage."""
    assert STAGE == "local"
