"""A running relay as a test sees it: the ways to put events in, and every place where one may end up."""

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from rich.console import Console

from local.clients import Clients
from local.invoke import invoke
from local.sandbox.client import SandboxClient
from local.sandbox.contract import contracts
from local.stack import Stack, start_stack, stop_stack
from local.steps import Steps
from relay.adapters.dynamodb import read_account
from relay.ports import AccountRecord
from relay.providers import PROVIDERS
from tests.kinds import PAIR

type Json = dict[str, Any]

ON_THE_WAY = ("IntakeQueueUrl", *(f"{name.capitalize()}QueueUrl" for name in PROVIDERS))
BOTH = tuple(f"{name}/main" for name in PAIR)
PHONE = "+15557654321"

ACCOUNTS = (
    *("main", "odd", "burst", "down", "grouped", "killed", "leaky", "missing", "parked", "poison", "refused"),
    *("rotated", "rotating", "walled"),
)
"""Configured at every provider."""
_ODD = "../../x?y=1#z"


def token(provider: str, account: str) -> str:
    """The token that the sandbox takes for an account."""
    return contracts()[provider].own_token if account == "main" else f"tok3n-{provider}-{account}"


def provider_account(provider: str, account: str) -> str:
    """What the provider itself calls the account: as we do, where its token alone says which it is."""
    contract = contracts()[provider]
    if account == "main":
        return contract.own_account
    if contract.account_stands_in is None:
        return account
    return _ODD if account == "odd" else f"store-{account}"


def secret(provider: str, account: str, access_token: str | None = None) -> str:
    """The secret of a destination as JSON text."""
    given = (provider_account(provider, account), access_token or token(provider, account))
    return json.dumps(contracts()[provider].secret(*given))


HAPPENED_AT = f"{datetime.now(UTC):%FT%TZ}"
"""Lately, for some providers do nothing with what is old."""


def event(name: str, number: int = 1, **changes: Any) -> Json:
    """An event that no other test sends: its type is `name`. A change to `...` leaves the field out."""
    data: Json = {
        "id": f"{name}-{number}",
        "source": "shop",
        "type": name,
        "occurred_at": HAPPENED_AT,
        "customer": {"email": f"{name}.{number}@customers.example"},
        "properties": {"order_id": f"{name}-{number}", "total": 6.7},
        "destinations": list(BOTH),
        **changes,
    }
    return {key: value for key, value in data.items() if value is not ...}


def order_id(request: Json) -> str:
    """What tells the events of one name apart, as a provider received it."""
    return str(properties(request)["order_id"])


def properties(request: Json) -> Json:
    """The event's own, as a provider received them."""
    return dict(contracts()[request["provider"]].event("properties", request["body"]))


@contextmanager
def short_visibility(relay: "Relay", queue: str, seconds: int = 2) -> Iterator[None]:
    """What the queue (as the outputs call it) hands out inside comes back so soon, when nobody ends it."""
    url, sqs = relay.outputs[queue], relay.clients.sqs
    usual = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": usual["VisibilityTimeout"]})


def workers(emulator: int, function: str) -> list[int]:
    """The processes of that emulator that run the function."""
    shown = subprocess.run(["ps", "-axwwo", "pid=,ppid=,command="], capture_output=True, text=True, check=True)
    rows = (line.split(maxsplit=2) for line in shown.stdout.splitlines())
    return [int(pid) for pid, parent, command in rows if int(parent) == emulator and f"-{function}-" in command]


