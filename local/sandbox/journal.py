"""What the sandbox received, and which of it was a repeat."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Received:
    """One request. ``status`` is None if the connection was closed instead; ``accepted`` says the provider acted.

    ``repeat``: accepted before, with the same body. ``update``: accepted before, under the same ID with another body.
    ``time`` is seconds since 1970. No token is in ``url``, ``headers`` or ``violations``: ``***`` stands in its place.
    """

    time: float
    provider: str
    account: str
    type: str | None
    event_id: str | None
    body: Any
    seq: int = 0
    status: int | None = None
    accepted: bool = False
    repeat: bool = False
    update: bool = False
    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    violations: list[dict[str, str]] | None = None
    """What breaks the contract, as ``field`` and ``message``; None where the answer was given without a look at it."""
    answer: Any = None
    """The body of the answer."""
    answer_headers: dict[str, str] = field(default_factory=dict)
    ended: float | None = None
    """When it was answered or closed, in seconds since 1970; None as long as it is in work."""


class Journal:
    """Every request in the order of arrival, and per account the events that were accepted."""

    def __init__(self) -> None:
        self.cleared = 0
        """How often everything was forgotten."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.cleared += 1
        self._requests: list[Received] = []
        self._seen: dict[tuple[str, str, str], str] = {}

    def add(self, received: Received) -> None:
        """Note a request's arrival; the caller fills in how it ended."""
        self._requests.append(received)
        received.seq = len(self._requests)

    def accept(self, received: Received) -> None:
        """Note that the provider acted on this request."""
        content = json.dumps(received.body, sort_keys=True)
        key = (received.provider, received.account, received.event_id or content)
        before = self._seen.get(key)
        received.accepted = True
        received.repeat = before == content
        received.update = before is not None and before != content
        self._seen[key] = content

    def since(self, after: int) -> list[Received]:
        """The requests with a ``seq`` above ``after``."""
        return self._requests[after:]

    def at(self, seq: int) -> Received:
        """The request with this ``seq``."""
        return self._requests[seq - 1]

    def requests(self, after: int = 0, **equal: str) -> list[dict[str, Any]]:
        """The requests with a ``seq`` above ``after`` whose fields equal those given."""
        return [
            asdict(one)
            for one in self.since(after)
            if all(getattr(one, name) == value for name, value in equal.items())
        ]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Counts per provider."""
        return {
            provider: {
                "requests": len(own),
                "accepted": sum(one.accepted for one in own),
                "repeats": sum(one.repeat for one in own),
                "updates": sum(one.update for one in own),
                "statuses": dict(Counter(str(one.status or "reset") for one in own)),
            }
            for provider in sorted({one.provider for one in self._requests})
            if (own := [one for one in self._requests if one.provider == provider])
        }
