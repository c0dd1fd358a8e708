"""A destination: a provider's account, written `provider/account`."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

ACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,64}")

KNOWN = 1_000
"""How many accounts one environment knows, those it had last. Idle, one takes 4 KB; busy at sixty a minute, 80."""

ANY = "*"
"""In place of an account: every account of the provider. Whether it has a secret is seen when it is delivered to."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A provider's account. Written `provider/account`."""

    provider: str
    account: str

    @classmethod
    def parse(cls, text: str) -> "Destination":
        provider, _, account = text.partition("/")
        return cls(provider, account)

    def __str__(self) -> str:
        return f"{self.provider}/{self.account}"


def is_configured(name: str, configured: Collection[str]) -> bool:
    """Whether a stack with these `configured` destinations has the one of that name: by its name, or as one of any."""
    wanted = Destination.parse(name)
    return bool(ACCOUNT.fullmatch(wanted.account)) and (
        name in configured or str(Destination(wanted.provider, ANY)) in configured
    )


def has_several(provider: str, configured: Collection[str]) -> bool:
    """Whether there may be more than one account of the provider."""
    accounts = [each.account for each in map(Destination.parse, configured) if each.provider == provider]
    return len(accounts) > 1 or ANY in accounts


def recent[T](make: Callable[[str], T], most: int = KNOWN) -> Callable[[str], T]:
    """What there is for each destination, made when first asked for; kept for the `most` that were asked for last.

    An account that is forgotten is met again as a new environment meets it, which may have it next at any time.
    """
    return lru_cache(maxsize=most)(make)
