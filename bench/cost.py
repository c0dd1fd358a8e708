"""What the relay costs on AWS: counted calls and bytes times a dated price list.

`python -m bench.cost` prints the README's two tables from `bench/cost.json`, the template and the price list; `--write`
puts them into the README; `--count` counts anew first (half a minute): it runs the functions' real handlers in this
process, on queues of their own beside a stack on this machine, takes from the queues as Lambda's poller does, and notes
every AWS call that leaves, what is logged, and how long a handler is busy. Only the poller's way and the prices are
taken from AWS's pages.
"""

import argparse
import importlib.util
import inspect
import io
import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from aws_lambda_powertools.metrics import Metrics
from boto3.dynamodb.types import TypeDeserializer
from botocore.handlers import BUILTIN_HANDLERS
from rich.console import Console

from bench.delivery import event
from local.machine import ACCESS_KEY_ID, OWN, ROOT, SECRET_ACCESS_KEY
from local.processes import raised
from local.sandbox.client import SandboxClient
from local.stack import Stack, start_stack, stop_stack
from local.steps import Steps
from relay.observability import METRICS, DeliverObserver, IntakeObserver
from relay.providers import PROVIDERS
from tools.template import load

type Json = dict[str, Any]
type Handler = Callable[[Any, Any], Json]

COUNTS = Path(__file__).with_name("cost.json")
README = ROOT / "README.md"

# ------------------------------------------------------------------------------------------------------------ prices

PRICED = "2026-11-28"
"""US dollars in us-east-1, as known on that day, free tiers left out; see aws.amazon.com/<service>/pricing."""
SQS_STANDARD, SQS_FIFO = 0.40, 0.50  # a million requests; 64 KiB are one
LAMBDA_GB_SECOND = 0.0000133334  # arm64
LAMBDA_REQUESTS = 0.20  # a million
DYNAMODB_WRITES, DYNAMODB_READS = 0.625, 0.125  # a million units on demand; 1 KiB written, 4 KiB read
DYNAMODB_GB_MONTH = 0.25 + 0.20  # stored, and kept for recovery to any point in time
LOGS_GB = 0.50
EVENTBRIDGE_EVENTS = 1.00  # a million of 64 KiB
TRANSFER_OUT_GB = 0.09
SECRET_MONTH, ALARM_MONTH, METRIC_MONTH, DASHBOARD_MONTH = 0.40, 0.10, 0.30, 3.00

POLLERS, LONG_POLL_SECONDS = 5, 20
"""How Lambda waits at a queue: five long polls at a time. Said of standard queues; FIFO ones are taken to be alike."""
MONTH_SECONDS = 30 * 86_400
LOG_LINE_OVERHEAD = 26
"""Bytes that CloudWatch Logs adds to each line it counts."""
PLATFORM_LINES = (
    '{"time":"2026-11-28T10:00:00.000Z","type":"platform.start","record":{"requestId":"6d67e385-053d-4622-a56f-'
    'b25bcef23083","version":"$LATEST"}}',
    '{"time":"2026-11-28T10:00:00.000Z","type":"platform.report","record":{"requestId":"6d67e385-053d-4622-a56f-'
    'b25bcef23083","metrics":{"durationMs":1182.164,"billedDurationMs":1183,"memorySizeMB":512,"maxMemoryUsedMB":110},'
    '"status":"success"}}',
)
"""What Lambda itself logs of each invocation at level INFO."""
MEMORY_GB = 512 / 1024
CPU_SHARE = 512 / 1769
"""Of one virtual processor, at 512 MB: what is computed takes that much longer than here."""
ANSWER_SECONDS = 0.2
"""How long the provider takes to answer, in what is counted."""
AWS_SECONDS = 0.01
"""How much longer a call to AWS takes than one to the emulator."""

# ------------------------------------------------------------------------------------------------------------ counts


