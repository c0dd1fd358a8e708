"""Arbitrary input to every handler: no crash, no loss, errors name fields."""

import json
from collections import Counter
from operator import itemgetter
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from relay.adapters.clock import SystemClock
from relay.contract.parsing import as_text
from relay.handlers.deliver import DeliverHandler, lane_message
from relay.handlers.direct import DirectHandler
from relay.handlers.envelope import open_record, unwrap, validate
from relay.handlers.intake import IntakeHandler
from relay.handlers.records import is_sns_call
from relay.intake.intake import Intake
from relay.observability import DeliverObserver, IntakeObserver
from relay.outcome import Outcome
from relay.providers import PROVIDERS
from tests.drawing import drawn
from tests.factories import DESTINATIONS, event_data, eventbridge, lane_record, sns, sqs_batch, sqs_record
from tests.fakes import FakeClock, FakeContext, FakeIntakeQueues
from tests.kinds import EVERYWHERE
from tests.unit.harness import Harness

CONTEXT = FakeContext()
COMMON = drawn(100, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

# Lone surrogates included: JSON can say them, UTF-8 cannot.
words = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(
    [
        *event_data(),
        "events",
        "Records",
        "detail",
        "detail-type",
        "TopicArn",
        "Message",
        "event",
        "destination",
        "email",
    ]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words | st.integers(2**62, 2**70)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)
almost_events = st.dictionaries(
    st.sampled_from([*event_data(), "customer", "properties", "destinations", "x"]), values
).map(lambda changes: {**event_data(), **changes})
customers = st.dictionaries(st.sampled_from(["email", "phone_number", "id", "provider_ids", "properties", "x"]), values)
events = almost_events | customers.map(lambda customer: event_data(customer=customer)) | st.just(event_data())
inputs = (
    values
    | events
    | events.map(eventbridge)
    | events.map(sns)
    | events.map(lambda event: sns(eventbridge(event)))
    | st.lists(events | values, max_size=3).map(lambda many: {"events": many})
    | st.lists(events.map(sns) | values, min_size=1, max_size=3).map(
        lambda many: {"Records": [{"EventSource": "aws:sns", "Sns": each} for each in many]}
    )
    | st.dictionaries(st.sampled_from(list(eventbridge({}))), values).map(
        lambda changes: {**eventbridge({}), **changes}
    )
    | st.dictionaries(st.sampled_from(list(sns(""))), values).map(lambda changes: {**sns("x"), **changes})
)
bodies = st.text(max_size=200) | inputs.map(json.dumps) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1"))


def intake_handler() -> tuple[IntakeHandler, FakeIntakeQueues]:
    queues = FakeIntakeQueues()
    return IntakeHandler(
        Intake(queues, FakeClock(), DESTINATIONS, unwrap, validate), IntakeObserver(), FakeClock()
    ), queues


def deliver_handler(harness: Harness) -> DeliverHandler:
    observer = DeliverObserver(harness.provider)
    return DeliverHandler(
        harness.lane,
        DirectHandler(harness.provider, EVERYWHERE, harness.services, harness.account, observer),
        observer,
        SystemClock(),
    )


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "CRITICAL")


def named(errors: list[dict[str, str]]) -> bool:
    return bool(errors) and all(error["field"] and error["message"] for error in errors)


@COMMON
@given(st.lists(bodies, min_size=1, max_size=6))
def test_any_batch_to_intake(given_bodies: list[str]) -> None:
    """Each record is on its lanes or kept with a reason; nothing is reported, nothing lost, nothing doubled."""
    handler, queues = intake_handler()
    assert handler.handle(sqs_batch(*map(sqs_record, given_bodies)), CONTEXT) == {"batchItemFailures": []}
    accepted = {entry.correlation_id for entry in queues.entries}
    assert len(accepted) + len(queues.rejects) == len(given_bodies)
    assert all(kept.body in map(as_text, given_bodies) and ": " in kept.reason for kept in queues.rejects)
    for entry in queues.entries:
        entry.body.encode()
        open_record(entry.body)


