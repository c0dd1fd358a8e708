"""Who takes turns at the same batches: the relay, what is usually written in its place, and the limit.

Each gets what Lambda would hand it, builds each request with the same payload builder, and posts it to the same
server. The relay's ledger, accounts, secrets and queue are in this process. They answer at once, so that what is
measured is a function's own work, or as late as DynamoDB does.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import requests
import urllib3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import (
    AsyncBatchProcessor,
    BatchProcessor,
    EventType,
    async_process_partial_response,
    process_partial_response,
)
from aws_lambda_powertools.utilities.parser.models import SqsRecordModel
from pydantic import Json

from bench.cost import Context
from local.sandbox.contract import contracts
from relay.account.account import Account
from relay.account.pace import Pace
from relay.adapters.clock import SystemClock, ThreadWorkers
from relay.adapters.http import HttpTransport
from relay.contract.destination import Destination, recent
from relay.contract.event import Event
from relay.delivery.batch import Lane
from relay.delivery.services import Services
from relay.handlers.deliver import DeliverHandler
from relay.handlers.direct import DirectHandler
from relay.handlers.envelope import open_record
from relay.observability import DeliverObserver, silence_libraries
from relay.ports import AccountRecord, Claim, DeadLetter, Hidden, LaneMessage, Record, Request
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from relay.wiring.aws import IN_FLIGHT

LIMITLESS: Mapping[str, Any] = {"requests": 100_000, "window_seconds": 60.0}
"""Settings of an account whose pace never binds."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Ten events or fewer: as Lambda hands them over, and as requests that are ready to go."""

    call: dict[str, Any]
    requests: Sequence[Request]


type Rival = Callable[[Batch], None]
"""Delivers a batch. Raises AssertionError where it did not deliver all of it."""


class Rivals:
    """All of them, for one provider's account at one address."""

    def __init__(self, provider: str, base_url: str) -> None:
        self.destination = Destination.of(provider, "main")
        self.credentials = contracts()[provider].secret()
        self.provider: Provider = PROVIDERS[provider](base_url)

    def textbook(self) -> Rival:
        """Powertools' BatchProcessor with its parser, and urllib3: one after the other."""
        pool = urllib3.PoolManager()

        def post(request: Request) -> int:
            return pool.request(request.method, request.url, body=request.body, headers=dict(request.headers)).status

        return self._sequential(post)

    def with_requests(self) -> Rival:
        """The same with the library `requests`."""
        session = requests.Session()

        def post(request: Request) -> int:
            headers = dict(request.headers)
            return session.request(
                request.method, request.url, data=request.body, headers=headers, timeout=10
            ).status_code

        return self._sequential(post)

    def _sequential(self, post: Callable[[Request], int]) -> Rival:
        processor, logger = BatchProcessor(event_type=EventType.SQS, model=_Record), _logger()

        def deliver(record: _Record) -> None:
            status = post(self.provider.build(record.body, self.credentials))
            if status >= 300:
                raise RuntimeError(f"HTTP {status}")
            logger.info("delivered", extra={"event_id": record.body.id})

        def handle(batch: Batch) -> None:
            answer = process_partial_response(batch.call, deliver, processor, Context())  # type: ignore[arg-type]
            assert answer == {"batchItemFailures": []}, answer

        return handle

    def side_by_side(self) -> Rival:
        """Powertools' AsyncBatchProcessor with its parser, and httpx."""
        client, logger = httpx.AsyncClient(), _logger()
        processor = AsyncBatchProcessor(event_type=EventType.SQS, model=_Record)

        async def deliver(record: _Record) -> None:
            request = self.provider.build(record.body, self.credentials)
            answer = await client.request(
                request.method, request.url, content=request.body, headers=dict(request.headers)
            )
            answer.raise_for_status()
            logger.info("delivered", extra={"event_id": record.body.id})

        def handle(batch: Batch) -> None:
            answer = async_process_partial_response(batch.call, deliver, processor, Context())  # type: ignore[arg-type]
            assert answer == {"batchItemFailures": []}, answer

        return handle

    def limit(self) -> Rival:
        """Requests that are ready to go, posted by urllib3 from as many threads as the relay has. No less will do."""
        pool, threads = urllib3.PoolManager(maxsize=IN_FLIGHT), ThreadPoolExecutor(IN_FLIGHT)

        def post(request: Request) -> int:
            return pool.request(request.method, request.url, body=request.body, headers=request.headers).status

        def handle(batch: Batch) -> None:
            statuses = list(threads.map(post, batch.requests))
            assert all(status < 300 for status in statuses), statuses

        return handle

    def relay(self, tables: float = 0.0) -> Rival:
        """The function that is deployed, but for what speaks to AWS. `tables`: seconds until one of these answers."""
        silence_libraries()
        name = self.destination.provider
        provider = type(self.provider)(
            self.provider.base_url, type(self.provider).settings_model.model_validate(LIMITLESS)
        )
        clock, observer, here = SystemClock(), DeliverObserver(name), _Here(self.credentials, tables)

        @recent
        def account(destination: Destination) -> Account:
            return Account(Pace(destination, provider.terms, here, clock), clock)

        services = Services(
            provider_for=lambda _: provider,
            transport=HttpTransport(connections=IN_FLIGHT),
            ledger=here,
            secrets=here,
            queue=here,
            clock=clock,
            oldest=72 * 3600,
        )
        lane = Lane(
            provider=name,
            destinations=(self.destination,),
            services=services,
            accounts=account,
            workers=ThreadWorkers(IN_FLIGHT),
            open_record=open_record,
        )
        direct = DirectHandler(name, (self.destination,), services, account, observer)
        handler = DeliverHandler(lane, direct, observer, clock)

        def handle(batch: Batch) -> None:
            answer = handler.handle(batch.call, Context())
            assert answer == {"batchItemFailures": []}, answer

        return handle


