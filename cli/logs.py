"""What the functions logged of one event: from CloudWatch Logs Insights, or where that cannot be had, line by line."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.stack import Relay
from relay.masking import mask_identifiers

LOCAL = "local"
"""The stage of the stack on one machine, whose emulator has no Logs Insights worth the name."""

MOST_LINES = 1_000
INSIGHTS_SECONDS = 60.0
FILTER_SECONDS = 30.0
"""For so long logs are looked through."""

_SAFE = re.compile(r"[A-Za-z0-9_.:-]+")


@dataclass(frozen=True)
class Line:
    """One line of a function's log: when, in Unix seconds, and all that it says."""

    at: float
    said: Mapping[str, Any]

    @property
    def is_intakes(self) -> bool:
        return bool(self.said.get("service") == "intake")


@dataclass(frozen=True)
class Told:
    """What the logs say, in order of time. `gap`: why there may be more; empty where this is all since then."""

    lines: Sequence[Line]
    gap: str = ""


def lines_about(relay: Relay, event_id: str, since: float, clock: Callable[[], float] = time.time) -> Told:
    """The lines that name the event, since a moment in Unix seconds."""
    if mask_identifiers(event_id) != event_id:
        return Told((), "the id holds what may be personal, which the logs mask: only the ledger knows it")
    groups = [f"/aws/lambda/{name}" for name in _functions(relay)]
    if relay.stage != LOCAL:
        try:
            return _about(event_id, *_ask_insights(relay, groups, event_id, since, clock()))
        except ClientError as error:
            refused = f"Logs Insights refused: {error.response.get('Error', {}).get('Code')}"
    else:
        refused = ""
    lines, gap = _filter(relay, groups, event_id, since)
    return _about(event_id, lines, "; ".join(filter(None, (refused, gap))))


def _functions(relay: Relay) -> list[str]:
    return [relay.outputs["IntakeFunctionName"], *(lane.function for lane in relay.lanes.values())]


def _about(event_id: str, lines: Iterator[str] | Sequence[str], gap: str) -> Told:
    found = []
    for text in lines:
        said = _read(text)
        if said.get("event_id") == event_id and isinstance(said.get("timestamp"), str):
            found.append(Line(datetime.fromisoformat(said["timestamp"]).timestamp(), said))
    return Told(sorted(found, key=lambda line: line.at), gap)


def _read(text: str) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _ask_insights(
    relay: Relay, groups: Sequence[str], event_id: str, since: float, now: float
) -> tuple[list[str], str]:
    query = relay.logs.start_query(
        logGroupNames=list(groups),
        startTime=int(since),
        endTime=int(now) + 1,
        queryString=f"fields @message | filter event_id = {json.dumps(event_id, ensure_ascii=False)} | sort @timestamp",
        limit=MOST_LINES,
    )["queryId"]
    deadline = time.monotonic() + INSIGHTS_SECONDS
    while (answer := relay.logs.get_query_results(queryId=query))["status"] in ("Scheduled", "Running"):
        if time.monotonic() > deadline:
            relay.logs.stop_query(queryId=query)
            break
        time.sleep(0.5)
    rows = ({each["field"]: each["value"] for each in row} for row in answer["results"])
    lines = [row["@message"] for row in rows if "@message" in row]
    if len(lines) == MOST_LINES:
        return lines, f"the log has more than {MOST_LINES} lines of it"
    return lines, "" if answer["status"] == "Complete" else f"the log was read in part: {answer['status'].lower()}"


def _filter(relay: Relay, groups: Sequence[str], event_id: str, since: float) -> tuple[list[str], str]:
    # Words that stand side by side; what JSON may have written otherwise is left out, and compared afterwards.
    longest = max(_SAFE.findall(event_id), key=len, default="")
    pattern = {"filterPattern": f'"{longest}"'} if longest else {}
    deadline = time.monotonic() + FILTER_SECONDS

    def read(group: str) -> tuple[list[str], str]:
        lines: list[str] = []
        pages = relay.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=int(since * 1000), **pattern
        )
        for page in pages:
            lines += [each["message"] for each in page["events"]]
            if page.get("nextToken") and time.monotonic() > deadline:
                return lines, f"{group} was read in part: it is long, ask for less with --since"
        return lines, ""

    with ThreadPoolExecutor(max_workers=len(groups)) as pool:
        parts = list(pool.map(read, groups))
    return [line for lines, _ in parts for line in lines], "; ".join(gap for _, gap in parts if gap)
