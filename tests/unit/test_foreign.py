"""What others already send: their own specifications' examples, quoted in tests/foreign, and what is near them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.checking import check
from cli.records import Reading, Source
from relay.contract.event import Event, parse_event
from relay.contract.fields import snake_case
from relay.contract.foreign import FORMATS, LONGEST_BEFORE, from_attributes, read
from relay.errors import MOST_ERRORS, InvalidEventError
from relay.handlers.envelope import open_record, unwrap, validate
from relay.handlers.intake import IntakeHandler
from relay.handlers.records import content_of
from relay.intake.intake import Intake
from relay.observability import IntakeObserver
from tests.drawing import drawn
from tests.factories import DESTINATIONS, EMAIL, event_data, eventbridge, sns, sqs_batch, sqs_record
from tests.fakes import FakeClock, FakeContext, FakeIntakeQueues

FOLDER = Path(__file__).parents[1] / "foreign"
EXAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
GOOD = [name for name, each in EXAMPLES.items() if "is" in each]
BAD = [name for name, each in EXAMPLES.items() if "wrong" in each]

WITH_CUSTOMER = {"email": EMAIL, "name": "Ada"}


def example(name: str) -> dict[str, Any]:
    return dict(EXAMPLES[name]["event"])


def track(**changes: Any) -> dict[str, Any]:
    """Segment's complete example, changed."""
    data = example("segment-track") | changes
    return {key: value for key, value in data.items() if value is not ...}


def cloud_event(**changes: Any) -> dict[str, Any]:
    """The JSON format's example with an object as data, of somebody; changed."""
    data = example("cloudevents-json")
    data = data | {"data": data["data"] | {"customer": WITH_CUSTOMER}} | changes
    return {key: value for key, value in data.items() if value is not ...}


def attributes(data: dict[str, Any], before: str = "ce-") -> dict[str, str]:
    """As in binary mode."""
    return {f"{before}{name}": str(value) for name, value in data.items() if name != "data" and value is not None}


def errors(data: object) -> dict[str, str]:
    with pytest.raises(InvalidEventError) as caught:
        open_record(data)
    return {error.field: error.message for error in caught.value.errors}


@pytest.mark.parametrize("name", GOOD)
def test_an_example_of_theirs_is_this_event(name: str) -> None:
    """GIVEN a specification's own example THEN the event is the one beside it, and each example names its page."""
    assert EXAMPLES[name]["from"].startswith("https://")
    assert json.loads(open_record(example(name)).to_json()) == EXAMPLES[name]["is"]


@pytest.mark.parametrize("name", BAD)
def test_an_example_of_theirs_that_is_no_event(name: str) -> None:
    """GIVEN an example without a customer, or of another call THEN what is wrong is told in its own fields."""
    assert list(errors(example(name))) == EXAMPLES[name]["wrong"]


# ------------------------------------------------------------------------------------------------------ every way in

type WayIn = Callable[[dict[str, Any]], object]

WAYS: dict[str, WayIn] = {
    "sqs": lambda data: sqs_batch(sqs_record(json.dumps(data))),
    "eventbridge in sqs": lambda data: sqs_batch(sqs_record(json.dumps(eventbridge(data)))),
    "sns in sqs": lambda data: sqs_batch(sqs_record(json.dumps(sns(data)))),
    "eventbridge": eventbridge,
    "sns": lambda data: {"Records": [{"EventSource": "aws:sns", "Sns": sns(data)}]},
    "sns with eventbridge": lambda data: {"Records": [{"EventSource": "aws:sns", "Sns": sns(eventbridge(data))}]},
    "direct": lambda data: data,
    "direct, many": lambda data: {"events": [data]},
}


def taken(call: object) -> tuple[Any, FakeIntakeQueues]:
    """The answer of intake's function, and what it put on its queues."""
    queues = FakeIntakeQueues()
    intake = Intake(queues, FakeClock(), DESTINATIONS, unwrap, validate)
    return IntakeHandler(intake, IntakeObserver(), FakeClock()).handle(call, FakeContext()), queues


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", [track(), cloud_event()], ids=["track", "cloudevent"])
def test_every_way_in(way: str, data: dict[str, Any]) -> None:
    """GIVEN one of theirs on any way in THEN our event is on each destination's lane, as if it had come as ours."""
    _, queues = taken(WAYS[way](data))
    theirs = [{**json.loads(entry.body), "destinations": None} for entry in queues.entries]
    ours = json.loads(open_record(data).to_json()) | {"destinations": None}
    assert theirs == [ours] * len(DESTINATIONS)
    assert {entry.content_hash for entry in queues.entries} == {parse_event(data).content_hash}


