"""The version-1 contract, rule by rule."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from relay.contract.event import MAX_EVENT_BYTES, Event, parse_event
from relay.contract.fields import MOST_DESTINATIONS, iso
from relay.contract.parsing import parse_json
from relay.errors import MOST_ERRORS, InvalidEventError
from tests.factories import EMAIL, PHONE, event_data, event_json, make_event


def errors_of(data: object) -> dict[str, str]:
    """Field to message of everything that is wrong with the data."""
    with pytest.raises(InvalidEventError) as caught:
        parse_event(data)
    fields = [error.field for error in caught.value.errors]
    assert len(fields) == len(set(fields)), "a field is named twice"
    return {error.field: error.message for error in caught.value.errors}


def error_of(data: object) -> tuple[str, str]:
    (only,) = errors_of(data).items()
    return only


# ------------------------------------------------------------------------------------------------ what is an event


def test_an_event_with_every_field() -> None:
    """The example of the contract is an event, and every field arrives."""
    event = parse_event(
        {
            "id": "0b9f",
            "source": "quizapp",
            "type": "order_shipped",
            "occurred_at": "2026-11-22T10:00:00Z",
            "customer": {
                "email": EMAIL,
                "phone_number": PHONE,
                "id": "4711",
                "provider_ids": {"sender": "Qmp2g5"},
                "properties": {"tier": "gold"},
            },
            "properties": {"order_id": "A-1001", "total": 6.7},
            "value": 6.7,
            "currency": "USD",
            "destinations": ["yotpo/main"],
            "expires_at": "2026-11-23T10:00:00Z",
        }
    )
    assert event.occurred_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert event.customer.provider_ids == {"sender": "Qmp2g5"}
    assert event.customer.properties == {"tier": "gold"}
    assert event.properties == {"order_id": "A-1001", "total": 6.7}
    assert (event.value, event.currency, event.destinations) == (6.7, "USD", ["yotpo/main"])


@pytest.mark.parametrize(
    "customer", [{"email": EMAIL}, {"phone_number": PHONE}, {"id": "4711"}, {"provider_ids": {"sender": "Q"}}]
)
def test_the_least_event(customer: dict[str, Any]) -> None:
    """Four fields and one identifier of the customer are enough."""
    event = parse_event({"id": "1", "source": "a", "type": "b", "customer": customer})
    assert event.occurred_at is None
    assert event.destinations is None
    assert event.properties == {}


@pytest.mark.parametrize("field", ["id", "source", "type", "customer"])
def test_required_fields(field: str) -> None:
    """Each required field is asked for, absent or null."""
    assert error_of(event_data(**{field: ...})) == (field, "is required")
    assert error_of(event_data(**{field: None})) == (field, "is required")


@pytest.mark.parametrize("field", ["occurred_at", "properties", "value", "currency", "destinations", "expires_at"])
def test_null_is_absent(field: str) -> None:
    """An optional field that is null is as if it were not there."""
    assert parse_event(event_data(**{field: None})) == parse_event(event_data(**{field: ...}))


def test_all_errors_at_once() -> None:
    """A producer hears of everything in one answer, each with its field."""
    found = errors_of(
        {
            "source": "my shop",
            "type": 5,
            "customer": {"email": "nobody", "phone_number": "555", "properties": {"a b": 1}},
            "properties": {"nested": {}, "big": 2**63},
            "value": "6.70",
            "currency": "usd",
            "destinations": ["yotpo"],
            "expires_at": "tomorrow",
            "extra": 1,
        }
    )
    assert set(found) == {
        "id",
        "source",
        "type",
        "customer.email",
        "customer.phone_number",
        "customer.properties.a b",
        "properties.nested",
        "properties.big",
        "value",
        "currency",
        "destinations.0",
        "expires_at",
        "extra",
    }


def test_an_error_knows_the_event_id() -> None:
    """What has an id is rejected under its id."""
    with pytest.raises(InvalidEventError) as caught:
        parse_event(event_data(id="evt-9", type="?"))
    assert caught.value.event_id == "evt-9"


@pytest.mark.parametrize(
    ("data", "kind"),
    [([], "a list"), ("text", "text"), (5, "a number"), (1.5, "a number"), (True, "a boolean"), (None, "null")],
)
def test_only_an_object_is_an_event(data: object, kind: str) -> None:
    """Anything but a JSON object is named for what it is."""
    assert error_of(data) == ("body", f"must be a JSON object, is {kind}")


def test_unknown_fields_are_errors() -> None:
    """A field that is not in the contract is an error, at the top and in the customer."""
    assert error_of(event_data(colour="red")) == ("colour", "is not a field of an event")
    assert error_of(event_data(customer={"email": EMAIL, "e_mail": "x"}))[0] == "customer.e_mail"


# ------------------------------------------------------------------------------------------------ names and ids


@pytest.mark.parametrize("field", ["id", "source", "type"])
@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (255, True), (256, False)])
def test_lengths(field: str, length: int, fits: bool) -> None:
    """Ids and names are 1 to 255 characters long."""
    data = event_data(**{field: "a" * length})
    if fits:
        parse_event(data)
    else:
        assert error_of(data) == (field, f"must be 1 to 255 characters long, is {length}")


def test_lengths_count_characters_not_bytes() -> None:
    """255 characters fit, however many bytes they take."""
    assert parse_event(event_data(id="ü" * 255)).id == "ü" * 255


@pytest.mark.parametrize("field", ["source", "type"])
@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Order Shipped", "order_shipped"),
        ("order-shipped", "order_shipped"),
        ("orderShipped!", "order_shipped"),
        ("order.shipped", "order_shipped"),
        (" order  shipped ", "order_shipped"),
        ("Größe geändert", "grosse_geandert"),
    ],
)
def test_names_suggest_snake_case(field: str, name: str, suggestion: str) -> None:
    """A name may hold letters, digits and underscores; the error says what would do."""
    assert error_of(event_data(**{field: name})) == (
        field,
        f"may hold only letters, digits and underscores, such as {suggestion}",
    )
    parse_event(event_data(**{field: suggestion}))


def test_nothing_to_suggest() -> None:
    """A name without one letter gets no suggestion."""
    assert error_of(event_data(type="--")) == ("type", "may hold only letters, digits and underscores")


@pytest.mark.parametrize("name", ["order_shipped", "OrderShipped", "ORDER_2", "_", "9"])
def test_names_that_do(name: str) -> None:
    """Letters, digits and underscores, in any case, are taken as they are."""
    assert parse_event(event_data(type=name)).type == name


@pytest.mark.parametrize("field", ["id", "source", "type"])
@pytest.mark.parametrize("value", [5, 1.5, True, [], {}])
def test_text_is_text(field: str, value: object) -> None:
    """No other type is turned into text."""
    assert error_of(event_data(**{field: value})) == (field, "must be text")


# ------------------------------------------------------------------------------------------------ the customer


@pytest.mark.parametrize(
    "customer",
    [
        {},
        {"properties": {"tier": "gold"}},
        {"email": None, "phone_number": None, "id": None},
        {"provider_ids": {}},
        {"provider_ids": {"sender": None}},
    ],
)
def test_a_customer_needs_an_identifier(customer: dict[str, Any]) -> None:
    """One of email, phone_number, id or a provider's id must say who it was."""
    assert error_of(event_data(customer=customer)) == (
        "customer",
        "needs at least one of email, phone_number, id, provider_ids",
    )


