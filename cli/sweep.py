"""Goes once through a queue of dead letters or rejects: deletes what is settled, puts into the index what is not there.

SQS shows ten messages of a FIFO queue's group at a time, and the next only when these are gone. So what stays is sent
to the end of its queue, in its order, and deleted where it was, in this order: ended at any moment, a message may be
there twice, never not at all, and the next time the second is deleted.

Two operators may do so at once. Each copy bears the name of the sweep that made it, and these have an order: a sweep
moves no copy of a later one's, and of two copies of a message every sweep deletes the same.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from itertools import batched
from typing import Any

from cli.command import CommandError
from cli.index import Index, State
from cli.stack import Relay
from relay.adapters.dynamodb import REJECTED, letter_item
from relay.adapters.sqs import LETTER
from relay.contract.destination import Destination, account_of
from relay.contract.foreign import from_attributes
from relay.contract.parsing import as_text
from relay.errors import InvalidEventError
from relay.handlers.envelope import open_record
from relay.handlers.records import moment
from relay.masking import mask_identifiers, printable, shorten
from relay.ports import EVIDENCE_BYTES, MOST_BYTES, MOST_ENTRIES, DeadLetter, RejectedRecord

_SWEPT = "swept"
"""The attribute that names the sweep which sent a message to the end."""

_OURS = ("reason", "destination", "event_id", "status", "attempts", "content_hash", "accepted_at", "correlation_id")

MOST_ATTRIBUTES = 10
"""Of a message: SQS takes no more."""

HIDDEN_SECONDS = 120
"""For how long a message is in our hands: where we end without a word, it is seen again then."""

WAIT_SECONDS = 1
"""Seconds that SQS waits for a message: less, and it looks into some of its machines only."""

type Message = Mapping[str, Any]


class Sweep:
    """One pass over the queue of a lane's dead letters, or of the rejects. `counts` says what it did."""

    def __init__(
        self,
        relay: Relay,
        lane: str,
        seen: Callable[[], None] = lambda: None,
        forgets: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._relay = relay
        self._sqs = relay.sqs
        self._index = Index(relay)
        self._lane = lane
        self._url = queue_url(relay, lane)
        self._is_fifo = self._url.endswith(".fifo")
        self._seen = seen
        self._forgets = forgets
        # Of two sweeps the later has the greater name. Where clocks differ it is the other, which does as well.
        self._run = f"{time.time_ns():016x}{uuid.uuid4().hex[:8]}"
        self._kept: dict[str, tuple[str, str]] = {}
        """By letter, the copy that stays: the sweep that made it, and its message's id."""
        self._hidden: dict[str, str] = {}
        """By message, the receipt handle of what stays, and is hidden until the end."""

    def run(self) -> Counter[str]:
        """Until nothing comes any more but what stays: of that we see more than once what our time was up for."""
        again = 0
        try:
            while again <= len(self._hidden) and (messages := self._receive()):
                fresh = [each for each in messages if each["MessageId"] not in self._hidden]
                again = 0 if fresh else again + len(messages)
                self._hidden |= {
                    each["MessageId"]: each["ReceiptHandle"] for each in messages if each["MessageId"] in self._hidden
                }
                self._pass(fresh)
        finally:
            self._show()
        return self.counts

    def _receive(self) -> list[Message]:
        reply = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=MOST_ENTRIES,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        return list(reply.get("Messages", []))

    def _pass(self, messages: list[Message]) -> None:
        states = self._index.states(map(_letter, messages))
        gone: list[str] = []
        for message in messages:
            letter, copy = _letter(message), (_named(message, _SWEPT), message["MessageId"])
            kept, receipt = self._kept.get(letter, ("", "")), message["ReceiptHandle"]
            if copy[0] == self._run:
                # Ours: hidden, so that the beginning of another group comes.
                self._hidden[message["MessageId"]] = receipt
                continue
            self._seen()
            if self._forgets(message["Body"]):
                # The index first: ended in between, the next sweep finds it settled.
                self._index.settle(letter, State.FORGOTTEN, self._relay.who, time.time())
                gone.append(receipt)
                self.counts["forgotten"] += 1
            elif states.get(letter, State.WAITING) != State.WAITING:
                gone.append(receipt)
                self.counts["deleted"] += 1
            elif copy[0] > self._run:
                # A later sweep is under way, and has put it here.
                self._hidden[message["MessageId"]] = receipt
            elif copy < kept:
                gone.append(receipt)
                self.counts["twice"] += 1
            else:
                if other := self._hidden.pop(kept[1], ""):
                    gone.append(other)
                    self.counts["twice"] += 1
                    self.counts["kept"] -= 1
                if self._is_kept_as_it_is(message, is_known=letter in states):
                    self._hidden[message["MessageId"]] = receipt
                else:
                    gone.append(receipt)
        self._delete(gone)

    def _is_kept_as_it_is(self, message: Message, *, is_known: bool) -> bool:
        """Keeps it; False where a copy of it stands at the end of the queue now."""
        letter = _letter(message)
        if not is_known:
            self._index.put(_item(message, letter, self._lane))
            self.counts["collected"] += 1
        self.counts["kept"] += 1
        if (is_known and not self._is_fifo) or len(message["Body"].encode()) + EVIDENCE_BYTES > MOST_BYTES:
            self._kept[letter] = (_named(message, _SWEPT), message["MessageId"])
            return True
        given = {LETTER: letter, _SWEPT: self._run}
        attributes = _attributes(message, besides=given)
        attributes |= {name: {"DataType": "String", "StringValue": value} for name, value in given.items()}
        fifo = {
            "MessageGroupId": message["Attributes"].get("MessageGroupId", ""),
            "MessageDeduplicationId": f"{letter}-{self._run}"[-128:],
        }
        sent = self._sqs.send_message(
            QueueUrl=self._url,
            MessageBody=message["Body"],
            MessageAttributes=attributes,
            **fifo if self._is_fifo else {},
        )
        self._kept[letter] = (self._run, sent["MessageId"])
        return False

    def _delete(self, receipts: list[str]) -> None:
        """Raises CommandError where SQS keeps one all the same."""
        for some in batched(receipts, MOST_ENTRIES, strict=False):
            entries: Any = [{"Id": str(place), "ReceiptHandle": receipt} for place, receipt in enumerate(some)]
            reply = self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
            if failed := reply.get("Failed"):
                raise CommandError(f"{len(failed)} messages of {self._lane} could not be deleted: run it again")

    def _show(self) -> None:
        """What is still hidden, and stays, is seen again at once."""
        for some in batched(self._hidden.values(), MOST_ENTRIES, strict=False):
            entries: Any = [
                {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for place, receipt in enumerate(some)
            ]
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)


def queue_url(relay: Relay, lane: str) -> str:
    """The queue where a lane's dead letters, or the rejects, are."""
    return relay.outputs["RejectedQueueUrl"] if lane == REJECTED else relay.lanes[lane].dead_letter_url


def depth(relay: Relay, lane: str) -> int:
    """About how many messages are in it, seen or hidden."""
    return relay.queue(queue_url(relay, lane)).messages


def _attributes(message: Message, besides: Collection[str]) -> dict[str, Any]:
    """As many of its attributes as a message holds `besides` these, ours first: others may have put ten there."""
    found = {
        name: {"DataType": value["DataType"], "StringValue": value["StringValue"]}
        for name, value in message.get("MessageAttributes", {}).items()
        if "StringValue" in value and name not in besides
    }
    first = sorted(found, key=lambda name: name not in _OURS)
    return {name: found[name] for name in first[: MOST_ATTRIBUTES - len(besides)]}


def _letter(message: Message) -> str:
    """Its name in the index. What nobody has named goes by its message, which stays the same while it is here."""
    return _named(message, LETTER) or str(message["MessageId"])


def _named(message: Message, name: str) -> str:
    value = message.get("MessageAttributes", {}).get(name, {}).get("StringValue", "")
    return "" if value == "-" else str(value)


def _item(message: Message, letter: str, lane: str) -> dict[str, Any]:
    """The index's item for a message that nobody put there: what SQS, EventBridge or Lambda gave up."""
    body, event_id, event_type = _body(message), "", ""
    try:
        event = open_record(body)
        event_id, event_type = event.id, event.type
    except InvalidEventError as error:
        event_id = mask_identifiers(shorten(error.event_id or "", 255))
    first = int(message["Attributes"].get("SentTimestamp", 0)) / 1000
    reason = _named(message, "reason") or _why(message, body)
    if lane == REJECTED:
        reject = RejectedRecord(body, reason, event_id, _moment(message), event_type=event_type, letter=letter)
        return letter_item(reject, first or time.time())
    group = message["Attributes"].get("MessageGroupId", "")
    status = _named(message, "status")
    dead = DeadLetter(
        body=body,
        reason=reason,
        destination=Destination(_named(message, "destination") or Destination.of(lane, account_of(group))),
        event_id=printable(event_id),
        status=int(status) if status.isdecimal() else None,
        attempts=int(attempts) if (attempts := _named(message, "attempts")).isdecimal() else 0,
        deduplication_id=letter,
        content_hash=_named(message, "content_hash"),
        accepted_at=_moment(message),
        correlation_id=_named(message, "correlation_id"),
        group=group,
        event_type=event_type,
    )
    return letter_item(dead, first or time.time())


def _body(message: Message) -> str:
    """A CloudEvent whose attributes are the message's goes into the index as one text, and is put back as that."""
    attributes = {name: each.get("StringValue") for name, each in message.get("MessageAttributes", {}).items()}
    whole = from_attributes(attributes, message["Body"])
    return as_text(whole) if whole else str(message["Body"])


def _moment(message: Message) -> float | None:
    return moment(_named(message, "accepted_at"))


def _why(message: Message, body: str) -> str:
    """Why there is no reason with it."""
    if rule := _named(message, "RULE_ARN"):
        return f"EventBridge could not hand it over: {_named(message, 'ERROR_CODE') or 'no code'} (rule {rule})"
    if _failed_call(body) is not None:
        return "an asynchronous call failed three times"
    return f"SQS gave it up after {message['Attributes'].get('ApproximateReceiveCount', 'many')} receives"


def _failed_call(body: str) -> Any:
    """What an asynchronous call was made with, where that is what Lambda keeps of one that failed."""
    try:
        kept = json.loads(body)
    except ValueError:
        return None
    return kept.get("requestPayload") if isinstance(kept, dict) and "requestContext" in kept else None


def redrivable(body: str) -> str:
    """What to put back of a reject: of a call that failed, what it was made with."""
    inside = _failed_call(body)
    return body if inside is None else json.dumps(inside, ensure_ascii=False)
