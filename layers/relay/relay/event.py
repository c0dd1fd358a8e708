"""The customer event, version 1: the public contract every door accepts and every provider is built from."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from relay.currencies import CURRENCIES
from relay.errors import FieldError, InvalidEventError
from relay.masking import mask, mask_identifiers

MAX_EVENT_BYTES = 256 * 1024
"""An event's size as UTF-8 JSON: what EventBridge and every lane carry with room for their own envelopes."""

IDENTIFIERS = ("email", "phone_number", "id", "provider_ids")
"""The fields that say who a customer is; at least one is needed."""

INT64 = range(-(2**63), 2**63)

_NAME = re.compile(r"[A-Za-z0-9_]+")
# The HTML standard's pattern for e-mail inputs, with a dot demanded in the domain:
# https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DESTINATION = re.compile(r"[a-z][a-z0-9_]*/[A-Za-z0-9._-]{1,64}")

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
    if not 1 <= len(text) <= 255:
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


def _currency(value: object) -> str:
    if _text(value) not in CURRENCIES:
        raise _invalid("must be an ISO 4217 code in capitals, such as USD")
    return str(value)


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _invalid("must carry an offset, such as Z or +02:00")
        return value
    text = _text(value)
    if not _MOMENT.fullmatch(text):
        raise _invalid("must be an ISO 8601 date and time with an offset, such as 2026-11-22T10:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _invalid("is not a date and time that exists") from None


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


def _flat_map(one: Callable[[object], Any], *, white_space: bool) -> Callable[[object], dict[str, Any]]:
    def check(value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _invalid("must be an object")
        kept: dict[str, Any] = {}
        wrong: list[InitErrorDetails] = []
        for key, item in value.items():
            try:
                if not key or (not white_space and any(map(str.isspace, key))):
                    raise _invalid("has an empty name or white space in it: use underscores")
                _text(key)
                if item is not None:
                    kept[key] = one(item)
            except PydanticCustomError as error:
                wrong.append(InitErrorDetails(type=error, loc=(key,), input=None))
        if wrong:
            raise ValidationError.from_exception_data("properties", wrong)
        return kept

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
    PlainValidator(_matching(_EMAIL, "must be an e-mail address", 254)),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 254}),
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
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Properties = Annotated[
    dict[str, Scalar],
    PlainValidator(_flat_map(_scalar, white_space=False)),
    WithJsonSchema({"type": "object", "propertyNames": {"pattern": r"^\S+$"}, "additionalProperties": _SCALARS}),
]
ProviderIds = Annotated[
    dict[str, str],
    PlainValidator(_flat_map(_bounded, white_space=False)),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 255}}),
]
Destination = Annotated[
    str,
    StringConstraints(strict=True, max_length=128),
    PlainValidator(_matching(_DESTINATION, "must be provider/account, such as yotpo/main")),
    WithJsonSchema({"type": "string", "pattern": f"^{_DESTINATION.pattern}$"}),
]


