"""Records of any kind on every way in, with somebody's address and number in any place of them: each gets its verdict,
its line in the log, and no line, reason or answer says whose it was.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from relay.outcome import Outcome
from relay.providers import PROVIDERS
from tests.conftest import forget
from tests.drawing import drawn
from tests.factories import (
    DESTINATIONS,
    TOKEN,
    event_data,
    eventbridge,
    lane_record,
    sns,
    sqs_batch,
    sqs_record,
)
from tests.fakes import FakeContext
from tests.unit.harness import Harness
from tests.unit.test_handlers_properties import bodies as any_bodies
from tests.unit.test_handlers_properties import deliver_handler, intake_handler, named, values, words

PLANTED = ("ada.planted@customers.example", "+15557654321")
SIGNS = ("ada.planted", "planted@", "customers.example", "5557654321")
"""None of these may be seen."""
COMMON = drawn(30, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

planted = st.sampled_from(
    [
        *PLANTED,
        " ".join(PLANTED),
        f"<{PLANTED[0]}>",
        f"mailto:{PLANTED[0]}",
        PLANTED[0].upper(),
        PLANTED[0].replace("@", "%40"),
        "tel:" + PLANTED[1],
        f"x{PLANTED[1]}",
        f"{PLANTED[0]}\n{PLANTED[1]}",
        "\ufeff" + PLANTED[0],
        300 * "a" + " " + PLANTED[0],
    ]
)
telling = st.recursive(
    planted | words | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(planted | words, inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*event_data(), "expires_at", "value", "currency", "destinations"]) | planted
events = st.builds(lambda changes: {**event_data(), **changes}, st.dictionaries(fields, telling, max_size=3))
customers = st.dictionaries(
    st.sampled_from(["email", "phone_number", "id", "provider_ids", "properties"]) | planted, telling, max_size=3
)
misplaced = st.builds(
    lambda field, text: {**event_data(), field: text},
    st.sampled_from(["id", "type", "source", "occurred_at", "currency", "unknown", *PLANTED]),
    planted,
)
"""One thing is wrong, and it tells of somebody."""
telling_events = (
    misplaced
    | events
    | customers.map(lambda customer: event_data(customer=customer, destinations=[PLANTED[0]]))
    | st.just(event_data(customer={"email": PLANTED[0], "phone_number": PLANTED[1]}))
    | telling
)
envelopes = (
    telling_events
    | telling_events.map(eventbridge)
    | telling_events.map(sns)
    | telling_events.map(lambda event: sns(eventbridge(event)))
    | st.builds(
        lambda changes, detail: {**eventbridge(detail), **changes},
        st.dictionaries(st.sampled_from(list(eventbridge({}))) | planted, telling, max_size=2),
        telling_events,
    )
    | st.builds(
        lambda changes, detail: {**sns(detail), **changes},
        st.dictionaries(st.sampled_from(list(sns(""))) | planted, telling, max_size=2),
        telling_events,
    )
)


@st.composite
def cut(draw: st.DrawFn) -> str:
    """The beginning of a record, or one in which something stands that nobody wrote there."""
    text = json.dumps(draw(envelopes), ensure_ascii=draw(st.booleans()))
    place = draw(st.integers(0, len(text)))
    more = draw(st.sampled_from(["", "\x00", "NaN", "[" * 2_000, "}", "\\", "\ud800", '"', '{"id": 1, "id": 2}']))
    return text[:place] + more + (text[place:] if draw(st.booleans()) else "")


telling_bodies = envelopes.map(json.dumps) | cut() | any_bodies | planted

ODD_MOMENTS = [
    "",
    "-",
    "nan",
    "inf",
    "-1.000",
    "0.000",
    "9999999999.999",
    "1e9",
    "1795341600",
    "\u0663.\u0660\u0660\u0660",
    "1_0.000",
]
texts = planted | words | st.sampled_from([*ODD_MOMENTS, "a" * 64, "A" * 64, "x" * 5_000])
attributes = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["accepted_at", "content_hash", "correlation_id", "event_id", "reason"], texts)
)
"""What a producer of another system, or of a redrive, may write beside a body."""


@contextmanager
def written() -> Iterator[StringIO]:
    """What the functions write inside, as after a cold start."""
    forget()
    with redirect_stdout(StringIO()) as out:
        yield out


def lines(out: StringIO) -> list[dict[str, Any]]:
    """The log's records, without those of metrics."""
    found = map(json.loads, out.getvalue().rstrip("\n").split("\n")) if out.getvalue() else []
    return [line for line in found if "_aws" not in line]


