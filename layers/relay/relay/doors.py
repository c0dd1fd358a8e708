"""The ways in: an SQS batch, an EventBridge event, a direct call, each put into the domain's words."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.account import Account
from relay.delivery import Courier, Delivery
from relay.envelope import is_eventbridge, open_record
from relay.errors import (
    CredentialsError,
    FieldError,
    InvalidEventError,
    NotAcceptedError,
    UndeliverableError,
    unnamed_errors,
)
from relay.event import field_errors
from relay.intake import Accepted, Failed, Incoming, Intake, Rejected, Verdict
from relay.lane import Lane
from relay.masking import hide, mask_identifiers, printable, shorten
from relay.observability import DeliverObserver, IntakeObserver
from relay.outcome import Outcome
from relay.ports import Clock, LaneMessage, Reply, Request
from relay.routing import Destination, is_configured

type Json = dict[str, Any]


class Context(Protocol):
    """What the relay uses of Lambda's context."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


MOST_EVENTS = 1_000
"""Of one direct call. To two destinations that is 200 calls of SQS and 0.6 s of a whole processor: some 5 s of 30."""

MOST_ERROR_BYTES = 1024 * 1024
"""Of the errors in one answer. Lambda hands over no answer above 6 MB, and calls the function failed."""


def is_sqs_batch(event: object) -> bool:
    return _records(event, "eventSource", "aws:sqs")


def is_sns_call(event: object) -> bool:
    """Whether SNS calls the function itself: a subscription of the protocol `lambda`."""
    return _records(event, "EventSource", "aws:sns")


def _records(event: object, key: str, source: str) -> bool:
    records = event.get("Records") if isinstance(event, Mapping) else None
    return (
        bool(records)
        and isinstance(records, list)
        and all(isinstance(record, Mapping) and record.get(key) == source for record in records)
    )


class IntakeDoors:
    """Every way into intake. Raises NotAcceptedError where nobody but the caller can try again."""

    def __init__(self, intake: Intake, observer: IntakeObserver, clock: Clock) -> None:
        self._intake = intake
        self._observer = observer
        self._clock = clock

    def open(self, event: Any, context: Context) -> Json:
        """Returns the partial batch response for SQS, `{"accepted", "rejected"}` for everyone else."""
        deadline = self._clock.monotonic() + context.get_remaining_time_in_millis() / 1000
        try:
            if is_sqs_batch(event):
                records = [SQSRecord(record) for record in event["Records"]]
                verdicts = self._accept(list(map(_from_sqs, records)), deadline)
                failed = [
                    record.message_id
                    for record, verdict in zip(records, verdicts, strict=True)
                    if isinstance(verdict, Failed)
                ]
                return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
            # Whether anybody hears the answer, or Lambda tries again, the function cannot know.
            return _answer(self._accept(_from_call(event, context.aws_request_id), deadline, together=True))
        finally:
            self._observer.flush()

    def _accept(self, records: Sequence[Incoming], deadline: float, *, together: bool = False) -> list[Verdict]:
        verdicts = self._intake.accept(records, deadline, together=together)
        for record, verdict in zip(records, verdicts, strict=True):
            self._observer.saw(verdict, record.correlation_id)
        return verdicts


def _from_sqs(record: SQSRecord) -> Incoming:
    # Rejected before and put in again, it is no later version than it was.
    first = _moment(_attribute(record, "accepted_at"))
    milliseconds = str(record.raw_event.get("attributes", {}).get("SentTimestamp", ""))
    sent_at = int(milliseconds) / 1000 if milliseconds.isdecimal() else None
    return Incoming(record.body, _correlation_id(record.message_id), record.message_id, sent_at, first)


def _from_call(event: Any, request_id: str) -> list[Incoming]:
    """The records of a call that is none of SQS's: of EventBridge, of SNS, or of anybody."""
    if is_eventbridge(event):
        return [Incoming(event, _correlation_id(event.get("id")) or request_id, request_id)]
    if is_sns_call(event):
        notifications = [record.get("Sns") for record in event["Records"]]
        ids = [each.get("MessageId") if isinstance(each, Mapping) else None for each in notifications]
        return [
            Incoming(each, _correlation_id(name) or request_id, f"{request_id} {index}")
            for index, (each, name) in enumerate(zip(notifications, ids, strict=True))
        ]
    if not isinstance(event, Mapping) or "events" not in event:
        return [Incoming(event, request_id, f"{request_id} 0")]
    many = event["events"]
    if not isinstance(many, list) or len(event) > 1:
        return [_wrong_call(event, request_id, "must be a list, with nothing beside it")]
    if len(many) > MOST_EVENTS:
        message = f"holds {len(many)} events, at most {MOST_EVENTS}: send them in several calls, or to the queue"
        return [_wrong_call(event, request_id, message)]
    return [Incoming(each, request_id, f"{request_id} {index}") for index, each in enumerate(many)]


def _wrong_call(event: object, request_id: str, message: str) -> Incoming:
    return Incoming(event, request_id, request_id, errors=(FieldError("events", message),))


def _correlation_id(name: object) -> str:
    return mask_identifiers(shorten(name, 128)) if isinstance(name, str) else ""


def _answer(verdicts: Sequence[Verdict]) -> Json:
    failed = [(place, verdict.error) for place, verdict in enumerate(verdicts) if isinstance(verdict, Failed)]
    if failed:
        place, error = failed[0]
        raise NotAcceptedError(error, place, len(failed), len(verdicts))
    left = MOST_ERROR_BYTES
    rejected = []
    for index, verdict in enumerate(verdicts):
        if isinstance(verdict, Rejected):
            errors = _errors(verdict.errors)
            left -= len(json.dumps(errors))
            if left < 0:
                errors = _errors([FieldError("body", unnamed_errors(len(verdict.errors)))])
            event_id = verdict.event_id and printable(verdict.event_id)
            rejected.append({"index": index, "id": event_id, "errors": errors, "kept": verdict.kept})
    accepted = [verdict.event_id for verdict in verdicts if isinstance(verdict, Accepted)]
    return {"accepted": accepted, "rejected": rejected}


