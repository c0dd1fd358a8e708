"""What a provider answers: the examples in its description, by their names.

======================  ========================================================================
``accepted``            the provider acted; without this example, the first 2xx, without a body
``unauthorized``        no account takes the token
``throttled``           the account is over its limit
``unreadable``          the body is not JSON; without this example, as ``invalid``
``invalid``             the request breaks the contract
======================  ========================================================================

In ``invalid``, ``{field}`` and ``{message}`` stand for what is wrong. A list that holds them has an item for each such
violation, a mapping with ``{field}`` as its key an entry for each field.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from jsonschema_path import SchemaPath

from local.sandbox.limits import Allowance


@dataclass(frozen=True)
class Violation:
    """One way in which a request breaks the contract. ``field`` is a dotted path, empty for the whole request."""

    field: str
    message: str


@dataclass(frozen=True)
class Answer:
    """A reply. ``body`` is any JSON value; without a ``media_type`` there is none. ``says``: headers of the limit."""

    status: int
    body: Any
    media_type: str
    says: dict[str, str] = field(default_factory=dict)

    def headers(self, allowance: Allowance) -> dict[str, str]:
        """The rate-limit headers, where they are sent at all."""
        return {name: _said(what, allowance) for name, what in self.says.items()} if allowance.headers else {}


class Answers:
    """The answers of one operation, whose ``responses`` these are."""

    def __init__(self, responses: SchemaPath) -> None:
        self._answers = dict(_examples(responses.read_value()))

    @property
    def accepted(self) -> Answer:
        return self._answers["accepted"]

    @property
    def unauthorized(self) -> Answer:
        return self._answers["unauthorized"]

    @property
    def throttled(self) -> Answer:
        return self._answers["throttled"]

    @property
    def unreadable(self) -> Answer:
        return self._answers.get("unreadable") or self.invalid([Violation("", "is not JSON")])

    def invalid(self, violations: Sequence[Violation]) -> Answer:
        """With everything that is wrong, as far as the example can hold it."""
        answer = self._answers["invalid"]
        named = [Violation(one.field or "request", one.message) for one in violations]
        return replace(answer, body=_filled(answer.body, named))


def _examples(responses: Any) -> Iterator[tuple[str, Answer]]:
    # The examples after what has none: of two that would do, an example is what the page shows.
    for status, response in sorted(responses.items(), key=lambda one: "content" in one[1]):
        says = {name: one["x-says"] for name, one in response.get("headers", {}).items() if "x-says" in one}
        if status.startswith("2") and not response.get("content"):
            yield "accepted", Answer(int(status), None, "", says)
        for media_type, content in response.get("content", {}).items():
            for name, example in content.get("examples", {}).items():
                yield name, Answer(int(status), example["value"], media_type, says)


def _said(what: str, allowance: Allowance) -> str:
    moment = math.ceil(time.time() + allowance.reset)
    match what:
        case "limit":
            return str(allowance.limit)
        case "remaining":
            return str(allowance.remaining)
        case "reset-seconds":
            return str(math.ceil(allowance.reset))
        case "reset-epoch":
            return str(moment)
        case "reset-date":
            return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raise ValueError(f"x-says: {what}")


def _filled(example: Any, violations: Sequence[Violation]) -> Any:
    match example:
        case [one] if "{field}" in str(one) or "{message}" in str(one):
            return [_filled(one, [each]) for each in violations]
        case {"{field}": within}:
            fields = dict.fromkeys(each.field for each in violations)
            return {name: _filled(within, [each for each in violations if each.field == name]) for name in fields}
        case dict():
            return {key: _filled(value, violations) for key, value in example.items()}
        case str():
            return example.replace("{field}", violations[0].field).replace("{message}", violations[0].message)
    return example
