"""The closed set of outcomes.

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
