"""Moments and spans as a person writes and reads them."""

import re
import time
from datetime import UTC, datetime

from cli.command import CommandError, Exit

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def span(text: str) -> float:
    """Seconds in `90s`, `15m`, `2h`, `3d`. Raises CommandError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not found:
        raise CommandError(f"{text!r} is no span of time: write 90s, 15m, 2h or 3d", Exit.USAGE)
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str) -> float:
    """Unix seconds of an ISO date or time (without an offset: of this machine), or so long ago. Raises CommandError."""
    if re.fullmatch(r"\d+(?:\.\d+)?[smhd]", text.strip()):
        return time.time() - span(text)
    try:
        said = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CommandError(f"{text!r} is no moment: write 2h, 2026-11-29 or 2026-11-29T22:40", Exit.USAGE) from None
    return said.timestamp()


def shown(at: float, now: float | None = None, *, to_the_minute: bool = False) -> str:
    """A moment for a table: the time if it is today, else the date, too; of this machine.

    `to_the_minute`: of the nearest one.
    """
    when = datetime.fromtimestamp(at + 30 if to_the_minute else at).astimezone()
    today = datetime.fromtimestamp(time.time() if now is None else now).astimezone().date()
    if when.date() != today:
        return f"{when:%m-%d %H:%M}"
    return f"{when:%H:%M}" if to_the_minute else f"{when:%H:%M:%S}"


def zone(at: float) -> str:
    """What this machine calls its own time."""
    return f"{datetime.fromtimestamp(at).astimezone():%Z}"


def lasting(seconds: float) -> str:
    """A span in its two largest units: `0.4s`, `12s`, `3m25`, `2h04`, `5d3h`."""
    if seconds < 9.95 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"


def iso(at: float) -> str:
    """A moment for programs."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_if(at: float | None) -> str | None:
    """The same, None for no moment."""
    return iso(at) if at else None