def tells_nothing(*texts: Any) -> bool:
    """Whether nobody who reads it learns of whom it speaks."""
    text = json.dumps(texts, ensure_ascii=False, default=str).lower()
    return not any(sign in text for sign in (*SIGNS, TOKEN))


@COMMON
@given(st.lists(st.tuples(telling_bodies, attributes), min_size=1, max_size=5), st.sets(st.integers(0, 5)))
def test_any_record_to_intake_is_told_of_once(given_records: list[tuple[str, Any]], failing: set[int]) -> None:
    """GIVEN any bodies and attributes, and queues that fail now and then THEN a line for each; and it tells nothing."""
    with written() as out:
        handler, queues = intake_handler()
        calls = iter(range(1_000))
        queues.fails_for = lambda body: next(calls) % 6 in failing
        records = [sqs_record(body, **more) for body, more in given_records]
        answer = handler.handle(sqs_batch(*records), FakeContext())
    ids = [record["messageId"] for record in records]
    reported = [entry["itemIdentifier"] for entry in answer["batchItemFailures"]]
    told = lines(out)
    assert sorted(line["correlation_id"] for line in told) == sorted(ids)
    assert [line["correlation_id"] for line in told if line["message"] == "not accepted"] == reported
    assert all(line["age"] >= 0 for line in told)
    assert tells_nothing(told, out.getvalue(), [(kept.reason, kept.event_id) for kept in queues.rejects])


@COMMON
@given(envelopes | st.lists(telling_events, max_size=4).map(lambda many: {"events": many}) | telling)
def test_any_call_of_intake_tells_nothing(given_call: Any) -> None:
    """GIVEN anything in a direct call THEN the log says nothing of whom; the answer names fields to him who called."""
    with written() as out:
        handler, queues = intake_handler()
        answer = handler.handle(given_call, FakeContext())
    assert "batchItemFailures" in answer or all(named(each["errors"]) for each in answer["rejected"])
    assert tells_nothing(lines(out), [(kept.reason, kept.event_id) for kept in queues.rejects])
    assert tells_nothing([each["errors"] for each in answer.get("rejected", ())])


groups = st.sampled_from(["main", "main#1", "main#", "other", ""]) | planted | words.filter(str.isprintable)


@pytest.mark.parametrize("provider", PROVIDERS)
@COMMON
@given(st.lists(st.tuples(telling_bodies, attributes, groups, st.integers(1, 1_000)), min_size=1, max_size=5))
def test_any_message_of_a_lane_is_told_of(provider: str, given_records: list[tuple[str, Any, str, int]]) -> None:
    """GIVEN any bodies, attributes and groups, as other systems may write them THEN each ends or is reported, with a
    line in the log; and no line and no letter tells of whom.
    """
    with written() as out:
        harness = Harness(provider, deaf=True)
        records = [
            lane_record(body, account=group, receive_count=receives, **{name: more[name] for name in more})
            for body, more, group, receives in given_records
        ]
        answer = deliver_handler(harness).handle(sqs_batch(*records), FakeContext())
    reported = [entry["itemIdentifier"] for entry in answer["batchItemFailures"]]
    assert Counter(reported) <= Counter(record["messageId"] for record in records)
    told = [line for line in lines(out) if "outcome" in line]
    assert {line["outcome"] for line in told} <= {str(outcome) for outcome in Outcome}
    assert len(reported) + sum(line["final"] for line in told) == len(records)
    letters = [
        (each.reason, each.destination, each.event_id, each.correlation_id, each.content_hash)
        for each in harness.queue.letters
    ]
    assert tells_nothing(out.getvalue(), letters)


@COMMON
@given(telling_events, st.sampled_from([*DESTINATIONS, *PLANTED]) | telling, st.booleans() | telling, telling)
def test_any_call_of_deliver_tells_nothing(given_event: Any, destination: Any, dry_run: Any, given_hash: Any) -> None:
    """GIVEN anything in a direct call of deliver THEN the log tells nothing, nor does what the answer says of it."""
    with written() as out:
        call = {"destination": destination, "event": given_event, "dry_run": dry_run, "content_hash": given_hash}
        if not given_hash:
            del call["content_hash"]
        answer = deliver_handler(Harness(deaf=True)).handle(call, FakeContext())
    if "batchItemFailures" not in answer:
        assert answer.get("dry_run") or answer["outcome"] in {"delivered", "rejected", "throttled", "unauthorized"}
        assert tells_nothing(answer.get("errors"), answer.get("reason"), answer.get("detail"))
    assert tells_nothing(out.getvalue())
    assert TOKEN not in json.dumps(answer)