@dataclass
class Usage:
    """What some events needed, at one function: requests that are billed, bytes, seconds."""

    sqs_standard: float = 0
    sqs_fifo: float = 0
    writes: float = 0
    reads: float = 0
    log_bytes: float = 0
    stored_bytes: float = 0
    sent_bytes: float = 0
    invocations: float = 0
    seconds: float = 0

    def __add__(self, other: "Usage") -> "Usage":
        more = asdict(other)
        return Usage(**{name: value + more[name] for name, value in asdict(self).items()})

    def each(self, events: int) -> "Usage":
        """By event."""
        return Usage(**{name: round(value / events, 4) for name, value in asdict(self).items()})

    @property
    def lines(self) -> dict[str, float]:
        """Dollars for a million of these, by what is paid for."""
        return {
            "queues": self.sqs_standard * SQS_STANDARD + self.sqs_fifo * SQS_FIFO,
            "function": self.invocations * LAMBDA_REQUESTS + self.seconds * MEMORY_GB * LAMBDA_GB_SECOND * 1e6,
            "ledger": self.writes * DYNAMODB_WRITES
            + self.reads * DYNAMODB_READS
            + self.stored_bytes / 1e3 * DYNAMODB_GB_MONTH,
            "logs": self.log_bytes / 1e3 * LOGS_GB,
            "data out": self.sent_bytes / 1e3 * TRANSFER_OUT_GB,
        }


FASTEST = min(PROVIDERS, key=lambda name: PROVIDERS[name].limits[-1].window)
"""Where a window is over soonest: the counting does not wait."""
SHAPES = {"bursts": 10, "single": 1}
"""Events that come together."""


class Calls:
    """Every AWS call of this process that leaves, as it is billed: of sessions made while it is `watching`."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, every session of botocore's, and so of boto3's, is made with this as one of its handlers."""
        BUILTIN_HANDLERS.append(handler := ("before-send", self._sent))
        try:
            yield
        finally:
            BUILTIN_HANDLERS.remove(handler)

    def _sent(self, request: Any, event_name: str, **_others: Any) -> None:
        _, service, operation = event_name.split(".")
        body = request.body or b"{}"
        kind = ".fifo" if service == "sqs" and json.loads(body)["QueueUrl"].endswith(".fifo") else ""
        # A batch or a receive of ours stays below 64 KiB, so every request is one.
        assert len(body) <= 65_536, operation
        self.operations[f"{service}{kind}.{operation}"] += 1
        time.sleep(AWS_SECONDS)

    def take(self) -> Usage:
        """What was called since the last time."""
        counted, self.operations = self.operations, Counter()
        usage = Usage()
        for name, number in counted.items():
            match name.rpartition(".")[0], name.rpartition(".")[2]:
                case "sqs", _:
                    usage.sqs_standard += number
                case "sqs.fifo", _:
                    usage.sqs_fifo += number
                case "dynamodb", "UpdateItem":
                    usage.writes += number
                case "secrets-manager", "GetSecretValue":
                    pass  # once in an environment's life
                case other:
                    raise ValueError(f"{other} has no price here")
        return usage


@dataclass
class Context:
    """What Lambda hands a handler."""

    aws_request_id: str = "6d67e385-053d-4622-a56f-b25bcef23083"

    def get_remaining_time_in_millis(self) -> int:
        """A whole timeout's."""
        return 30_000


