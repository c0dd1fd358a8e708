"""`relay dead` and `relay rejected`: look through what was given up, put it back, or drop it."""

import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderResult
from rich.console import Group as Lines
from rich.json import JSON
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cli.command import Answer, CommandError, Exit, ask, beside, progress_bar
from cli.index import Index, Letter, State
from cli.moments import iso, moment, shown
from cli.reasons import Group, grouped
from cli.stack import Relay
from cli.sweep import Sweep, depth, redrivable
from relay.adapters.dynamodb import REJECTED
from relay.contract.destination import Destination
from relay.providers import PROVIDERS

FASTEST = 50.0
"""Letters a second, where nothing else is said. The lane sends them on at the provider's pace in any case."""

TOO_LARGE = "not redriven: too large to be an event"
"""What came of a letter of which only the beginning was kept."""

MOST_SHOWN = 50

WIDE_ENOUGH = 140
"""Columns that a table of reasons needs."""


@dataclass(frozen=True)
class Filter:
    """Which letters are meant: those for which all that is given is true."""

    reason: Annotated[str, typer.Option("--reason", help="A part of the reason.")] = ""
    event_type: Annotated[str, typer.Option("--type", help="The event's type.")] = ""
    event_id: Annotated[str, typer.Option("--event-id", help="The event's id.")] = ""
    since: Annotated[str, typer.Option("--since", help="Given up since: 2h, 3d, or a date and time.")] = ""
    until: Annotated[str, typer.Option("--until", help="Given up until.")] = ""

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, each.name) for each in fields(self))

    @property
    def is_whole(self) -> bool:
        """Whether all in its lanes are meant."""
        return self.is_empty

    @property
    def lanes(self) -> list[str]:
        """Whose letters are looked through."""
        return [REJECTED]

    def of(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Those that are meant. Raises CommandError for what is no moment."""
        since = moment(self.since) if self.since else 0.0
        until = moment(self.until) if self.until else float("inf")
        for letter in letters:
            if (
                self.reason.lower() in letter.reason.lower()
                and self.event_type in ("", letter.event_type)
                and self.event_id in ("", letter.event_id)
                and since <= letter.at <= until
            ):
                yield letter


@dataclass(frozen=True)
class DeadFilter(Filter):
    """The same for dead letters, which have a destination."""

    where: Annotated[
        str, typer.Argument(help="A provider, or a destination as provider/account.", show_default=False)
    ] = ""

    @property
    def is_whole(self) -> bool:
        return replace(self, where="").is_empty and self.where in ("", *PROVIDERS)

    @property
    def lanes(self) -> list[str]:
        provider = Destination(self.where).provider
        if self.where and provider not in PROVIDERS:
            message = f"{self.where} is neither a provider ({', '.join(PROVIDERS)}) nor an account of one"
            raise CommandError(message, Exit.USAGE)
        return [provider] if self.where else list(PROVIDERS)

    def of(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        for letter in super().of(letters):
            if self.where in ("", letter.lane, letter.destination):
                yield letter


@dataclass(frozen=True)
class Consent:
    """How sure a person is."""

    everything: Annotated[bool, typer.Option("--all", help="All of them, where no filter is given.")] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False


Each = Annotated[bool, typer.Option("--each", help="Each one, not only by reason.")]
Rate = Annotated[float, typer.Option("--rate", min=0.1, help="So many a second at most.")]
Name = Annotated[str, typer.Argument(help="A letter's name, or an event's id.", show_default=False)]
Body = Annotated[bool, typer.Option("--body", help="The body, too: the customer's own data.")]


# -------------------------------------------------------------------------------------------------------- commands


def list_dead(relay: Relay, which: DeadFilter, each: Each = False) -> Answer:
    """Dead letters by like reasons, and what to do about each kind."""
    return _listed(relay, which, each=each)


def show_dead(relay: Relay, name: Name, body: Body = False) -> Answer:
    """All that is known of one dead letter, or of every one of an event."""
    return _shown(relay, name, with_body=body, rejects=False)


def redrive_dead(relay: Relay, which: DeadFilter, consent: Consent, rate: Rate = FASTEST) -> Answer:
    """Put dead letters back on their lanes, but for what was delivered since. Interrupted, run it again."""
    return _act(relay, "redrive", which, consent, Redrive(relay, rate).one)


def drop_dead(relay: Relay, which: DeadFilter, consent: Consent) -> Answer:
    """Delete dead letters that are of no use any more, for good."""
    return _act(relay, "drop", which, consent, Drop(relay).one)


def collect_dead(relay: Relay, which: DeadFilter) -> Answer:
    """Put into the index what SQS itself gave up, or what was there before the index."""
    return _collected(relay, which)


def list_rejected(relay: Relay, which: Filter, each: Each = False) -> Answer:
    """Rejects by like reasons, and what to do about each kind."""
    return _listed(relay, which, each=each)


def show_rejected(relay: Relay, name: Name, body: Body = False) -> Answer:
    """All that is known of one reject, or of every one of an event's id."""
    return _shown(relay, name, with_body=body, rejects=True)


def redrive_rejected(relay: Relay, which: Filter, consent: Consent, rate: Rate = FASTEST) -> Answer:
    """Send rejects to intake again. What is still wrong is rejected again."""
    return _act(relay, "redrive", which, consent, Redrive(relay, rate).one)


def drop_rejected(relay: Relay, which: Filter, consent: Consent) -> Answer:
    """Delete rejects that are of no use any more, for good."""
    return _act(relay, "drop", which, consent, Drop(relay).one)


def collect_rejected(relay: Relay) -> Answer:
    """Put into the index what SQS, EventBridge or Lambda gave up, or what was there before the index."""
    return _collected(relay, Filter())


def groups(relay: Relay) -> list[Group]:
    """All that waits, by like reasons."""
    index = Index(relay)
    return grouped(each for lane in (*PROVIDERS, REJECTED) for each in index.waiting(lane))


def _waiting(relay: Relay, which: Filter) -> list[Letter]:
    index = Index(relay)
    return list(which.of(each for lane in which.lanes for each in index.waiting(lane)))


# --------------------------------------------------------------------------------------------------------- looking


def _listed(relay: Relay, which: Filter, *, each: bool) -> Answer:
    letters = _waiting(relay, which)
    found = grouped(letters)
    outside = max(0, sum(depth(relay, lane) for lane in which.lanes) - len(letters)) if which.is_whole else 0
    data: dict[str, Any] = {
        "count": len(letters),
        "not in the index": outside,
        "groups": [group.as_data() | {"first": iso(group.first), "last": iso(group.last)} for group in found],
    }
    if each:
        data["letters"] = [letter.evidence | {"at": iso(letter.at)} for letter in letters]
    lines: list[Any] = [GroupTable(found)] if found else ["Nothing waits here."]
    if each and letters:
        lines += ["", _letter_table(letters[:MOST_SHOWN])]
        if len(letters) > MOST_SHOWN:
            lines.append(f"and {len(letters) - MOST_SHOWN} more: --json has them all")
    if outside:
        lines += [
            "",
            f"{outside} more are in the queue: given up by SQS itself, or done with and not tidied away. "
            f"relay {_command(which)} collect sees to both",
        ]
    return Answer(data, Lines(*lines))


def _command(which: Filter) -> str:
    return "dead" if isinstance(which, DeadFilter) else "rejected"


class GroupTable:
    """Letters by like reasons, for people: in columns where there is room for them, else in lines, so that an id stays
    in one piece. `now`: Unix seconds of the moment at which they were looked for.
    """

    def __init__(self, found: Sequence[Group], now: float | None = None) -> None:
        self._found = found
        self._now = now

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        yield (_in_columns if options.max_width >= WIDE_ENOUGH else _in_lines)(self._found, self._now)


def _in_lines(found: Sequence[Group], now: float | None) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("COUNT", justify="right")
    table.add_column("LANE")
    table.add_column("REASON", overflow="fold")
    for group in found:
        when = f"{shown(group.first, now)} to {shown(group.last, now)}"
        about = Text.assemble(group.reason, (f"\n{when}, {_types(group)}, such as {group.example}", "dim"))
        table.add_row(str(group.count), group.lane, about.append(f"\n\N{RIGHTWARDS ARROW} {group.advice}"))
    return table


def _types(group: Group) -> str:
    types = " ".join(f"{name} {count}" for name, count in list(group.types.items())[:3])
    return types + (f" +{len(group.types) - 3}" if len(group.types) > 3 else "")


def _in_columns(found: Sequence[Group], now: float | None) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("REASON", overflow="fold", ratio=3)
    table.add_column("LANE")
    table.add_column("COUNT", justify="right")
    for name in ("FIRST", "LAST"):
        table.add_column(name, no_wrap=True)
    for name in ("TYPES", "EXAMPLE", "DO"):
        table.add_column(name, overflow="fold", ratio=1)
    for group in found:
        table.add_row(
            group.reason,
            group.lane,
            str(group.count),
            shown(group.first, now),
            shown(group.last, now),
            _types(group),
            group.example,
            group.advice,
        )
    return table


def _letter_table(letters: list[Letter]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("GIVEN UP", "DESTINATION", "EVENT", "TYPE", "REASON"):
        table.add_column(name, overflow="fold")
    for letter in letters:
        at, event = shown(letter.at), letter.event_id or letter.letter
        table.add_row(at, letter.destination or letter.lane, event, letter.event_type or "?", letter.reason)
    return table


def _shown(relay: Relay, name: str, *, with_body: bool, rejects: bool) -> Answer:
    if not name:
        raise CommandError("say which: the name is empty", Exit.USAGE)
    index = Index(relay)
    one = index.whole(name)
    all_of_it = [one] if one else index.of_event(name)
    found = [each for each in all_of_it if each.is_reject == rejects]
    others = len(all_of_it) - len(found)
    if not found:
        kind, other, there = ("reject", "dead letter", "dead") if rejects else ("dead letter", "reject", "rejected")
        is_other = f"; there is a {other}" if others else ""
        do = f"relay {there} show {shlex.quote(name)}" if others else f"relay trace {shlex.quote(name)}"
        raise CommandError(
            f"there is no {kind} of that name, and none of such an event{is_other} \N{RIGHTWARDS ARROW} {do}",
            Exit.NOT_FOUND,
        )
    data, lines = [], []
    for letter in found:
        known = letter.evidence | {
            key: iso(value) for key in ("at", "accepted_at", "settled_at") if (value := getattr(letter, key))
        }
        if not rejects and (record := index.ledger(letter.event_id, letter.destination)):
            known["ledger"] = {
                each.name: value
                for each in fields(record)
                if each.name in ("state", "outcome", "reason", "attempts", "unknowns")
                and (value := getattr(record, each.name))
            }
        if with_body and letter.body is not None:
            known["body"] = letter.body
        data.append(known)
        table = Table(box=None, show_header=False, pad_edge=False)
        for key, value in known.items():
            if key != "body":
                table.add_row(Text(key, "bold"), _told(value))
        lines += [table, *([_pretty(letter.body)] if with_body and letter.body else []), ""]
    return Answer(data, Lines(*lines[:-1]))


def _told(value: Any) -> str:
    return ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)


def _pretty(body: str) -> Any:
    try:
        return JSON(body)
    except ValueError:
        return body


# ---------------------------------------------------------------------------------------------------------- acting


_PAST = {"redrive": "redriven", "drop": "dropped"}


def _act(relay: Relay, verb: str, which: Filter, consent: Consent, one: Callable[[Letter], str]) -> Answer:
    if which.is_empty and not consent.everything:
        raise CommandError(f"say which to {verb}: by a filter, or --all", Exit.USAGE)
    letters = _waiting(relay, which)
    if consent.dry_run:
        said = f"{len(letters)} would be {_PAST[verb]}; nothing was done"
        return Answer({"would": verb, "count": len(letters)}, Lines(GroupTable(grouped(letters)), "", said))
    if letters and not consent.yes:
        beside.print(GroupTable(grouped(letters)))
        ask(f"\n{verb} these {len(letters)}?")
    counts: Counter[str] = Counter()
    try:
        with letters_bar() as progress:
            task = progress.add_task(verb, total=len(letters))
            for letter in letters:
                counts[one(letter)] += 1
                progress.advance(task)
            swept = _sweep(relay, which.lanes, progress)
    except KeyboardInterrupt:
        far = f"{counts.total()} of {len(letters)} were done with"
        raise CommandError(f"interrupted: {far}; the same command goes on", Exit.INTERRUPTED) from None
    said = ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing waits here"
    done = {"count": len(letters), "done": dict(counts), "queue": dict(swept)}
    return Answer(done, said, Exit.FAILED if counts[TOO_LARGE] else Exit.OK)


def _collected(relay: Relay, which: Filter) -> Answer:
    with letters_bar() as progress:
        swept = _sweep(relay, which.lanes, progress, always=True)
    data = {name: swept[name] for name in ("collected", "kept", "deleted", "twice")}
    return Answer(data, f"{swept['collected']} put into the index, {swept['kept']} in all")


def _sweep(relay: Relay, lanes: list[str], progress: Progress, *, always: bool = False) -> Counter[str]:
    """Deletes from the queues what is settled, where there may be such."""
    swept: Counter[str] = Counter()
    for lane in lanes:
        there = depth(relay, lane)
        if always or there:
            task = progress.add_task(f"tidying {lane}", total=there)
            swept += Sweep(relay, lane, lambda task=task: progress.advance(task)).run()  # type: ignore[misc]
    return swept


def letters_bar() -> Progress:
    """For work on many letters."""
    return progress_bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


class Redrive:
    """Puts letters back, at a rate. Each is sent, then noted as sent: ended in between, it is sent once more, and its
    copy is one that the queue or the ledger knows.
    """

    def __init__(self, relay: Relay, rate: float) -> None:
        self._relay = relay
        self._index = Index(relay)
        self._pause = 1 / rate
        self._next = 0.0

    def one(self, letter: Letter) -> str:
        whole = self._index.whole(letter.letter)
        if whole is None or whole.state != State.WAITING or whole.body is None:
            return "settled by another meanwhile"
        if whole.whole_bytes:
            return TOO_LARGE
        if self._index.is_delivered(whole):
            self._index.settle(whole.letter, State.DELIVERED, self._relay.who, time.time())
            return "delivered since, and not sent again"
        self._wait()
        self._send(whole, whole.body)
        self._index.settle(whole.letter, State.REDRIVEN, self._relay.who, time.time())
        return "redriven"

    def _wait(self) -> None:
        now = time.monotonic()
        time.sleep(max(0.0, self._next - now))
        self._next = max(now, self._next) + self._pause

    def _send(self, letter: Letter, body: str) -> None:
        kept = {
            "content_hash": letter.content_hash,
            "accepted_at": f"{letter.accepted_at:.3f}" if letter.accepted_at else "",
            "correlation_id": letter.correlation_id,
        }
        attributes: Any = {name: {"DataType": "String", "StringValue": value} for name, value in kept.items() if value}
        if letter.is_reject:
            url = self._relay.outputs["IntakeQueueUrl"]
            self._relay.sqs.send_message(QueueUrl=url, MessageBody=redrivable(body), MessageAttributes=attributes)
            return
        self._relay.sqs.send_message(
            QueueUrl=self._relay.lanes[letter.lane].queue_url,
            MessageBody=body,
            MessageGroupId=letter.group or letter.destination.account or "-",
            # Within five minutes the same letter is one message, whoever sends it.
            MessageDeduplicationId=f"redriven-{letter.letter}"[:128],
            MessageAttributes=attributes,
        )


class Drop:
    """Deletes letters for good."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._index = Index(relay)

    def one(self, letter: Letter) -> str:
        done = self._index.settle(letter.letter, State.DROPPED, self._relay.who, time.time())
        return "dropped" if done else "settled by another meanwhile"
