"""One block per provider, all of one shape: what is mended in one lane is mended in all."""

import json
from typing import Any

import pytest

from relay.providers import PROVIDERS as CODE
from tests.template.stack import PROVIDERS, Stack


def lane(things: dict[str, Any], provider: str) -> dict[str, Any]:
    """A provider's share of a section, with its name taken out."""
    own = {name: thing for name, thing in things.items() if name.startswith(provider.capitalize())}
    text = json.dumps(own).replace(provider.capitalize(), "Provider").replace(provider, "provider")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("section", ["Resources", "Outputs"])
def test_lanes_do_not_drift(stack: Stack, section: str) -> None:
    """Every lane has the same resources and outputs, with the same properties, in the same order."""
    first, *others = (lane(stack.body[section], provider) for provider in PROVIDERS)
    assert first
    for other in others:
        assert list(other) == list(first)
        assert other == first


def test_base_urls_differ_in_nothing_but_the_url(stack: Stack) -> None:
    """Every provider's base URL is described and checked in the same way."""
    first, *others = (lane(stack.parameters, provider) for provider in PROVIDERS)
    assert list(first) == ["ProviderBaseUrl"]
    for other in [first, *others]:
        assert other["ProviderBaseUrl"].pop("Default").startswith("https://")
    assert all(other == first for other in others)


def test_dashboard_rows_do_not_drift(stack: Stack) -> None:
    """The dashboard has the same row for every lane."""
    (dashboard,) = stack.of("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]
    rows = []
    for provider in PROVIDERS:
        row = {one["properties"]["title"]: one | {"y": 0} for one in widgets}
        rows.append(lane(row, provider))
    assert rows[0]
    assert all(row == rows[0] for row in rows)


def test_every_provider_of_the_code_has_a_lane(stack: Stack) -> None:
    """A provider without a lane could not be delivered to."""
    assert set(CODE) == set(PROVIDERS)
    assert all(lane(stack.resources, provider) for provider in CODE)