@pytest.mark.parametrize("before", ["ce-", "ce_", "CE-"])
def test_a_cloud_event_in_attributes(before: str) -> None:
    """GIVEN its attributes as a message's, as HTTP or Kafka name them, and its data as the body THEN it is the same."""
    data = cloud_event()
    record = sqs_record(json.dumps(data["data"]), **attributes(data, before), **{"content-type": "application/json"})
    _, queues = taken(sqs_batch(record))
    assert [json.loads(entry.body)["id"] for entry in queues.entries] == ["/mycontext:C234-1234-1234"] * 2
    assert {entry.content_hash for entry in queues.entries} == {parse_event(data).content_hash}


def test_a_cloud_event_in_the_attributes_of_a_notification() -> None:
    """The same of a topic's message, in SQS or handed to the function."""
    data = cloud_event()
    told = {name: {"Type": "String", "Value": value} for name, value in attributes(data, "ce_").items()}
    notification = sns(data["data"], MessageAttributes=told)
    for call in (
        sqs_batch(sqs_record(json.dumps(notification))),
        {"Records": [{"EventSource": "aws:sns", "Sns": notification}]},
    ):
        _, queues = taken(call)
        assert {entry.content_hash for entry in queues.entries} == {parse_event(data).content_hash}


def test_a_reject_of_two_parts_can_be_put_in_again() -> None:
    """GIVEN a CloudEvent in attributes whose data is wrong THEN what is kept of it holds the attributes, too."""
    data = cloud_event(data={"customer": {"email": "nobody"}})
    _, queues = taken(sqs_batch(sqs_record(json.dumps(data["data"]), **attributes(data))))
    (kept,) = queues.rejects
    assert kept.reason.startswith("data.customer.email: must be an e-mail address")
    assert errors(kept.body) == errors(data)


def test_told_twice() -> None:
    """GIVEN the attributes beside the whole event in the body, as Kafka's binding allows THEN it is that event."""
    data = cloud_event()
    content = content_of(sqs_record(json.dumps(data), **attributes(data)))
    assert open_record(content) == open_record(data)


@pytest.mark.parametrize(
    "given",
    [{}, {"ce-id": "1"}, {"specversion": "1.0"}, {"once-specversion": "1.0"}, {"ce-specversion-x": "1.0"}],
    ids=str,
)
def test_other_attributes_are_none_of_its(given: dict[str, str]) -> None:
    """What is beside an event of ours does not make another of it."""
    assert from_attributes(given, "{}") is None


def test_in_a_file_for_the_command(tmp_path: Path) -> None:
    """GIVEN theirs as lines, a list, or what a queue hands on THEN `relay send` has our events, or errors of theirs."""
    data, bad = cloud_event(), track(messageId=...)
    queued = sqs_batch(sqs_record(json.dumps(data["data"]), **attributes(data)))
    texts = {
        "lines.jsonl": f"{json.dumps(track())}\n{json.dumps(data)}\n{json.dumps(bad)}\n",
        "list.json": json.dumps([track(), data, bad]),
        "queue.json": json.dumps(queued),
    }
    found = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        found[name] = [check(record, DESTINATIONS) for record in Source(str(tmp_path / name), Reading())]
    for name in ("lines.jsonl", "list.json"):
        good = [each.event for each in found[name]]
        assert good == [parse_event(track()), parse_event(data), None]
        assert [error.field for error in found[name][2].errors] == ["messageId"]
    assert [each.event for each in found["queue.json"]] == [parse_event(data)]


# ------------------------------------------------------------------------------------------------ what is never theirs


def test_an_event_of_ours_is_never_taken_for_theirs() -> None:
    """GIVEN our own event with their words as its values, and its properties THEN nothing of it is read otherwise."""
    for kind in ("track", "identify", "page"):
        ours = event_data(type=kind, properties={"event": "x", "messageId": "y", "specversion": "1.0", "userId": "z"})
        assert read(ours) is None
        assert parse_event(ours).type == kind


def test_what_is_nearly_ours_is_told_in_our_words() -> None:
    """GIVEN an event of ours without a customer, or with a field of theirs beside it THEN the errors are ours."""
    assert errors(event_data(customer=..., type="track"))["customer"] == "is required"
    assert set(errors(event_data(type="track", messageId="1"))) == {"messageId"}


events = st.builds(
    lambda changes: event_data(**changes),
    st.dictionaries(
        st.sampled_from(["type", "source", "id", "event", "messageId", "userId", "batch", "data", "sentAt"]),
        st.sampled_from(["track", "identify", "x", "1.0"]) | st.just([]) | st.none(),
        max_size=4,
    ),
)


