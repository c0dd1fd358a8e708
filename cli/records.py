"""Reads what a file holds, record by record: JSON, JSON lines or CSV. Only a JSON document is in memory whole."""

import codecs
import csv
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from cli.columns import ColumnMap, Rows
from cli.command import CommandError, Exit
from relay.contract.event import MAX_EVENT_BYTES
from relay.contract.parsing import parse_json
from relay.errors import FieldError, InvalidEventError
from relay.handlers.records import content_of, is_sns_call, is_sqs_batch
from relay.masking import mask

STDIN = "-"

LONGEST_DOCUMENT = 64 * 1024 * 1024
"""Bytes of a JSON document, which is read whole. Lines have no such bound."""

LONGEST_LINE = 8 * MAX_EVENT_BYTES
"""Characters of a line: an event in an envelope in an envelope, each escaped once more."""

DELIMITERS = ",;\t|"


class Format(StrEnum):
    """How a file is written."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


_SUFFIXES = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".txt": Format.CSV,
}


@dataclass(frozen=True)
class Reading:
    """How files are to be read; what is not said is found out."""

    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    columns: ColumnMap = field(default_factory=ColumnMap)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file; `number` counts from 1. `content` is parsed JSON, `written` is what stands in the file."""

    number: int
    place: str
    """`line 12`, or `event 3` of a document."""
    content: object = None
    errors: tuple[FieldError, ...] = ()
    written: object = None


