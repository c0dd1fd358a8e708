"""Makes what tests need, each with sensible values and only what matters spelled out."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

from relay.contract.destination import Destination
from relay.contract.event import Event, parse_event
from relay.delivery.delivery import Delivery
from relay.ports import LaneMessage, Reply
from relay.providers import PROVIDERS
from tests.kinds import OVERWRITES, REPEATS

NOW = 1_795_341_600.0
"""2026-11-22T10:00:00Z"""

EMAIL = "ada@example.com"
PHONE = "+15551234567"
TOKEN = "tok-3f9a77"
"""The token in every invented secret: it must never be seen."""

CREDENTIALS: Mapping[str, str] = {
    **{name: f"{name}-{TOKEN}" for provider in PROVIDERS.values() for name in provider.credentials},
    "store_id": "store-1",
    "access_token": TOKEN,
}
"""What any provider needs."""
DESTINATIONS = (f"{OVERWRITES}/main", f"{REPEATS}/main")

_numbers = itertools.count(1)


def event_data(**changes: Any) -> dict[str, Any]:
    """A valid event as parsed JSON. A change to `...` leaves the field out."""
    data: dict[str, Any] = {
        "id": "evt-1",
        "source": "shop",
        "type": "order_shipped",
        "occurred_at": "2026-11-22T09:59:00Z",
        "customer": {"email": EMAIL},
        "properties": {"order_id": "A-1001", "total": 6.7},
        **changes,
    }
    return {key: value for key, value in data.items() if value is not ...}


def event_json(**changes: Any) -> str:
    return json.dumps(event_data(**changes))


def make_event(**changes: Any) -> Event:
    return parse_event(event_data(**changes))


def eventbridge(detail: object, **changes: Any) -> dict[str, Any]:
    """An EventBridge event as EventBridge makes it."""
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "customer event",
        "source": "shop",
        "account": "123456789012",
        "time": "2026-11-22T10:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
        **changes,
    }


def sns(message: object, **changes: Any) -> dict[str, Any]:
    """An SNS notification as SNS writes it into a queue."""
    return {
        "Type": "Notification",
        "MessageId": "7a1d6f7e-0000-4000-8000-000000000001",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:shop",
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-22T10:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/example.pem",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        **changes,
    }


def sqs_record(body: str, message_id: str = "", **attributes: str) -> dict[str, Any]:
    """An SQS record as Lambda gets it. `attributes` are message attributes."""
    number = next(_numbers)
    return {
        "messageId": message_id or f"m-{number}",
        "receiptHandle": f"receipt-{message_id or number}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(int(NOW * 1000)),
            "SenderId": "AIDAEXAMPLE",
            "ApproximateFirstReceiveTimestamp": str(int(NOW * 1000)),
        },
        "messageAttributes": {
            name: {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}
            for name, value in attributes.items()
        },
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:intake",
        "awsRegion": "us-east-1",
    }


def lane_record(
    body: str, message_id: str = "", account: str = "main", sent_at: float = NOW, receive_count: int = 1, **more: str
) -> dict[str, Any]:
    """An SQS record of a FIFO lane. `sent_at` is Unix seconds."""
    record = sqs_record(body, message_id, **more)
    record["attributes"] |= {
        "MessageGroupId": account,
        "SentTimestamp": str(int(sent_at * 1000)),
        "ApproximateReceiveCount": str(receive_count),
        "ApproximateFirstReceiveTimestamp": str(int(sent_at * 1000) + 250),
        "SequenceNumber": "18849496460467696128",
        "MessageDeduplicationId": record["messageId"],
    }
    return record


def sqs_batch(*records: Mapping[str, Any]) -> dict[str, Any]:
    return {"Records": list(records)}


def lane_message(
    message_id: str = "m-1",
    account: str = "main",
    body: str | None = None,
    sent_at: float = NOW,
    group: str = "",
    receives: int = 1,
    **changes: Any,
) -> LaneMessage:
    """A message of a lane; `changes` are the event's. Without an id of its own, the event has the message's."""
    return LaneMessage(
        message_id=message_id,
        receipt_handle=f"receipt-{message_id}",
        body=event_json(**{"id": message_id, **changes}) if body is None else body,
        account=account,
        sent_at=sent_at,
        group=group,
        receives=receives,
    )


def make_delivery(
    destination: str = DESTINATIONS[0], accepted_at: float = NOW, key: str = "m-1", **changes: Any
) -> Delivery:
    """A delivery of one event; `changes` are the event's."""
    event = make_event(**changes)
    return Delivery(
        event=event,
        destination=Destination(destination),
        body=event.to_json(),
        content_hash=event.content_hash,
        accepted_at=accepted_at,
        key=key,
        correlation_id="corr-1",
    )


def make_reply(status: int = 200, body: object = b"", **headers: str) -> Reply:
    """A reply; a body that is not bytes becomes JSON, `x_y` becomes the header `x-y`."""
    return Reply(
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