@drawn(200, derandomize=True)
@given(events)
def test_with_a_customer_and_without_a_specversion_it_is_ours(data: dict[str, Any]) -> None:
    """GIVEN whatever else it holds THEN its model alone decides."""

    def outcome(make: Callable[[object], Event]) -> object:
        try:
            return make(data)
        except (InvalidEventError, ValueError):
            return None

    assert outcome(parse_event) == outcome(Event.model_validate)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | st.just(EMAIL),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["email", EMAIL]), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = st.sampled_from([*track(), *cloud_event(), "traits", "expirytime", "data_base64", "batch"])


@drawn(300, derandomize=True)
@given(st.sampled_from([track(), cloud_event()]), st.dictionaries(fields, anything, max_size=3))
def test_whatever_stands_in_it_is_an_event_or_has_errors(data: dict[str, Any], changes: dict[str, Any]) -> None:
    """GIVEN any values in their fields THEN nothing else is raised, and no error says whose they were."""
    said = "none"
    try:
        parse_event(data | changes)
    except InvalidEventError as error:
        said = str(error)
    assert said
    assert EMAIL not in said


# ------------------------------------------------------------------------------------------------------- field by field


def test_who_it_was() -> None:
    """An id of the user's before one of nobody's; an address and a number where the libraries put them."""
    traits = {"email": EMAIL, "phone": "+1 (555) 123-4567", "firstName": "Ada", "address": {"city": "Bath"}}
    customer = open_record(track(context={"traits": traits})).customer
    assert (customer.id, customer.email, customer.phone_number) == ("AiUGstSDIg", EMAIL, "+15551234567")
    assert customer.properties == {"firstName": "Ada", "address_city": "Bath"}
    nobody = track(userId=None)
    assert open_record(nobody).customer.id == nobody["anonymousId"]
    assert open_record(track(userId=17)).customer.id == "17"
    bought = open_record(track(properties={"email": EMAIL, "plan": "x"}))
    assert (bought.customer.email, bought.properties) == (EMAIL, {"plan": "x"})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"messageId": ...}, "messageId"),
        ({"messageId": "x" * 256}, "messageId"),
        ({"event": ...}, "event"),
        ({"event": "\u6ce8\u6587"}, "event"),
        ({"event": 7}, "event"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": ..., "originalTimestamp": "yesterday"}, "originalTimestamp"),
        ({"context": {"traits": {"email": "nobody"}}}, "context.traits.email"),
        ({"traits": {"phone": "555"}}, "traits.phone"),
        ({"context": {"traits": {"tall": 2**64}}}, "context.traits.tall"),
        ({"properties": "none"}, "properties"),
        ({"properties": {"big": 2**64}}, "properties.big"),
        ({"userId": ..., "anonymousId": ...}, "userId"),
        ({"userId": 5.5}, "userId"),
        ({"userId": {"id": "7"}}, "userId"),
        ({"userId": True}, "userId"),
        ({"backfill": "perhaps"}, "backfill"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_track_is_named_as_theirs(changes: dict[str, Any], field: str) -> None:
    """One error, at the field that its producer knows."""
    assert set(errors(track(**changes))) == {field}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ...}, "id"),
        ({"id": "x" * 256}, "id"),
        ({"source": ...}, "source"),
        ({"type": ""}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"expirytime": 7}, "expirytime"),
        ({"backfill": 1}, "backfill"),
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"data": ...}, "data"),
        ({"data": [1]}, "data"),
        ({"data": "{"}, "data"),
        ({"data": '{"a": 1, "a": 2}'}, "data.a"),
        ({"data": {"user": {"email": "nobody"}}}, "data.user.email"),
        ({"data": {"email": "nobody"}}, "data.email"),
        ({"data": {"customer": {"email": EMAIL, "tall": 2**64}}}, "data.customer.tall"),
        ({"data": event_data(customer={"email": "nobody"})}, "data.customer.email"),
        ({"data": {"plan": "x"}}, "data.customer"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_cloud_event_is_named_as_theirs(changes: dict[str, Any], field: str) -> None:
    """One error, at the field that its producer knows."""
    assert set(errors(cloud_event(**changes))) == {field}


@pytest.mark.parametrize("name", [EMAIL, f"{EMAIL} signed up", "Call from +1 (555) 123-4567", f"mailto:{EMAIL}"])
def test_a_name_with_somebody_in_it_is_refused(name: str) -> None:
    """GIVEN an address or a number within a name THEN it is an error: made a name, nothing would know it for one again,
    and names are in logs.
    """
    assert set(errors(track(event=name))) == {"event"}
    assert set(errors(cloud_event(type=name))) == {"type"}
    assert set(errors(cloud_event(source=name))) == {"source"}


@pytest.mark.parametrize("name", ["\u6ce8\u6587\u30a2\u30d7\u30ea", EMAIL, "x" * 256, "!", {"a": 1}, 7, ""], ids=ascii)
def test_an_app_with_a_name_that_is_none_here(name: object) -> None:
    """GIVEN an app whose name cannot be a source THEN the library's is; its events are not lost for it."""
    assert (
        open_record(track(context={"app": {"name": name}, "library": {"name": "analytics-ios"}})).source
        == "analytics_ios"
    )
    assert open_record(track(context={"app": {"name": name}})).source == "track"


@pytest.mark.parametrize("kind", ["identify", "page", "screen", "group", "alias"])
def test_other_calls_are_no_events(kind: str) -> None:
    """Rejected, with what it is and what to do, under its own id."""
    with pytest.raises(InvalidEventError, match=f"^type: is {kind}, .*only track is an event") as caught:
        open_record(track(type=kind, event=...))
    assert caught.value.event_id == track()["messageId"]


def test_a_batch_of_calls_is_no_event() -> None:
    """One record is one event: what to do instead is said."""
    assert "send each by itself" in errors({"batch": [track()], "sentAt": "2015-12-12T19:11:01.169Z"})["batch"]


def test_a_value_is_taken_where_it_is_one() -> None:
    """A number and a code; what is written otherwise is told as a property, as it came."""
    sold = open_record(track(properties={"revenue": "14.99", "value": 3, "currency": "usd"}))
    assert (sold.value, sold.currency) == (3, "USD")
    assert sold.properties == {"revenue": "14.99", "value": 3, "currency": "usd"}
    assert open_record(track(properties={"currency": "dollars", "value": True})).currency is None


def test_properties_are_made_flat() -> None:
    """White space in a name is an underscore, an object's values bear its name, a list is left out."""
    given = {"Plan name": "x", "of": {"a": 1, "b": {"c": 2}}, "list": [1], "none": None, " ": 1}
    assert open_record(track(properties=given)).properties == {"Plan_name": "x", "of_a": 1, "of_b_c": 2}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"consent": False, "marketing": {"consent": True}, "marketing_consent": False}, False),
        ({"marketing_consent": False, "marketing": {"consent": True}}, False),
        ({"marketing": {"consent": True}, "marketing_consent": False}, False),
        ({"marketing consent": True, "marketing_consent": False}, False),
        ({"marketing_consent": True, "marketing": {"consent": None}}, True),
        ({"marketing": {"consent": True}, "marketing_consent": None}, True),
        ({"marketing": {"consent": False}, "marketing consent": True}, False),
    ],
    ids=str,
)
def test_a_name_that_is_made_takes_no_others_place(given: Any, kept: bool) -> None:
    """GIVEN two values that come to one name THEN what is written so stays, then the first; what is null says nothing.

    A consent that is denied was given by another, else.
    """
    customer = open_record(track(context={"traits": given})).customer
    assert customer.properties["marketing_consent"] is kept


