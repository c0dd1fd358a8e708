"""What a role may do, found out by trying: every call that matters, on all that the stack has and on what is not its.

Where the emulator is kinder than AWS: it lets its account take on a role that trusts Lambda alone (so one can act as a
function), takes from a queue for a function without asking its role, asks no key, and heeds no condition on
a service in a queue's policy. It is stricter where it wants actions of their own for SQS's batch calls, and where it
knows a log group without the ":*" that AWS has at its end: no role may write to its own group by itself there.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.machine import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from local.stack import STAGE
from tests.kinds import PAIR
from tests.system.running import Json, Relay

ANYTHING: Json = {"Effect": "Allow", "Action": "*", "Resource": "*"}
type Right = tuple[str, str]
"""An action, and on what: the output's name of a queue or a table, else a name of the thing's own."""

FUNCTIONS = ("Intake", *map(str.capitalize, PAIR))
_REFUSED = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
_ONCE = Config(proxies={}, retries={"total_max_attempts": 1})
_NOBODY = {"event_id": {"S": "nobody"}, "destination": {"S": "none/none"}}
_NEVER = {"ConditionExpression": "attribute_exists(nothing)"}


@dataclass(frozen=True)
class Try:
    """One call. What a role may do does nothing all the same: it leaves out what it needs, or names what is not there.
    What none may do is tried as it is.
    """

    service: str
    action: str
    on: str
    call: str
    given: Json

    @property
    def right(self) -> Right:
        return f"{self.service}:{self.action}", self.on


class Caller:
    """Somebody with credentials: the account itself, or a role."""

    def __init__(self, endpoint_url: str, key_id: str, key: str, token: str | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._session = boto3.Session(key_id, key, token, REGION)
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.client(  # type: ignore[call-overload]
                service, endpoint_url=self._endpoint_url, config=_ONCE
            )
        return self._clients[service]

    def may(self, one: Try) -> bool:
        """Whether it is let through, whatever comes of it then."""
        try:
            getattr(self.client(one.service), one.call)(**one.given)
        except ClientError as error:
            return error.response["Error"]["Code"] not in _REFUSED
        return True

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


class Proof:
    """The roles of a stack, and all that can be tried on it."""

    def __init__(self, relay: Relay) -> None:
        self._outputs = relay.outputs
        self._endpoint_url = relay.clients.endpoint_url
        self.account = Caller(self._endpoint_url, ACCESS_KEY_ID, SECRET_ACCESS_KEY)

    def close(self) -> None:
        self.account.close()

    # ------------------------------------------------------------------------------------------------------ roles

    def role(self, function: str) -> str:
        """The ARN of a function's role. ``function`` is Intake, or a provider's name with a capital."""
        found = self.account.client("lambda").get_function(FunctionName=self._outputs[f"{function}FunctionName"])
        return str(found["Configuration"]["Role"])

    def statements(self, role: str) -> list[Json]:
        """All that the role's policies say."""
        iam, name = self.account.client("iam"), role.rpartition("/")[2]
        return [
            statement
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
            for statement in iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"]
        ]

    @contextmanager
    def role_of(self, statements: list[Json]) -> Iterator[str]:
        """The ARN of a role for a while, with these statements."""
        iam, name = self.account.client("iam"), f"proof-{uuid4().hex[:8]}"
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))
        iam.put_role_policy(RoleName=name, PolicyName="proof", PolicyDocument=_document(*statements))
        yield made["Role"]["Arn"]
        iam.delete_role_policy(RoleName=name, PolicyName="proof")
        iam.delete_role(RoleName=name)

    def rights(self, role: str, tries: Iterable[Try] | None = None) -> set[Right]:
        """All that the role may do, of what is tried: everything, or these."""
        given = self.account.client("sts").assume_role(RoleArn=role, RoleSessionName="proof")["Credentials"]
        caller = Caller(self._endpoint_url, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        try:
            return {one.right for one in tries or self.tries if caller.may(one)}
        finally:
            caller.close()

    # ------------------------------------------------------------------------------------------------------ tries

    @cached_property
    def tries(self) -> list[Try]:
        return [*self._queues(), *self._tables(), *self._secrets(), *self._functions(), *self._others()]

    def _queues(self) -> Iterator[Try]:
        nothing, no_body = {"ReceiptHandle": "nothing"}, {"MessageBody": "\x00"}
        for name, url in self._outputs.items():
            if name.endswith("QueueUrl"):
                for action, call, given in (
                    ("ReceiveMessage", "receive_message", {"VisibilityTimeout": 0}),
                    ("SendMessage", "send_message", no_body),
                    ("SendMessageBatch", "send_message_batch", {"Entries": [{"Id": "1", **no_body}]}),
                    ("DeleteMessage", "delete_message", nothing),
                    ("ChangeMessageVisibility", "change_message_visibility", {**nothing, "VisibilityTimeout": 0}),
                    (
                        "ChangeMessageVisibilityBatch",
                        "change_message_visibility_batch",
                        {"Entries": [{"Id": "1", "VisibilityTimeout": 0, **nothing}]},
                    ),
                    ("GetQueueAttributes", "get_queue_attributes", {"AttributeNames": ["All"]}),
                    ("SetQueueAttributes", "set_queue_attributes", {"Attributes": {"Policy": ""}}),
                    ("PurgeQueue", "purge_queue", {}),
                    ("DeleteQueue", "delete_queue", {}),
                ):
                    yield Try("sqs", action, name, call, {"QueueUrl": url, **given})
        yield Try("sqs", "ListQueues", "*", "list_queues", {})

    def _tables(self) -> Iterator[Try]:
        dynamodb = self.account.client("dynamodb")
        for name, table in self._outputs.items():
            if name.endswith("TableName"):
                names = [
                    part["AttributeName"] for part in dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
                ]
                item = {part: _NOBODY.get(part, {"S": "nothing"}) for part in names}
                where = {
                    "KeyConditionExpression": f"{names[0]} = :nothing",
                    "ExpressionAttributeValues": {":nothing": {"S": "nothing"}},
                }
                for action, call, given in (
                    ("GetItem", "get_item", {"Key": item}),
                    ("PutItem", "put_item", {"Item": item, **_NEVER}),
                    ("UpdateItem", "update_item", {"Key": item, **_NEVER}),
                    ("DeleteItem", "delete_item", {"Key": item, **_NEVER}),
                    ("Query", "query", where),
                    ("Scan", "scan", {"Limit": 1}),
                    ("DescribeTable", "describe_table", {}),
                    ("UpdateTable", "update_table", {"DeletionProtectionEnabled": False}),
                    ("DeleteTable", "delete_table", {}),
                ):
                    yield Try("dynamodb", action, name, call, {"TableName": table, **given})
                gone = {table: [{"DeleteRequest": {"Key": item}}]}
                yield Try("dynamodb", "BatchWriteItem", name, "batch_write_item", {"RequestItems": gone})
                got = {table: {"Keys": [item]}}
                yield Try("dynamodb", "BatchGetItem", name, "batch_get_item", {"RequestItems": got})
        yield Try("dynamodb", "ListTables", "*", "list_tables", {})

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Secrets that nobody reads, by what they are: two of each provider, another stage's, another system's."""
        names = {
            **{f"{name}/{each}": f"{STAGE}/customer-events/{name}/{each}" for name in PAIR for each in "ab"},
            **{f"{name}/a of another stage": f"{STAGE}-2/customer-events/{name}/a" for name in PAIR},
            "another system's": f"{STAGE}/shop/database",
        }
        make = self.account.client("secretsmanager").create_secret
        return {what: make(Name=name, SecretString="{}")["ARN"] for what, name in names.items()}

    def _secrets(self) -> Iterator[Try]:
        for what, arn in self.secrets.items():
            for action, call, given in (
                ("GetSecretValue", "get_secret_value", {}),
                ("DescribeSecret", "describe_secret", {}),
                ("PutSecretValue", "put_secret_value", {"SecretString": "mine"}),
                ("DeleteSecret", "delete_secret", {"ForceDeleteWithoutRecovery": True}),
            ):
                yield Try("secretsmanager", action, what, call, {"SecretId": arn, **given})
        yield Try("secretsmanager", "ListSecrets", "*", "list_secrets", {})

    def _functions(self) -> Iterator[Try]:
        for function in FUNCTIONS:
            name = self._outputs[f"{function}FunctionName"]
            group = {"logGroupName": f"/aws/lambda/{name}"}
            stream = {**group, "logStreamName": "proof"}
            for action, call, given in (
                ("CreateLogStream", "create_log_stream", stream),
                ("PutLogEvents", "put_log_events", {**stream, "logEvents": [{"timestamp": 0, "message": "x"}]}),
                ("GetLogEvents", "get_log_events", stream),
                ("FilterLogEvents", "filter_log_events", group),
                ("PutRetentionPolicy", "put_retention_policy", {**group, "retentionInDays": 1}),
                ("DeleteLogGroup", "delete_log_group", group),
            ):
                yield Try("logs", action, function, call, given)
            one: Json = {"FunctionName": name}
            yield Try("lambda", "InvokeFunction", function, "invoke", one | {"Payload": b"{}"})
            yield Try("lambda", "GetFunction", function, "get_function", one)
            mine = one | {"Description": "mine"}
            yield Try("lambda", "UpdateFunctionConfiguration", function, "update_function_configuration", mine)
            role = self.role(function)
            yield Try("sts", "AssumeRole", function, "assume_role", {"RoleArn": role, "RoleSessionName": "mine"})
            mine = {"RoleName": role.rpartition("/")[2], "PolicyName": "mine", "PolicyDocument": _document(ANYTHING)}
            yield Try("iam", "PutRolePolicy", function, "put_role_policy", mine)

    def _others(self) -> Iterator[Try]:
        bus = self._outputs["EventBusName"]
        entry = {"EventBusName": bus, "Source": "shop", "DetailType": "x", "Detail": "{}"}
        yield Try("events", "PutEvents", "the bus", "put_events", {"Entries": [entry]})
        rule = {"Name": bus, "EventBusName": bus, "EventPattern": "{}"}
        yield Try("events", "PutRule", "the bus", "put_rule", rule)
        for service, action, call in (
            ("iam", "ListRoles", "list_roles"),
            ("s3", "ListAllMyBuckets", "list_buckets"),
            ("kms", "ListKeys", "list_keys"),
            ("sns", "ListTopics", "list_topics"),
            ("cloudformation", "DescribeStacks", "describe_stacks"),
            ("cloudwatch", "DescribeAlarms", "describe_alarms"),
        ):
            yield Try(service, action, "*", call, {})


def _document(*statements: Json) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
