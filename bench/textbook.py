"""The textbook's pattern against every provider's real limit, on the emulator, and the relay beside it.

The textbook is a standard queue with a dead-letter queue, a function with Powertools' batch processor
(`bench/textbook_function.py`) and a mapping that reports what failed: all as the pages of AWS and Powertools have it.
"""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import batched
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console

from bench.delivery import Lane, Scenario, dead_letters, event, queue, running, scenarios
from bench.table import Goal, Row, Section
from bench.two import TWO
from local.machine import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from local.sandbox.client import SandboxClient
from local.sandbox.contract import contracts
from local.stack import Stack

CODE = Path(__file__).with_name("textbook_function.py")
EVENTS = 600
SECONDS = 120
"""The relay gets as many events as are allowed in that time."""
FUNCTION_SECONDS = 4
VISIBLE_AFTER = 6 * FUNCTION_SECONDS
"""Six times the function's timeout, as AWS's guide for queues has it."""
RECEIVES, CONCURRENCY = 5, 2
"""`maxReceiveCount`, the guide's least, and the least `MaximumConcurrency` there is."""
PATIENCE = 30
"""Seconds without a request after which a contestant is given up."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What one of the two came to at one provider."""

    scenario: Scenario
    delivered: int
    repeats: int
    dead_letters: int
    throttled: int
    share: float
    """Of the allowed rate, from the first event delivered to the last, in percent."""


def measure(say: Callable[[str], None]) -> Section:
    """Takes three minutes."""
    say("a stack starts")
    with running(Console(quiet=True)) as (stack, _), ExitStack() as textbooks:
        sandbox = SandboxClient(stack.sandbox_url)
        plain = [next(scenarios(name)) for name in TWO]
        theirs = [replace(each, account="textbook", events=EVENTS) for each in plain]
        ours = [replace(each, events=round(SECONDS / each.window * each.limit)) for each in plain]
        sandbox.forget("requests", "faults", "limits")
        for each in plain:
            sandbox.set_limit(**each.order)
        run = f"textbook-{time.time_ns()}"
        queues = [textbooks.enter_context(deployed(stack, each, run)) for each in theirs]
        for each in ours:
            queue(stack, each, Lane(stack, each.provider), range(each.events), f"{run}-relay")
        for waits in queues:
            waits.open()
        say(
            f"{EVENTS} events to each provider by the textbook, {' and '.join(str(each.events) for each in ours)} by us"
        )
        _wait(say, sandbox, [*theirs, *ours], lambda: sum(waits.dead_letters for waits in queues))
        results = [
            *(_ended(sandbox, each, waits.dead_letters) for each, waits in zip(theirs, queues, strict=True)),
            *(_ended(sandbox, each, dead_letters(stack, each.provider)) for each in ours),
        ]
    return Section(
        "The textbook against the providers' limits",
        [row for ended in results for row in _rows(ended)],
        [
            f"On the emulator, at the same time, each at an account of its own. The textbook: a standard queue (hidden "
            f"for {VISIBLE_AFTER} s, `maxReceiveCount` {RECEIVES}), Powertools' `BatchProcessor` "
            "(not raising where a whole batch fails: the emulator would pause after each), "
            f"`MaximumConcurrency` {CONCURRENCY}. The relay gets as many events as are allowed in {SECONDS} s: "
            "at the slower provider 600 would take it ten minutes."
        ],
    )


def _rows(ended: Ended) -> Iterator[Row]:
    scenario = ended.scenario
    is_ours = scenario.account != "textbook"
    who = f"the {'relay' if is_ours else 'textbook'}, {scenario.limit} in {scenario.window:g} s"
    all_of_them, none = (Goal.at_least(scenario.events), Goal.at_most(0)) if is_ours else (None, None)
    yield Row(f"{who}: delivered of {scenario.events}", [ended.delivered], goal=all_of_them)
    yield Row(f"{who}: dead letters", [ended.dead_letters], goal=none)
    yield Row(f"{who}: delivered again", [ended.repeats], goal=none)
    yield Row(f"{who}: answered 429", [ended.throttled])
    yield Row(f"{who}: of the allowed rate", [ended.share], "%")


def _ended(sandbox: SandboxClient, scenario: Scenario, dead: int) -> Ended:
    requests = sandbox.requests(provider=scenario.provider, account=_account(scenario))
    good = [request for request in requests if request["accepted"]]
    least = (len(good) / scenario.limit - 1) * scenario.window
    return Ended(
        scenario=scenario,
        delivered=len(good),
        repeats=sum(request["repeat"] for request in good),
        dead_letters=dead,
        throttled=sum(request["status"] == 429 for request in requests),
        share=100 * max(0.0, least) / (good[-1]["time"] - good[0]["time"]),
    )