def test_an_empty_object_hides_nothing() -> None:
    """GIVEN an object with nothing in it where another comes after it THEN the other is read."""
    assert open_record(track(context={"traits": {}}, traits={"plan": "x"})).customer.properties == {"plan": "x"}
    whole = open_record(
        cloud_event(data={"customer": {"id": "5", "vip": True, "properties": {}}, "properties": {}, "n": 1})
    )
    assert (whole.customer.properties, whole.properties) == ({"vip": True}, {"n": 1})


def test_a_long_name_over_very_much() -> None:
    """GIVEN an object's name as long as its values are many THEN it costs no more than the text: it is left out."""
    much = {"x" * (LONGEST_BEFORE + 1): {str(number): number for number in range(10)}, "y": {"z": 1}}
    assert open_record(track(properties=much)).properties == {"y_z": 1}


def test_an_id_of_a_cloud_event_is_its_sources() -> None:
    """The specification has ids unique within a source: two sources' are two events, also where they come to one name
    of ours.
    """
    sources = ("/shop/1", "/shop-1", "/Shop/1", "https://shop.example/2")
    events = [open_record(cloud_event(source=source)) for source in sources]
    assert [event.id for event in events] == [f"{source}:C234-1234-1234" for source in sources]
    assert [event.source for event in events] == ["shop_1", "shop_1", "shop_1", "https_shop_example_2"]