@pytest.mark.parametrize("customer", ["ada", 5, [], True])
def test_a_customer_is_an_object(customer: object) -> None:
    """A customer of another type is one error."""
    assert error_of(event_data(customer=customer)) == ("customer", "must be an object")


@pytest.mark.parametrize(
    "email",
    [
        "ada@example.com",
        "a.b+c@sub.example.co.uk",
        "o'neil@example.com",
        "x@a-b.io",
        "1@2.34",
        f"{'a' * 64}@example.com",
        "jörg@example.de",
        "JÖRG.Müller+x@BÜCHER.example",
        "jo\u0308rg@bu\u0308cher.example",
        "用户@例子.广告",
        "हिन्दी@हिन्दी.भारत",
        "ada@xn--bcher-kva.example",
        "ada@paral·lel.cat",
        "ada@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com",
        "ada@i❤.ws",
        "ß@ß.example",
        f"{'ö' * 32}@example.com",
    ],
    ids=ascii,
)
def test_emails_that_do(email: str) -> None:
    """Ordinary addresses are taken as they are, those of other scripts too, whatever their normal form and case."""
    assert parse_event(event_data(customer={"email": email})).customer.email == email


@pytest.mark.parametrize(
    "email",
    [
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@@example.com",
        "ada lovelace@example.com",
        "ada@exa mple.com",
        "ada@-example.com",
        "ada@example..com",
        "ada@example.com\n",
        "ada@example.com, eve@example.com",
        ".a@example.com",
        "a..b@example.com",
        "a.@example.com",
        ".@example.com",
        ".jörg@example.com",
        "jö..rg@example.com",
        "jörg.@example.com",
        "jörg@例子",
        "用户@例子。广告",
        "jörg\uff20example.com",
        "jörg@-bücher.example",
        "jörg@bücher-.example",
        "jörg@bücher..example",
        "jö\u00a0rg@example.com",
        "jö\u200brg@example.com",
        "jö\u202erg@example.com",
        "jörg@exa\u3000mple.com",
        "j«rg@example.com",
        "jörg@example.com\u2028",
        "j\ue000rg@example.com",
        f"{'ö' * 33}@example.com",
        f"ö@{'例' * 60}.{'例' * 30}.com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 63}.com",
        "Ada <ada@example.com>",
    ],
    ids=ascii,
)
def test_emails_that_do_not(email: str) -> None:
    """What no provider would take is refused here, without being repeated."""
    field, message = error_of(event_data(customer={"email": email}))
    assert field == "customer.email"
    assert message == "must be an e-mail address, with no dot at an end of its name and no two in a row"


