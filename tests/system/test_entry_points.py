"""Every way in leads to both providers: each event once, with exactly the body the provider's reference asks for."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.factories import eventbridge, sns
from tests.system.running import BOTH, HAPPENED_AT, PHONE, Json, Relay, event, until
from tests.template.stack import Stack as Template


def order(entry: str) -> Json:
    """The event that goes in one way: with all that either provider takes."""
    return event(
        entry,
        customer={
            "email": f"{entry}@customers.example",
            "phone_number": PHONE,
            "provider_ids": {"sender": "Qmp2g5"},
            "properties": {"tier": "gold", "vip": True},
        },
        properties={"order_id": "A-1001", "total": 6.7, "items": 3, "gift": False, "shipped_on": "2026-11-22"},
        value=6.7,
        currency="USD",
        destinations=["yotpo/main", "sender/main"],
    )


def notified(order: Json) -> Json:
    """What SNS calls a function with."""
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns(order)}]}


ENTRY_POINTS: dict[str, Callable[[Relay, Json], Any]] = {
    "entry_bus": lambda relay, order: relay.put_on_bus(order),
    "entry_sqs": lambda relay, order: relay.send(order),
    "entry_sqs_eventbridge": lambda relay, order: relay.send(eventbridge(order)),
    "entry_sqs_sns": lambda relay, order: relay.send(sns(order)),
    "entry_sqs_sns_eventbridge": lambda relay, order: relay.send(sns(eventbridge(order))),
    "entry_direct_one": lambda relay, order: relay.call("Intake", order),
    "entry_direct_many": lambda relay, order: relay.call("Intake", {"events": [order]}),
    "entry_rule_on_the_function": lambda relay, order: relay.call("Intake", eventbridge(order)),
    "entry_rule_on_the_function_async": lambda relay, order: relay.notify(eventbridge(order)),
    "entry_topic_on_the_function": lambda relay, order: relay.notify(notified(order)),
    "entry_topic_eventbridge_on_the_function": lambda relay, order: relay.notify(notified(eventbridge(order))),
}
ANSWERING = ("entry_direct_one", "entry_direct_many", "entry_rule_on_the_function")


@pytest.fixture(scope="module")
def answers(deployed: Relay) -> dict[str, Any]:
    """What each entry point answered to its event, when all have arrived."""
    answered = {entry: enter(deployed, order(entry)) for entry, enter in ENTRY_POINTS.items()}
    for entry in ENTRY_POINTS:
        until(lambda entry=entry: len(deployed.providers.accepted(entry)) >= 2, f"{entry} at both providers")  # type: ignore[misc]
    deployed.until_drained()
    return answered


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_every_entry_point_leads_to_both_providers(relay: Relay, answers: dict[str, Any], entry: str) -> None:
    """Exactly one request each, with the exact body."""
    requests = {request["provider"]: request for request in relay.providers.requests(entry)}
    assert len(relay.providers.requests(entry)) == 2
    properties = {"order_id": "A-1001", "total": 6.7, "items": 3, "gift": False, "shipped_on": "2026-11-22"}
    assert requests["yotpo"]["body"] == {
        "source": "shop",
        "type": entry,
        "timestamp": HAPPENED_AT,
        "id": f"{entry}-1",
        "customer": {"email": f"{entry}@customers.example", "custom_properties": {"tier": "gold", "vip": True}},
        "properties": properties,
    }
    assert requests["sender"]["body"] == {
        "subscriber": {"id": "Qmp2g5", "email": f"{entry}@customers.example", "phone": PHONE},
        "type": entry,
        "value": 6.7,
        "value_currency": "USD",
        "properties": properties,
    }


@pytest.mark.parametrize("entry", ANSWERING)
def test_a_direct_call_hears_what_was_accepted(answers: dict[str, Any], entry: str) -> None:
    assert answers[entry] == {"accepted": [f"{entry}-1"], "rejected": []}


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_the_ledger_tells_an_events_fate_by_one_query(relay: Relay, answers: dict[str, Any], entry: str) -> None:
    """Both destinations, nothing personal, and an end to how long it is kept."""
    records = relay.ledger(f"{entry}-1")
    assert {to: (one["state"], one["attempts"], one["status"]) for to, one in records.items()} == {
        "yotpo/main": ("delivered", "1", "200"),
        "sender/main": ("delivered", "1", "201"),
    }
    assert "customers.example" not in json.dumps(records)
    assert PHONE not in json.dumps(records)


def test_the_ledger_forgets(relay: Relay, answers: dict[str, Any]) -> None:
    """DynamoDB's time to live looks at an attribute that the records really have."""
    # The emulator drops this part of a table, so the template has to say it.
    table = Template.load().of("AWS::DynamoDB::Table")["Ledger"]
    for record in relay.ledger("entry_sqs-1").values():
        kept_until = float(record.get(table["TimeToLiveSpecification"]["AttributeName"], "0"))
        assert kept_until > float(record["accepted_at"]) + 7 * 86_400


