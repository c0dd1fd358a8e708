"""Which destinations an event goes to, and what is put on their lanes."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from relay.contract.destination import ANY, Destination
from relay.contract.event import Event
from relay.errors import FieldError, InvalidEventError, name_some
from relay.ports import LaneEntry


def route(
    event: Event, configured: Sequence[str], accepted_at: float, correlation_id: str = "", record_id: str = ""
) -> list[LaneEntry]:
    """One lane entry per destination of the event, each complete in itself.

    `accepted_at` (Unix seconds) becomes `occurred_at` where the producer gave none; it does not count as content, so
    the same event sent twice is still the same event. `correlation_id` is what both functions log, `record_id` what
    tells the record that held the event from every other.

    Raises InvalidEventError as `destinations_of` does.
    """
    wanted = destinations_of(event, configured)
    content_hash, identities = event.content_hash, event.customer.identities
    occurred_at = event.occurred_at or datetime.fromtimestamp(accepted_at, UTC).replace(microsecond=0)
    record_id = record_id or str(uuid.uuid4())
    return [
        LaneEntry(
            destination=each,
            body=body,
            content_hash=content_hash,
            deduplication_id=deduplication_id(each, record_id, event.id, content_hash),
            accepted_at=accepted_at,
            group=each.backfill_group if event.backfill else each.account,
            correlation_id=correlation_id,
            identities=identities,
        )
        for each, body in zip(wanted, event.for_each(wanted, occurred_at), strict=True)
    ]


def destinations_of(event: Event, configured: Sequence[str]) -> list[Destination]:
    """Where an event goes: to the destinations it names, each once, else to those that are configured by name.

    Raises InvalidEventError for a destination this stack does not have, and for none where it knows none by name.
    """
    by_name, known = _configured(tuple(configured))
    wanted = list(dict.fromkeys(map(Destination, event.destinations))) if event.destinations else [*by_name]
    if not wanted:
        message = f"is required: no destination is configured here by name, only {', '.join(configured)}"
        raise InvalidEventError([FieldError("destinations", message)], event.id)
    unknown = [
        index for index, name in enumerate(event.destinations or ()) if not Destination(name).is_configured(known)
    ]
    if unknown:
        message = f"is not configured here: {', '.join(configured)}"
        errors = name_some(unknown, lambda index: FieldError(f"destinations.{index}", message))
        raise InvalidEventError(errors, event.id)
    return wanted


@lru_cache(maxsize=4)
def _configured(names: tuple[str, ...]) -> tuple[tuple[Destination, ...], frozenset[str]]:
    """Those configured by name, each once, and all of them to look one up in."""
    return tuple(dict.fromkeys(each for each in map(Destination, names) if each.account != ANY)), frozenset(names)


def deduplication_id(destination: str, record_id: str, event_id: str, content_hash: str) -> str:
    """SQS FIFO deduplication id (64 hex digits): one record to one destination is one message, sent once or twice.

    Not of the content alone: an update that is taken back within five minutes has content that SQS has just seen. Nor
    of the record alone: a sample event in a console keeps its envelope's id.
    """
    return hashlib.sha256("\n".join((destination, record_id, event_id, content_hash)).encode()).hexdigest()