@pytest.mark.parametrize("phone", ["+15551234567", "+491701234567", "+12", "+123456789012345"])
def test_phone_numbers_that_do(phone: str) -> None:
    """E.164: a plus, a country code that is not zero, 15 digits at most."""
    assert parse_event(event_data(customer={"phone_number": phone})).customer.phone_number == phone


@pytest.mark.parametrize(
    "phone", ["15551234567", "+05551234567", "+1 555 123 4567", "+1234567890123456", "+1", "+", "+1555-123", "+१५५५१२३"]
)
def test_phone_numbers_that_do_not(phone: str) -> None:
    """Anything else is refused, other scripts' digits too."""
    field, message = error_of(event_data(customer={"phone_number": phone}))
    assert field == "customer.phone_number"
    assert message == "must be a phone number in E.164 form, such as +15551234567"


def test_provider_ids_are_text_of_255() -> None:
    """A provider's id for the customer is bounded like any id."""
    assert error_of(event_data(customer={"provider_ids": {"sender": ""}}))[0] == "customer.provider_ids.sender"
    assert error_of(event_data(customer={"provider_ids": {"sender": 5}}))[0] == "customer.provider_ids.sender"
    assert error_of(event_data(customer={"provider_ids": ["Q"]})) == ("customer.provider_ids", "must be an object")


def test_customers_are_the_same_when_they_share_a_name() -> None:
    """Events of one customer are recognised by any identifier in common; the case of an e-mail does not matter."""
    both = make_event(customer={"email": "Ada@Example.com", "phone_number": PHONE}).customer.identities
    by_email = make_event(customer={"email": EMAIL}).customer.identities
    by_phone = make_event(customer={"phone_number": PHONE}).customer.identities
    assert both & by_email
    assert both & by_phone
    assert not by_email & by_phone


@pytest.mark.parametrize(
    "written",
    [
        "JÖRG@BÜCHER.EXAMPLE",
        "jo\u0308rg@bu\u0308cher.example",
        "jörg@xn--bcher-kva.example",
        "JÖRG@XN--BCHER-KVA.example",
        "\uff4aörg@bücher.example",
    ],
    ids=ascii,
)
def test_one_address_written_in_other_ways_is_one_customer(written: str) -> None:
    """Case, normal form and the domain's form in DNS: its events stay in order. What is sent stays as it was given."""
    customer = make_event(customer={"email": written}).customer
    assert customer.identities == make_event(customer={"email": "jörg@bücher.example"}).customer.identities
    assert customer.email == written


def test_an_address_in_capitals_is_the_same_customer() -> None:
    """Some letters have no single capital."""
    small, capitals = (
        make_event(customer={"email": email}).customer for email in ("weiß@x.example", "WEISS@X.EXAMPLE")
    )
    assert small.identities == capitals.identities


@pytest.mark.parametrize("other", ["jorg@bücher.example", "jörg@bucher.example", "jörg@xn--bcher-kvb.example"])
def test_another_address_is_another_customer(other: str) -> None:
    """Without the accent it is somebody else's."""
    mine = make_event(customer={"email": "jörg@bücher.example"}).customer.identities
    assert not mine & make_event(customer={"email": other}).customer.identities


def test_identifiers_of_different_kinds_do_not_mix() -> None:
    """The producer's id and a provider's id that happen to be equal are not the same customer."""
    own = make_event(customer={"id": "7"}).customer.identities
    sender = make_event(customer={"provider_ids": {"sender": "7"}}).customer.identities
    other = make_event(customer={"provider_ids": {"yotpo": "7"}}).customer.identities
    assert not own & sender
    assert not sender & other


# ------------------------------------------------------------------------------------------------ properties


@pytest.mark.parametrize("where", ["properties", "customer.properties"])
@pytest.mark.parametrize(
    "value", ["text", "", "2026-11-22", True, False, 0, -(2**63), 2**63 - 1, 6.7, -0.5, 1e300, "ü€🎈", "a\nb"]
)
def test_property_values_that_do(where: str, value: object) -> None:
    """Text, boolean, 64-bit integer, finite number and ISO date text arrive unchanged, type included."""
    event = parse_event(_with_properties(where, {"a_key": value}))
    kept = (event.properties if where == "properties" else event.customer.properties)["a_key"]
    assert (kept, type(kept)) == (value, type(value))


