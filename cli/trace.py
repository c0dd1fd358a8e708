"""`relay trace`: all that happened to one event, in plain words and in order of time."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.command import Answer, CommandError, Exit
from cli.condition import Account, Kind
from cli.logs import Line, Told, lines_about
from cli.look import read, with_failures
from cli.moments import iso_if, lasting, moment, shown
from cli.stack import Relay
from relay.adapters.dynamodb import read_record
from relay.contract.destination import Destination
from relay.ports import Record

INTAKE = "intake"

LONGEST_BATCH = 30.0
"""Seconds from a try to the log line that tells of it, at most."""

_SERVICES = {"sqs": "SQS", "eventbridge": "EventBridge", "sns": "SNS", "direct": "a direct call"}

_STYLES = {"delivered": "green", "waiting": "yellow", "trying": "yellow", "dead_letter": "red", "rejected": "red"}


@dataclass(frozen=True)
class Step:
    """One thing that happened, at intake or at a destination. `last` and `times`: the same again, until then."""

    at: float
    where: str
    what: str
    data: Mapping[str, Any]
    last: float = 0.0
    times: int = 1


@dataclass(frozen=True)
class Now:
    """Where the event stands at a destination, or at intake: `state` for programs, `told` for people, what to `do`."""

    where: str
    state: str
    told: str
    do: str = ""


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
    now = time.time()
    begin = moment(since)
    records = _records(relay, event_id)
    told = lines_about(relay, event_id, begin)
    if not records and not told.lines:
        raise CommandError(_nothing_known(relay, event_id, begin, told), Exit.NOT_FOUND)
    steps = list(_steps(told.lines, records))
    accounts = _accounts(relay, list(dict.fromkeys([*records, *_destinations(told.lines)])), now)
    stand = list(_stand(records, told.lines, accounts, now))
    return Answer(_data(event_id, stand, steps, records, begin, told), _shown(event_id, stand, steps, told, now))


def _nothing_known(relay: Relay, event_id: str, begin: float, told: Told) -> str:
    queue = relay.sqs.get_queue_attributes(
        QueueUrl=relay.outputs["IntakeQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    waiting = sum(map(int, queue.values()))
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
    )["Items"]
    return {record.destination: record for record in map(read_record, items) if record}


def _accounts(relay: Relay, names: Sequence[str], now: float) -> dict[str, Account]:
    table = relay.outputs["AccountsTableName"]
    found = []
    for name in names:
        if Destination(name).provider in relay.settings:
            item = relay.dynamodb.get_item(TableName=table, Key={"destination": {"S": name}}).get("Item", {})
            found.append(read(Destination(name), item, relay.settings, now))
    return {str(account.destination): account for account in with_failures(relay, found, now)}


# ----------------------------------------------------------------------------------------------------------- the story


def _steps(lines: Iterable[Line], records: Mapping[str, Record]) -> Iterator[Step]:
    steps = [_dated(step, records) for line in lines if (step := _step(line))]
    steps += [step for record in records.values() for step in _from_record(record, steps)]
    steps.sort(key=lambda step: step.at)
    return _folded(steps)


def _step(line: Line) -> Step | None:
    said = line.said
    if not line.is_intakes:
        what = _outcome(said) if "outcome" in said else ""
        return Step(line.at, str(said.get("destination", "")), what, said) if what else None
    match said.get("message"):
        case "accepted":
            waited = f", {lasting(said['age'])} after it was put in" if said.get("age", 0) >= 1 else ""
            for_whom = ", ".join(said.get("destinations", ()))
            return Step(line.at, INTAKE, f"accepted{_through(said)}{waited}, for {for_whom}", said)
        case "rejected":
            kept = "kept in the rejected queue" if said.get("kept") else "of its body the beginning is kept"
            return Step(line.at, INTAKE, f"rejected{_through(said)}: {said.get('reason')} ({kept})", said)
        case "not accepted":
            why = f"{said.get('failed_at')}: {said.get('code')}"
            return Step(line.at, INTAKE, f"could not be taken{_through(said)}: {why}; it comes again", said)
    return None


def _dated(step: Step, records: Mapping[str, Record]) -> Step:
    """When it happened: a batch tells of its tries at its end, and an event's age says when each of them was over."""
    record, age = records.get(step.where), step.data.get("age")
    if record is None or not record.accepted_at or age is None:
        return step
    happened = record.accepted_at + float(age)
    # Else it is another copy's age.
    return replace(step, at=happened) if 0 <= step.at - happened <= LONGEST_BATCH else step


