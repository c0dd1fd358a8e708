"""Takes the event out of what carries it: an SNS or EventBridge envelope, or EventBridge inside SNS."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel, SnsNotificationModel
from pydantic import BaseModel, ValidationError

from relay.errors import FieldError, InvalidEventError
from relay.event import Event, field_errors, parse_event
from relay.parsing import parse_json


class _EventBridge(EventBridgeModel):
    # Nobody reads them, and a megabyte of wrong ones would be 100,000 errors.
    resources: list[Any]


class _Sns(SnsNotificationModel):
    MessageAttributes: dict[str, Any] | None = None


def open_record(record: object) -> Event:
    """The event in a record: raw JSON text or parsed JSON, in at most one SNS and one EventBridge envelope.

    Raises InvalidEventError with every error and its field.
    """
    return parse_event(unwrap(parse_json(record) if isinstance(record, str) else record), _validate)


def unwrap(record: object) -> object:
    """The parsed JSON inside the envelopes. Raises InvalidEventError for a broken or a nested envelope."""
    if is_sns(record):
        record = parse_json(str(_envelope(record, _Sns).Message))
        if is_sns(record):
            raise InvalidEventError([FieldError("Message", "holds another SNS envelope")])
    if is_eventbridge(record):
        record = _envelope(record, _EventBridge).detail
        if is_sns(record) or is_eventbridge(record):
            raise InvalidEventError([FieldError("detail", "holds another envelope")])
    return record


def is_sns(record: object) -> bool:
    return isinstance(record, Mapping) and "TopicArn" in record and "Message" in record


def is_eventbridge(record: object) -> bool:
    return isinstance(record, Mapping) and "detail-type" in record and "detail" in record


def _validate(data: Any) -> Event:
    return parse(event=data, model=Event)


def _envelope[M: BaseModel](record: Any, model: type[M]) -> M:
    try:
        return parse(event=record, model=model)
    except ValidationError as error:
        raise InvalidEventError(field_errors(error)) from None
