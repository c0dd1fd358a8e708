"""The ways in: what goes in one call, what is tried again, and what is given up."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cli.ways import TRIES, BusWay, DirectWay, Outgoing, QueueWay, Sending, Settled, StoppedError
from relay.handlers.intake import MOST_EVENTS
from relay.ports import MOST_BYTES
from tests.factories import make_event

type Json = dict[str, Any]


def outgoing(number: int, **changes: Any) -> Outgoing:
    return Outgoing.of(make_event(id=f"e-{number}", **changes), f"line {number}", number)


def many(events: int) -> Iterator[Outgoing]:
    return (outgoing(number) for number in range(1, events + 1))


@dataclass
class Service:
    """One of AWS's: notes its calls, and answers each with the next of `answers`, then as if all were well."""

    answer: Callable[[Sequence[Any]], Json]
    answers: list[Callable[[Sequence[Any]], Json]] = field(default_factory=list)
    calls: list[Sequence[Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def called(self, entries: Sequence[Any]) -> Json:
        with self._lock:
            self.calls.append(entries)
            answer = self.answers.pop(0) if self.answers else self.answer
        return answer(entries)

    def send_message_batch(self, QueueUrl: str, Entries: Sequence[Json]) -> Json:
        assert QueueUrl == "intake"
        return self.called(Entries)

    def put_events(self, Entries: Sequence[Json]) -> Json:
        return self.called(Entries)

    def invoke(self, FunctionName: str, Payload: bytes) -> Json:
        assert FunctionName == "intake"
        answer = self.called(json.loads(Payload)["events"])
        return answer | {"Payload": io.BytesIO(json.dumps(answer["Payload"]).encode())}


def taken(entries: Sequence[Json]) -> Json:
    return {"Successful": [{"Id": entry["Id"]} for entry in entries]}


def failing(code: str, *ids: str, blame: bool = False) -> Callable[[Sequence[Json]], Json]:
    def answer(entries: Sequence[Json]) -> Json:
        failed = [{"Id": id, "Code": code, "SenderFault": blame} for id in ids]
        return {"Successful": [{"Id": entry["Id"]} for entry in entries if entry["Id"] not in ids], "Failed": failed}

    return answer


def raising(error: Exception) -> Callable[[Sequence[Any]], Json]:
    def answer(_: Sequence[Any]) -> Json:
        raise error

    return answer


NO_NETWORK = EndpointConnectionError(endpoint_url="https://sqs.example")
DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "SendMessageBatch")


def run(service: Service, events: int = 10, **options: Any) -> list[Settled]:
    """All batches, over the queue."""
    return list(Sending(QueueWay(service, "intake"), sleep=lambda _: None, **options).run(many(events)))  # type: ignore[arg-type]


def bodies(service: Service) -> list[str]:
    return [json.loads(entry["MessageBody"])["id"] for call in service.calls for entry in call]


def test_ten_at_a_time_and_settled_in_order() -> None:
    """GIVEN 95 events WHEN sent THEN ten calls, and what is settled comes in the order of the file."""
    service = Service(taken)
    settled = run(service, 95)
    assert sorted(map(len, service.calls)) == [5, *[10] * 9]
    assert [event.number for batch in settled for event in batch.batch] == list(range(1, 96))
    assert sorted(bodies(service)) == sorted(f"e-{number}" for number in range(1, 96))


def test_a_batch_has_no_more_bytes_than_a_queue_takes() -> None:
    """Six events of 200 KB are two calls."""
    service = Service(taken)
    large = (outgoing(number, properties={"text": "x" * 200_000}) for number in range(6))
    list(Sending(QueueWay(service, "intake")).run(large))  # type: ignore[arg-type]
    assert [len(call) for call in service.calls] == [5, 1]
    assert all(sum(len(entry["MessageBody"]) for entry in call) <= MOST_BYTES for call in service.calls)


def test_what_was_refused_for_the_moment_goes_again_alone() -> None:
    """GIVEN two entries throttled WHEN sent THEN these two are sent again, longer and longer later, and no other."""
    pauses: list[float] = []
    service = Service(taken, [failing("ThrottlingException", "1", "4"), failing("ThrottlingException", "1")])
    (settled,) = Sending(QueueWay(service, "intake"), sleep=pauses.append, chance=lambda: 1.0).run(many(10))  # type: ignore[arg-type]
    assert [len(call) for call in service.calls] == [10, 2, 1]
    assert bodies(service)[10:] == ["e-2", "e-5", "e-5"]
    assert pauses == [0.2, 0.4]
    assert settled.refused == {}


def test_what_is_refused_for_good_is_told_and_not_sent_again() -> None:
    service = Service(taken, [failing("InvalidMessageContents", "3", blame=True)])
    (settled,) = run(service)
    assert [str(error) for each in settled.refused.values() for error in each.errors] == [
        "body: was refused: InvalidMessageContents"
    ]
    assert list(settled.refused) == [3]
    assert len(service.calls) == 1


def test_a_network_that_comes_back_is_waited_for() -> None:
    service = Service(taken, [raising(NO_NETWORK)] * (TRIES - 1))
    assert [batch.refused for batch in run(service)] == [{}]
    assert len(service.calls) == TRIES


@pytest.mark.parametrize("answer", [raising(NO_NETWORK), raising(DENIED), failing("InternalError", "0")])
def test_what_does_not_come_back_stops_it(answer: Callable[[Sequence[Json]], Json]) -> None:
    """After so many tries; nothing passes for sent."""
    service = Service(answer)
    with pytest.raises(StoppedError, match=r"SQS unavailable|was refused: InternalError"):
        run(service)
    assert len(service.calls) == TRIES


def test_batches_before_the_one_that_stopped_are_settled() -> None:
    """GIVEN a third batch that cannot be sent WHEN sent THEN the first two are told, so that a run goes on there."""
    numbers = count()
    service = Service(lambda entries: taken(entries) if next(numbers) < 2 else raising(NO_NETWORK)(entries))
    way = QueueWay(service, "intake")  # type: ignore[arg-type]
    way.at_once = 1
    told: list[int] = []

    def follow() -> None:
        for batch in Sending(way, sleep=lambda _: None).run(many(50)):
            told.extend(event.number for event in batch.batch)

    with pytest.raises(StoppedError):
        follow()
    assert told == list(range(1, 21))


def test_a_rate_is_kept() -> None:
    """GIVEN four a second WHEN ten are sent THEN in batches of a second's worth, with the seconds between them."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    service = Service(taken)
    way = QueueWay(service, "intake")  # type: ignore[arg-type]
    way.at_once = 1
    settled = list(Sending(way, 4.0, sleep=sleep, monotonic=lambda: now[0]).run(many(10)))
    assert [len(each.batch) for each in settled] == [4, 4, 2]
    assert now[0] == pytest.approx(2.0)


def test_ending_early_begins_nothing_more() -> None:
    """GIVEN two calls under way and a third that waits for them WHEN ended THEN the two are let through, no more."""
    drawn, release = threading.Event(), threading.Event()

    def events() -> Iterator[Outgoing]:
        for event in many(1_000):
            if event.number > 40:
                drawn.set()
            yield event

    def first(entries: Sequence[Json]) -> Json:
        assert drawn.wait(10)
        return taken(entries)

    def later(entries: Sequence[Json]) -> Json:
        assert release.wait(10)
        return taken(entries)

    service = Service(later, [first])
    way = QueueWay(service, "intake")  # type: ignore[arg-type]
    way.at_once = 2
    sending = Sending(way).run(events())
    next(sending)
    threading.Timer(0.1, release.set).start()
    sending.close()
    assert len(service.calls) <= 3


def put(entries: Sequence[Json]) -> Json:
    return {"FailedEntryCount": 0, "Entries": [{"EventId": "x"} for _ in entries]}


def test_the_bus_gets_events_as_details() -> None:
    """Under their own source and type; those it fails are told apart by their code."""

    def failed(entries: Sequence[Json]) -> Json:
        codes = ["ThrottlingException", "InvalidArgument", "InternalFailure"]
        answers = [{"ErrorCode": code} for code in codes] + [{"EventId": "x"} for _ in entries[3:]]
        return {"FailedEntryCount": 3, "Entries": answers}

    service = Service(put, [failed])
    (settled,) = Sending(BusWay(service, "bus"), sleep=lambda _: None).run(many(5))  # type: ignore[arg-type]
    assert [[json.loads(entry["Detail"])["id"] for entry in call] for call in service.calls] == [
        ["e-1", "e-2", "e-3", "e-4", "e-5"],
        ["e-1", "e-3"],
    ]
    assert list(settled.refused) == [1]
    assert service.calls[0][0] | {"Detail": ""} == {
        "EventBusName": "bus",
        "Source": "shop",
        "DetailType": "order_shipped",
        "Detail": "",
    }


def test_an_entry_of_the_bus_that_nothing_is_said_of_was_not_taken() -> None:
    service = Service(put, [lambda entries: put(entries[1:])])
    (settled,) = Sending(BusWay(service, "bus"), sleep=lambda _: None).run(many(3))  # type: ignore[arg-type]
    assert [len(call) for call in service.calls] == [3, 1]
    assert settled.refused == {}


def test_intake_is_called_and_its_rejects_are_told() -> None:
    """With no more events a call than it takes, and again where it could not carry the call out."""

    def answered(_: Sequence[Any]) -> Json:
        wrong = [{"index": 1, "id": "e-2", "errors": [{"field": "type", "message": "is odd"}], "kept": True}]
        return {"Payload": {"accepted": [], "rejected": wrong}}

    unable: Json = {"FunctionError": "Unhandled", "Payload": {"errorType": "NotAcceptedError"}}
    service = Service(answered, [lambda _: unable])
    (settled,) = Sending(DirectWay(service, "intake"), sleep=lambda _: None).run(many(3))  # type: ignore[arg-type]
    assert [[event["id"] for event in call] for call in service.calls] == [["e-1", "e-2", "e-3"]] * 2
    assert [str(settled.refused[1].errors[0])] == ["type: is odd"]
    assert DirectWay.most_events <= MOST_EVENTS


def test_a_call_that_never_works_stops_it() -> None:
    service = Service(lambda _: {"FunctionError": "Unhandled", "Payload": {"errorType": "NotAcceptedError"}})
    with pytest.raises(StoppedError, match="NotAcceptedError"):
        list(Sending(DirectWay(service, "intake"), sleep=lambda _: None).run(many(3)))  # type: ignore[arg-type]
