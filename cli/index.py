"""The index of dead letters and rejects, as an operator has it. A letter is one of either."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from cli.stack import Relay
from relay.adapters.dynamodb import REJECTED, read_item, read_record, write_item
from relay.contract.destination import Destination
from relay.ports import Record

NOWHERE = Destination("")
"""A reject's destination."""


class State(StrEnum):
    """What became of a letter."""

    WAITING = "waiting"
    REDRIVEN = "redriven"
    DELIVERED = "delivered"
    """Found to be delivered since."""
    DROPPED = "dropped"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Letter:
    """A dead letter, or a reject: of `lane` REJECTED. Moments are Unix seconds; `at` is when it was given up."""

    letter: str
    lane: str = ""
    at: float = 0.0
    state: str = State.WAITING
    reason: str = ""
    destination: Destination = NOWHERE
    event_id: str = ""
    event_type: str = ""
    status: int | None = None
    attempts: int = 0
    accepted_at: float | None = None
    content_hash: str = ""
    correlation_id: str = ""
    group: str = ""
    whole_bytes: int | None = None
    """How large it is, where only its beginning was kept."""
    body: str | None = field(default=None, repr=False)
    """None in a list, and once it is settled."""
    settled_at: float | None = None
    settled_by: str = ""

    @property
    def is_reject(self) -> bool:
        # What is settled is of no lane any more; only a reject has no destination.
        return self.lane == REJECTED or not (self.lane or self.destination)

    @property
    def evidence(self) -> dict[str, Any]:
        """All but the body, as JSON-ready data; what is not known is left out."""
        known = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "body"}
        return {name: value for name, value in known.items() if value not in (None, "")}


def read_letter(item: Mapping[str, Any]) -> Letter:
    """A DynamoDB item as a letter."""
    plain = read_item(item)
    known = {each.name: plain[each.name] for each in fields(Letter) if each.name in plain}
    return Letter(**known | {"destination": Destination(known.get("destination", ""))})


class Index:
    """The letters of one stack. Raises what botocore raises."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._client = relay.dynamodb
        self._table = relay.outputs["LettersTableName"]

    def waiting(self, lane: str) -> Iterator[Letter]:
        """Those of a lane that wait, without their bodies, the oldest first. What was settled a moment ago may be
        among them.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="lane",
            KeyConditionExpression="lane = :lane",
            ExpressionAttributeValues={":lane": {"S": lane}},
        )
        for page in pages:
            yield from map(read_letter, page["Items"])

    def whole(self, letter: str) -> Letter | None:
        """With its body, as it is now; None if there is no such."""
        reply = self._client.get_item(TableName=self._table, Key={"letter": {"S": letter}}, ConsistentRead=True)
        return read_letter(reply["Item"]) if "Item" in reply else None

    def of_event(self, event_id: str) -> list[Letter]:
        """Every letter of an event, also those settled, the oldest first."""
        reply = self._client.query(
            TableName=self._table,
            IndexName="event_id",
            KeyConditionExpression="event_id = :event_id",
            ExpressionAttributeValues={":event_id": {"S": event_id}},
        )
        found = (self.whole(item["letter"]["S"]) for item in reply["Items"])
        return sorted((each for each in found if each), key=lambda each: each.at)

    def everything(self) -> Iterator[Letter]:
        """Every letter with its body: reads the whole table."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True):
            yield from map(read_letter, page["Items"])

    def states(self, letters: Iterable[str]) -> dict[str, str]:
        """The state of those that are in the index."""
        keys = [{"letter": {"S": each}} for each in dict.fromkeys(letters)]
        how = {"ProjectionExpression": "letter, #state", "ExpressionAttributeNames": {"#state": "state"}}
        found = self._relay.items(self._table, keys, **how)
        return {each["letter"]["S"]: each["state"]["S"] for each in found}

    def put(self, item: Mapping[str, Any]) -> None:
        """Writes a letter's item, of plain values, unless there is one of that name."""
        try:
            self._client.put_item(
                TableName=self._table, Item=write_item(item), ConditionExpression="attribute_not_exists(letter)"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def settle(self, letter: str, state: State, by: str, now: float) -> bool:
        """Notes what became of a letter, and keeps its body no longer. False where another has done so before."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"letter": {"S": letter}},
                UpdateExpression="SET #state = :state, settled_at = :now, settled_by = :by REMOVE lane, body",
                ConditionExpression="#state = :waiting",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":state": {"S": state},
                    ":waiting": {"S": State.WAITING},
                    ":now": {"N": f"{now:.3f}"},
                    ":by": {"S": by},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def ledger(self, event_id: str, destination: str) -> Record | None:
        """What the ledger knows of an event at a destination, as it is now."""
        reply = self._client.get_item(
            TableName=self._relay.outputs["LedgerTableName"],
            Key={"event_id": {"S": event_id}, "destination": {"S": destination}},
            ConsistentRead=True,
        )
        return read_record(reply.get("Item", {}))

    def is_delivered(self, letter: Letter) -> bool:
        """Whether the very content was delivered since: then it must not go again."""
        if letter.is_reject or not letter.content_hash:
            return False
        record = self.ledger(letter.event_id, letter.destination)
        return record is not None and record.state == "delivered" and record.content_hash == letter.content_hash
