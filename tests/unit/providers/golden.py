"""Reads the golden cases: `tests/golden/<provider>/*.json` (requests) and `tests/golden/<provider>/replies/*.json`.

A request case holds `title`, `seed` (the sentences of the provider's page that it proves), `base_url`, `credentials`,
`settings` (optional), `event`, and `expect`: `method`, `url`, `headers`, `body`; or `refused_by` (`contract` or
`provider`) and `errors`, each a `field` and what its message contains.

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


def load(path: Path) -> Case:
    provider, *name = path.relative_to(GOLDEN).with_suffix("").parts
    return Case(provider, "/".join(name), json.loads(path.read_text(), object_hook=_repeat))


def case(provider: str, name: str) -> Case:
    return load(GOLDEN / provider / f"{name}.json")


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
