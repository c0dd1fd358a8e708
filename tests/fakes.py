"""Fakes that satisfy the protocols of `relay.ports`. Each keeps what it was told and can be told to fail."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from relay import ports
from relay.errors import TransportError, UnavailableError
from relay.ports import (
    MOST_BYTES,
    MOST_ENTRIES,
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
from tests.factories import CREDENTIALS, NOW
from tests.simulation.ledger import AccountsTable, Table


class FakeClock:
    """Time stands still but for `sleep` and `pass_by`. Every sleep is kept in `slept`."""

    def __init__(self, now: float = NOW) -> None:
        self._started_at = now
        self._passed = 0.0
        self._lock = threading.Lock()
        self.slept: list[float] = []
        self.on_sleep: Callable[[float], None] | None = None
        """Passes the time instead, where something is to happen meanwhile."""

    def now(self) -> float:
        return self._started_at + self._passed

    def monotonic(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        (self.on_sleep or self.pass_by)(seconds)

    def pass_by(self, seconds: float) -> None:
        with self._lock:
            self._passed += seconds


type Answer = Reply | TransportError | Callable[[Request], Reply | TransportError]

DELIVERED = Reply(200)


class FakeTransport:
    """Answers from a script, then with `otherwise`. Keeps every request, and when it came."""

    def __init__(
        self, *script: Answer, otherwise: Answer = DELIVERED, clock: FakeClock | None = None, takes: float = 0.0
    ) -> None:
        self.longest = 13.0
        self.requests: list[Request] = []
        self.times: list[float] = []
        self._script = iter(script)
        self._otherwise = otherwise
        self._clock = clock
        self.takes = takes

    def send(self, request: Request, leave: Callable[[], None]) -> Reply:
        leave()
        self.requests.append(request)
        if self._clock:
            self.times.append(self._clock.monotonic())
            self._clock.pass_by(self.takes)
        answer = next(self._script, self._otherwise)
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, TransportError):
            raise answer
        return answer


class FakeSecrets:
    """The same credentials for every destination, or the `failure`; a refresh takes the next of `rotations`."""

    def __init__(self, credentials: Mapping[str, str] = CREDENTIALS, *rotations: Mapping[str, str]) -> None:
        self.credentials = credentials
        self.failure: Exception | None = None
        self.refresh_failure: Exception | None = None
        self.refreshed = 0
        self.resumed = 0
        """As of which resume they were asked for."""
        self._rotations = iter(rotations)

    def get(self, destination: str, resumed: int = 0) -> Mapping[str, str]:
        self.resumed = max(self.resumed, resumed)
        if self.failure:
            raise self.failure
        return self.credentials

    def refresh(self, destination: str, seen: Mapping[str, str]) -> Mapping[str, str]:
        self.refreshed += 1
        if self.refresh_failure:
            raise self.refresh_failure
        self.credentials = next(self._rotations, self.credentials)
        return self.credentials


class FakeLedger:
    """The simulation's ledger, to look into. The contract tests hold it and the real one to the same expectations."""

    def __init__(self) -> None:
        self._table = Table()
        self.records = self._table.items
        self.claims = 0
        self.settled: list[Record] = []
        self.fails_on: set[str] = set()
        """`claim`, `settle`"""
        self._lock = threading.Lock()

    def claim(self, record: Record, *, now: float, overrides: bool) -> Claim:
        self._fail("claim")
        with self._lock:
            self.claims += 1
            return self._table.claim(record, now, overrides)

    def settle(self, record: Record) -> None:
        self._fail("settle")
        with self._lock:
            self.settled.append(record)
            self._table.settle(record)

    def _fail(self, step: str) -> None:
        if step in self.fails_on:
            raise UnavailableError("DynamoDB")


