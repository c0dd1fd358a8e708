"""Deliver is called: with a batch of its lane, or directly."""

import re
from typing import Any

from relay.contract.destination import account_of
from relay.delivery.batch import Lane
from relay.handlers.direct import DirectHandler
from relay.handlers.records import Context, Json, SqsRecord, attribute, correlation_id, is_sqs_batch, moment
from relay.observability import DeliverObserver
from relay.ports import Clock, LaneMessage


class DeliverHandler:
    """Every call of deliver."""

    def __init__(self, lane: Lane, direct: DirectHandler, observer: DeliverObserver, clock: Clock) -> None:
        self._lane = lane
        self._direct = direct
        self._observer = observer
        self._clock = clock

    def handle(self, event: Any, context: Context) -> Json:
        """Returns the partial batch response for SQS, what happened for a direct call."""
        deadline = self._clock.monotonic() + context.get_remaining_time_in_millis() / 1000
        if not is_sqs_batch(event):
            return self._direct.handle(event, context, deadline)
        report = self._lane.handle([lane_message(record) for record in event["Records"]], deadline)
        self._observer.saw(report)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in report.failed]}


def lane_message(record: SqsRecord) -> LaneMessage:
    """An SQS record of a FIFO lane in the domain's words."""
    attributes = record["attributes"]
    given = attribute(record, "content_hash")
    group = attributes.get("MessageGroupId") or ""
    return LaneMessage(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        body=record["body"],
        account=account_of(group),
        group=group if account_of(group) != group else "",
        sent_at=int(attributes["SentTimestamp"]) / 1000,
        receives=int(attributes["ApproximateReceiveCount"]),
        content_hash=given if re.fullmatch("[0-9a-f]{64}", given) else None,
        accepted_at=moment(attribute(record, "accepted_at")),
        correlation_id=correlation_id(attribute(record, "correlation_id") or record["messageId"]),
    )
