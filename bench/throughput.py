"""How many events an environment delivers where no limit binds, beside what else could be written and the limit of
what can be: in deliveries a second, and in processor time.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context

from bench.answering import answering
from bench.cost import AWS_SECONDS
from bench.delivery import BATCH, event
from bench.rivals import Batch, Rival, Rivals
from bench.table import Goal, Row, Section
from local.machine import OWN
from relay.contract.event import Event, parse_event
from relay.intake.routing import route
from tests.kinds import FAST

RUNS = 7
SLOW, QUICK = 0.1, 0.005
"""Seconds until the provider answers."""

SLOW_BATCHES = {"relay": 10, "with tables": 10, "limit": 10, "side by side": 10, "textbook": 1, "requests": 1}
QUICK_BATCHES = {"relay": 40, "limit": 40, "side by side": 20, "textbook": 10, "requests": 10}
"""How many batches a run is, by rival."""

ENVIRONMENT = {
    "POWERTOOLS_METRICS_NAMESPACE": "bench",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    # As in Lambda, where Powertools keeps its event loop from one call to the next.
    "LAMBDA_TASK_ROOT": "bench",
}


@dataclass(slots=True)
class Spent:
    """What some deliveries took: seconds, and those of them that a processor was busy in this process."""

    deliveries: int = 0
    seconds: float = 0.0
    busy: float = 0.0

    @property
    def rate(self) -> float:
        return self.deliveries / self.seconds

    @property
    def each(self) -> float:
        """Milliseconds of a processor for each delivery."""
        return 1000 * self.busy / self.deliveries


def measure(say: Callable[[str], None]) -> Section:
    """Takes a minute and a half."""
    # A process for each: what a function keeps in its process stays there.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
        say(f"answers take {1000 * SLOW:.0f} ms")
        slow = alone.submit(race, SLOW, SLOW_BATCHES).result()
        say(f"answers take {1000 * QUICK:.0f} ms")
        quick = alone.submit(race, QUICK, QUICK_BATCHES).result()
    return Section(
        "Deliveries of one environment, where no limit binds",
        [*_rows(slow, SLOW), *_rows(quick, QUICK), *_busy(quick)],
        [
            f"Batches of {BATCH}; a run is 10 of them, or 40 where answers take 5 ms (1 or 10 of those that are slow), "
            "and all take turns batch by batch. The textbook is Powertools' `BatchProcessor` with its parser and "
            "urllib3, side by side its `AsyncBatchProcessor` with httpx; the limit is bytes and addresses made ready, "
            "posted by urllib3 from ten threads. All build with the same code, post to the same server, and log a "
            "line for each event but for the limit. The relay alone waits for tables: for its claim, its account and "
            "its record. They are in this process and answer at once; one row shows it with what DynamoDB takes."
        ],
    )


def _rows(runs: list[Mapping[str, Spent]], answers: float) -> Iterator[Row]:
    is_slow = answers == SLOW
    after = f"answers after {1000 * answers:.0f} ms"
    relay = f"the relay, {after}"
    yield Row(relay, [run["relay"].rate for run in runs], "/s")
    over = [run["relay"].rate / run["textbook"].rate for run in runs]
    yield Row(f"{relay}, over the textbook", over, "×", Goal.at_least(9.5) if is_slow else None)
    of_limit = [100 * run["relay"].rate / run["limit"].rate for run in runs]
    yield Row(f"{relay}, of the limit", of_limit, "%", Goal.at_least(97 if is_slow else 95))
    if is_slow:
        yield Row(f"{relay}, tables after {1000 * AWS_SECONDS:.0f}", [run["with tables"].rate for run in runs], "/s")
    for title, name in RIVALS.items():
        yield Row(f"{title}, {after}", [run[name].rate for run in runs], "/s")


RIVALS = {
    "the limit": "limit",
    "the textbook": "textbook",
    "the same with `requests`": "requests",
    "side by side, with httpx": "side by side",
}


def _busy(runs: list[Mapping[str, Spent]]) -> Iterator[Row]:
    yield Row("processor time of a delivery: the relay", [run["relay"].each for run in runs], "ms")
    over = [run["relay"].each / run["limit"].each for run in runs]
    yield Row("processor time of a delivery: the relay, over the limit", over, "×", Goal.at_most(1.6))
    for title, name in RIVALS.items():
        yield Row(f"processor time of a delivery: {title}", [run[name].each for run in runs], "ms")


def race(answers: float, batches: Mapping[str, int], runs: int = RUNS) -> list[Mapping[str, Spent]]:
    """So many `batches` of each rival in each run, in turns. What each of them spent, run by run. For a process that
    does nothing else.
    """
    OWN.update(ENVIRONMENT)
    # What Lambda does with a line that is logged costs Lambda, not the function.
    with answering(FAST, answers) as base_url, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        rivals, numbers = Rivals(FAST, base_url), count()
        ready: dict[str, Rival] = {
            "relay": rivals.relay(),
            "with tables": rivals.relay(AWS_SECONDS),
            "limit": rivals.limit(),
            "textbook": rivals.textbook(),
            "requests": rivals.with_requests(),
            "side by side": rivals.side_by_side(),
        }
        for name in batches:
            ready[name](_batch(rivals, numbers))
        found: list[Mapping[str, Spent]] = []
        for _ in range(runs):
            spent = {name: Spent() for name in batches}
            for turn in range(max(batches.values())):
                for name in (name for name, most in batches.items() if turn < most):
                    _run(ready[name], _batch(rivals, numbers), spent[name])
            found.append(spent)
    return found


def _run(rival: Rival, batch: Batch, spent: Spent) -> None:
    began, busy = time.perf_counter(), time.process_time()
    rival(batch)
    spent.busy += time.process_time() - busy
    spent.seconds += time.perf_counter() - began
    spent.deliveries += len(batch.requests)


def _batch(rivals: Rivals, numbers: Iterator[int]) -> Batch:
    """Events that nobody has seen, as intake puts them on the lane."""
    now, destination = time.time(), rivals.destination
    events = [
        parse_event(event("bench", next(numbers), destination.provider, destination.account)) for _ in range(BATCH)
    ]
    entries = [entry for each in events for entry in route(each, (destination,), now, each.id)]
    requests = [rivals.provider.build(Event.model_validate_json(entry.body), rivals.credentials) for entry in entries]
    records = [
        {
            "messageId": f"message-{each.id}",
            "receiptHandle": f"receipt-{each.id}",
            "body": entry.body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "ApproximateFirstReceiveTimestamp": f"{1000 * now:.0f}",
                "SentTimestamp": f"{1000 * now:.0f}",
                "SenderId": "AIDAEXAMPLE",
                "SequenceNumber": "18849496460467696128",
                "MessageGroupId": entry.group,
                "MessageDeduplicationId": entry.deduplication_id,
            },
            "messageAttributes": {
                name: {"stringValue": value, "dataType": "String"}
                for name, value in (
                    ("content_hash", entry.content_hash),
                    ("accepted_at", f"{now:.3f}"),
                    ("correlation_id", entry.correlation_id),
                )
            },
            "md5OfBody": "0" * 32,
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:bench-{destination.provider}.fifo",
            "awsRegion": "us-east-1",
        }
        for each, entry in zip(events, entries, strict=True)
    ]
    return Batch({"Records": records}, requests)
