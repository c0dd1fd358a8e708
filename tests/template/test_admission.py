"""Who may come in, and who may not: the policies of the bus, the queues and intake, as AWS evaluates them."""

import json
from typing import Any

import pytest
from ministack.core.iam_evaluator import (
    EvalContext,
    evaluate_resource_policy,
)

from tests.template.stack import Stack, statements, target

OWN, THEIRS, STRANGER = "1" * 12, "2" * 12, "3" * 12
REGION, ELSEWHERE = "eu-central-1", "eu-west-1"
ORGANIZATION = "o-exampleorgid"
RULES, TOPICS = "events.amazonaws.com", "sns.amazonaws.com"

VALUES: dict[str, Any] = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": OWN,
    "AWS::NoValue": None,
    "Stage": "dev",
    "ProducerAccounts": [THEIRS],
    "ProducerOrganization": ORGANIZATION,
    "EventBus": "dev-customer-events",
    "EventBus.Arn": f"arn:aws:events:{REGION}:{OWN}:event-bus/dev-customer-events",
    "IntakeFunction.Arn": f"arn:aws:lambda:{REGION}:{OWN}:function:dev-customer-events-intake",
    **{
        f"{name}.Arn": f"arn:aws:sqs:{REGION}:{OWN}:{name}"
        for name in ("IntakeQueue", "RejectedQueue", "YotpoQueue", "SenderDeadLetterQueue")
    },
}


def filled(node: Any, conditions: dict[str, bool]) -> Any:
    """A part of the template as CloudFormation would fill it in."""
    match node:
        case {"Ref": name}:
            return VALUES[name]
        case {"Fn::GetAtt": [name, attribute]}:
            return VALUES[f"{name}.{attribute}"]
        case {"Fn::Sub": text}:
            for name, value in VALUES.items():
                text = text.replace(f"${{{name}}}", str(value))
            return text
        case {"Fn::If": [condition, yes, no]}:
            node = filled(yes if conditions[condition] else no, conditions)
        case dict():
            node = {key: filled(value, conditions) for key, value in node.items()}
        case list():
            node = [item for item in (filled(each, conditions) for each in node) if item is not None]
    return node


def policy_of(stack: Stack, resource: str, *, open_to_others: bool = True) -> dict[str, Any]:
    """The whole policy of a queue, of the bus or of intake."""
    conditions = {
        "RequiresTls": True,
        "HasProducerAccounts": open_to_others,
        "HasProducerOrganization": open_to_others,
    }
    found: list[Any] = []
    for policy in stack.of("AWS::SQS::QueuePolicy").values():
        if target(policy["Queues"][0]) == resource:
            found += policy["PolicyDocument"]["Statement"]
    for policy in stack.of("AWS::Events::EventBusPolicy").values():
        if open_to_others and target(policy["EventBusName"]) == resource:
            found.append(policy["Statement"])
    for permission in stack.of("AWS::Lambda::Permission").values():
        if target(permission["FunctionName"]) == resource:
            found.append(
                {
                    "Effect": "Allow",
                    "Principal": {"Service": permission["Principal"]},
                    "Action": permission["Action"],
                    "Resource": {"Fn::GetAtt": [resource, "Arn"]},
                    "Condition": {"ArnLike": {"aws:SourceArn": permission["SourceArn"]}},
                }
            )
    return {"Version": "2012-10-17", "Statement": filled(found, conditions)}


def admits_service(policy: dict[str, Any], action: str, resource: str, service: str, source: str) -> bool:
    context = EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=REGION,
        secure_transport=True,
        service_context={"aws:sourcearn": source, "aws:sourceaccount": source.split(":")[4]},
    )
    return bool(evaluate_resource_policy(json.dumps(policy), context, service=service).decision == "Allow")


def admits_account(
    policy: dict[str, Any], action: str, resource: str, account: str, organization: str = "", *, tls: bool = True
) -> bool:
    context = EvalContext(
        principal_arn=f"arn:aws:iam::{account}:role/shop",
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=REGION,
        secure_transport=tls,
        service_context={"aws:principalorgid": organization} if organization else {},
    )
    return bool(evaluate_resource_policy(json.dumps(policy), context).decision == "Allow")


def rule(account: str = OWN, region: str = REGION, name: str = "shop/order-placed") -> str:
    return f"arn:aws:events:{region}:{account}:rule/{name}"


def topic(account: str = OWN, region: str = REGION) -> str:
    return f"arn:aws:sns:{region}:{account}:orders"


BUS = VALUES["EventBus.Arn"]
COMERS = [
    # where, service, source, in or out
    ("IntakeQueue", RULES, rule(), True),
    ("IntakeQueue", RULES, rule(name="on-the-default-bus"), True),
    ("IntakeQueue", RULES, rule(THEIRS), False),
    ("IntakeQueue", RULES, rule(region=ELSEWHERE), False),
    ("IntakeQueue", RULES, BUS, False),
    ("IntakeQueue", RULES, topic(), False),
    ("IntakeQueue", TOPICS, topic(), True),
    ("IntakeQueue", TOPICS, topic(region=ELSEWHERE), True),
    ("IntakeQueue", TOPICS, topic(THEIRS), False),
    ("IntakeQueue", "s3.amazonaws.com", f"arn:aws:s3:{REGION}:{OWN}:bucket", False),
    ("RejectedQueue", RULES, rule(), True),
    ("RejectedQueue", RULES, BUS, True),
    ("RejectedQueue", RULES, rule(THEIRS), False),
    ("RejectedQueue", RULES, f"{BUS}-of-others", False),
    ("RejectedQueue", TOPICS, topic(), True),
    ("RejectedQueue", TOPICS, topic(THEIRS), False),
    ("IntakeFunction", RULES, rule(), True),
    ("IntakeFunction", RULES, rule(name="on-the-default-bus"), True),
    ("IntakeFunction", RULES, rule(THEIRS), False),
    ("IntakeFunction", RULES, rule(region=ELSEWHERE), False),
    ("IntakeFunction", TOPICS, topic(), True),
    ("IntakeFunction", TOPICS, topic(THEIRS), False),
    ("YotpoQueue", RULES, rule(), False),
    ("SenderDeadLetterQueue", TOPICS, topic(), False),
]


