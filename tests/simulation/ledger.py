"""The ledger's table in memory.

Mirrors, in `relay/ledger.py`: the claim's update `_CLAIM` and its conditions `_IF_SAME` and `_IF_OVERRIDES` (what is
`_NEW`, `_NOT_ENDED`, `_FREE`, `_SAME`, `_LATER`), ALL_OLD on success and on a failed condition, what an item remembers
of the state before its claim, settle's condition on the owner, its rule that absent values are not written, and its
removal of an old `status`, `reason` and `delivered_hash`.
"""

from dataclasses import replace

from relay.ports import Claim, Record


class Table:
    """Items by (event id, destination). Each method is one atomic conditional write."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Record] = {}
        self._before: dict[tuple[str, str], Record | None] = {}
        self.quiet: dict[str, float] = {}
        """Notes by destination, in Unix seconds."""

    def claim(self, record: Record, now: float, overrides: bool) -> Claim:
        key = (record.event_id, record.destination)
        before = self.items.get(key)
        if before is not None:
            if before.owner == record.owner:
                return Claim(granted=True, before=self._before[key])
            same = before.content_hash == record.content_hash
            free = before.state in ("open", "given_up") or (before.state == "claimed" and before.lease_until < now)
            later = before.delivered_version and before.delivered_version < record.version
            granted = (free or (before.state == "delivered" and (not same or later))) if overrides else (same and free)
            if not granted or record.message_id in before.given_up:
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
        )
        return Claim(granted=True, before=before)

    def settle(self, record: Record) -> bool:
        """Whether it was written: not if somebody else has taken the record since."""
        key = (record.event_id, record.destination)
        before = self.items.get(key)
        if before is None or before.owner != record.owner:
            return False
        self.items[key] = replace(record, lease_until=before.lease_until, outcome=record.outcome or before.outcome)
        return True
