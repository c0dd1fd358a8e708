"""The functions' roles suffice and allow nothing else, and the queue policies let the bus through: on an emulator that
enforces IAM. How it differs from AWS: tests/system/rights.py.
"""

import json
from collections.abc import Iterator

import pytest

from local.stack import STAGE
from relay.providers import PROVIDERS
from tests.factories import eventbridge
from tests.kinds import FAST, PAIR, SLOW
from tests.system.rights import ANYTHING, FUNCTIONS, Proof, Right
from tests.system.running import BOTH, Relay, event, until


@pytest.fixture(scope="module")
def proof(plain: Relay) -> Iterator[Proof]:
    made = Proof(plain)
    yield made
    made.close()


def needed(function: str) -> set[Right]:
    """All that a function does, and no more."""
    if function == "Intake":
        to = ["RejectedQueueUrl", *(f"{provider.capitalize()}QueueUrl" for provider in PROVIDERS)]
        sends = {(f"sqs:{action}", queue) for action in ("SendMessage", "SendMessageBatch") for queue in to}
        takes = {
            (f"sqs:{action}", "IntakeQueueUrl") for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
        }
        return {*sends, *takes, ("dynamodb:BatchWriteItem", "LettersTableName")}
    takes = {
        (f"sqs:{action}", f"{function}QueueUrl")
        for action in (
            *("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"),
            *("ChangeMessageVisibility", "ChangeMessageVisibilityBatch"),
        )
    }
    return {
        *takes,
        ("sqs:SendMessage", f"{function}DeadLetterQueueUrl"),
        ("dynamodb:UpdateItem", "LedgerTableName"),
        ("dynamodb:UpdateItem", "AccountsTableName"),
        ("dynamodb:BatchWriteItem", "LettersTableName"),
        # One function serves all accounts of its provider.
        ("secretsmanager:GetSecretValue", f"{function.lower()}/a"),
        ("secretsmanager:GetSecretValue", f"{function.lower()}/b"),
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_may_do_what_it_needs_and_nothing_else(proof: Proof, function: str) -> None:
    """Of all that is tried: other queues, other tables, other providers' secrets, reading, deleting and changing."""
    assert proof.rights(proof.role(function)) == needed(function)


def test_what_is_tried_could_succeed(proof: Proof) -> None:
    """Else a refusal would show nothing. Who may do anything is refused one thing: to become somebody else."""
    reads = ("Get", "Describe", "List", "Receive", "Filter", "Query", "Scan")
    harmless = [one for one in proof.tries if one.action.startswith(reads)]
    with proof.role_of([ANYTHING]) as role:
        assert proof.rights(role, harmless) == {one.right for one in harmless}
    assert len(harmless) >= 50
    assert {one.service for one in harmless} >= {"sqs", "dynamodb", "secretsmanager", "logs", "lambda", "iam", "s3"}


OWN = FAST.capitalize()
TOO_MUCH: list[tuple[str, str, set[Right]]] = [
    # What somebody might add in a hurry: the action, the resources, and what the proof then sees.
    ("sqs:ReceiveMessage", f"arn:aws:sqs:*:*:*-{SLOW}.fifo", {("sqs:ReceiveMessage", f"{SLOW.capitalize()}QueueUrl")}),
    (
        "sqs:ReceiveMessage",
        f"arn:aws:sqs:*:*:*-{FAST}-dead-letters.fifo",
        {("sqs:ReceiveMessage", f"{OWN}DeadLetterQueueUrl")},
    ),
    ("sqs:SendMessage", "arn:aws:sqs:*:*:*-intake", {("sqs:SendMessage", "IntakeQueueUrl")}),
    ("sqs:PurgeQueue", f"arn:aws:sqs:*:*:*-{FAST}-dead-letters.fifo", {("sqs:PurgeQueue", f"{OWN}DeadLetterQueueUrl")}),
    (
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:*:*:secret:{STAGE}/customer-events/{SLOW}/*",
        {("secretsmanager:GetSecretValue", f"{SLOW}/{each}") for each in "ab"},
    ),
    (
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:*:*:secret:{STAGE}*/customer-events/{FAST}/*",
        {("secretsmanager:GetSecretValue", f"{FAST}/a of another stage")},
    ),
    ("dynamodb:Scan", "arn:aws:dynamodb:*:*:table/*-customer-events", {("dynamodb:Scan", "LedgerTableName")}),
    ("dynamodb:DeleteItem", "arn:aws:dynamodb:*:*:table/*-accounts", {("dynamodb:DeleteItem", "AccountsTableName")}),
    ("events:PutEvents", "*", {("events:PutEvents", "the bus")}),
    ("lambda:InvokeFunction", "arn:aws:lambda:*:*:function:*-intake", {("lambda:InvokeFunction", "Intake")}),
    ("logs:FilterLogEvents", "*", {("logs:FilterLogEvents", function) for function in FUNCTIONS}),
]


def test_rights_too_many_are_noticed(proof: Proof) -> None:
    """GIVEN a role like a deliver function's with more statements THEN just what they add is seen of it."""
    more = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource, _ in TOO_MUCH]
    with proof.role_of([*proof.statements(proof.role(OWN)), *more]) as role:
        assert proof.rights(role) - needed(OWN) == set().union(*(seen for _, _, seen in TOO_MUCH))


def test_a_right_too_few_is_noticed(proof: Proof) -> None:
    """GIVEN a role without one of its statements THEN what it needs of it is missing."""
    statements = [one for one in proof.statements(proof.role(OWN)) if one["Sid"] != "SendDeadLetters"]
    wanted = [one for one in proof.tries if one.right in needed(OWN)]
    with proof.role_of(statements) as role:
        assert needed(OWN) - proof.rights(role, wanted) == {("sqs:SendMessage", f"{OWN}DeadLetterQueueUrl")}


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

    for provider in PAIR:
        plain.providers.misbehave("role_refused", provider=provider, status=422)
        plain.providers.misbehave(
            "role_deferred", provider=provider, status=429, headers={"Retry-After": "2"}, bare=True, count=1
        )
    plain.send(event("role_refused"), event("role_deferred"))
    plain.until_settled([event("role_refused")], "given_up")
    plain.until_settled([event("role_deferred")])
    plain.until_drained()
    for provider, destination in zip(PAIR, BOTH, strict=True):
        assert len(plain.dead_letters(provider, "role_refused-1")) == 1
        answer = plain.call(
            provider.title(), {"destination": destination, "event": event("role_called"), "dry_run": True}
        )
        assert answer["dry_run"]
        assert plain.logged(message="deferred", destination=destination)
    assert plain.logged(message="left to the visibility timeout") == []
    assert b"AccessDenied" not in plain.log.read_bytes()[said_before:]
