"""Builds each function from its settings, when its handler is loaded: Lambda gives that a whole processor."""

import boto3
from botocore.config import Config

from relay.account.account import Account
from relay.account.pace import Pace
from relay.adapters.clock import SystemClock, ThreadWorkers
from relay.adapters.dynamodb import DynamoLedger
from relay.adapters.http import HttpTransport
from relay.adapters.secrets_manager import SecretsManagerSecrets
from relay.adapters.sqs import SqsIntakeQueues, SqsLaneQueue
from relay.contract.destination import recent
from relay.delivery.attempt import Courier
from relay.delivery.batch import Lane
from relay.handlers.deliver import DeliverDoors
from relay.handlers.direct import DirectDoor
from relay.handlers.envelope import open_record, unwrap, validate
from relay.handlers.intake import IntakeDoors
from relay.intake.intake import Intake
from relay.observability import DeliverObserver, IntakeObserver, silence_libraries
from relay.ports import DeadLetter
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from relay.providers.limits import Limit
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


def intake() -> IntakeDoors:
    silence_libraries()
    settings = IntakeSettings.from_environment()
    queues = SqsIntakeQueues(boto3.client("sqs", config=_AWS), settings.lanes, settings.rejected_queue_url)
    clock = SystemClock()
    return IntakeDoors(Intake(queues, clock, settings.destinations, unwrap, validate), IntakeObserver(), clock)


def deliver() -> DeliverDoors:
    silence_libraries()
    settings = DeliverSettings.from_environment()
    clock, observer = SystemClock(), DeliverObserver(settings.provider)
    sqs = boto3.client("sqs", config=_AWS)
    addresses = (sqs, settings.queue_url, settings.dead_letter_queue_url)
    transport = HttpTransport(connections=IN_FLIGHT)
    ledger = DynamoLedger(boto3.client("dynamodb", config=_AWS), settings.ledger_table)
    secrets = SecretsManagerSecrets(boto3.client("secretsmanager", config=_AWS), settings.stage)
    queue = SqsLaneQueue(*addresses)

    @recent
    def provider(destination: str) -> Provider:
        return PROVIDERS[settings.provider](settings.base_url, settings.of(destination))

    def courier(returns_to: SqsLaneQueue) -> Courier:
        return Courier(
            provider_for=provider,
            transport=transport,
            ledger=ledger,
            secrets=secrets,
            queue=returns_to,
            clock=clock,
            oldest=settings.max_delivery_age_hours * 3600,
        )

    @recent
    def account(destination: str) -> Account:
        return Account(_pace(provider(destination), clock), clock, settings.hold_seconds)

    lane = Lane(
        provider=settings.provider,
        destinations=settings.destinations,
        courier=courier(queue),
        accounts=account,
        queue=queue,
        workers=ThreadWorkers(IN_FLIGHT),
        clock=clock,
        open_record=open_record,
    )
    direct = courier(_NoDeadLetters(*addresses))
    door = DirectDoor(settings.provider, settings.destinations, direct, account, observer, clock)
    return DeliverDoors(lane, door, observer, clock)


def _pace(provider: Provider, clock: SystemClock) -> Pace:
    limit = Limit(
        provider.settings.requests or provider.limit.requests,
        provider.settings.window_seconds or provider.limit.window,
    )
    return Pace(limit, clock, provider.backoff)
