"""What a provider allows an account, and what its replies say of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DAY = 86_400.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a provider allows an account: `requests` in each `window` of seconds."""

    requests: int
    window: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What one reply said of the account's budget. None: not said, or not believable. `reset_after` is in seconds."""

    limit: int | None = None
    remaining: int | None = None
    reset_after: float | None = None
    retry_after: float | None = None


def read_count(text: str | None, most: int = 1_000_000) -> int | None:
    """A header's whole number from 0 to `most`, else None."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= most else None


def read_wait(text: str | None, headers: Mapping[str, str], now: float) -> float | None:
    """A header's wait in seconds, given as seconds or as an HTTP or ISO 8601 date; None for anything not believable.

    A date is taken against the reply's own `Date`, so that a skewed clock on either side does not matter. Zero, past
    and negative waits and those beyond a day say nothing.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        moment = _read_date(text)
        if moment is None:
            return None
        sent = _read_date(headers.get("date", ""))
        seconds = moment - (sent if sent is not None else now)
    return seconds if 0 < seconds <= DAY else None


def _read_date(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
