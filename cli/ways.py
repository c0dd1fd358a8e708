"""The ways into a relay: its queue, its bus, a call of its function; and how what would not go in goes again."""

import json
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event as Signal
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from cli.stack import Relay
from relay.adapters.sqs import send_batch
from relay.contract.event import Event
from relay.errors import FieldError, UnavailableError
from relay.handlers.intake import MOST_EVENTS
from relay.ports import MOST_BYTES, MOST_ENTRIES

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

TRIES = 7
FIRST_PAUSE = 0.2
"""Seconds before what was not taken is tried again, at most; doubled each time: a quarter of a minute in all."""


class Via(StrEnum):
    """The way in."""

    SQS = "sqs"
    EVENTBRIDGE = "eventbridge"
    DIRECT = "direct"


class StoppedError(Exception):
    """Nothing can be sent any more, for now. Carries AWS's word for it."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event as it leaves; `place` is where it stands, `number` its record's."""

    place: str
    event_id: str
    source: str
    type: str
    body: str
    number: int = 0

    @classmethod
    def of(cls, event: Event, place: str = "", number: int = 0) -> "Outgoing":
        return cls(place, event.id, event.source, event.type, event.to_json(), number)


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Why an event was not taken. `again`: in a moment it may be."""

    errors: tuple[FieldError, ...]
    again: bool = False

    @classmethod
    def by(cls, code: str, *, again: bool = False) -> "NotTaken":
        return cls((FieldError("body", f"was refused: {code}"),), again)


class Way(Protocol):
    """One way in. `most_events` and `most_bytes` go in one call, `at_once` calls side by side."""

    most_events: int
    most_bytes: int
    at_once: int

    def size(self, event: Outgoing) -> int: ...
    def send(self, events: Sequence[Outgoing]) -> Mapping[int, NotTaken]:
        """Returns, by place, what was not taken. Raises UnavailableError where nothing can be known to have been."""
        ...


class QueueWay:
    """Onto IntakeQueue."""

    most_events, most_bytes, at_once = MOST_ENTRIES, MOST_BYTES, 8

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def size(self, event: Outgoing) -> int:
        return len(event.body.encode())

    def send(self, events: Sequence[Outgoing]) -> Mapping[int, NotTaken]:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(place), "MessageBody": event.body} for place, event in enumerate(events)
        ]
        refused = send_batch(self._client, self._url, entries)
        return {place: NotTaken.by(each.code, again=each.again) for place, each in refused.items()}


class BusWay:
    """Onto the event bus, under the event's own source and type."""

    most_events, most_bytes, at_once = 10, 256 * 1024, 4

    _LONGEST_TYPE = 128
    _PASSING = ("Throttling", "Internal", "Unavailable", "no answer")

    def __init__(self, client: "EventBridgeClient", bus: str) -> None:
        self._client = client
        self._bus = bus

    def size(self, event: Outgoing) -> int:
        # As AWS counts an entry.
        return sum(len(text.encode()) for text in (event.body, event.source, event.type))

    def send(self, events: Sequence[Outgoing]) -> Mapping[int, NotTaken]:
        entries: list[PutEventsRequestEntryTypeDef] = [
            {
                "EventBusName": self._bus,
                "Source": event.source,
                "DetailType": event.type[: self._LONGEST_TYPE],
                "Detail": event.body,
            }
            for event in events
        ]
        try:
            answers = self._client.put_events(Entries=entries)["Entries"]
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError("EventBridge", error, _code(error)) from None
        codes = ["" if answer.get("EventId") else answer.get("ErrorCode", "no answer") for answer in answers]
        codes += ["no answer"] * (len(events) - len(codes))
        return {
            place: NotTaken.by(code, again=any(word in code for word in self._PASSING))
            for place, code in enumerate(codes)
            if code
        }


