"""SQS: intake's queues, and a lane with its dead letters."""

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from relay.errors import UnavailableError
from relay.ports import DeadLetter, LaneEntry, LaneMessage, RejectedRecord

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

NONE = "-"
"""An attribute cannot be empty; this stands for what is not known."""

BATCH = 10
LARGEST_MESSAGE = 1024 * 1024
EVIDENCE_BYTES = 8 * 1024

type Attributes = dict[str, MessageAttributeValueTypeDef]


class SqsIntakeQueues:
    """Satisfies `ports.IntakeQueues`. `lanes` maps provider to queue URL."""

    def __init__(self, client: "SQSClient", lanes: Mapping[str, str], rejected_url: str) -> None:
        self._client = client
        self._lanes = lanes
        self._rejected_url = rejected_url

    def send(self, entries: Sequence[LaneEntry]) -> None:
        for entry in entries:
            _send(
                self._client,
                QueueUrl=self._lanes[entry.provider],
                MessageBody=entry.body,
                MessageGroupId=entry.account,
                MessageDeduplicationId=entry.deduplication_id,
                MessageAttributes=_kept(entry.content_hash, entry.accepted_at, entry.correlation_id),
            )

    def reject(self, record: RejectedRecord) -> None:
        _send(
            self._client,
            QueueUrl=self._rejected_url,
            MessageBody=record.body,
            MessageAttributes=_fitting(
                record.body,
                _evidence(record.reason, NONE, record.event_id, None, 0) | {"accepted_at": _when(record.accepted_at)},
            ),
        )


class SqsLaneQueue:
    """Satisfies `ports.LaneQueue`."""

    def __init__(self, client: "SQSClient", url: str, dead_letter_url: str) -> None:
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url

    def defer(self, messages: Sequence[LaneMessage], seconds: float) -> Set[str]:
        failed: set[str] = set()
        for start in range(0, len(messages), BATCH):
            chunk = messages[start : start + BATCH]
            try:
                reply = self._client.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(index), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": int(seconds)}
                        for index, message in enumerate(chunk)
                    ],
                )
            except (BotoCoreError, ClientError):
                failed |= {message.message_id for message in chunk}
                continue
            failed |= {chunk[int(entry["Id"])].message_id for entry in reply.get("Failed", [])}
        return failed

    def give_up(self, letter: DeadLetter) -> None:
        _send(
            self._client,
            QueueUrl=self._dead_letter_url,
            MessageBody=letter.body,
            MessageGroupId=letter.destination.partition("/")[2] or NONE,
            MessageDeduplicationId=letter.deduplication_id,
            MessageAttributes=_fitting(
                letter.body,
                _evidence(letter.reason, letter.destination, letter.event_id, letter.status, letter.attempts)
                | _kept(letter.content_hash, letter.accepted_at, letter.correlation_id),
            ),
        )


def _send(client: "SQSClient", **message: Any) -> None:
    try:
        client.send_message(**message)
    except (BotoCoreError, ClientError) as error:
        raise UnavailableError("SQS", error) from None


def _evidence(reason: str, destination: str, event_id: str, status: int | None, attempts: int) -> Attributes:
    return {
        "reason": _text(reason),
        "destination": _text(destination),
        "event_id": _text(event_id),
        "status": _text(str(status) if status else ""),
        "attempts": {"DataType": "Number", "StringValue": str(attempts)},
    }


def _kept(content_hash: str, accepted_at: float | None, correlation_id: str) -> Attributes:
    return {
        "content_hash": _text(content_hash),
        "accepted_at": _when(accepted_at),
        "correlation_id": _text(correlation_id),
    }


def _when(moment: float | None) -> "MessageAttributeValueTypeDef":
    return _text("" if moment is None else f"{moment:.3f}")


def _fitting(body: str, evidence: Attributes) -> Attributes:
    # The body is what must not be lost; what does not fit beside it stands in the log.
    return evidence if len(body.encode()) + EVIDENCE_BYTES <= LARGEST_MESSAGE else {}


def _text(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value or NONE}
