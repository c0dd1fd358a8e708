"""A deployed stack as an operator has it: its outputs, its settings, and AWS's clients for it."""

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from relay.contract.destination import ANY, Destination
from relay.providers import PROVIDERS
from relay.settings import DeliverSettings

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

DEFAULT_STACK = "customer-event-relay-dev"

_CONFIG = {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "total_max_attempts": 4}}

MOST_KEYS = 100
"""That DynamoDB reads in one call."""


class NoStackError(Exception):
    """There is no such stack, or it is none of the relay's."""


@dataclass(frozen=True)
class Where:
    """How a stack is named, as every AWS tool takes it. None: as the environment says."""

    stack: str = DEFAULT_STACK
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None


@dataclass(frozen=True)
class Lane:
    """A provider's queues and function."""

    provider: str
    queue_url: str
    dead_letter_url: str
    function: str


@dataclass(frozen=True)
class Queue:
    """Messages in a queue, as far as SQS knows."""

    visible: int = 0
    hidden: int = 0
    """In work, or deferred."""

    @property
    def messages(self) -> int:
        return self.visible + self.hidden


class Relay:
    """One stack. Asks AWS for nothing before it is needed. Raises NoStackError, and what botocore raises."""

    def __init__(self, where: Where) -> None:
        self.where = where

    @cached_property
    def session(self) -> "boto3.Session":
        # Two fifths of what a command takes to begin; help, a shell's Tab and a preview ask AWS for nothing.
        import boto3  # noqa: PLC0415

        return boto3.Session(profile_name=self.where.profile, region_name=self.where.region)

    def client(self, service: str, **config: Any) -> Any:
        """AWS's client for a service; `config` changes its botocore configuration."""
        from botocore.config import Config  # noqa: PLC0415 (as above)

        chosen = Config(**{**_CONFIG, **config})
        return self.session.client(service, endpoint_url=self.where.endpoint_url, config=chosen)  # type: ignore[call-overload]

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        client: CloudFormationClient = self.client("cloudformation")
        return client

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self.client("dynamodb")
        return client

    @cached_property
    def events(self) -> "EventBridgeClient":
        client: EventBridgeClient = self.client("events")
        return client

    @cached_property
    def functions(self) -> "LambdaClient":
        # A function answers in its own time, and a call of it must not be made twice.
        client: LambdaClient = self.client("lambda", read_timeout=60, retries={"total_max_attempts": 1})
        return client

    @cached_property
    def logs(self) -> Any:
        return self.client("logs")

    @cached_property
    def cloudwatch(self) -> Any:
        return self.client("cloudwatch")

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        client: SecretsManagerClient = self.client("secretsmanager")
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self.client("sqs")
        return client

    @cached_property
    def who(self) -> str:
        """Who asks: the name in the caller's ARN, else this machine's user."""
        with suppress(BotoCoreError, ClientError):
            arn = str(self.client("sts").get_caller_identity()["Arn"])
            if name := arn.split(":", 5)[-1].partition("/")[2]:
                return name
        with suppress(KeyError, OSError):
            return getpass.getuser()
        return "somebody"

    def queue(self, url: str) -> Queue:
        """What is in a queue now."""
        names: Any = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        given: Any = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        visible, hidden, delayed = (int(given.get(name, 0)) for name in names)
        return Queue(visible, hidden + delayed)

    def items(self, table: str, keys: Sequence[Mapping[str, Any]], **how: Any) -> Iterator[dict[str, Any]]:
        """The items of these keys, of which none stands twice, as they are now, in no order. `how`: what else
        BatchGetItem takes.
        """
        for some in batched(keys, MOST_KEYS, strict=False):
            asked: Any = {table: {"Keys": some, "ConsistentRead": True, **how}}
            while asked:
                reply = self.dynamodb.batch_get_item(RequestItems=asked)
                yield from reply["Responses"].get(table, [])
                asked = reply.get("UnprocessedKeys")

    @cached_property
    def _described(self) -> dict[str, Any]:
        missing = f"there is no stack {self.where.stack} in {self.session.region_name}: name yours with --stack"
        try:
            stacks = self.cloudformation.describe_stacks(StackName=self.where.stack)["Stacks"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ValidationError":
                raise NoStackError(missing) from None
            raise
        if not stacks:
            raise NoStackError(missing)
        return dict(stacks[0])

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs, by name."""
        found = {each["OutputKey"]: each["OutputValue"] for each in self._described.get("Outputs", [])}
        if "LedgerTableName" not in found:
            raise NoStackError(f"{self.where.stack} is no stack of the relay: it has no output LedgerTableName")
        return found

    @cached_property
    def parameters(self) -> dict[str, str]:
        """What the stack was deployed with, by name."""
        return {each["ParameterKey"]: each.get("ParameterValue", "") for each in self._described.get("Parameters", [])}

    @cached_property
    def lanes(self) -> dict[str, Lane]:
        """By provider."""
        return {
            name: Lane(name, *(self.outputs[f"{name.capitalize()}{what}"] for what in _OF_A_LANE)) for name in PROVIDERS
        }

    @cached_property
    def settings(self) -> dict[str, DeliverSettings]:
        """Each provider's function's, as it has them now."""
        return {name: self._settings_of(lane) for name, lane in self.lanes.items()}

    def _settings_of(self, lane: Lane) -> DeliverSettings:
        described = self.functions.get_function_configuration(FunctionName=lane.function)
        return DeliverSettings.from_environment(described["Environment"]["Variables"])

    @property
    def _any_settings(self) -> DeliverSettings:
        return next(iter(self.settings.values()))

    @property
    def stage(self) -> str:
        return self._any_settings.stage

    @property
    def configured(self) -> tuple[str, ...]:
        """The stack's parameter `Destinations`: names, and providers of which any account will do."""
        return self._any_settings.destinations

    @property
    def destinations(self) -> list[Destination]:
        """Those that are configured by name."""
        return [each for name in self._any_settings.destinations if (each := Destination(name)).account != ANY]

    def is_configured(self, destination: Destination) -> bool:
        """Whether events for it are taken, by name or because any account of its provider is."""
        return destination.is_configured(self._any_settings.destinations)


_OF_A_LANE = ("QueueUrl", "DeadLetterQueueUrl", "FunctionName")