class DirectWay:
    """A call of intake, which answers what it rejects."""

    most_events, most_bytes, at_once = MOST_EVENTS // 5, 4 * 1024 * 1024, 1

    def __init__(self, client: "LambdaClient", function: str) -> None:
        self._client = client
        self._function = function

    def size(self, event: Outgoing) -> int:
        return len(event.body.encode()) + 1

    def send(self, events: Sequence[Outgoing]) -> Mapping[int, NotTaken]:
        payload = f'{{"events":[{",".join(event.body for event in events)}]}}'.encode()
        try:
            reply = self._client.invoke(FunctionName=self._function, Payload=payload)
            answer: Any = json.loads(reply["Payload"].read() or "null")
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError("intake", error, _code(error)) from None
        if "FunctionError" in reply or not isinstance(answer, dict):
            # Called again, it repeats nothing that it did.
            code = answer.get("errorType") if isinstance(answer, dict) else None
            raise UnavailableError("intake", code=str(code or reply.get("FunctionError") or "no answer"))
        return {
            each["index"]: NotTaken(tuple(FieldError(one["field"], one["message"]) for one in each["errors"]))
            for each in answer["rejected"]
        }


def way_into(relay: Relay, via: Via) -> Way:
    """The way of that name into the stack."""
    match via:
        case Via.SQS:
            return QueueWay(relay.sqs, relay.outputs["IntakeQueueUrl"])
        case Via.EVENTBRIDGE:
            return BusWay(relay.events, relay.outputs["EventBusName"])
        case Via.DIRECT:
            return DirectWay(relay.functions, relay.outputs["IntakeFunctionName"])


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch that is done with: taken, but for what was refused for good."""

    batch: Sequence[Outgoing]
    refused: Mapping[int, NotTaken]


@dataclass(frozen=True)
class Sending:
    """Sends events in batches, several side by side, at most `rate` of them a second."""

    way: Way
    rate: float | None = None
    sleep: Callable[[float], object] | None = None
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    _ended: Signal = field(default_factory=Signal)

    def run(self, events: Iterator[Outgoing]) -> Generator[Settled]:
        """Every batch once it is settled, in the order of the events.

        Raises StoppedError where a batch cannot be settled; later ones may have been taken all the same.
        """
        under_way: deque[Future[Settled]] = deque()
        pool = ThreadPoolExecutor(self.way.at_once)
        try:
            for batch in self._paced(self.batches(events)):
                under_way.append(pool.submit(self.settle, batch))
                while len(under_way) >= 2 * self.way.at_once or (under_way and under_way[0].done()):
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            # What is being sent is let through; what pauses, or has not begun, is not.
            self._ended.set()
            pool.shutdown(cancel_futures=True)
            self._ended.clear()

    def batches(self, events: Iterator[Outgoing]) -> Iterator[list[Outgoing]]:
        """As large as the way takes them, and no larger than a second's worth."""
        most = self.way.most_events if self.rate is None else max(1, min(self.way.most_events, int(self.rate)))
        batch: list[Outgoing] = []
        held = 0
        for event in events:
            size = self.way.size(event)
            if batch and (len(batch) == most or held + size > self.way.most_bytes):
                yield batch
                batch, held = [], 0
            batch.append(event)
            held += size
        if batch:
            yield batch

    def settle(self, batch: Sequence[Outgoing]) -> Settled:
        """Sends what is not taken again and again, with longer and longer pauses. Raises StoppedError."""
        refused: dict[int, NotTaken] = {}
        left, why = list(range(len(batch))), ""
        for number in range(TRIES):
            if number:
                self._pause(FIRST_PAUSE * 2 ** (number - 1) * (0.5 + self.chance() / 2))
                if self._ended.is_set():
                    break
            try:
                answer = self.way.send([batch[place] for place in left])
            except UnavailableError as error:
                why = str(error)
                continue
            refused |= {left[place]: each for place, each in answer.items() if not each.again}
            again = {left[place]: each for place, each in answer.items() if each.again}
            if not again:
                return Settled(batch, refused)
            left, why = list(again), next(iter(again.values())).errors[0].message
        raise StoppedError(why)

    def _pause(self, seconds: float) -> None:
        (self.sleep or self._ended.wait)(seconds)

    def _paced(self, batches: Iterator[list[Outgoing]]) -> Iterator[list[Outgoing]]:
        at = self.monotonic()
        for batch in batches:
            if self.rate is not None:
                if (wait := at - self.monotonic()) > 0:
                    self._pause(wait)
                at = max(at, self.monotonic()) + len(batch) / self.rate
            yield batch


def _code(error: BotoCoreError | ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
