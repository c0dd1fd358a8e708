"""What a provider allows an account, and what its replies say of it."""

import re
from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DAY = 86_400.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_EPOCH = re.compile(r"[0-9]{10}(\.[0-9]{1,9})?|[0-9]{13}")
_WINDOW = re.compile(r"\s*([0-9]{1,9})\s*;\s*w=([0-9]{1,9})\s*(?:;[^;,]{1,64})*", re.ASCII)
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


def read_prefixed(headers: Mapping[str, str], prefix: str, now: float) -> tuple[Quota, ...]:
    """What the headers `<prefix>-limit`, `-remaining` and `-reset` say: of the only window, or of that with this limit;
    or of each that `-limit` lists behind the limit that `-remaining` and `-reset` are of, as the IETF's older drafts
    have it (`350, 350;w=1, 3500;w=60`).
    """
    text = headers.get(f"{prefix}-limit") or ""
    said = Quota(
        limit=read_count(text, most=100_000),
        remaining=read_count(headers.get(f"{prefix}-remaining")),
        reset_after=read_wait(headers.get(f"{prefix}-reset"), headers, now),
    )
    windows = _read_windows(text) if "," in text else {}
    if not windows:
        return (said,)
    # Of the window whose limit is named first; but if more is left than that, of the next one that has room for it.
    least = max(read_count(text.partition(",")[0]) or 0, said.remaining or 0)
    of = min((limit for limit in windows.values() if limit >= least), default=None)
    return tuple(
        replace(said, limit=limit, window=window) if limit == of else Quota(limit, window=window)
        for window, limit in windows.items()
    )


def read_quotas(headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """What `RateLimit-Policy` and `RateLimit` say of each window (draft-ietf-httpapi-ratelimit-headers)."""
    left = _read_items(headers.get("ratelimit", ""))
    said = (
        Quota(
            limit=read_count(policy.get("q")),
            remaining=read_count(left.get(name, {}).get("r")),
            reset_after=read_wait(left.get(name, {}).get("t"), headers, 0.0),
            window=read_wait(policy.get("w"), headers, 0.0),
        )
        for name, policy in _read_items(headers.get("ratelimit-policy", "")).items()
    )
    return tuple(quota for quota in said if quota != Quota(window=quota.window))


def _read_windows(text: str) -> dict[float, int]:
    """The limit of each window listed behind the first limit, if these are several and nothing else is there."""
    first, *listed = text[:1024].split(",")
    found = [_WINDOW.fullmatch(part) for part in listed]
    windows = {float(each[2]): int(each[1]) for each in found if each and 0 < float(each[2]) <= DAY}
    is_whole = read_count(first) is not None and 1 < len(windows) == len(found)
    return windows if is_whole and all(0 < limit <= 100_000 for limit in windows.values()) else {}


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