def _account(scenario: Scenario) -> str:
    """What the sandbox calls it."""
    return scenario.account if scenario.account == "textbook" else contracts()[scenario.provider].own_account


def _wait(
    say: Callable[[str], None], sandbox: SandboxClient, contestants: list[Scenario], dead: Callable[[], int]
) -> None:
    """Until every event is delivered or a dead letter, or nothing moves any more."""
    events = sum(each.events for each in contestants)
    moved, moved_at = -1, time.monotonic()
    while moved < events and time.monotonic() - moved_at < PATIENCE:
        now = sum(int(counts.get("accepted", 0)) for counts in sandbox.summary().values()) + dead()
        if now != moved:
            moved, moved_at = now, time.monotonic()
            say(f"{now} of {events} have come to their end")
        time.sleep(5)
    # What was accepted last is answered, and its message deleted.
    time.sleep(5)


class Textbook:
    """A queue, a function and what is between them, with all of a scenario's events waiting."""

    def __init__(self, stack: Stack, url: str, dead_url: str, mapping: str) -> None:
        self._clients = stack.clients
        self._dead_url = dead_url
        self._mapping = mapping
        self.url = url

    def open(self) -> None:
        """From now on the function is called."""
        self._clients.functions.update_event_source_mapping(UUID=self._mapping, Enabled=True)

    @property
    def dead_letters(self) -> int:
        reply = self._clients.sqs.get_queue_attributes(
            QueueUrl=self._dead_url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(reply["Attributes"]["ApproximateNumberOfMessages"])


@contextmanager
def deployed(stack: Stack, scenario: Scenario, run: str) -> Iterator[Textbook]:
    """The textbook's stack for one provider, its events on the queue, its mapping closed."""
    clients, name = stack.clients, f"textbook-{scenario.provider}"
    token = f"token-of-the-{name}"
    SandboxClient(stack.sandbox_url).change_tokens(scenario.provider, scenario.account, accept=[token])
    dead_url = clients.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    redrive = {"deadLetterTargetArn": _arn(stack, dead_url), "maxReceiveCount": RECEIVES}
    url = clients.sqs.create_queue(
        QueueName=name,
        Attributes={"VisibilityTimeout": str(VISIBLE_AFTER), "RedrivePolicy": json.dumps(redrive)},
    )["QueueUrl"]
    clients.functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=_role(stack, name, _arn(stack, url)),
        Handler="textbook_function.handler",
        Code={"ZipFile": _zipped()},
        Layers=_layers(stack, scenario.provider),
        Timeout=FUNCTION_SECONDS,
        MemorySize=512,
        Environment={
            "Variables": {
                "PROVIDER": scenario.provider,
                "BASE_URL": f"{stack.sandbox_url}/{scenario.provider}",
                "CREDENTIALS": json.dumps(contracts()[scenario.provider].secret(scenario.account, token)),
            }
        },
    )
    for some in batched(range(scenario.events), 10, strict=False):
        entries: list[Any] = [
            {"Id": str(number), "MessageBody": json.dumps(_dated(event(run, number, scenario.provider)))}
            for number in some
        ]
        clients.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    mapping = clients.functions.create_event_source_mapping(
        EventSourceArn=_arn(stack, url),
        FunctionName=name,
        BatchSize=10,
        Enabled=False,
        ScalingConfig={"MaximumConcurrency": CONCURRENCY},
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )["UUID"]
    try:
        yield Textbook(stack, url, dead_url, mapping)
    finally:
        clients.functions.delete_event_source_mapping(UUID=mapping)


def _dated(data: dict[str, Any]) -> dict[str, Any]:
    """Some providers want a moment, and here no intake gives it one."""
    return data | {"occurred_at": "2026-11-22T10:00:00Z"}


def _arn(stack: Stack, url: str) -> str:
    return stack.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def _layers(stack: Stack, provider: str) -> list[str]:
    name = stack.outputs[f"{provider.title()}FunctionName"]
    described = stack.clients.functions.get_function_configuration(FunctionName=name)
    return [layer["Arn"] for layer in described["Layers"]]


def _zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(CODE, CODE.name)
    return packed.getvalue()


def _role(stack: Stack, name: str, queue_arn: str) -> str:
    iam = boto3.Session(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=stack.region).client(
        "iam", endpoint_url=stack.endpoint_url
    )
    lets = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = [
        {
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            "Resource": queue_arn,
        },
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": "*",
        },
    ]
    version = {"Version": "2012-10-17"}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(version | {"Statement": lets}))
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(version | {"Statement": may}))
    return str(made["Role"]["Arn"])
