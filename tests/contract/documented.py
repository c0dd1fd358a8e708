"""What SQS refuses by its documentation and neither emulator does. Every request of the contract tests passes here.

Sizes, ids and attributes: docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html,
…/API_SendMessageBatchRequestEntry.html, …/API_MessageAttributeValue.html and …/SQSDeveloperGuide/quotas-messages.html.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

LARGEST = 1024 * 1024
LONGEST_VISIBILITY = 12 * 3600
_REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ID = re.compile(r"[!-~]{1,128}")
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")

type Message = Mapping[str, Any]


def documented(session: boto3.Session) -> boto3.Session:
    """The session, whose SQS clients from now on meet what AWS would say."""
    for operation in ("SendMessage", "SendMessageBatch", "ChangeMessageVisibilityBatch"):
        session.events.register(f"before-parameter-build.sqs.{operation}", _check)
        session.events.register(f"after-call.sqs.{operation}", _answer)
    return session


def _check(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    entries = params.get("Entries", [params])
    if sum(map(size, entries)) > LARGEST:
        code = "AWS.SimpleQueueService.BatchRequestTooLong" if "Entries" in params else "InvalidParameterValue"
        raise _error(code, f"longer than {LARGEST} bytes", model.name)
    refused = [(entry, found) for entry in entries if (found := next(faults(entry), None))]
    if not refused:
        return
    if "Entries" not in params or len(refused) == len(entries):
        raise _error("InvalidParameterValue", refused[0][1], model.name)
    # One entry among good ones fails alone. AWS was recorded doing so for one that was too long, and failing the whole
    # batch for an id that was missing; its pages do not say which of the two the rest is.
    params["Entries"] = [entry for entry in entries if entry not in [each for each, _ in refused]]
    context["refused"] = [
        {"Id": entry["Id"], "Code": "InvalidParameterValue", "Message": found, "SenderFault": True}
        for entry, found in refused
    ]


def _answer(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if "refused" in context:
        parsed["Failed"] = [*parsed.get("Failed", []), *context["refused"]]


def size(message: Message) -> int:
    """Bytes that count: body, and name, type and value of each attribute."""
    parts, binary = [message.get("MessageBody", "")], 0
    for name, attribute in message.get("MessageAttributes", {}).items():
        parts += [name, attribute["DataType"], attribute.get("StringValue", "")]
        binary += len(attribute.get("BinaryValue", b""))
    return binary + sum(len(part.encode("utf-8", "surrogatepass")) for part in parts)


def faults(message: Message) -> Iterator[str]:
    """What is wrong with one message, or one entry of a batch."""
    attributes = message.get("MessageAttributes", {})
    texts = {"MessageBody": message.get("MessageBody", "-")}
    texts |= {name: attribute.get("StringValue", "") for name, attribute in attributes.items() if _is_text(attribute)}
    for name, text in texts.items():
        if not text:
            yield f"{name} is empty"
        if _REFUSED.search(text):
            yield f"{name} holds characters outside the allowed set"
    if len(attributes) > 10:
        yield "more than ten attributes"
    for name in attributes:
        if not _NAME.fullmatch(name):
            yield f"{name} is no name of an attribute"
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        if not _ID.fullmatch(message.get(name, "-")):
            yield f"{name} must be 1 to 128 letters, digits and punctuation"
    if not 0 <= message.get("VisibilityTimeout", 0) <= LONGEST_VISIBILITY:
        yield "VisibilityTimeout is beyond twelve hours"


def _is_text(attribute: Message) -> bool:
    return not attribute.get("BinaryValue")


def _error(code: str, message: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
