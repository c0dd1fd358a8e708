"""Intake is called: by SQS, EventBridge, SNS or anybody, and each record put into the domain's words."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from relay.errors import FieldError, NotAcceptedError, unnamed_errors
from relay.handlers.envelope import is_eventbridge
from relay.handlers.records import (
    Context,
    Json,
    SqsRecord,
    attribute,
    content_of,
    correlation_id,
    described,
    is_sns_call,
    is_sqs_batch,
    moment,
)
from relay.intake.intake import Accepted, Failed, Incoming, Intake, Rejected, Verdict
from relay.masking import printable
from relay.observability import IntakeObserver
from relay.ports import Clock

MOST_EVENTS = 1_000
"""Of one direct call. To two destinations that is 200 calls of SQS and 0.6 s of a whole processor: some 5 s of 30."""

MOST_ERROR_BYTES = 1024 * 1024
"""Of the errors in one answer. Lambda hands over no answer above 6 MB, and calls the function failed."""


class IntakeHandler:
    """Every call of intake. Raises NotAcceptedError where nobody but the caller can try again."""

    def __init__(self, intake: Intake, observer: IntakeObserver, clock: Clock) -> None:
        self._intake = intake
        self._observer = observer
        self._clock = clock

    def handle(self, event: Any, context: Context) -> Json:
        """Returns the partial batch response for SQS, `{"accepted", "rejected"}` for everyone else."""
        deadline = self._clock.monotonic() + context.get_remaining_time_in_millis() / 1000
        try:
            if is_sqs_batch(event):
                records: list[SqsRecord] = event["Records"]
                verdicts = self._accept(list(map(_from_sqs, records)), deadline)
                failed = [
                    record["messageId"]
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


def _from_sqs(record: SqsRecord) -> Incoming:
    # Rejected before and put in again, it is no later version than it was.
    first = moment(attribute(record, "accepted_at"))
    milliseconds = str(record.get("attributes", {}).get("SentTimestamp", ""))
    sent_at = int(milliseconds) / 1000 if milliseconds.isdecimal() else None
    message_id = record["messageId"]
    return Incoming(content_of(record), correlation_id(message_id), message_id, sent_at, first, via="sqs")


def _from_call(event: Any, request_id: str) -> list[Incoming]:
    """The records of a call that is none of SQS's: of EventBridge, of SNS, or of anybody."""
    if is_eventbridge(event):
        return [Incoming(event, correlation_id(event.get("id")) or request_id, request_id, via="eventbridge")]
    if is_sns_call(event):
        notifications = [record.get("Sns") for record in event["Records"]]
        ids = [each.get("MessageId") if isinstance(each, Mapping) else None for each in notifications]
        return [
            Incoming(each, correlation_id(name) or request_id, f"{request_id} {index}", via="sns")
            for index, (each, name) in enumerate(zip(notifications, ids, strict=True))
        ]
    if not isinstance(event, Mapping) or "events" not in event:
        return [Incoming(event, request_id, f"{request_id} 0", via="direct")]
    many = event["events"]
    if not isinstance(many, list) or len(event) > 1:
        return [_wrong_call(event, request_id, "must be a list, with nothing beside it")]
    if len(many) > MOST_EVENTS:
        message = f"holds {len(many)} events, at most {MOST_EVENTS}: send them in several calls, or to the queue"
        return [_wrong_call(event, request_id, message)]
    return [Incoming(each, request_id, f"{request_id} {index}", via="direct") for index, each in enumerate(many)]


def _wrong_call(event: object, request_id: str, message: str) -> Incoming:
    return Incoming(event, request_id, request_id, errors=(FieldError("events", message),), via="direct")


def _answer(verdicts: Sequence[Verdict]) -> Json:
    failed = [(place, verdict.error) for place, verdict in enumerate(verdicts) if isinstance(verdict, Failed)]
    if failed:
        place, error = failed[0]
        raise NotAcceptedError(error, place, len(failed), len(verdicts))
    left = MOST_ERROR_BYTES
    rejected = []
    for index, verdict in enumerate(verdicts):
        if isinstance(verdict, Rejected):
            errors = described(verdict.errors)
            left -= len(json.dumps(errors))
            if left < 0:
                errors = described([FieldError("body", unnamed_errors(len(verdict.errors)))])
            event_id = verdict.event_id and printable(verdict.event_id)
            rejected.append({"index": index, "id": event_id, "errors": errors, "kept": verdict.kept})
    accepted = [verdict.event_id for verdict in verdicts if isinstance(verdict, Accepted)]
    return {"accepted": accepted, "rejected": rejected}
