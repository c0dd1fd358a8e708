"""The setting `mapping`: which events go to a destination, and what they are there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.contract.event import Event, parse_event
from relay.providers import PROVIDERS
from relay.providers.mapping import EventMapping
from tests.drawing import drawn
from tests.factories import CREDENTIALS, EMAIL, PHONE, TOKEN, make_event

CONSENT = "customer.properties.marketing_consent"


def mapping(**given: Any) -> EventMapping:
    return EventMapping.model_validate(given)


def wrong(**given: Any) -> dict[str, str]:
    """Each path, and what is said of it."""
    with pytest.raises(ValidationError) as caught:
        mapping(**given)
    return {".".join(map(str, each["loc"])): each["msg"] for each in caught.value.errors()}


def of(**properties: Any) -> dict[str, Any]:
    """A customer with these properties."""
    return {"email": EMAIL, "properties": properties}


# ------------------------------------------------------------------------------------------------------ what goes there


@pytest.mark.parametrize(
    ("types", "name", "goes"),
    [
        (["order_shipped"], "order_shipped", True),
        (["order_shipped"], "order_shipped_2", False),
        (["order_*"], "order_shipped", True),
        (["order_*"], "order_", True),
        (["order_*"], "reorder_shipped", False),
        (["*_shipped", "x"], "order_shipped", True),
        (["*_shipped", "x"], "x", True),
        (["Order*"], "order_shipped", False),
        (["*"], "anything", True),
        (None, "anything", True),
    ],
)
def test_types(types: list[str] | None, name: str, goes: bool) -> None:
    """By name, or by pattern as a whole; without any, all."""
    skipped = mapping(types=types).skips(make_event(type=name))
    assert skipped == ("" if goes else f"mapping.types does not have {name}")


@pytest.mark.parametrize(
    ("consent", "goes"), [(True, True), (False, False), ("true", False), (1, False), ("yes", False), (None, False)]
)
def test_a_required_consent(consent: object, goes: bool) -> None:
    """Only what is true is a consent: not a text, not a number, and not its absence."""
    skipped = mapping(require=CONSENT).skips(make_event(customer=of(marketing_consent=consent)))
    assert skipped == ("" if goes else "mapping.require is not true")


@pytest.mark.parametrize(
    ("require", "goes"),
    [
        (f"{CONSENT} == 'yes'", True),
        (f"{CONSENT} == 'no' || properties.total > `5`", True),
        ("contains(keys(properties), 'gift')", False),
        ("source == 'shop' && !(properties.gift)", True),
        ("properties.total", False),
        ("length(properties.total) > `1`", False),
    ],
)
def test_what_is_required_may_be_any_expression(require: str, goes: bool) -> None:
    """Of JMESPath; one that cannot be told for this event is none that is true."""
    event = make_event(customer=of(marketing_consent="yes"), properties={"total": 6.7})
    assert (mapping(require=require).skips(event) == "") is goes


@pytest.mark.parametrize(
    ("require", "why"),
    [("length(properties.total) > `1`", "JMESPathTypeError"), ("values(properties)[::0] == `[]`", "ValueError")],
)
def test_what_cannot_be_told_says_so(require: str, why: str) -> None:
    """The reason is in the log: an expression that fits no event is found by it, whatever JMESPath raises."""
    assert mapping(require=require).skips(make_event()) == f"mapping.require cannot be told: {why}"


# ----------------------------------------------------------------------------------------------------- what it is there


def test_everything_at_once() -> None:
    """Properties of both maps dropped, renamed and set; the type renamed; all else as it was."""
    event = make_event(
        type="order_shipped",
        customer={**of(vip=True, note="x"), "phone_number": PHONE, "id": "7"},
        properties={"total": 6.7, "utm_source": "a", "utm_medium": "b", "order_id": "A-1"},
        value=6.7,
    )
    there = mapping(
        drop=["properties.utm_*", "customer.properties.note"],
        rename={"properties.total": "order_total", "customer.properties.vip": "is_vip"},
        constants={"properties.channel": "web", "source": "relay", "currency": "EUR", "customer.properties.tier": 1},
        rename_types={"order_shipped": "shipped"},
    ).apply(event)
    assert there == parse_event(
        {
            **json.loads(event.to_json()),
            "type": "shipped",
            "source": "relay",
            "currency": "EUR",
            "customer": {**of(is_vip=True, tier=1), "phone_number": PHONE, "id": "7"},
            "properties": {"order_total": 6.7, "order_id": "A-1", "channel": "web"},
        }
    )
    assert event.properties["total"] == 6.7


@pytest.mark.parametrize(
    ("given", "properties"),
    [
        ({"rename": {"properties.a": "b"}}, {"b": 1, "c": 3}),
        ({"rename": {"properties.a": "b", "properties.b": "a"}}, {"a": 2, "b": 1, "c": 3}),
        ({"rename": {"properties.x": "b"}}, {"a": 1, "b": 2, "c": 3}),
        ({"constants": {"properties.a": 9}}, {"a": 9, "b": 2, "c": 3}),
        ({"drop": ["properties.a"], "constants": {"properties.a": 9}}, {"a": 9, "b": 2, "c": 3}),
        ({"drop": ["properties.*"]}, {}),
        ({"drop": ["properties.[ab]", "properties.?"]}, {"a": 1, "b": 2, "c": 3}),
        ({"drop": ["customer.properties.*"]}, {"a": 1, "b": 2, "c": 3}),
    ],
    ids=str,
)
def test_each_takes_the_place_of_what_has_its_name(given: Any, properties: Any) -> None:
    """Dropped first, then renamed, then set; only * is a pattern."""
    assert mapping(**given).apply(make_event(properties={"a": 1, "b": 2, "c": 3})).properties == properties


names = st.sampled_from(["a", "b", "c.d", "\u00fc", "utm_a"])
scalars = st.text(max_size=3) | st.integers(-9, 9) | st.booleans()
maps = st.dictionaries(names, scalars, max_size=4)
events = st.builds(
    lambda name, properties, own: make_event(type=name, properties=properties, customer=of(**own)),
    st.sampled_from(["x", "order_shipped"]),
    maps,
    maps,
)
paths = st.builds(str.__add__, st.sampled_from(["properties.", "customer.properties."]), names)
mappings = st.fixed_dictionaries(
    {},
    optional={
        "drop": st.lists(paths | st.just("properties.utm_*"), max_size=2),
        "rename": st.dictionaries(paths, st.sampled_from(["m", "n", "a"]), max_size=2),
        "constants": st.dictionaries(paths | st.just("source"), st.just("k") | scalars, max_size=2),
        "rename_types": st.dictionaries(st.just("x"), st.just("y")),
        "types": st.sampled_from([["*"], ["x"]]),
        "require": st.just("properties.a"),
    },
)


@drawn(300, derandomize=True)
@given(events, mappings)
def test_a_mapping_that_is_taken_makes_an_event_of_an_event(event: Event, given: Any) -> None:
    """GIVEN any event and any mapping that its checks let through THEN what it makes is an event by the contract; its
    id, its customer's contacts and its moment are the same; and whether it goes there is told without raising.
    """
    try:
        made = mapping(**given)
    except ValidationError:
        return
    there = made.apply(event)
    assert parse_event(json.loads(there.to_json())) == there
    assert (there.id, there.occurred_at, there.customer.identities) == (
        event.id,
        event.occurred_at,
        event.customer.identities,
    )
    assert isinstance(made.skips(event), str)
    dropped = {path for path in given.get("drop", ()) if path not in made.constants}
    renamed = {f"properties.{name}" for name in made.rename.values()}
    assert not [name for name in there.properties if f"properties.{name}" in dropped - renamed]


@drawn(100, derandomize=True)
@given(events)
def test_an_empty_mapping_changes_nothing(event: Event) -> None:
    """And sends everything."""
    assert (mapping().apply(event), mapping().skips(event)) == (event, "")


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_is_given_the_mapped_event(name: str) -> None:
    """GIVEN a destination with a mapping THEN its requests are those of the changed event; the event is as it was."""
    event = make_event(customer={"email": EMAIL, "phone_number": PHONE, "id": "7", "provider_ids": {name: "p"}})
    given = {"rename_types": {"order_shipped": "shipped"}, "constants": {"properties.channel": "web"}}
    kind = PROVIDERS[name]
    mapped = kind("https://example.com", kind.settings_model.model_validate({"mapping": given}))
    plain = kind("https://example.com")
    secrets = {**dict.fromkeys(kind.credentials, TOKEN), **CREDENTIALS}
    before = event.content_hash
    changed = event.model_copy(update={"type": "shipped", "properties": {**event.properties, "channel": "web"}})
    assert mapped.build(event, secrets) == plain.build(changed, secrets) != plain.build(event, secrets)
    assert event.content_hash == before


# ---------------------------------------------------------------------------------------------- what is refused at load


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        ({"types": []}, "types", "at least one"),
        ({"types": ["order shipped"]}, "types.0", "must be a type"),
        ({"types": ["x"], "rename_types": {"y": "z"}}, "rename_types.y", "never comes here"),
        ({"rename_types": {"x": "a b"}}, "rename_types.x", "such as a_b"),
        ({"rename_types": {"order_*": "purchase"}}, "rename_types.order_*", "is one type, without *"),
        ({"types": ["order_*"], "rename_types": {"order_*": "x"}}, "rename_types.order_*", "is one type, without *"),
        ({"rename_types": {"Order Completed": "x"}}, "rename_types.Order Completed", "such as order_completed"),
        ({"require": "a ="}, "require", "is no JMESPath"),
        ({"require": ""}, "require", "is no JMESPath"),
        ({"require": "consent"}, "require", "asks for consent, which is none of id"),
        ({"require": "custmer.properties.x"}, "require", "asks for custmer"),
        ({"require": "customer.consent"}, "require", "asks for consent, which is none of email"),
        ({"require": "properties.x && @.consent"}, "require", "asks for consent"),
        ({"require": "contains(consents, 'x')"}, "require", "asks for consents"),
        ({"require": "consents[?a == 'b'] | [0]"}, "require", "asks for consents"),
        ({"require": "properties.x && is_set(properties.x)"}, "require", "calls is_set"),
        ({"require": "[properties.a, consents] | [0]"}, "require", "asks for consents"),
        ({"require": "{a: consents}.a"}, "require", "asks for consents"),
        ({"require": "!properties.a"}, "require", "write !(a.b)"),
        ({"require": "length(properties, properties)"}, "require", "calls length with 2"),
        ({"require": "not_null()"}, "require", "calls not_null with 0"),
        ({"drop": ["total"]}, "drop.total", "is no property"),
        ({"drop": ["properties."]}, "drop.properties.", "is no property"),
        ({"drop": ["customer.email"]}, "drop.customer.email", "is no property"),
        ({"rename": {"total": "x"}}, "rename.total", "is no property"),
        ({"rename": {"properties.a*": "x"}}, "rename.properties.a*", "without *"),
        ({"rename": {"properties.a": "b c"}}, "rename.properties.a", "without white space"),
        ({"rename": {"properties.a": ""}}, "rename.properties.a", "must be a name"),
        ({"rename": {"properties.a": "properties.b"}}, "rename.properties.a", "is a path: write b"),
        ({"rename": {"properties.a": "customer.properties.b"}}, "rename.properties.a", "stays in its own map"),
        ({"rename": {"properties.a": "\ud800"}}, "rename.properties.a", "surrogate"),
        ({"rename": {"properties.a": "c", "properties.b": "c"}}, "rename.properties.b", "that properties.a has"),
        (
            {"rename": {"properties.a": "c"}, "constants": {"properties.c": 1}},
            "rename.properties.a",
            "that constants.properties.c has",
        ),
        ({"drop": ["properties.u_*"], "rename": {"properties.u_a": "c"}}, "rename.properties.u_a", "is dropped"),
        ({"constants": {"total": 1}}, "constants.total", "or source, value, currency"),
        ({"constants": {"properties.*": 1}}, "constants.properties.*", "without *"),
        ({"constants": {"properties.a b": 1}}, "constants.properties.a b", "white space"),
        ({"constants": {"properties.a": None}}, "constants.properties.a", "must not be null"),
        ({"constants": {"properties.a": [1]}}, "constants.properties.a", "must not be nested"),
        ({"constants": {"properties.a": 2**64}}, "constants.properties.a", "64-bit"),
        ({"constants": {"source": "a b"}}, "constants.source", "such as a_b"),
        ({"constants": {"value": "1"}}, "constants.value", "must be a number"),
        ({"constants": {"currency": "eur"}}, "constants.currency", "ISO 4217"),
        ({"colour": 1}, "colour", "not permitted"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_at_its_path(given: Any, path: str, said: str) -> None:
    """Before an event is lost by it."""
    (found,) = wrong(**given).items()
    assert found[0] == path
    assert said in found[1]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """A person corrects it once."""
    given = {"types": ["a b"], "require": "x", "drop": ["x"], "constants": {"value": "1", "properties.y": None}}
    assert set(wrong(**given)) == {"types.0", "require", "drop.x", "constants.value", "constants.properties.y"}


@pytest.mark.parametrize(
    "require",
    [
        CONSENT,
        f"@.{CONSENT}",
        'customer.properties."white space"',
        "customer.provider_ids.*",
        "properties.[a, b] | [0]",
        "properties.{a: b}.a",
        "properties | a",
        "!(properties.a)",
        "values(properties)[0:2] == `[]`",
        "[1:2]",
        "contains(['a', 'b'], type)",
        "occurred_at >= '2026-01-01'",
        "`true`",
        "@",
        "sort_by(values(properties), &anything) | [0]",
    ],
)
def test_what_is_asked_of_something_else_is_not_judged(require: str) -> None:
    """Only what is asked of the event itself is known to be there or not; a good expression is never refused."""
    assert mapping(require=require).require == require
