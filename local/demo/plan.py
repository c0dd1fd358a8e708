"""What the demo publishes, and what must become of it."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from local.machine import ROOT
from local.sandbox.contract import contracts
from relay.contract.event import Event
from relay.contract.parsing import parse_json
from relay.errors import InvalidEventError, UndeliverableError
from relay.handlers.envelope import open_record, unwrap, validate
from relay.handlers.records import content_of
from relay.intake.routing import route
from relay.providers import PROVIDERS

Outcome = Literal["delivered", "duplicate", "dead letter", "rejected"]

FIRST, AGAIN = "first", "again"
"""The two acts: everything once, then the same order again, unchanged and changed."""

_UNRELIABLE = next((name for name, kind in PROVIDERS.items() if not kind.repeats.overrides), next(iter(PROVIDERS)))
FAULT: dict[str, Any] = {
    "provider": _UNRELIABLE,
    "type": "refund_issued",
    "status": 503,
    "count": 1,
    "body": {"message": "Try later."},
}
"""A provider where a repeat would be seen fails once, so that one event needs two attempts."""


@dataclass(frozen=True)
class Case:
    """One event of ``events/<file>.json`` and its expected end. ``destination`` is empty where it gets none."""

    act: str
    file: str
    event_id: str
    destination: str
    outcome: Outcome
    attempts: int | None = None

    @property
    def way(self) -> str:
        """The file's name begins with its way in."""
        return self.file.partition("-")[0]


def _events(file: str) -> Iterator[tuple[Event, float]]:
    """The good events of a file for intake, and when they were put in: as the envelopes in a queue say, else now."""
    content = json.loads((ROOT / "events" / f"{file}.json").read_text())
    for record in content.get("events", [*map(content_of, content.get("Records", []))] or [content]):
        with suppress(InvalidEventError):
            carried = unwrap(parse_json(record) if isinstance(record, str) else record)
            yield validate(carried.content), ("Records" in content and carried.put_at) or time.time()


def is_of_use(event: Event, provider: str) -> bool:
    """Whether the provider can take the event, and does anything with it now."""
    kind = PROVIDERS[provider]
    try:
        kind("").build(event, contracts()[provider].secret())
    except UndeliverableError:
        return False
    age = time.time() - event.occurred_at.timestamp() if event.occurred_at else 0.0
    return event.backfill or not (kind.useless and kind.useless.is_reached(age))


def _delivered(act: str, file: str, event_id: str, **attempts: int) -> Iterator[Case]:
    """The event at each destination: delivered, where the provider can take it and does anything with it."""
    event, put_at = next(one for one in _events(file) if one[0].id == event_id)
    for entry in route(event, [f"{name}/main" for name in PROVIDERS], accepted_at=put_at):
        destination = entry.destination
        if is_of_use(open_record(entry.body), destination.provider):
            yield Case(act, file, event_id, destination, "delivered", attempts.get(destination.provider, 1))
        else:
            yield Case(act, file, event_id, destination, "dead letter")


def _repeated(file: str) -> Iterator[Case]:
    """An event that was delivered comes again as it was."""
    yield from (Case(AGAIN, file, _ORDER, f"{name}/main", "duplicate") for name in PROVIDERS)


def _changed(file: str) -> Iterator[Case]:
    """It comes again with other content: an update, or a producer's error."""
    for name, kind in PROVIDERS.items():
        if kind.repeats.overrides:
            yield Case(AGAIN, file, _ORDER, f"{name}/main", "delivered", 1)
        else:
            yield Case(AGAIN, file, _ORDER, f"{name}/main", "dead letter")


def _called() -> Iterator[Case]:
    """Direct calls of deliver, each for the destination that its file names."""
    for path in sorted((ROOT / "events").glob("deliver-*-repeat-of-order-shipped.json")):
        yield Case(AGAIN, path.stem, _ORDER, json.loads(path.read_text())["destination"], "duplicate")


_ORDER = "order-1001-shipped"
CASES: tuple[Case, ...] = (
    *chain(
        _delivered(FIRST, "direct-order-shipped", _ORDER),
        _delivered(FIRST, "direct-many-events", "signup-9009"),
        _delivered(FIRST, "direct-many-events", "survey-1010-answered"),
        [Case(FIRST, "direct-many-events", "survey-1212-bad", "", "rejected")],
        _delivered(FIRST, "direct-phone-only", "visit-4004"),
        [Case(FIRST, "direct-bad-event", "order-1111-bad", "", "rejected")],
        _delivered(FIRST, "eventbridge-cart-abandoned", "cart-2002-abandoned"),
        _delivered(FIRST, "eventbridge-quiz-finished", "quiz-3003-finished"),
        _delivered(FIRST, "eventbridge-track", "ajs-next-1001"),
        [Case(FIRST, "eventbridge-bad-detail", "cart-1313-bad", "", "rejected")],
        _delivered(FIRST, "sqs-product-viewed", "view-5005"),
        _delivered(FIRST, "sqs-eventbridge-envelope", "review-8008-written"),
        _delivered(FIRST, "sqs-sns-envelope", "refund-7007", **{_UNRELIABLE: 2}),
        _delivered(FIRST, "sqs-bad-among-good", "view-5105"),
        [Case(FIRST, "sqs-bad-among-good", "", "", "rejected")],
        _delivered(FIRST, "sqs-bad-among-good", "view-5106"),
        _delivered(FIRST, "sqs-cloudevent", "/quiz:A234-1001"),
        _delivered(FIRST, "sqs-provider-id-only", "points-6006-earned"),
        _delivered(FIRST, "sqs-history", "visit-0901"),
        _repeated("sqs-repeat-of-order-shipped"),
        _called(),
        _changed("sqs-changed-order-shipped"),
    ),
)


def files(act: str) -> list[str]:
    """The files of an act in the order of publication, each once."""
    return list(dict.fromkeys(case.file for case in CASES if case.act == act))
