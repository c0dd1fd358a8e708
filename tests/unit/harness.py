"""Real delivery code among fakes, as several tests need it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.account.account import Account
from relay.account.pace import Pace
from relay.contract.destination import Destination
from relay.delivery.batch import BatchReport, Lane
from relay.delivery.services import Services
from relay.errors import NoAnswerError
from relay.handlers.envelope import open_record
from relay.ports import LaneMessage, Reply, Request, Workers
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from tests.factories import make_reply
from tests.fakes import (
    FakeAccounts,
    FakeClock,
    FakeLaneQueue,
    FakeLedger,
    FakeSecrets,
    FakeTransport,
    OneByOneWorkers,
    middle,
)
from tests.kinds import OVERWRITES


def subject(request: Request) -> str:
    """Which event a request carries, by what every provider sends of it."""
    return str(json.loads(request.body)["properties"]["name"])


@dataclass(eq=False)
class Harness:
    """A lane among fakes: one environment of it. Others share its `clock`, `ledger` and `records`."""

    provider: str = OVERWRITES
    clock: FakeClock = field(default_factory=FakeClock)
    answers: dict[str, list[Reply | NoAnswerError]] = field(default_factory=dict)
    """Event name to its answers, first to last; everything else is delivered."""
    deaf: bool = False
    """Delivers without a look at the request, whatever it holds."""
    ledger: FakeLedger = field(default_factory=FakeLedger)
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    queue: FakeLaneQueue = field(default_factory=FakeLaneQueue)
    workers: Workers = field(default_factory=OneByOneWorkers)
    accounts: dict[str, Account] = field(default_factory=dict)
    names: Sequence[str] = ("main",)
    """The lane's accounts."""
    records: FakeAccounts = field(default_factory=FakeAccounts)
    settings: dict[str, Any] = field(default_factory=dict)
    """The destinations'."""
    faults: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Methods of the provider that are not what they should be."""
    transport: FakeTransport = field(init=False)
    services: Services = field(init=False)
    lane: Lane = field(init=False)

    def __post_init__(self) -> None:
        self.transport = FakeTransport(otherwise=self._answer, clock=self.clock, takes=0.01)
        self.services = Services(
            provider_for=self._provider,
            transport=self.transport,
            ledger=self.ledger,
            secrets=self.secrets,
            queue=self.queue,
            clock=self.clock,
            oldest=72 * 3600.0,
        )
        destinations = [f"{self.provider}/{name}" for name in self.names]
        self.lane = Lane(
            provider=self.provider,
            destinations=destinations,
            services=self.services,
            accounts=self.account,
            workers=self.workers,
            open_record=open_record,
        )

    def _provider(self, destination: str) -> Provider:
        made: type[Provider] = type("Faulty", (PROVIDERS[Destination(destination).provider],), dict(self.faults))
        return made("https://api.example.com", made.settings_model(**self.settings))

    def account(self, destination: str) -> Account:
        if destination not in self.accounts:
            pace = Pace(destination, self._provider(destination).terms, self.records, self.clock)
            self.accounts[destination] = Account(pace, self.clock, rng=middle)
        return self.accounts[destination]

    def _answer(self, request: Request) -> Reply | NoAnswerError:
        if self.deaf:
            return make_reply(200)
        answers = self.answers.get(subject(request), [])
        return answers.pop(0) if answers else make_reply(200)

    def handle(self, messages: Sequence[LaneMessage], seconds: float = 30.0) -> BatchReport:
        return self.lane.handle(messages, self.clock.monotonic() + seconds)

    @property
    def sent(self) -> list[str]:
        return [subject(request) for request in self.transport.requests]
