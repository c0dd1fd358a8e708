"""What is remembered of an event between attempts, and what a new attempt makes of it."""

from dataclasses import replace

from relay.ports import Record

REMEMBERED = 20
"""How many given-up messages, and replaced contents, of one event its record names, the newest."""


def resume(record: Record, before: Record | None, crashes: int) -> Record:
    """The record of an attempt that begins, with what earlier ones left. Old failures count against the same content
    only, and only while it is under way: redriven, or sent again, an event begins anew.
    """
    if before is None:
        return replace(record, unknowns=crashes)
    same, under_way = before.content_hash == record.content_hash, before.state in ("claimed", "open")
    again = same and under_way
    # A crash may have sent another content since, and of several only the last one's is known.
    certain = not crashes or (crashes == 1 and before.content_hash == before.delivered_hash)
    return replace(
        record,
        attempts=(before.attempts if same else 0) + crashes,
        strikes=before.strikes if again else 0,
        blame=before.blame if again else 0.0,
        failed_at=before.failed_at if under_way else 0.0,
        last_failed_at=before.last_failed_at if again else 0.0,
        unknowns=(before.unknowns if same else 0) + crashes,
        reason=before.reason if again else "",
        given_up=before.given_up,
        delivered_hash=before.delivered_hash if certain else "",
        delivered_version=before.delivered_version,
        replaced=before.replaced,
    )