class FakeAccounts:
    """The simulation's account records, to look into and for an operator's hand. It can `fail`."""

    def __init__(self) -> None:
        self._table = AccountsTable()
        self.records = self._table.items
        self.fails = False
        self.noted: list[Hidden] = []
        self.loses_notes = False
        self.meanwhile: Callable[[], None] = lambda: None
        """Happens before each write."""
        self._lock = threading.Lock()

    @property
    def writes(self) -> int:
        """How many were asked for, and came through."""
        return self._table.writes

    def write(self, record: AccountRecord) -> AccountRecord | None:
        self.meanwhile()
        if self.fails:
            raise UnavailableError("DynamoDB")
        with self._lock:
            return self._table.write(record)

    def note(self, hidden: Hidden) -> None:
        if self.fails or self.loses_notes:
            raise UnavailableError("DynamoDB")
        self.noted.append(hidden)

    def resume(self, destination: str) -> None:
        """An operator ends whatever the account waits for."""
        with self._lock:
            self._table.resume(destination)

    def change(self, destination: str, **values: Any) -> None:
        """Another environment, or an operator, changes the account's record."""
        with self._lock:
            stands = self.records.get(destination, AccountRecord(destination))
            self.records[destination] = replace(stands, version=stands.version + 1, writer="another", **values)


class FakeLaneQueue:
    """Keeps deferrals and dead letters. `refuses` are message ids that cannot be hidden."""

    def __init__(self) -> None:
        self.deferred: list[tuple[list[str], float]] = []
        self.letters: list[DeadLetter] = []
        self.refuses: set[str] = set()
        self.loses_letters = False

    def defer(self, messages: Sequence[LaneMessage], seconds: float) -> Set[str]:
        ids = [message.message_id for message in messages]
        self.deferred.append((ids, seconds))
        return self.refuses & set(ids)

    def give_up(self, letter: DeadLetter) -> None:
        if self.loses_letters:
            raise UnavailableError("SQS")
        self.letters.append(letter)


class FakeIntakeQueues:
    """Keeps lane entries and rejects, and the size of each call. `fails_for` are bodies that SQS will not take, with
    `refusal` as its word; `away` is what a call raises.
    """

    def __init__(self) -> None:
        self.entries: list[LaneEntry] = []
        self.rejects: list[RejectedRecord] = []
        self.calls: list[tuple[str, int]] = []
        """The provider, or `rejected`, and the number of entries."""
        self.fails_for: Callable[[str], bool] = lambda body: False
        self.refusal = Refusal("InvalidMessageContents", again=False)
        self.away: Exception | None = None

    def send(self, entries: Sequence[LaneEntry]) -> Mapping[int, Refusal]:
        (provider,) = {entry.destination.provider for entry in entries}
        return self._take(provider, entries, self.entries)

    def reject(self, records: Sequence[RejectedRecord]) -> Mapping[int, Refusal]:
        return self._take("rejected", records, self.rejects)

    def _take[E: (LaneEntry, RejectedRecord)](
        self, queue: str, entries: Sequence[E], taken: list[E]
    ) -> Mapping[int, Refusal]:
        self.calls.append((queue, len(entries)))
        assert len(entries) <= MOST_ENTRIES
        assert sum(entry.size for entry in entries) <= MOST_BYTES
        if self.away:
            raise self.away
        refused = {place: self.refusal for place, entry in enumerate(entries) if self.fails_for(entry.body)}
        taken.extend(entry for place, entry in enumerate(entries) if place not in refused)
        return refused


class OneByOneWorkers:
    """Lets attempts be in flight side by side, and ends one at each `wait`, the oldest first."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.most_in_flight = 0
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, work))
        self.most_in_flight = max(self.most_in_flight, len(self._waiting))
        return future

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> Set[Future[Any]]:
        future, work = self._waiting.pop(0)
        future.set_result(work())
        return {future}


class StuckWorkers:
    """Attempts that never end: a wait passes its whole time."""

    size = 10

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        return Future()

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> Set[Future[Any]]:
        self._clock.pass_by(seconds)
        return set()


@dataclass
class FakeContext:
    """What Lambda hands a handler."""

    aws_request_id: str = "req-1"
    remaining: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining


def middle() -> float:
    """Randomness without surprise."""
    return 0.5


if TYPE_CHECKING:
    _clock: ports.Clock = FakeClock()
    _transport: ports.Transport = FakeTransport()
    _secrets: ports.Secrets = FakeSecrets()
    _ledger: ports.Ledger = FakeLedger()
    _accounts: ports.Accounts = FakeAccounts()
    _lane: ports.LaneQueue = FakeLaneQueue()
    _intake: ports.IntakeQueues = FakeIntakeQueues()
    _workers: ports.Workers = OneByOneWorkers()
    _stuck: ports.Workers = StuckWorkers(FakeClock())
