"""The fields of an event: what each may hold, and how an error names it."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from relay.contract.currencies import CURRENCIES
from relay.contract.parsing import path
from relay.errors import MOST_ERRORS, FieldError, name_some, unnamed_errors
from relay.masking import LONGEST_ID, mask

MOST_DESTINATIONS = 200
"""Destinations of one event: each is a message with all of the event in it."""

INT64 = range(-(2**63), 2**63)

_NAME = re.compile(r"[A-Za-z0-9_]+")
# RFC 5322's dot-atom, and a domain of at least two labels. Letters of other scripts are tested apart.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+")
_LONGEST_EMAIL, _LONGEST_MAILBOX = 254, 64
# What is no letter and may stand in a name all the same: RFC 5892, appendix A.
_BETWEEN_LETTERS = "\u00b7\u0375\u05f3\u05f4\u30fb\u200c\u200d"
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
# RFC 3339, and what Java, .NET, Go, PHP, Ruby, JavaScript and databases make of it.
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)"
    r" ?(?P<offset>[Zz]|UTC|[+-]\d\d(?::?[0-5]\d)?)(?:\[[A-Za-z][\w/+-]*\])?",
    re.ASCII,
)
_SUCH_AS = "such as 2026-11-22T10:00:00Z or 2026-11-22T11:00:00+01:00"
_DESTINATION = re.compile(r"[a-z][a-z0-9_]*/[A-Za-z0-9._-]{1,64}")
_WHITE_SPACE = re.compile(r"\s")

UNNAMED = "unnamed"
"""The type of the pydantic error that stands for `count` others."""

type Scalar = str | bool | int | float


def iso(moment: datetime) -> str:
    """`moment` as ISO 8601 text, `Z` for UTC."""
    return moment.isoformat().replace("+00:00", "Z")


def invalid(message: str) -> PydanticCustomError:
    # Braces are placeholders in a pydantic template; input must not be able to bring its own.
    return PydanticCustomError("relay", "{text}", {"text": message})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise invalid("must be text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid("holds half of a surrogate pair, which is not text") from None
    return value


def _bounded(value: object) -> str:
    text = _text(value)
    if not 1 <= len(text) <= LONGEST_ID:
        raise invalid(f"must be 1 to 255 characters long, is {len(text)}")
    return text


def _name(value: object) -> str:
    text = _bounded(value)
    if not _NAME.fullmatch(text):
        hint = f", such as {snake}" if (snake := snake_case(text)) and mask(text) == text else ""
        raise invalid(f"may hold only letters, digits and underscores{hint}")
    return text


def snake_case(text: str) -> str:
    """`text` as a source or a type may be written: `Order Completed` and `orderCompleted` as `order_completed`, accents
    left out. Empty where it holds letters of another script, which would be lost, or none at all.
    """
    plain = "".join(
        each if each.isascii() else each.casefold()
        for each in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(each)
    )
    if any(each.isalnum() and not each.isascii() for each in plain):
        return ""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain)
    return re.sub(r"[^A-Za-z0-9]+", "_", parted).strip("_").lower()


def _matching(pattern: re.Pattern[str], message: str, longest: int = 255) -> Callable[[object], str]:
    def check(value: object) -> str:
        text = _text(value)
        if len(text) > longest or not pattern.fullmatch(text):
            raise invalid(message)
        return text

    return check


def _email(value: object) -> str:
    text = _text(value)
    if (
        len(text) > _LONGEST_EMAIL
        or not _EMAIL.fullmatch(text if text.isascii() else "".join(map(_as_ascii, text)))
        or len(text.encode()) > _LONGEST_EMAIL
        or len(text.partition("@")[0].encode()) > _LONGEST_MAILBOX
    ):
        raise invalid("must be an e-mail address, with no dot at an end of its name and no two in a row")
    return text


def _as_ascii(character: str) -> str:
    """A letter of any script, its marks, digits and symbols (RFC 6531) as an `a`, what is none of these as a space."""
    if character.isascii():
        return character
    category = unicodedata.category(character)
    return "a" if category[0] in "LMN" or category == "So" or character in _BETWEEN_LETTERS else " "


def _currency(value: object) -> str:
    if _text(value) not in CURRENCIES:
        raise invalid("must be an ISO 4217 code in capitals, such as USD")
    return str(value)


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise invalid("must carry an offset, such as Z or +02:00")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise invalid(f"must be text, {_SUCH_AS}: of a number nobody knows the unit")
    written = _MOMENT.fullmatch(_text(value))
    if not written:
        raise invalid(f"must be an ISO 8601 date and time with an offset, {_SUCH_AS}")
    date, time, offset = written.group("date", "time", "offset")
    try:
        # Beyond microseconds it cuts, and does not round.
        return datetime.fromisoformat(f"{date}T{time}{'Z' if offset in ('z', 'UTC') else offset}")
    except ValueError:
        raise invalid(
            f"is no date and time that exists, {_SUCH_AS}: years 0001 to 9999, seconds to 59, offsets to 23:59"
        ) from None


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid("must be a number")
    if isinstance(value, int) and value not in INT64:
        raise invalid("must fit a signed 64-bit integer")
    if not math.isfinite(value):
        raise invalid("must be finite")
    return value


def _scalar(value: object) -> Scalar:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    kinds = "text, boolean, integer, number or ISO date text"
    raise invalid(f"must not be nested: only {kinds}" if isinstance(value, dict | list) else f"must be {kinds}")


def _check_each[Key: str | int, Value](
    items: Iterable[tuple[Key, Any]], check: Callable[[Key, Any], Value]
) -> list[tuple[Key, Value]]:
    """Every item, checked. Raises ValidationError with the first that are wrong, and the number of the others."""
    kept: list[tuple[Key, Value]] = []
    wrong: list[InitErrorDetails] = []
    unnamed = 0
    for key, item in items:
        try:
            kept.append((key, check(key, item)))
        except PydanticCustomError as error:
            if len(wrong) < MOST_ERRORS:
                wrong.append(InitErrorDetails(type=error, loc=(key,), input=None))
            else:
                unnamed += 1
    if wrong:
        raise ValidationError.from_exception_data("items", [*wrong, *left_out(unnamed)])
    return kept


def left_out(count: int) -> list[InitErrorDetails]:
    if count <= 0:
        return []
    error = PydanticCustomError(UNNAMED, "{text}", {"text": unnamed_errors(count), "count": count})
    return [InitErrorDetails(type=error, loc=(), input=None)]


def _flat_map[Value](one: Callable[[object], Value]) -> Callable[[object], dict[str, Value]]:
    def entry(key: str, item: object) -> Value | None:
        # A name in Python is no empty one, and all of it can be sent.
        if not key.isidentifier():
            if not key or _WHITE_SPACE.search(key):
                raise invalid("has an empty name or white space in it: use underscores")
            _text(key)
        return None if item is None else one(item)

    def check(value: object) -> dict[str, Value]:
        if not isinstance(value, Mapping):
            raise invalid("must be an object")
        return {key: item for key, item in _check_each(value.items(), entry) if item is not None}

    return check


def _list_of[Value](one: Callable[[object], Value], most: int) -> Callable[[object], list[Value]]:
    def check(value: object) -> list[Value]:
        if not isinstance(value, list):
            raise invalid("must be a list")
        if not value:
            raise invalid("must name at least one, or be left out")
        if len(value) > most:
            raise invalid(f"names {len(value)}, at most {most}")
        return [item for _, item in _check_each(enumerate(value), lambda _, item: one(item))]

    return check


_SCALARS = {"type": ["string", "boolean", "integer", "number", "null"]}

Bounded = Annotated[str, PlainValidator(_bounded), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255})]
Name = Annotated[
    str,
    PlainValidator(_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9_]+$"}),
]
Email = Annotated[
    str,
    PlainValidator(_email),
    WithJsonSchema({"type": "string", "format": "idn-email", "maxLength": _LONGEST_EMAIL}),
]
PhoneNumber = Annotated[
    str,
    PlainValidator(_matching(_E164, "must be a phone number in E.164 form, such as +15551234567")),
    WithJsonSchema({"type": "string", "pattern": r"^\+[1-9][0-9]{1,14}$"}),
]
Currency = Annotated[str, PlainValidator(_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})]
Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(iso, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "As in RFC 3339; other ways to write a date and time with its offset are read, too.",
        }
    ),
]
Backfill = Annotated[
    bool, Field(description="Whether it is history, imported: it waits behind all other events, and starts no flow.")
]
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Properties = Annotated[
    dict[str, Scalar],
    PlainValidator(_flat_map(_scalar)),
    WithJsonSchema({"type": "object", "propertyNames": {"pattern": r"^\S+$"}, "additionalProperties": _SCALARS}),
]
ProviderIds = Annotated[
    dict[str, str],
    PlainValidator(_flat_map(_bounded)),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 255}}),
]
Destinations = Annotated[
    list[str],
    PlainValidator(
        _list_of(_matching(_DESTINATION, "must be provider/account, such as yotpo/main"), most=MOST_DESTINATIONS)
    ),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{_DESTINATION.pattern}$"},
            "minItems": 1,
            "maxItems": MOST_DESTINATIONS,
        }
    ),
]


def field_errors(error: ValidationError, root: str = "body") -> list[FieldError]:
    """A pydantic error as field errors, in the order found, MOST_ERRORS at most. Never holds the input."""
    found = error.errors(include_input=False, include_url=False)
    named = (each for each in found if each["type"] != UNNAMED)
    unnamed = sum(each["ctx"]["count"] for each in found if each["type"] == UNNAMED)
    return name_some(named, lambda each: FieldError(path(each["loc"]) or root, message(each)), unnamed)


_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of an event",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
}


def message(error: ErrorDetails) -> str:
    return str(_MESSAGES.get(error["type"], error["msg"]))