def until[T](look: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """The first thing seen that is not empty. Fails when there was none for so long."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return seen


@dataclass(frozen=True)
class Letter:
    """A rejected record or a dead letter. `attributes` are those that the producer of the body did not write, `system`
    those that SQS keeps: its group, its deduplication id, who sent it.
    """

    body: str
    attributes: dict[str, str]
    system: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, message: Any) -> Self:
        given = message.get("MessageAttributes", {})
        attributes = {name: value["StringValue"] for name, value in given.items()}
        return cls(message["Body"], attributes, message.get("Attributes", {}))


class Providers:
    """The providers as the sandbox plays them. Its journal is read by event type: every test has its own."""

    def __init__(self, url: str) -> None:
        self.sandbox = SandboxClient(url)

    def requests(self, name: str, provider: str | None = None) -> list[Json]:
        """What was received for the events called `name`, in order."""
        found = self.sandbox.requests(type=name)
        return [one for one in found if provider in (None, one["provider"])]

    def accepted(self, name: str, provider: str | None = None) -> list[Json]:
        """Those of the requests that the provider acted on."""
        return [request for request in self.requests(name, provider) if request["accepted"]]

    def misbehave(self, name: str | None = None, **fault: Any) -> None:
        """A `local.sandbox.faults.Fault`, for the events called `name`."""
        self.sandbox.add_fault(type=name, **fault)

    def behave(self) -> None:
        """No fault any more."""
        self.sandbox.forget("faults")

    def change_token(self, provider: str, account: str, **change: list[str]) -> None:
        """Tokens to `accept` or to `revoke` from now on."""
        self.sandbox.change_tokens(provider, provider_account(provider, account), **change)


@dataclass
class Relay:
    """One deployed stack. `log` is the emulator's log file, which holds all that the functions write."""

    clients: Clients
    outputs: dict[str, str]
    providers: Providers
    log: Path
    _letters: dict[str, list[Letter]] = field(default_factory=dict)
    _lines: list[Json] = field(default_factory=list)
    _read: int = 0

    # -------------------------------------------------------------------------------------------------- ways in

    def send(self, *bodies: Json | str) -> None:
        """To IntakeQueue, ten at a time: text as it is, all else as JSON."""
        for start in range(0, len(bodies), 10):
            entries: list[Any] = [
                {"Id": str(number), "MessageBody": body if isinstance(body, str) else json.dumps(body)}
                for number, body in enumerate(bodies[start : start + 10])
            ]
            reply = self.clients.sqs.send_message_batch(QueueUrl=self.outputs["IntakeQueueUrl"], Entries=entries)
            assert not reply.get("Failed"), reply["Failed"]

    def put_on_bus(self, *details: Json) -> None:
        """Onto the event bus, one entry each."""
        entries: list[Any] = [
            {
                "EventBusName": self.outputs["EventBusName"],
                "Source": "shop",
                "DetailType": "customer event",
                "Detail": json.dumps(detail),
            }
            for detail in details
        ]
        assert self.clients.events.put_events(Entries=entries)["FailedEntryCount"] == 0

    def put_on_lane(self, provider: str, body: Json | str, account: str = "main") -> None:
        """Straight onto a lane, as another system may."""
        self.clients.sqs.send_message(
            QueueUrl=self.outputs[f"{provider.title()}QueueUrl"],
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageGroupId=account,
            MessageDeduplicationId=uuid4().hex,
        )

    def call(self, function: str, payload: Any) -> Any:
        """The function's answer. `function` is Intake, or a provider's name with a capital."""
        answered, answer = invoke(self.clients, self.outputs[f"{function}FunctionName"], payload)
        assert answered, answer
        return answer

    def notify(self, payload: Any) -> None:
        """Calls intake as services do: nobody hears its answer."""
        self.clients.functions.invoke(
            FunctionName=self.outputs["IntakeFunctionName"],
            InvocationType="Event",
            Payload=json.dumps(payload).encode(),
        )

    # ----------------------------------------------------------------------------------------------------- ends

    def ledger(self, event_id: str) -> dict[str, Json]:
        """The ledger's records of one event by destination, from one Query. Every value as text."""
        reply = self.clients.dynamodb.query(
            TableName=self.outputs["LedgerTableName"],
            KeyConditionExpression="event_id = :id",
            ExpressionAttributeValues={":id": {"S": event_id}},
        )
        plain = [{name: next(iter(value.values())) for name, value in item.items()} for item in reply["Items"]]
        return {str(item["destination"]): item for item in plain}

    def account(self, destination: str) -> AccountRecord:
        """What all environments together know of an account; of version 0 where that is nothing."""
        key = {"destination": {"S": destination}}
        reply = self.clients.dynamodb.get_item(TableName=self.outputs["AccountsTableName"], Key=key)
        return read_account(destination, reply.get("Item", {}))

    def rejected(self) -> list[Letter]:
        """Every rejected record so far."""
        return self._read_letters("RejectedQueueUrl")

    def dead_letters(self, provider: str, event_id: str | None = None) -> list[Letter]:
        """Every dead letter of a lane so far, or those of one event."""
        found = self._read_letters(f"{provider.title()}DeadLetterQueueUrl")
        return [one for one in found if event_id in (None, one.attributes.get("event_id"))]

    def logged(self, **fields: Any) -> list[Json]:
        """The functions' log records so far that have these fields."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole + newline)
        self._lines.extend(_json_objects(whole.decode("utf-8", "replace").splitlines()))
        return [line for line in self._lines if fields.items() <= line.items()]

    def counted(self, metric: str, provider: str) -> float:
        """The sum of a metric over all its records so far."""
        return sum(sum(_values(line[metric])) for line in self.logged(provider=provider) if metric in line)

    # -------------------------------------------------------------------------------------------------- waiting

    def drained(self) -> bool:
        """Whether no message is on the way: waiting, in work or deferred."""
        return not any(self.waiting(name) for name in ON_THE_WAY)

    def waiting(self, queue: str) -> int:
        """Messages in a queue, hidden ones included."""
        reply = self.clients.sqs.get_queue_attributes(QueueUrl=self.outputs[queue], AttributeNames=["All"])
        counts = {f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")}
        return sum(int(value) for name, value in reply["Attributes"].items() if name in counts)

    def until_drained(self, seconds: float = 60.0) -> None:
        until(self.drained, f"all of {', '.join(ON_THE_WAY)} empty", seconds)

    def until_settled(self, events: Iterable[Json], *states: str, seconds: float = 60.0) -> None:
        """Waits until the ledger has each event `delivered` (or in one of `states`) at every destination it names."""
        wanted = states or ("delivered",)
        for one in events:
            for destination in one["destinations"]:
                until(
                    lambda id=one["id"], to=destination: self.ledger(id).get(to, {}).get("state") in wanted,  # type: ignore[misc]
                    f"{one['id']} {' or '.join(wanted)} at {destination}",
                    seconds,
                )

    def close(self) -> None:
        for client in vars(self.clients).values():
            if hasattr(client, "close"):
                client.close()

    def _read_letters(self, queue: str) -> list[Letter]:
        letters = self._letters.setdefault(queue, [])
        url = self.outputs[queue]
        while messages := self.clients.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
        ).get("Messages"):
            letters.extend(map(Letter.read, messages))
            entries: list[Any] = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            self.clients.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        return letters


@contextmanager
def running_stack(state: Path, parameters: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack of its own, whose files are under `state`; ended with all it started, whatever happens."""
    try:
        yield start_stack(state, Steps(Console()), parameters)
    finally:
        stop_stack(state)


@contextmanager
def running_relay(stack: Stack, state: Path) -> Iterator[Relay]:
    """The relay that the stack runs."""
    relay = Relay(stack.clients, stack.outputs, Providers(stack.sandbox_url), state / "emulator.log")
    yield relay
    relay.close()


def _json_objects(lines: Sequence[str]) -> Iterator[Json]:
    for line in lines:
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _values(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]