@pytest.mark.parametrize(
    ("data", "email", "number", "name", "customer", "properties"),
    [
        (
            {"customer": {"email": EMAIL, "phone": "+15551234567", "id": 5, "vip": True}, "plan": "x"},
            EMAIL,
            "+15551234567",
            "5",
            {"vip": True},
            {"plan": "x"},
        ),
        ({"user": {"email": EMAIL, "name": "Ada"}, "plan": "x"}, EMAIL, None, None, {"name": "Ada"}, {"plan": "x"}),
        (
            {"email": EMAIL, "phone_number": "+15551234567", "user_id": "u", "plan": "x"},
            EMAIL,
            "+15551234567",
            "u",
            {},
            {"plan": "x"},
        ),
        ({"customer": "cus_9", "plan": "x"}, None, None, "cus_9", {}, {"plan": "x"}),
        ({"object": {"email": EMAIL, "user_id": "auth0|5", "name": "Ada"}}, EMAIL, None, "auth0|5", {}, {}),
        (
            {"customer": {"id": "5", "properties": {"vip": True}}, "properties": {"plan": "x"}, "value": 1},
            None,
            None,
            "5",
            {"vip": True},
            {"plan": "x"},
        ),
    ],
    ids=["customer", "user", "flat", "an id", "object", "as ours"],
)
def test_where_a_cloud_event_says_who_it_was(  # one row, one event
    data: Any, email: str | None, number: str | None, name: str | None, customer: Any, properties: Any
) -> None:
    """Nothing in the specification says who an event is of: these are the places that are looked at."""
    event = open_record(cloud_event(data=data))
    assert (event.customer.email, event.customer.phone_number, event.customer.id) == (email, number, name)
    assert (event.customer.properties, event.properties) == (customer, properties)


@pytest.mark.parametrize("make", [dict, json.dumps], ids=["object", "text"])
def test_an_event_of_ours_as_the_data(make: Callable[[Any], Any]) -> None:
    """GIVEN our own event in a CloudEvent, or the text that AWS's framework for .NET makes of it THEN it is that."""
    ours = event_data(destinations=[DESTINATIONS[0]])
    assert open_record(cloud_event(data=make(ours))) == open_record(ours)


def test_what_is_too_much_to_be_named_is_counted() -> None:
    """Of the whole, as for an event of ours: it is no field of the data."""
    wrong = {f"p{number}": 2**64 for number in range(MOST_ERRORS + 1)}
    found = errors(cloud_event(data=event_data(properties=wrong)))
    assert found["body"] == "errors not named here: 1"
    assert "data.properties.p0" in found


def test_an_extension_may_be_called_as_a_field_of_ours() -> None:
    """A CloudEvent with an attribute `customer` is one all the same."""
    assert open_record(cloud_event(customer="c-1")) == open_record(cloud_event())


def test_an_end_of_its_use() -> None:
    """The extension `expirytime` is our `expires_at`."""
    event = open_record(cloud_event(expirytime="2018-04-06T17:31:00Z"))
    assert json.loads(event.to_json())["expires_at"] == "2018-04-06T17:31:00Z"


def test_history_is_history_in_every_format() -> None:
    """GIVEN our `backfill` in a call, or as an extension of a CloudEvent, in a body or in attributes THEN no flow is
    to start for it; false is not it, in either way to write it.
    """
    data = cloud_event(backfill=True)
    in_attributes = content_of(sqs_record(json.dumps(data["data"]), **attributes(data | {"backfill": "true"})))
    for one in (track(backfill=True), data, in_attributes):
        assert open_record(one).backfill
    for one in (track(backfill=False), cloud_event(backfill="false"), cloud_event(backfill=None), track()):
        assert not open_record(one).backfill


def test_every_field_of_a_format_is_one_of_ours() -> None:
    """A table names no field that an event does not have."""
    for kind in FORMATS:
        assert kind.fields.keys() <= Event.model_fields.keys()
        assert kind.customer.keys() <= Event.model_fields["customer"].annotation.model_fields.keys()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Order Completed", "order_completed"),
        ("orderCompleted", "order_completed"),
        ("order_completed", "order_completed"),
        ("com.example.someevent", "com_example_someevent"),
        ("/mycontext", "mycontext"),
        ("\N{SHOPPING TROLLEY} Cart  viewed!", "cart_viewed"),
        ("Commande pass\u00e9e", "commande_passee"),
        ("Gr\u00f6\u00dfe", "grosse"),
        ("\u6ce8\u6587 Completed", ""),
        ("!", ""),
    ],
    ids=ascii,
)
def test_a_name_of_theirs_as_one_of_ours(text: str, name: str) -> None:
    """The rule of docs/connect.md, and of the hint in an error."""
    assert snake_case(text) == name
