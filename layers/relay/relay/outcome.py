"""The closed set of outcomes, and what became of one attempt.

| outcome        | when                                              | what happens                                    |
|----------------|---------------------------------------------------|-------------------------------------------------|
| `delivered`    | 2xx, and a body that does not say otherwise       | delete, record                                  |
| `duplicate`    | the ledger has it delivered to this destination   | delete, record, no request                      |
| `throttled`    | 429, or no budget left                            | defer to the moment the provider names          |
| `retry`        | 5xx, 408, 425, errors before an answer            | back off with full jitter                       |
| `unauthorized` | 401, 403, no usable secret                        | refresh the secret, try once more, hold         |
| `rejected`     | other 4xx, payload cannot be built, id reused     | dead letter now                                 |
| `unknown`      | sent, but the answer never came                   | the destination's policy: retry or park         |
| `expired`      | too old, or past its own `expires_at`             | dead letter with that reason                    |
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    THROTTLED = "throttled"
    RETRY = "retry"
    UNAUTHORIZED = "unauthorized"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one attempt to deliver one event to one destination.

    `final` says the message is done with and may be deleted; all others come back. `wait` is the least number of
    seconds to stay away, where something other than the pace named one. `reason` and `detail` are masked: safe for
    logs and dead letters.
    """

    outcome: Outcome
    reason: str
    final: bool = False
    status: int | None = None
    detail: str = ""
    attempts: int = 0
    wait: float = 0.0
    event_id: str = ""
    destination: str = ""
    correlation_id: str = ""
    age: float = 0.0
    """Seconds since acceptance."""
    backfill: bool = False
    """It waited among its account's history: its age says nothing of how late customers get their messages."""
    strikes: int = 0
    """Failures so far, others succeeding in between."""
    failed_at: float = 0.0
    """Unix seconds of the first failure, or refusal of credentials, that it has not got over yet; zero for none."""
    crashed: int = 0
    """How many earlier attempts ended between their post and its record: counted as `unknown` besides this outcome."""
    unknowns: int = 0
    """How often the provider may have acted on the event without our knowing, this attempt included."""
    unrecorded: bool = False
    """The ledger could not write it down."""
    internal: bool = False
    """A service of our own failed, not the provider."""
    late: str = ""
    """Delivered, and near the age from which on the provider does nothing with it: its rule."""
