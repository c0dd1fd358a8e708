"""What deliver is made of, for one provider."""

from copy import replace

from relay.account.account import Account
from relay.account.pace import Pace
from relay.adapters.clock import SystemClock, ThreadWorkers
from relay.adapters.dynamodb import DynamoAccounts, DynamoLedger, DynamoLetters
from relay.adapters.http import HttpTransport
from relay.adapters.secrets_manager import SecretsManagerSecrets
from relay.adapters.sqs import SqsLaneQueue
from relay.contract.destination import Destination, recent
from relay.delivery.batch import Lane
from relay.delivery.services import Services
from relay.handlers.deliver import DeliverHandler
from relay.handlers.direct import DirectHandler
from relay.handlers.envelope import open_record
from relay.observability import DeliverObserver, silence_libraries
from relay.ports import DeadLetter
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from relay.settings import DeliverSettings
from relay.wiring.aws import IN_FLIGHT, clients


class _NoDeadLetters(SqsLaneQueue):
    """For direct calls: the caller holds the event and hears what became of it."""

    def give_up(self, letter: DeadLetter) -> None:
        """Keeps nothing."""


def deliver() -> DeliverHandler:
    silence_libraries()
    settings = DeliverSettings.from_environment()
    clock, observer = SystemClock(), DeliverObserver(settings.provider)
    aws = clients()
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
