"""Letters by like reasons, which is how a person looks at three hundred of them, and what to do about each kind."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from cli.index import Letter

_QUOTED = re.compile(r"(\"[^\"]*\"|'[^']*'|`[^`]*`)")
_ID = re.compile(r"\b(?=[\w-]*\d)[\w-]{12,}\b")
_NUMBER = re.compile(r"(?<![\w.])(?<!HTTP )\d+(?:[.:,]\d+)*\b")
_LONGEST = 100

_ADVICE = (
    # What a reason holds, and what to do about it. The first that fits counts.
    ("id_reused", "mend the producer, drop"),
    ("outdated", "nothing is missing: drop"),
    ("older than", "if still of use, redrive; else drop"),
    ("expires_at", "not useful: drop"),
    ("no answer", "look at the provider; redrive if it is not there"),
    ("an earlier attempt ended", "look at the provider; redrive if it is not there"),
    ("a fault of the relay's own", "redrive when mended"),
    ("times while others succeeded", "ask the provider, redrive when mended"),
    ("SQS gave it up", "redrive"),
    ("EventBridge could not", "mend queue or policy, redrive"),
    ("asynchronous call", "redrive"),
    ("is not configured here", "add the destination, redrive"),
    ("is cut", "have it sent in smaller calls, drop"),
)


@dataclass(frozen=True)
class Group:
    """Letters of like reasons. `first` and `last` are Unix seconds."""

    reason: str
    lane: str
    letters: tuple[Letter, ...]

    @property
    def count(self) -> int:
        return len(self.letters)

    @property
    def first(self) -> float:
        return min(each.at for each in self.letters)

    @property
    def last(self) -> float:
        return max(each.at for each in self.letters)

    @property
    def types(self) -> dict[str, int]:
        """How many of each type of event, the most first."""
        return dict(Counter(each.event_type or "?" for each in self.letters).most_common())

    @property
    def example(self) -> str:
        """An event's id, where one is known, else a letter's name."""
        return next((each.event_id for each in self.letters if each.event_id), self.letters[0].letter)

    @property
    def advice(self) -> str:
        """What to do about them."""
        found = next((advice for words, advice in _ADVICE if words in self.reason), "")
        return found or ("mend the producer, drop" if self.letters[0].is_reject else "mend, redrive; else drop")

    def as_data(self) -> dict[str, object]:
        """For programs."""
        known = {name: getattr(self, name) for name in ("reason", "lane", "count", "first", "last", "types", "example")}
        return known | {"do": self.advice}


def likeness(reason: str) -> str:
    """The reason without what differs from one event to the next: names in quotes, ids, numbers."""
    alike = _NUMBER.sub("…", _ID.sub("…", _QUOTED.sub("…", reason)))
    return alike if len(alike) <= _LONGEST else alike[: _LONGEST - 1] + "…"


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """The most numerous first."""
    found: dict[tuple[str, str], list[Letter]] = {}
    for each in letters:
        found.setdefault((each.lane, likeness(each.reason)), []).append(each)
    groups = [Group(reason, lane, tuple(those)) for (lane, reason), those in found.items()]
    return sorted(groups, key=lambda group: (-group.count, group.first))
