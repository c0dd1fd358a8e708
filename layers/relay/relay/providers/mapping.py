"""What one destination gets of the events, and under which names: a setting, so that nobody has to write code.

Which events go there is asked once, when they are taken in; they are changed before a provider makes its request. The
event as accepted is what the ledger knows, whatever a mapping makes of it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Any, Self

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from relay.contract.event import Customer, Event
from relay.contract.fields import Currency, Name, Number, Properties, Scalar, invalid, message

OF_THE_EVENT = "properties."
OF_THE_CUSTOMER = "customer.properties."

ANY = "*"
"""In a pattern: any characters, or none."""

_TYPES = re.compile(r"[A-Za-z0-9_*]{1,255}")
_SIDE_BY_SIDE = frozenset(
    {
        *("and_expression", "or_expression", "not_expression", "comparator", "function_expression"),
        *("multi_select_list", "multi_select_dict", "key_val_pair"),
    }
)
"""The nodes of an expression whose parts are all asked of the same."""

_WHITE_SPACE = re.compile(r"\s")
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_FIELDS: Mapping[str, TypeAdapter[Any]] = {
    "source": _NAME,
    "value": TypeAdapter(Number),
    "currency": TypeAdapter(Currency),
}
"""What a constant may be, besides a property."""
_PROPERTIES: TypeAdapter[dict[str, Scalar]] = TypeAdapter(Properties)

type Wrong = tuple[tuple[str | int, ...], str]
"""Where something is wrong in a mapping, and what."""


def _wrong_with(expression: str) -> str:
    """Of what is no JMESPath, and of what asks for something that no event has; empty for what is right."""
    try:
        parsed = jmespath.compile(expression).parsed
    except JMESPathError as error:
        # The lines below it draw the place.
        return f"is no JMESPath: {str(error).splitlines()[0].removesuffix(', for expression:')}"
    if any(
        each["type"] == "subexpression" and each["children"][0]["type"] == "not_expression" for each in _all(parsed)
    ):
        return "denies what stands before the dot only: write !(a.b)"
    for function, arguments in _called(parsed):
        if function not in Functions.FUNCTION_TABLE:
            return f"calls {function}, which is no function of JMESPath"
        if not _fits(function, arguments):
            return f"calls {function} with {arguments} arguments, which is not as many as it takes"
    for asked in _asked(parsed):
        is_of_the_customer = asked[0] == "customer" and len(asked) > 1
        fields = (Customer if is_of_the_customer else Event).model_fields
        name = asked[1] if is_of_the_customer else asked[0]
        if name not in fields:
            return f"asks for {name}, which is none of {', '.join(fields)}"
    return ""


def _all(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for each in node["children"]:
        if isinstance(each, dict):  # A slice has numbers.
            yield from _all(each)


def _called(parsed: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every function that an expression calls, and with how many arguments.

    JMESPath itself tells of a wrong one only when it comes to it.
    """
    return ((each["value"], len(each["children"])) for each in _all(parsed) if each["type"] == "function_expression")


def _fits(function: str, arguments: int) -> bool:
    taken = Functions.FUNCTION_TABLE[function]["signature"]
    return arguments >= len(taken) if taken and taken[-1].get("variadic") else arguments == len(taken)


