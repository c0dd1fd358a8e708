"""Delivery at the provider's pace, measured on the emulator with everything on: validation, ledger, logs.

`python -m bench.delivery` runs every scenario (about ten minutes) and prints one table; `--scenario NAME` runs one. The
events enter through IntakeQueue, the provider sandbox keeps the limit, and times are read from its journal. Exits
non-zero if an event was lost, repeated or dead-lettered: speed is shown, never asserted.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.two import TWO
from local.machine import ROOT
from local.processes import raised
from local.sandbox.client import SandboxClient
from local.stack import Stack, start_stack, stop_stack
from local.steps import Steps
from relay.providers import PROVIDERS

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeNameType


@dataclass(frozen=True)
class Scenario:
    """`events` to one account that allows `limit` requests in `window` seconds, less what a foreign client eats."""

    name: str
    title: str
    provider: str
    events: int
    limit: int
    window: float
    algorithm: str
    foreign_per_second: float = 0.0
    cold_every: int | None = None
    """Events after which the function's environment is retired."""
    fault: dict[str, Any] = field(default_factory=dict)
    account: str = "main"

    @property
    def order(self) -> dict[str, Any]:
        """What the sandbox is told to allow: a ``local.sandbox.limits.Limit``."""
        limit = {name: getattr(self, name) for name in ("provider", "limit", "window", "algorithm")}
        return {**limit, "foreign_per_second": self.foreign_per_second}

    @property
    def retirements(self) -> int:
        """How often an environment is retired in the course of the run."""
        return (self.events - 1) // self.cold_every if self.cold_every else 0

    @property
    def ideal(self) -> float:
        """Seconds from the first request to the last at exactly the allowed rate, the first window's burst included."""
        left = self.limit - self.foreign_per_second * self.window
        return (self.events / left - 1) * self.window


BATCH = 10


def scenarios(provider: str) -> Iterator[Scenario]:
    """A backlog of a provider; where its windows are short, also with every trouble that a backlog may meet."""
    allowed = PROVIDERS[provider].limits[-1]
    count, algorithm = (600, "sliding") if allowed.window <= 1 else (240, "fixed")
    title = f"{count} to {provider.capitalize()}"
    rate = f"{title}, {allowed.requests}/{_WINDOWS.get(allowed.window, f'{allowed.window:g} s')}"
    plain = Scenario(provider, rate, provider, count, allowed.requests, allowed.window, algorithm)
    if allowed.window > 1:
        yield plain
        return
    yield replace(plain, title=f"{rate}, sliding window")
    yield replace(plain, name=f"{provider}-fixed", title=f"{rate}, fixed window", algorithm="fixed")
    slow = {"provider": provider, "delay": 1.0}
    yield replace(plain, name=f"{provider}-slow", title=f"{title}, answers take 1 s", fault=slow)
    yield replace(plain, name=f"{provider}-cold", title=f"{title}, cold every 50", cold_every=50)
    others = 0.4 * allowed.requests / allowed.window
    yield replace(plain, name=f"{provider}-shared", title=f"{title}, others eat 40 %", foreign_per_second=others)


_WINDOWS = {1.0: "s", 60.0: "min"}
SCENARIOS = tuple(scenario for provider in TWO for scenario in scenarios(provider))


@dataclass(frozen=True)
class Measured:
    """What one run came to. Times are seconds."""

    scenario: Scenario
    delivered: int
    repeats: int
    dead_letters: int
    throttled: int
    requests: int
    elapsed: float
    invocations: int
    billed: float

    @property
    def faults(self) -> bool:
        return self.delivered != self.scenario.events or self.repeats > 0 or self.dead_letters > 0

    def row(self) -> tuple[str, ...]:
        return (
            self.scenario.title,
            f"{self.delivered}/{self.scenario.events}",
            f"{self.elapsed:.1f} s",
            f"{self.scenario.ideal:.1f} s",
            f"{self.scenario.ideal / self.elapsed:.1%}",
            f"{self.throttled} ({self.throttled / self.requests:.2%})",
            str(self.repeats),
            str(self.dead_letters),
            str(self.invocations),
            f"{self.billed:.1f} s ({self.billed / self.elapsed:.1%})",
        )


def measure(stack: Stack, log: Path, scenario: Scenario, progress: Progress) -> Measured:
    """Runs one scenario on a running stack. Gives up when nothing has arrived for three minutes."""
    sandbox = SandboxClient(stack.sandbox_url)
    prepare(sandbox, scenario)
    skip = len(log.read_text(errors="replace"))
    lane = Lane(stack, scenario.provider)
    run, later = f"{scenario.name}-{int(time.time())}", scenario.retirements
    queue(stack, scenario, lane, range(later, scenario.events), run)
    task = progress.add_task(scenario.title, total=scenario.events)
    accepted, seen_at, retired = -1, time.monotonic(), 0
    while accepted < scenario.events and time.monotonic() - seen_at < 180:
        now_accepted = accepted_by(sandbox, scenario.provider)
        if now_accepted != accepted:
            accepted, seen_at = now_accepted, time.monotonic()
        progress.update(task, completed=accepted)
        if scenario.cold_every and accepted > (retired + 1) * scenario.cold_every - BATCH:
            lane.retire()
            # The emulator looks for mappings that were opened once a second only, or when a message comes in.
            publish(stack, scenario, range(retired, retired + 1), run)
            retired += 1
        time.sleep(0.1 if scenario.cold_every else 1)
    time.sleep(3)
    requests = sandbox.requests(provider=scenario.provider)
    good = [request for request in requests if request["accepted"]]
    invocations, billed = function_time(log, scenario.provider, skip)
    return Measured(
        scenario=scenario,
        delivered=len(good),
        repeats=sum(request["repeat"] for request in good),
        dead_letters=dead_letters(stack, scenario.provider),
        throttled=sum(request["status"] == 429 for request in requests),
        requests=len(requests),
        elapsed=good[-1]["time"] - good[0]["time"],
        invocations=invocations,
        billed=billed,
    )