@pytest.mark.parametrize("where", ["properties", "customer.properties"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"b": 1}, "must not be nested"),
        ([1], "must not be nested"),
        ({}, "must not be nested"),
        ([], "must not be nested"),
        (2**63, "must fit a signed 64-bit integer"),
        (-(2**63) - 1, "must fit a signed 64-bit integer"),
        (10**400, "must fit a signed 64-bit integer"),
        (float("inf"), "must be finite"),
        (float("nan"), "must be finite"),
        ("\ud800", "holds half of a surrogate pair"),
        (datetime(2026, 11, 22, tzinfo=UTC), "must be text, boolean, integer, number or ISO date text"),
    ],
)
def test_property_values_that_do_not(where: str, value: object, message: str) -> None:
    """The error names the path down to the key."""
    field, said = error_of(_with_properties(where, {"good": 1, "a_key": value}))
    assert field == f"{where}.a_key"
    assert said.startswith(message)


@pytest.mark.parametrize("where", ["properties", "customer.properties"])
@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "a\n", "a\u00a0b", "\u2003"])
def test_property_keys_have_no_white_space(where: str, key: str) -> None:
    """White space of any kind in a key is an error."""
    field, message = error_of(_with_properties(where, {key: 1}))
    assert field == f"{where}.{key}"
    assert message == "has an empty name or white space in it: use underscores"


def test_property_keys_are_text_that_can_be_sent() -> None:
    """Half a surrogate pair in a key is an error of that key, not a crash."""
    field, message = error_of(_with_properties("properties", {"\ud800": 1}))
    assert field.startswith("properties.")
    assert message.startswith("holds half of a surrogate pair")


def test_null_properties_are_left_out() -> None:
    """A property that is null is absent, in the event and in the customer."""
    event = make_event(properties={"a": None, "b": 1}, customer={"email": EMAIL, "properties": {"c": None}})
    assert event.properties == {"b": 1}
    assert event.customer.properties == {}


@pytest.mark.parametrize("value", [[], "a=b", 5, True])
def test_properties_are_an_object(value: object) -> None:
    """Properties of another type are one error."""
    assert error_of(event_data(properties=value)) == ("properties", "must be an object")


def _with_properties(where: str, properties: dict[str, Any]) -> dict[str, Any]:
    if where == "properties":
        return event_data(properties=properties)
    return event_data(customer={"email": EMAIL, "properties": properties})


# ------------------------------------------------------------------------------------------------ moments, money


@pytest.mark.parametrize("field", ["occurred_at", "expires_at"])
@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:00:00Z",
        "2026-11-22T10:00Z",
        "2026-11-22T10:00:00.5Z",
        "2026-11-22T10:00:00.123456+02:00",
        "2026-11-22T10:00:00-11:30",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-23:59",
    ],
)
def test_moments_that_do(field: str, text: str) -> None:
    """ISO 8601 with an offset."""
    assert getattr(parse_event(event_data(**{field: text})), field).tzinfo is not None


@pytest.mark.parametrize("field", ["occurred_at", "expires_at"])
@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-11-22T10:00:00.123456789Z", "2026-11-22T10:00:00.123456Z"),
        ("2026-11-22T10:00:00.999999999Z", "2026-11-22T10:00:00.999999Z"),
        ("2026-12-31T23:59:59.9999999+01:00", "2026-12-31T23:59:59.999999+01:00"),
        ("2026-11-22T10:00:00.1234567+05:30", "2026-11-22T10:00:00.123456+05:30"),
        (f"2026-11-22T10:00:00.{'9' * 5_000}Z", "2026-11-22T10:00:00.999999Z"),
        ("2026-11-22T10:00:00,5Z", "2026-11-22T10:00:00.500000Z"),
        ("2026-11-22T10:00:00+0000", "2026-11-22T10:00:00Z"),
        ("2026-11-22T10:00:00.000-0330", "2026-11-22T10:00:00-03:30"),
        ("2026-11-22T10:00:00+00", "2026-11-22T10:00:00Z"),
        ("2026-11-22T10:00:00-05", "2026-11-22T10:00:00-05:00"),
        ("2026-11-22T10:00:00-00:00", "2026-11-22T10:00:00Z"),
        ("2026-11-22t10:00:00z", "2026-11-22T10:00:00Z"),
        ("2026-11-22t10:00:00.5+02:00", "2026-11-22T10:00:00.500000+02:00"),
        ("2026-11-22 10:00:00Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22 10:00:00.123456+00", "2026-11-22T10:00:00.123456Z"),
        ("2026-11-22 10:00:00 +0100", "2026-11-22T10:00:00+01:00"),
        ("2026-11-22 10:00:00 UTC", "2026-11-22T10:00:00Z"),
        ("2026-11-22T10:00Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22 10:00+0100", "2026-11-22T10:00:00+01:00"),
        ("2026-11-22T10:00:00.123456789+01:00[Europe/Berlin]", "2026-11-22T10:00:00.123456+01:00"),
        ("2026-11-22T10:00Z[UTC]", "2026-11-22T10:00:00Z"),
    ],
)
def test_moments_as_other_languages_write_them(field: str, text: str, read: str) -> None:
    """Java, .NET, Go, Ruby, JavaScript, databases: what is finer than a microsecond is cut off, never rounded over."""
    assert iso(getattr(parse_event(event_data(**{field: text})), field)) == read


