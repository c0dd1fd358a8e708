"""`make adopt` on an emulator: what is found, what is taken in, what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from local.clients import Clients
from local.machine import ACCESS_KEY_ID, REGION, ROOT, SECRET_ACCESS_KEY, free_port
from local.processes import CommandError, stop
from local.stack import start_emulator
from tests.kinds import OVERWRITES, REPEATS
from tests.system.running import until
from tests.template.stack import Stack
from tools.adopt import adopt, part, stack_name

STACK = Stack.load()
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "PYTHONPATH": str(ROOT),
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. Started once, ended with the last test."""
    state = tmp_path_factory.mktemp("adopt")
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = start_emulator(state, port)
    try:
        until(lambda: healthy(url), "the emulator healthy")
        yield url
    finally:
        stop(process)


@pytest.fixture
def aws(emulator: str) -> Iterator[Clients]:
    """An AWS account with nothing in it."""
    clients = Clients(emulator)
    yield clients
    for stage in ("dev", "prod"):
        clients.cloudformation.delete_stack(StackName=stack_name(stage))
        clients.cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=stack_name(stage), WaiterConfig={"Delay": 1}
        )
    for url in clients.sqs.list_queues().get("QueueUrls", []):
        clients.sqs.delete_queue(QueueUrl=url)
    for name in clients.dynamodb.list_tables()["TableNames"]:
        clients.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        clients.dynamodb.delete_table(TableName=name)
    for client in (clients.cloudformation, clients.sqs, clients.dynamodb):
        client.close()


def healthy(url: str) -> bool:
    pool = urllib3.PoolManager(retries=False, timeout=2)
    with suppress(urllib3.exceptions.HTTPError):
        return pool.request("GET", f"{url}/_ministack/health").status == 200
    return False


def leave_behind(aws: Clients, stage: str, *names: str) -> None:
    """Queues and tables of these logical names, as a deleted stack of the stage leaves them."""
    for name in names:
        properties = STACK.resources[name]["Properties"]
        if "TableName" in properties:
            aws.dynamodb.create_table(
                TableName=properties["TableName"]["Fn::Sub"].replace("${Stage}", stage),
                AttributeDefinitions=properties["AttributeDefinitions"],
                KeySchema=properties["KeySchema"],
                BillingMode="PAY_PER_REQUEST",
                DeletionProtectionEnabled=True,
                **{each: properties[each] for each in ("GlobalSecondaryIndexes",) if each in properties},
            )
        else:
            queue = properties["QueueName"]["Fn::Sub"].replace("${Stage}", stage)
            aws.sqs.create_queue(QueueName=queue, Attributes={"FifoQueue": "true"} if queue.endswith("fifo") else {})


def run(aws: Clients, stage: str) -> subprocess.CompletedProcess[str]:
    """The program, as `make adopt` starts it."""
    return subprocess.run(
        [sys.executable, "-m", "tools.adopt", stage],
        env=ENVIRONMENT | {"AWS_ENDPOINT_URL": aws.endpoint_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_left_becomes_the_new_stack_s(aws: Clients) -> None:
    """GIVEN the tables and all queues but one, with a message in it WHEN adopted
    THEN the new stack has these, under their names and with what is in them, and deleting it leaves them again."""
    kept = sorted(name for name, one in STACK.resources.items() if "DeletionPolicy" in one)
    left = [name for name in kept if name != f"{REPEATS.capitalize()}DeadLetterQueue"]
    leave_behind(aws, "dev", *left)
    lane = aws.sqs.get_queue_url(QueueName=f"dev-customer-events-{OVERWRITES}.fifo")["QueueUrl"]
    aws.sqs.send_message(QueueUrl=lane, MessageBody="waits", MessageGroupId="main", MessageDeduplicationId="1")

    done = run(aws, "dev")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in left)
    assert "make deploy STAGE=dev" in done.stdout
    (made,) = aws.cloudformation.describe_stacks(StackName="customer-event-relay-dev")["Stacks"]
    assert made["StackStatus"] == "IMPORT_COMPLETE"
    found = aws.cloudformation.list_stack_resources(StackName="customer-event-relay-dev")["StackResourceSummaries"]
    assert sorted(one["LogicalResourceId"] for one in found) == left

    again = run(aws, "dev")
    assert again.returncode == 1
    assert "customer-event-relay-dev exists" in again.stderr

    aws.cloudformation.delete_stack(StackName="customer-event-relay-dev")
    aws.cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="customer-event-relay-dev", WaiterConfig={"Delay": 1}
    )
    (message,) = aws.sqs.receive_message(QueueUrl=lane)["Messages"]
    assert message["Body"] == "waits"
    assert aws.dynamodb.list_tables()["TableNames"] == [
        "dev-customer-events",
        "dev-customer-events-accounts",
        "dev-customer-events-letters",
    ]


def test_there_may_be_nothing_left(aws: Clients) -> None:
    """WHEN nothing is left of that stage THEN nothing is made; another stage's is not touched."""
    leave_behind(aws, "dev", "Ledger", "IntakeQueue")
    done = run(aws, "prod")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing is left" in done.stdout
    assert aws.cloudformation.list_stacks(StackStatusFilter=["IMPORT_COMPLETE"])["StackSummaries"] == []


def test_a_stage_has_to_be_one_of_the_configuration_s(aws: Clients) -> None:
    """A name mistyped is no reason to look for what is left of it."""
    done = run(aws, "porduction")
    assert done.returncode == 1
    assert done.stderr == "failed: samconfig.toml has no stage porduction\n"
    with pytest.raises(CommandError, match="no stage"):
        adopt("porduction", aws.cloudformation, aws.sqs, aws.dynamodb)


def test_nobody_deploys_local_to_an_account(aws: Clients) -> None:
    """GIVEN an account that is not the emulator's WHEN a stack is made with Stage=local THEN CloudFormation refuses."""
    body: dict[str, Any] = part(STACK.body, {"RejectedQueue": {}}) | {"Rules": STACK.body["Rules"]}
    rule = next(iter(body["Rules"].values()))

    def make(template: dict[str, Any], stage: str) -> None:
        aws.cloudformation.create_stack(
            StackName=stack_name("dev"),
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": "Stage", "ParameterValue": stage}],
        )

    # The emulator has one account, so that it is the rule that names another.
    elsewhere = json.loads(json.dumps(body).replace("0" * 12, "1" * 12))
    with pytest.raises(ClientError, match=rule["Assertions"][0]["AssertDescription"][:20]):
        make(elsewhere, "local")
    make(elsewhere, "dev")