def _moment(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,10}\.[0-9]{3}", text) else None


class DirectDelivery(BaseModel):
    """A direct call of deliver. `event` may come in an envelope, as everywhere."""

    model_config = ConfigDict(extra="forbid", strict=True)

    destination: str
    event: dict[str, Any]
    dry_run: bool = False
    content_hash: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Of a lane's or a dead letter's body, which intake has dated: the attribute beside it."""


class DeliverDoors:
    """Every way into deliver."""

    def __init__(self, lane: Lane, direct: "DirectDoor", observer: DeliverObserver, clock: Clock) -> None:
        self._lane = lane
        self._direct = direct
        self._observer = observer
        self._clock = clock

    def open(self, event: Any, context: Context) -> Json:
        """Returns the partial batch response for SQS, what happened for a direct call."""
        deadline = self._clock.monotonic() + context.get_remaining_time_in_millis() / 1000
        if not is_sqs_batch(event):
            return self._direct.open(event, context, deadline)
        report = self._lane.handle([lane_message(SQSRecord(record)) for record in event["Records"]], deadline)
        self._observer.saw(report)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in report.failed]}


def lane_message(record: SQSRecord) -> LaneMessage:
    """An SQS record of a FIFO lane in the domain's words."""
    attributes = record.attributes
    given = _attribute(record, "content_hash")
    # SQS tells the moment of the first receive only.
    first = attributes.approximate_first_receive_timestamp if attributes.approximate_receive_count == "1" else None
    return LaneMessage(
        message_id=record.message_id,
        receipt_handle=record.receipt_handle,
        body=record.body,
        account=attributes.message_group_id or "",
        sent_at=int(attributes.sent_timestamp) / 1000,
        received_at=int(first) / 1000 if first else None,
        receives=int(attributes.approximate_receive_count),
        content_hash=given if re.fullmatch("[0-9a-f]{64}", given) else None,
        accepted_at=_moment(_attribute(record, "accepted_at")),
        correlation_id=mask_identifiers(shorten(_attribute(record, "correlation_id") or record.message_id, 128)),
    )


def _attribute(record: SQSRecord, name: str) -> str:
    value = record.raw_event.get("messageAttributes", {}).get(name, {}).get("stringValue")
    return value if isinstance(value, str) and value != "-" else ""


class DirectDoor:
    """`{"destination", "event", "dry_run"}`: shows the exact request, or delivers once, for testing and repair."""

    def __init__(
        self,
        provider: str,
        destinations: Sequence[str],
        courier: Courier,
        accounts: Callable[[str], Account],
        observer: DeliverObserver,
        clock: Clock,
    ) -> None:
        self._provider = provider
        self._destinations = destinations
        self._courier = courier
        self._accounts = accounts
        self._observer = observer
        self._clock = clock

    def open(self, call: Any, context: Context, deadline: float) -> Json:
        """Returns `{"outcome", "reason", "request", "response", …}`, or `{"dry_run", "destination", "request"}`."""
        try:
            asked, delivery = self._read(call, context.aws_request_id)
            if asked.dry_run:
                request = self._courier.preview(delivery)
                return {"dry_run": True, "destination": asked.destination, "request": request.masked()}
        except (InvalidEventError, UndeliverableError) as error:
            return {"outcome": str(Outcome.REJECTED), "errors": _errors(error.errors)}
        except CredentialsError as error:
            return {"outcome": str(Outcome.UNAUTHORIZED), "errors": _errors([FieldError("destination", str(error))])}
        seen: list[tuple[Request | None, Reply | None]] = []
        account = self._accounts(asked.destination)
        result = self._courier.attempt(
            delivery, account, account.pace.turn(), deadline, witness=lambda *exchange: seen.append(exchange)
        )
        self._observer.results([result])
        request_sent, reply = seen[-1] if seen else (None, None)
        return {
            "outcome": str(result.outcome),
            "reason": result.reason,
            "detail": result.detail,
            "event_id": result.event_id,
            "destination": result.destination,
            "attempts": result.attempts,
            "request": request_sent.masked() if request_sent else None,
            "response": _show(reply, request_sent) if reply else None,
        }

    def _read(self, call: Any, request_id: str) -> tuple[DirectDelivery, Delivery]:
        try:
            asked = parse(event=call, model=DirectDelivery)
        except ValidationError as error:
            raise InvalidEventError(field_errors(error)) from None
        event = open_record(asked.event)
        named = Destination.parse(asked.destination)
        if named.provider != self._provider or not is_configured(asked.destination, self._destinations):
            here = ", ".join(name for name in self._destinations if name.partition("/")[0] == self._provider)
            raise InvalidEventError([FieldError("destination", f"must be one of: {here}")], event.id)
        return asked, Delivery(
            event=event,
            destination=asked.destination,
            body=event.to_json(),
            content_hash=asked.content_hash or event.content_hash,
            accepted_at=self._clock.now(),
            key=request_id,
            correlation_id=request_id,
            direct=True,
        )


def _errors(errors: Any) -> list[dict[str, str]]:
    return [{"field": error.field, "message": error.message} for error in errors]


def _show(reply: Reply, request: Request | None) -> Json:
    body = reply.body.decode("utf-8", "replace")
    return {"status": reply.status, "body": hide(body, request.secrets if request else ())}