@pytest.mark.parametrize("field", ["occurred_at", "expires_at"])
@pytest.mark.parametrize(
    "value",
    [
        "2026-11-22T10:00:00",
        "2026-11-22",
        "22/11/2026",
        "20261122T100000Z",
        "2026-W47-7T10:00:00Z",
        "2026-11-22  10:00:00Z",
        "2026-11-22T10:00:00 ",
        "2026-11-22T10:00:00.Z",
        "2026-11-22T10Z",
        "2026-11-22T10:00:00CET",
        "2026-11-22T10:00:00[Europe/Berlin]",
        "2026-11-22T10:00:00Z[",
        "2026-11-22T10:00:00+1:00",
        "2026-11-22T10:00:00+01:",
        "2026-11-22T10:00:00+02:60",
        "2026-11-22T10:00:00+0299",
        "2026-11-22T10:00:00\N{MINUS SIGN}01:00",
        "2026-11-22T10:00:60Z",
        "2026-11-22T24:00:00Z",
        "+2026-11-22T10:00:00Z",
        "12026-11-22T10:00:00Z",
        "1795341600",
        "",
        1795341600,
        1795341600.5,
        True,
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T10:00:00+25:00",
        "0000-01-01T00:00:00Z",
        "2026-11-22T10:00:00Z\n",
        "٢٠٢٦-11-22T10:00:00Z",
    ],
)
def test_moments_that_do_not(field: str, value: object) -> None:
    """No offset, no such day, another form or another type is one error of that field."""
    assert error_of(event_data(**{field: value}))[0] == field


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2026-11-22T10:00:00", "must be an ISO 8601 date and time with an offset, "),
        (1795341600, "must be text, "),
        ("2026-02-30T10:00:00Z", "is no date and time that exists, "),
        ("0000-01-01T00:00:00Z", "years 0001 to 9999"),
        ("2026-11-22T10:00:00+24:00", "offsets to 23:59"),
        ("2016-12-31T23:59:60Z", "seconds to 59"),
    ],
)
def test_the_error_of_a_moment_says_how_to_write_one(given: object, said: str) -> None:
    """With an example of each kind."""
    message = error_of(event_data(occurred_at=given))[1]
    assert said in message
    assert "such as 2026-11-22T10:00:00Z or 2026-11-22T11:00:00+01:00" in message


def test_an_event_made_in_python_needs_an_offset_too() -> None:
    """A datetime is taken as it is, if it carries an offset."""
    moment = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert parse_event(event_data(occurred_at=moment)).occurred_at == moment
    assert error_of(event_data(occurred_at=moment.replace(tzinfo=None)))[0] == "occurred_at"


