"""What an event may come in."""

import json
from typing import Any

import pytest

from relay.errors import InvalidEventError
from relay.handlers.envelope import is_eventbridge, is_sns, open_record, unwrap
from relay.intake.intake import Carried
from tests.factories import EMAIL, event_data, event_json, eventbridge, make_event, sns


def fields_of(record: object) -> list[str]:
    with pytest.raises(InvalidEventError) as caught:
        open_record(record)
    return [error.field for error in caught.value.errors]


@pytest.mark.parametrize(
    "record",
    [
        event_data(),
        event_json(),
        f" {event_json()}\n",
        eventbridge(event_data()),
        json.dumps(eventbridge(event_data())),
        json.dumps(sns(event_data())),
        sns(event_json()),
        json.dumps(sns(eventbridge(event_data()))),
    ],
    ids=["parsed", "text", "padded", "eventbridge", "eventbridge text", "sns text", "sns", "eventbridge in sns"],
)
def test_every_way_to_carry_an_event(record: object) -> None:
    """The event is the same in whatever it came."""
    assert open_record(record) == make_event()


def test_a_notification_with_a_subject_and_attributes() -> None:
    """What SNS may add does not disturb."""
    more = {"Subject": "an event", "MessageAttributes": {"kind": {"Type": "String", "Value": "event"}}}
    assert open_record(json.dumps(sns(event_data(), **more))) == make_event()


def test_an_envelopes_own_id_is_not_the_events() -> None:
    """The event's id is the producer's, not EventBridge's."""
    assert open_record(eventbridge(event_data(id="mine"))).id == "mine"


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (sns(sns(event_data())), "Message"),
        (eventbridge(eventbridge(event_data())), "detail"),
        (eventbridge(sns(event_data())), "detail"),
        (sns(eventbridge(sns(event_data()))), "detail"),
        (sns(eventbridge(eventbridge(event_data()))), "detail"),
    ],
    ids=["sns in sns", "eventbridge twice", "sns in eventbridge", "sns around it all", "three deep"],
)
def test_an_envelope_in_an_envelope(record: object, field: str) -> None:
    """At most one of each, SNS outside: anything else is one error."""
    assert fields_of(record) == [field]


@pytest.mark.parametrize("detail", [None, 5, "text", [], [1]])
def test_a_detail_that_is_no_object(detail: object) -> None:
    """The error is about the detail."""
    assert all(field.startswith("detail") for field in fields_of(eventbridge(detail)))


@pytest.mark.parametrize("message", ["", "hello", "[1, 2]", "5", "{"])
def test_a_message_that_is_no_event(message: str) -> None:
    """The text inside a notification is read as strictly as any body."""
    assert fields_of(json.dumps(sns(message))) == ["body"]


def test_a_message_that_is_no_text() -> None:
    """A notification whose message is not text names that field."""
    assert all(field.startswith("Message") for field in fields_of({**sns(""), "Message": 5}))


@pytest.mark.parametrize("name", ["id", "source", "time", "account", "region", "resources", "version"])
def test_a_broken_eventbridge_envelope(name: str) -> None:
    """What EventBridge always gives is asked for by name."""
    record = eventbridge(event_data())
    del record[name]
    assert fields_of(record) == [name]


@pytest.mark.parametrize(
    "record",
    [
        eventbridge(event_data(), resources=[1] * 1_000),
        sns(event_data(), MessageAttributes=dict.fromkeys(map(str, range(1_000)), 1)),
    ],
    ids=["resources", "attributes"],
)
def test_what_nobody_reads_of_an_envelope_is_not_judged(record: object) -> None:
    """However much of it is wrong, the event is read."""
    assert open_record(record) == make_event()


@pytest.mark.parametrize("name", ["Type", "MessageId", "Timestamp"])
def test_a_broken_sns_envelope(name: str) -> None:
    """What SNS always gives is asked for by name."""
    record = sns(event_data())
    del record[name]
    assert fields_of(record) == [name]


def test_an_error_inside_an_envelope_names_the_events_field() -> None:
    """The producer knows the event, not our envelopes."""
    assert fields_of(eventbridge(event_data(customer={"email": "x"}))) == ["customer.email"]


def test_a_broken_envelope_does_not_repeat_what_it_held() -> None:
    """Errors of an envelope hold none of its values."""
    with pytest.raises(InvalidEventError) as caught:
        open_record({**sns(EMAIL), "Type": EMAIL, "Timestamp": EMAIL, "UnsubscribeURL": f"mailto:{EMAIL}"})
    assert EMAIL not in str(caught.value)


def test_reading_an_envelope_leaves_it_as_it_is() -> None:
    """It may have to be kept. (Powertools renames two keys of a notification where they stand.)"""
    record = sns(eventbridge(event_data()))
    before = json.dumps(record)
    open_record(record)
    assert json.dumps(record) == before


@pytest.mark.parametrize("record", [None, 5, "x", [], {}, {"detail": {}}, {"Message": ""}, event_data()])
def test_what_is_no_envelope(record: Any) -> None:
    """Anything that does not look like an envelope is handed on as it is."""
    assert not is_sns(record)
    assert not is_eventbridge(record)
    assert unwrap(record) == Carried(record)
