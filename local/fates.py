"""What became of events, read where an operator would: in the functions' log."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import SEEK_END
from pathlib import Path
from typing import Any, Self

from relay.errors import InvalidEventError
from relay.handlers.envelope import open_record
from relay.handlers.records import content_of
from relay.masking import mask_identifiers

type Json = dict[str, Any]

SKIPPED = "skipped"
GOOD = frozenset({"delivered", "duplicate", SKIPPED})
NOT_SEEN = "not seen"
ON_THE_WAY = "on the way"


@dataclass(frozen=True)
class Fate:
    """One event at one destination, ``None`` where it never got that far. ``seconds`` since its acceptance.

    ``outcome`` is one of docs/delivery.md, NOT_SEEN if intake has not told of it, ON_THE_WAY if no attempt was made, or
    SKIPPED where its destination's mapping keeps it away.
    """

    event_id: str
    destination: str | None
    outcome: str
    final: bool = True
    reason: str = ""
    detail: str = ""
    status: int | None = None
    attempts: int | None = None
    seconds: float | None = None

    @property
    def fine(self) -> bool:
        """Whether the provider has it, or is not to have it."""
        return self.outcome in GOOD

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> Self:
        """From what deliver logs of an attempt."""
        return cls(
            event_id=line["event_id"],
            destination=line["destination"],
            outcome=line["outcome"],
            final=line["final"],
            reason=line["reason"],
            detail=line["detail"],
            # What is unknown is left out of a log line.
            status=line.get("status"),
            attempts=line["attempts"],
            seconds=line["age"],
        )

    @classmethod
    def of_answer(cls, call: Mapping[str, Any], answer: Mapping[str, Any]) -> Self:
        """From what a direct call of deliver answered: once, whatever came of it."""
        errors = "; ".join(f"{error['field']}: {error['message']}" for error in answer.get("errors", []))
        return cls(
            event_id=answer.get("event_id") or _id_of(call["event"]),
            destination=str(call["destination"]),
            outcome=answer["outcome"],
            reason=answer.get("reason") or errors,
            detail=answer.get("detail") or "",
            status=(answer.get("response") or {}).get("status"),
            attempts=answer.get("attempts"),
        )


def expected_ids(content: Any) -> list[str]:
    """The ids of all events in what was handed to intake, as its log writes them; empty for none."""
    if isinstance(content, dict) and isinstance(content.get("Records"), list):
        return [_id_of(_inside(one)) for one in content["Records"]]
    if isinstance(content, dict) and content.keys() == {"events"} and isinstance(content["events"], list):
        return [_id_of(one) for one in content["events"]]
    return [_id_of(content)]


class Lines:
    """What the functions log, from byte ``start`` of the emulator's log."""

    def __init__(self, log: Path, start: int = 0) -> None:
        self._log = log
        self._read = start

    def new(self, most: int | None = None) -> list[Json]:
        """The lines since the last time, or those in the last ``most`` bytes of the log."""
        with self._log.open("rb") as log:
            if most:
                self._read = max(self._read, log.seek(0, SEEK_END) - most)
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole + newline)
        found: list[Json] = []
        for line in whole.decode("utf-8", "replace").splitlines():
            # The emulator's own lines stand between those of the functions.
            if line.startswith("{"):
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found


class Watch:
    """The lines that the functions log from now on. ``log`` is the emulator's."""

    def __init__(self, log: Path) -> None:
        self._log = Lines(log, log.stat().st_size)
        self._lines: list[Json] = []

    def until_ended(self, event_ids: Sequence[str], patience: float) -> list[Fate]:
        """One fate for each event and destination, when each has its final one or ``patience`` seconds are over."""
        deadline = time.monotonic() + patience
        while True:
            self._lines += self._log.new()
            fates = list(self._fates(event_ids))
            if all(fate.final for fate in fates) or time.monotonic() > deadline:
                return fates
            time.sleep(0.2)

    def _fates(self, event_ids: Sequence[str]) -> Iterable[Fate]:
        missing = Counter(event_ids)
        for line in list(self._lines):
            # What was not accepted comes again, and is told of then.
            ended = line.get("service") == "intake" and line.get("message") in ("accepted", "rejected")
            if not ended or not missing[line.get("event_id", "-")]:
                continue
            missing[line["event_id"]] -= 1
            if line["message"] == "accepted":
                yield from (self._delivery(line, destination) for destination in line["destinations"])
                skipped = line.get("skipped", {}).items()
                yield from (Fate(line["event_id"], where, SKIPPED, reason=why) for where, why in skipped)
            else:
                yield Fate(line["event_id"], None, "rejected", reason=line["reason"])
        yield from (Fate(event_id, None, NOT_SEEN, final=False) for event_id in missing.elements())

    def _delivery(self, accepted: Json, destination: str) -> Fate:
        same = {"destination": destination} | {name: accepted[name] for name in ("event_id", "correlation_id")}
        attempts = [Fate.of_line(line) for line in self._lines if "outcome" in line and same.items() <= line.items()]
        return attempts[-1] if attempts else Fate(accepted["event_id"], destination, ON_THE_WAY, final=False)


def _inside(record: object) -> object:
    if not isinstance(record, dict):
        return record
    return content_of(record) if "body" in record else record.get("Sns")


def _id_of(record: object) -> str:
    try:
        event_id: str | None = open_record(record).id
    except InvalidEventError as error:
        event_id = error.event_id
    return mask_identifiers(event_id or "")