class _Record(SqsRecordModel):
    """A message of the queue with the event in it."""

    body: Json[Event]


def _logger() -> Logger:
    return Logger(service="textbook", location=None, utc=True, use_rfc3339=True)


class _Here:
    """What the relay needs of AWS, in this process: satisfies `ports.Ledger`, `Accounts`, `Secrets` and `LaneQueue`.

    It keeps every record as DynamoDB would, and nothing ever goes wrong with it.
    """

    def __init__(self, credentials: Mapping[str, str], seconds: float) -> None:
        self._credentials = credentials
        self._seconds = seconds
        self._records: dict[tuple[str, str], Record] = {}
        self._account: AccountRecord | None = None
        self._lock = threading.Lock()

    def claim(self, record: Record, *, now: float, overrides: bool) -> Claim:  # noqa: ARG002 it is never refused
        time.sleep(self._seconds)
        with self._lock:
            before = self._records.get((record.event_id, record.destination))
            self._records[record.event_id, record.destination] = record
        return Claim(granted=True, before=before)

    def settle(self, record: Record) -> None:
        time.sleep(self._seconds)
        with self._lock:
            self._records[record.event_id, record.destination] = record

    def write(self, record: AccountRecord) -> AccountRecord | None:
        time.sleep(self._seconds)
        with self._lock:
            if self._account is not None and record.version != self._account.version + 1:
                return self._account
            self._account = record
        return None

    def note(self, hidden: Hidden) -> None:
        raise NotImplementedError

    def get(self, destination: str, resumed: int = 0) -> Mapping[str, str]:  # noqa: ARG002 there is one
        return self._credentials

    def refresh(self, destination: str, seen: Mapping[str, str]) -> Mapping[str, str]:
        raise NotImplementedError

    def defer(self, messages: Sequence[LaneMessage], seconds: float) -> Set[str]:
        raise NotImplementedError

    def give_up(self, letter: DeadLetter) -> None:
        raise NotImplementedError
