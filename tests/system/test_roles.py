"""The functions' roles suffice, and the queue policies let the bus through: on an emulator that enforces IAM."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from local.machine import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from local.stack import Stack
from relay.providers import PROVIDERS
from tests.factories import eventbridge
from tests.kinds import FAST
from tests.system.running import BOTH, Relay, event, until
from tests.system.second import second_relay


@pytest.fixture(scope="module")
def enforcing(stack: tuple[Stack, Path], deployed: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with second_relay(stack, tmp_path_factory.mktemp("roles")) as relay:
        yield relay


def test_the_emulator_enforces(enforcing: Relay) -> None:
    """Else the test below would show nothing: what a function's role does not allow is refused."""
    function = enforcing.clients.functions.get_function(FunctionName=enforcing.outputs["IntakeFunctionName"])
    root = boto3.Session(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=REGION)
    with closing(root.client("sts", endpoint_url=enforcing.clients.endpoint_url)) as sts:
        given = sts.assume_role(RoleArn=function["Configuration"]["Role"], RoleSessionName="test")["Credentials"]
    intake = boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=REGION
    ).client("sqs", endpoint_url=enforcing.clients.endpoint_url)
    with closing(intake):
        intake.receive_message(QueueUrl=enforcing.outputs["IntakeQueueUrl"])
        with pytest.raises(ClientError, match="AccessDenied"):
            intake.receive_message(QueueUrl=enforcing.outputs[f"{FAST.capitalize()}QueueUrl"])


def test_every_permission_is_there_and_used(enforcing: Relay) -> None:
    """One event through each door, one rejected, one dead letter for each lane, one deferral for each lane."""
    enforcing.put_on_bus(event("role_bus", destinations=...))
    enforcing.send(event("role_sqs", destinations=...), event("role_bad", colour="blue"))
    enforcing.call("Intake", event("role_direct", destinations=...))
    enforcing.call("Intake", eventbridge(event("role_rule")))
    for name in ("role_bus", "role_sqs", "role_direct", "role_rule"):
        enforcing.until_settled([event(name)])
        assert len(enforcing.providers.accepted(name)) == len(BOTH)

    [rejected] = until(enforcing.rejected, "the rejected record")
    assert json.loads(rejected.body)["id"] == "role_bad-1"

    for provider in PROVIDERS:
        enforcing.providers.misbehave("role_refused", provider=provider, status=422)
        enforcing.providers.misbehave(
            "role_deferred", provider=provider, status=429, headers={"Retry-After": "2"}, bare=True, count=1
        )
    enforcing.send(event("role_refused"), event("role_deferred"))
    enforcing.until_settled([event("role_refused")], "given_up")
    enforcing.until_settled([event("role_deferred")])
    enforcing.until_drained()
    for provider, destination in zip(PROVIDERS, BOTH, strict=True):
        [letter] = enforcing.dead_letters(provider)
        assert letter.attributes["event_id"] == "role_refused-1"
        answer = enforcing.call(
            provider.title(), {"destination": destination, "event": event("role_called"), "dry_run": True}
        )
        assert answer["dry_run"]
        assert enforcing.logged(message="deferred", destination=destination)
    assert enforcing.logged(message="left to the visibility timeout") == []
    assert "AccessDenied" not in enforcing.log.read_text()