class _Contract(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        # Of known fields: an unknown one is an error, whatever it holds.
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class Customer(_Contract):
    """Who did it: at least one identifier, and what is known of them."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [name]} for name in IDENTIFIERS]})

    email: Email | None = None
    phone_number: PhoneNumber | None = None
    id: Bounded | None = None
    provider_ids: ProviderIds = {}
    properties: Properties = {}

    @model_validator(mode="wrap")
    @classmethod
    def _is_identified(cls, data: object, validate: ValidatorFunctionWrapHandler) -> Self:
        wrong: list[InitErrorDetails] = []
        customer = None
        try:
            customer = validate(data)
        except ValidationError as error:
            wrong = [
                InitErrorDetails(
                    type=PydanticCustomError("relay", "{text}", {"text": _message(e)}), loc=e["loc"], input=None
                )
                for e in error.errors(include_input=False, include_url=False)
            ]
        if isinstance(data, Mapping) and not any(map(_names_somebody, map(data.get, IDENTIFIERS))):
            missing = _invalid("needs at least one of email, phone_number, id, provider_ids")
            wrong.append(InitErrorDetails(type=missing, loc=(), input=None))
        if wrong or customer is None:
            raise ValidationError.from_exception_data("customer", wrong)
        return customer  # type: ignore[no-any-return]

    @property
    def identities(self) -> frozenset[str]:
        """Every way this customer is named. Two events with one in common are of one customer and stay in order."""
        named = {"email": self.email and self.email.casefold(), "phone": self.phone_number, "id": self.id}
        named |= {f"provider:{provider}": value for provider, value in self.provider_ids.items()}
        return frozenset(f"{kind}={value}" for kind, value in named.items() if value)

    @property
    def contacts(self) -> tuple[str, ...]:
        """Where this customer can be reached: what no log may hold."""
        return tuple(value for value in (self.email, self.phone_number) if value)


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
    destinations: Annotated[list[Destination], Field(min_length=1)] | None = None
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
        texts = {*_contact_forms(customer), *chain(*map(_written, [*named, *self.properties.values(), self.value]))}
        return tuple(
            sorted((text for text in texts if text.strip() and text.lower() not in _FIELDS), key=len, reverse=True)
        )

    def to_json(self) -> str:
        """The event as compact JSON text without absent fields: the body of a lane message."""
        text = self.model_dump_json(exclude_none=True, exclude_defaults=True)
        # The two characters that JSON lets stand and SQS refuses.
        return text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


_FIELDS = {*Customer.model_fields, *Event.model_fields}


def _contact_forms(customer: Customer) -> Iterator[str]:
    yield from customer.contacts
    if customer.email:
        mailbox = customer.email.partition("@")[0]
        yield from (mailbox, mailbox.partition("+")[0])
    if customer.phone_number:
        # Without its country code, which has one to three digits.
        yield from (customer.phone_number[1 + digits :] for digits in range(4))


def _written(value: Scalar | None) -> Iterator[str]:
    """A property's value as text, a number in the ways it may be written."""
    match value:
        case bool() | None:
            return
        case float():
            yield from (str(value), f"{value:.2f}", f"{value:g}")
            if value.is_integer():
                yield str(int(value))
        case _:
            yield str(value)


def parse_json(text: str) -> object:
    """Reads JSON as the contract wants it: no NaN, no key twice, no endless nesting.

    Raises InvalidEventError with field `body`, or the path of the key that stands twice.
    """
    twice: list[tuple[dict[str, Any], str]] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            keys = [key for key, _ in items]
            twice.extend((made, key) for key in made if keys.count(key) > 1)
        return made

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
    except InvalidEventError:
        raise
    except RecursionError:
        raise _bad_body("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _bad_body(f"is not JSON: {error.msg} at character {error.pos}" if text.strip() else "is empty") from None
    except ValueError:
        raise _bad_body("holds a number that is too long") from None
    if twice:
        paths = _paths(value)
        raise InvalidEventError(
            FieldError(_path((*paths.get(id(holder), ()), key)), "stands twice") for holder, key in twice
        )
    return value


def parse_event(data: object, validate: Callable[[Any], Event] | None = None) -> Event:
    """Validates parsed JSON as an event, with `validate` (by default the model itself).

    Raises InvalidEventError with every error at once, each naming its field.
    """
    if not isinstance(data, Mapping):
        raise _bad_body(f"must be a JSON object, is {_KINDS.get(type(data), 'something else')}")
    given = data.get("id")
    event_id = given if isinstance(given, str) else None
    try:
        event = (validate or Event.model_validate)(data)
    except ValidationError as error:
        raise InvalidEventError(field_errors(error), event_id) from None
    size = len(event.to_json().encode())
    if size > MAX_EVENT_BYTES:
        raise InvalidEventError([FieldError("body", f"is {size} bytes long, at most {MAX_EVENT_BYTES}")], event_id)
    return event


def field_errors(error: ValidationError, root: str = "body") -> list[FieldError]:
    """A pydantic error as field errors, in the order found. Never holds the input."""
    return [
        FieldError(_path(e["loc"]) or root, _message(e)) for e in error.errors(include_input=False, include_url=False)
    ]


_KINDS = {list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of an event",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "too_short": "must name at least one, or be left out",
}


def _path(parts: Iterable[str | int]) -> str:
    # Part by part: a key may itself be an e-mail address.
    return ".".join(mask_identifiers(str(part)) for part in parts)


def _message(error: Any) -> str:
    return str(_MESSAGES.get(error["type"], error["msg"]))


def _bad_body(message: str) -> InvalidEventError:
    return InvalidEventError([FieldError("body", message)])


def _no_constant(name: str) -> None:
    raise _bad_body(f"holds {name}, which is not a JSON number")


def _paths(root: object) -> dict[int, tuple[str, ...]]:
    paths: dict[int, tuple[str, ...]] = {}
    stack: list[tuple[object, tuple[str, ...]]] = [(root, ())]
    while stack:
        node, path = stack.pop()
        if isinstance(node, dict):
            paths[id(node)] = path
            stack.extend((value, (*path, key)) for key, value in node.items())
        elif isinstance(node, list):
            stack.extend((value, (*path, str(index))) for index, value in enumerate(node))
    return paths
