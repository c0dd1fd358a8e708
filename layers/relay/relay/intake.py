"""Accepts events: validate, route, put on the lanes. Knows no AWS; the doors hand it parsed or raw records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.errors import FieldError, InvalidEventError
from relay.event import Event, parse_event
from relay.masking import mask_identifiers, shorten
from relay.ports import Clock, IntakeQueues, RejectedRecord
from relay.routing import route

REASON_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Accepted:
    event_id: str
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    event_id: str | None
    errors: tuple[FieldError, ...]

    @property
    def reason(self) -> str:
        """Every error with its field path, masked, at most 4 KiB."""
        return shorten("; ".join(str(error) for error in self.errors), REASON_BYTES)


class Intake:
    """One record in, one `Accepted` or `Rejected` out. Raises UnavailableError when a queue of ours fails."""

    def __init__(
        self,
        queues: IntakeQueues,
        clock: Clock,
        destinations: Sequence[str],
        open_record: Callable[[object], Event] = parse_event,
    ) -> None:
        self._queues = queues
        self._clock = clock
        self._destinations = destinations
        self._open = open_record

    def accept(
        self, record: object, correlation_id: str = "", record_id: str = "", received_at: float | None = None
    ) -> Accepted | Rejected:
        """Takes one record (raw text, or parsed JSON) onto the lanes of its destinations.

        `record_id` is the same for every copy of one record and for no other, `received_at` (Unix seconds) when its
        first copy came to us. Without them the record is one of its own, received now.
        """
        accepted_at = self._clock.now() if received_at is None else received_at
        try:
            event = self._open(record)
            entries = route(event, self._destinations, accepted_at, correlation_id, record_id)
        except InvalidEventError as error:
            return Rejected(error.event_id, error.errors)
        self._queues.send(entries)
        return Accepted(event.id, tuple(f"{entry.provider}/{entry.account}" for entry in entries))

    def accept_or_keep(
        self,
        record: object,
        body: str,
        correlation_id: str = "",
        record_id: str = "",
        received_at: float | None = None,
    ) -> Accepted | Rejected:
        """`accept`, and what is rejected is kept in RejectedQueue with its original body."""
        verdict = self.accept(record, correlation_id, record_id, received_at)
        if isinstance(verdict, Rejected):
            event_id = mask_identifiers(shorten(verdict.event_id or "", 255))
            accepted_at = self._clock.now() if received_at is None else received_at
            self._queues.reject(RejectedRecord(body, verdict.reason, event_id, accepted_at))
        return verdict
