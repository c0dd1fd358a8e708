"""What the sandbox can be told to do wrong."""

import itertools
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Fault(BaseModel):
    """One misbehaviour, for the requests that match every predicate given.

    Predicates: ``provider``, ``account``, ``type`` (the event's), ``event_id`` (Yotpo only: Sender's body has none).
    ``skip`` lets that many matching requests pass first; ``count`` ends the fault after so many (None: never).

    Effects: ``status`` answers without acting, with ``body`` (text is sent as it is, all else as JSON) and ``headers``
    (added to the rate-limit headers, or instead of them if ``bare``). ``reset`` closes the connection ``before`` or
    ``after`` the provider acted. ``delay`` answers that many seconds late; with no other effect the provider has acted.
    """

    model_config = ConfigDict(extra="forbid")

    provider: Literal["yotpo", "sender"] | None = None
    account: str | None = None
    type: str | None = None
    event_id: str | None = None
    skip: int = Field(default=0, ge=0)
    count: int | None = Field(default=None, gt=0)

    status: int | None = Field(default=None, ge=200, le=599)
    body: Any = None
    headers: dict[str, str] = {}
    bare: bool = False
    reset: Literal["before", "after"] | None = None
    delay: float = Field(default=0.0, ge=0)

    def matches(self, provider: str, account: str, body: Any) -> bool:
        """Whether this fault is meant for the request. ``body`` is any JSON value."""
        event = body if isinstance(body, dict) else {}
        return (
            self.provider in (None, provider)
            and self.account in (None, account)
            and self.type in (None, event.get("type"))
            and self.event_id in (None, event.get("id"))
        )


class Faults:
    """The faults in force, oldest first; the first that matches a request is the one that happens."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._ids = itertools.count(1)

    def add(self, fault: Fault) -> int:
        """Put ``fault`` in force; the number returned is its ID."""
        number = next(self._ids)
        self._faults[number] = fault.model_copy()
        return number

    def clear(self) -> None:
        """Remove every fault."""
        self._faults.clear()

    def strike(self, provider: str, account: str, body: Any) -> Fault | None:
        """The fault that happens to this request, counted down."""
        for number, fault in self._faults.items():
            if not fault.matches(provider, account, body):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.count is not None:
                fault.count -= 1
                if not fault.count:
                    del self._faults[number]
            return fault
        return None
