"""What a provider allows an account, and what its replies say of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DAY = 86_400.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_EPOCH = re.compile(r"[0-9]{10}(\.[0-9]{1,9})?|[0-9]{13}")
_POLICY = re.compile(r'\s*(?:"([^"]{0,64})"|([A-Za-z0-9_.*-]{1,64}))\s*((?:;\s*[a-z]+=[^;,]{1,32})*)\s*', re.ASCII)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a provider allows an account: `requests` in each `window` of seconds."""

    requests: int
    window: float


@dataclass(frozen=True, slots=True)
class Terms:
    """How an account may be sent to: its `limits`, the shortest window first; `backoff`, seconds to stay away after a
    first 429 that names no moment (None: as long as two requests take); how many `groups` of it are delivered side by
    side; and how many requests it takes at the same time.
    """

    limits: tuple[Limit, ...]
    backoff: float | None = None
    groups: int = 1
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What one reply said of one window. None: not said, or not believable. Times are in seconds; `window` None: it did
    not say which, so it speaks of the only one.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_after: float | None = None
    window: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What one reply said of the account's budget: a quota for each window it speaks of, and how many seconds to stay
    away.
    """

    quotas: tuple[Quota, ...] = ()
    retry_after: float | None = None


def read_count(text: str | None, most: int = 1_000_000) -> int | None:
    """A header's whole number from 0 to `most`, else None."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= most else None


def read_wait(text: str | None, headers: Mapping[str, str], now: float) -> float | None:
    """A header's wait in seconds, given as seconds, as a Unix time (in seconds or milliseconds), or as an HTTP or ISO
    8601 date; None for anything not believable.

    A date is taken against the reply's own `Date`, so that a skewed clock on either side does not matter. Zero, past
    and negative waits and those beyond a day say nothing.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        moment = _read_moment(text)
        if moment is None:
            return None
        sent = _read_date(headers.get("date", ""))
        seconds = moment - (sent if sent is not None else now)
    return seconds if 0 < seconds <= DAY else None


def read_quota(headers: Mapping[str, str], prefix: str, now: float) -> Quota:
    """What the headers `<prefix>-limit`, `-remaining` and `-reset` say of the only window."""
    return Quota(
        limit=read_count(headers.get(f"{prefix}-limit"), most=100_000),
        remaining=read_count(headers.get(f"{prefix}-remaining")),
        reset_after=read_wait(headers.get(f"{prefix}-reset"), headers, now),
    )


def read_quotas(headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """What `RateLimit-Policy` and `RateLimit` say of each window (draft-ietf-httpapi-ratelimit-headers)."""
    left = _read_items(headers.get("ratelimit", ""))
    return tuple(
        Quota(
            limit=read_count(policy.get("q")),
            remaining=read_count(left.get(name, {}).get("r")),
            reset_after=read_wait(left.get(name, {}).get("t"), headers, 0.0),
            window=read_wait(policy.get("w"), headers, 0.0),
        )
        for name, policy in _read_items(headers.get("ratelimit-policy", "")).items()
    )


def _read_items(text: str) -> dict[str, dict[str, str]]:
    """The parameters of each item of a list, by the item's name: `"burst";q=350;w=1, "steady";q=3500;w=60`."""
    items = {}
    for part in text[:1024].split(","):
        if found := _POLICY.fullmatch(part):
            pairs = (pair.partition("=") for pair in found[3].split(";") if pair.strip())
            items[found[1] or found[2] or ""] = {name.strip(): value.strip() for name, _, value in pairs}
    return items


def _read_moment(text: str) -> float | None:
    if _EPOCH.fullmatch(text):
        moment = float(text)
        return moment / 1000 if moment > 1e11 else moment
    return _read_date(text)


def _read_date(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