def test_iso() -> None:
    """UTC is written Z, any other offset as it is."""
    assert iso(datetime(2026, 11, 22, 10, tzinfo=UTC)) == "2026-11-22T10:00:00Z"
    assert iso(datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-22T10:00:00+02:00"


@pytest.mark.parametrize("currency", ["USD", "EUR", "JPY", "ZWG"])
def test_currencies_that_do(currency: str) -> None:
    """Active ISO 4217 codes."""
    assert parse_event(event_data(currency=currency)).currency == currency


@pytest.mark.parametrize("currency", ["usd", "US", "USDX", "DEM", "€", "", 840, "\ud800"])
def test_currencies_that_do_not(currency: object) -> None:
    """Lower case, unknown and past codes are refused."""
    assert error_of(event_data(currency=currency))[0] == "currency"


@pytest.mark.parametrize("value", [0, -3, 6.7, 2**63 - 1])
def test_values_that_do(value: float) -> None:
    """A value is any finite number."""
    assert parse_event(event_data(value=value)).value == value


@pytest.mark.parametrize("value", ["6.7", True, [], 2**63, float("inf"), float("nan")])
def test_values_that_do_not(value: object) -> None:
    """A value is not text, not a boolean, not beyond 64 bits and not infinite."""
    assert error_of(event_data(value=value))[0] == "value"


# ------------------------------------------------------------------------------------------------ destinations


@pytest.mark.parametrize("name", ["yotpo/main", "sender/shop-2", "some_new/A.b_c-1"])
def test_destinations_that_do(name: str) -> None:
    """Provider/account; whether it is configured is the router's question."""
    assert parse_event(event_data(destinations=[name])).destinations == [name]


@pytest.mark.parametrize(
    "name", ["yotpo", "yotpo/", "/main", "Yotpo/main", "yotpo/a/b", "yotpo/a b", "yotpo/*", "", 5, None]
)
def test_destinations_that_do_not(name: object) -> None:
    """Each wrong destination is named by its place in the list."""
    assert error_of(event_data(destinations=["yotpo/main", name]))[0] == "destinations.1"


def test_destinations_are_so_many_at_most() -> None:
    """Each of them is a message of the whole event: a megabyte of names would be gigabytes of messages."""
    names = [f"yotpo/{number}" for number in range(MOST_DESTINATIONS + 1)]
    assert parse_event(event_data(destinations=names[1:])).destinations == names[1:]
    assert error_of(event_data(destinations=names)) == ("destinations", "names 201, at most 200")
    assert error_of(event_data(destinations=[5] * 100_000)) == ("destinations", "names 100000, at most 200")


def test_destinations_are_a_list_of_at_least_one() -> None:
    """No destination at all would be an event that silently goes nowhere."""
    assert error_of(event_data(destinations=[])) == ("destinations", "must name at least one, or be left out")
    assert error_of(event_data(destinations="yotpo/main")) == ("destinations", "must be a list")


# ------------------------------------------------------------------------------------------------ many errors


MANY = 10 * MOST_ERRORS


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({f"x{number}": number for number in range(MANY)}, "x0"),
        ({f"x{number}": None for number in range(MANY)}, "x0"),
        ({"properties": {str(number): [] for number in range(MANY)}}, "properties.0"),
        ({"properties": {f" {number}": 1 for number in range(MANY)}}, "properties. 0"),
        ({"customer": {"id": "1", "properties": dict.fromkeys(map(str, range(MANY)), 2**64)}}, "customer.properties.0"),
        ({"customer": {"provider_ids": dict.fromkeys(map(str, range(MANY)), 1)}}, "customer.provider_ids.0"),
        ({"customer": {"id": "1", **dict.fromkeys(map(str, range(MANY)), 1)}}, "customer.0"),
        ({"destinations": ["yotpo"] * MANY}, "destinations.0"),
    ],
)
def test_of_many_errors_the_first_are_named_and_the_others_counted(changes: dict[str, Any], first: str) -> None:
    """A producer hears what is wrong and how often, in an answer that stays short."""
    found = errors_of(event_data(**changes))
    assert next(iter(found)) == first
    assert len(found) == MOST_ERRORS + 1
    assert found["body"] == f"errors not named here: {MANY - MOST_ERRORS}"


def test_the_count_is_of_all_that_is_wrong() -> None:
    """Wherever it stands: fields, properties, destinations, unknown fields of the event and of its customer."""
    bad = dict.fromkeys(map(str, range(MANY)), 2**64)
    customer = {"email": "nobody", "properties": bad, "provider_ids": bad, **bad}
    found = errors_of({"customer": customer, "properties": bad, "destinations": [5] * MANY, **bad})
    assert list(found)[:4] == ["id", "source", "type", "customer.email"]
    assert found["body"] == f"errors not named here: {4 + 6 * MANY - MOST_ERRORS}"


def test_a_few_errors_are_all_named() -> None:
    """No error that says there are no more."""
    assert len(errors_of(event_data(properties=dict.fromkeys(map(str, range(MOST_ERRORS)), 2**64)))) == MOST_ERRORS


def test_a_long_name_is_not_repeated() -> None:
    """Only its length is told."""
    assert error_of(event_data(properties={"x" * 1_000: []}))[0] == "properties.(1000 characters)"
    assert error_of(event_data(**{f"{EMAIL} " * 1_000: 1}))[0] == f"({1_000 * len(EMAIL) + 1_000} characters)"


def test_a_long_id_is_cut_where_it_stands_for_the_event() -> None:
    """An id of half a megabyte is an error, and not in every log line and answer."""
    with pytest.raises(InvalidEventError) as caught:
        parse_event(event_data(id="é" * 100_000))
    assert caught.value.event_id is not None
    assert len(caught.value.event_id.encode()) <= 255


# ------------------------------------------------------------------------------------------------ no input in errors


@pytest.mark.parametrize(
    "changes",
    [
        {"type": f"Order for {EMAIL}"},
        {"source": "call +1 555 123 4567"},
        {"source": "5551234567 called!"},
        {"occurred_at": EMAIL},
        {"customer": {"email": f"{EMAIL}!"}},
        {"customer": {"phone_number": f"{PHONE}x"}},
        {"customer": EMAIL},
        {"value": EMAIL},
        {"currency": EMAIL},
        {"destinations": [EMAIL]},
        {"destinations": EMAIL},
        {"properties": {EMAIL: []}},
        {"properties": {PHONE: []}},
        {"properties": EMAIL},
        {EMAIL: 1},
        {PHONE: 1},
        {"id": EMAIL * 100},
    ],
)
def test_no_error_repeats_personal_data(changes: dict[str, Any]) -> None:
    """What the input held is not in the error's text, not even where the input put it into a name."""
    with pytest.raises(InvalidEventError) as caught:
        parse_event(event_data(**changes))
    for said in (str(caught.value), repr(caught.value), repr(caught.value.errors)):
        assert EMAIL not in said
        assert "ada" not in said
        assert "555" not in said.replace("such as +15551234567", "")