def test_an_event_without_a_moment_gets_that_of_its_intake(relay: Relay) -> None:
    relay.send(event("no_moment", occurred_at=..., destinations=["yotpo/main"]))
    request = until(lambda: relay.providers.accepted("no_moment"), "the event at Yotpo")[0]
    assert request["body"]["timestamp"].endswith("Z")


def test_a_phone_identifies_where_there_is_no_email(relay: Relay) -> None:
    relay.send(event("phone_only", customer={"phone_number": PHONE}))
    until(lambda: len(relay.providers.accepted("phone_only")) == 2, "the event at both providers")
    bodies = {request["provider"]: request["body"] for request in relay.providers.requests("phone_only")}
    assert bodies["yotpo"]["customer"] == {"phone_number": PHONE}
    assert bodies["sender"]["subscriber"] == {"phone": PHONE}


def test_a_store_id_is_one_segment_of_the_path_whatever_it_holds(relay: Relay) -> None:
    """`../../x?y=1#z` is a store of the sandbox: it only gets there percent-encoded."""
    relay.send(event("odd_store", destinations=["yotpo/odd"]))
    [request] = until(lambda: relay.providers.accepted("odd_store"), "the event at Yotpo")
    assert request["account"] == "../../x?y=1#z"


def theirs(name: str) -> dict[str, Json]:
    """One happening as Segment and as a CloudEvent write it, under the types that the events get."""
    who, what = {"email": f"{name}@customers.example"}, {"order_id": f"{name}-1", "total": 6.7}
    return {
        f"{name}_track": {
            "type": "track",
            "event": f"{name.title()} Track",
            "messageId": f"{name}-track-1",
            "userId": "u-1",
            "timestamp": "2026-11-22T10:00:00.000Z",
            "context": {"app": {"name": "Shop"}, "traits": who},
            "properties": {**what, "products": [{"sku": "1"}]},
        },
        f"com_{name}_cloud": {
            "specversion": "1.0",
            "id": "cloud-1",
            "source": f"/{name}",
            "type": f"com.{name}.cloud",
            "time": "2026-11-22T10:00:00Z",
            "data": {"customer": who, **what},
        },
    }


def test_what_others_send_arrives_as_an_event(plain: Relay) -> None:
    """GIVEN a track on the bus, and a CloudEvent in SQS, as a whole and with its attributes beside its data THEN each
    arrives at every configured provider, the two CloudEvents being one.
    """
    (track_type, track), (cloud_type, cloud) = theirs("alien").items()
    plain.put_on_bus(track)
    plain.send(cloud)
    until(lambda: len(plain.providers.accepted(cloud_type)) == len(BOTH), "the CloudEvent everywhere")
    attributes: Any = {
        f"ce-{name}": {"DataType": "String", "StringValue": value} for name, value in cloud.items() if name != "data"
    }
    plain.clients.sqs.send_message(
        QueueUrl=plain.outputs["IntakeQueueUrl"], MessageBody=json.dumps(cloud["data"]), MessageAttributes=attributes
    )
    until(lambda: len(plain.providers.accepted(track_type)) == len(BOTH), "the track everywhere")
    until(lambda: len(plain.logged(event_id="/alien:cloud-1", message="duplicate")) == len(BOTH), "that it is a repeat")
    for name, event_id in ((track_type, "alien-track-1"), (cloud_type, "/alien:cloud-1")):
        (request,) = plain.providers.requests(name, "yotpo")
        assert request["body"]["id"] == event_id
        assert request["body"]["customer"]["email"] == "alien@customers.example"
        assert request["body"]["properties"] == {"order_id": "alien-1", "total": 6.7}
