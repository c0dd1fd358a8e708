"""Customers' data at rest: under AWS's keys, or under one of the user's, whose policy docs/operate.md spells out.

What AWS does with these policies is asked of an evaluator that others wrote. Nothing here has run on AWS.
"""

import json
import re
from typing import Any

import pytest
from ministack.core.iam_evaluator import (
    EvalContext,
    evaluate,
    evaluate_resource_policy,
    parse_policy_document,
)

from relay.providers import PROVIDERS
from tests.template.stack import ROOT, listed
from tools.template import Json, deployed

ACCOUNT, PRODUCER, STRANGER = "111122223333", "444455556666", "777788889999"
REGION, STAGE = "eu-central-1", "prod"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
WITHOUT = deployed(ACCOUNT, REGION, Stage=STAGE)["Resources"]
WITH = deployed(ACCOUNT, REGION, Stage=STAGE, DataKeyArn=KEY)["Resources"]

HOLDS_EVENTS = ("AWS::SQS::Queue", "AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::Events::EventBus")
SENDS, RECEIVES = {"kms:GenerateDataKey", "kms:Decrypt"}, {"kms:Decrypt"}
SQS, DYNAMODB = f"sqs.{REGION}.amazonaws.com", f"dynamodb.{REGION}.amazonaws.com"


def of(resources: Json, kind: str) -> dict[str, Json]:
    return {name: one["Properties"] for name, one in resources.items() if one["Type"] == kind}


# ------------------------------------------------------------------------------------------------ what is encrypted


def test_without_a_key_all_is_under_aws_s_own() -> None:
    """No key of anybody's is named, and nothing is without one."""
    assert "kms:" not in json.dumps(WITHOUT)
    assert all(queue["SqsManagedSseEnabled"] is True for queue in of(WITHOUT, "AWS::SQS::Queue").values())
    assert all(
        table["SSESpecification"] == {"SSEEnabled": True} for table in of(WITHOUT, "AWS::DynamoDB::Table").values()
    )
    named = ("KmsMasterKeyId", "KMSMasterKeyId", "KmsKeyId", "KmsKeyIdentifier", "SSEType")
    assert not [name for name in named if f'"{name}"' in json.dumps(WITHOUT)]


def test_with_a_key_all_that_holds_events_is_under_it() -> None:
    """SQS takes one kind of encryption a queue, and DynamoDB a key only where its kind is said."""
    for queue in of(WITH, "AWS::SQS::Queue").values():
        assert queue["KmsMasterKeyId"] == KEY
        assert "SqsManagedSseEnabled" not in queue
    for table in of(WITH, "AWS::DynamoDB::Table").values():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    assert {group.get("KmsKeyId") for group in of(WITH, "AWS::Logs::LogGroup").values()} == {KEY}
    assert {bus.get("KmsKeyIdentifier") for bus in of(WITH, "AWS::Events::EventBus").values()} == {KEY}
    assert all(of(WITH, kind) for kind in HOLDS_EVENTS)


def test_the_key_changes_nothing_else() -> None:
    """A stack with it is the same stack: what differs is those four kinds, and what the roles may do with the key."""
    changed = {WITH[name]["Type"] for name in WITH if WITH[name] != WITHOUT[name]}
    assert set(WITH) == set(WITHOUT)
    assert changed == {*HOLDS_EVENTS, "AWS::IAM::Role"}


# ------------------------------------------------------------------------------------------------ what the roles may


def statements(role: str, resources: Json = WITH) -> list[Json]:
    return [
        one for policy in resources[role]["Properties"]["Policies"] for one in policy["PolicyDocument"]["Statement"]
    ]


def may(role: str, action: str, via: str, **context: str) -> bool:
    """Whether the role's own policy lets it use the key so."""
    document = {"Version": "2012-10-17", "Statement": [one for one in statements(role) if one["Resource"] == KEY]}
    asked = EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/x",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=KEY,
        region=REGION,
        secure_transport=True,
        service_context={"kms:viaservice": via, **context},
    )
    return bool(evaluate(asked, [parse_policy_document(document)]).decision == "Allow")


def queue(name: str, stage: str = STAGE) -> dict[str, str]:
    return {"kms:encryptioncontext:aws:sqs:arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{stage}-customer-events-{name}"}


def table(name: str, stage: str = STAGE) -> dict[str, str]:
    return {"kms:encryptioncontext:aws:dynamodb:tablename": f"{stage}-customer-events{name}"}


