"""Reads the golden cases: `tests/golden/<provider>/*.json` (requests) and `tests/golden/<provider>/replies/*.json`.

A request case holds `title`, `seed` (the sentences of the provider's page that it proves), `base_url`, `credentials`,
`settings` (optional), `event`, and `expect`: `method`, `url`, `headers`, `body`; or `refused_by` (`contract` or
`provider`) and `errors`, each a `field` and what its message contains.

A request case may be `like` another of its provider, such as `least`, and hold only what differs: fields of its event
take the place of the other's, null takes one away; what it expects is a merge patch (RFC 7396), in which an item of a
list is named by its place. Its body has the order that `everything` has.

A reply case holds `title`, `basis` (seed, docs or assumed), `now`, `reply` (`status`, `headers`, `body`) and `expect`:
`outcome`, `budget` (what is not named is unsaid; `quotas` where it is of several windows), `detail`.

`{"$repeat": ["é", 1024, "x", 1]}` is a long text: 1,024 times é, once x.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from relay.contract.event import Event, parse_event
from relay.errors import RelayError
from relay.ports import Request
from relay.providers import PROVIDERS
from relay.providers.base import Provider
from relay.providers.limits import Budget, Quota

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"


@dataclass(frozen=True)
class Case:
    """One golden case. `name` is its path below its provider's folder, without `.json`."""

    provider: str
    name: str
    data: dict[str, Any] = field(repr=False)

    @property
    def subject(self) -> Provider:
        """The provider as the case sets it up."""
        kind = PROVIDERS[self.provider]
        return kind(
            self.data.get("base_url", "https://provider.example"),
            kind.settings_model.model_validate(self.data.get("settings", {})),
        )

    @property
    def event(self) -> Event:
        """Raises InvalidEventError where the contract refuses the case's event."""
        return parse_event(self.data["event"])

    def build(self) -> Request:
        return self.subject.build(self.event, self.data["credentials"])


def _repeat(made: dict[str, Any]) -> Any:
    if list(made) != ["$repeat"]:
        return made
    parts = made["$repeat"]
    return "".join(text * times for text, times in zip(parts[::2], parts[1::2], strict=True))


def load(path: Path, golden: Path = GOLDEN) -> Case:
    """The case of that file, whole. `golden` is the folder of all."""
    provider, *name = path.relative_to(golden).with_suffix("").parts
    data = json.loads(path.read_text(), object_hook=_repeat)
    if "like" in data:
        other, everything = (load(path.with_name(f"{one}.json"), golden) for one in (data.pop("like"), "everything"))
        data = _completed(data, other.data, everything.data["expect"]["body"])
    return Case(provider, "/".join(name), data)


def case(provider: str, name: str) -> Case:
    return load(GOLDEN / provider / f"{name}.json")


def _completed(data: dict[str, Any], other: dict[str, Any], order: Any) -> dict[str, Any]:
    event = {**other["event"], **data.get("event", {})}
    expected = data.get("expect", {})
    if "errors" not in expected:
        expected = _patched(other["expect"], expected)
        expected["body"] = _ordered(expected["body"], order)
    event = {name: value for name, value in event.items() if value is not None}
    return {**other, **data, "event": event, "expect": expected}


def _patched(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    if isinstance(value, list):
        return [_patched(one, patch[place]) if (place := str(at)) in patch else one for at, one in enumerate(value)]
    whole = dict(value) if isinstance(value, dict) else {}
    whole |= {name: _patched(whole.get(name), change) for name, change in patch.items()}
    return {name: one for name, one in whole.items() if one is not None}


def _ordered(value: Any, order: Any) -> Any:
    match value, order:
        case dict(), dict():
            names = [*(name for name in order if name in value), *(name for name in value if name not in order)]
            return {name: _ordered(value[name], order.get(name)) for name in names}
        case list(), [first, *_]:
            return [_ordered(one, first) for one in value]
    return value


REQUESTS = [load(path) for path in sorted(GOLDEN.glob("*/*.json"))]
REPLIES = [load(path) for path in sorted(GOLDEN.glob("*/replies/*.json"))]
SENT = [one for one in REQUESTS if "errors" not in one.data["expect"]]
REFUSED = [one for one in REQUESTS if "errors" in one.data["expect"]]


def each(cases: list[Case]) -> pytest.MarkDecorator:
    """Parametrises a test over cases, named by provider and file."""
    return pytest.mark.parametrize("golden", cases, ids=lambda one: f"{one.provider}-{one.name}")


def budget(expected: Mapping[str, Any]) -> Budget:
    """What a reply case expects to be said."""
    only = {name: value for name, value in expected.items() if name not in ("quotas", "retry_after")}
    quotas = expected.get("quotas", [only] if only else [])
    return Budget(tuple(Quota(**quota) for quota in quotas), expected.get("retry_after"))


def said(found: Budget) -> Budget:
    """A budget without quotas that say nothing."""
    return replace(found, quotas=tuple(quota for quota in found.quotas if quota != Quota()))


def compact(value: object) -> bytes:
    """JSON as it should leave: UTF-8, nothing escaped that need not be, no space between."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def refusal(golden: Case) -> tuple[str, list[tuple[str, str]]]:
    """Who refuses the case's event (`contract`, `provider`, `nobody`), and the errors as (field, message)."""
    stage = "contract"
    try:
        event = golden.event
        stage = "provider"
        golden.subject.build(event, golden.data["credentials"])
    except RelayError as error:
        return stage, [(one.field, one.message) for one in getattr(error, "errors", ())]
    return "nobody", []


def settings_of(name: str) -> dict[str, FieldInfo]:
    """The settings that a provider's page tells of: `mapping` is the same for all, and has a page of its own."""
    return {key: each for key, each in PROVIDERS[name].settings_model.model_fields.items() if key != "mapping"}
