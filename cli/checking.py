"""What a stack would say to each record of a file, before any of them is sent."""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from cli.records import Record
from relay.contract.destination import Destination
from relay.contract.event import Event, parse_event
from relay.errors import FieldError, InvalidEventError
from relay.handlers.envelope import unwrap
from relay.intake.routing import destinations_of
from relay.masking import mask_identifiers, printable
from relay.providers import PROVIDERS


@dataclass(frozen=True, slots=True)
class Checked:
    """A record with its event, or with what is wrong with it. `repeats`: the same event stands in an earlier record."""

    record: Record
    event: Event | None = None
    destinations: tuple[Destination, ...] = ()
    errors: tuple[FieldError, ...] = ()
    event_id: str = ""
    repeats: bool = False

    @property
    def shown_id(self) -> str:
        """The event's id without personal data."""
        return mask_identifiers(printable(self.event_id))


def check(record: Record, configured: Sequence[str] | None, *, backfill: bool = False) -> Checked:
    """By the contract, and by the destinations that are `configured` (None: by no such), as intake checks it.

    `backfill`: it is history, even where it does not say so.
    """
    if record.content is None and record.errors:
        return Checked(record, errors=record.errors)
    try:
        event = parse_event(unwrap(record.content).content)
        event = event.model_copy(update={"backfill": True}) if backfill else event
        destinations = () if configured is None else tuple(destinations_of(event, configured))
    except InvalidEventError as error:
        # A cell that could not be read is no field of the event, and that it lacks it is no second error.
        named = {each.field for each in record.errors}
        errors = (*record.errors, *(each for each in error.errors if each.field not in named))
        return Checked(record, errors=errors, event_id=error.event_id or "")
    if record.errors:
        return Checked(record, errors=record.errors, event_id=event.id)
    return Checked(record, event, destinations, event_id=event.id)


class Seen:
    """The events of a file by destination and id, in a database on disk once they are many; gone when it is closed."""

    def __init__(self) -> None:
        # Without a name, SQLite keeps it in memory as long as it is small, then in a file of its own.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE events (key BLOB PRIMARY KEY, content BLOB, place TEXT) WITHOUT ROWID")
        self._database.execute(
            "CREATE TABLE bad (file INTEGER, number INTEGER, PRIMARY KEY (file, number)) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def check(self, checked: Checked, place: str) -> Checked:
        """With what speaks against it in view of the records before: an id with other content, where that is no update.

        `place` is what a later record is told of this one.
        """
        event = checked.event
        if event is None:
            return checked
        content = bytes.fromhex(event.content_hash)[:16]
        known = [self._enter(each, event.id, content, place) for each in checked.destinations]
        others = [
            (destination, earlier)
            for destination, earlier in zip(checked.destinations, known, strict=True)
            if earlier and earlier[0] != content and not PROVIDERS[destination.provider].repeats.overrides
        ]
        if others:
            destination, (_, there) = others[0]
            message = f"is that of {there}, with other content: {destination} would get it as id_reused"
            return Checked(checked.record, errors=(FieldError("id", message),), event_id=checked.event_id)
        if all(earlier and earlier[0] == content for earlier in known):
            return Checked(checked.record, event, checked.destinations, event_id=checked.event_id, repeats=True)
        return checked

    def note_bad(self, file: int, number: int) -> None:
        """That a record, by the number of its file, is not to be sent."""
        self._database.execute("INSERT INTO bad VALUES (?, ?)", (file, number))

    def is_bad(self, file: int, number: int) -> bool:
        found = self._database.execute("SELECT 1 FROM bad WHERE file = ? AND number = ?", (file, number))
        return found.fetchone() is not None

    def _enter(self, destination: Destination, event_id: str, content: bytes, place: str) -> tuple[bytes, str] | None:
        """What was there before."""
        key = hashlib.sha256(f"{destination}\n{event_id}".encode()).digest()[:16]
        entered = self._database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", (key, content, place))
        if entered.rowcount:
            return None
        earlier: tuple[bytes, str] = self._database.execute(
            "SELECT content, place FROM events WHERE key = ?", (key,)
        ).fetchone()
        return earlier