class Function:
    """A function of the stack in this process, with the environment that it has there, but for ``changes``."""

    def __init__(self, stack: Stack, function: str, output: str, changes: Mapping[str, str]) -> None:
        described = stack.clients.functions.get_function_configuration(FunctionName=stack.outputs[output])
        # INFO is the template's default; a stack of the tests logs more.
        self._environment = {**described["Environment"]["Variables"], "POWERTOOLS_LOG_LEVEL": "INFO", **changes}
        self._path = ROOT / "functions" / function / "app.py"
        self._handler: Handler | None = None
        self._log = io.StringIO()

    def call(self, payload: Json) -> tuple[Json, Usage]:
        """The answer, with the bytes logged and the seconds that Lambda would bill."""
        logged = self._log.tell()
        with environment(self._environment), redirect_stdout(self._log):
            handler = self._handler = self._handler or _load(self._path)
            begun, computed = time.perf_counter(), time.process_time()
            answer = handler(payload, Context())
            computed = time.process_time() - computed
            seconds = time.perf_counter() - begun
        lines = [*self._log.getvalue()[logged:].splitlines(), *PLATFORM_LINES]
        billed = ceil((seconds + computed * (1 / CPU_SHARE - 1)) * 1000) / 1000
        size = sum(len(line.encode()) + LOG_LINE_OVERHEAD for line in lines)
        return answer, Usage(log_bytes=size, invocations=1, seconds=billed)


def count(stack: Stack, rounds: int) -> dict[str, dict[str, Usage]]:
    """What an event needs at intake, and a delivery, by shape. Of so many rounds, the least seconds."""
    calls = Calls()
    run = str(time.time_ns())
    own = stack.clients.sqs
    entrance = own.create_queue(QueueName=f"cost-{run}")["QueueUrl"]
    lane = own.create_queue(QueueName=f"cost-{run}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    lanes = json.dumps({name: stack.outputs[f"{name.capitalize()}QueueUrl"] for name in PROVIDERS} | {FASTEST: lane})
    intake = Function(stack, "intake", "IntakeFunctionName", {"RELAY_LANES": lanes})
    deliver = Function(stack, "deliver", f"{FASTEST.capitalize()}FunctionName", {"RELAY_QUEUE_URL": lane})
    found: dict[str, dict[str, Usage]] = {}
    with _at(stack), fresh(), calls.watching():
        sqs = boto3.Session().client("sqs")
        for shape, together in SHAPES.items():
            taken: dict[str, list[Usage]] = {"intake": [], "delivery": []}
            # The first round builds the clients and reads the secret.
            for number in range(rounds + 1):
                for each in range(together):
                    body = json.dumps(event(f"{run}-{shape}", number * together + each, FASTEST))
                    sqs.send_message(QueueUrl=entrance, MessageBody=body)
                taken["intake"].append(_poll(sqs, entrance, together, intake, calls))
                delivered = _poll(sqs, lane, together, deliver, calls)
                delivered.stored_bytes = together * _stored(stack, f"{run}-{shape}-{number * together}")
                taken["delivery"].append(delivered)
                time.sleep(1.1 * PROVIDERS[FASTEST].limits[-1].window)  # Rounds come one by one.
            found[shape] = {
                part: min(usages[1:], key=lambda usage: usage.seconds).each(together) for part, usages in taken.items()
            }
            call = {"destination": f"{FASTEST}/main", "event": event(run, 0, FASTEST), "dry_run": True}
            request = deliver.call(call)[0]
            found[shape]["delivery"].sent_bytes = len(json.dumps(request["request"]))
    for url in (entrance, lane):
        own.delete_queue(QueueUrl=url)
    return found


def _poll(sqs: Any, url: str, together: int, function: Function, calls: Calls) -> Usage:
    """One batch from the queue to the function, as Lambda's poller does it."""
    messages: list[Json] = []
    deadline = time.monotonic() + 10
    while not messages:
        assert time.monotonic() < deadline, f"nothing came to {url}"
        calls.operations.pop("sqs.ReceiveMessage", None)
        calls.operations.pop("sqs.fifo.ReceiveMessage", None)
        messages = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=together,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        ).get("Messages", [])
    assert len(messages) == together, f"{len(messages)} of {together} came together"
    answer, usage = function.call({"Records": [_record(message, url) for message in messages]})
    assert answer == {"batchItemFailures": []}, answer
    entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(messages)]
    sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return usage + calls.take()


