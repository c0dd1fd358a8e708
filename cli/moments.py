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


def shown(at: float) -> str:
    """A moment for a table: the time if it was today, else the date, too; of this machine."""
    when = datetime.fromtimestamp(at).astimezone()
    today = datetime.now().astimezone().date()
    return f"{when:%H:%M:%S}" if when.date() == today else f"{when:%m-%d %H:%M}"


def iso(at: float) -> str:
    """A moment for programs."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
