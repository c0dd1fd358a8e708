"""What the demo publishes, and what must become of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

Outcome = Literal["delivered", "duplicate", "dead letter", "rejected"]

FIRST, AGAIN = "first", "again"
"""The two acts: everything once, then the same order again, unchanged and changed."""

FAULT = {"provider": "sender", "type": "refund_issued", "status": 503, "count": 1, "body": {"message": "Try later."}}
"""Sender fails once, so that one event needs two attempts."""


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
    def door(self) -> str:
        """The file's name begins with its door."""
        return self.file.partition("-")[0]


def _both(act: str, file: str, event_id: str, **sender: int) -> Iterator[Case]:
    yield Case(act, file, event_id, "yotpo/main", "delivered", 1)
    yield Case(act, file, event_id, "sender/main", "delivered", sender.get("attempts", 1))


CASES: tuple[Case, ...] = (
    *chain(
        _both(FIRST, "direct-order-shipped", "order-1001-shipped"),
        _both(FIRST, "direct-many-events", "signup-9009"),
        _both(FIRST, "direct-many-events", "survey-1010-answered"),
        [Case(FIRST, "direct-many-events", "survey-1212-bad", "", "rejected")],
        [Case(FIRST, "direct-phone-only", "visit-4004", "yotpo/main", "delivered", 1)],
        [Case(FIRST, "direct-bad-event", "order-1111-bad", "", "rejected")],
        _both(FIRST, "eventbridge-cart-abandoned", "cart-2002-abandoned"),
        _both(FIRST, "eventbridge-quiz-finished", "quiz-3003-finished"),
        [Case(FIRST, "eventbridge-bad-detail", "cart-1313-bad", "", "rejected")],
        _both(FIRST, "sqs-product-viewed", "view-5005"),
        _both(FIRST, "sqs-eventbridge-envelope", "review-8008-written"),
        _both(FIRST, "sqs-sns-envelope", "refund-7007", attempts=2),
        _both(FIRST, "sqs-bad-among-good", "view-5105"),
        [Case(FIRST, "sqs-bad-among-good", "", "", "rejected")],
        _both(FIRST, "sqs-bad-among-good", "view-5106"),
        [Case(FIRST, "sqs-sender-subscriber-only", "points-6006-earned", "yotpo/main", "dead letter")],
        [Case(FIRST, "sqs-sender-subscriber-only", "points-6006-earned", "sender/main", "delivered", 1)],
    ),
    Case(AGAIN, "sqs-repeat-of-order-shipped", "order-1001-shipped", "yotpo/main", "duplicate"),
    Case(AGAIN, "sqs-repeat-of-order-shipped", "order-1001-shipped", "sender/main", "duplicate"),
    Case(AGAIN, "deliver-sender-repeat-of-order-shipped", "order-1001-shipped", "sender/main", "duplicate"),
    Case(AGAIN, "sqs-changed-order-shipped", "order-1001-shipped", "yotpo/main", "delivered", 1),
    Case(AGAIN, "sqs-changed-order-shipped", "order-1001-shipped", "sender/main", "dead letter"),
)


def files(act: str) -> list[str]:
    """The files of an act in the order of publication, each once."""
    return list(dict.fromkeys(case.file for case in CASES if case.act == act))
