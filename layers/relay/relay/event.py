"""The customer event, version 1: the public contract every door accepts and every provider is built from."""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from relay.currencies import CURRENCIES
from relay.errors import MOST_ERRORS, FieldError, InvalidEventError, name_some, unnamed_errors
from relay.masking import HOSTERS, from_punycode, mask, shorten, to_punycode
from relay.parsing import bad_body, path

MAX_EVENT_BYTES = 256 * 1024
"""The `Event.size` that every lane carries with room for what the relay and SQS add."""

IDENTIFIERS = ("email", "phone_number", "id", "provider_ids")
"""The fields that say who a customer is; at least one is needed."""

MOST_DESTINATIONS = 200
"""Destinations of one event: each is a message with all of the event in it."""

LONGEST_ID = 255
"""Characters of an event's id, bytes of what stands for it in a rejection."""

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

_UNNAMED = "unnamed"
"""The type of the pydantic error that stands for `count` others."""

type Scalar = str | bool | int | float


def iso(moment: datetime) -> str:
    """`moment` as ISO 8601 text, `Z` for UTC."""
    return moment.isoformat().replace("+00:00", "Z")


def _invalid(message: str) -> PydanticCustomError:
    # Braces are placeholders in a pydantic template; input must not be able to bring its own.
    return PydanticCustomError("relay", "{text}", {"text": message})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _invalid("must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid("holds half of a surrogate pair, which is not text") from None
    return value


def _bounded(value: object) -> str:
    text = _text(value)
    if not 1 <= len(text) <= LONGEST_ID:
        raise _invalid(f"must be 1 to 255 characters long, is {len(text)}")
    return text


def _name(value: object) -> str:
    text = _bounded(value)
    if not _NAME.fullmatch(text):
        snake = re.sub(r"[^A-Za-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)).strip("_").lower()
        hint = f", such as {snake}" if snake and mask(text) == text else ""
        raise _invalid(f"may hold only letters, digits and underscores{hint}")
    return text


def _matching(pattern: re.Pattern[str], message: str, longest: int = 255) -> Callable[[object], str]:
    def check(value: object) -> str:
        text = _text(value)
        if len(text) > longest or not pattern.fullmatch(text):
            raise _invalid(message)
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
        raise _invalid("must be an e-mail address, with no dot at an end of its name and no two in a row")
    return text


def _as_ascii(character: str) -> str:
    """A letter of any script, its marks, digits and symbols (RFC 6531) as an `a`, what is none of these as a space."""
    if character.isascii():
        return character
    category = unicodedata.category(character)
    return "a" if category[0] in "LMN" or category == "So" or character in _BETWEEN_LETTERS else " "


def _currency(value: object) -> str:
    if _text(value) not in CURRENCIES:
        raise _invalid("must be an ISO 4217 code in capitals, such as USD")
    return str(value)


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _invalid("must carry an offset, such as Z or +02:00")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _invalid(f"must be text, {_SUCH_AS}: of a number nobody knows the unit")
    written = _MOMENT.fullmatch(_text(value))
    if not written:
        raise _invalid(f"must be an ISO 8601 date and time with an offset, {_SUCH_AS}")
    offset = "Z" if written["offset"] in ("z", "UTC") else written["offset"]
    try:
        # Beyond microseconds it cuts, and does not round.
        return datetime.fromisoformat(f"{written['date']}T{written['time']}{offset}")
    except ValueError:
        raise _invalid(
            f"is no date and time that exists, {_SUCH_AS}: years 0001 to 9999, seconds to 59, offsets to 23:59"
        ) from None


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid("must be a number")
    if isinstance(value, int) and value not in INT64:
        raise _invalid("must fit a signed 64-bit integer")
    if not math.isfinite(value):
        raise _invalid("must be finite")
    return value


def _scalar(value: object) -> Scalar:
    match value:
        case str():
            return _text(value)
        case bool():
            return value
        case int() | float():
            return _number(value)
        case dict() | list():
            raise _invalid("must not be nested: only text, boolean, integer, number or ISO date text")
        case _:
            raise _invalid("must be text, boolean, integer, number or ISO date text")


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
        raise ValidationError.from_exception_data("items", [*wrong, *_unnamed(unnamed)])
    return kept


def _unnamed(count: int) -> list[InitErrorDetails]:
    error = PydanticCustomError(_UNNAMED, "{text}", {"text": unnamed_errors(count), "count": count})
    return [InitErrorDetails(type=error, loc=(), input=None)] if count else []


def _flat_map[Value](one: Callable[[object], Value]) -> Callable[[object], dict[str, Value]]:
    def entry(key: str, item: object) -> Value | None:
        if not key or _WHITE_SPACE.search(key):
            raise _invalid("has an empty name or white space in it: use underscores")
        _text(key)
        return None if item is None else one(item)

    def check(value: object) -> dict[str, Value]:
        if not isinstance(value, Mapping):
            raise _invalid("must be an object")
        return {key: item for key, item in _check_each(value.items(), entry) if item is not None}

    return check


def _list_of[Value](one: Callable[[object], Value], most: int) -> Callable[[object], list[Value]]:
    def check(value: object) -> list[Value]:
        if not isinstance(value, list):
            raise _invalid("must be a list")
        if not value:
            raise _invalid("must name at least one, or be left out")
        if len(value) > most:
            raise _invalid(f"names {len(value)}, at most {most}")
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


class _Contract(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: object, validate: ValidatorFunctionWrapHandler) -> Self:
        """A field that is null is absent; every error there is, but of unknown fields the first only."""
        if not isinstance(data, Mapping):
            return validate(data)  # type: ignore[no-any-return]
        known = {key: value for key, value in data.items() if value is not None and key in cls.model_fields}
        unknown = [key for key in data if key not in cls.model_fields]
        made, wrong = None, list[InitErrorDetails]()
        try:
            made = validate(known | dict.fromkeys(unknown[:MOST_ERRORS]))
        except ValidationError as error:
            for each in error.errors(include_input=False, include_url=False):
                wrong.append(_again(each))
        wrong += [InitErrorDetails(type=_invalid(lacks), loc=(), input=None) for lacks in cls._lacks(known)]
        wrong += _unnamed(len(unknown[MOST_ERRORS:]))
        if wrong or made is None:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return made  # type: ignore[no-any-return]

    @classmethod
    def _lacks(cls, _data: Mapping[str, object], /) -> Iterator[str]:
        """What is wrong with the fields together."""
        yield from ()


def _again(error: ErrorDetails) -> InitErrorDetails:
    """An error read from one ValidationError, to be raised in another."""
    if error["type"] == _UNNAMED:
        return {**_unnamed(error["ctx"]["count"])[0], "loc": error["loc"]}
    return InitErrorDetails(type=_invalid(_message(error)), loc=error["loc"], input=None)


class Customer(_Contract):
    """Who did it: at least one identifier, and what is known of them."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [name]} for name in IDENTIFIERS]})

    email: Email | None = None
    phone_number: PhoneNumber | None = None
    id: Bounded | None = None
    provider_ids: ProviderIds = {}
    properties: Properties = {}

    @classmethod
    def _lacks(cls, data: Mapping[str, object], /) -> Iterator[str]:
        if not any(map(_names_somebody, map(data.get, IDENTIFIERS))):
            yield "needs at least one of email, phone_number, id, provider_ids"

    @property
    def identities(self) -> frozenset[str]:
        """Every way this customer is named. Two events with one in common are of one customer and stay in order."""
        named = {"email": self.email and _one_spelling(self.email), "phone": self.phone_number, "id": self.id}
        named |= {f"provider:{provider}": value for provider, value in self.provider_ids.items()}
        return frozenset(f"{kind}={value}" for kind, value in named.items() if value)

    @property
    def contacts(self) -> tuple[str, ...]:
        """Where this customer can be reached: what no log may hold."""
        return tuple(value for value in (self.email, self.phone_number) if value)


def _one_spelling(email: str) -> str:
    """The same for every way to write one address: capitals, accents of their own, full width, a domain as `xn--`."""
    mailbox, _, domain = email.partition("@")
    written = f"{mailbox}@{'.'.join(from_punycode(label) or label for label in domain.split('.'))}"
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", written).casefold())


def _names_somebody(value: object) -> bool:
    return any(item is not None for item in value.values()) if isinstance(value, Mapping) else bool(value)


class Event(_Contract):
    """One thing one customer did. Field by field in `docs/event.schema.json`."""

    id: Bounded
    source: Name
    type: Name
    occurred_at: Moment | None = None
    customer: Customer
    properties: Properties = {}
    value: Number | None = None
    currency: Currency | None = None
    destinations: Destinations | None = None
    expires_at: Moment | None = None

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of what the producer said happened; where it goes and when it turns stale do not count."""
        content = self.model_dump(mode="json", exclude={"destinations", "expires_at"}, exclude_none=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def private(self) -> tuple[str, ...]:
        """All that the event says of its customer, as a provider may quote it, the longest first.

        How the customer is named, in whole and in part, and the values of all properties but booleans. Names of
        properties are the producer's own, and a value that is the name of a field here (`email`) says nothing.
        """
        customer = self.customer
        named = [customer.id, *customer.provider_ids.values(), *customer.properties.values()]
        texts = {*_contact_forms(customer), *chain(*map(_as_quoted, [*named, *self.properties.values(), self.value]))}
        return tuple(
            sorted((text for text in texts if text.strip() and text.lower() not in _FIELDS), key=len, reverse=True)
        )

    def to_json(self) -> str:
        """The event as compact JSON text without absent fields: the body of a lane message."""
        return self._written()

    @property
    def size(self) -> int:
        """UTF-8 bytes of what the producer alone says, as compact JSON: the same before and after the relay has put its
        own `occurred_at` and the one destination into a lane's copy.
        """
        return len(self._written(without={"occurred_at", "destinations"}).encode())

    def _written(self, without: set[str] | None = None) -> str:
        text = self.model_dump_json(exclude=without, exclude_none=True, exclude_defaults=True)
        # The two characters that JSON lets stand and SQS refuses.
        return text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


_FIELDS = {*Customer.model_fields, *Event.model_fields}


def _contact_forms(customer: Customer) -> Iterator[str]:
    yield from customer.contacts
    if customer.email:
        mailbox, _, domain = customer.email.partition("@")
        names = [mailbox, mailbox.partition("+")[0], *([] if domain.lower() in HOSTERS else [domain])]
        yield from (*names, *(to_punycode(name) for name in names if not name.isascii()))
    if customer.phone_number:
        # Without its country code, which has one to three digits.
        yield from (customer.phone_number[1 + digits :] for digits in range(4))


def _as_quoted(value: Scalar | None) -> Iterator[str]:
    """A property's value as text, a number in the ways it may be written."""
    match value:
        case bool() | None:
            return
        case float():
            yield from (str(value), f"{value:g}")
            # Nobody writes out what has hundreds of digits.
            if 1e-6 <= abs(value) < 1e24:
                yield f"{value:.2f}"
                if value.is_integer():
                    yield str(int(value))
        case _:
            yield str(value)


def parse_event(data: object, validate: Callable[[Any], Event] | None = None) -> Event:
    """Validates parsed JSON as an event, with `validate` (by default the model itself).

    Raises InvalidEventError with every error at once, each naming its field.
    """
    if not isinstance(data, Mapping):
        raise bad_body(f"must be a JSON object, is {_KINDS.get(type(data), 'something else')}")
    given = data.get("id")
    event_id = shorten(given, LONGEST_ID) if isinstance(given, str) else None
    try:
        event = (validate or Event.model_validate)(data)
    except ValidationError as error:
        raise InvalidEventError(field_errors(error), event_id) from None
    if (size := event.size) > MAX_EVENT_BYTES:
        raise InvalidEventError([FieldError("body", f"is {size} bytes long, at most {MAX_EVENT_BYTES}")], event_id)
    return event


def field_errors(error: ValidationError, root: str = "body") -> list[FieldError]:
    """A pydantic error as field errors, in the order found, MOST_ERRORS at most. Never holds the input."""
    found = error.errors(include_input=False, include_url=False)
    named = (each for each in found if each["type"] != _UNNAMED)
    unnamed = sum(each["ctx"]["count"] for each in found if each["type"] == _UNNAMED)
    return name_some(named, lambda each: FieldError(path(each["loc"]) or root, _message(each)), unnamed)


_KINDS = {list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of an event",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
}


def _message(error: ErrorDetails) -> str:
    return str(_MESSAGES.get(error["type"], error["msg"]))
