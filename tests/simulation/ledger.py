"""The ledger's table in memory.

Mirrors, in `relay/adapters/dynamodb.py`: the claim's update `_CLAIM` and its conditions `_IF_SAME` and `_IF_OVERRIDES`
(of the clauses `_NEW`, `_NOT_ENDED`, `_FREE`, `_SAME`, `_LATER`), ALL_OLD on success and on a failed condition, what an
item remembers of the state before its claim, settle's condition `_MINE`, its rule that absent values are not written,
and its removal of an old `status`, `reason`, `delivered_hash` and `claimants`.
"""

from copy import replace

from relay.ports import OPERATORS, AccountRecord, Claim, Hidden, Record


class Clauses:
    """What the conditions ask of the record that stands (`before`), one by one: each can be broken by itself."""

    @staticmethod
    def is_new(before: Record | None, record: Record, now: float) -> bool:
        return before is None

    @staticmethod
    def is_not_ended(before: Record, record: Record, now: float) -> bool:
        return record.message_id not in before.given_up

    @staticmethod
    def is_same(before: Record, record: Record, now: float) -> bool:
        return before.content_hash == record.content_hash

    @staticmethod
    def is_open(before: Record, record: Record, now: float) -> bool:
        return before.state == "open"

    @staticmethod
    def is_given_up(before: Record, record: Record, now: float) -> bool:
        return before.state == "given_up"

    @staticmethod
    def is_claimed(before: Record, record: Record, now: float) -> bool:
        return before.state == "claimed"

    @staticmethod
    def is_over(before: Record, record: Record, now: float) -> bool:
        return before.lease_until < now

    @staticmethod
    def is_delivered(before: Record, record: Record, now: float) -> bool:
        return before.state == "delivered"

    @staticmethod
    def is_later(before: Record, record: Record, now: float) -> bool:
        # An item without a version has no attribute to compare.
        return before.delivered_version != "" and before.delivered_version < record.version

    @staticmethod
    def is_mine(before: Record, record: Record, now: float) -> bool:
        return before.owner == record.owner


class Table:
    """Items by (event id, destination). Each method is one atomic conditional write."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Record] = {}
        self._before: dict[tuple[str, str], Record | None] = {}

    def claim(self, record: Record, now: float, overrides: bool) -> Claim:
        key = (record.event_id, record.destination)
        before = self.items.get(key)
        if before is not None and before.owner == record.owner:
            return Claim(granted=True, before=self._before[key])
        if not self._may_claim(before, record, now, overrides):
            return Claim(granted=False, before=before)
        self._before[key] = before
        self.items[key] = replace(
            before or Record(record.event_id, record.destination, record.content_hash, "claimed"),
            content_hash=record.content_hash,
            version=record.version,
            state="claimed",
            owner=record.owner,
            message_id=record.message_id,
            lease_until=record.lease_until,
            accepted_at=record.accepted_at,
            claims=(before.claims if before else 0) + 1,
            claimants=(*(before.claimants if before else ()), record.message_id),
        )
        return Claim(granted=True, before=before)

    @staticmethod
    def _may_claim(before: Record | None, record: Record, now: float, overrides: bool) -> bool:
        if Clauses.is_new(before, record, now):
            return True
        if before is None or not Clauses.is_not_ended(before, record, now):
            return False
        given = (before, record, now)
        left = Clauses.is_claimed(*given) and Clauses.is_over(*given)
        free = Clauses.is_open(*given) or Clauses.is_given_up(*given) or left
        if overrides:
            updates = not Clauses.is_same(*given) or Clauses.is_later(*given)
            return free or (Clauses.is_delivered(*given) and updates)
        return free and Clauses.is_same(*given)

    def settle(self, record: Record) -> bool:
        """Whether it was written: not if somebody else has taken the record since."""
        key = (record.event_id, record.destination)
        before = self.items.get(key)
        if before is None or not Clauses.is_mine(before, record, 0.0):
            return False
        self.items[key] = replace(record, lease_until=before.lease_until, outcome=record.outcome or before.outcome)
        return True


class AccountsTable:
    """The accounts' table. Mirrors `DynamoAccounts`: the condition of `write`, what it leaves to operators, and what
    `note` keeps; and what operators do (cli/accounts.py).
    """

    def __init__(self) -> None:
        self.items: dict[str, AccountRecord] = {}
        self.hidden: dict[tuple[str, str], Hidden] = {}
        """By destination and group."""
        self.writes = 0

    def write(self, record: AccountRecord) -> AccountRecord | None:
        self.writes += 1
        stands = self.items.get(record.destination) or AccountRecord(record.destination)
        if stands.writer == record.writer:
            return None
        if stands.version != record.version - 1:
            return stands
        theirs = {name: value for name in OPERATORS if (value := getattr(stands, name)) != getattr(record, name)}
        self.items[record.destination] = replace(record, **theirs) if theirs else record
        return None

    def note(self, hidden: Hidden) -> None:
        self.hidden[hidden.destination, hidden.group] = hidden

    def hold(self, destination: str, reason: str, until: float = 0.0) -> None:
        stands = self.items.get(destination, AccountRecord(destination))
        self.items[destination] = replace(stands, held=reason, held_until=until, version=stands.version + 1)

    def resume(self, destination: str) -> None:
        stands = self.items.get(destination, AccountRecord(destination))
        self.items[destination] = replace(
            stands,
            held="",
            held_until=0.0,
            resumed=stands.resumed + 1,
            until=0.0,
            probe="",
            quiet_until=0.0,
            asked_until=0.0,
            throttled=0,
            version=stands.version + 1,
        )
