"""One Lambda execution environment and its ports: the real code between a modelled clock, network and set of services.

Every call of a port is a place where the environment may die, before or after the call took effect.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Future
from typing import Any

from greenlet import GreenletExit

from relay.account.account import Account as OwnAccount
from relay.account.pace import Pace
from relay.contract.destination import Destination, account_of
from relay.contract.event import Event
from relay.delivery.attempt import Attempt
from relay.delivery.batch import BatchReport, Lane
from relay.delivery.delivery import Delivery
from relay.delivery.services import Services as DeliverServices
from relay.errors import CredentialsError, FieldError, InvalidEventError, NoAnswerError, NotSentError, UnavailableError
from relay.handlers.envelope import unwrap, validate
from relay.intake.intake import Failed, Incoming, Intake, Rejected
from relay.ports import (
    AccountRecord,
    Claim,
    DeadLetter,
    Hidden,
    LaneEntry,
    LaneMessage,
    Record,
    Refusal,
    RejectedRecord,
    Reply,
    Request,
)
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from relay.providers.limits import Limit
from tests.simulation.kernel import TIMEOUT, Mutex, Process
from tests.simulation.provider import EPOCH
from tests.simulation.services import Services
from tests.simulation.sqs import Message

LANE_WORKERS = 10
CONNECT, READ = 3.0, 10.0
SECRET_MAX_AGE = 900.0


class Environment:
    """Its own process, its own clock. `deadline` is the run's second at which the present invocation is killed;
    `on_death(why)` is called when it crashes before that.
    """

    def __init__(self, services: Services, name: str) -> None:
        self.services = services
        self.name = name
        self.kernel = services.kernel
        self.plan = services.plan
        self.rng = random.Random(f"environment {services.plan.seed} {name}")
        self.process = Process()
        self.skew = self.rng.uniform(-1, 1) * services.plan.skew
        self._monotonic = self.rng.uniform(0, 1e5)
        self.deadline = math.inf
        self.alone_since = math.inf
        """Since when no other environment has had the accounts of this batch, by its own clock."""
        self.served = 0
        self.idle_since = 0.0
        self.on_death: Callable[[str], None] = lambda _: None

    def handle(self, batch: Sequence[Message]) -> object:
        raise NotImplementedError

    def now(self) -> float:
        return EPOCH + self.kernel.now + self.skew

    def monotonic(self) -> float:
        return self._monotonic + self.kernel.now

    def sleep(self, seconds: float) -> None:
        self.step("sleep")
        if seconds > 0:
            self.kernel.sleep(seconds)

    def _deadline(self) -> float:
        return self.monotonic() + self.deadline - self.kernel.now

    def step(self, where: str) -> None:
        """A place to die at."""
        if not self.process.alive:
            raise GreenletExit
        if self.plan.crash and self.kernel.now < self.plan.faults_end and self.rng.random() < self.plan.crash:
            self.on_death(f"crashed at {where}")
            raise GreenletExit

    def call[T](self, where: str, service: str, seconds: float, fails: float, effect: Callable[[], T]) -> T:
        """One call of a service of ours, which may fail before or after it took effect."""
        self.step(where)
        faulty = self.kernel.now < self.plan.faults_end
        away = self.plan.away
        if away and any(each.kind == service and each.start <= self.kernel.now < each.end for each in away):
            self.kernel.sleep(seconds)
            raise UnavailableError(service)
        if faulty and self.plan.stall and self.rng.random() < self.plan.stall:
            seconds += self.rng.uniform(5, 40)
        failing = faulty and fails > 0 and self.rng.random() < fails
        self.kernel.sleep(seconds * self.rng.uniform(0.2, 1.0))
        if failing and self.rng.random() < 0.6:
            raise UnavailableError(service)
        result = effect()
        self.kernel.sleep(seconds * 0.4)
        if failing:
            raise UnavailableError(service)
        self.step(f"{where}, after its effect")
        return result


class IntakeEnvironment(Environment):
    """Runs the real Intake as `IntakeHandler` does. Satisfies `ports.IntakeQueues`."""

    def __init__(self, services: Services, name: str) -> None:
        super().__init__(services, name)
        destinations = [each.destination for each in self.plan.accounts]
        chance = self.rng.random
        self._intake = Intake(self, self, destinations, unwrap, validate, chance, groups=lambda _: services.groups)
        self._sent_at: dict[str, float] = {}

    def handle(self, batch: Sequence[Message]) -> object:
        self._sent_at = {each.message_id: each.sent_at for each in batch}
        verdicts = self._intake.accept([_incoming(each) for each in batch], self._deadline())
        for verdict in verdicts:
            if isinstance(verdict, Rejected):
                self.services.checker.check_private("a rejection's reason", verdict.reason)
        failed = [each.message_id for each, verdict in zip(batch, verdicts, strict=True) if isinstance(verdict, Failed)]
        return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}

    def send(self, entries: Sequence[LaneEntry]) -> Mapping[int, Refusal]:
        return self._call("intake send", entries, self._put)

    def reject(self, records: Sequence[RejectedRecord]) -> Mapping[int, Refusal]:
        return self._call("intake reject", records, self.services.keep_rejected)

    def _call[E](self, where: str, entries: Sequence[E], put: Callable[[E], object]) -> Mapping[int, Refusal]:
        """One batch call: SQS may take some of the entries and not others, and it may fail as a whole."""

        def effect() -> dict[int, Refusal]:
            refused = {}
            for place, entry in enumerate(entries):
                faulty = self.kernel.now < self.plan.faults_end
                if faulty and self.plan.queue_fails and self.rng.random() < self.plan.queue_fails:
                    refused[place] = Refusal("RequestThrottled", again=self.rng.random() < 0.7)
                else:
                    put(entry)
            return refused

        return self.call(where, "SQS", 0.01, self.plan.queue_fails, effect)

    def _put(self, entry: LaneEntry) -> None:
        attributes = {
            "content_hash": entry.content_hash,
            "accepted_at": f"{entry.accepted_at:.3f}",
            "correlation_id": entry.correlation_id,
        }
        self.services.put_on_lane(
            entry.destination,
            entry.group,
            entry.body,
            entry.deduplication_id,
            attributes,
            self._sent_at[entry.correlation_id],
        )


def _incoming(message: Message) -> Incoming:
    sent_at = int((EPOCH + message.sent_at) * 1000) / 1000
    return Incoming(message.body, message.message_id, message.message_id, sent_at)


class DeliverEnvironment(Environment):
    """Runs the real Lane as `DeliverHandler` does. Satisfies Clock, Transport, Ledger, Secrets, LaneQueue, Workers."""

    longest = CONNECT + READ
    size = LANE_WORKERS

    def __init__(self, services: Services, name: str, provider: str) -> None:
        super().__init__(services, name)
        self._provider = provider
        self._accounts: dict[str, OwnAccount] = {}
        self._secrets: dict[str, tuple[float, Mapping[str, str]]] = {}
        self._resumed: dict[str, int] = {}
        self._fetching = Mutex(self.kernel)
        self._connections = 0
        """Open ones that nobody uses."""
        self._waiter: tuple[Any, int, set[Future[Any]]] | None = None
        self._running = 0
        self._queued: deque[Callable[[], None]] = deque()
        self.direct = False
        destinations = [each.destination for each in self.plan.accounts]
        self.delivering = DeliverServices(
            provider_for=self._provider_for,
            transport=self,
            ledger=self,
            secrets=self,
            queue=self,
            clock=self,
            oldest=self.plan.oldest,
        )
        self.lane = Lane(
            provider=provider,
            destinations=destinations,
            services=self.delivering,
            accounts=self.account,
            workers=self,
            open_record=services.open_record,
        )

    def handle(self, batch: Sequence[Message]) -> object:
        self.direct = False
        self.alone_since = max(each.received_at for each in batch) - self.skew
        report = self.lane.handle([_lane_message(each) for each in batch], self._deadline())
        self._report(report)
        return {"batchItemFailures": [{"itemIdentifier": each} for each in report.failed]}

    def deliver_directly(self, message: Message) -> None:
        """What `DirectHandler` does with an event that is on the lane as well."""
        self.direct, self.alone_since = True, math.inf
        lane_message = _lane_message(message)
        try:
            event = self.services.open_record(lane_message.body)
        except InvalidEventError:
            return
        destination = Destination.of(self._provider, lane_message.account)
        content, key = lane_message.content_hash or event.content_hash, self._direct_key
        delivery = Delivery(event, destination, lane_message.body, content, self.now(), key, key, direct=True)
        result = Attempt(self.delivering, delivery, self.account(destination), self._deadline()).run()
        self.account(destination).pace.end_batch()
        self._report(BatchReport([], [result], {}))

    @property
    def _direct_key(self) -> str:
        """Names direct calls, whose callers hold the event and hear what became of it. Beside one a batch that was
        frozen may go on.
        """
        return f"direct-{self.name}"

    def _report(self, report: BatchReport) -> None:
        self.services.checker.on_batch_reported(self, report)

    def account(self, destination: str) -> OwnAccount:
        if destination not in self._accounts:
            self.services.checker.conduct.on_account_met(self, destination)
            pace = Pace(destination, self._provider_for(destination).terms, self, self)
            self._accounts[destination] = OwnAccount(pace, self, 300.0, self.rng.random)
        return self._accounts[destination]

    def _provider_for(self, destination: str) -> Provider:
        providers = self.services.providers
        if destination not in providers:
            kind = _modelled(PROVIDERS[self._provider], self.services)
            account = self.services.accounts.get(destination)
            plan = account.plan if account else None
            if plan and plan.limits:
                kind.limits, kind.backoff = tuple(Limit(*each) for each in plan.limits), None
            park = plan is not None and plan.park
            settings = kind.settings_model(
                on_unknown="park" if park else "retry",
                groups=max(self.plan.groups, self.plan.regrouped),
                concurrency=plan.concurrency if plan else None,
                backfill="send",
            )
            providers[destination] = kind("https://provider.test", settings)
        return providers[destination]

    # Transport

    def send(self, request: Request, leave: Callable[[], None]) -> Reply:
        self.step("post")
        account, checker = self.services.account_of(request), self.services.checker
        half = account.plan.network * self.rng.uniform(0.8, 1.2)
        if account.refuses_connection(self.kernel.now):
            exchange = checker.conduct.on_request_sent(self, account, request, refused=True)
            checker.conduct.on_exchange_ended(exchange, "refused", None)
            self.kernel.sleep(self.rng.choice((half, CONNECT)))
            raise NotSentError("NewConnectionError")
        if self._connections:
            self._connections -= 1
        else:
            self.kernel.sleep(self.rng.uniform(0.0, 5 * account.plan.network))
        leave()
        exchange = checker.conduct.on_request_sent(self, account, request)
        task = self.kernel.current
        token = task.token

        def arrive() -> None:
            arrival = account.arrive(request, exchange.body, self.kernel.now)
            checker.conduct.on_request_arrived(exchange, arrival)
            if arrival.takes < READ:
                self.kernel.wake(task, token, arrival, arrival.takes + half)

        self.kernel.call_in(half, arrive)
        arrival = self.kernel.park(half + READ)
        if arrival is TIMEOUT or arrival.reply is None:
            checker.conduct.on_exchange_ended(exchange, "silence", None)
            raise NoAnswerError("ReadTimeoutError" if arrival is TIMEOUT else "ConnectionResetError")
        checker.conduct.on_exchange_ended(exchange, arrival.cause, arrival.reply)
        self.step("post, after its answer")
        self._connections += 1
        reply: Reply = arrival.reply
        return reply

    # Ledger

    def claim(self, record: Record, *, now: float, overrides: bool) -> Claim:
        checker, table = self.services.checker, self.services.table

        def claim() -> Claim:
            claim = table.claim(record, now, overrides)
            if self.kernel.now < self.plan.faults_end and self.rng.random() < self.plan.ledger_fails:
                # The reply is lost, and botocore asks once more.
                claim = table.claim(record, now, overrides)
            checker.on_claim_decided(self, record, claim)
            return claim

        checker.on_claim_sent(self, record)
        try:
            answer = self.call("claim", "DynamoDB", 0.008, self.plan.ledger_fails, claim)
        except UnavailableError:
            checker.on_call_failed(record)
            raise
        checker.on_claim_answered(self, record, answer)
        return answer

    def settle(self, record: Record) -> None:
        def settle() -> None:
            written = self.services.table.settle(record)
            self.services.checker.on_settle_decided(self, record, written)

        try:
            self.call("settle", "DynamoDB", 0.008, self.plan.ledger_fails, settle)
        except UnavailableError:
            self.services.checker.on_call_failed(record)
            raise

    # Accounts

    def write(self, record: AccountRecord) -> AccountRecord | None:
        return self.call(
            "reserve", "DynamoDB", 0.008, self.plan.ledger_fails, lambda: self.services.accounts_table.write(record)
        )

    def note(self, hidden: Hidden) -> None:
        self.call("note", "DynamoDB", 0.008, self.plan.ledger_fails, lambda: self.services.accounts_table.note(hidden))

    # Secrets

    def get(self, destination: str, resumed: int = 0) -> Mapping[str, str]:
        with self._fetching:
            kept = self._secrets.get(destination)
            if kept and resumed > self._resumed.get(destination, 0):
                kept = self._secrets[destination] = (-math.inf, kept[1])
            self._resumed[destination] = resumed
            if kept and self.monotonic() - kept[0] < SECRET_MAX_AGE:
                return kept[1]
            try:
                return self._fetch(destination)
            except UnavailableError:
                if kept is None:
                    raise
                return kept[1]

    def refresh(self, destination: str, seen: Mapping[str, str]) -> Mapping[str, str]:
        with self._fetching:
            kept = self._secrets.get(destination)
            if kept and kept[1] != seen:
                return kept[1]
            return self._fetch(destination)

    def _fetch(self, destination: str) -> Mapping[str, str]:
        account = self.services.accounts[destination]
        secret = self.call(
            "secret", "Secrets Manager", 0.04, self.plan.secrets_fail, lambda: account.secret(self.kernel.now)
        )
        if secret is None:
            raise CredentialsError(f"no readable secret for {destination}")
        self._secrets[destination] = (self.monotonic(), secret)
        return secret

    # LaneQueue

    def defer(self, messages: Sequence[LaneMessage], seconds: float) -> Set[str]:
        def defer() -> set[str]:
            lane, failed = self.services.lanes[self._provider], set()
            for each in messages:
                unlucky = self.kernel.now < self.plan.faults_end and self.rng.random() < self.plan.defer_fails
                if unlucky or not lane.hide(each.message_id, each.receipt_handle, each.group, int(seconds)):
                    failed.add(each.message_id)
            self.services.checker.on_messages_hidden(self.name, self._provider, messages, seconds, failed)
            return failed

        try:
            return self.call("defer", "SQS", 0.01, self.plan.defer_fails, defer)
        except UnavailableError:
            return {each.message_id for each in messages}

    def give_up(self, letter: DeadLetter) -> None:
        if letter.deduplication_id == self._direct_key:
            return
        try:
            self.call("dead letter", "SQS", 0.01, self.plan.queue_fails, lambda: self.services.keep_dead_letter(letter))
        except UnavailableError:
            self.services.checker.on_call_failed(letter)
            raise

    # Workers

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
            if self._waiter and future in self._waiter[2]:
                self.kernel.wake(self._waiter[0], self._waiter[1])
            self._running -= 1
            self._run_next()

        self._queued.append(run)
        self._run_next()
        return future

    def _run_next(self) -> None:
        # As many threads as there are: what a batch left behind stuck ones runs in the middle of another.
        if self._queued and self._running < self.size:
            self._running += 1
            self.kernel.spawn(self._queued.popleft(), self.process)

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> Set[Future[Any]]:
        waited = set(futures)
        if not any(future.done() for future in waited):
            task = self.kernel.current
            self._waiter = (task, task.token, waited)
            self.kernel.park(seconds)
            self._waiter = None
        return {future for future in waited if future.done()}


def _modelled(kind: type[Provider], services: Services) -> type[Provider]:
    """The provider, with a fault of our own that some events bring out, and words that are masked once."""

    def payload(self: Provider, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        if services.checker.natures.get(event.id) == "broken":
            raise LookupError(event.customer)
        return kind.payload(self, event, errors)

    def detail(self: Provider, reply: Reply, private: Iterable[str]) -> str:
        said = (kind.name, reply.body, tuple(private))
        if said not in services.details:
            services.details[said] = kind.detail(self, reply, said[2])
        return services.details[said]

    return type(kind.__name__, (kind,), {"payload": payload, "detail": detail})


def _lane_message(message: Message) -> LaneMessage:
    return LaneMessage(
        message_id=message.message_id,
        receipt_handle=message.receipt,
        body=message.body,
        account=account_of(message.group),
        sent_at=int((EPOCH + message.sent_at) * 1000) / 1000,
        group=message.group,
        receives=message.receives,
        content_hash=message.attributes.get("content_hash"),
        accepted_at=float(message.attributes["accepted_at"]) if "accepted_at" in message.attributes else None,
        correlation_id=message.attributes.get("correlation_id") or message.message_id,
    )
