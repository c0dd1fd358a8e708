"""What the sandbox can be told to do wrong."""

import itertools
import time
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local.sandbox.journal import Received
from local.sandbox.names import ProviderName


class Fault(BaseModel):
    """One misbehaviour, for the requests that match every predicate given.

    Predicates: ``provider``, ``account``, ``type`` (the event's), ``event_id`` (if its body has one).
    ``skip`` lets that many matching requests pass first; ``count`` ends the fault after so many, ``seconds`` after so
    long (None: never).

    Effects: ``status`` answers without acting, with ``body`` (text is sent as it is, all else as JSON) and ``headers``
    (added to the rate-limit headers, or instead of them if ``bare``). ``reset`` closes the connection ``before`` or
    ``after`` the provider acted. ``delay`` answers that many seconds late; with no other effect the provider has acted.
    """

    model_config = ConfigDict(extra="forbid")

    provider: ProviderName | None = None
    account: str | None = None
    type: str | None = None
    event_id: str | None = None
    skip: int = Field(default=0, ge=0)
    count: int | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)

    status: int | None = Field(default=None, ge=200, le=599)
    body: Any = None
    headers: dict[str, str] = {}
    bare: bool = False
    reset: Literal["before", "after"] | None = None
    delay: float = Field(default=0.0, ge=0)

    def matches(self, received: Received) -> bool:
        """Whether this fault is meant for the request."""
        return all(
            getattr(self, name) in (None, getattr(received, name))
            for name in ("provider", "account", "type", "event_id")
        )


class Faults:
    """The faults in force, oldest first; the first that matches a request is the one that happens."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._faults: dict[int, Fault] = {}
        self._ends: dict[int, float] = {}
        self._ids = itertools.count(1)

    def add(self, fault: Fault) -> int:
        """Put ``fault`` in force; the number returned is its ID."""
        number = next(self._ids)
        self._faults[number] = fault.model_copy()
        if fault.seconds is not None:
            self._ends[number] = self._clock() + fault.seconds
        return number

    def remove(self, number: int) -> None:
        """Take the fault of this ID back, if it is in force."""
        self._faults.pop(number, None)

    def __contains__(self, number: int) -> bool:
        return number in self._faults

    @property
    def count(self) -> int:
        """How many are in force."""
        return len(self._faults)

    def clear(self) -> None:
        """Remove every fault."""
        self._faults.clear()
        self._ends.clear()

    def strike(self, received: Received) -> Fault | None:
        """The fault that happens to this request, counted down."""
        for number in [number for number, end in self._ends.items() if end <= self._clock()]:
            del self._ends[number]
            self._faults.pop(number, None)
        for number, fault in self._faults.items():
            if not fault.matches(received):
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
