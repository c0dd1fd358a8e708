"""What a function is called with, and the parts of it that several handlers read."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from relay.contract.foreign import from_attributes
from relay.masking import mask_identifiers, shorten

type Json = dict[str, Any]

type SqsRecord = Mapping[str, Any]
"""A message as Lambda hands it over: docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""

_MOMENT = re.compile(r"[0-9]{1,10}\.[0-9]{3}")


class Context(Protocol):
    """What the relay uses of Lambda's context."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


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


def content_of(record: SqsRecord) -> Any:
    """The record in a message: its body, or the CloudEvent that its body and its attributes are together."""
    body, attributes = record.get("body"), record.get("messageAttributes")
    if not attributes or not isinstance(body, str) or not isinstance(attributes, Mapping):
        return body
    texts = {name: each.get("stringValue") for name, each in attributes.items() if isinstance(each, Mapping)}
    return from_attributes(texts, body) or body


def attribute(record: SqsRecord, name: str) -> str:
    value = record.get("messageAttributes", {}).get(name, {}).get("stringValue")
    return value if isinstance(value, str) and value != "-" else ""


def moment(text: str) -> float | None:
    return float(text) if _MOMENT.fullmatch(text) else None


def correlation_id(name: object) -> str:
    """What logs call a record by, without personal data; empty where there is nothing to call it by."""
    return mask_identifiers(shorten(name, 128)) if isinstance(name, str) else ""


def described(errors: Any) -> list[dict[str, str]]:
    return [{"field": error.field, "message": error.message} for error in errors]
