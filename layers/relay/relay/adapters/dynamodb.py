"""The three tables.

The ledger: one item per event and destination. Proof of delivery, and the log of what happened to an event.

Key: `event_id` (partition) and `destination` (sort), so that one query tells an event's whole fate. Nothing personal is
kept but the producer's own event id.

The accounts: one item per destination. The letters: one item per dead letter or reject, with its body: personal, and
kept no longer than the message in its queue.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import replace
from dataclasses import asdict, fields
from decimal import Decimal
from itertools import accumulate, batched, groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from relay.errors import UnavailableError
from relay.ports import (
    OPERATORS,
    AccountRecord,
    Claim,
    DeadLetter,
    Failure,
    Hidden,
    Record,
    RejectedRecord,
    State,
    Window,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEEP_SECONDS = 30 * 86_400
"""How long a record is kept after its last write: longer than any queue keeps a message."""

KEEP_LETTERS_SECONDS = 15 * 86_400
"""How long a letter is kept: a day longer than its message in a queue."""

LONGEST_BODY = 300_000
"""Bytes of a letter's body, at most: an item takes 400 KB. No event is so large."""

REJECTED = "rejected"
"""What rejects have in place of a lane."""

HIDDEN_KEEP_SECONDS = 86_400
"""How long it is kept what was hidden, after it came up by itself."""

TICKS = 10_000
"""In a second: how finely an account's turns are kept. `schedule` finds a turn again by its moment, to 0.1 ms."""

_CLAIM = (
    "SET content_hash = :content_hash, #version = :version, #state = :claimed, #owner = :owner, "
    "message_id = :message_id, lease_until = :lease_until, accepted_at = :accepted_at, #ttl = :ttl, "
    "claims = if_not_exists(claims, :none) + :one, "
    "claimants = list_append(if_not_exists(claimants, :nobody), :me), "
    "state_before = if_not_exists(#state, :new), hash_before = if_not_exists(content_hash, :new)"
)
_FREE = "(#state = :open OR #state = :given_up OR (#state = :claimed AND lease_until < :now))"
_SAME = "content_hash = :content_hash"
_NEW = "attribute_not_exists(event_id)"
_NOT_ENDED = "NOT contains(given_up, :message_id)"
_IF_SAME = f"{_NEW} OR ({_NOT_ENDED} AND {_SAME} AND {_FREE})"
_LATER = "delivered_version < :version"
_IF_OVERRIDES = f"{_NEW} OR ({_NOT_ENDED} AND ({_FREE} OR (#state = :delivered AND (NOT {_SAME} OR {_LATER}))))"
_MINE = "#owner = :owner"

_FAILURE = tuple(each.name for each in fields(Failure) if each.name != "is_poison")
"""What an item holds of a Failure."""