def _record(message: Json, url: str) -> Json:
    attributes = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
            for name, value in attributes.items()
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{urlsplit(url).path.rpartition('/')[2]}",
        "awsRegion": "us-east-1",
    }


def _stored(stack: Stack, event_id: str) -> int:
    """Bytes that DynamoDB bills for the event's ledger item, index included ("Item sizes and formats")."""
    key = {"event_id": {"S": event_id}, "destination": {"S": f"{FASTEST}/main"}}
    item = stack.clients.dynamodb.get_item(TableName=stack.outputs["LedgerTableName"], Key=key)["Item"]
    read = TypeDeserializer().deserialize
    account = {"destination": key["destination"]}
    known = stack.clients.dynamodb.get_item(TableName=stack.outputs["AccountsTableName"], Key=account)["Item"]
    size, more = (sum(len(name.encode()) + _bytes(read(value)) for name, value in one.items()) for one in (item, known))
    # One unit a write, then.
    assert max(size, more) <= 1024, (size, more)
    return 100 + size


def _bytes(value: Any) -> int:
    match value:
        case Decimal():
            return ceil(len(value.as_tuple().digits) / 2) + 1
        case list():
            return 3 + sum(1 + _bytes(each) for each in value)
        case bool() | None:
            return 1
        case _:
            return len(str(value).encode())


def _load(path: Path) -> Handler:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = module.handler
    return handler


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """This process's own variables, for as long."""
    before = {name: OWN.get(name) for name in values}
    OWN.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                OWN.pop(name, None)
            else:
                OWN[name] = value


