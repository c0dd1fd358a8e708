"""What the answer to a test event says of an account's set-up: rows of data, the first that matches decides."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is wrong, if anything is."""

    WORKS = "works"
    BUSY = "works, but busy"
    TOKEN = "wrong token"  # noqa: S105 it is none
    ACCOUNT = "wrong account"
    ADDRESS = "wrong address"
    NAMES = "wrong names"
    INACTIVE = "not activated"
    DOWN = "provider in trouble"


@dataclass(frozen=True, slots=True)
class Answer:
    """As a direct call of deliver tells it. `status` is None where there was no answer, and `cause` says why; `body` is
    what it said.
    """

    status: int | None
    body: str = ""
    cause: str = ""

    @property
    def is_page(self) -> bool:
        """It is for people: no API has written it."""
        return self.body.lstrip()[:1] == "<"


@dataclass(frozen=True, slots=True)
class Check:
    """If an answer matches, this is the verdict, and what to do about it. `assumed`: no page of the provider's says so.

    `words` and `cause` are patterns, found anywhere in the answer's body and its cause, in any case of the letters.
    """

    verdict: Verdict
    do: str = ""
    statuses: Container[int] | None = None
    words: str = ""
    cause: str = ""
    page: bool | None = None
    assumed: bool = False

    def matches(self, answer: Answer) -> bool:
        if answer.status is None:
            return bool(self.cause) and bool(re.search(self.cause, answer.cause, re.IGNORECASE))
        return (
            not self.cause
            and (self.statuses is None or answer.status in self.statuses)
            and (self.page is None or self.page is answer.is_page)
            and bool(re.search(self.words, answer.body, re.IGNORECASE))
        )


RETIRED = Check(
    Verdict.DOWN,
    "it has retired the version of its API that this release speaks: update the relay, events wait",
    (410,),
)
"""For a provider whose rules keep the events then."""

INACTIVE_WORDS = r"\bplans?\b|upgrade|\bactivat|inactive|not active|not enabled|disabled|subscription|\bfeature\b"
"""How providers say that an account may not do this yet."""

_BASE_URL = "correct the stack's base URL for this provider"

CHECKS = (
    Check(Verdict.ADDRESS, f"there is no host of that name: {_BASE_URL}", cause="NameResolution|gaierror"),
    Check(Verdict.ADDRESS, f"it does not speak TLS as it should: {_BASE_URL}", cause="SSL|Certificate"),
    Check(
        Verdict.ADDRESS,
        f"nobody answers there: {_BASE_URL}, or see whether the provider is down",
        cause="NewConnection|ConnectTimeout|Refused|LocationParse|InvalidURL",
    ),
    Check(Verdict.DOWN, "it took the request and did not answer in time: the event may have arrived", cause="."),
    Check(Verdict.TOKEN, "make a new token at the provider, then: relay connect {destination}", (401,)),
    Check(Verdict.INACTIVE, "have the provider activate custom events for this account", (402,), assumed=True),
    Check(
        Verdict.INACTIVE,
        "have the provider activate custom events for this account",
        (400, 403, 404, 422),
        INACTIVE_WORDS,
        page=False,
        assumed=True,
    ),
    Check(
        Verdict.ACCOUNT,
        "the token is known, but may not do this: of another account, or without the right to write events",
        (403,),
        assumed=True,
    ),
    Check(Verdict.ADDRESS, f"that is no API, or another path of it: {_BASE_URL}, or the path", (404, 405)),
    Check(Verdict.ADDRESS, f"it points elsewhere: {_BASE_URL}", range(300, 400)),
    Check(Verdict.BUSY, "somebody else uses this account's limit, or a backlog does: wait", (429,)),
    Check(Verdict.DOWN, "wait: the relay tries again by itself", (408, 425, *range(500, 600))),
    Check(
        Verdict.NAMES,
        "it refuses a field, or the type: by what it said, correct the names or the mapping in DestinationSettings",
        range(400, 500),
    ),
    Check(Verdict.NAMES, "it takes the request and says that it failed"),
)
"""For every provider, after its own."""


def judge(answer: Answer, checks: Sequence[Check]) -> Check:
    """The first of a provider's own `checks`, or of everybody's, that matches an answer which is no success."""
    return next(check for check in (*checks, *CHECKS) if check.matches(answer))
