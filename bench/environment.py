"""A function as Lambda has it: a new process with the layer alone on its path, and the template's environment."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.cost import FASTEST
from bench.delivery import event
from bench.endpoint import Endpoint
from bench.layer import boto3_beside
from bench.two import TWO
from local.machine import ACCESS_KEY_ID, OWN, REGION, ROOT, SECRET_ACCESS_KEY
from relay.providers import PROVIDERS

type Json = dict[str, Any]

INSIDE = Path(__file__).with_name("inside.py")
EAGER = Path(__file__).with_name("eager.py")
FUNCTIONS = ("intake", "deliver")


@dataclass(frozen=True)
class Seen:
    """One environment's life. `took` has (seconds, seconds computed) of its start and of each call, `peaks` the most
    bytes that it had in memory by then.
    """

    took: Sequence[tuple[float, float]]
    peaks: Sequence[int]
    modules: Sequence[str]


def run(layer: Path, function: str, ends: Endpoint, calls: Sequence[Json], *, eager: bool = False) -> Seen:
    """Starts a function, or the eager one beside it, and calls it so often. Raises RuntimeError where one fails."""
    path = [layer, boto3_beside()] if eager else [layer]
    app, name = (EAGER, function) if eager else (ROOT / "functions" / function / "app.py", "handler")
    ran = subprocess.run(  # noqa: S603 (a program of ours)
        # Without site: nothing of the virtual environment, which is not there in Lambda.
        [sys.executable, "-S", "-P", str(INSIDE), str(time.monotonic()), str(app), name],
        env=environment(function, ends) | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"{app} ended with status {ran.returncode}: {ran.stderr[-2000:]}")
    said = json.loads(ran.stdout.splitlines()[-1])
    if any(answer != {"batchItemFailures": []} for answer in said["answers"]):
        raise RuntimeError(f"{app} answered {said['answers']}: {ran.stdout[-2000:]}")
    return Seen([(each["seconds"], each["computed"]) for each in said["took"]], said["peaks"], said["modules"])


def environment(function: str, ends: Endpoint) -> dict[str, str]:
    """The variables that the template and Lambda set, with everything at one endpoint."""
    url = ends.url
    own = {
        "intake": {
            "RELAY_LANES": json.dumps({name: f"{url}/000000000000/{name}.fifo" for name in PROVIDERS}),
            "RELAY_REJECTED_QUEUE_URL": f"{url}/000000000000/rejected",
        },
        "deliver": {
            "RELAY_PROVIDER": FASTEST,
            "RELAY_BASE_URL": url,
            "RELAY_QUEUE_URL": f"{url}/000000000000/{FASTEST}.fifo",
            "RELAY_DEAD_LETTER_QUEUE_URL": f"{url}/000000000000/{FASTEST}-dead-letters.fifo",
            "RELAY_LEDGER_TABLE": "ledger",
            "RELAY_ACCOUNTS_TABLE": "accounts",
        },
    }
    return {
        **own[function],
        "RELAY_STAGE": "bench",
        "RELAY_DESTINATIONS": ",".join(f"{name}/main" for name in TWO),
        "RELAY_DESTINATION_SETTINGS": "{}",
        "RELAY_LETTERS_TABLE": "letters",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_METRICS_NAMESPACE": "CustomerEventRelay/bench",
        "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's file system is read-only.
        "PATH": OWN.get("PATH", ""),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_ENDPOINT_URL": url,
        "AWS_CA_BUNDLE": str(ends.trusted),
        "SSL_CERT_FILE": str(ends.trusted),
        "AWS_LAMBDA_FUNCTION_NAME": f"bench-customer-events-{function}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }


def batch(function: str, events: Sequence[Json]) -> Json:
    """The events as the function's queue hands them over: to intake as EventBridge put them there."""
    now = datetime.now(UTC)
    sent = str(int(now.timestamp() * 1000))
    records = [
        {
            "messageId": f"message-{given['id']}",
            "receiptHandle": f"receipt-{given['id']}",
            "body": json.dumps(_enveloped(given, now) if function == "intake" else given),
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": sent,
                "ApproximateFirstReceiveTimestamp": sent,
                "MessageGroupId": "main",
            },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:000000000000:bench-customer-events-{function}",
            "awsRegion": REGION,
        }
        for given in events
    ]
    return {"Records": records}


def _enveloped(event: Json, now: datetime) -> Json:
    return {
        "version": "0",
        "id": f"bridge-{event['id']}",
        "detail-type": event["type"],
        "source": event["source"],
        "account": "000000000000",
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": [],
        "detail": event,
    }


def made(function: str, name: str, count: int, properties: Json | None = None) -> list[Json]:
    """So many events for the function: to every provider at intake, to its own for deliver."""
    now = datetime.now(UTC).isoformat()
    names = TWO if function == "intake" else (FASTEST,)
    more = {"occurred_at": now, "destinations": [f"{provider}/main" for provider in names]}
    events = [event(name, number, FASTEST) | more for number in range(count)]
    return [{**each, "properties": {**each["properties"], **(properties or {})}} for each in events]