class Source:
    """One file, which can be read as often as need be. Standard input is kept in a file that nobody else can open."""

    def __init__(self, name: str, reading: Reading) -> None:
        self.name = "standard input" if name == STDIN else name
        self.path = None if name == STDIN else Path(name)
        self.reading = reading
        self.at = 0
        """How many bytes the reading under way has taken."""
        self.unused: list[str] = []
        """A CSV file's columns that are no field."""
        self._kept = None if self.path and self.path.is_file() else self._keep()
        with self.opened() as file:
            self.size = os.fstat(file.fileno()).st_size
            start = file.read(4)
            self.encoding = reading.encoding or _encoding(start)
        self.format = reading.format or self._format()

    @property
    def can_go_on(self) -> bool:
        """Whether a later run finds the same again."""
        return self._kept is None

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """From its beginning."""
        if self._kept:
            self._kept.seek(0)
            yield self._kept
        elif self.path:
            with self.path.open("rb") as file:
                yield file

    def digest(self) -> str:
        """SHA-256 (hex) of all that is in it."""
        with self.opened() as file:
            digest = hashlib.sha256()
            while block := file.read(1024 * 1024):
                digest.update(block)
            return digest.hexdigest()

    def __iter__(self) -> Iterator[Record]:
        """Raises CommandError for what cannot be read as a whole: its encoding, its header."""
        read: dict[Format, Callable[[IO[str]], Iterator[Record]]] = {
            Format.JSON: self._document,
            Format.JSONL: self._lines,
            Format.CSV: self._rows,
        }
        line = "its first line"
        with self.opened() as file, _as_text(file, self.encoding) as text:
            try:
                for record in read[self.format](text):
                    self.at, line = file.tell(), record.place
                    yield record
            except UnicodeError:
                where = f"{self.name} is not {self.encoding.removesuffix('-sig')}, at or behind {line}"
                raise CommandError(f"{where}: name its --encoding, such as cp1252", Exit.USAGE) from None

    def _keep(self) -> IO[bytes]:
        # Unlinked while it is open: it holds customers.
        kept = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the source is there
        weakref.finalize(self, kept.close)
        try:
            if self.path is None:
                shutil.copyfileobj(sys.stdin.buffer, kept)
            else:
                with self.path.open("rb") as given:
                    shutil.copyfileobj(given, kept)
        except OSError as error:
            raise CommandError(f"{self.name}: {error.strerror}", Exit.USAGE) from None
        return kept

    def _format(self) -> Format:
        if self.path and (known := _SUFFIXES.get(self.path.suffix.lower())):
            return known
        with self.opened() as file, _as_text(file, self.encoding) as text:
            try:
                first = text.readline(LONGEST_LINE)
                while first and not first.strip():
                    first = text.readline(LONGEST_LINE)
                more = any(text.readline(LONGEST_LINE).strip() for _ in range(2))
            except UnicodeError:
                raise CommandError(
                    f"{self.name} is not {self.encoding.removesuffix('-sig')}: name its --encoding", Exit.USAGE
                ) from None
        if first.lstrip().startswith("{"):
            return Format.JSONL if more and _is_json(first) else Format.JSON
        if first.lstrip().startswith("[") or (self.path and self.path.suffix.lower() == ".json"):
            return Format.JSON
        if self.reading.columns.entries or self.reading.delimiter:
            return Format.CSV
        formats = ", ".join(Format)
        raise CommandError(f"{self.name}: what is it? Say --format, one of {formats}", Exit.USAGE)

    # --------------------------------------------------------------------------------------------------------- formats

    def _document(self, text: IO[str]) -> Iterator[Record]:
        if self.size > LONGEST_DOCUMENT:
            most = LONGEST_DOCUMENT // 1024**2
            raise CommandError(
                f"{self.name} is one JSON document of more than {most} MiB: make lines of it, such as with jq -c '.[]'",
                Exit.USAGE,
            )
        whole = text.read()
        try:
            found = list(_events(parse_json(whole)))
        except InvalidEventError as error:
            yield Record(1, "the document", errors=error.errors, written=whole)
            return
        for number, each in enumerate(found, 1):
            place = f"event {number}"
            if isinstance(each, dict) and {"destination", "event"} <= each.keys():
                errors = (FieldError("body", "is a call of a function that delivers; what it has as `event` is one"),)
                yield Record(number, place, errors=errors, written=each)
                continue
            try:
                yield Record(number, place, parse_json(each) if isinstance(each, str) else each, written=each)
            except InvalidEventError as error:
                yield Record(number, place, errors=error.errors, written=each)

    def _lines(self, text: IO[str]) -> Iterator[Record]:
        number = line_number = 0
        while line := text.readline(LONGEST_LINE):
            line_number += 1
            number += bool(line.strip())
            place = f"line {line_number}"
            if len(line) == LONGEST_LINE and not line.endswith("\n"):
                while (rest := text.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                    pass
                errors = (FieldError("body", f"is a line of more than {LONGEST_LINE} characters"),)
                yield Record(number, place, errors=errors, written=line)
            elif line.strip():
                try:
                    yield Record(number, place, parse_json(line), written=line.strip())
                except InvalidEventError as error:
                    yield Record(number, place, errors=error.errors, written=line.strip())

    def _rows(self, text: IO[str]) -> Iterator[Record]:
        csv.field_size_limit(MAX_EVENT_BYTES)
        start = text.readline(LONGEST_LINE)
        if not start.strip():
            raise CommandError(f"{self.name} begins without a header", Exit.USAGE)
        delimiter = self.reading.delimiter or _delimiter(start)
        text.seek(0)
        # Strict: a quote out of place is an error, and no part of a cell.
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            header = next(reader)
        except csv.Error as error:
            raise CommandError(f"{self.name}: its header is no CSV: {error}", Exit.USAGE) from None
        rows = self.reading.columns.bind(header)
        self.unused = rows.unused
        number = 0
        while True:
            place = f"line {reader.line_num + 1}"
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                yield Record(number, place, errors=(FieldError("body", f"is no row of CSV: {mask(str(error))}"),))
                continue
            if row:
                number += 1
                yield _row(Record(number, place), row, header, rows)


def _row(record: Record, row: list[str], header: list[str], rows: Rows) -> Record:
    number, place = record.number, record.place
    if len(row) != len(header):
        errors = (FieldError("body", f"has {len(row)} cells, the header {len(header)}"),)
        return Record(number, place, errors=errors, written=row)
    data, wrong = rows.event(row)
    return Record(number, place, data, tuple(wrong), written=dict(zip(header, row, strict=True)))


def _events(document: object) -> Iterator[Any]:
    """The records in a document, as text where that is how they stand there: a list of events, `{"events": [...]}`,
    what SQS or SNS hand a function, or one event.
    """
    if isinstance(document, list):
        yield from document
    elif isinstance(document, dict) and document.keys() == {"events"} and isinstance(document["events"], list):
        yield from document["events"]
    elif isinstance(document, dict) and is_sqs_batch(document):
        yield from map(content_of, document["Records"])
    elif isinstance(document, dict) and is_sns_call(document):
        yield from (record.get("Sns") for record in document["Records"])
    else:
        yield document


@contextmanager
def _as_text(file: IO[bytes], encoding: str) -> Iterator[IO[str]]:
    try:
        text = io.TextIOWrapper(file, encoding=encoding, newline="")
    except LookupError:
        raise CommandError(f"there is no encoding {mask(encoding)}", Exit.USAGE) from None
    try:
        yield text
    finally:
        if not file.closed:
            text.detach()


def _encoding(start: bytes) -> str:
    # What Excel calls Unicode text; all else is UTF-8 with or without its mark, or is said.
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _delimiter(header: str) -> str:
    """That which makes the most cells of the header: names hold few of them, and the cells below may hold many."""

    def cells(delimiter: str) -> int:
        return len(next(csv.reader([header], delimiter=delimiter), []))

    return max(DELIMITERS, key=cells)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