def _asked(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The paths that a parsed expression asks the event itself for."""
    kind, inside = node["type"], node["children"]
    if kind == "field":
        yield (node["value"],)
    elif kind == "subexpression" and inside[0]["type"] in ("field", "current"):
        if names := tuple(each["value"] for each in inside if each["type"] == "field"):
            yield names
    elif kind in _SIDE_BY_SIDE:
        for each in inside:
            yield from _asked(each)
    elif inside and kind != "expref":
        # What follows is asked of what the first leads to.
        yield from _asked(inside[0])


def _matches(patterns: Iterable[str]) -> re.Pattern[str]:
    """What any of the patterns matches, as a whole."""
    # Only * stands for anything here; fnmatch's expressions do not go back and forth.
    return re.compile("|".join(translate(re.sub(r"([?[])", r"[\1]", each)) for each in patterns) or r"(?!)")


def _whose(path: str) -> tuple[str, str]:
    """Whether it is the event's or its customer's, and the property's name; both empty where it is none."""
    for whose in (OF_THE_CUSTOMER, OF_THE_EVENT):
        if path.startswith(whose) and path != whose:
            return whose, path.removeprefix(whose)
    return "", ""


def _with(event: Event, path: str, value: Scalar) -> Event:
    whose, name = _whose(path)
    if whose == OF_THE_CUSTOMER:
        customer = event.customer.model_copy(update={"properties": {**event.customer.properties, name: value}})
        return event.model_copy(update={"customer": customer})
    changed = {"properties": {**event.properties, name: value}} if whose else {path: value}
    return event.model_copy(update=changed)


@dataclass(frozen=True, slots=True)
class _Changes:
    """What becomes of one map of properties: the event's, or its customer's."""

    dropped: re.Pattern[str]
    names: Mapping[str, str]
    constants: Mapping[str, Scalar]

    def of(self, properties: Mapping[str, Scalar]) -> dict[str, Scalar]:
        kept = {name: value for name, value in properties.items() if not self.dropped.fullmatch(name)}
        as_they_are = {name: value for name, value in kept.items() if name not in self.names}
        renamed = {self.names[name]: value for name, value in kept.items() if name in self.names}
        return {**as_they_are, **renamed, **self.constants}


class EventMapping(BaseModel):
    """The setting `mapping` of a destination. `types` and `require` say which events go there; what they are there, the
    others do, in their order: each takes the place of what has its name by then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    types: tuple[str, ...] | None = None
    """By name or pattern (`order_*`); None: all."""
    require: str | None = None
    """JMESPath over the event: only what is `true` goes there. Such as `customer.properties.marketing_consent`."""
    drop: tuple[str, ...] = ()
    """Properties that are left out, by path or pattern (`properties.utm_*`)."""
    rename: dict[str, str] = {}
    """Properties under another name: `properties.total` as `order_total`."""
    constants: dict[str, Any] = {}
    """What every event has there: properties by path; `source`, `value`, `currency`."""
    rename_types: dict[str, str] = {}

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        found = [*self._wrong_types(), *self._wrong_paths(), *self._wrong_names(), *self._wrong_constants()]
        if found:
            errors = [InitErrorDetails(type=invalid(what), loc=where, input=None) for where, what in found]
            raise ValidationError.from_exception_data("mapping", errors)
        return self

    def skips(self, event: Event) -> str:
        """Why an event does not go there; empty where it does."""
        if not self._takes(event.type):
            return f"mapping.types does not have {event.type}"
        if self.require is None:
            return ""
        try:
            given = jmespath.search(self.require, event.data)
        except Exception as error:  # A function was given a value that it does not take, or a list no step.
            return f"mapping.require cannot be told: {type(error).__name__}"
        return "" if given is True else "mapping.require is not true"

    def apply(self, event: Event) -> Event:
        """The event as the destination gets it."""
        of_the_event, of_the_customer = self._changes
        customer = event.customer.model_copy(update={"properties": of_the_customer.of(event.customer.properties)})
        changed = {
            **{name: value for name, value in self.constants.items() if name in _FIELDS},
            "type": self.rename_types.get(event.type, event.type),
            "customer": customer,
            "properties": of_the_event.of(event.properties),
        }
        return event.model_copy(update=changed)

    def each(self, event: Event) -> Iterator[tuple[tuple[str, str], list[Event]]]:
        """The event with one thing at a time that is changed by it, by where that stands: whatever the value, where a
        property gets another name.
        """
        for name, new in self.rename_types.items():
            yield ("rename_types", name), [event.model_copy(update={"type": new})]
        for path, name in self.rename.items():
            yield ("rename", path), [_with(event, f"{_whose(path)[0]}{name}", value) for value in ("x", 1, True)]
        for path, value in self.constants.items():
            yield ("constants", path), [_with(event, path, value)]

    @property
    def told(self) -> list[str]:
        """What it changes in an event, a change each."""
        return [
            *(f"no {path}" for path in self.drop),
            *(f"{path} as {name}" for path, name in self.rename.items()),
            *(f"{path} = {value}" for path, value in self.constants.items()),
            *(f"type {name} as {new}" for name, new in self.rename_types.items()),
        ]

    @cached_property
    def _types(self) -> re.Pattern[str]:
        return _matches((ANY,) if self.types is None else self.types)

    @cached_property
    def _changes(self) -> tuple[_Changes, _Changes]:
        return self._of(OF_THE_EVENT), self._of(OF_THE_CUSTOMER)

    def _of(self, owner: str) -> _Changes:
        def mine[Value](given: Mapping[str, Value]) -> dict[str, Value]:
            return {name: value for path, value in given.items() for whose, name in [_whose(path)] if whose == owner}

        return _Changes(_matches(mine(dict.fromkeys(self.drop))), mine(self.rename), mine(self.constants))

    def _takes(self, name: str) -> bool:
        return bool(self._types.fullmatch(name))

    # ---------------------------------------------------------------------------------------------- what can be wrong

    def _wrong_types(self) -> Iterator[Wrong]:
        if self.types == ():
            yield ("types",), "must name at least one, or be left out"
        for place, name in enumerate(self.types or ()):
            if not _TYPES.fullmatch(name):
                yield ("types", place), "must be a type, in which * stands for any characters, such as order_*"
        if self.require is not None and (wrong := _wrong_with(self.require)):
            yield ("require",), wrong
        for name, new in self.rename_types.items():
            if ANY in name:
                yield ("rename_types", name), "is one type, without *"
                continue
            yield from _wrong_value(("rename_types", name), _NAME, name)
            if not self._takes(name):
                yield ("rename_types", name), "never comes here: types does not have it"
            yield from _wrong_value(("rename_types", name), _NAME, new)

    def _wrong_paths(self) -> Iterator[Wrong]:
        places = [*(("drop", path) for path in self.drop), *(("rename", path) for path in self.rename)]
        places += [("constants", path) for path in self.constants if path not in _FIELDS]
        for part, path in places:
            if not _whose(path)[0]:
                besides = f", or {', '.join(_FIELDS)}" if part == "constants" else ""
                yield (part, path), f"is no property: write properties.NAME, customer.properties.NAME{besides}"
            elif ANY in path and part != "drop":
                yield (part, path), "is one property, without *"

    def _wrong_names(self) -> Iterator[Wrong]:
        taken: dict[str, str] = {}
        for path, name in self.rename.items():
            whose, old = _whose(path)
            if not name or _WHITE_SPACE.search(name) or ANY in name:
                yield ("rename", path), "must be a name without white space and *"
            elif new := _whose(name)[1]:
                yield ("rename", path), f"is a path: write {new}, it stays in its own map"
            elif self._of(whose).dropped.fullmatch(old):
                yield ("rename", path), "is dropped: there is nothing to rename"
            elif (other := taken.setdefault(f"{whose}{name}", path)) != path:
                yield ("rename", path), f"has the name that {other} has"
            elif f"{whose}{name}" in self.constants:
                yield ("rename", path), f"has the name that constants.{whose}{name} has"
            else:
                yield from _wrong_value(("rename", path), _PROPERTIES, {name: True})

    def _wrong_constants(self) -> Iterator[Wrong]:
        for path, value in self.constants.items():
            if value is None:
                yield ("constants", path), "must not be null: drop leaves a property out"
            elif path in _FIELDS:
                yield from _wrong_value(("constants", path), _FIELDS[path], value)
            elif name := _whose(path)[1]:
                yield from _wrong_value(("constants", path), _PROPERTIES, {name: value})


def _wrong_value(where: tuple[str | int, ...], kind: TypeAdapter[Any], value: object) -> Iterator[Wrong]:
    try:
        kind.validate_python(value)
    except ValidationError as error:
        yield from ((where, message(each)) for each in error.errors())
