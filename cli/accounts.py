"""An account as an operator has it: what is known of it, what its lane hides, and the operator's word on it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import batched
from typing import Any

from botocore.exceptions import ClientError

from cli.command import CommandError, Exit
from cli.stack import Relay
from relay.account.breaker import held_for
from relay.account.forgotten import KEEP_SECONDS as KEEP_MARKS_SECONDS
from relay.account.forgotten import mark, moment
from relay.adapters.dynamodb import KEEP_SECONDS, hidden_key, is_account, read_account, read_hidden
from relay.contract.destination import ACCOUNT, GROUP, Destination
from relay.ports import MOST_ENTRIES, AccountRecord, Hidden, State
from relay.providers import PROVIDERS

MOST_GROUPS = 256
"""An account has at most so many message groups."""

LEAST_SECONDS, MOST_SECONDS = 2.0, 12.0
"""For how long a resumed account is watched: a batch that was under way may hide what it has once more."""

LOOK_SECONDS = 0.5

TRIES = 20

_HOLD = "SET held = :why, held_by = :who, #version = if_not_exists(#version, :none) + :one"
_RESUME = (
    "SET #until = :none, quiet_until = :none, asked_until = :none, throttled = :none, #probe = :nobody, #ttl = :ttl, "
    "#version = if_not_exists(#version, :none) + :one, resumed = if_not_exists(resumed, :none) + :one "
    "REMOVE held, held_by, held_until"
)
_NAMES = {"#version": "version", "#ttl": "ttl"}


def destination_of(relay: Relay, name: str) -> Destination:
    """The destination of that name. Raises CommandError where it is none, or none of this stack's."""
    destination = Destination(name)
    if destination.provider not in PROVIDERS or not ACCOUNT.fullmatch(destination.account):
        raise CommandError(f"{name} is not provider/account, of one of: {', '.join(PROVIDERS)}", Exit.USAGE)
    if not relay.is_configured(destination):
        known = ", ".join(relay.settings[destination.provider].destinations)
        raise CommandError(
            f"{name} is no destination of {relay.where.stack}: add it to the parameter Destinations (now {known})",
            Exit.USAGE,
        )
    return destination


def all_known(relay: Relay) -> list[Destination]:
    """Every destination that is configured by name, and every one that has a record."""
    pages = relay.dynamodb.get_paginator("scan").paginate(
        TableName=relay.outputs["AccountsTableName"], ProjectionExpression="destination"
    )
    found = {item["destination"]["S"] for page in pages for item in page["Items"]}
    return sorted({*relay.destinations, *(Destination(name) for name in found if is_account(name))})


@dataclass(frozen=True, slots=True)
class Went:
    """How a resumed account went on: `delivering`, `refused` again, `idle` (nothing waits), or `unseen` so far."""

    how: str
    shown: int
    """Messages that need not wait any more."""
    seconds: float
    why: str = ""


