"""What all attempts of a function share."""

from collections.abc import Callable
from dataclasses import dataclass

from relay.account.pace import WITHIN
from relay.contract.destination import Destination
from relay.delivery.delivery import Delivery
from relay.ports import Clock, LaneQueue, Ledger, Request, Secrets, Transport
from relay.providers.base import Provider

LONGEST_WAIT = WITHIN
"""Seconds an attempt may wait for its turn."""

RESERVE = 2.0
"""Seconds kept at the end of an invocation to settle, defer and answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`oldest`: the age in seconds, from acceptance, at which an event is given up."""

    provider_for: Callable[[Destination], Provider]
    transport: Transport
    ledger: Ledger
    secrets: Secrets
    queue: LaneQueue
    clock: Clock
    oldest: float

    @property
    def longest(self) -> float:
        """Seconds an attempt needs at most once it may start."""
        return LONGEST_WAIT + self.transport.longest + RESERVE

    def is_late(self, deadline: float) -> bool:
        """Whether a request that began now might be cut off by the `deadline`, a monotonic second."""
        return self.clock.monotonic() + self.transport.longest + RESERVE / 2 > deadline

    def preview(self, delivery: Delivery) -> Request:
        """The exact request, unsent. Raises UndeliverableError, CredentialsError or UnavailableError."""
        provider = self.provider_for(delivery.destination)
        return provider.build(delivery.dated_event, self.secrets.get(delivery.destination))
