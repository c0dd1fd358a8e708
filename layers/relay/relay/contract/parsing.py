"""Reads JSON text as the contract wants it. Time and memory grow with the text, and no faster, whatever it holds."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from relay.errors import FieldError, InvalidEventError, name_some
from relay.masking import mask

MAX_LEVELS = 32
"""How deep a body may be nested. An event has 3 levels, 4 in EventBridge's envelope; the text in SNS's counts anew."""

LONGEST_NAME = 255
"""Characters of a key that an error repeats. Cut in two, an e-mail address would no longer look like one."""

_TOKEN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)

_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What SQS takes in no body, and JSON can say all the same."""


class _Ambiguous(dict[str, Any]):
    """A JSON object in which keys stand twice. Which value was meant, nobody can know."""

    twice: tuple[str, ...] = ()


def parse_json(text: str) -> object:
    """Reads JSON with no NaN, no key twice and at most MAX_LEVELS levels.

    Raises InvalidEventError with field `body`, or the paths of the keys that stand twice.
    """
    if _is_deeper(text, MAX_LEVELS):
        raise bad_body(f"is nested too deeply: more than {MAX_LEVELS} levels")
    try:
        return _GOOD.decode(text)
    except ValueError:
        pass  # It is read once more, for what is wrong with it.
    return _read_with_errors(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _no_constant(name: str) -> None:
    raise ValueError(name)


_GOOD = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)
"""Reads what has nothing wrong with it, and says of the rest only that something is."""


def _read_with_errors(text: str) -> object:
    ambiguous = False

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal ambiguous
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        ambiguous, twice = True, _Ambiguous(made)
        twice.twice = _repeated(key for key, _ in pairs)
        return twice

    try:
        value = json.loads(text, object_pairs_hook=make, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise bad_body(f"is not JSON: {error.msg} at character {error.pos}" if text.strip() else "is empty") from None
    except ValueError:
        raise bad_body("holds a number that is too long") from None
    if ambiguous:
        raise InvalidEventError(name_some(_ambiguities(value), lambda keys: FieldError(path(keys), "stands twice")))
    return value


def as_text(record: object) -> str:
    """A record as SQS takes it, whatever it holds: text as it came, parsed JSON as compact JSON."""
    if isinstance(record, str) and record and not _NO_TEXT.search(record):
        return record
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return _NO_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def path(keys: Iterable[str | int]) -> str:
    """Keys and places in lists as the dotted path of an error, without personal data."""
    # Key by key: each may itself be an e-mail address or a phone number.
    return ".".join(_name(str(key)) for key in keys)


def bad_body(message: str) -> InvalidEventError:
    """The error of a body as a whole."""
    return InvalidEventError([FieldError("body", message)])


def _name(key: str) -> str:
    return mask(key) if len(key) <= LONGEST_NAME else f"({len(key)} characters)"


def _is_deeper(text: str, levels: int) -> bool:
    """Whether a JSON text is nested more than so many levels. Of text that is no JSON: up to where it is none."""
    if text.count("[") + text.count("{") <= levels:
        return False
    level, quoted = 0, False
    for token in _TOKEN.finditer(text):
        match token[0]:
            case '"':
                quoted = not quoted
            case "[" | "{" if not quoted:
                level += 1
                if level > levels:
                    return True
            case "]" | "}" if not quoted:
                level -= 1
    return False


def _repeated(keys: Iterable[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for key in keys:
        if key in seen:
            twice[key] = None
        seen.add(key)
    return tuple(twice)


def _ambiguities(node: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key that stands twice, in the order of the text."""
    if isinstance(node, _Ambiguous):
        for key in node.twice:
            yield (*above, key)
    inside: Iterable[tuple[Any, Any]] = node.items() if isinstance(node, dict) else ()
    if isinstance(node, list):
        inside = enumerate(node)
    for key, value in inside:
        if isinstance(value, dict | list):
            yield from _ambiguities(value, (*above, str(key)))


def _refuse_constant(name: str) -> None:
    raise bad_body(f"holds {name}, which is not a JSON number")
