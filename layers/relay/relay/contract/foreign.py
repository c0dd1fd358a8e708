"""What others already send, read as events: Segment's and RudderStack's `track`, and CloudEvents 1.0.

Each format is a table: a field of ours, and where theirs has it. The paths are JMESPath (https://jmespath.org). What
becomes of the rest is in docs/connect.md, with the pages of the formats that the tables were read in.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath

from relay.contract.currencies import CURRENCIES
from relay.contract.fields import snake_case
from relay.contract.parsing import parse_json
from relay.errors import FieldError, InvalidEventError
from relay.masking import LONGEST_ID, mask_identifiers, shorten

_OURS = frozenset({"id", "source", "type", "customer"})
"""What every event of ours has."""

_ATTRIBUTE = re.compile(r"ce[-_]([a-z0-9]+)", re.IGNORECASE)
"""As HTTP (`ce-id`) and Kafka (`ce_id`) name a CloudEvent's attributes. There is no binding for SQS and SNS."""

LONGEST_BEFORE = 100
"""Characters of an object's name that go before those of what is in it. One with a longer name is left out: a megabyte
may hold a long name, and very much under it.
"""

_SEPARATORS = re.compile(r"[\s().\-/]+")
_WHITE_SPACE = re.compile(r"\s+")


def _is_there(value: object) -> bool:
    return value is not None and value != ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    return (isinstance(value, str) and bool(value)) or (isinstance(value, int) and not isinstance(value, bool))


def _is_currency(value: object) -> bool:
    return isinstance(value, str) and value.upper() in CURRENCIES


def _is_object(value: object) -> bool:
    """With something in it: an empty one hides nothing that comes after it."""
    return isinstance(value, dict) and bool(value)


def _as_it_is(value: Any) -> Any:
    return value


def _as_name(value: object) -> str:
    """`Order Completed` as a type: `order_completed`; empty for what cannot be put so.

    An address or a number in it cannot: as part of a name nothing that hides them would know them again.
    """
    if not isinstance(value, str) or len(value) > LONGEST_ID or mask_identifiers(value) != value:
        return ""
    return snake_case(value)


def _is_name(value: object) -> bool:
    return bool(_as_name(value))


def _name(value: Any) -> Any:
    """What cannot be a name stays, and is an error."""
    return _as_name(value) or value


def _upper(value: str) -> str:
    return value.upper()


def _id_text(value: Any) -> Any:
    """A whole number as text. What is no id stays, and is an error: nobody else's is taken in its place."""
    return str(value) if _is_id(value) else value


def _boolean(value: Any) -> Any:
    """Attributes of a message are text."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _phone_number(value: Any) -> Any:
    """Without what people put between the digits of an international number."""
    return _SEPARATORS.sub("", value) if isinstance(value, str) and value.lstrip().startswith("+") else value


@dataclass(frozen=True, slots=True)
class At:
    """Where a field is found: at the first of these paths that leads to what `fits`; `make` turns it into ours."""

    paths: tuple[str, ...]
    fits: Callable[[object], bool] = _is_there
    make: Callable[[Any], Any] = _as_it_is

    def find(self, data: Mapping[str, Any]) -> tuple[str, Any] | None:
        """The path, and what is there, as ours."""
        for each in self.paths:
            value = jmespath.search(each, data)
            if self.fits(value):
                return each, self.make(value)
        return None


@dataclass(frozen=True, slots=True)
class Format:
    """How somebody else's events are known, and where in them our fields are."""

    fields: Mapping[str, At]
    """By our field, dotted."""
    customer: Mapping[str, At]
    """Who it was, and what is known of them, likewise."""
    nobody: FieldError
    """What is wrong where nothing says who it was."""
    is_one: Callable[[Mapping[str, Any]], bool]
    refuses: Callable[[Mapping[str, Any]], FieldError | None]
    """What of this kind is no event."""
    ids_are_a_sources: bool = False
    """Its ids are unique within their source only, so that ours holds both."""
    inside: str = ""
    """The field that holds the event proper, as an object or as its JSON text."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """Somebody else's event as one of ours, not yet validated."""

    event: Mapping[str, Any] = field(repr=False)
    names: Mapping[str, str]
    """Our fields and theirs, both dotted; what stands below them is named alike."""
    nobody: FieldError | None = None

    def errors(self, found: list[FieldError]) -> list[FieldError]:
        """Errors of our fields as errors of theirs."""
        return [self._named(each) for each in found]

    def _named(self, error: FieldError) -> FieldError:
        if error.field == "customer" and self.nobody:
            return self.nobody
        if error.field == "body":
            return error
        names = error.field.split(".")
        for length in range(len(names), -1, -1):
            if (theirs := self.names.get(".".join(names[:length]))) is not None:
                return FieldError(".".join(filter(None, (theirs, *names[length:]))), error.message)
        return error


