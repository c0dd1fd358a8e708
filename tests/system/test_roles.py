"""The functions' roles suffice, and the queue policies let the bus through: on an emulator that enforces IAM."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest
import urllib3
from botocore.exceptions import ClientError

from local.clients import Clients
from local.deployment import STAGE, architecture, build, build_folder, deploy
from local.environment import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, server_environment
from local.places import TOOLS, free_port
from local.processes import start, stop
from local.stack import Stack
from tests.factories import eventbridge
from tests.system.running import BOTH, Providers, Relay, event, secret, until


@pytest.fixture(scope="module")
def enforcing(stack: tuple[Stack, Path], deployed: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A second relay as a user deploys it. Its deliveries go to the session's sandbox, its log beside the session's."""
    sandbox_url, state = stack[0].sandbox_url, tmp_path_factory.mktemp("roles")
    port = free_port()
    env = server_environment(state) | {
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(state / "tmp" / "s3"),
        "STATE_DIR": str(state / "tmp" / "state"),
        "LAMBDA_EXECUTOR": "local",
        "DOCKER_HOST": f"unix://{state}/no-docker",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    log = stack[1] / "emulator-enforcing.log"
    emulator = start("emulator", [str(TOOLS / "ministack")], env=env, cwd=state, log=log)
    try:
        clients = Clients(f"http://127.0.0.1:{port}")
        until(lambda: healthy(clients.endpoint_url), "the emulator healthy")
        parameters = {
            "Stage": STAGE,
            "Architecture": architecture(),
            "YotpoBaseUrl": sandbox_url,
            "SenderBaseUrl": sandbox_url,
        }
        with build_folder():
            build(state, clients.endpoint_url, parameters)
            outputs = deploy(state, clients, parameters)
        relay = Relay(clients, outputs, Providers(sandbox_url), log)
        for provider in ("yotpo", "sender"):
            relay.clients.secrets.create_secret(
                Name=f"{STAGE}/customer-events/{provider}/main", SecretString=secret(provider, "main")
            )
        yield relay
        relay.close()
    finally:
        stop(emulator)


def healthy(url: str) -> bool:
    pool = urllib3.PoolManager(retries=False, timeout=2)
    try:
        reply = pool.request("GET", f"{url}/_ministack/health")
        return reply.status == 200 and bool(reply.json().get("services"))
    except urllib3.exceptions.HTTPError:
        return False
    finally:
        pool.clear()


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
            intake.receive_message(QueueUrl=enforcing.outputs["YotpoQueueUrl"])


def test_every_permission_is_there_and_used(enforcing: Relay) -> None:
    """One event through each door, one rejected, one dead letter for each lane, one deferral for each lane."""
    enforcing.put_on_bus(event("role_bus", destinations=...))
    enforcing.send(event("role_sqs", destinations=...), event("role_bad", colour="blue"))
    enforcing.call("Intake", event("role_direct", destinations=...))
    enforcing.call("Intake", eventbridge(event("role_rule")))
    for name in ("role_bus", "role_sqs", "role_direct", "role_rule"):
        enforcing.until_settled([event(name)])
        assert len(enforcing.providers.accepted(name)) == 2

    [rejected] = until(enforcing.rejected, "the rejected record")
    assert json.loads(rejected.body)["id"] == "role_bad-1"

    for provider in ("yotpo", "sender"):
        enforcing.providers.misbehave("role_refused", provider=provider, status=422)
        enforcing.providers.misbehave(
            "role_deferred", provider=provider, status=429, headers={"Retry-After": "2"}, bare=True, count=1
        )
    enforcing.send(event("role_refused"), event("role_deferred"))
    enforcing.until_settled([event("role_refused")], "given_up")
    enforcing.until_settled([event("role_deferred")])
    enforcing.until_drained()
    for provider, destination in zip(("yotpo", "sender"), BOTH, strict=True):
        [letter] = enforcing.dead_letters(provider)
        assert letter.attributes["event_id"] == "role_refused-1"
        answer = enforcing.call(
            provider.title(), {"destination": destination, "event": event("role_called"), "dry_run": True}
        )
        assert answer["dry_run"]
        assert enforcing.logged(message="deferred", destination=destination)
    assert enforcing.logged(message="left to the visibility timeout") == []
    assert "AccessDenied" not in enforcing.log.read_text()
