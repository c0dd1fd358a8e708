"""`relay send`: files of events into the relay. All of them are checked before anything leaves."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from cli.checking import Checked, Seen, check
from cli.command import Answer, CommandError, Exit, beside, progress_bar
from cli.progress import Progress
from cli.reading import Files, Written, sources
from cli.records import Reading, Source
from cli.stack import Relay
from cli.ways import Outgoing, Sending, Settled, StoppedError, Via, Way, way_into
from relay.errors import FieldError
from relay.masking import mask_identifiers, printable

MOST_NAMED = 1_000
"""Records that are named one by one with their errors. The others are counted."""

FEW = 20
"""Records whose errors are seen at a glance. Those of more are summed up."""

REJECTED = ".rejected.jsonl"
"""What is left out is written to a file of this name beside its own."""


@dataclass(frozen=True)
class How:
    """How they are to be sent."""

    via: Annotated[Via, typer.Option("--via", help="The way in.")] = Via.SQS
    rate: Annotated[float | None, typer.Option("--rate", help="Events a second, at most.", min=0.01)] = None
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help=f"Send the others; write these to FILE{REJECTED}.")
    ] = False
    backfill: Annotated[
        bool, typer.Option("--backfill", help="All of it is history: it waits behind live events and starts no flow.")
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, send nothing.")] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was interrupted.")] = False
    restart: Annotated[bool, typer.Option("--restart", help="Send all again that was interrupted.")] = False


def send(relay: Relay, files: Files, written: Written, how: How) -> Answer:
    """Send files of events: JSON, JSON lines or CSV.

    All is checked first, by the relay's own contract and the stack's destinations. If anything is wrong, nothing goes.

    What is sent twice, in one file or in two runs, is the same event: the relay drops it.
    """
    if how.resume and how.restart:
        raise CommandError("--resume or --restart, not both", Exit.USAGE)
    read_as = written.reading
    parts = [_Part(source, backfill=how.backfill) for source in sources(files, read_as)]
    if not how.dry_run:
        options = _options(relay, read_as, how)
        for part in parts:
            part.begin(options, resume=how.resume, restart=how.restart)
    way = way_into(relay, how.via)
    with Seen() as seen:
        report = _Report(how.via, parts, dry_run=how.dry_run)
        _check_all(parts, report, _Rules(relay.configured, way, seen), keep=how.skip_invalid and not how.dry_run)
        if not sum(part.events for part in parts) and not report.invalid:
            raise CommandError(f"there is no event in {', '.join(part.source.name for part in parts)}", Exit.USAGE)
        report.nothing_sent = bool(report.invalid) and not how.skip_invalid
        if not (how.dry_run or report.nothing_sent):
            _send_all(parts, report, Sending(way, how.rate), seen)
    return report.answer()


def _options(relay: Relay, read_as: Reading, how: How) -> dict[str, Any]:
    """All that must be the same for a run to go on where another stopped, by the names of the options."""
    columns = hashlib.sha256(repr(read_as.columns.entries).encode()).hexdigest()
    return {
        "--stack": relay.outputs["IntakeQueueUrl"],
        "--via": str(how.via),
        "--map": columns,
        "--timezone": str(read_as.columns.zone),
        "--format": read_as.format and str(read_as.format),
        "--encoding": read_as.encoding,
        "--delimiter": read_as.delimiter,
        "--skip-invalid": how.skip_invalid,
        "--backfill": how.backfill,
    }


@dataclass
class _Part:
    """One file, and what has become of it."""

    source: Source
    backfill: bool = False
    progress: Progress | None = None
    events: int = 0
    repeated: int = 0
    invalid: int = 0
    records: int = 0
    rejected_file: Path | None = None

    def begin(self, options: dict[str, Any], *, resume: bool, restart: bool) -> None:
        path = self.source.path if self.source.can_go_on else None
        content = self.source.digest() if path else ""
        self.progress = Progress.begin(path, content, options, resume=resume, restart=restart)

    @contextmanager
    def left_out(self) -> Iterator[IO[str]]:
        """Where its bad records are written, for the eyes of its owner only."""
        self.rejected_file = Path(f"{self.source.path or 'stdin'}{REJECTED}")
        try:
            descriptor = os.open(self.rejected_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise CommandError(f"{self.rejected_file}: {error.strerror}", Exit.USAGE) from None
        with open(descriptor, "w", encoding="utf-8") as file:
            yield file
        if not self.invalid:
            self.rejected_file.unlink()
            self.rejected_file = None

    @property
    def data(self) -> dict[str, Any]:
        return {
            "file": self.source.name,
            "format": str(self.source.format),
            "events": self.events,
            "repeated": self.repeated,
            "invalid": self.invalid,
            "sent": self.progress.sent if self.progress else 0,
            "refused": self.progress.refused if self.progress else 0,
            "rejected_file": self.rejected_file and str(self.rejected_file),
            "unused_columns": self.source.unused,
        }


@dataclass
class _Named:
    """Records with what is wrong with them: the first ones by name, all of them by their errors."""

    listed: list[dict[str, Any]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def __bool__(self) -> bool:
        return bool(self.count)

    def add(self, file: str, place: str, event_id: str, errors: Sequence[FieldError]) -> None:
        """Says so at once, beside the answer."""
        self.count += 1
        event_id = mask_identifiers(printable(event_id))
        for error in errors:
            text = str(error)
            if text in self.errors or len(self.errors) < MOST_NAMED:
                self.errors[text] += 1
                self.first.setdefault(text, f"{file}, {place}")
        if self.count > MOST_NAMED:
            return
        told = [{"field": error.field, "message": error.message} for error in errors]
        self.listed.append({"file": file, "place": place, "event_id": event_id or None, "errors": told})
        for error in errors:
            who = f" ({event_id})" if event_id else ""
            beside.print(
                Text.assemble((f"{file}, {place}{who}: ", "yellow"), (error.field, "bold"), f": {error.message}")
            )
        if self.count == MOST_NAMED:
            beside.print(Text("… those that follow are counted", "yellow"))

    def table(self, title: str) -> Table:
        table = Table(box=None, header_style="bold", title=title, title_justify="left", title_style="bold yellow")
        table.add_column("COUNT", justify="right")
        table.add_column("ERROR", overflow="fold")
        table.add_column("FIRST", overflow="fold")
        for text, count in self.errors.most_common(20):
            table.add_row(f"{count:,}", Text(text), Text(self.first[text]))
        return table


@dataclass
class _Report:
    via: Via
    parts: Sequence[_Part]
    dry_run: bool = False
    nothing_sent: bool = False
    stopped: str = ""
    interrupted: bool = False
    invalid: _Named = field(default_factory=_Named)
    refused: _Named = field(default_factory=_Named)

    def answer(self) -> Answer:
        refused = any(part.progress and part.progress.refused for part in self.parts)
        match self:
            case _Report(interrupted=True):
                code = Exit.INTERRUPTED
            case _Report(nothing_sent=True):
                code = Exit.USAGE
            case _:
                code = Exit.FAILED if self.stopped or refused or self.invalid else Exit.OK
        data = {
            "via": str(self.via),
            "dry_run": self.dry_run,
            "files": [part.data for part in self.parts],
            "invalid": self.invalid.listed,
            "refused": self.refused.listed,
            "stopped": self.stopped or None,
            "interrupted": self.interrupted,
        }
        return Answer(data, self._shown(), code)

    def _shown(self) -> RenderableType:
        table = Table(box=None, header_style="bold")
        table.add_column("FILE", overflow="fold")
        numbers = ("events", "repeated", "invalid", "sent", "refused")
        for name in numbers:
            table.add_column(name.upper(), justify="right")
        for part in self.parts:
            data = part.data
            table.add_row(Text(part.source.name), *(f"{data[name]:,}" for name in numbers))
        shown: list[RenderableType] = [table]
        for named, title in ((self.invalid, "What is wrong"), (self.refused, "What was refused")):
            if named.count > FEW:
                shown.append(named.table(title))
        return Group(*shown, *(Text(line) for line in self._said()))

    def _said(self) -> Iterator[str]:
        for part in self.parts:
            if part.source.unused:
                yield f"{part.source.name}: columns that are no field: {', '.join(part.source.unused)}"
            if part.rejected_file:
                yield f"Left out, with their errors: {part.rejected_file}"
        if any(part.repeated for part in self.parts):
            yield "What repeats an earlier record is the same event: the relay drops it."
        goes_on = all(part.progress and part.progress.path for part in self.parts)
        how = "go on with --resume" if goes_on else "send it again: what was sent is dropped by the relay"
        if self.dry_run:
            yield "Nothing was sent: --dry-run."
        elif self.nothing_sent:
            yield "Nothing was sent. Mend these, or send the others with --skip-invalid."
        elif self.interrupted:
            yield f"Interrupted: {how}."
        elif self.stopped:
            yield f"Stopped: {self.stopped}; {how}."
        elif any(part.progress and part.progress.sent for part in self.parts):
            yield "Taken by the relay; relay status shows how it goes on, relay trace EVENT_ID what became of one."


@dataclass(frozen=True)
class _Rules:
    """What a record is checked by."""

    configured: Sequence[str]
    way: Way
    seen: Seen

    def check(self, source: Source, checked: Checked) -> Checked:
        """By what a record alone does not tell: the way it takes, and the records before it."""
        if checked.event is None:
            return checked
        size = self.way.size(Outgoing.of(checked.event))
        if size > self.way.most_bytes:
            error = FieldError("body", f"is {size} bytes long, this way in takes {self.way.most_bytes}")
            return Checked(checked.record, errors=(error,), event_id=checked.event_id)
        return self.seen.check(checked, f"{source.name}, {checked.record.place}")


def _check_all(parts: Sequence[_Part], report: _Report, rules: _Rules, *, keep: bool) -> None:
    """Counts every part's events, and names what is wrong. `keep`: writes it to a file, too."""
    columns = (TextColumn("checking {task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bars:
        for index, part in enumerate(parts):
            source = part.source
            bar = bars.add_task(source.name, total=source.size)
            with part.left_out() if keep else nullcontext() as rejects:
                for record in source:
                    checked = rules.check(source, check(record, rules.configured, backfill=part.backfill))
                    part.records = record.number
                    if checked.event:
                        part.events += 1
                        part.repeated += checked.repeats
                    else:
                        part.invalid += 1
                        rules.seen.note_bad(index, record.number)
                        report.invalid.add(source.name, record.place, checked.event_id, checked.errors)
                        if rejects:
                            _write_rejected(rejects, checked)
                    bars.update(bar, completed=source.at)


def _write_rejected(file: IO[str], checked: Checked) -> None:
    errors = [{"field": error.field, "message": error.message} for error in checked.errors]
    line = {"place": checked.record.place, "errors": errors, "record": checked.record.written}
    file.write(json.dumps(line, ensure_ascii=True) + "\n")


def _send_all(parts: Sequence[_Part], report: _Report, sending: Sending, seen: Seen) -> None:
    """Sends what was found right, from where each part's progress stands."""
    columns = (
        TextColumn("sending {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as bars:
        for index, part in enumerate(parts):
            progress = part.progress
            if progress is None or progress.records >= part.records:
                continue
            bar = bars.add_task(part.source.name, total=part.events, completed=progress.sent + progress.refused)
            progress.write(at_once=True)
            try:
                with closing(sending.run(_outgoing(index, part, seen))) as settled:
                    for batch in settled:
                        _note(batch, part, report)
                        progress.write()
                        bars.update(bar, advance=len(batch.batch))
                progress.records = part.records
            except StoppedError as error:
                report.stopped = str(error)
            except KeyboardInterrupt:
                report.interrupted = True
            finally:
                progress.write(at_once=True)
            if report.stopped or report.interrupted:
                return
    for part in parts:
        if part.progress:
            part.progress.end()


def _outgoing(index: int, part: _Part, seen: Seen) -> Iterator[Outgoing]:
    done = part.progress.records if part.progress else 0
    for record in part.source:
        if record.number <= done or (part.invalid and seen.is_bad(index, record.number)):
            continue
        # Its destinations were looked at before.
        checked = check(record, None, backfill=part.backfill)
        if checked.event is None or record.number > part.records:
            raise StoppedError(f"{part.source.name} has changed since it was checked")
        yield Outgoing.of(checked.event, record.place, record.number)


def _note(settled: Settled, part: _Part, report: _Report) -> None:
    progress = part.progress
    if progress:
        progress.records = settled.batch[-1].number
        progress.sent += len(settled.batch) - len(settled.refused)
        progress.refused += len(settled.refused)
    for place, why in settled.refused.items():
        event = settled.batch[place]
        report.refused.add(part.source.name, event.place, event.event_id, why.errors)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")