@COMMON
@given(st.lists(bodies, min_size=1, max_size=6), st.sets(st.integers(0, 5)))
def test_any_batch_to_intake_while_queues_fail(given_bodies: list[str], failing: set[int]) -> None:
    """What our queues would not take is reported: accepted, kept or reported, each record once."""
    handler, queues = intake_handler()
    calls = iter(range(1_000))
    queues.fails_for = lambda body: next(calls) % 6 in failing
    records = [sqs_record(body) for body in given_bodies]
    answer = handler.handle(sqs_batch(*records), CONTEXT)
    reported = [entry["itemIdentifier"] for entry in answer["batchItemFailures"]]
    assert len(set(reported)) == len(reported)
    assert set(reported) <= {record["messageId"] for record in records}
    accepted = Counter(entry.correlation_id for entry in queues.entries if entry.correlation_id not in reported)
    assert set(accepted.values()) <= {len(DESTINATIONS)}
    assert len(accepted) + len(queues.rejects) + len(reported) == len(records)


@COMMON
@given(inputs)
def test_anything_else_to_intake(given_input: Any) -> None:
    """A direct call, EventBridge's or SNS's is accepted, or comes back with errors that name fields; and is kept."""
    handler, queues = intake_handler()
    answer = handler.handle(given_input, CONTEXT)
    json.dumps(answer).encode()
    if "batchItemFailures" in answer:
        return
    assert len(answer["accepted"]) + len(answer["rejected"]) == records_in(given_input)
    assert all(named(entry["errors"]) and entry["kept"] for entry in answer["rejected"])
    assert len(queues.rejects) == len(answer["rejected"])
    for kept in queues.rejects:
        kept.body.encode()
    assert bool(queues.entries) == bool(answer["accepted"])


def records_in(call: Any) -> int:
    if isinstance(call, dict) and isinstance(call.get("events"), list) and len(call) == 1:
        return len(call["events"])
    return len(call["Records"]) if is_sns_call(call) else 1


@COMMON
@given(events.map(eventbridge))
def test_any_detail_from_eventbridge(envelope: dict[str, Any]) -> None:
    """Nobody hears the answer: what is not accepted is kept."""
    handler, queues = intake_handler()
    answer = handler.handle(envelope, CONTEXT)
    assert len(queues.rejects) == len(answer["rejected"])
    assert bool(queues.entries) != bool(queues.rejects)


@pytest.mark.parametrize("provider", PROVIDERS)
@drawn(40, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(bodies | events.map(json.dumps), min_size=1, max_size=6))
def test_any_batch_on_a_lane(provider: str, given_bodies: list[str]) -> None:
    """Each message comes to its end, a dead letter with its body and reason included, or is reported."""
    harness = Harness(provider, deaf=True)
    records = [lane_record(body) for body in given_bodies]
    report = harness.handle([lane_message(SQSRecord(record)) for record in records])
    final = [result for result in report.results if result.final]
    assert len(final) + len(report.failed) == len(records)
    assert report.failed == [each for each in map(itemgetter("messageId"), records) if each in set(report.failed)]
    rejected = [result for result in final if result.outcome is Outcome.REJECTED]
    assert len(harness.queue.letters) == len(rejected)
    assert len({letter.deduplication_id for letter in harness.queue.letters}) == len(rejected)
    assert all(letter.reason and letter.body in given_bodies for letter in harness.queue.letters)


@COMMON
@given(inputs, inputs, st.booleans() | values)
def test_anything_in_a_direct_call_of_deliver(given_event: Any, anything: Any, dry_run: Any) -> None:
    """A direct call of deliver is carried out or answered with errors that name fields."""
    harness = Harness(deaf=True)
    handler = deliver_handler(harness)
    for call in ({"destination": DESTINATIONS[0], "event": given_event, "dry_run": dry_run}, anything):
        answer = handler.handle(call, CONTEXT)
        json.dumps(answer).encode()
        if "batchItemFailures" not in answer and "dry_run" not in answer:
            assert answer["outcome"] in {"delivered", "duplicate", "rejected", "throttled"}
            assert answer["outcome"] != "rejected" or named(answer.get("errors", [{"field": "-", "message": "-"}]))
