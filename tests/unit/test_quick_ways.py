"""What is quick for a good event comes to the same as what is thorough for any: compared on whatever is drawn."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.contract import parsing
from relay.contract.event import Customer, Event
from relay.contract.fields import field_errors
from relay.contract.parsing import parse_json
from relay.errors import InvalidEventError
from relay.masking import _IDENTIFIERS, _covered, mask_identifiers, printable
from tests.drawing import drawn
from tests.factories import DESTINATIONS, EMAIL, PHONE, make_event

COMMON = drawn(300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], derandomize=True)

IN_DNS = f"xn--{'ada\N{FULLWIDTH COMMERCIAL AT}example'.encode('punycode').decode()}.com"
"""An address whose @ no pattern sees before the label is decoded."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["\ufffe\uffff", '"', '""', "[]", '"destinations":[""]', "\x00", "\u2028"]
)
words = st.text("abcAB_09", min_size=1, max_size=6)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
maps = st.dictionaries(words, texts | numbers | st.booleans() | st.none(), max_size=4)
moments = st.sampled_from(["2026-11-22T10:00:00Z", "2026-11-22 10:00 +0100", "2026-11-22T10:00:00.5-03:30"])
customers = st.fixed_dictionaries(
    {"email": st.just(EMAIL)},
    optional={
        "phone_number": st.just(PHONE) | st.none(),
        "id": texts.filter(bool) | st.none(),
        "provider_ids": st.dictionaries(words, words, max_size=2),
        "properties": maps,
    },
)
good = st.fixed_dictionaries(
    {"id": texts.filter(bool), "source": words, "type": words, "customer": customers},
    optional={
        "occurred_at": moments | st.none(),
        "properties": maps,
        "value": numbers | st.none(),
        "currency": st.just("USD"),
        "destinations": st.lists(st.sampled_from(DESTINATIONS), min_size=1, max_size=3),
        "expires_at": moments,
        "backfill": st.booleans() | st.none(),
    },
)
anything: st.SearchStrategy[Any] = st.none() | texts | numbers | st.booleans() | st.just({}) | st.just([]) | maps
fields = st.sampled_from([*Event.model_fields, "colour", "customer.x"])
somebody = st.dictionaries(st.sampled_from([*Customer.model_fields, "colour"]), anything, max_size=3)
events = (
    good
    | st.builds(lambda data, changes: data | changes, good, st.dictionaries(fields, anything, max_size=3))
    | st.builds(lambda data, customer: data | {"customer": customer}, good, somebody)
)


def outcome(read: Callable[[], object]) -> object:
    """What came of it, as one can compare it: `1` is not `1.0` here, nor `true`."""
    try:
        return repr(read())
    except InvalidEventError as error:
        return error.errors
    except ValidationError as error:
        return field_errors(error)


@COMMON
@given(events)
def test_an_event_is_read_as_the_thorough_way_reads_it(data: dict[str, Any]) -> None:
    """GIVEN fields that are null, unknown or wrong, or none of these THEN the same event, or the same errors.

    A mapping that is no dict is always looked through field by field.
    """

    def thorough(data: Mapping[str, Any]) -> Mapping[str, Any]:
        return MappingProxyType(
            {key: MappingProxyType(value) if key == "customer" and value else value for key, value in data.items()}
        )

    assume(isinstance(data["customer"], dict))
    assert outcome(lambda: Event.model_validate(data)) == outcome(lambda: Event.model_validate(thorough(data)))


@COMMON
@given(good)
def test_an_event_is_written_as_its_model_is(data: dict[str, Any]) -> None:
    """The text of a lane, its size and the hash are those of `model_dump`: the ledger knows events by that hash."""
    event = make_event(**data)

    def text(event: Event, without: set[str] | None = None) -> str:
        written = event.model_dump_json(exclude=without, exclude_none=True, exclude_defaults=True)
        return written.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")

    assert event.to_json() == text(event)
    assert event.size == len(text(event, {"occurred_at", "destinations"}).encode())
    content = event.model_dump(mode="json", exclude={"destinations", "expires_at", "backfill"}, exclude_none=True)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert event.content_hash == hashlib.sha256(canonical.encode()).hexdigest()
    moment = datetime(2026, 11, 22, 10, tzinfo=UTC)
    copies = [event.model_copy(update={"occurred_at": moment, "destinations": [name]}) for name in DESTINATIONS]
    assert event.for_each(DESTINATIONS, moment) == list(map(text, copies))


def test_no_text_that_may_be_empty_stands_behind_the_destinations() -> None:
    """An event is written once for all its lanes, and its destinations put in where the last empty text stands."""
    assert list(Event.model_fields)[-3:] == ["destinations", "expires_at", "backfill"]


def test_a_hash_of_long_ago() -> None:
    """What the ledger holds of an event stays its hash, whatever becomes of the code."""
    event = make_event(properties={"tiny": 1e-7, "huge": 1e22, "letters": "é\u2028"}, expires_at="2026-12-01T00:00:00Z")
    assert event.content_hash == "4c294ffd36035ee8f56a2a8a1770540b2e9cde75210cdaa1bef64b2e880b8086"
    assert (
        make_event(properties=..., occurred_at=...).content_hash
        == "939d5b1b730523ab88cc357716c28d2936e6f803ff13468e3e3eb5662230fe7e"
    )


@COMMON
@given(
    st.builds(json.dumps, events, ensure_ascii=st.booleans())
    | st.text('{}[]":,ab1.e- \\\ufeff', max_size=30)
    | st.sampled_from(
        ['{"a":1,"a":2}', '[NaN, {"a":{"b":1,"b":1}}]', "\ufeff{}", '{"a":Infinity}', "", " ", "9" * 5000]
    )
)
def test_json_is_read_as_the_thorough_way_reads_it(text: str) -> None:
    """The same value, or the same errors: of keys that stand twice, of NaN, of what is no JSON."""
    assert outcome(lambda: parse_json(text)) == outcome(lambda: parsing._read_with_errors(text))


@COMMON
@given(st.text("abz09 _.:/-+@xXn%&;\\\n", max_size=24) | st.sampled_from([EMAIL, PHONE, IN_DNS, "a%40b.co"]))
def test_an_id_is_masked_as_the_thorough_way_masks_it(text: str) -> None:
    """What can hold no address and no number in any encoding is left as it is, and nothing else is."""
    assert mask_identifiers(text) == printable(_covered(text, (), _IDENTIFIERS, cut=False))
