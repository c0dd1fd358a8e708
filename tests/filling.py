"""Fills an input template as AWS's documentation says that rules, pipes and schedules do."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_TEXTS = re.compile(r'("(?:[^"\\]|\\.)*")')
_VARIABLE = re.compile(r"<([^<>]+)>")


def filled_in(template: str, look_up: Callable[[str], Any]) -> str:
    """Within quotes a value is put in as it is, unescaped; elsewhere as JSON, so that a text gets its quotes.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html
    """

    def within(found: re.Match[str]) -> str:
        value = look_up(found[1])
        return value if isinstance(value, str) else json.dumps(value)

    def elsewhere(found: re.Match[str]) -> str:
        return json.dumps(look_up(found[1]))

    return "".join(
        _VARIABLE.sub(within if part.startswith('"') else elsewhere, part) for part in _TEXTS.split(template)
    )


def at_path(data: Mapping[str, Any], path: str) -> Any:
    """The value at a JSON path in dot notation, such as `$.detail.buyer.mail`. Raises KeyError where there is none."""
    value: Any = data
    for name in path.removeprefix("$.").split("."):
        value = value[name]
    return value
