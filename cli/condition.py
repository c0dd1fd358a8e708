"""How an account is: whether it works, how fast it is sent to, and when its backlog will be gone.

Plain functions of its record; moments are Unix seconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cli.moments import iso_if, shown
from relay.account import schedule
from relay.account.breaker import held_for
from relay.contract.destination import Destination
from relay.ports import AccountRecord, Record, State, Window

AVERAGED = 10.0
"""Seconds of a shorter window's turns that its pace is the mean of."""

_UNITS = {1.0: "s", 60.0: "min", 3600.0: "h", 86_400.0: "day"}


class Kind(StrEnum):
    """Whether an account is sent to, and if not, why."""

    OK = "ok"
    THROTTLED = "throttled"
    """It answered 429; nothing until a moment. It works."""
    FAILING = "failing"
    """Its provider does not work: nothing until a moment, then a probe."""
    REFUSED = "refused"
    """Its credentials are not accepted: held by the relay, which tries again at a moment."""
    HELD = "held"
    """By an operator."""


@dataclass(frozen=True)
class Condition:
    """One destination's record. `failures`: the last records of events that did not get through."""

    destination: Destination
    record: AccountRecord
    failures: tuple[Record, ...] = field(default=(), repr=False)

    @property
    def is_known(self) -> bool:
        """Whether there is a record of it: it had an event."""
        return self.record.version > 0

    def kind(self, now: float) -> Kind:
        record = self.record
        if held_for(record, now):
            return Kind.HELD
        if record.state is State.CLOSED:
            return Kind.OK
        return {"unauthorized": Kind.REFUSED, "throttled": Kind.THROTTLED}.get(record.why, Kind.FAILING)

    def until(self, now: float) -> float | None:
        """When it is sent to again, as far as is known; None where that is now, or nobody knows."""
        if self.kind(now) is Kind.HELD:
            return self.record.held_until or None
        moment = self.record.until if self.record.state is State.OPEN else self.record.quiet_until
        return moment if moment > now else None

    @property
    def said(self) -> str:
        """What the provider answered last to what did not get through: a status, else a reason; empty where that is not
        known.
        """
        last = max(self.failures, key=lambda each: each.completed_at, default=None)
        if last is None:
            return ""
        return f"HTTP {last.status}" if last.status else last.reason

    def told(self, now: float) -> str:
        """Its state in a few words."""
        record, until = self.record, self.until(now)
        then = f", next {shown(until, now)}" if until else ", next try is due"
        if record.state is State.HALF_OPEN and self.kind(now) is not Kind.HELD:
            then = ", trying again now"
        match self.kind(now):
            case Kind.HELD:
                by = f" by {record.held_by}" if record.held_by else ""
                return f'HELD{by} "{record.held}"' + (f" until {shown(until, now)}" if until else "")
            case Kind.REFUSED:
                return f"HELD {self.said.removeprefix('HTTP ') or 'credentials refused'}{then}"
            case Kind.FAILING:
                return f"open {self.said or record.why}{then}"
            case Kind.THROTTLED:
                return f"throttled{then}"
        return f"ok, asked to wait until {shown(until, now)}" if until and until > now + 5 else "ok"

    # ---------------------------------------------------------------------------------------------------------- pace

    def tightest(self) -> Window | None:
        """The window that bounds it in the long run."""
        return min(self.record.windows, key=lambda window: window.share / window.seconds, default=None)

    def rate(self, now: float) -> float:
        """Requests a second that it is allowed in the long run."""
        return min((ours(window, now) / window.seconds for window in self.record.windows), default=0.0)

    def drained_at(self, waiting: int, now: float) -> float | None:
        """When so many events will be gone at what it is allowed; None where nothing waits, or nobody knows when it is
        sent to again.
        """
        rate, until = self.rate(now), self.until(now)
        if not waiting or not rate or (self.kind(now) is Kind.HELD and until is None):
            return None
        return max(now, until or now) + waiting / rate

    def pace(self, now: float) -> str:
        """What is used of what is allowed, and what was learned of the limit."""
        window = self.tightest()
        if window is None:
            return ""
        learned = [f"documented {window.documented}"] if window.limit != window.documented else []
        if takes := others(window, now):
            learned.append(f"others {takes}")
        if window.share < 0.995 * window.limit:
            learned.append(f"share {window.share:.3g}")
        if self.record.burst == 1:
            learned.append("evenly spaced")
        told = f"{_number(used(window, now))} of {window.limit}/{unit(window.seconds)}"
        return ", ".join((told, *learned))

    def data(self, now: float) -> dict[str, Any]:
        """All of it for programs."""
        record = self.record
        return {
            "destination": str(self.destination),
            "state": str(self.kind(now)),
            "told": self.told(now),
            "why": (record.held if self.kind(now) is Kind.HELD else self.said or record.why) or None,
            "held_by": record.held_by or None,
            "next_at": iso_if(self.until(now)),
            "since": iso_if(record.since),
            "worked_at": iso_if(record.worked_at),
            "throttled_in_a_row": record.throttled,
            "evenly_spaced": record.burst == 1,
            "windows": [
                {
                    "seconds": window.seconds,
                    "documented": window.documented,
                    "limit": window.limit,
                    "share": round(window.share, 3),
                    "others": others(window, now),
                    "used": round(used(window, now), 3),
                }
                for window in record.windows
            ],
            "allowed_per_second": round(self.rate(now), 4),
        }


def used(window: Window, now: float) -> float:
    """Turns that were used of one window, as a mean of the last AVERAGED seconds where it is shorter."""
    span = max(window.seconds, AVERAGED)
    first = window.turns[0][0] if window.turns else now
    if len(window.turns) >= schedule.MOST_KEPT and first > now - span:
        # The log holds no more: of whole windows, or a burst at one end would count for the time before it.
        span = max((now - first) // window.seconds, 1.0) * window.seconds
    return sum(count for at, count in window.turns if now - span < at <= now) * window.seconds / span


def others(window: Window, now: float) -> int:
    """What others were seen to take of it, as long as that is believed."""
    return window.others if window.others_until > now else 0


def ours(window: Window, now: float) -> float:
    """What may be used of it."""
    return max(min(window.share, float(window.limit - others(window, now))), 1.0)


def unit(length: float) -> str:
    """What a window's limit is counted by: a second, a minute, ten seconds."""
    return _UNITS.get(length) or f"{length:g} s"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"
