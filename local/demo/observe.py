"""Looks up what became of the published events: ledger, rejected records, dead letters, the providers' journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.demo.plan import Case
from local.sandbox.client import SandboxClient
from local.stack import Stack
from relay.contract.destination import Destination
from relay.providers import PROVIDERS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
    from mypy_boto3_sqs.type_defs import MessageTypeDef

QUEUES = ("IntakeQueueUrl", *(f"{name.capitalize()}QueueUrl" for name in PROVIDERS))
_COUNTS = {f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")}
LETTERS = ("RejectedQueueUrl", *(f"{name.capitalize()}DeadLetterQueueUrl" for name in PROVIDERS))


@dataclass(frozen=True)
class Observed:
    """What became of one case. ``seconds`` from acceptance to the end; empty ``outcome``: nothing to be seen yet."""

    outcome: str = ""
    attempts: int | None = None
    seconds: float | None = None
    reason: str = ""


@dataclass
class Observer:
    """Reads one stack. ``answers`` holds what direct calls returned, by file."""

    stack: Stack
    sandbox: SandboxClient
    answers: dict[str, Any] = field(default_factory=dict)
    _letters: dict[str, dict[str, str]] = field(default_factory=dict)

    def waiting(self) -> int:
        """Messages that are still on the way: waiting, in work or deferred."""
        total = 0
        for name in QUEUES:
            reply = self.stack.clients.sqs.get_queue_attributes(
                QueueUrl=self.stack.outputs[name], AttributeNames=["All"]
            )
            counts = (value for key, value in reply["Attributes"].items() if key in _COUNTS)
            total += sum(map(int, counts))
        return total

    def read_letters(self) -> None:
        """Take in the rejected records and dead letters that are new."""
        for name in LETTERS:
            while messages := self._receive(self.stack.outputs[name]):
                for message in messages:
                    self._letters[message["MessageId"]] = _evidence(message)

    def observe(self, case: Case) -> Observed:
        """What became of ``case``, as far as can be seen now."""
        if case.outcome == "duplicate":
            return self._duplicate(case)
        found = self._letter(case) or self._refusal(case)
        return found or self._ledger_entry(case)

    def _duplicate(self, case: Case) -> Observed:
        answer = self.answers.get(case.file)
        if isinstance(answer, dict):
            return Observed(str(answer.get("outcome")), reason="the ledger knows it: no request")
        provider = Destination(case.destination).provider
        sent = [
            one
            for one in self.sandbox.requests()
            if one["provider"] == provider and one["type"] == "order_shipped" and not one["update"]
        ]
        return Observed("duplicate" if len(sent) == 1 else "repeated", reason=f"sent {len(sent)} times")

    def _letter(self, case: Case) -> Observed | None:
        wanted = (case.event_id or "-", case.destination or "-")
        for letter in self._letters.values():
            if (letter["event_id"], letter["destination"]) == wanted:
                outcome = "dead letter" if case.destination else "rejected"
                return Observed(outcome, int(letter["attempts"]) if case.destination else None, None, letter["reason"])
        return None

    def _refusal(self, case: Case) -> Observed | None:
        answer = self.answers.get(case.file)
        for one in answer.get("rejected", []) if isinstance(answer, dict) else []:
            if one["id"] == case.event_id and not case.destination:
                reason = "; ".join(f"{error['field']}: {error['message']}" for error in one["errors"])
                return Observed("rejected", reason=reason)
        return None

    def _ledger_entry(self, case: Case) -> Observed:
        reply = self.stack.clients.dynamodb.get_item(
            TableName=self.stack.outputs["LedgerTableName"],
            Key={"event_id": {"S": case.event_id or "-"}, "destination": {"S": case.destination or "-"}},
        )
        item = reply.get("Item", {})
        if _text(item, "state") != "delivered":
            return Observed()
        seconds = float(_text(item, "completed_at")) - float(_text(item, "accepted_at"))
        return Observed(_text(item, "outcome"), int(_text(item, "attempts")), seconds)

    def _receive(self, url: str) -> "list[MessageTypeDef]":
        reply = self.stack.clients.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=3600
        )
        messages = reply.get("Messages", [])
        # One that is only hidden would hide those of its account behind it.
        for message in messages:
            self.stack.clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages


def _evidence(message: "MessageTypeDef") -> dict[str, str]:
    attributes = message.get("MessageAttributes", {})
    return {
        name: attributes[name]["StringValue"] if name in attributes else "-"
        for name in ("reason", "destination", "event_id", "status", "attempts")
    }


def _text(item: "Mapping[str, AttributeValueTypeDef]", name: str) -> str:
    value = item.get(name, {})
    return str(value.get("S", value.get("N", "")))
