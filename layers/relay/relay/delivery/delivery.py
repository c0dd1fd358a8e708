"""One event for one destination, and its place among the versions of that event."""

from dataclasses import dataclass
from datetime import UTC, datetime

from relay.contract.destination import Destination, is_backfill
from relay.contract.event import Event
from relay.masking import printable, shorten
from relay.ports import DeadLetter, Record

MOMENT = 14
"""Characters at the end of a version that say when it came to us."""

COPIES_DROPPED_SECONDS = 300.0
"""Seconds within which SQS drops copies itself: what comes so soon after its acceptance is no late copy."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """`body` is the original message; `accepted_at` is Unix seconds."""

    event: Event
    destination: Destination
    body: str
    content_hash: str
    accepted_at: float
    key: str
    """What tells this message from every other: names its attempts and its dead letter."""
    correlation_id: str = ""
    first_accepted_at: float | None = None
    """Where this message is a copy, or was redriven: when the record behind it came to us first."""
    group: str = ""
    """The message's group, where that is not the account's only one."""
    direct: bool = False
    """A person asked for it: it is sent even where a later version was delivered, and makes nothing that waits on the
    lane outdated.
    """

    @property
    def is_backfill(self) -> bool:
        """Whether its message waits among its account's history."""
        return is_backfill(self.group)

    @property
    def dated_event(self) -> Event:
        """The event with a moment: that of its first acceptance, where nobody before us gave it one. Redriven, it has
        the same: what a provider's own form of an ID is made of.
        """
        if self.event.occurred_at is not None:
            return self.event
        accepted_at = datetime.fromtimestamp(self._first_accepted_at, UTC).replace(microsecond=0)
        return self.event.model_copy(update={"occurred_at": accepted_at})

    @property
    def _first_accepted_at(self) -> float:
        return self.accepted_at if self.first_accepted_at is None else self.first_accepted_at

    @property
    def occurred_at(self) -> float:
        """The same moment, as Unix seconds."""
        occurred_at = self.event.occurred_at
        return self._first_accepted_at if occurred_at is None else occurred_at.timestamp()

    @property
    def version(self) -> str:
        """Its place among the versions of one event, greater for a later one: when it occurred, then when it came
        to us, both as Unix seconds in text of a fixed width.
        """
        occurred_at, moment = self.event.occurred_at, self.accepted_at
        if self.direct or self.first_accepted_at is not None:
            moment = self.first_accepted_at or 0.0
        return f"{max(0.0, occurred_at.timestamp() if occurred_at else moment):019.6f} {moment:014.3f}"

    def is_outdated(self, record: Record, now: float) -> bool:
        """Whether the provider holds a later version of the event, as its record says: this one would undo it."""
        if self.direct:
            return False
        if record.version != record.delivered_version:
            return record.version < record.delivered_version
        # Two versions of one moment. What the other replaced comes back as a late copy, or at once as a change of mind.
        return record.content_hash in record.replaced and now - self._first_accepted_at > COPIES_DROPPED_SECONDS

    def dead_letter(self, reason: str, detail: str, status: int | None, attempts: int) -> DeadLetter:
        """The end of it as evidence; `reason` and the provider's `detail` are already masked."""
        return DeadLetter(
            body=self.body,
            reason=shorten(printable(f"{reason}: {detail}" if detail else reason), 1024),
            destination=self.destination,
            event_id=printable(self.event.id),
            status=status,
            attempts=attempts,
            deduplication_id=self.key,
            content_hash=self.content_hash,
            accepted_at=self.first_accepted_at or self.accepted_at,
            correlation_id=self.correlation_id,
            group=self.group,
            event_type=printable(self.event.type),
        )
