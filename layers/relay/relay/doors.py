"""The ways in: an SQS batch, an EventBridge event, a direct call, each put into the domain's words."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.account import Account
from relay.delivery import Courier, Delivery
from relay.envelope import is_eventbridge, open_record
from relay.errors import CredentialsError, FieldError, InvalidEventError, UndeliverableError
from relay.event import field_errors
from relay.intake import Accepted, Intake, Rejected
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


def is_sqs_batch(event: object) -> bool:
    records = event.get("Records") if isinstance(event, Mapping) else None
    return (
        bool(records)
        and isinstance(records, list)
        and all(isinstance(r, Mapping) and r.get("eventSource") == "aws:sqs" for r in records)
    )


class IntakeDoors:
    """Every way into intake. Raises UnavailableError where nobody but the caller can try again."""

    def __init__(self, intake: Intake, observer: IntakeObserver, clock: Clock) -> None:
        self._intake = intake
        self._observer = observer
        self._clock = clock
        self._processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)

    def open(self, event: Any, context: Context) -> Json:
        """Returns the partial batch response for SQS, `{"accepted", "rejected"}` for everyone else."""
        try:
            if is_sqs_batch(event):
                return self._sqs(event, context)
            if is_eventbridge(event):
                return self._eventbridge(event)
            return self._direct(event, context)
        finally:
            self._observer.flush()

    def _sqs(self, event: Json, context: Any) -> Json:
        def take(record: SQSRecord) -> None:
            name = record.message_id
            self._saw(self._intake.accept_or_keep(record.body, record.body, name, name, _sent_at(record)), name)

        return dict(process_partial_response(event, take, self._processor, context))

    def _eventbridge(self, event: Json) -> Json:
        name = str(event.get("id") or "")
        correlation_id = mask_identifiers(shorten(name, 128))
        body, received_at = json.dumps(event), _put_at(event, self._clock.now())
        return self._answer(
            [self._saw(self._intake.accept_or_keep(event, body, correlation_id, name, received_at), correlation_id)]
        )

    def _direct(self, event: Any, context: Context) -> Json:
        many = event["events"] if isinstance(event, Mapping) and isinstance(event.get("events"), list) else [event]
        if isinstance(event, Mapping) and "events" in event and (many[0:1] == [event] or len(event) > 1):
            wrong = FieldError("events", "must be a list, with nothing beside it")
            return self._answer([self._saw(Rejected(None, (wrong,)), context.aws_request_id)])
        request = context.aws_request_id
        return self._answer(
            [
                self._saw(self._intake.accept(each, request, f"{request} {index}"), request)
                for index, each in enumerate(many)
            ]
        )

    def _saw(self, verdict: Accepted | Rejected, correlation_id: str) -> Accepted | Rejected:
        self._observer.saw(verdict, correlation_id)
        return verdict

    @staticmethod
    def _answer(verdicts: list[Accepted | Rejected]) -> Json:
        return {
            "accepted": [verdict.event_id for verdict in verdicts if isinstance(verdict, Accepted)],
            "rejected": [
                {
                    "index": index,
                    "id": verdict.event_id and printable(verdict.event_id),
                    "errors": _errors(verdict.errors),
                }
                for index, verdict in enumerate(verdicts)
                if isinstance(verdict, Rejected)
            ],
        }


def _sent_at(record: SQSRecord) -> float | None:
    """When the record was put on its queue, in Unix seconds: the same for each copy that SQS hands out."""
    if (kept := _moment(_attribute(record, "accepted_at"))) is not None:
        # It was rejected and is put in again: no later version for that.
        return kept
    milliseconds = str(record.raw_event.get("attributes", {}).get("SentTimestamp", ""))
    return int(milliseconds) / 1000 if milliseconds.isdecimal() else None


def _moment(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,10}\.[0-9]{3}", text) else None


def _put_at(event: Json, now: float) -> float:
    """When the event was put on its bus: the same however often Lambda tries it again."""
    try:
        # Its last moment, where it is a whole second: other doors count in milliseconds.
        return min(datetime.fromisoformat(event["time"]).timestamp() + 0.999, now)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return now


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