def _through(said: Mapping[str, Any]) -> str:
    names = [_SERVICES.get(name, name) for name in str(said.get("via") or "").split(", ") if name]
    return f" through {', then '.join(names)}" if names else ""


def _outcome(said: Mapping[str, Any]) -> str:
    reason = ": ".join(filter(None, (str(said.get("reason") or ""), str(said.get("detail") or ""))))
    if said.get("attempts"):
        reason += f", try {said['attempts']}"
    if crashed := said.get("crashed_before"):
        reason += f" ({crashed} before it left no record of their answer)"
    match said["outcome"]:
        case "delivered" if not said.get("final"):
            what = f"delivered, {reason}, but that could not be written down; comes again"
        case "delivered":
            what = f"delivered, {reason}"
        case "duplicate":
            what = f"not sent: {reason}"
        case _ if said.get("final"):
            what = f"given up, {reason}: a dead letter"
        case "throttled":
            what = f"not yet: {reason}"
        case "unauthorized":
            what = f"credentials refused, {reason}"
        case "unknown":
            what = f"sent, but no answer came, {reason}; tried again"
        case _:
            what = f"failed, {reason}; tried again"
    return what


def _from_record(record: Record, steps: Sequence[Step]) -> Iterator[Step]:
    """What the ledger knows and no log line told: lines are deleted, and a lane may be written by other systems."""
    mine = [step for step in steps if step.where == record.destination]
    if not any(step.data.get("message") == "accepted" for step in steps) and record.accepted_at:
        data = {"ledger": True, "accepted_at": iso_if(record.accepted_at)}
        yield Step(record.accepted_at, record.destination, "came in; no log line says which way", data)
    if record.completed_at and not any(step.at > record.completed_at - 1 for step in mine):
        data = {
            "ledger": True,
            **{name: getattr(record, name) for name in ("outcome", "reason", "status", "attempts")},
            "final": record.state in ("delivered", "given_up"),
        }
        yield Step(record.completed_at, record.destination, _outcome(data), data)


def _folded(steps: Iterable[Step]) -> Iterator[Step]:
    """The same at the same destination again and again is one step."""
    folded: list[Step] = []
    newest: dict[str, int] = {}
    for step in steps:
        place = newest.get(step.where)
        before = folded[place] if place is not None else None
        if before and place is not None and _alike(before, step):
            folded[place] = replace(before, what=step.what, last=step.at, times=before.times + 1)
            continue
        newest[step.where] = len(folded)
        folded.append(step)
    return iter(folded)


def _alike(one: Step, other: Step) -> bool:
    names = ("message", "outcome", "reason", "detail", "final")
    return "outcome" in one.data and all(one.data.get(name) == other.data.get(name) for name in names)


# ---------------------------------------------------------------------------------------------------- where it stands


def _destinations(lines: Iterable[Line]) -> list[str]:
    """Those that intake sent it to."""
    names = [
        name for line in lines if line.is_intakes for name in line.said.get("destinations", ()) if isinstance(name, str)
    ]
    names += [str(line.said["destination"]) for line in lines if line.said.get("destination")]
    return list(dict.fromkeys(names))


def _stand(
    records: Mapping[str, Record], lines: Sequence[Line], accounts: Mapping[str, Account], now: float
) -> Iterator[Now]:
    names = list(dict.fromkeys([*_destinations(lines), *records]))
    if not names:
        yield _at_intake(lines, now)
    for name in names:
        record = records.get(name)
        last = next((line for line in reversed(lines) if line.said.get("destination") == name), None)
        account = accounts.get(name)
        yield _by_record(record, account, now) if record else _by_line(name, last, account, now)


