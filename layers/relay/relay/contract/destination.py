"""A destination: a provider's account, written `provider/account`."""

import hashlib
import re
from collections.abc import Callable, Collection
from functools import lru_cache

ACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,64}")

KNOWN = 1_000
"""How many accounts one environment knows, those it had last. Idle, one takes 4 KB; busy at sixty a minute, 80."""

GROUP = "#"
"""Between an account and the number of one of its several groups."""

BACKFILL = f"{GROUP}backfill"
"""Behind an account: the message group of its history, beside those of its live events."""

ANY = "*"
"""In place of an account: every account of the provider. Whether it has a secret is seen when it is delivered to."""


class Destination(str):
    """`provider/account`, as text and in its parts; `provider/*` is any account of the provider."""

    __slots__ = ()

    @classmethod
    def of(cls, provider: str, account: str) -> "Destination":
        return cls(f"{provider}/{account}")

    @property
    def provider(self) -> str:
        return self.partition("/")[0]

    @property
    def account(self) -> str:
        """Empty where there is none."""
        return self.partition("/")[2]

    def group(self, line: str, groups: int) -> str:
        """The message group, of so many, of all that stands in that line; the first has the account's name."""
        number = int.from_bytes(hashlib.sha256(line.encode()).digest()[:8]) % groups
        return f"{self.account}{GROUP}{number}" if number else self.account

    @property
    def backfill_group(self) -> str:
        """The message group of all its history: what waits in it holds up no live event."""
        return f"{self.account}{BACKFILL}"

    def is_configured(self, configured: Collection[str]) -> bool:
        """Whether a stack with these destinations has this one: by its name, or as one of any."""
        return bool(ACCOUNT.fullmatch(self.account)) and (
            self in configured or Destination.of(self.provider, ANY) in configured
        )


def account_of(group: str) -> str:
    """The account whose message group it is."""
    return group.partition(GROUP)[0]


def is_backfill(group: str) -> bool:
    """Whether it is the message group of an account's history."""
    return group.endswith(BACKFILL)


def recent[T](make: Callable[[Destination], T], most: int = KNOWN) -> Callable[[str], T]:
    """What there is for each destination, made when first asked for; kept for the `most` that were asked for last.

    An account that is forgotten is met again as a new environment meets it, which may have it next at any time.
    """
    kept = lru_cache(maxsize=most)(lambda name: make(Destination(name)))
    # By plain text: lru_cache would keep a name and the same name as a Destination apart.
    return lambda name: kept(str(name))