@pytest.mark.parametrize(("resource", "service", "source", "expected"), COMERS)
def test_rules_and_topics_of_this_account_come_in_and_no_others(
    stack: Stack, resource: str, service: str, source: str, expected: bool
) -> None:
    """Whether or not other accounts are let in: those send with roles of their own."""
    action = "lambda:InvokeFunction" if resource == "IntakeFunction" else "sqs:SendMessage"
    for others in (True, False):
        policy = policy_of(stack, resource, open_to_others=others)
        assert admits_service(policy, action, VALUES[f"{resource}.Arn"], service, source) is expected


@pytest.mark.parametrize(("resource", "action"), [("IntakeQueue", "sqs:SendMessage"), ("EventBus", "events:PutEvents")])
@pytest.mark.parametrize(
    ("account", "organization", "expected"),
    [
        (THEIRS, "", True),
        (STRANGER, ORGANIZATION, True),
        (STRANGER, "", False),
        (STRANGER, "o-anotherorgid", False),
    ],
)
def test_producers_elsewhere_come_in_when_named(
    stack: Stack, resource: str, action: str, account: str, organization: str, expected: bool
) -> None:
    """By their account or by their organization; nobody while both parameters are empty."""
    arn = VALUES[f"{resource}.Arn"]
    assert admits_account(policy_of(stack, resource), action, arn, account, organization) is expected
    closed = policy_of(stack, resource, open_to_others=False)
    assert not admits_account(closed, action, arn, account, organization)


@pytest.mark.parametrize(
    ("resource", "action"),
    [
        ("IntakeQueue", "sqs:ReceiveMessage"),
        ("IntakeQueue", "sqs:PurgeQueue"),
        ("RejectedQueue", "sqs:SendMessage"),
        ("YotpoQueue", "sqs:SendMessage"),
        ("EventBus", "events:PutRule"),
    ],
)
def test_producers_elsewhere_do_nothing_else(stack: Stack, resource: str, action: str) -> None:
    """They hand events in; they do not read, remove or reroute what others handed in."""
    arn = VALUES[f"{resource}.Arn"]
    assert not admits_account(policy_of(stack, resource), action, arn, THEIRS, ORGANIZATION)


def test_nobody_comes_in_without_tls(stack: Stack) -> None:
    arn = VALUES["IntakeQueue.Arn"]
    assert not admits_account(policy_of(stack, "IntakeQueue"), "sqs:SendMessage", arn, THEIRS, tls=False)


def test_every_statement_that_allows_says_whom(stack: Stack) -> None:
    """An account, an organization, or a source whose ARN names this account: never a bare star."""
    documents = [policy["PolicyDocument"] for policy in stack.of("AWS::SQS::QueuePolicy").values()]
    allowed = [one for document in documents for one in statements(document) if one["Effect"] == "Allow"]
    allowed += [policy["Statement"] for policy in stack.of("AWS::Events::EventBusPolicy").values()]
    assert len(allowed) == 8
    for one in allowed:
        if one["Principal"] == {"AWS": {"Ref": "ProducerAccounts"}}:
            assert "Condition" not in one
        elif one["Principal"] == "*":
            assert one["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": {"Ref": "ProducerOrganization"}}}
        else:
            sources = one["Condition"]["ArnLike"]["aws:SourceArn"]
            for source in sources if isinstance(sources, list) else [sources]:
                assert source == {"Fn::GetAtt": ["EventBus", "Arn"]} or ":${AWS::AccountId}:" in source["Fn::Sub"]
    for permission in stack.of("AWS::Lambda::Permission").values():
        assert ":${AWS::AccountId}:" in permission["SourceArn"]["Fn::Sub"]


def test_a_parameter_opens_bus_and_queue_or_neither(stack: Stack) -> None:
    """The statements stand under the conditions that their parameters make."""
    conditions = stack.body["Conditions"]
    local = {"Fn::Not": [{"Condition": "IsLocal"}]}
    empty = {"Fn::Equals": [{"Fn::Select": [0, {"Ref": "ProducerAccounts"}]}, ""]}
    assert conditions["HasProducerAccounts"] == {"Fn::Not": [empty]}
    assert conditions["HasProducerOrganization"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ProducerOrganization"}, ""]}]}
    for name, policy in (("Accounts", "EventBusAccountsPolicy"), ("Organization", "EventBusOrganizationPolicy")):
        condition = stack.resources[policy]["Condition"]
        assert conditions[condition] == {"Fn::And": [{"Condition": f"HasProducer{name}"}, local]}
    document = stack.of("AWS::SQS::QueuePolicy")["IntakeQueuePolicy"]["PolicyDocument"]
    gated = {one["Fn::If"][1]["Sid"]: one["Fn::If"][0] for one in document["Statement"] if "Fn::If" in one}
    assert gated["ProducerAccounts"] == "HasProducerAccounts"
    assert gated["ProducerOrganization"] == "HasProducerOrganization"


def test_what_the_bus_cannot_hand_over_is_kept(stack: Stack) -> None:
    """The bus says what it is for, and has a dead-letter queue that admits it."""
    (bus,) = stack.of("AWS::Events::EventBus").values()
    assert bus["Description"]
    assert target(bus["DeadLetterConfig"]["Arn"]) == "RejectedQueue"