def queue(stack: Stack, scenario: Scenario, lane: "Lane", numbers: range, run: str) -> None:
    """Sends the events to IntakeQueue and waits until all of them are on the lane, which is closed meanwhile."""
    lane.close()
    publish(stack, scenario, numbers, run)
    deadline = time.monotonic() + 120
    while lane.waiting() < len(numbers) and time.monotonic() < deadline:
        time.sleep(0.2)
    lane.open()


def publish(stack: Stack, scenario: Scenario, numbers: range, run: str) -> None:
    """Sends the events of these numbers to IntakeQueue."""
    for some in batched(numbers, BATCH, strict=False):
        entries: list[Any] = [
            {"Id": str(number), "MessageBody": json.dumps(event(run, number, scenario.provider, scenario.account))}
            for number in some
        ]
        stack.clients.sqs.send_message_batch(QueueUrl=stack.outputs["IntakeQueueUrl"], Entries=entries)


def event(run: str, number: int, provider: str, account: str = "main") -> dict[str, Any]:
    """One event of a run, each of another customer."""
    return {
        "id": f"{run}-{number}",
        "source": "bench",
        "type": "order_shipped",
        "customer": {"email": f"customer{number}@example.com", "properties": {"tier": "gold"}},
        "properties": {"order_id": f"{run}-{number}", "total": 6.7},
        "destinations": [f"{provider}/{account}"],
    }


def function_time(log: Path, provider: str, skip: int) -> tuple[int, float]:
    """Batches of the provider's deliver function in the emulator's log after `skip` characters, and their seconds."""
    lines = (line for line in log.read_text(errors="replace")[skip:].splitlines() if '"message":"batch"' in line)
    batches = [json.loads(line) for line in lines if f'"deliver-{provider}"' in line]
    return len(batches), sum(batch["seconds"] for batch in batches)


def dead_letters(stack: Stack, provider: str) -> int:
    """Messages in the lane's dead-letter queue."""
    reply = stack.clients.sqs.get_queue_attributes(
        QueueUrl=stack.outputs[f"{provider.title()}DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(reply["Attributes"]["ApproximateNumberOfMessages"])


class Lane:
    """A lane's mapping to its function, by the means that AWS has: closed, nothing more is handed out."""

    def __init__(self, stack: Stack, provider: str) -> None:
        self._clients = stack.clients
        self._function = stack.outputs[f"{provider.title()}FunctionName"]
        self._url = stack.outputs[f"{provider.title()}QueueUrl"]
        mappings = self._clients.functions.list_event_source_mappings(FunctionName=self._function)
        (mapping,) = mappings["EventSourceMappings"]
        self._mapping = mapping["UUID"]
        self._memory = self._clients.functions.get_function_configuration(FunctionName=self._function)["MemorySize"]

    def open(self) -> None:
        self._clients.functions.update_event_source_mapping(UUID=self._mapping, Enabled=True)

    def close(self) -> None:
        self._clients.functions.update_event_source_mapping(UUID=self._mapping, Enabled=False)

    def waiting(self) -> int:
        """How many messages are to be had."""
        return self._count("ApproximateNumberOfMessages")

    def retire(self) -> None:
        """Ends the function's environment between two batches: the next one starts cold."""
        self.close()
        while self._count("ApproximateNumberOfMessagesNotVisible"):
            time.sleep(0.02)
        self._clients.functions.update_function_configuration(FunctionName=self._function, MemorySize=self._memory)
        self.open()

    def _count(self, name: "QueueAttributeNameType") -> int:
        reply = self._clients.sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=[name])
        return int(reply["Attributes"][name])


def prepare(sandbox: SandboxClient, scenario: Scenario) -> None:
    """An empty journal, and the scenario's limit and fault in force."""
    sandbox.forget("requests", "faults", "limits")
    sandbox.set_limit(**scenario.order)
    if scenario.fault:
        sandbox.add_fault(**scenario.fault)


def accepted_by(sandbox: SandboxClient, provider: str) -> int:
    """How many requests the provider acted on. Cheap: the sandbox shares the machine with what is measured."""
    return int(sandbox.summary().get(provider, {}).get("accepted", 0))


def table(rows: list[Measured]) -> Table:
    made = Table(title="Delivery at the provider's pace")
    for name in ("scenario", "delivered", "took", "ideal", "rate", "429s", "repeats", "dead", "calls", "function time"):
        made.add_column(name, justify="left" if name == "scenario" else "right")
    for row in rows:
        made.add_row(*row.row(), style="red" if row.faults else "")
    return made


@contextmanager
def running(console: Console, parameters: Mapping[str, str] | None = None) -> Iterator[tuple[Stack, Path]]:
    """A stack of the bench's own, and its emulator's log. Nothing of it is left afterwards."""
    state = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT))
    try:
        with raised():
            yield start_stack(state, Steps(console), parameters), state / "emulator.log"
    finally:
        stop_stack(state)
        shutil.rmtree(state, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.delivery", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=[scenario.name for scenario in SCENARIOS])
    wanted = parser.parse_args().scenario
    console = Console(width=None if sys.stdout.isatty() else 140)
    rows: list[Measured] = []
    with running(console) as (stack, log), Progress(console=console, transient=True) as progress:
        for scenario in SCENARIOS:
            if not wanted or scenario.name in wanted:
                rows.append(measure(stack, log, scenario, progress))
                progress.console.print(" · ".join(rows[-1].row()), highlight=False)
    console.print(table(rows))
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
