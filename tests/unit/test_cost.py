"""What a body costs: so many steps and so much memory for each of its bytes, whatever it holds."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, target
from hypothesis import strategies as st

from relay.errors import InvalidEventError, UndeliverableError
from relay.handlers.envelope import open_record, unwrap, validate
from relay.intake.intake import Failed, Incoming, Intake, Rejected
from relay.providers import PROVIDERS
from tests.drawing import drawn
from tests.factories import CREDENTIALS, DESTINATIONS, EMAIL, event_data, event_json, eventbridge, sns
from tests.fakes import FakeClock, FakeIntakeQueues
from tests.steps import peak_bytes, steps

# The twenty errors that are named are masked, some thousand steps each.
STEPS, STEPS_A_BYTE = 200_000, 60
BYTES, BYTES_A_BYTE = 200_000, 80

pytestmark = pytest.mark.long

COMMON = drawn(
    100,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    # A body that costs too much would be tried again and again to find a smaller one.
    phases=[Phase.generate, Phase.target],
)

ENTRIES, ITEM, TEXT = '"ENTRIES": 1', '"ITEM"', "TEXT"
"""What stands in a body where the costly part goes: entries of an object, items of a list, characters of a text."""

OBJECTS = [
    "{" + ENTRIES + "}",
    event_json(ENTRIES=1),
    event_json(properties={"ENTRIES": 1}),
    event_json(customer={"email": EMAIL, "ENTRIES": 1}),
    event_json(customer={"email": EMAIL, "properties": {"ENTRIES": 1}}),
    event_json(customer={"provider_ids": {"ENTRIES": 1}}),
    json.dumps(sns(event_data(), MessageAttributes={"ENTRIES": 1})),
    json.dumps(eventbridge(event_data(), ENTRIES=1)),
]
LISTS = [
    "[" + ITEM + "]",
    event_json(destinations=["ITEM"]),
    json.dumps(eventbridge(event_data(), resources=["ITEM"])),
]
TEXTS = [
    *(event_json(**{field: TEXT}) for field in ("id", "source", "type", "occurred_at", "currency", "value", TEXT)),
    *(event_json(customer={field: TEXT}) for field in ("email", "phone_number", "id", TEXT)),
    event_json(properties={"a": TEXT}),
    event_json(properties={TEXT: 1}),
    event_json(properties={TEXT: []}),
    event_json(destinations=[TEXT]),
    json.dumps(sns(TEXT)),
    json.dumps(sns(event_data(), UnsubscribeURL=f"https://example.com/{TEXT}")),
    json.dumps(eventbridge(event_data(), **{"detail-type": TEXT})),
]
KEYS: list[Callable[[int], str]] = [
    lambda number: "a",
    lambda number: f"{number:x}",
    lambda number: f"{number // 2:x}",
    lambda number: f"{number % 50}",
    lambda number: f" {number:x}",
    lambda number: f"a{number}@b.co",
    lambda number: f"+1555{number:07}",
    lambda number: f"{number:x}" * 60,
]
VALUES = [
    *(
        "1",
        "null",
        "[]",
        "{}",
        '""',
        '"a"',
        "true",
        "1e999",
        "9" * 30,
        '"\\ud800"',
        '"nobody/main"',
        '"a/b"',
        '"a@b.co"',
    ),
    *('{"a":1,"a":1}', '{"":1,"":{}}', '[[{"a":1,"a":1}]]', "[" * 20 + "]" * 20, "[[],[],[],[],[],[],[]]"),
]
ODD = [*"a@ é🎈[]", "+1", "1 ", "a@", "&#", "%40", "\\n", '\\"', "\\\\", "\\u00e9", "\\ud800", "\\uffff"]


def in_eventbridge(body: str) -> str:
    return json.dumps(eventbridge("BODY")).replace('"BODY"', body)


ENVELOPES: list[Callable[[str], str]] = [
    lambda body: body,
    lambda body: json.dumps(sns(body)),
    in_eventbridge,
    lambda body: json.dumps(sns(in_eventbridge(body))),
    lambda body: "[" * 25 + body + "]" * 25,
    lambda body: '{"a":1,"a":' * 40 + body + "}" * 40,
]


class Body(str):
    """A body that a report of a failure shows the beginning of."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} characters: {self[:200]}>"


def up_to(size: int, item: Callable[[int], str]) -> str:
    """As many items as `size` characters have room for, with commas between them."""

    def fitting() -> Iterator[str]:
        left = size
        for number in count():
            left -= len(each := item(number)) + 1
            if left < 0:
                return
            yield each

    return ",".join(fitting())


sizes = st.sampled_from([0, 1_000, 20_000])
one = st.sampled_from
objects = st.builds(
    lambda body, key, value, size: body.replace(ENTRIES, up_to(size, lambda number: f'"{key(number)}":{value}')),
    *(one(OBJECTS), one(KEYS), one(VALUES), sizes),
)
lists = st.builds(
    lambda body, value, size: body.replace(ITEM, up_to(size, lambda number: value)), one(LISTS), one(VALUES), sizes
)
texts = st.builds(
    lambda body, odd, size: body.replace(TEXT, odd * (size // len(odd))),
    *(one(TEXTS), one(ODD) | st.text(one("a@+1 .-/&#;%40:_"), min_size=1, max_size=5), sizes),
)
chains = st.builds(
    lambda start, end, closed, size: start * (size // len(start)) + "1" + end * closed * (size // len(start)),
    *(one(["[", '{"a":', '{"a":1,"a":', "[{},", '["\\"",']), one(["]", "}"]), st.booleans(), sizes),
)
bodies = st.tuples(objects | lists | texts | chains, one(ENVELOPES)).map(lambda drawn: Body(drawn[1](drawn[0])))


def opened(body: str) -> None:
    with suppress(InvalidEventError):
        open_record(body)


def accepted_or_kept(body: str) -> None:
    intake = Intake(FakeIntakeQueues(), FakeClock(), DESTINATIONS, unwrap, validate)
    (verdict,) = intake.accept([Incoming(body)])
    assert not isinstance(verdict, Failed)
    assert not isinstance(verdict, Rejected) or (verdict.reason and len(str(verdict.errors)) < 25_000)


def built(body: str) -> None:
    with suppress(InvalidEventError):
        event = open_record(body)
        for provider in PROVIDERS.values():
            with suppress(UndeliverableError):
                provider("https://example.com").build(event, CREDENTIALS)


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """What is done once in a process is no body's cost."""
    for envelope in ENVELOPES:
        accepted_or_kept(envelope(event_json()))
        built(envelope(event_json()))


@pytest.mark.parametrize("work", [opened, accepted_or_kept, built])
@COMMON
@given(bodies)
def test_steps_grow_with_the_bytes_of_a_body(work: Callable[[str], None], body: str) -> None:
    """A key that stands often, nesting, many errors, odd characters: nothing costs more than its place in the body."""
    taken, length = steps(lambda: work(body)), len(body.encode("utf-8", "surrogatepass"))
    target((taken - STEPS) / (length + 1))
    assert taken <= STEPS + STEPS_A_BYTE * length


@COMMON
@given(bodies)
def test_memory_grows_with_the_bytes_of_a_body(body: str) -> None:
    """Ten bodies of half a megabyte fit a function of 512 MiB many times over."""
    held, length = peak_bytes(lambda: accepted_or_kept(body)), len(body.encode("utf-8", "surrogatepass"))
    target((held - BYTES) / (length + 1))
    assert held <= BYTES + BYTES_A_BYTE * length