def _at_intake(lines: Sequence[Line], now: float) -> Now:
    """No destination has it: it was rejected, or could not be taken yet."""
    last = lines[-1]
    if last.said.get("message") == "rejected":
        told = f"rejected {shown(last.at, now)}: {last.said.get('reason')}; nothing was sent"
        return Now(INTAKE, "rejected", told, "relay rejected list")
    told = f"waits in the intake queue: {last.said.get('failed_at')} did not take it ({last.said.get('code')})"
    return Now(INTAKE, "waiting", told, "docs/runbook.md#intake-fails")


def _by_record(record: Record, account: Account | None, now: float) -> Now:
    name, ended = record.destination, shown(record.completed_at, now)
    match record.state:
        case "delivered":
            after = (
                f", {lasting(record.completed_at - record.accepted_at)} after acceptance" if record.accepted_at else ""
            )
            maybe = f"; {record.unknowns} times nobody knows whether it arrived before" if record.unknowns else ""
            return Now(name, "delivered", f"delivered {ended}{after}{maybe}")
        case "given_up":
            told = f"a dead letter since {ended}: {record.reason}"
            return Now(name, "dead_letter", told, f"relay dead list {Destination(name).provider}")
        case "claimed" if record.lease_until > now:
            return Now(name, "trying", "is being tried now")
        case "claimed":
            told = "waits: its last try left no record of its answer; it comes again when SQS brings it back"
            return Now(name, "waiting", f"{told}; {_account(account, now)}")
    tries = f"{record.attempts} tries, " if record.attempts > 1 else ""
    told = f"waits: {tries}last {record.reason or record.outcome} at {ended}; {_account(account, now)}"
    return Now(name, "waiting", told, _do(account, now))


def _by_line(name: str, last: Line | None, account: Account | None, now: float) -> Now:
    if last is not None and last.said.get("final"):
        outcome, reason = last.said.get("outcome"), str(last.said.get("reason"))
        if outcome in ("delivered", "duplicate") and not reason.startswith("given up"):
            return Now(name, "delivered", f"{outcome} {shown(last.at, now)}: {reason}; the ledger no longer has it")
        told = f"a dead letter since {shown(last.at, now)}: {reason}"
        return Now(name, "dead_letter", told, f"relay dead list {Destination(name).provider}")
    return Now(name, "waiting", f"waits in the lane, not tried yet; {_account(account, now)}", _do(account, now))


def _account(account: Account | None, now: float) -> str:
    return f"its account: {account.told(now)}" if account else "its account is not known here"


def _do(account: Account | None, now: float) -> str:
    match account and account.kind(now):
        case Kind.REFUSED:
            return f"relay connect {account.destination}, relay resume {account.destination}" if account else ""
        case Kind.HELD:
            return f"relay resume {account.destination}" if account else ""
    return ""


# ------------------------------------------------------------------------------------------------------------- answers


def _data(
    event_id: str,
    stand: Sequence[Now],
    steps: Sequence[Step],
    records: Mapping[str, Record],
    since: float,
    told: Told,
) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "now": [
            {
                "where": each.where,
                "state": each.state,
                "told": each.told,
                "do": each.do or None,
                "ledger": _record_data(records[each.where]) if each.where in records else None,
            }
            for each in stand
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


def _shown(event_id: str, stand: Sequence[Now], steps: Sequence[Step], told: Told, now: float) -> RenderableType:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("WHEN", "WHERE", "WHAT"):
        table.add_column(name, no_wrap=name != "WHAT", overflow="fold")
    for step in steps:
        more = f" ({step.times} times, last {shown(step.last, now)})" if step.times > 1 else ""
        table.add_row(shown(step.at, now), step.where, Text(f"{step.what}{more}"))
    ends = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    ends.add_column("", no_wrap=True)
    ends.add_column("", overflow="fold")
    for each in stand:
        do = f" → {each.do}" if each.do else ""
        ends.add_row(each.where, Text.assemble((each.told, _STYLES.get(each.state, "")), do))
    return Group(Text(event_id, "bold"), ends, Text(""), table, *([Text(told.gap, "dim")] if told.gap else []))
