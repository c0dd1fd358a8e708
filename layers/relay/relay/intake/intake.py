"""Accepts events: validate, route, put on the lanes. Handlers hand it parsed or raw records."""

import hashlib
import math
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field

from relay.contract.destination import Destination
from relay.contract.event import Customer, Event, parse_event
from relay.contract.parsing import as_text, parse_json
from relay.errors import FieldError, InvalidEventError, UnavailableError
from relay.intake.outbox import LONGEST_CALL, NO_TIME, Outbox
from relay.intake.routing import route
from relay.masking import mask_identifiers, shorten
from relay.ports import EVIDENCE_BYTES, MOST_BYTES, Clock, IntakeQueues, LaneEntry, RejectedRecord

REASON_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Incoming:
    """One record as its handler got it. Times are Unix seconds."""

    content: object = field(repr=False)
    """Raw text, or parsed JSON."""
    correlation_id: str = ""
    record_id: str = ""
    """The same for every copy of the record and for no other. Empty: it is one of its own."""
    sent_at: float | None = None
    """When it was put before us; None: now, or when its envelope says."""
    first_sent_at: float | None = None
    """When it was for the first time, where it was rejected and is put in again."""
    errors: tuple[FieldError, ...] = ()
    """What its handler has found wrong with it."""
    via: str = ""
    """Who handed it over: `sqs`, `eventbridge`, `sns`, or `direct` for anybody else."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What was in a record's envelopes, and what the innermost of them says: an id that every copy has which an
    at-least-once service made of the record, and when it was put in, in Unix seconds.
    """

    content: object = field(repr=False)
    record_id: str = ""
    put_at: float | None = None
    granularity: float = 0.0
    """Seconds within which that moment may lie later than it says."""
    via: tuple[str, ...] = ()
    """Whose envelopes they were, the innermost first."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """In each verdict, `age`: seconds since the record was put before us; `via`: the services that it came through."""

    event_id: str
    destinations: tuple[str, ...]
    age: float = 0.0
    via: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """The destinations where it would go, and does not by their settings, with the reason."""


@dataclass(frozen=True, slots=True)
class Rejected:
    event_id: str | None
    errors: tuple[FieldError, ...]
    kept: bool = False
    """Whether the whole of it is in RejectedQueue."""
    age: float = 0.0
    via: str = ""

    @property
    def reason(self) -> str:
        """Every error with its field path, masked, at most 4 KiB."""
        return shorten("; ".join(str(error) for error in self.errors), REASON_BYTES)


@dataclass(frozen=True, slots=True)
class Failed:
    """Neither, for a fault of ours: it has to come again. What of it is on a lane is the same message then."""

    event_id: str | None
    error: UnavailableError
    age: float = 0.0
    via: str = ""


type Verdict = Accepted | Rejected | Failed


@dataclass(frozen=True, slots=True)
class Intake:
    """Records in, one verdict each out. Raises nothing.

    `unwrap` takes parsed JSON out of its envelopes, `validate` makes an event of it; both raise InvalidEventError.
    """

    queues: IntakeQueues
    clock: Clock
    destinations: Sequence[str]
    unwrap: Callable[[object], Carried] = Carried
    validate: Callable[[object], Event] = parse_event
    chance: Callable[[], float] = random.random
    groups: Callable[[Destination], int] = lambda _: 1
    """How many message groups a destination has."""
    skips: Callable[[Destination, Event], str] | None = None
    """Why an event does not go to a destination, empty where it does; None where every event goes everywhere."""

    def accept(
        self, records: Sequence[Incoming], deadline: float = math.inf, *, together: bool = False
    ) -> list[Verdict]:
        """Takes records onto the lanes of their destinations, and what is rejected into RejectedQueue.

        `deadline` (on the monotonic clock): what cannot be done before it fails. `together`: if one fails, all come
        again, so rejects are kept only where none did.
        """
        lanes: dict[str, Outbox[LaneEntry]] = {}
        taken = [self._take(place, record, lanes, deadline) for place, record in enumerate(records)]
        for lane in lanes.values():
            lane.flush()
            for place, error in lane.failed.items():
                taken[place].failure = taken[place].failure or error
        if not (together and any(each.failure for each in taken)):
            self._keep(taken, deadline)
        now = self.clock.now()
        return [each.verdict(now) for each in taken]

    def _take(self, place: int, record: Incoming, lanes: dict[str, Outbox[LaneEntry]], deadline: float) -> "_Taken":
        now = self.clock.now()
        taken = _Taken(record, came_at=record.sent_at or now, accepted_at=record.first_sent_at or record.sent_at or now)
        if self.clock.monotonic() + LONGEST_CALL > deadline:
            taken.failure = UnavailableError("intake", code=NO_TIME)
        elif record.errors:
            taken.errors = record.errors
        else:
            try:
                for entry in self._entries(taken, now):
                    self._outbox(lanes, entry.destination.provider, deadline).add(place, entry)
            except InvalidEventError as error:
                taken.event_id, taken.errors, taken.event_type = error.event_id, error.errors, _type(taken.content)
            except Exception as error:  # One record must not take its batch along, whatever we did not think of.
                taken.failure = UnavailableError("intake", error)
            finally:
                taken.content = None  # Read, a batch is several times as large as its text.
        return taken

    def _entries(self, taken: "_Taken", now: float) -> list[LaneEntry]:
        record = taken.record
        content = parse_json(record.content) if isinstance(record.content, str) else record.content
        carried = self.unwrap(content)
        taken.envelopes = carried.via
        if carried.put_at is not None and carried.put_at > 0:
            # What all copies have in common, not the moment of this one; and never one to come.
            taken.accepted_at = min(carried.put_at + carried.granularity, taken.accepted_at)
            taken.came_at = record.sent_at or min(carried.put_at, now)
        taken.content = carried.content
        event = self.validate(carried.content)
        taken.event_id = event.id
        entries = route(
            event,
            self.destinations,
            taken.accepted_at,
            record.correlation_id,
            carried.record_id or record.record_id,
        )
        if self.skips:
            told = {entry.destination: self.skips(entry.destination, event) for entry in entries}
            taken.skipped = {destination: why for destination, why in told.items() if why}
            entries = [entry for entry in entries if not told[entry.destination]]
        taken.destinations = tuple(entry.destination for entry in entries)
        # History keeps to its one group, however many its account has.
        return entries if event.backfill else [self._grouped(each, event.customer) for each in entries]

    def _grouped(self, entry: LaneEntry, customer: Customer) -> LaneEntry:
        groups = self.groups(entry.destination)
        return entry if groups == 1 else replace(entry, group=entry.destination.group(customer.line, groups))

    def _outbox(self, lanes: dict[str, Outbox[LaneEntry]], provider: str, deadline: float) -> Outbox[LaneEntry]:
        if provider not in lanes:
            lanes[provider] = Outbox(f"SQS, {provider} lane", self.queues.send, self.clock, deadline, self.chance)
        return lanes[provider]

    def _keep(self, taken: Sequence["_Taken"], deadline: float) -> None:
        outbox = Outbox("SQS, RejectedQueue", self.queues.reject, self.clock, deadline, self.chance)
        for place, each in enumerate(taken):
            if each.errors:
                try:
                    outbox.add(place, each.reject())
                except Exception as error:
                    each.failure = UnavailableError("intake", error)
        outbox.flush()
        for place, failure in outbox.failed.items():
            taken[place].failure = failure


@dataclass(slots=True)
class _Taken:
    """What is known of a record on its way to a verdict."""

    record: Incoming
    came_at: float
    accepted_at: float
    event_id: str | None = None
    content: object = field(default=None, repr=False)
    """What its envelopes held, while it is looked at."""
    event_type: str = ""
    envelopes: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[FieldError, ...] = ()
    kept: bool = False
    failure: UnavailableError | None = None

    def verdict(self, now: float) -> Verdict:
        age = max(0.0, now - self.came_at)
        # Whoever handed it over may be the one whose envelope it is in.
        via = ", ".join(dict.fromkeys(filter(None, (*self.envelopes, self.record.via))))
        if self.failure:
            return Failed(self.event_id, self.failure, age, via)
        if self.errors:
            return Rejected(self.event_id, self.errors, self.kept, age, via)
        return Accepted(self.event_id or "", self.destinations, age, via, self.skipped)

    def reject(self) -> RejectedRecord:
        """The record as RejectedQueue takes it: whole, or as much of it as a message holds."""
        body, reason = as_text(self.record.content), Rejected(self.event_id, self.errors).reason
        event_id = mask_identifiers(shorten(self.event_id or "", 255))
        whole = body.encode()
        self.kept = len(whole) <= MOST_BYTES
        letter = self.record.record_id or str(uuid.uuid4())
        record = RejectedRecord(body, reason, event_id, self.accepted_at, event_type=self.event_type, letter=letter)
        if self.kept:
            return record
        return replace(
            record,
            body=whole[: MOST_BYTES - EVIDENCE_BYTES].decode("utf-8", "ignore"),
            reason=shorten(f"body: is cut, of {len(whole)} bytes; {reason}", REASON_BYTES),
            whole_bytes=len(whole),
            whole_sha256=hashlib.sha256(whole).hexdigest(),
        )


def _type(content: object) -> str:
    """The type of what may be no event, to find it by: as it is, for one that others call by a name of its own."""
    named = (content.get("event") or content.get("type")) if isinstance(content, Mapping) else None
    return mask_identifiers(shorten(named, 255)) if isinstance(named, str) else ""
