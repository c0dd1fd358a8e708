"""What the domain needs from outside, as small protocols. Adapters and the simulation implement them."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from relay.contract.destination import Destination, is_backfill
from relay.masking import MASK


class Clock(Protocol):
    """Time. `now` is Unix time in seconds, `monotonic` never goes back, `sleep` takes seconds."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to send. Every part may hold a secret: show `masked()` only."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def masked(self) -> dict[str, Any]:
        """The request as JSON-ready data with every secret replaced; the body is the customer's own data, unmasked."""
        return {
            "method": self.method,
            "url": self._hide(self.url),
            "headers": {name: self._hide(value) for name, value in self.headers.items()},
            "body": self.body.decode(),
        }

    def _hide(self, text: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer: status, headers with lower-case names, and at most the first 64 KiB of the body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    complete: bool = True
    """Whether `body` is the whole body: not cut off, not longer than 64 KiB, in no coding that we cannot undo."""


class Transport(Protocol):
    """Sends one request, never retries, never follows a redirect. `longest` bounds one exchange, in seconds.

    `leave` is called when there is a connection, just before the request leaves; nothing is sent where it raises.

    Raises NotSentError or NoAnswerError.
    """

    longest: float

    def send(self, request: Request, leave: Callable[[], None]) -> Reply: ...


class Secrets(Protocol):
    """A destination's credentials.

    Raises CredentialsError when there are none to be had, UnavailableError when they cannot be read just now.
    """

    def get(self, destination: str, resumed: int = 0) -> Mapping[str, str]:
        """What was fetched before its account was `resumed` so often is fetched anew."""
        ...

    def refresh(self, destination: str, seen: Mapping[str, str]) -> Mapping[str, str]:
        """Fetches again unless someone already replaced the credentials `seen`."""
        ...


@dataclass(frozen=True, slots=True)
class LaneMessage:
    """A message as a lane hands it over. `sent_at` is Unix time in seconds: the moment it came onto the lane."""

    message_id: str
    receipt_handle: str
    body: str = field(repr=False)
    account: str
    sent_at: float
    group: str = ""
    """Its message group, where that is not the account's only one."""
    receives: int = 1
    """How often SQS has handed it out."""
    content_hash: str | None = None
    accepted_at: float | None = None
    """When the record behind it came to us first: the same for every copy and every redrive of it."""
    correlation_id: str = ""

    @property
    def is_backfill(self) -> bool:
        """Whether it waits among its account's history. The group says so: what stands in another is not held up by
        what it says of itself, for live events may stand behind it.
        """
        return is_backfill(self.group)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An accepted event that is given up, with its evidence. `body` is the original message."""

    body: str = field(repr=False)
    reason: str
    destination: Destination
    event_id: str
    status: int | None
    attempts: int
    deduplication_id: str
    content_hash: str = ""
    """Goes with the body: intake may have dated it, and redriven it must still be the same event."""
    accepted_at: float | None = None
    """Goes with it, too: redriven, it must not pass for a later version than it is."""
    correlation_id: str = ""
    group: str = ""
    """The lane's message group it was in: redriven, it stands in its customer's line again. Empty: the account's."""
    event_type: str = ""

    @property
    def letter(self) -> str:
        """Its name in the index: the same however often it is written."""
        return self.deduplication_id


class LaneQueue(Protocol):
    """The lane a batch came from, and its dead letters."""

    def defer(self, messages: Sequence[LaneMessage], seconds: float) -> Set[str]:
        """Hides the messages for that long. Returns the ids of those that could not be hidden; never raises."""
        ...

    def give_up(self, letter: DeadLetter) -> None:
        """Writes a dead letter: into the index, then into its queue. Raises UnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """One event's failures: `strikes` counts those since which others succeeded, the first one included.

    `blame` is what they weigh: a strike weighs less where others fail, too.

    `failed_at` and `last_failed_at` are when the first and the last attempt that failed began, in Unix seconds.
    """

    strikes: int = 0
    blame: float = 0.0
    failed_at: float = 0.0
    last_failed_at: float = 0.0
    is_poison: bool = False
    """The account's verdict on the attempt just made; never remembered."""


def _changed[R](record: R, /, **changes: Any) -> R:
    """`copy.replace` of what changes at every step: a copy, where `__init__` goes through dozens of fields."""
    known = record.__dict__
    fields = known | changes
    if len(fields) > len(known):
        raise TypeError(f"a {type(record).__name__} has no {', '.join(sorted(changes.keys() - known.keys()))}")
    made = object.__new__(type(record))
    object.__setattr__(made, "__dict__", fields)
    return made


@dataclass(frozen=True)
class Record:
    """What the ledger knows of one event at one destination. Times are Unix seconds. No personal data.

    States: `claimed` while an attempt runs (until `lease_until`), `open` between attempts, `delivered`, `given_up`.
    """

    event_id: str
    destination: str
    content_hash: str
    state: Literal["claimed", "open", "delivered", "given_up"]
    owner: str = ""
    message_id: str = ""
    """The message whose attempt this is."""
    lease_until: float = 0.0
    version: str = ""
    """The place of this content among the versions of the event, see `Delivery.version`."""
    claims: int = 0
    """Attempts since the last one that left a record of its end: more than the present one have crashed."""
    claimants: tuple[str, ...] = ()
    """The messages of attempts that left no record of their end, the newest; while `claimed`, the present one, too."""
    attempts: int = 0
    failure: Failure = Failure()
    unknowns: int = 0
    """How often the provider may have acted on it without our knowing: no answer, or an attempt that left no record."""
    given_up: tuple[str, ...] = ()
    """Messages whose dead letter is written: not tried again when SQS brings them back. A redriven one is another."""
    delivered_hash: str = ""
    """The content delivered last, unless another may have been since: what a provider that overwrites by id holds."""
    delivered_version: str = ""
    replaced: tuple[str, ...] = ()
    """Contents delivered before it, the newest."""
    outcome: str = ""
    reason: str = ""
    status: int | None = None
    accepted_at: float = 0.0
    completed_at: float = 0.0
    __replace__ = _changed


@dataclass(frozen=True)
class Window:
    """What is known of one window of an account's limit, `seconds` long. Moments are Unix seconds."""

    seconds: float
    documented: int
    """What its documentation, or a setting, allows in it."""
    limit: int
    """What it allows, as the provider's replies say."""
    share: float
    """How much of that is ours."""
    others: int = 0
    """How much others took of it until then: as replies said."""
    others_until: float = 0.0
    others_at: float = 0.0
    """When others were seen last."""
    left: int = 0
    """How many requests more it took, as the reply to one said that was sent then, until another moment."""
    left_at: float = 0.0
    left_until: float = 0.0
    zeros: int = 0
    """How many replies in a row said that nothing is left."""
    turns: tuple[tuple[float, int], ...] = ()
    """When the turns given out count, the oldest first, and how many at that moment."""
    __replace__ = _changed


class State(StrEnum):
    """Whether an account is asked at all."""

    CLOSED = "closed"
    """It works, as far as we know."""
    OPEN = "open"
    """It does not: nothing is sent until a moment."""
    HALF_OPEN = "half_open"
    """One batch probes whether it works again, and sends one request at a time; no other sends any."""


@dataclass(frozen=True)
class AccountRecord:
    """What all execution environments together know of one account. Moments are Unix seconds. Nothing personal but
    producers' own event ids.
    """

    destination: str
    version: int = 0
    """Counts its writes."""
    writer: str = ""
    """Names the last write."""
    windows: tuple[Window, ...] = ()
    last_at: float = 0.0
    """The last turn given out."""
    rejections: float = 0.0
    """The part of the last requests that was answered 429."""
    due: float = 0.0
    """When a turn would be due, were all of them spaced evenly."""
    burst: int = 0
    """How many requests may go at once where the provider was seen to dislike more; 0: as many as the limit."""
    calm: int = 0
    """Deliveries since the last 429, or since the burst grew."""
    patience: int = 0
    """How many of them it takes until share and burst grow again."""
    quiet_until: float = 0.0
    """Nothing is sent before."""
    wanted_until: float = 0.0
    """Live events want every turn there is until then, as far as their last batch knew: backfill takes none."""
    asked_until: float = 0.0
    """The same, as the provider asked."""
    throttled: int = 0
    """Answers of 429 in a row, those in flight together counted once."""
    throttled_at: float = 0.0
    state: State = State.CLOSED
    until: float = 0.0
    """Until when it is open, or the probe has time."""
    why: str = ""
    since: float = 0.0
    """Since when it does not work."""
    probe: str = ""
    """Whose probe it is, or, while it is open, who waits with history to be it."""
    worked_at: float = 0.0
    """When the last request began that the provider took."""
    turned_away: tuple[str, ...] = ()
    """Ids of events that were answered 429, 401 or 403, or failed twice, last: they are asked after the others."""
    held: str = ""
    """Why an operator holds it; empty: nobody does."""
    held_by: str = ""
    held_until: float = 0.0
    """When that is over by itself; zero: never."""
    resumed: int = 0
    """How often an operator has ended its waiting."""
    forgotten: tuple[str, ...] = ()
    """The marks of customers who are to be forgotten, see `account.forgotten`."""
    __replace__ = _changed


OPERATORS = ("held", "held_by", "held_until", "resumed", "forgotten")
"""What an operator writes into an account's record, and no environment does."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """Messages of one group that SQS hides until then, in Unix seconds. With their `receipts`, the first message's
    first, an operator can have them shown sooner.
    """

    destination: str
    group: str
    receipts: tuple[str, ...] = field(repr=False)
    until: float


class Accounts(Protocol):
    """One record per account. Each call is one of DynamoDB's, and raises UnavailableError."""

    def write(self, record: AccountRecord) -> AccountRecord | None:
        """Writes the record, whose `version` is one above that of the record it comes from, unless another was written
        since. Returns the one that stands where it was not written; one of version 0 where there is none.

        What is the operator's (`OPERATORS`) is not written.
        """
        ...

    def note(self, hidden: Hidden) -> None:
        """Writes down what is hidden, in the place of what was of that group before."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """The ledger's answer to a claim: `granted`, and the record as it stood before (None: never seen)."""

    granted: bool
    before: Record | None


class Ledger(Protocol):
    """One record per (event, destination). Each call is one of DynamoDB's, and raises UnavailableError."""

    def claim(self, record: Record, *, now: float, overrides: bool) -> Claim:
        """Takes the record for one attempt, unless it is delivered, leased or another content's, or the message
        was given up.

        `overrides`: the provider overwrites by event id, so other content takes the record over, and so does a later
        version of the same.
        """
        ...

    def settle(self, record: Record) -> None:
        """Writes the attempt's end, unless somebody else has taken the record since."""
        ...


class Workers(Protocol):
    """Runs attempts side by side. The shape is `concurrent.futures`; the simulation has its own."""

    size: int

    def submit(self, work: Callable[[], Any]) -> Future[Any]: ...
    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> Set[Future[Any]]:
        """Returns the futures done once one is, or none when the seconds have passed."""
        ...


@dataclass(frozen=True, slots=True)
class LaneEntry:
    """One event on its way to one destination, as intake puts it on a lane."""

    destination: Destination
    body: str = field(repr=False)
    content_hash: str
    deduplication_id: str
    accepted_at: float
    """Unix seconds: when the record came to us."""
    group: str
    """The message group on the lane: what is in one comes out in order."""
    correlation_id: str = ""
    identities: frozenset[str] = field(default=frozenset(), repr=False)
    """Its customer's. Who shares one of them, in one account, stays in order."""

    @property
    def size(self) -> int:
        """Bytes in a queue, at most."""
        return len(self.body.encode()) + ATTRIBUTE_BYTES

    @property
    def order(self) -> frozenset[str]:
        """What must not be overtaken by an entry that has any of this in common."""
        return frozenset(f"{self.destination.account} {identity}" for identity in self.identities)


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """Input that never became an event: the original body and why."""

    body: str = field(repr=False)
    reason: str
    event_id: str
    accepted_at: float | None = None
    """When it came to us first, in Unix seconds: put in again, it is no later version."""
    whole_bytes: int | None = None
    """How large the original is, where `body` is the beginning of one that no queue takes."""
    whole_sha256: str = ""
    event_type: str = ""
    letter: str = ""
    """Its name in the index: the same for every copy of the record."""

    @property
    def size(self) -> int:
        """Bytes in a queue, at most."""
        return min(len(self.body.encode()) + EVIDENCE_BYTES, MOST_BYTES)

    @property
    def order(self) -> frozenset[str]:
        """Rejects have none."""
        return frozenset()


MOST_ENTRIES, MOST_BYTES = 10, 1024 * 1024
"""What a queue takes in one call: messages, and bytes of all together. One message may have as many."""

ATTRIBUTE_BYTES, EVIDENCE_BYTES = 1024, 8 * 1024
"""More than what goes with a lane's message, and with a reject or a dead letter, beside its body."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a queue did not take an entry. `again`: in a moment it may."""

    code: str
    again: bool


class Letters(Protocol):
    """The index of letters: of dead letters and of rejects, which a person looks through, and puts back or drops. What
    is in a queue was in it before.
    """

    def keep(self, letters: Sequence[DeadLetter | RejectedRecord]) -> None:
        """Writes up to MOST_ENTRIES of them, each over what it was before. Raises UnavailableError; some may be written
        then.
        """
        ...


class IntakeQueues(Protocol):
    """Where intake writes: MOST_ENTRIES and MOST_BYTES at a time, `send` to one lane, `reject` into the index and then
    into RejectedQueue. In the order given; what was not taken is returned by its place. Raises UnavailableError where
    nothing can be known to have been.
    """

    def send(self, entries: Sequence[LaneEntry]) -> Mapping[int, Refusal]: ...
    def reject(self, records: Sequence[RejectedRecord]) -> Mapping[int, Refusal]: ...