ROLES = ["IntakeRole", *(f"{provider.capitalize()}Role" for provider in PROVIDERS)]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_uses_the_key_for_what_it_does_and_through_nothing_else(role: str) -> None:
    """Each takes from a queue, sends to others and writes into tables."""
    lane = f"{next(iter(PROVIDERS))}.fifo"
    for action in SENDS:
        assert may(role, action, SQS, **queue("intake"))
        assert may(role, action, SQS, **queue(lane))
        assert not may(role, action, SQS, **queue("intake", "dev"))
        assert not may(role, action, f"sqs.{REGION}.amazonaws.com.example", **queue("intake"))
        assert not may(role, action, "", **queue("intake"))
        assert not may(role, action, SQS)
    for name in ("", "-accounts", "-letters"):
        assert may(role, "kms:Decrypt", DYNAMODB, **table(name))
    assert not may(role, "kms:Decrypt", DYNAMODB, **table("", "dev"))
    for action in (
        "kms:Encrypt",
        "kms:ReEncryptFrom",
        "kms:CreateGrant",
        "kms:PutKeyPolicy",
        "kms:ScheduleKeyDeletion",
    ):
        assert not may(role, action, SQS, **queue("intake"))
        assert not may(role, action, DYNAMODB, **table(""))


def test_the_roles_gain_nothing_but_the_use_of_the_key() -> None:
    """What they could do without it, and no more."""
    for role in ROLES:
        gained = [one for one in statements(role) if one not in statements(role, WITHOUT)]
        assert gained
        assert {action for one in gained for action in listed(one["Action"])} <= SENDS
        assert {str(one["Resource"]) for one in gained} == {KEY}
        assert [one for one in statements(role) if one not in gained] == statements(role, WITHOUT)


# ------------------------------------------------------------------------------------------------ the key's own policy


def documented() -> Json:
    """The key policy that docs/operate.md spells out."""
    section = (ROOT / "docs/operate.md").read_text().split("## Data under a key of yours")[1].split("\n## ")[0]
    (written,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    policy: Json = json.loads(written)
    return policy


def admits(action: str, principal: str, **context: str) -> bool:
    """A service by its name, an account by its number."""
    service = principal if principal.endswith(".amazonaws.com") else ""
    asked = EvalContext(
        principal_arn="*" if service else f"arn:aws:iam::{principal}:root",
        principal_type="Service" if service else "Account",
        principal_account="" if service else principal,
        action=action,
        resource_arn=KEY,
        region=REGION,
        secure_transport=True,
        service_context=context,
    )
    decided: Any = evaluate_resource_policy(
        json.dumps(documented()), asked, **({"service": service} if service else {})
    )
    return bool(decided.decision == "Allow")


@pytest.mark.parametrize("service", ["events.amazonaws.com", "sns.amazonaws.com"])
def test_the_documented_policy_lets_rules_and_topics_of_this_account_in(service: str) -> None:
    """They write into queues under the key, and the bus is under it itself; those of others do not."""
    for action in SENDS:
        assert admits(action, service, **{"aws:sourceaccount": ACCOUNT})
        assert not admits(action, service, **{"aws:sourceaccount": STRANGER})
        assert not admits(action, service)
    assert not admits("kms:CreateGrant", service, **{"aws:sourceaccount": ACCOUNT})
    assert not admits("kms:Decrypt", "s3.amazonaws.com", **{"aws:sourceaccount": ACCOUNT})


def test_the_documented_policy_lets_the_logs_of_this_stack_in() -> None:
    """CloudWatch Logs asks in its own name, with the group's ARN."""

    def logs(group: str) -> dict[str, str]:
        return {"kms:encryptioncontext:aws:logs:arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"}

    groups = [group["LogGroupName"] for group in of(WITH, "AWS::Logs::LogGroup").values()]
    for group in groups:
        for action in ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptTo", "kms:GenerateDataKey"):
            assert admits(action, f"logs.{REGION}.amazonaws.com", **logs(group))
    assert not admits("kms:Decrypt", f"logs.{REGION}.amazonaws.com", **logs("/aws/lambda/another"))
    assert not admits("kms:Decrypt", "logs.us-east-1.amazonaws.com", **logs(groups[0]))


def test_the_documented_policy_lets_producers_elsewhere_send_and_nothing_more() -> None:
    """Through SQS, and for IntakeQueue only."""
    for action in SENDS:
        assert admits(action, PRODUCER, **{"kms:viaservice": SQS}, **queue("intake"))
        assert not admits(action, PRODUCER, **queue("intake"))
        assert not admits(action, PRODUCER, **{"kms:viaservice": SQS}, **queue("rejected"))
        assert not admits(action, STRANGER, **{"kms:viaservice": SQS}, **queue("intake"))
    assert not admits("kms:PutKeyPolicy", PRODUCER, **{"kms:viaservice": SQS}, **queue("intake"))


def test_the_documented_policy_leaves_the_rest_to_iam() -> None:
    """So that the roles' own statements count, and somebody can still administer the key."""
    assert admits("kms:Decrypt", ACCOUNT)
    assert admits("kms:PutKeyPolicy", ACCOUNT)
