"""The recipes of docs/connect.md, deployed beside the relay: each with an event of the other system's own shape."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.machine import REGION, ROOT, SECRET_ACCESS_KEY, server_environment
from tests.filling import at_path, filled_in
from tests.system.conftest import PRODUCER
from tests.system.running import Json, Relay, event, until
from tools.template import load

RECIPES = ROOT / "events" / "connect"
STRANGER = "333333333333"


@pytest.fixture
def relay(plain: Relay) -> Relay:
    return plain


def aws(relay: Relay, service: str, account: str = "test") -> Any:
    """A client of that account: the emulator takes an account's number as its access key."""
    session: Any = boto3.Session(account, SECRET_ACCESS_KEY, region_name=REGION)
    return session.client(service, endpoint_url=relay.clients.endpoint_url)


def deploy(relay: Relay, recipe: str, name: str, **parameters: str) -> None:
    """The recipe as a stack of its own, given those of the relay's outputs that it asks for."""
    body = (RECIPES / recipe).read_text()
    asked = load(RECIPES / recipe)["Parameters"]
    given = {one: relay.outputs[one] for one in asked if one in relay.outputs} | parameters
    relay.clients.cloudformation.create_stack(
        StackName=name,
        TemplateBody=body,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    relay.clients.cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def theirs(mail: str) -> Json:
    """The shop's own event, of a customer whom no other test knows."""
    sample: Json = json.loads((RECIPES / "order-placed.json").read_text())
    sample["detail"]["buyer"]["mail"] = mail
    return sample


def put(relay: Relay, bus: str, entry: Json) -> str:
    """Puts the event on the bus. Returns EventBridge's id of it."""
    answer = relay.clients.events.put_events(
        Entries=[
            {
                "EventBusName": bus,
                "Source": entry["source"],
                "DetailType": entry["detail-type"],
                "Detail": json.dumps(entry["detail"]),
            }
        ]
    )
    assert answer["FailedEntryCount"] == 0
    return answer["Entries"][0]["EventId"]


def own_bus(relay: Relay, name: str) -> str:
    relay.clients.events.create_event_bus(Name=name)
    return name


def requests(relay: Relay, kind: str, mail: str) -> dict[str, list[Json]]:
    """The bodies that each provider got for the events of that type and customer."""
    found: dict[str, list[Json]] = {"yotpo": [], "sender": []}
    for request in relay.providers.requests(kind):
        who = request["body"]["customer" if request["provider"] == "yotpo" else "subscriber"]
        if who.get("email") == mail:
            found[request["provider"]].append(request["body"])
    return found


def arrived(relay: Relay, kind: str, mail: str) -> tuple[Json, Json]:
    """The one body that each provider got."""
    until(lambda: all(requests(relay, kind, mail).values()), f"{kind} of {mail} at both providers")
    relay.until_drained()
    found = requests(relay, kind, mail)
    [yotpo], [sender] = found["yotpo"], found["sender"]
    return yotpo, sender


# -------------------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize("intake", ["IntakeQueueArn", "IntakeFunctionArn"])
def test_a_rule_makes_our_event_of_theirs(relay: Relay, intake: str) -> None:
    """To the queue and to the function alike; the number of their order is our text, their amount stays a number."""
    mail = f"{intake.lower()}@customers.example"
    bus = own_bus(relay, f"shop-{intake}")
    deploy(relay, "rule.yaml", f"rule-{intake}", BusName=bus, IntakeArn=relay.outputs[intake])
    before = datetime.now().astimezone().replace(microsecond=0)
    event_id = put(relay, bus, theirs(mail))
    yotpo, sender = arrived(relay, "order_placed", mail)
    assert before <= datetime.fromisoformat(yotpo.pop("timestamp")) <= datetime.now().astimezone()
    assert yotpo == {
        "id": event_id,
        "source": "shop",
        "type": "order_placed",
        "customer": {"email": mail, "custom_properties": {"newsletter": True}},
        "properties": {"order_id": "100451", "total": 6.7},
    }
    assert sender == {
        "subscriber": {"email": mail},
        "type": "order_placed",
        "value": 6.7,
        "value_currency": "USD",
        "properties": {"order_id": "100451", "total": 6.7},
    }


def test_what_eventbridge_hands_over_twice_is_sent_once(relay: Relay) -> None:
    """Because the event's id is EventBridge's, and its moment is too."""
    # The emulator hands over once. Its second time is made here, as the same rule would make it.
    recipe = load(RECIPES / "rule.yaml")
    [goal] = recipe["Resources"]["OrderPlaced"]["Properties"]["Targets"]
    transformer = goal["InputTransformer"]
    envelope = theirs("twice@customers.example") | {"id": "5ca1ab1e-0000-4000-8000-000000000001"}
    envelope["time"] = "2026-11-28T10:00:00Z"
    paths = transformer["InputPathsMap"]
    body = filled_in(transformer["InputTemplate"], lambda name: at_path(envelope, paths[name]))
    relay.send(body)
    arrived(relay, "order_placed", "twice@customers.example")
    relay.send(body)
    relay.until_drained()
    arrived(relay, "order_placed", "twice@customers.example")


def test_an_event_with_a_hole_is_not_the_rule_s(relay: Relay) -> None:
    """The rule asks for all that its template takes: what lacks some of it stays where it is."""
    bus = own_bus(relay, "shop-holes")
    deploy(relay, "rule.yaml", "rule-holes", BusName=bus, IntakeArn=relay.outputs["IntakeQueueArn"])
    hollow = theirs("hole@customers.example")
    del hollow["detail"]["total"]["amount"]
    put(relay, bus, hollow)
    put(relay, bus, theirs("whole@customers.example"))
    arrived(relay, "order_placed", "whole@customers.example")
    assert requests(relay, "order_placed", "hole@customers.example") == {"yotpo": [], "sender": []}
    assert [letter for letter in relay.rejected() if "hole@" in letter.body] == []


def test_a_rule_of_another_account_comes_with_a_role(relay: Relay) -> None:
    """The emulator hands over within an account only: the rule is deployed in the relay's own."""
    bus = own_bus(relay, "shop-elsewhere")
    deploy(
        relay,
        "rule-from-another-account.yaml",
        "rule-elsewhere",
        BusName=bus,
        DeadLetterQueueArn=relay.outputs["RejectedQueueArn"],
    )
    event_id = put(relay, bus, theirs("elsewhere@customers.example"))
    yotpo, _ = arrived(relay, "order_placed", "elsewhere@customers.example")
    assert (yotpo["id"], yotpo["properties"]) == (event_id, {"order_id": "100451"})


def test_a_bus_passes_on_what_has_our_shape(relay: Relay) -> None:
    bus = own_bus(relay, "partner")
    deploy(relay, "bus-to-bus.yaml", "partner", BusName=bus, DeadLetterQueueArn=relay.outputs["RejectedQueueArn"])
    ours = event("passed_on", destinations=...)
    put(relay, bus, {"source": "partner.shop", "detail-type": "customer event", "detail": ours})
    yotpo, _ = arrived(relay, "passed_on", ours["customer"]["email"])
    assert yotpo["id"] == ours["id"]


def test_accounts_that_are_named_send_and_others_do_not(relay: Relay) -> None:
    """To IntakeQueue. On the bus the emulator takes nobody of another account: tests/template/test_admission.py."""
    ours = event("sent_from_elsewhere", destinations=...)
    url, body = relay.outputs["IntakeQueueUrl"], json.dumps(ours)
    aws(relay, "sqs", PRODUCER).send_message(QueueUrl=url, MessageBody=body)
    arrived(relay, "sent_from_elsewhere", ours["customer"]["email"])
    with pytest.raises(ClientError, match="AccessDenied"):
        aws(relay, "sqs", STRANGER).send_message(QueueUrl=url, MessageBody=body)
    with pytest.raises(ClientError, match="AccessDenied"):
        aws(relay, "sqs", PRODUCER).receive_message(QueueUrl=url)


# ------------------------------------------------------------------------------------------------------- topics


@pytest.mark.parametrize("raw", ["true", "false"])
def test_a_topic_reaches_the_queue_raw_and_enveloped(relay: Relay, raw: str) -> None:
    """Past the queue's policy, which the emulator enforces for SNS."""
    sns, name = aws(relay, "sns"), f"topic_raw_{raw}"
    topic = sns.create_topic(Name=name)["TopicArn"]
    deploy(relay, "topic.yaml", name.replace("_", "-"), TopicArn=topic, Raw=raw)
    ours = event(name, destinations=...)
    sns.publish(TopicArn=topic, Message=json.dumps(ours))
    yotpo, _ = arrived(relay, name, ours["customer"]["email"])
    assert yotpo["id"] == ours["id"]


def test_a_topic_of_a_stranger_does_not_reach_the_queue(relay: Relay) -> None:
    """Whoever subscribes our queue to it."""
    sns = aws(relay, "sns", STRANGER)
    topic = sns.create_topic(Name="strange")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=relay.outputs["IntakeQueueArn"])
    strange, known = event("strange", destinations=...), event("known", destinations=...)
    sns.publish(TopicArn=topic, Message=json.dumps(strange))
    relay.send(known)
    arrived(relay, "known", known["customer"]["email"])
    assert relay.providers.requests("strange") == []
    assert "queue policy denies delivery" in relay.log.read_text()


