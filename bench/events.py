"""What an event costs between the queue and the lanes, in processor time: read, validated, built, sent on.

An event's cost is held against work that no relay is rid of: reading and writing its JSON, and boto3 sending the same
bytes. A run times both, one after the other, again and again, and has one ratio.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import batched, count
from typing import Any

import boto3

from bench.cost import Context, environment, fresh
from bench.sqs import Endpoint, endpoint
from bench.table import Goal, Row, Section
from bench.two import TWO
from local.machine import ACCESS_KEY_ID, REGION, ROOT, SECRET_ACCESS_KEY
from relay.handlers.envelope import open_record
from relay.handlers.intake import IntakeHandler
from relay.intake.routing import route
from relay.ports import MOST_ENTRIES
from relay.wiring import intake as wiring

type Json = dict[str, Any]
type Say = Callable[[str], None]

RUNS = 7
TURNS = 8
"""How often reading, building and `json` take turns within a run; intake and boto3 do so batch by batch."""
EVENTS = 400
"""Different ones, each once in a turn."""
BATCHES = (10, 100)
CREDENTIALS = {name: "of-the-bench" for provider in TWO.values() for name in provider.credentials}

FILES = (
    "direct-order-shipped.json",
    "sqs-product-viewed.json",
    "eventbridge-cart-abandoned.json",
    "eventbridge-quiz-finished.json",
    "sqs-eventbridge-envelope.json",
)


def measure(say: Say) -> Section:
    """Every row; half a minute."""
    texts = [text for text, _ in zip(bodies(), range(EVENTS), strict=False)]
    say(f"events of {min(map(_bytes, texts))} to {max(map(_bytes, texts))} bytes, validated and built")
    parts = validated_and_built(texts)
    rows = [
        Row("an event read and validated", [run.opened * 1e6 for run in parts], "µs"),
        Row("its requests built, one for each provider", [run.built * 1e6 for run in parts], "µs"),
        Row("an event validated and built", [run.all * 1e6 for run in parts], "µs"),
        Row("its text read and written by `json`", [run.json * 1e6 for run in parts], "µs"),
        Row("an event validated and built, over `json`", [run.all / run.json for run in parts], "×", Goal.at_most(3)),
    ]
    with endpoint() as sqs, intake(sqs) as handler:
        for size in BATCHES:
            say(f"intake in batches of {size}, to {len(TWO)} destinations")
            runs = [sent_on(handler, sqs, texts, size) for _ in range(RUNS)]
            what = f"intake of a batch of {size}"
            least = len(TWO) * -(-size // MOST_ENTRIES)
            rows += [
                Row(f"{what}, per event", [run.intake * 1e6 for run in runs], "µs"),
                Row(f"{what}, over bare boto3", [run.intake / run.bare for run in runs], "×", Goal.at_most(1.4)),
                Row(f"{what}: its calls of SQS, to two lanes", [run.calls for run in runs], goal=Goal.at_most(least)),
            ]
    notes = [
        f"In processor time of the process. Events: {len(FILES)} files of `events/`, each time another customer's, as "
        f"an SQS body has them, {min(map(_bytes, texts))} to {max(map(_bytes, texts))} bytes. Validated and built: "
        f"from the text, through its envelope, to the request of each of {len(TWO)} providers. Intake: the "
        "function's handler on a whole SQS batch, log lines and metrics included. Bare boto3: `send_message_batch` of "
        "a client as `boto3.client` makes it, of the very entries that intake has just sent. Both against a process "
        "beside them that answers as SQS does.",
    ]
    return Section("What an event costs", rows, notes)


def _bytes(text: str) -> int:
    return len(text.encode())


# ------------------------------------------------------------------------------------------------ read and built


@dataclass(frozen=True, slots=True)
class Parts:
    """Processor seconds of one event, of one run."""

    opened: float
    built: float
    json: float

    @property
    def all(self) -> float:
        return self.opened + self.built


def bodies() -> Iterator[str]:
    """The events of the files, kind by kind and again, each of another customer: compact JSON as an SQS body holds it,
    in the envelope it came in.
    """
    kinds: list[str] = []
    for file in FILES:
        held = json.loads((ROOT / "events" / file).read_text())
        kinds += [record["body"] for record in held["Records"]] if "Records" in held else [json.dumps(held)]
    for number in count():
        body = json.loads(kinds[number % len(kinds)])
        event = body.get("detail", body)
        event["id"] += f"-{number}"
        event["customer"]["email"] = f"customer-{number}@example.com"
        yield json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def validated_and_built(texts: Sequence[str]) -> list[Parts]:
    """What each of `RUNS` runs came to."""
    providers = [provider("https://example.com") for provider in TWO.values()]
    # As lanes have them: intake has dated those that were not.
    events = [
        open_record(entry.body)
        for text in texts
        for entry in route(open_record(text), [f"{next(iter(TWO))}/main"], 0.0)
    ]

    def build() -> None:
        for event in events:
            for provider in providers:
                provider.build(event, CREDENTIALS)

    works: dict[str, Callable[[], object]] = {
        "opened": lambda: [open_record(text) for text in texts],
        "built": build,
        "json": lambda: [json.dumps(json.loads(text)) for text in texts],
    }
    runs = []
    for _ in range(RUNS):
        taken = dict.fromkeys(works, 0.0)
        for _ in range(TURNS):
            for name, work in works.items():
                taken[name] += _took(work)
        runs.append(Parts(**{name: seconds / TURNS / len(texts) for name, seconds in taken.items()}))
    return runs


def _took(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


# ------------------------------------------------------------------------------------------------ intake


@dataclass(frozen=True, slots=True)
class Run:
    """Processor seconds of one event, and the calls of a batch."""

    intake: float
    bare: float
    calls: int


@contextmanager
def intake(sqs: Endpoint) -> Iterator[IntakeHandler]:
    """The function's handler, with an account of each provider as its destinations; its lines go nowhere."""
    own = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": sqs.url,
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_METRICS_NAMESPACE": "relay",
        "RELAY_STAGE": "bench",
        "RELAY_DESTINATIONS": ",".join(f"{name}/main" for name in TWO),
        "RELAY_LANES": json.dumps({name: f"{sqs.url}/000000000000/{name}.fifo" for name in TWO}),
        "RELAY_REJECTED_QUEUE_URL": f"{sqs.url}/000000000000/rejected",
        "RELAY_LETTERS_TABLE": "letters",
    }
    with environment(own), fresh(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield wiring.intake()


def sent_on(handler: IntakeHandler, sqs: Endpoint, texts: Sequence[str], size: int) -> Run:
    """Batches through intake, and in turn what it sent through bare boto3."""
    client = boto3.client("sqs")
    own, bare, calls = 0.0, 0.0, list[Json]()

    def send() -> None:
        for call in calls:
            client.send_message_batch(**call)

    for some in batched(texts, size, strict=True):
        batch = {"Records": [_record(text) for text in some]}
        own += _took(partial(handler.handle, batch, Context()))
        calls = sqs.calls()
        bare += _took(send)
        assert sqs.calls() == calls
    return Run(own / len(texts), bare / len(texts), len(calls))


def _record(body: str) -> Json:
    return {
        "messageId": str(uuid.uuid4()),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(int(time.time() * 1000)),
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:intake",
        "awsRegion": REGION,
    }