class DynamoLedger:
    """Satisfies `ports.Ledger`. One write per call."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def claim(self, record: Record, *, now: float, overrides: bool) -> Claim:
        values = {
            ":content_hash": record.content_hash,
            ":version": record.version,
            ":owner": record.owner,
            ":message_id": record.message_id,
            ":lease_until": record.lease_until,
            ":accepted_at": record.accepted_at,
            ":ttl": int(now) + KEEP_SECONDS,
            ":now": now,
            ":new": "new",
            ":none": 0,
            ":one": 1,
            ":nobody": [],
            ":me": [record.message_id],
            ":claimed": "claimed",
            ":open": "open",
            ":given_up": "given_up",
        }
        if overrides:
            values[":delivered"] = "delivered"
        try:
            reply = self._client.update_item(
                TableName=self._table,
                Key=_key(record),
                UpdateExpression=_CLAIM,
                ConditionExpression=_IF_OVERRIDES if overrides else _IF_SAME,
                ExpressionAttributeNames={"#state": "state", "#owner": "owner", "#ttl": "ttl", "#version": "version"},
                ExpressionAttributeValues=write_item(values),
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise UnavailableError("DynamoDB", error) from None
            return _unless_ours(_item(error), record)
        except BotoCoreError as error:
            raise UnavailableError("DynamoDB", error) from None
        return Claim(granted=True, before=read_record(reply.get("Attributes", {})))

    def settle(self, record: Record) -> None:
        kept = {
            name: value
            for name, value in _flat(record).items()
            if name not in ("event_id", "destination", "lease_until") and value not in (None, "", ())
        }
        names = {f"#{index}": name for index, name in enumerate(kept)}
        gone = [name for name in ("status", "reason", "delivered_hash", "claimants") if name not in kept]
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(record),
                UpdateExpression="SET "
                + ", ".join(f"#{index} = :{index}" for index in range(len(kept)))
                + (f" REMOVE {', '.join(f'#gone{index}' for index in range(len(gone)))}" if gone else ""),
                ConditionExpression=_MINE,
                ExpressionAttributeNames=names
                | {f"#gone{index}": name for index, name in enumerate(gone)}
                | {"#owner": "owner"},
                ExpressionAttributeValues=write_item(
                    {f":{index}": value for index, value in enumerate(kept.values())} | {":owner": record.owner}
                ),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise UnavailableError("DynamoDB", error) from None
        except BotoCoreError as error:
            raise UnavailableError("DynamoDB", error) from None


class DynamoAccounts:
    """Satisfies `ports.Accounts`. One item per destination, its `windows` as JSON; what is an operator's beside them.
    What is hidden has items of its own, see `hidden_key`.
    """

    def __init__(self, client: "DynamoDBClient", table: str, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = table
        self._now = now

    def write(self, record: AccountRecord) -> AccountRecord | None:
        # By the clock, not by the record: what is never sent to, because it is held, must not be forgotten for that.
        kept = _account_item(record)
        if not record.held or record.held_until:
            # Who is held until somebody ends it stays held, whether or not an event comes meanwhile.
            kept["ttl"] = int(max(self._now(), record.held_until)) + KEEP_SECONDS
        values = {f":{name}": value for name, value in kept.items()}
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"destination": {"S": record.destination}},
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in kept),
                ConditionExpression="#version = :seen" if record.version > 1 else "attribute_not_exists(#version)",
                ExpressionAttributeNames={f"#{name}": name for name in kept},
                ExpressionAttributeValues=write_item(
                    values | ({":seen": record.version - 1} if record.version > 1 else {})
                ),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise UnavailableError("DynamoDB", error) from None
            stands = read_account(record.destination, _item(error))
            # Our own: the reply to the first try was lost, and botocore tried again.
            return None if stands.writer == record.writer else stands
        except BotoCoreError as error:
            raise UnavailableError("DynamoDB", error) from None
        return None

    def note(self, hidden: Hidden) -> None:
        values = {":receipts": hidden.receipts, ":until": hidden.until, ":ttl": int(hidden.until) + HIDDEN_KEEP_SECONDS}
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"destination": {"S": hidden_key(hidden.destination, hidden.group)}},
                UpdateExpression="SET receipts = :receipts, #until = :until, #ttl = :ttl",
                ExpressionAttributeNames={"#until": "until", "#ttl": "ttl"},
                ExpressionAttributeValues=write_item(values),
            )
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError("DynamoDB", error) from None


def hidden_key(destination: str, group: str) -> str:
    """Where it is written down what is hidden of a group. With a space in it, it is never a destination."""
    return f"{destination} {group}"


def is_account(key: str) -> bool:
    """Whether the item of that key is an account's: what is hidden of its groups lies beside it."""
    return " " not in key


def read_hidden(item: Mapping[str, Any]) -> Hidden:
    """A DynamoDB item as what is hidden of a group."""
    plain = read_item(item)
    destination, _, group = str(plain["destination"]).partition(" ")
    return Hidden(destination, group, tuple(map(str, plain["receipts"])), float(plain["until"]))