def test_a_topic_reaches_the_function(relay: Relay) -> None:
    sns = aws(relay, "sns")
    topic = sns.create_topic(Name="to-the-function")["TopicArn"]
    deploy(relay, "topic-to-function.yaml", "topic-to-function", TopicArn=topic)
    ours = event("topic_to_function", destinations=...)
    sns.publish(TopicArn=topic, Message=json.dumps(ours))
    yotpo, _ = arrived(relay, "topic_to_function", ours["customer"]["email"])
    assert yotpo["id"] == ours["id"]


# ---------------------------------------------------------------------------------------- pipes, schedules, SDK


def test_a_pipe_makes_our_event_of_their_message(relay: Relay) -> None:
    """The emulator makes the pipe, but runs none from a queue: its message is made here by AWS's rules."""
    orders = relay.clients.sqs.create_queue(QueueName="orders")["QueueUrl"]
    attributes = relay.clients.sqs.get_queue_attributes(QueueUrl=orders, AttributeNames=["QueueArn"])["Attributes"]
    deploy(relay, "pipe.yaml", "pipe", OrdersQueueArn=attributes["QueueArn"])
    [pipe] = aws(relay, "pipes").list_pipes()["Pipes"]
    assert (pipe["Source"], pipe["Target"]) == (attributes["QueueArn"], relay.outputs["IntakeQueueArn"])

    mail = "pipe@customers.example"
    message = {"messageId": "5ca1ab1e-0000-4000-8000-000000000002", "body": theirs(mail)["detail"]}
    template = load(RECIPES / "pipe.yaml")["Resources"]["Orders"]["Properties"]["TargetParameters"]["InputTemplate"]
    relay.send(filled_in(template, lambda path: at_path(message, path)))
    yotpo, sender = arrived(relay, "order_placed", mail)
    assert (yotpo["id"], yotpo["timestamp"]) == (message["messageId"], "2026-11-28T10:00:00Z")
    assert (yotpo["properties"], sender["value"]) == ({"order_id": "100451", "total": 6.7}, 6.7)


