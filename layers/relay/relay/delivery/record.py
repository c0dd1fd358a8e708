"""What the ledger remembers of an event between attempts, and what the next attempt makes of it."""

from copy import replace

from relay.ports import Failure, Record

MOST_NAMED = 20
"""How many given-up messages, claimants, and replaced contents, of one event its record names, the newest."""


def resume(record: Record, before: Record | None, crashes: int) -> Record:
    """The record of an attempt that begins, with what earlier ones left. Old failures count against the same content
    only, and only while it is under way: redriven, or sent again, an event begins anew.

    | it keeps                     | of its own, under way | its own, ended | another, under way | another, ended |
    |------------------------------|-----------------------|----------------|--------------------|----------------|
    | attempts, unknowns           | yes                   | yes            | no                 | no             |
    | strikes, blame, last reason  | yes                   | no             | no                 | no             |
    | since when it fails          | yes                   | no             | yes                | no             |
    | what was delivered, given up | yes                   | yes            | yes                | yes            |
    | claimants but its own        | yes                   | yes            | yes                | yes            |
    """
    if before is None:
        return replace(record, unknowns=crashes) if crashes else record
    same, under_way = before.content_hash == record.content_hash, before.state in ("claimed", "open")
    again = same and under_way
    return replace(
        record,
        attempts=(before.attempts if same else 0) + crashes,
        failure=before.failure if again else Failure(failed_at=before.failure.failed_at if under_way else 0.0),
        unknowns=(before.unknowns if same else 0) + crashes,
        reason=before.reason if again else "",
        claimants=tuple(dict.fromkeys(each for each in before.claimants if each != record.message_id))[-MOST_NAMED:],
        given_up=before.given_up,
        delivered_hash=before.delivered_hash if _is_certain(before, crashes) else "",
        delivered_version=before.delivered_version,
        replaced=before.replaced,
    )


def _is_certain(before: Record, crashes: int) -> bool:
    """Whether the provider holds what was delivered last: a crash may have sent another content since, and of several
    only the last one's is known.
    """
    return not crashes or (crashes == 1 and before.content_hash == before.delivered_hash)


def delivered(record: Record) -> Record:
    """The record of an attempt whose event the provider took."""
    replaced = (*record.replaced, record.delivered_hash) if record.delivered_hash else record.replaced
    return replace(
        record,
        attempts=record.attempts + 1,
        failure=replace(record.failure, failed_at=0.0) if record.failure.failed_at else record.failure,
        claimants=(),
        delivered_hash=record.content_hash,
        delivered_version=max(record.delivered_version, record.version),
        replaced=tuple(each for each in replaced if each != record.content_hash)[-MOST_NAMED:],
    )


def given_up(record: Record) -> Record:
    """The record of an attempt whose message ended as a dead letter."""
    return replace(record, given_up=(*record.given_up, record.message_id)[-MOST_NAMED:])
