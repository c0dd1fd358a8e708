"""Whether an account is asked at all: closed, open or half-open, in its record, for all environments at once.

A plain policy: arguments in, record out. All moments are Unix seconds.
"""

from copy import replace

from relay.ports import AccountRecord, State

PROBE_SECONDS = 35.0
"""How long a probe has time: an invocation, and a margin. One that died is followed by another."""

LOOK_SECONDS = 5.0
"""After which others look whether a probe is over."""

FIRST_SECONDS = 12.0
"""For so long a batch that has other events may probe before one that has only such as were turned away."""

HELD_LOOK_SECONDS = 60.0
"""After which it is seen whether an operator still holds the account, at the latest."""


def admit(record: AccountRecord, me: str, now: float, *, suspect: bool = False) -> tuple[float, AccountRecord]:
    """Whether `me` may send: the seconds until it is worth asking again, zero if it may, and the record with me as its
    probe where it is time for one and nobody else is. `suspect`: all it has was turned away before.
    """
    wait = denied_for(record, me, now, suspect=suspect)
    if wait or record.state is State.CLOSED:
        return wait, record
    return 0.0, replace(record, state=State.HALF_OPEN, until=now + PROBE_SECONDS, probe=me)


def denied_for(record: AccountRecord, me: str, now: float, *, suspect: bool = False) -> float:
    """Seconds until it is worth asking again; zero where `me` may send, or be the probe. Who is `suspect` lets the
    others probe first.
    """
    if held := held_for(record, now):
        return held
    left = max(0.0, record.until - now)
    match record.state:
        case State.OPEN:
            return left if not suspect else max(0.0, record.until + FIRST_SECONDS - now)
        case State.HALF_OPEN if record.probe != me:
            return min(left, LOOK_SECONDS)
    return 0.0


def wait_for(record: AccountRecord, me: str) -> AccountRecord:
    """An open account's record with me as one who waits to probe it: I have history, a group beside the one that all
    live events may be in, and of these one that never gets through might be the first to ask each time.
    """
    return replace(record, probe=me) if record.state is State.OPEN else record


def is_waited_for(record: AccountRecord) -> bool:
    """Whether somebody with history waits for an open account."""
    return record.state is State.OPEN and bool(record.probe)


def held_for(record: AccountRecord, now: float) -> float:
    """Seconds after which to look whether an operator still holds the account; zero where nobody does any more."""
    if not record.held:
        return 0.0
    return min(max(0.0, record.held_until - now), HELD_LOOK_SECONDS) if record.held_until else HELD_LOOK_SECONDS


def trip(record: AccountRecord, seconds: float, why: str, now: float) -> AccountRecord:
    """It does not work: the record, open for so long."""
    return replace(record, state=State.OPEN, until=now + seconds, why=why, since=record.since or now, probe="")


def reset(record: AccountRecord) -> AccountRecord:
    """It works: the record, closed."""
    return replace(record, state=State.CLOSED, until=0.0, why="", since=0.0, probe="")