def read(data: Mapping[str, Any]) -> Theirs | None:
    """An event that is none of ours, if it is of a format that is known; None for anything else.

    Raises InvalidEventError for what is of such a format and no event, and for data that cannot be read.
    """
    kind = next((each for each in FORMATS if each.is_one(data)), None)
    if kind is None:
        return None
    if wrong := kind.refuses(data):
        raise InvalidEventError([wrong], _id(data))
    if kind.inside:
        data = {**data, kind.inside: _opened(data, kind.inside)}
        held = data[kind.inside]
        if held.keys() >= _OURS:
            return Theirs(held, {"": kind.inside})
        if kind.is_one(held):
            # Told twice: in the attributes and in the body.
            return read(held)
    return _translated(kind, data)


def from_attributes(attributes: Mapping[str, object], body: str) -> dict[str, Any] | None:
    """A CloudEvent in binary mode, its attributes beside its data, as the one object that structured mode makes of it.

    None where the attributes are not those of one.
    """
    found = {match[1].lower(): value for name, value in attributes.items() if (match := _ATTRIBUTE.fullmatch(name))}
    return {**found, "data": body} if "specversion" in found else None


def _translated(kind: Format, data: Mapping[str, Any]) -> Theirs:
    names = {ours: at.paths[0] for ours, at in kind.fields.items()}
    event, customer = dict[str, Any](), dict[str, Any]()
    for fields, into, prefix in ((kind.customer, customer, "customer."), (kind.fields, event, "")):
        for ours, at in fields.items():
            if found := at.find(data):
                names[prefix + ours], into[ours] = found
    used = [names[f"customer.{ours}"] for ours in customer]
    for fields, where in ((customer, "customer.properties"), (event, "properties")):
        if isinstance(fields.get("properties"), dict):
            fields["properties"] = _properties(fields["properties"], _named_below(names[where], used))
    if kind.ids_are_a_sources and _is_id(event.get("id")) and isinstance(source := data.get("source"), str):
        # As it is written: several may come to one name.
        event["id"] = f"{source}:{event['id']}"
    return Theirs({**event, "customer": customer}, names, kind.nobody)


def _named_below(where: str, used: Iterable[str]) -> set[str]:
    """What stands at a path and is used, or holds something that is."""
    return {each.removeprefix(f"{where}.").partition(".")[0] for each in used if each.startswith(f"{where}.")}


def _properties(values: Mapping[str, Any], without: Container[str]) -> dict[str, Any]:
    """Of what comes to one name, what is written so, else the first. Null says nothing, and takes no place."""
    made = dict[str, Any]()
    for name, value in _flat(values, without):
        if value is not None:
            made.setdefault(name, value)
    written_so = {name: values[name] for name in made if name in values and name not in without}
    return made | {name: value for name, value in written_so.items() if isinstance(value, str | bool | int | float)}


def _flat(values: Mapping[str, Any], without: Container[str] = (), before: str = "") -> Iterator[tuple[str, Any]]:
    """The values that can be properties, by names that can be theirs: what stands in an object gets its name before its
    own, a list is left out.
    """
    for key, value in values.items():
        name = before + _WHITE_SPACE.sub("_", key.strip())
        if name == before or key in without or isinstance(value, list):
            continue
        if not isinstance(value, dict):
            yield name, value
        elif len(name) <= LONGEST_BEFORE:
            yield from _flat(value, before=f"{name}_")


