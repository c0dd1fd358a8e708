"""SQS: intake's queues, and a lane with its dead letters."""

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from relay.errors import UnavailableError
from relay.ports import (
    EVIDENCE_BYTES,
    MOST_BYTES,
    MOST_ENTRIES,
    DeadLetter,
    LaneEntry,
    LaneMessage,
    Letters,
    Refusal,
    RejectedRecord,
)

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, SendMessageBatchRequestEntryTypeDef

NONE = "-"
"""An attribute cannot be empty; this stands for what is not known."""

LETTER = "letter"
"""The attribute that names a dead letter's, or a reject's, item in the index."""

NAME_BYTES = 128
"""What that takes of a message, at most."""

_PASSING = ("Throttl", "InternalError", "InternalFailure", "ServiceUnavailable")
"""In the codes of what SQS may take in a moment, whoever it says is to blame."""

_FOR_AN_ENTRY = ("InvalidParameter", "InvalidMessageContents", "InvalidAttribute", "MissingParameter", "TooLong")
"""In the codes of a whole batch that SQS refuses for one of its entries."""

type Attributes = dict[str, MessageAttributeValueTypeDef]


class SqsIntakeQueues:
    """Satisfies `ports.IntakeQueues`. `lanes` maps provider to queue URL."""

    def __init__(
        self, client: "SQSClient", lanes: Mapping[str, str], rejected_url: str, letters: Letters | None = None
    ) -> None:
        self._client = client
        self._lanes = lanes
        self._rejected_url = rejected_url
        self._letters = letters

    def send(self, entries: Sequence[LaneEntry]) -> Mapping[int, Refusal]:
        return send_batch(
            self._client,
            self._lanes[entries[0].destination.provider],
            [
                {
                    "Id": str(place),
                    "MessageBody": entry.body,
                    "MessageGroupId": entry.group,
                    "MessageDeduplicationId": entry.deduplication_id,
                    "MessageAttributes": _kept(entry.content_hash, entry.accepted_at, entry.correlation_id),
                }
                for place, entry in enumerate(entries)
            ],
        )

    def reject(self, records: Sequence[RejectedRecord]) -> Mapping[int, Refusal]:
        if self._letters:
            self._letters.keep(records)
        return send_batch(
            self._client,
            self._rejected_url,
            [
                {
                    "Id": str(place),
                    "MessageBody": record.body,
                    "MessageAttributes": _fitting(record.body, _rejected(record)),
                }
                for place, record in enumerate(records)
            ],
        )


class SqsLaneQueue:
    """Satisfies `ports.LaneQueue`."""

    def __init__(self, client: "SQSClient", url: str, dead_letter_url: str, letters: Letters | None = None) -> None:
        self._letters = letters
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url

    def defer(self, messages: Sequence[LaneMessage], seconds: float) -> Set[str]:
        failed: set[str] = set()
        for start in range(0, len(messages), MOST_ENTRIES):
            chunk = messages[start : start + MOST_ENTRIES]
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
        if self._letters:
            self._letters.keep([letter])
        _send(
            self._client,
            QueueUrl=self._dead_letter_url,
            MessageBody=letter.body,
            MessageGroupId=letter.group or letter.destination.account or NONE,
            MessageDeduplicationId=letter.deduplication_id,
            MessageAttributes=_fitting(
                letter.body,
                _evidence(letter.reason, letter.destination, letter.event_id, letter.status, letter.attempts)
                | _kept(letter.content_hash, letter.accepted_at, letter.correlation_id)
                | {LETTER: _text(letter.letter)},
            ),
        )


def _send(client: "SQSClient", **message: Any) -> None:
    try:
        client.send_message(**message)
    except (BotoCoreError, ClientError) as error:
        raise _unavailable(error) from None


def send_batch(
    client: "SQSClient", url: str, entries: "list[SendMessageBatchRequestEntryTypeDef]"
) -> dict[int, Refusal]:
    """Returns, by place, the entries that SQS does not say it took; `Id` is each one's place.

    Raises UnavailableError where nothing can be known to have been.
    """
    try:
        reply = client.send_message_batch(QueueUrl=url, Entries=entries)
    except (BotoCoreError, ClientError) as error:
        refusal = _unavailable(error)
        if not isinstance(error, ParamValidationError) and not any(word in refusal.code for word in _FOR_AN_ENTRY):
            raise refusal from None
        if len(entries) == 1:
            return {0: Refusal(refusal.code, again=False)}
        # Of some faults AWS's pages do not say whether they are one entry's or the batch's: the others must not suffer.
        alone = (send_batch(client, url, [entry]) for entry in entries)
        return {place: refused[0] for place, refused in enumerate(alone) if refused}
    taken = {entry["Id"] for entry in reply.get("Successful", [])}
    refused = {
        entry["Id"]: Refusal(
            entry["Code"], again=not entry["SenderFault"] or any(word in entry["Code"] for word in _PASSING)
        )
        for entry in reply.get("Failed", [])
    }
    unsaid = Refusal("no answer", again=True)
    return {place: refused.get(entry["Id"], unsaid) for place, entry in enumerate(entries) if entry["Id"] not in taken}


def _unavailable(error: BotoCoreError | ClientError) -> UnavailableError:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    return UnavailableError("SQS", error, code)


def _rejected(record: RejectedRecord) -> Attributes:
    evidence = _evidence(record.reason, NONE, record.event_id, None, 0) | {
        "accepted_at": _when(record.accepted_at),
        LETTER: _text(record.letter),
    }
    if record.whole_bytes is not None:
        evidence["whole_bytes"] = {"DataType": "Number", "StringValue": str(record.whole_bytes)}
        evidence["whole_sha256"] = _text(record.whole_sha256)
    return evidence


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
    # The body is what must not be lost; what does not fit beside it stands in the index, under the name beside it.
    room = MOST_BYTES - len(body.encode())
    if room >= EVIDENCE_BYTES:
        return evidence
    return {LETTER: evidence[LETTER]} if room >= NAME_BYTES else {}


def _text(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value or NONE}
