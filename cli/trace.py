"""`relay trace`: all that happened to one event, in plain words and in order of time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.command import Answer, CommandError, Exit
from cli.condition import Condition, Kind
from cli.index import Index
from cli.logs import Told, lines_about
from cli.look import find
from cli.moments import iso_if, moment, shown
from cli.stack import Relay
from cli.story import Known, Now, Step, stand
from relay.adapters.dynamodb import read_record
from relay.contract.destination import Destination
from relay.ports import Record

_STYLES = {"delivered": "green", "waiting": "yellow", "trying": "yellow", "dead_letter": "red", "rejected": "red"}


def trace(
    relay: Relay,
    event_id: Annotated[str, typer.Argument(help="The event's own id, as its producer gave it.", show_default=False)],
    since: Annotated[
        str, typer.Option("--since", help="From when on logs are read: 36h, 14d, 2026-11-29T22:40.")
    ] = "14d",
) -> Answer:
    """All that happened to one event: accepted or rejected, each try, what it waits for, where it ended.

    Ends with 4 where nothing is known of it.
    """
    if not event_id:
        raise CommandError("say which event: its id is empty", Exit.USAGE)
    now = time.time()
    begin = moment(since)
    records = _records(relay, event_id)
    letters = Index(relay).of_event(event_id) if "LettersTableName" in relay.outputs else []
    told = lines_about(relay, event_id, begin)
    if not records and not letters and not told.lines:
        raise CommandError(_nothing_known(relay, event_id, begin, told), Exit.NOT_FOUND)
    known = Known(told.lines, records, letters)
    steps = known.steps()
    accounts = {str(each.destination): each for each in find(relay, known.destinations, now)}
    stands = [with_lane(relay, each, accounts.get(each.where), now) for each in stand(known, accounts, now)]
    return Answer(
        {"event_id": event_id} | _data(stands, steps, records, begin, told), _shown(event_id, stands, steps, told, now)
    )


def with_lane(relay: Relay, end: Now, account: Condition | None, now: float) -> Now:
    """With when its lane will be through, where it waits, its account works, and only that one's events are there."""
    if end.state != "waiting" or account is None or account.kind(now) not in (Kind.OK, Kind.THROTTLED):
        return end
    provider = account.destination.provider
    beside = [each for each in relay.settings[provider].destinations if Destination(each).provider == provider]
    waiting = relay.queue(relay.lanes[provider].queue_url).messages if beside == [account.destination] else 0
    through = account.drained_at(waiting, now)
    if not through:
        return end
    by = shown(through, now, to_the_minute=True)
    return replace(end, told=f"{end.told}; the {waiting:,} on its lane are through by ~{by} at the soonest")


def _nothing_known(relay: Relay, event_id: str, begin: float, told: Told) -> str:
    waiting = relay.queue(relay.outputs["IntakeQueueUrl"]).messages
    told_too = [told.gap] if told.gap else []
    if waiting:
        told_too.append(f"{waiting:,} records wait in the intake queue: it may be one of them")
    told_too.append("check the id and the stack, or look further back with --since")
    told_too.append("what could not be read has no id: relay rejected list")
    head = f"nothing is known of {event_id}: no ledger record, no log line since {shown(begin)}"
    return "\n       ".join((head, *told_too))


def _records(relay: Relay, event_id: str) -> dict[str, Record]:
    """The ledger's, by destination."""
    items = relay.dynamodb.query(
        TableName=relay.outputs["LedgerTableName"],
        KeyConditionExpression="event_id = :id",
        ExpressionAttributeValues={":id": {"S": event_id}},
        ConsistentRead=True,
    )["Items"]
    return {record.destination: record for record in map(read_record, items) if record}


def _data(
    stands: Sequence[Now],
    steps: Sequence[Step],
    records: Mapping[str, Record],
    since: float,
    told: Told,
) -> dict[str, Any]:
    return {
        "now": [
            {
                "where": each.where,
                "state": each.state,
                "told": each.told,
                "do": each.do or None,
                "ledger": _record_data(records[each.where]) if each.where in records else None,
            }
            for each in stands
        ],
        "steps": [
            {
                "at": iso_if(step.at),
                "where": step.where,
                "what": step.what,
                "times": step.times,
                "last_at": iso_if(step.last),
                **{
                    name: step.data[name]
                    for name in ("via", "correlation_id", "outcome", "status", "reason", "detail", "attempts", "final")
                    if name in step.data
                },
            }
            for step in steps
        ],
        "logs_since": iso_if(since),
        "not_seen": told.gap or None,
    }


def _record_data(record: Record) -> dict[str, Any]:
    kept = ("state", "outcome", "reason", "status", "attempts", "unknowns", "content_hash")
    moments = {name: iso_if(getattr(record, name)) for name in ("accepted_at", "completed_at")}
    return {name: getattr(record, name) for name in kept} | moments


def _shown(event_id: str, stands: Sequence[Now], steps: Sequence[Step], told: Told, now: float) -> RenderableType:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("WHEN", "WHERE", "WHAT"):
        table.add_column(name, no_wrap=name != "WHAT", overflow="fold")
    for step in steps:
        more = f" ({step.times} times, last {shown(step.last, now)})" if step.times > 1 else ""
        table.add_row(shown(step.at, now), Text(step.where), Text(f"{step.what}{more}"))
    ends = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    ends.add_column("", no_wrap=True)
    ends.add_column("", overflow="fold")
    for each in stands:
        do = f" → {each.do}" if each.do else ""
        ends.add_row(Text(each.where), Text.assemble((each.told, _STYLES.get(each.state, "")), do))
    return Group(Text(event_id, "bold"), ends, Text(""), table, *([Text(told.gap, "dim")] if told.gap else []))