def test_a_schedule_sends_our_event(relay: Relay) -> None:
    """Once, however often the scheduler tries."""
    deploy(relay, "schedule.yaml", "schedule", ScheduleExpression="at(2026-01-01T09:00:00)")
    yotpo, _ = arrived(relay, "reminder_due", "customer@example.com")
    # The emulator leaves the scheduler's own words as they stand.
    assert yotpo["id"] == "reminder-4711-<aws.scheduler.scheduled-time>"
    body = load(RECIPES / "schedule.yaml")["Resources"]["Reminder"]["Properties"]["Target"]["Input"]
    body = body.replace("<aws.scheduler.scheduled-time>", "2026-12-24T09:00:00Z")
    relay.send(body)
    relay.until_drained()
    relay.send(body)
    relay.until_drained()
    found = requests(relay, "reminder_due", "customer@example.com")
    expected = [yotpo["id"], "reminder-4711-2026-12-24T09:00:00Z"]
    assert [body["id"] for body in found["yotpo"]] == expected
    assert len(found["sender"]) == 2


def test_the_sdk_puts_events(relay: Relay, tmp_path: Path) -> None:
    """The script as it stands, by the bus's name and by its ARN: the second time it is the same event."""
    environment = server_environment(tmp_path) | {"AWS_ENDPOINT_URL": relay.clients.endpoint_url}

    def put_events(bus: str) -> subprocess.CompletedProcess[str]:
        script = [sys.executable, str(RECIPES / "put_events.py"), bus]
        return subprocess.run(script, env=environment, check=False, capture_output=True, text=True)

    for output in ("EventBusName", "EventBusArn"):
        done = put_events(relay.outputs[output])
        assert (done.returncode, len(done.stdout.strip())) == (0, 36), done.stderr
        yotpo, _ = arrived(relay, "order_placed", "customer@example.com")
        assert (yotpo["id"], yotpo["properties"]["order_id"]) == ("order-100451-placed", "100451")
    refused = put_events(f"arn:aws:events:{REGION}:{STRANGER}:event-bus/local-customer-events")
    assert refused.returncode == 1
    assert "ErrorCode" in refused.stderr