class DynamoLetters:
    """Satisfies `ports.Letters`.

    Key: `letter`. Index `lane` (`lane`, `at`) has those that wait, without their bodies; index `event_id` all of an
    event's. `state` is `waiting` until an operator's command says what became of it.
    """

    def __init__(self, client: "DynamoDBClient", table: str, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = table
        self._now = now

    def keep(self, letters: Sequence[DeadLetter | RejectedRecord]) -> None:
        now = self._now()
        items = {each.letter: letter_item(each, now) for each in letters}
        try:
            reply = self._client.batch_write_item(
                RequestItems={self._table: [{"PutRequest": {"Item": write_item(item)}} for item in items.values()]}
            )
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError("DynamoDB", error) from None
        if reply.get("UnprocessedItems"):
            raise UnavailableError("DynamoDB", code="UnprocessedItems")


def letter_item(letter: DeadLetter | RejectedRecord, now: float) -> dict[str, Any]:
    """A letter's item, of plain values; what is not known is left out. `now`: Unix seconds, when it was given up."""
    known = {
        each.name: getattr(letter, each.name)
        for each in fields(letter)
        if each.name != "deduplication_id" and getattr(letter, each.name) not in (None, "")
    }
    body = letter.body.encode()
    if len(body) > LONGEST_BODY:
        known |= {"whole_bytes": len(body), "body": body[:LONGEST_BODY].decode("utf-8", "ignore")} | (
            {"whole_bytes": letter.whole_bytes} if isinstance(letter, RejectedRecord) and letter.whole_bytes else {}
        )
    lane = letter.destination.provider if isinstance(letter, DeadLetter) else REJECTED
    return {name: str(value) if isinstance(value, str) else value for name, value in known.items()} | {
        "letter": letter.letter,
        "lane": lane,
        "at": round(now, 3),
        "state": "waiting",
        "ttl": int(now) + KEEP_LETTERS_SECONDS,
    }


def _account_item(record: AccountRecord) -> dict[str, Any]:
    kept = {
        each.name: _rounded(getattr(record, each.name))
        for each in fields(record)
        if each.name not in ("destination", *OPERATORS)
    }
    windows = json.dumps([_compact(window) for window in record.windows], separators=(",", ":"))
    return kept | {"windows": windows, "state": str(record.state)}


def read_account(destination: str, item: Mapping[str, Any]) -> AccountRecord:
    """A DynamoDB item as an account's record; one of version 0 for no item."""
    plain = read_item(item)
    known = {each.name: plain[each.name] for each in fields(AccountRecord) if each.name in plain}
    windows = tuple(_window(window) for window in json.loads(known.pop("windows", "[]")))
    state = State(known.pop("state", State.CLOSED))
    return AccountRecord(**{**known, "destination": destination, "windows": windows, "state": state})


def _compact(window: Window) -> dict[str, Any]:
    """What is not as in a fresh window; its turns as the first moment, and the ticks from each to the next. What
    several in a row stand for is told once: so many, so often.
    """
    given = {each.name: _rounded(getattr(window, each.name)) for each in fields(window)}
    told = {each.name: given[each.name] for each in fields(window) if given[each.name] != each.default}
    ticks = [round(at * TICKS) for at, _ in window.turns]
    runs = [number for count, some in groupby(window.turns, itemgetter(1)) for number in (count, len([*some]))]
    steps = {"turns": [later - earlier for earlier, later in pairwise([0, *ticks])]} if ticks else {}
    return told | steps | ({"runs": runs} if any(count > 1 for _, count in window.turns) else {})


def _window(kept: Mapping[str, Any]) -> Window:
    known = {each.name: kept[each.name] for each in fields(Window) if each.name in kept}
    ticks: Iterable[int] = accumulate(kept.get("turns", ()))
    # Before, each count was written.
    runs = kept.get("runs") or [number for count in kept.get("counts", ()) for number in (count, 1)]
    runs = runs or [1, len(kept.get("turns", ()))]
    counts = [count for count, often in batched(runs, 2, strict=True) for _ in range(often)]
    return Window(**{**known, "turns": tuple(zip((tick / TICKS for tick in ticks), counts, strict=True))})


def _rounded(value: Any) -> Any:
    # More digits are none that anybody needs, and DynamoDB takes no number below 1E-130.
    return round(value, 4) if isinstance(value, float) else value


def _unless_ours(item: dict[str, Any], record: Record) -> Claim:
    before = read_record(item)
    if before is None or before.owner != record.owner:
        return Claim(granted=False, before=before)
    # Our own: the reply to the first try was lost, and botocore tried again. The item remembers what stood before.
    state, content_hash = (_plain(item[name]) for name in ("state_before", "hash_before"))
    stood = replace(
        before, state=state, content_hash=content_hash, claims=before.claims - 1, claimants=before.claimants[:-1]
    )
    return Claim(granted=True, before=None if state == "new" else stood)


def read_record(item: Mapping[str, Any]) -> Record | None:
    """A DynamoDB item as a record; None for no item."""
    if not item:
        return None
    plain = read_item(item)
    known = {field.name for field in fields(Record)} & plain.keys()
    record = Record(**{name: plain[name] for name in known})
    failure = Failure(**{name: plain[name] for name in _FAILURE if name in plain})
    return replace(record, failure=failure)


def _flat(record: Record) -> dict[str, Any]:
    """A record as the item's attributes: its failure's beside its own."""
    values = asdict(record)
    failure = values.pop("failure")
    return values | {name: failure[name] for name in _FAILURE}


def _item(error: ClientError) -> dict[str, Any]:
    # Beside "Error", botocore keeps what ReturnValuesOnConditionCheckFailure asked for; its types do not know it.
    found: Any = error.response.get("Item", {})
    return dict(found)


def _key(record: Record) -> dict[str, Any]:
    return {"event_id": {"S": record.event_id}, "destination": {"S": record.destination}}


def read_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """What DynamoDB gives, as plain values."""
    return {name: _plain(value) for name, value in item.items()}


def write_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as DynamoDB takes them."""
    return {name: _typed(value) for name, value in values.items()}


# boto3 has a serializer of its own, for every type; with it comes all that it needs to upload files to S3.


def _plain(typed: Mapping[str, Any]) -> Any:
    [(kind, value)] = typed.items()
    match kind:
        case "N":
            number = Decimal(value)
            return int(number) if number == number.to_integral_value() else float(number)
        case "L":
            return tuple(map(_plain, value))
        case "NULL":
            return None
        case "S" | "BOOL" | "B":
            return value
        case _:
            raise TypeError(f"{kind} is no kind of value that is written here")


def _typed(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": str(value)}
        case float() if math.isfinite(value):
            return {"N": str(Decimal(repr(value)))}
        case list() | tuple():
            return {"L": [_typed(each) for each in value]}
        case _:
            raise TypeError(f"{type(value).__name__} has no place in an item")