@pytest.mark.parametrize("field", ["id", "occurred_at", "value", "currency", "expires_at"])
def test_no_error_repeats_a_value(field: str) -> None:
    """An error says what is wanted, never what was given."""
    assert "s3cr3t" not in str(errors_of(event_data(**{field: {"s3cr3t": "s3cr3t"}})))


def test_the_models_own_errors_hold_no_input() -> None:
    """Even where somebody logs pydantic's error as it is."""
    with pytest.raises(ValidationError) as caught:
        Event.model_validate(event_data(source={EMAIL: EMAIL}, currency=EMAIL, destinations=EMAIL))
    assert EMAIL not in str(caught.value)


@pytest.mark.parametrize("hostile", ["{text}", "{0}", "{", "%s %d", "${x}"])
def test_input_cannot_bring_its_own_template(hostile: str) -> None:
    """Braces and percent signs in a name stay what they are."""
    assert error_of(event_data(properties={f"a {hostile}": 1}))[0] == f"properties.a {hostile}"


# ------------------------------------------------------------------------------------------------ from JSON


@pytest.mark.parametrize("levels", [1, 10, 29])
def test_deep_properties(levels: int) -> None:
    """What can still be read is refused for being nested, with its path."""
    with pytest.raises(InvalidEventError, match=r"^properties\.a: must not be nested"):
        parse_event(parse_json(event_json(properties={}).replace("{}", '{"a":' + "[" * levels + "]" * levels + "}")))


def test_huge_integers() -> None:
    """A number of 5,000 digits is an error, as one that only just does not fit."""
    with pytest.raises(InvalidEventError, match=r"^body: holds a number that is too long$"):
        parse_json(event_json(value=...)[:-1] + ', "value": ' + "9" * 5_000 + "}")
    assert error_of(parse_json(event_json(value=10**100))) == ("value", "must fit a signed 64-bit integer")


def test_numbers_that_overflow() -> None:
    """1e999 is valid JSON and no finite number."""
    assert error_of(parse_json(event_json(value=...)[:-1] + ', "value": 1e999}')) == ("value", "must be finite")


@pytest.mark.parametrize("field", ["id", "source", "type", "currency", "occurred_at"])
def test_lone_surrogates(field: str) -> None:
    """Half a surrogate pair is valid JSON and no text: nothing could be sent of it."""
    body = event_json(**{field: "SURROGATE"}).replace("SURROGATE", "a\\ud800")
    assert error_of(parse_json(body)) == (field, "holds half of a surrogate pair, which is not text")


@pytest.mark.parametrize("where", ["top", "customer"])
def test_lone_surrogates_in_field_names(where: str) -> None:
    """An unknown field that cannot even be written down is an error and no crash."""
    data = event_data(**({"\ud800": 1} if where == "top" else {"customer": {"email": EMAIL, "\ud800": 1}}))
    with pytest.raises(InvalidEventError) as caught:
        parse_event(data)
    str(caught.value).encode()


def test_a_900_kb_body() -> None:
    """An event larger than a lane carries is refused with its size."""
    field, message = error_of(parse_json(event_json(properties={"text": "x" * 900_000})))
    assert field == "body"
    assert message.endswith(f"at most {MAX_EVENT_BYTES}")


