"""An event near the largest size: one verdict however it comes, and what intake accepted no lane refuses."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from relay.contract.event import MAX_EVENT_BYTES, Event
from relay.handlers.envelope import open_record, unwrap, validate
from relay.intake.intake import Accepted, Incoming, Intake
from tests.drawing import drawn
from tests.factories import DESTINATIONS, EMAIL, PHONE, event_data, eventbridge, lane_message, sns
from tests.fakes import FakeClock, FakeIntakeQueues
from tests.kinds import OVERWRITES, REPEATS
from tests.unit.harness import Harness

moments = st.sampled_from(
    ["2026-11-22T10:00Z", "2026-11-22T10:00:00.25+00:00", "2026-11-22T10:00:00-05:30", "2026-11-22T10:00:00.000001Z"]
)
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\ufffe\uffff"\\/é🎈\x00\x7f'), max_size=20)
values = st.none() | st.booleans() | texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, width=64)
keys = texts.filter(lambda key: key and not any(map(str.isspace, key)) and key != "filler")
finite = values.filter(lambda value: value not in (float("inf"), float("-inf")))
properties = st.dictionaries(keys, finite, max_size=4)
customers = st.fixed_dictionaries(
    {"email": st.just(EMAIL)},
    optional={"phone_number": st.just(PHONE) | st.none(), "properties": properties, "id": texts.filter(bool)},
)
changes = st.fixed_dictionaries(
    {"customer": customers, "properties": properties},
    optional={
        "occurred_at": moments | st.just(...),
        "expires_at": moments,
        "value": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1) | st.none(),
        "currency": st.just("USD"),
        "destinations": st.lists(st.sampled_from(DESTINATIONS), min_size=1, max_size=40),
    },
)


def filled_to(size: int, data: dict[str, Any]) -> dict[str, Any]:
    """The event with one more property that makes it `size` bytes large."""
    with_filler = {**data, "properties": {**data["properties"], "filler": "x"}}
    missing = size - Event.model_validate(with_filler).size
    with_filler["properties"]["filler"] += "x" * missing
    return with_filler


@drawn(50, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(changes, st.integers(-100, 2))
def test_what_intake_accepts_the_lane_takes(given_changes: dict[str, Any], beyond: int) -> None:
    """Whoever dates the event, however it came and wherever it goes: the same event, and no byte too large."""
    data = filled_to(MAX_EVENT_BYTES + beyond, event_data(**given_changes))
    envelope = eventbridge(data)
    for record in (data, json.dumps(data), f" {json.dumps(data, indent=2)}", envelope, json.dumps(sns(envelope))):
        queues = FakeIntakeQueues()
        (verdict,) = Intake(queues, FakeClock(), DESTINATIONS, unwrap, validate).accept([Incoming(record)])
        assert isinstance(verdict, Accepted) == (beyond <= 0)
        for entry in queues.entries:
            event = open_record(entry.body)
            said = event.model_copy(update={"occurred_at": open_record(record).occurred_at})
            assert said.content_hash == entry.content_hash
            assert event.size == MAX_EVENT_BYTES + beyond


@pytest.mark.parametrize("provider", [OVERWRITES, REPEATS])
def test_the_largest_event_is_tried(provider: str) -> None:
    """GIVEN an event without a moment, as large as may be WHEN it comes to its lane THEN its size is no reason."""
    queues, data = FakeIntakeQueues(), filled_to(MAX_EVENT_BYTES, event_data(occurred_at=..., properties={"name": "x"}))
    Intake(queues, FakeClock(), [f"{provider}/main"]).accept([Incoming(data)])
    harness = Harness(provider)
    (result,) = harness.handle([lane_message(body=queues.entries[0].body)]).results
    assert "at most 262144" not in result.reason
    assert harness.sent == (["x"] if provider == OVERWRITES else [])
