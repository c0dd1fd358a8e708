"""The functions' roles suffice, and the queue policies let the bus through: on an emulator that enforces IAM."""

import json
from contextlib import closing

import boto3
import pytest
from botocore.exceptions import ClientError

from local.machine import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from relay.providers import PROVIDERS
from tests.factories import eventbridge
from tests.kinds import FAST
from tests.system.running import BOTH, Relay, event, until


def test_the_emulator_enforces(plain: Relay) -> None:
    """Else the test below would show nothing: what a function's role does not allow is refused."""
    function = plain.clients.functions.get_function(FunctionName=plain.outputs["IntakeFunctionName"])
    root = boto3.Session(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=REGION)
    with closing(root.client("sts", endpoint_url=plain.clients.endpoint_url)) as sts:
        given = sts.assume_role(RoleArn=function["Configuration"]["Role"], RoleSessionName="test")["Credentials"]
    intake = boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=REGION
    ).client("sqs", endpoint_url=plain.clients.endpoint_url)
    with closing(intake):
        intake.receive_message(QueueUrl=plain.outputs["IntakeQueueUrl"])
        with pytest.raises(ClientError, match="AccessDenied"):
            intake.receive_message(QueueUrl=plain.outputs[f"{FAST.capitalize()}QueueUrl"])


def test_every_permission_is_there_and_used(plain: Relay) -> None:
    """One event each way in, one rejected, one dead letter for each lane, one deferral for each lane."""
    said_before = plain.log.stat().st_size
    plain.put_on_bus(event("role_bus", destinations=...))
    plain.send(event("role_sqs", destinations=...), event("role_bad", colour="blue"))
    plain.call("Intake", event("role_direct", destinations=...))
    plain.call("Intake", eventbridge(event("role_rule")))
    for name in ("role_bus", "role_sqs", "role_direct", "role_rule"):
        plain.until_settled([event(name)])
        assert len(plain.providers.accepted(name)) == len(BOTH)

    [rejected] = until(lambda: [one for one in plain.rejected() if "role_bad" in one.body], "the rejected record")
    assert json.loads(rejected.body)["id"] == "role_bad-1"

    for provider in PROVIDERS:
        plain.providers.misbehave("role_refused", provider=provider, status=422)
        plain.providers.misbehave(
            "role_deferred", provider=provider, status=429, headers={"Retry-After": "2"}, bare=True, count=1
        )
    plain.send(event("role_refused"), event("role_deferred"))
    plain.until_settled([event("role_refused")], "given_up")
    plain.until_settled([event("role_deferred")])
    plain.until_drained()
    for provider, destination in zip(PROVIDERS, BOTH, strict=True):
        assert len(plain.dead_letters(provider, "role_refused-1")) == 1
        answer = plain.call(
            provider.title(), {"destination": destination, "event": event("role_called"), "dry_run": True}
        )
        assert answer["dry_run"]
        assert plain.logged(message="deferred", destination=destination)
    assert plain.logged(message="left to the visibility timeout") == []
    assert b"AccessDenied" not in plain.log.read_bytes()[said_before:]