def test_the_largest_event() -> None:
    """Size is counted in UTF-8 bytes, and the limit itself fits."""
    room = MAX_EVENT_BYTES - make_event(properties={"text": ""}).size
    parse_event(event_data(properties={"text": "x" * room}))
    assert error_of(event_data(properties={"text": "x" * (room + 1)}))[0] == "body"
    assert error_of(event_data(properties={"text": "ü" * (room // 2 + 1)}))[0] == "body"


def test_the_size_is_of_what_the_producer_alone_says() -> None:
    """The relay dates an event and narrows its destinations: neither makes it larger. Compact JSON, nothing absent."""
    event = make_event(occurred_at=..., destinations=["yotpo/main", "sender/main"], value=None)
    assert event.size == len(json.dumps(event_data(occurred_at=...), separators=(",", ":")))
    sent = event.model_copy(update={"occurred_at": datetime.now(UTC), "destinations": ["yotpo/main"]})
    assert sent.size == event.size < len(sent.to_json())


@pytest.mark.parametrize("character", ["\ufffe", "\uffff", "\x00", "\x1f", "\x7f", "\U0010ffff"])
@pytest.mark.parametrize("where", ["id", "property", "key", "provider_id"])
def test_what_is_accepted_can_be_queued(character: str, where: str) -> None:
    """SQS refuses a message with certain characters; such an event is refused, or travels without them."""
    text = f"a{character}b"
    data = {
        "id": event_data(id=text),
        "property": event_data(properties={"a": text}),
        "key": event_data(properties={text: 1}),
        "provider_id": event_data(customer={"provider_ids": {"sender": text}}),
    }[where]
    try:
        body = parse_event(data).to_json()
    except InvalidEventError:
        return
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    assert not {c for c in body if c in "\ufffe\uffff" or (c < " " and c not in "\t\n\r")}


# ------------------------------------------------------------------------------------------------ content


def test_to_json_round_trip() -> None:
    """An event survives its own JSON."""
    event = make_event(
        customer={"email": EMAIL, "properties": {"n": 2**63 - 1, "f": 6.0, "b": True}},
        value=1e22,
        currency="USD",
        destinations=["yotpo/main"],
        expires_at="2026-11-23T10:00:00.25+02:00",
        properties={"ü": "€", "zero": 0, "no": False, "empty": ""},
    )
    again = parse_event(parse_json(event.to_json()))
    assert again == event
    assert again.content_hash == event.content_hash
    assert [type(value) for value in again.properties.values()] == [type(v) for v in event.properties.values()]


def test_to_json_leaves_out_what_is_absent() -> None:
    """No nulls and no empty maps travel."""
    assert json.loads(make_event(properties=..., occurred_at=...).to_json()) == {
        "id": "evt-1",
        "source": "shop",
        "type": "order_shipped",
        "customer": {"email": EMAIL},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "evt-2"},
        {"source": "till"},
        {"type": "order_returned"},
        {"occurred_at": "2026-11-22T09:58:00Z"},
        {"occurred_at": "2026-11-22T10:59:00+01:00"},
        {"customer": {"email": EMAIL.upper()}},
        {"customer": {"email": "eve@example.com"}},
        {"customer": {"email": EMAIL, "properties": {"tier": "gold"}}},
        {"properties": {"order_id": "A-1002", "total": 6.7}},
        {"properties": {"order_id": "A-1001", "total": "6.7"}},
        {"value": 1},
        {"currency": "USD"},
    ],
)
def test_other_content_has_another_hash(changes: dict[str, Any]) -> None:
    """Everything the producer said happened counts as content."""
    assert make_event(**changes).content_hash != make_event().content_hash


@pytest.mark.parametrize(
    "same",
    [
        event_data(destinations=["yotpo/main"]),
        event_data(expires_at="2026-11-23T10:00:00Z"),
        event_data(backfill=True),
        event_data(backfill=False),
        event_data(value=None),
        dict(reversed(event_data().items())),
        event_data(properties={"total": 6.7, "order_id": "A-1001", "gone": None}),
        event_data(occurred_at="2026-11-22T09:59Z"),
        event_data(occurred_at="2026-11-22T09:59:00+00:00"),
        event_data(occurred_at="2026-11-22T09:59:00.000000999Z"),
        event_data(occurred_at="2026-11-22 09:59:00.000 +0000"),
        event_data(occurred_at="2026-11-22t09:59z"),
        event_data(occurred_at="2026-11-22T09:59:00Z[UTC]"),
    ],
)
def test_the_same_content_has_the_same_hash(same: dict[str, Any]) -> None:
    """Order, nulls, spelling, destinations, expiry and whether it is history do not make another event."""
    assert parse_event(same).content_hash == make_event().content_hash


@pytest.mark.parametrize("said", [False, None, ...])
def test_an_event_is_no_history_unless_it_says_so(said: object) -> None:
    """And is written as it was before there was any."""
    event = make_event(backfill=said)
    assert event.backfill is False
    assert event.to_json() == make_event().to_json()
    assert "backfill" not in event.to_json()


def test_history_stays_history_on_its_way() -> None:
    """What intake puts on a lane says so, too."""
    event = make_event(backfill=True)
    assert event.backfill is True
    assert parse_event(json.loads(event.to_json())) == event
    (body,) = event.for_each(["yotpo/main"], event.occurred_at or datetime.now(UTC))
    assert json.loads(body)["backfill"] is True


@pytest.mark.parametrize("said", ["true", "yes", 1, 0, [], {}])
def test_history_is_true_or_false(said: object) -> None:
    """Nothing else is taken for either: a flow that starts by mistake cannot be stopped."""
    with pytest.raises(InvalidEventError) as caught:
        make_event(backfill=said)
    assert [str(error) for error in caught.value.errors] == ["backfill: must be true or false"]


def test_events_do_not_change() -> None:
    """An event is shared between threads."""
    with pytest.raises(ValueError, match="frozen"):
        make_event().id = "other"  # type: ignore[misc]


def test_the_schema_can_be_generated() -> None:
    """The model describes itself as JSON Schema, closed and with its required fields."""
    schema = Event.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"id", "source", "type", "customer"}
