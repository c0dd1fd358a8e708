"""Takes the event out of what carries it: an SNS or EventBridge envelope, or EventBridge inside SNS."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel, SnsNotificationModel
from pydantic import BaseModel, ValidationError

from relay.contract.event import Event, parse_event
from relay.contract.fields import field_errors
from relay.contract.foreign import from_attributes
from relay.contract.parsing import parse_json
from relay.errors import FieldError, InvalidEventError
from relay.intake.intake import Carried


class _EventBridge(EventBridgeModel):
    # Nobody reads them, and a megabyte of wrong ones would be 100,000 errors.
    resources: list[Any]


class _Sns(SnsNotificationModel):
    MessageAttributes: dict[str, Any] | None = None


def open_record(record: object) -> Event:
    """The event in a record: raw JSON text or parsed JSON, in at most one SNS and one EventBridge envelope.

    Raises InvalidEventError with every error and its field.
    """
    return validate(unwrap(parse_json(record) if isinstance(record, str) else record).content)


def unwrap(record: object) -> Carried:
    """The parsed JSON inside the envelopes. Raises InvalidEventError for a broken or a nested envelope."""
    carried = None
    if is_sns(record):
        notification = _envelope(record, _Sns)
        record = _message(notification)
        if is_sns(record):
            raise InvalidEventError([FieldError("Message", "holds another SNS envelope")])
        carried = Carried(record, f"sns {notification.MessageId}", _seconds(notification.Timestamp), via=("sns",))
    if is_eventbridge(record):
        envelope = _envelope(record, _EventBridge)
        # In whole seconds: its last moment, or it would come before what has come in elsewhere since.
        within = 0.0 if envelope.time.microsecond else 0.999
        via = ("eventbridge", *(carried.via if carried else ()))
        carried = Carried(envelope.detail, f"eventbridge {envelope.id}", _seconds(envelope.time), within, via)
        if is_sns(carried.content) or is_eventbridge(carried.content):
            raise InvalidEventError([FieldError("detail", "holds another envelope")])
    return carried or Carried(record)


def _message(notification: _Sns) -> object:
    text = str(notification.Message)
    attributes = {
        name: each.get("Value")
        for name, each in (notification.MessageAttributes or {}).items()
        if isinstance(each, dict)
    }
    return from_attributes(attributes, text) or parse_json(text)


def validate(data: object) -> Event:
    """The event in parsed JSON. Raises InvalidEventError with every error and its field."""
    return parse_event(data, _validate)


def _seconds(moment: datetime) -> float | None:
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def is_sns(record: object) -> bool:
    return isinstance(record, dict) and "TopicArn" in record and "Message" in record


def is_eventbridge(record: object) -> bool:
    return isinstance(record, dict) and "detail-type" in record and "detail" in record


def _validate(data: Any) -> Event:
    return parse(event=data, model=Event)


def _envelope[M: BaseModel](record: Any, model: type[M]) -> M:
    try:
        # Of its own: Powertools writes into what it reads.
        return parse(event=dict(record), model=model)
    except ValidationError as error:
        raise InvalidEventError(field_errors(error)) from None
