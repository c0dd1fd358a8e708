"""Customers who are to be forgotten: what waits for them in a lane is taken out of it, and sent nowhere.

An account's record holds a mark for each, which an operator put there: what stands for one way the customer is named,
and when. What was accepted later is an event like any other.
"""

import hashlib
from collections.abc import Collection

KEEP_SECONDS = 15 * 86_400
"""How long a mark is of use: no queue keeps a message longer than 14 days."""


def mark(destination: str, identity: str, now: float) -> str:
    """The mark for one of a customer's `identities`, made at Unix second `now`."""
    return f"{_stands_for(destination, identity)} {now:.3f}"


def moment(mark: str) -> float:
    """When a mark was made, in Unix seconds."""
    return float(mark.partition(" ")[2])


def is_marked(marks: Collection[str], destination: str, identities: Collection[str], accepted_at: float) -> bool:
    """Whether the customer of an event, accepted at that Unix second, was to be forgotten since."""
    if not marks:
        return False
    theirs = {_stands_for(destination, identity) for identity in identities}
    return any(each.partition(" ")[0] in theirs and accepted_at <= moment(each) for each in marks)


def _stands_for(destination: str, identity: str) -> str:
    return hashlib.sha256(f"{destination} {identity}".encode()).hexdigest()[:32]
