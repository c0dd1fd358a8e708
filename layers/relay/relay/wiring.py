"""Builds each function from its settings, when its handler is loaded: Lambda gives that a whole processor."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import botocore.session
from botocore import httpsession
from botocore.config import Config

from relay.account.account import Account
from relay.account.pace import Pace
from relay.adapters.clock import SystemClock, ThreadWorkers
from relay.adapters.dynamodb import DynamoAccounts, DynamoLedger, DynamoLetters
from relay.adapters.http import HttpTransport
from relay.adapters.secrets_manager import SecretsManagerSecrets
from relay.adapters.sqs import SqsIntakeQueues, SqsLaneQueue
from relay.contract.destination import Destination, recent
from relay.delivery.batch import Lane
from relay.delivery.services import Services
from relay.handlers.deliver import DeliverHandler
from relay.handlers.direct import DirectHandler
from relay.handlers.envelope import open_record, unwrap
from relay.handlers.intake import IntakeHandler
from relay.intake.intake import Intake
from relay.observability import DeliverObserver, IntakeObserver, silence_libraries
from relay.ports import DeadLetter
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from relay.settings import DeliverSettings, IntakeSettings

IN_FLIGHT = 10
_AWS = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=IN_FLIGHT,
)


class _NoDeadLetters(SqsLaneQueue):
    """For direct calls: the caller holds the event and hears what became of it."""

    def give_up(self, letter: DeadLetter) -> None:
        """Keeps nothing."""


class _WhenNeeded:
    """A client that is made when it is first called: for what is seldom called, and never by two threads."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._made = cache(make)

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._made(), operation)


def _clients() -> Callable[[str], Any]:
    """Makes a client for a service, by its name: botocore's own, for boto3 adds a tenth of a start and nothing else."""
    session = botocore.session.get_session()
    trust = httpsession.create_urllib3_context()
    # urllib3 has it read the same certificates for each new connection: 15 ms of a processor, ten times a first batch.
    trust.load_verify_locations = cache(trust.load_verify_locations)
    trust.load_verify_locations(session.get_config_variable("ca_bundle") or httpsession.where(), None, None)

    def make(service: str) -> Any:
        client: Any = session.create_client(service, config=_AWS)
        client._endpoint.http_session._manager.connection_pool_kw["ssl_context"] = trust
        return client

    return make


def intake() -> IntakeHandler:
    silence_libraries()
    settings = IntakeSettings.from_environment()
    aws = _clients()
    rejects: Any = _WhenNeeded(partial(aws, "dynamodb"))
    letters = DynamoLetters(rejects, settings.letters_table)
    queues = SqsIntakeQueues(aws("sqs"), settings.lanes, settings.rejected_queue_url, letters)
    clock = SystemClock()
    intake = Intake(
        queues,
        clock,
        settings.destinations,
        unwrap,
        groups=lambda destination: settings.of(destination).groups,
    )
    return IntakeHandler(intake, IntakeObserver(), clock)


def deliver() -> DeliverHandler:
    silence_libraries()
    settings = DeliverSettings.from_environment()
    clock, observer = SystemClock(), DeliverObserver(settings.provider)
    aws = _clients()
    dynamodb = aws("dynamodb")
    addresses = (aws("sqs"), settings.queue_url, settings.dead_letter_queue_url)
    records = DynamoAccounts(dynamodb, settings.accounts_table)

    @recent
    def provider(destination: Destination) -> Provider:
        return PROVIDERS[settings.provider](settings.base_url, settings.of(destination))

    @recent
    def account(destination: Destination) -> Account:
        pace = Pace(destination, provider(destination).terms, records, clock)
        return Account(pace, clock, settings.hold_seconds)

    services = Services(
        provider_for=provider,
        transport=HttpTransport(connections=IN_FLIGHT),
        ledger=DynamoLedger(dynamodb, settings.ledger_table),
        secrets=SecretsManagerSecrets(aws("secretsmanager"), settings.stage),
        queue=SqsLaneQueue(*addresses, DynamoLetters(dynamodb, settings.letters_table)),
        clock=clock,
        oldest=settings.max_delivery_age_hours * 3600,
    )
    lane = Lane(
        provider=settings.provider,
        destinations=settings.destinations,
        services=services,
        accounts=account,
        workers=ThreadWorkers(IN_FLIGHT),
        open_record=open_record,
    )
    direct = replace(services, queue=_NoDeadLetters(*addresses))
    directly = DirectHandler(settings.provider, settings.destinations, direct, account, observer)
    return DeliverHandler(lane, directly, observer, clock)