def _opened(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    held = data.get(name)
    if isinstance(held, str):
        try:
            held = parse_json(held)
        except InvalidEventError as error:
            inside = [
                FieldError(name if each.field == "body" else f"{name}.{each.field}", each.message)
                for each in error.errors
            ]
            raise InvalidEventError(inside, _id(data)) from None
    if not isinstance(held, dict):
        raise InvalidEventError([FieldError(name, "must be an object, with what happened and to whom")], _id(data))
    return held


def _id(data: Mapping[str, Any]) -> str | None:
    given = next((data[name] for name in ("messageId", "id") if isinstance(data.get(name), str)), None)
    return shorten(given, LONGEST_ID) if given else None


# --------------------------------------------------------------------------------------------- Segment and RudderStack

_CALLS = {
    "identify": "says who somebody is",
    "page": "says what page was seen",
    "screen": "says what screen was seen",
    "group": "says what group somebody is of",
    "alias": "says that two are one",
}
_OF_A_CALL = frozenset({"messageId", "userId", "anonymousId", "event", "originalTimestamp", "sentAt", "receivedAt"})


def _is_a_call(data: Mapping[str, Any]) -> bool:
    kind = data.get("type")
    is_batch = isinstance(data.get("batch"), list) and "type" not in data
    return is_batch or (
        isinstance(kind, str) and (kind == "track" or kind in _CALLS) and not _OF_A_CALL.isdisjoint(data)
    )


def _no_track(data: Mapping[str, Any]) -> FieldError | None:
    if "batch" in data:
        return FieldError("batch", 'holds several calls: send each by itself, or call intake with {"events": [...]}')
    if (kind := data["type"]) in _CALLS:
        return FieldError(
            "type", f"is {kind}, which {_CALLS[kind]}: only track is an event, do not send the others here"
        )
    return None


TRACK = Format(
    is_one=_is_a_call,
    refuses=_no_track,
    fields={
        "id": At(("messageId",)),
        "source": At(("context.app.name", "context.library.name", "'track'"), _is_name, _as_name),
        "type": At(("event",), make=_name),
        "occurred_at": At(("timestamp", "originalTimestamp")),
        "properties": At(("properties",)),
        "value": At(("properties.revenue", "properties.value"), _is_number),
        "currency": At(("properties.currency",), _is_currency, _upper),
        "backfill": At(("backfill",), make=_boolean),
    },
    customer={
        "id": At(("userId", "anonymousId"), make=_id_text),
        "email": At(("context.traits.email", "traits.email", "properties.email")),
        "phone_number": At(("context.traits.phone", "traits.phone", "properties.phone"), make=_phone_number),
        "properties": At(("context.traits", "traits"), _is_object),
    },
    nobody=FieldError("userId", "is required, or anonymousId, or in context.traits an email or a phone"),
)

# -------------------------------------------------------------------------------------------------------- CloudEvents


def _is_a_cloud_event(data: Mapping[str, Any]) -> bool:
    return "specversion" in data


def _no_cloud_event(data: Mapping[str, Any]) -> FieldError | None:
    version = data["specversion"]
    if not isinstance(version, str) or not version.startswith("1."):
        return FieldError("specversion", "must be 1.0")
    if "data_base64" in data and data.get("data") is None:
        return FieldError("data_base64", "is binary: send an object as data")
    return None


CLOUD_EVENT = Format(
    is_one=_is_a_cloud_event,
    refuses=_no_cloud_event,
    inside="data",
    ids_are_a_sources=True,
    fields={
        "id": At(("id",)),
        "source": At(("source",), make=_name),
        "type": At(("type",), make=_name),
        "occurred_at": At(("time",)),
        "expires_at": At(("expirytime",)),
        "properties": At(("data.properties", "data"), _is_object),
        "value": At(("data.value",), _is_number),
        "currency": At(("data.currency",), _is_currency, _upper),
        "backfill": At(("backfill",), make=_boolean),
    },
    customer={
        "id": At(
            (
                *("data.customer.id", "data.customer_id", "data.customerId", "data.customer"),
                *("data.user.id", "data.user", "data.user_id", "data.userId", "data.object.user_id"),
            ),
            _is_id,
            str,
        ),
        "email": At(("data.customer.email", "data.user.email", "data.email", "data.object.email")),
        "phone_number": At(
            (
                *("data.customer.phone_number", "data.customer.phone", "data.user.phone_number", "data.user.phone"),
                *("data.phone_number", "data.phone", "data.object.phone_number"),
            ),
            make=_phone_number,
        ),
        "provider_ids": At(("data.customer.provider_ids",), _is_object),
        "properties": At(("data.customer.properties", "data.customer", "data.user"), _is_object),
    },
    nobody=FieldError("data.customer", "needs at least one of email, phone_number, id"),
)

FORMATS = (CLOUD_EVENT, TRACK)
