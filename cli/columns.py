"""How a row of a CSV file becomes an event: which column, or which constant, is which field."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from cli.command import CommandError, Exit
from relay.contract.fields import Scalar, iso
from relay.contract.parsing import path as named
from relay.errors import FieldError
from relay.masking import mask

FIELDS = (
    *("id", "source", "type", "occurred_at", "value", "currency", "destinations", "expires_at", "backfill"),
    *("customer.email", "customer.phone_number", "customer.id"),
)
"""What a column may be."""

OPEN_FIELDS = ("properties", "customer.properties", "customer.provider_ids")
"""What a column may be one of, under a name that follows: `properties.total`."""

MOMENTS = ("occurred_at", "expires_at")

CONSTANT = "@"
"""Before what is no column's name but the value itself."""

LONGEST_NUMBER = 400
"""Characters of a number: no float is longer, and no integer that an event takes."""

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?\d{1,3}(?:[. '\u00a0\u202f]\d{3})*(?:,\d+)?|[+-]?\d+(?:,\d+)?", re.ASCII)
_UNIX = re.compile(r"\d{9,10}(?:\.\d+)?|\d{12,13}", re.ASCII)
_IN_BRACES = re.compile(r"\{([^{}]+)\}")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


class CellError(Exception):
    """What a cell must be and is not. Never quotes it."""


def _number(text: str) -> Scalar:
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise CellError("must be a number such as 1234.5 (with a decimal comma: the kind `comma`)")
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _comma(text: str) -> Scalar:
    if not _WITH_COMMA.fullmatch(text):
        raise CellError("must be a number with a decimal comma, such as 1.234,5")
    return _number(re.sub(r"[. '\u00a0\u202f]", "", text).replace(",", "."))


def _integer(text: str) -> Scalar:
    if not re.fullmatch(r"[+-]?\d{1,19}", text, re.ASCII):
        raise CellError("must be an integer")
    return int(text)


def _boolean(text: str) -> Scalar:
    if text.lower() not in (*_YES, *_NO):
        raise CellError(f"must be {' or '.join(_YES)}, or {' or '.join(_NO)}")
    return text.lower() in _YES


def _unix(text: str) -> Scalar:
    if not _UNIX.fullmatch(text):
        raise CellError("must be a Unix time, in seconds or milliseconds")
    seconds = float(text)
    return iso(datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC))


KINDS: Mapping[str, Callable[[str], Scalar]] = {
    "text": str,
    "number": _number,
    "comma": _comma,
    "integer": _integer,
    "boolean": _boolean,
    "unix": _unix,
}
"""What a cell holds, behind a colon: `properties.total:number`."""


@dataclass(frozen=True)
class Entry:
    """One field, and where it comes from. `template` has columns in braces, or none at all: then it is a constant."""

    field: str
    kind: str
    column: str = ""
    template: str = ""

    @classmethod
    def read(cls, field: str, value: str) -> Self:
        """`properties.total:number` and `Total`, or `type` and `@order_shipped`. Raises CommandError."""
        name, kind = read_field(field)
        if value.startswith(CONSTANT):
            return cls(name, kind, template=value.removeprefix(CONSTANT))
        return cls(name, kind, column=value)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.column else tuple(_IN_BRACES.findall(self.template))


def read_field(text: str) -> tuple[str, str]:
    """A field and the kind of its cells, as a map has them. Raises CommandError for what is no field."""
    name, colon, kind = text.strip().rpartition(":")
    if not colon:
        name, kind = kind, {"value": "number", "backfill": "boolean"}.get(kind, "text")
    if kind not in KINDS:
        raise CommandError(f"{mask(text)}: there is no kind {mask(kind)}, only {', '.join(KINDS)}", Exit.USAGE)
    if not is_field(name):
        known = ", ".join((*FIELDS, *(f"{each}.NAME" for each in OPEN_FIELDS)))
        raise CommandError(f"{mask(text)} is no field of an event: {known}", Exit.USAGE)
    return name, kind


def is_field(name: str) -> bool:
    return name in FIELDS or any(name.startswith(f"{each}.") and len(name) > len(each) + 1 for each in OPEN_FIELDS)


@dataclass(frozen=True)
class ColumnMap:
    """Every field that is mapped; in none twice. `zone`: where a moment without an offset was written down."""

    entries: tuple[Entry, ...] = ()
    zone: ZoneInfo | None = None

    @classmethod
    def read(cls, given: Sequence[str], file: Path | None, zone: ZoneInfo | None = None) -> Self:
        """`FIELD[:KIND]=COLUMN` and `FIELD[:KIND]=@CONSTANT`, over those of a map file. Raises CommandError."""
        entries = {each.field: each for each in (_of_file(file) if file else ())}
        told: dict[str, Entry] = {}
        for text in given:
            field, equals, value = text.partition("=")
            if not equals or not value:
                raise CommandError(f"--map {mask(text)}: write FIELD=COLUMN, or FIELD=@CONSTANT", Exit.USAGE)
            entry = Entry.read(field, value)
            if entry.field in told:
                raise CommandError(f"--map: {entry.field} stands twice", Exit.USAGE)
            told[entry.field] = entry
        return cls(tuple({**entries, **told}.values()), zone)

    def bind(self, header: Sequence[str]) -> "Rows":
        """For a file with these columns. A column that is named as a field is that field, unless the map says else.

        Raises CommandError for a column that is not there, or there twice, and where no column is any field.
        """
        mapped = {each.field for each in self.entries}
        own = []
        for name in header:
            field = name.strip()
            if is_field(field.rpartition(":")[0]) or is_field(field):
                entry = Entry.read(field, name)
                own += [] if entry.field in mapped else [entry]
        entries = (*self.entries, *own)
        for each in entries:
            for column in each.columns:
                if (times := header.count(column)) != 1:
                    what = "is not a column of it" if times == 0 else f"is the name of {times} columns"
                    known = mask(", ".join(header))
                    raise CommandError(f"{each.field}: {mask(column)} {what}; it has {known}", Exit.USAGE)
        if not any(each.columns for each in entries):
            known = mask(", ".join(header))
            raise CommandError(f"which column is what? Say so with --map FIELD=COLUMN; it has {known}", Exit.USAGE)
        return Rows(entries, {name: place for place, name in enumerate(header)}, self.zone)


class Rows:
    """Makes events of rows."""

    def __init__(self, entries: Sequence[Entry], places: Mapping[str, int], zone: ZoneInfo | None) -> None:
        self._cells = [(each, _reader(each, places), _converter(each, zone)) for each in entries]
        self._derives_id = not any(each.field == "id" for each in entries)
        used = {column for each in entries for column in each.columns}
        self.unused = [name for name in places if name not in used]
        """The columns that go nowhere."""

    def event(self, row: Sequence[str]) -> tuple[dict[str, Any], list[FieldError]]:
        """The event's data, and what is wrong with cells. An empty cell is no field. Without an `id` of its own, the
        event has one of its content.
        """
        data: dict[str, Any] = {}
        errors = []
        for entry, read, convert in self._cells:
            if not (text := read(row)):
                continue
            try:
                _put(data, entry.field, convert(text))
            except CellError as error:
                errors.append(FieldError(named([entry.field]), str(error)))
        if self._derives_id:
            data = {"id": derived_id(data), **data}
        return data, errors


def derived_id(data: Mapping[str, Any]) -> str:
    """The same for the same event; where it goes, when it turns stale and whether it is history do not count."""
    content = {name: value for name, value in data.items() if name not in ("destinations", "expires_at", "backfill")}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"row-{hashlib.sha256(canonical.encode()).hexdigest()[:32]}"


def _reader(entry: Entry, places: Mapping[str, int]) -> Callable[[Sequence[str]], str]:
    if entry.column:
        place = places[entry.column]
        return lambda row: row[place].strip()
    columns = entry.columns

    def filled(row: Sequence[str]) -> str:
        cells = {name: row[places[name]].strip() for name in columns}
        return _IN_BRACES.sub(lambda match: cells[match[1]], entry.template) if all(cells.values()) else ""

    return filled


def _converter(entry: Entry, zone: ZoneInfo | None) -> Callable[[str], Any]:
    if entry.field == "destinations":
        return lambda text: [part for part in re.split(r"[\s,;|]+", text) if part]
    if entry.field in MOMENTS and entry.kind == "text" and zone:
        return partial(_in_zone, zone=zone)
    return KINDS[entry.kind]


def _in_zone(text: str, zone: ZoneInfo) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text  # The contract says what is wrong with it.
    return text if moment.tzinfo else moment.replace(tzinfo=zone).isoformat()


def _put(data: dict[str, Any], field: str, value: object) -> None:
    above = next((each for each in (*OPEN_FIELDS[1:], "customer", OPEN_FIELDS[0]) if field.startswith(f"{each}.")), "")
    for name in filter(None, above.split(".")):
        data = data.setdefault(name, {})
    data[field.removeprefix(f"{above}.")] = value


def _of_file(path: Path) -> Iterator[Entry]:
    """TOML, or JSON by its name: `type = "@shipped"`, `properties.total = {column = "Total", kind = "number"}`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", Exit.USAGE) from None
    except ValueError as error:
        raise CommandError(f"{path} cannot be read: {error}", Exit.USAGE) from None
    if not isinstance(content, dict):
        raise CommandError(f"{path} holds no map of fields to columns", Exit.USAGE)
    yield from _entries(content, path)


def _entries(content: Mapping[str, Any], path: Path, above: str = "") -> Iterator[Entry]:
    for key, value in content.items():
        field = f"{above}.{key}" if above else key
        match value:
            case str():
                yield Entry.read(field, value)
            case {"column": str(column), **more} if is_field(field) and more.keys() <= {"kind"}:
                yield Entry(*read_field(":".join((field, *map(str, more.values())))), column=column)
            case {"constant": str(constant), **more} if is_field(field) and more.keys() <= {"kind"}:
                yield Entry(*read_field(":".join((field, *map(str, more.values())))), template=constant)
            case dict():
                yield from _entries(value, path, field)
            case _:
                expected = 'a column, "@" and a constant, or {column = …, kind = …}'
                raise CommandError(f"{path}: {mask(field)} is none of {expected}", Exit.USAGE)