def _at(stack: Stack) -> AbstractContextManager[None]:
    return environment(
        {
            "AWS_ENDPOINT_URL": stack.endpoint_url,
            "AWS_DEFAULT_REGION": stack.region,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )


@contextmanager
def fresh() -> Iterator[None]:
    """Inside, both functions are as never called; afterwards, nothing of them is left for others in this process."""

    def forget() -> None:
        for shared in (Metrics._metrics, Metrics._dimensions, Metrics._metadata, Metrics._default_dimensions):
            shared.clear()

    forget()
    try:
        yield
    finally:
        forget()


# ------------------------------------------------------------------------------------------------------------ tables


def read_counts(path: Path = COUNTS) -> dict[str, dict[str, Usage]]:
    """By shape and part, per event."""
    kept = json.loads(path.read_text())["per event"]
    return {shape: {part: Usage(**usage) for part, usage in parts.items()} for shape, parts in kept.items()}


LINES = {
    "queues": "queue requests, the producer's and Lambda's included",
    "function": "functions: calls and time",
    "ledger": "ledger and accounts: writes, and the ledger's storage for its 30 days",
    "logs": "logs",
    "data out": "data out to the provider",
}


def per_million(counts: Mapping[str, Mapping[str, Usage]]) -> str:
    """The table of what a million events cost, in Markdown."""
    accepted = [counts[shape]["intake"].lines for shape in SHAPES]
    delivered = [counts[shape]["delivery"].lines for shape in SHAPES]
    both = [{name: one[name] + two[name] for name in LINES} for one, two in zip(accepted, delivered, strict=True)]

    def row(title: str, amounts: Iterable[float], mark: str = "") -> str:
        return f"| {' | '.join([title, *(f'{mark}{_dollars(amount)}{mark}' for amount in amounts)])} |"

    return "\n".join(
        [
            "| a million events | in bursts of ten | one by one |",
            "|---|---|---|",
            *(row(title, (lines[name] for lines in both)) for name, title in LINES.items()),
            row("**to one destination**", (sum(lines.values()) for lines in both), "**"),
            row("each further destination", (sum(lines.values()) for lines in delivered)),
            row("over the bus, in addition", [EVENTBRIDGE_EVENTS] * len(SHAPES)),
        ]
    )


def idle() -> str:
    """The table of what a stack costs in a month without an event, in Markdown."""
    resources = dict(_with_every_provider(load()["Resources"]))
    alarms = sum(
        times * max(1, sum("MetricStat" in one for one in each["Properties"].get("Metrics", [])))
        for each, times in resources.values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    )
    dashboards = sum(times for each, times in resources.values() if each["Type"] == "AWS::CloudWatch::Dashboard")
    queues = sum(
        times
        for each, times in resources.values()
        for source in each["Properties"].get("Events", {}).values()
        if source["Type"] == "SQS"
    )
    destinations, providers = 2, len(PROVIDERS)
    polls = POLLERS * MONTH_SECONDS / LONG_POLL_SECONDS / 1e6
    polling = polls * (providers * SQS_FIFO + (queues - providers) * SQS_STANDARD)
    written = re.compile(r'(?:add_metric\(\s*|_counted\[)"(\w+)"')
    of_intake = set(written.findall(inspect.getsource(IntakeObserver)))
    of_deliver = set(written.findall(inspect.getsource(DeliverObserver))) | set(METRICS.values())
    series = len(of_intake) + destinations * len(of_deliver)
    rows = [
        (f"{queues} queues polled by Lambda", polling, ""),
        (f"{alarms} metrics under alarm", alarms * ALARM_MONTH, ""),
        (f"{destinations} secrets, one a destination", destinations * SECRET_MONTH, ""),
        (f"{dashboards} dashboards, after your account's first three", dashboards * DASHBOARD_MONTH, "up to "),
        (f"{series} custom metrics, in hours that have events", series * METRIC_MONTH, "up to "),
    ]
    least = sum(cost for _, cost, some in rows if not some)
    most = sum(cost for _, cost, _ in rows)
    shown = [f"| {what} | {some}{_dollars(cost)} |" for what, cost, some in rows]
    total = f"| **in all** | **{_dollars(least)} to {_dollars(most)}** |"
    head = f"| a month, without an event, with two destinations and a lane for each of {providers} providers | |"
    return "\n".join([head, "|---|---|", *shown, total])


def _with_every_provider(resources: Json) -> Iterator[tuple[str, tuple[Json, int]]]:
    """Each resource and how often a stack has it: its lanes are alike."""
    for name, resource in resources.items():
        owner = next((one for one in PROVIDERS if name.startswith(one.capitalize())), None)
        if owner in (None, FASTEST):
            yield name, (resource, len(PROVIDERS) if owner else 1)


def tables() -> str:
    """Both tables, as they stand in the README."""
    return f"{per_million(read_counts())}\n\n{idle()}"


def with_tables(text: str) -> str:
    """The README's text with the tables as they are now. Raises ValueError if it has no place for them."""
    begin, end = "<!-- make bench-cost writes this -->\n", "\n<!-- to here -->"
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError("the README has no place for the tables of bench/cost.py")
    return head + begin + tables() + end + tail


def _dollars(amount: float) -> str:
    return f"${amount:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--count", action="store_true", help="count anew, then write")
    parser.add_argument("--write", action="store_true", help="write the tables into the README")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    if asked.count:
        state = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT))
        try:
            with raised():
                stack = start_stack(state, Steps(Console(stderr=True)))
                SandboxClient(stack.sandbox_url).add_fault(provider=FASTEST, delay=ANSWER_SECONDS)
                counts = count(stack, asked.rounds)
        finally:
            stop_stack(state)
            shutil.rmtree(state, ignore_errors=True)
        kept = {shape: {part: asdict(usage) for part, usage in parts.items()} for shape, parts in counts.items()}
        COUNTS.write_text(json.dumps({"counted": time.strftime("%Y-%m-%d"), "per event": kept}, indent=2) + "\n")
    if asked.count or asked.write:
        README.write_text(with_tables(README.read_text()))
    print(tables())
    return 0


if __name__ == "__main__":
    sys.exit(main())
