"""Reads a provider's replies: rows of data say what a status, a header or a body means."""

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jmespath

from relay.errors import NotSentError, TransportError
from relay.outcome import Outcome
from relay.ports import Reply


@dataclass(frozen=True, slots=True)
class Rule:
    """If a reply (or the lack of one) matches, this is the outcome. The first rule that matches decides.

    `headers` are by name in lower case; `body` maps JMESPath expressions to what each finds in it, `...` for anything
    but nothing: an empty list, text or object, false and null are nothing.
    """

    outcome: Outcome
    statuses: Container[int] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    error: type[TransportError] | None = None
    mend: str = ""
    """What an operator can do about it, before the event is sent again."""

    def matches(self, answer: Reply | TransportError) -> bool:
        if isinstance(answer, TransportError):
            return self.error is not None and isinstance(answer, self.error)
        if not self._may_match(answer):
            return False
        if self.body is None:
            return True
        said = _said(answer)
        return said is not None and all(_finds(path, what, said) for path, what in self.body.items())

    def is_open(self, reply: Reply) -> bool:
        """Whether it would take the body to know if this matches, and nobody can read what the body says."""
        return self.body is not None and self._may_match(reply) and _said(reply) is None

    def _may_match(self, reply: Reply) -> bool:
        """As far as status and headers tell."""
        return (
            self.error is None
            and (self.statuses is None or reply.status in self.statuses)
            and (self.headers is None or self.headers.items() <= reply.headers.items())
        )


RULES = (
    Rule(Outcome.RETRY, error=NotSentError),
    Rule(Outcome.UNKNOWN, error=TransportError),
    Rule(Outcome.DELIVERED, range(200, 300)),
    Rule(Outcome.UNAUTHORIZED, (401, 403)),
    Rule(Outcome.THROTTLED, (429,)),
    Rule(Outcome.RETRY, (408, 425)),
    Rule(Outcome.REJECTED, range(400, 500)),
    # A redirect or a status nobody defined is a wrong address or a broken proxy: keep the event, try again.
    Rule(Outcome.RETRY),
)
"""How every HTTP provider is read, after its own rules."""

SAYS = ("message", "error", "status", "errors")
"""Where most providers say what is wrong: JMESPath expressions."""


def read_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a reply's body; empty for anything else."""
    return _parse(body) or {}


def read_at(body: bytes, path: str) -> Any:
    """What a reply's body has at a JMESPath expression; None for nothing."""
    return jmespath.search(path, read_object(body))


def read_words(body: bytes, says: Iterable[str]) -> str:
    """What a reply's body says at those JMESPath expressions, as one text; empty where it says nothing."""
    said = read_object(body)
    return "; ".join(part for path in says for part in _words(jmespath.search(path, said)))


def _finds(path: str, what: object, said: Mapping[str, Any]) -> bool:
    found = jmespath.search(path, said)
    return found not in (None, False, "", [], {}) if what is ... else bool(found == what)


def _words(said: object, depth: int = 4) -> Iterator[str]:
    """What a provider says of a failure: text, a list of texts, objects with a `message` (and its `field`), or texts by
    field.
    """
    match said:
        case str():
            yield said
        case list() if depth:
            for each in said:
                yield from _words(each, depth - 1)
        case {"field": str(field), "message": str(message)}:
            yield f"{field}: {message}"
        case {"message": str(message)}:
            yield message
        case dict() if depth:
            for field, why in said.items():
                if words := " ".join(_words(why, depth - 1)):
                    yield f"{field}: {words}"


def _said(reply: Reply) -> Mapping[str, Any] | None:
    """The object in a reply's body, empty if it is something else; None if that cannot be known."""
    return _parse(reply.body) if reply.complete else None


@lru_cache(maxsize=1)
def _parse(body: bytes) -> Mapping[str, Any] | None:
    """What a body says. Each rule asks anew, so the last one is kept; it is everybody's: change nothing in it."""
    # Read as kindly as can be: what a provider says counts, not how well it writes JSON.
    encoding = json.detect_encoding(body)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        # Some still answer in Latin-1; with letters replaced, no mask would know a customer's name.
        text = body.decode("latin-1") if encoding == "utf-8" else body.decode(encoding, "replace")
    try:
        value = json.loads(text, strict=False, parse_int=float)
    except (ValueError, RecursionError):
        # Broken off, or beyond our reader, is an object that we do not know; a web page is none.
        return None if text.lstrip().startswith("{") else {}
    return value if isinstance(value, dict) else {}
