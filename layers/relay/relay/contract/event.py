"""The customer event, version 1.1: the public contract that intake accepts and every request is built from."""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, to_json

from relay.contract import foreign
from relay.contract.fields import (
    UNNAMED,
    Backfill,
    Bounded,
    Currency,
    Destinations,
    Email,
    Moment,
    Name,
    Number,
    PhoneNumber,
    Properties,
    ProviderIds,
    Scalar,
    field_errors,
    invalid,
    iso,
    left_out,
    message,
)
from relay.contract.parsing import bad_body
from relay.errors import MOST_ERRORS, FieldError, InvalidEventError
from relay.masking import HOSTERS, LONGEST_ID, from_punycode, shorten, to_punycode

MAX_EVENT_BYTES = 256 * 1024
"""The `Event.size` that every lane carries with room for what the relay and SQS add."""

IDENTIFIERS = ("email", "phone_number", "id", "provider_ids")
"""The fields that say who a customer is; at least one is needed."""


class _Contract(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: object, validate: ValidatorFunctionWrapHandler) -> Self:
        """A field that is null is absent; every error there is, but of unknown fields the first only."""
        fields = cls.__pydantic_fields__.keys()
        unknown: list[object] = []
        if type(data) is not dict or None in data.values() or not data.keys() <= fields:
            if not isinstance(data, Mapping):
                return validate(data)  # type: ignore[no-any-return]
            unknown = [key for key in data if key not in fields]
            data = {key: value for key, value in data.items() if value is not None and key in fields}
        made = None
        wrong: list[InitErrorDetails] = []
        try:
            made = validate({**data, **dict.fromkeys(unknown[:MOST_ERRORS])} if unknown else data)
        except ValidationError as error:
            wrong = [_again(each) for each in error.errors(include_input=False, include_url=False)]
        if lacks := cls._lacks(data):
            wrong.append(InitErrorDetails(type=invalid(lacks), loc=(), input=None))
        wrong += left_out(len(unknown) - MOST_ERRORS)
        if wrong or made is None:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return made  # type: ignore[no-any-return]

    @classmethod
    def _lacks(cls, _data: Mapping[str, object], /) -> str:
        """What is wrong with the fields together; empty: nothing."""
        return ""


def _again(error: ErrorDetails) -> InitErrorDetails:
    """An error read from one ValidationError, to be raised in another."""
    if error["type"] == UNNAMED:
        return {**left_out(error["ctx"]["count"])[0], "loc": error["loc"]}
    return InitErrorDetails(type=invalid(message(error)), loc=error["loc"], input=None)


class Customer(_Contract):
    """Who did it: at least one identifier, and what is known of them."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [name]} for name in IDENTIFIERS]})

    email: Email | None = None
    phone_number: PhoneNumber | None = None
    id: Bounded | None = None
    provider_ids: ProviderIds = {}
    properties: Properties = {}

    @classmethod
    def _lacks(cls, data: Mapping[str, object], /) -> str:
        for name in IDENTIFIERS:
            if name in data and _names_somebody(data[name]):
                return ""
        return "needs at least one of email, phone_number, id, provider_ids"

    @property
    def identities(self) -> frozenset[str]:
        """Every way this customer is named. Two events with one in common are of one customer and stay in order."""
        named = {"email": self.email and _one_spelling(self.email), "phone": self.phone_number, "id": self.id}
        named |= {f"provider:{provider}": value for provider, value in self.provider_ids.items()}
        return frozenset(f"{kind}={value}" for kind, value in named.items() if value)

    @property
    def line(self) -> str:
        """The one of these names by which a customer's events stay in one of several groups: the id, where there is
        one, else the address, else the number, else the first of what providers call the customer.
        """
        order = ("id=", "email=", "phone=")
        names = sorted(self.identities)
        return next((name for kind in order for name in names if name.startswith(kind)), names[0])

    @property
    def contacts(self) -> tuple[str, ...]:
        """Where this customer can be reached: what no log may hold."""
        return tuple(value for value in (self.email, self.phone_number) if value)


def _one_spelling(email: str) -> str:
    """The same for every way to write one address: capitals, accents of their own, full width, a domain as `xn--`."""
    if email.isascii() and "xn--" not in (plain := email.lower()):
        return plain
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
    backfill: Backfill = False

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of what the producer said happened; where it goes, when it turns stale and whether it
        is history do not count.
        """
        said = self._said(destinations=None, expires_at=None, backfill=None)
        customer = {"provider_ids": {}, "properties": {}} | said["customer"]
        canonical = _canonical({"properties": {}} | said | {"customer": customer})
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
        """The event as compact JSON text without absent fields."""
        return _compact(self._said())

    @property
    def data(self) -> dict[str, Any]:
        """The fields that are not absent, as JSON has them."""
        return self._said()

    def for_each(self, destinations: Sequence[str], occurred_at: datetime) -> list[str]:
        """The event as the body of a message to each of these alone: compact JSON text without absent fields."""
        # Written once: of the fields behind the destinations none may be text, and a test sees to it.
        before, _, after = _compact(self._said(occurred_at=occurred_at, destinations=[""])).rpartition('""')
        return [f"{before}{_compact(name)}{after}" for name in destinations]

    @property
    def size(self) -> int:
        """UTF-8 bytes of what the producer alone says, as compact JSON: the same before and after the relay has put its
        own `occurred_at` and the one destination into a lane's copy.
        """
        return len(_compact(self._said(occurred_at=None, destinations=None)).encode())

    def _said(self, **instead: object) -> dict[str, Any]:
        """The fields that are not absent, as JSON takes them, with others in the place of some."""
        said = _present(vars(self) | instead)
        said["customer"] = _present(vars(self.customer))
        for name in ("occurred_at", "expires_at"):
            if name in said:
                said[name] = iso(said[name])
        return said


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    # None is absent, and so are an empty map and what is not so. Zero is a value.
    return {name: value for name, value in fields.items() if value or (value == 0 and value is not False)}


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def _compact(said: object) -> str:
    text = to_json(said).decode()
    # The two characters that JSON lets stand and SQS refuses.
    return text if text.isascii() else text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


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
    """Validates parsed JSON as an event, with `validate` (by default the model itself). It may be one of the formats
    that `foreign` knows.

    Raises InvalidEventError with every error at once, each naming its field as its producer calls it.
    """
    if not isinstance(data, Mapping):
        raise bad_body(f"must be a JSON object, is {_KINDS.get(type(data), 'something else')}")
    # Every event of ours has the one, and none the other.
    theirs = foreign.read(data) if "customer" not in data or "specversion" in data else None
    if theirs:
        data = theirs.event
    try:
        event = (validate or Event.model_validate)(data)
    except ValidationError as error:
        errors = field_errors(error)
        raise InvalidEventError(theirs.errors(errors) if theirs else errors, _id(data)) from None
    if (size := event.size) > MAX_EVENT_BYTES:
        raise InvalidEventError([FieldError("body", f"is {size} bytes long, at most {MAX_EVENT_BYTES}")], _id(data))
    return event


def _id(data: Mapping[Any, object]) -> str | None:
    """What stands for the event in a rejection."""
    given = data.get("id")
    return shorten(given, LONGEST_ID) if isinstance(given, str) else None


_KINDS = {list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