class Account:
    """One destination's account. Raises what botocore raises."""

    def __init__(self, relay: Relay, destination: Destination) -> None:
        self.destination = destination
        self._relay = relay
        self._table = relay.outputs["AccountsTableName"]
        self._lane = relay.lanes[destination.provider].queue_url
        self._shown: set[str] = set()

    def read(self) -> AccountRecord:
        """All that is known of it; of version 0 where that is nothing."""
        reply = self._relay.dynamodb.get_item(TableName=self._table, Key=self._key, ConsistentRead=True)
        return read_account(self.destination, reply.get("Item", {}))

    def hold(self, why: str, who: str, until: float = 0.0) -> None:
        """Nothing is sent from the next turn on, until then in Unix seconds, or until it is resumed."""
        ends = ", held_until = :until, #ttl = :ttl" if until else " REMOVE held_until, #ttl"
        values = {":why": {"S": why}, ":who": {"S": who}, **_number(none=0, one=1)}
        if until:
            values |= _number(until=until, ttl=int(until) + KEEP_SECONDS)
        self._relay.dynamodb.update_item(
            TableName=self._table,
            Key=self._key,
            UpdateExpression=_HOLD + ends,
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues=values,
        )

    def forget(self, identities: Iterable[str], now: float) -> int:
        """What waits for that customer is taken out of the lane when it is next looked at, which is now where that can
        be: what the lane hides is shown. Returns how many messages are shown.
        """
        marks = [mark(self.destination, each, now) for each in identities]
        # The oldest are of no use any more. What another wrote meanwhile is not undone: it is tried again.
        for _ in range(TRIES):
            record = self.read()
            kept = [each for each in record.forgotten if each not in marks and moment(each) > now - KEEP_MARKS_SECONDS]
            if self._write_marks([*kept, *marks], record.version, held=bool(record.held)):
                return self.show()
        raise CommandError(f"{self.destination}: its record changes all the time; run it again")

    def _write_marks(self, marks: list[str], version: int, *, held: bool) -> bool:
        try:
            self._relay.dynamodb.update_item(
                TableName=self._table,
                Key=self._key,
                # A record that stands keeps its end, or has none while it is held.
                UpdateExpression="SET forgotten = :marks, #version = :next, #ttl = if_not_exists(#ttl, :ttl)"
                if not held
                else "SET forgotten = :marks, #version = :next",
                ConditionExpression="#version = :seen" if version else "attribute_not_exists(#version)",
                ExpressionAttributeNames={"#version": "version"} if held else _NAMES,
                ExpressionAttributeValues={
                    ":marks": {"L": [{"S": each} for each in marks]},
                    **_number(next=version + 1, **({} if held else {"ttl": int(time.time()) + KEEP_SECONDS})),
                    **(_number(seen=version) if version else {}),
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def resume(self) -> AccountRecord:
        """Nobody holds it any more, and it is asked at once, whatever it waits for. What is known of its limit
        stays.
        """
        reply = self._relay.dynamodb.update_item(
            TableName=self._table,
            Key=self._key,
            UpdateExpression=_RESUME,
            ExpressionAttributeNames={**_NAMES, "#until": "until", "#probe": "probe"},
            ExpressionAttributeValues={
                **_number(none=0, one=1, ttl=int(time.time()) + KEEP_SECONDS),
                ":nobody": {"S": ""},
            },
            ReturnValues="ALL_NEW",
        )
        return read_account(self.destination, reply["Attributes"])

    def go_on(self) -> Went:
        """Resumes it, shows what its lane hides, and watches until it goes on."""
        began = time.monotonic()
        record = self.resume()
        shown = 0
        while True:
            how, why = self._seen(record)
            # What is refused again is hidden again, and better left so.
            shown += self.show() if how != "refused" else 0
            passed = time.monotonic() - began
            is_known = how == "refused" or (how != "unseen" and (passed >= LEAST_SECONDS or not shown))
            if is_known or passed > MOST_SECONDS:
                return Went(how, shown, passed, why)
            time.sleep(LOOK_SECONDS)

    def _seen(self, resumed: AccountRecord) -> tuple[str, str]:
        record = self.read()
        if record.worked_at > resumed.worked_at:
            return "delivering", ""
        if record.state is State.OPEN and record.until > time.time():
            return "refused", record.why
        return ("unseen", "") if self._is_waiting() else ("idle", "")

    def _is_waiting(self) -> bool:
        """Whether anything is on the lane, whoever it is for."""
        return self._relay.queue(self._lane).messages > 0

    def show(self) -> int:
        """Shows what its lane hides for long, so far as that is written down. Returns how many messages."""
        shown = 0
        for hidden in self.hidden():
            if hidden.until <= time.time() or hidden.receipts[0] in self._shown:
                continue
            self._shown.add(hidden.receipts[0])
            # The first message last: with it SQS hands out the group, and none behind it must be missing then.
            for chunk in batched(reversed(hidden.receipts), MOST_ENTRIES, strict=False):
                reply = self._relay.sqs.change_message_visibility_batch(
                    QueueUrl=self._lane,
                    Entries=[
                        {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for place, receipt in enumerate(chunk)
                    ],
                )
                # The others came up by themselves, or were noted before somebody else had them.
                shown += len(reply.get("Successful", []))
        return shown

    def hidden(self) -> list[Hidden]:
        """What was hidden last of each of its message groups."""
        account = self.destination.account
        numbered = (f"{account}{GROUP}{number}" for number in range(1, MOST_GROUPS))
        groups = [account, self.destination.backfill_group, *numbered]
        keys = [{"destination": {"S": hidden_key(self.destination, each)}} for each in groups]
        return list(map(read_hidden, self._relay.items(self._table, keys)))

    @property
    def _key(self) -> dict[str, Any]:
        return {"destination": {"S": self.destination}}


def is_held(record: AccountRecord) -> bool:
    """Whether an operator holds it now."""
    return held_for(record, time.time()) > 0


def _number(**values: float) -> dict[str, Any]:
    return {f":{name}": {"N": repr(value)} for name, value in values.items()}
