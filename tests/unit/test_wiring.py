"""What the wiring puts together, as far as only the whole shows it."""

import json
from collections.abc import Callable

import pytest

from relay.contract.destination import KNOWN, Destination
from relay.wiring.deliver import deliver
from relay.wiring.intake import intake
from tests.factories import make_event
from tests.kinds import OVERWRITES, REPEATS
from tests.unit.test_settings import DELIVER, INTAKE


def test_intake_and_deliver_are_wired_with_the_groups_of_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are set: intake puts a customer's events into one of them, deliver knows how many share the account."""
    given = json.dumps({OVERWRITES: {"groups": 4, "requests": 7}})
    for name, value in {**INTAKE, **DELIVER, "RELAY_DESTINATION_SETTINGS": given}.items():
        monkeypatch.setenv(name, value)
    destination = Destination(f"{OVERWRITES}/main")
    terms = deliver()._lane.accounts(destination).pace.terms
    assert (terms.groups, terms.limits[0].requests) == (4, 7)
    assert intake()._intake.groups(destination) == 4


def test_intake_asks_mappings_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a mapping of one destination THEN it says what goes there, and nothing of the others; GIVEN none THEN none
    is asked.
    """
    own, other = Destination(f"{OVERWRITES}/main"), Destination(f"{REPEATS}/main")
    for name, value in INTAKE.items():
        monkeypatch.setenv(name, value)
    assert intake()._intake.skips is None
    given = {own: {"mapping": {"types": ["order_*"]}}, REPEATS: {"groups": 2}}
    monkeypatch.setenv("RELAY_DESTINATION_SETTINGS", json.dumps(given))
    skips = intake()._intake.skips
    assert skips
    assert [skips(own, make_event(type=name)) for name in ("order_x", "x")] == ["", "mapping.types does not have x"]
    assert skips(other, make_event(type="x")) == ""


def test_deliver_knows_so_many_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN `<provider>/*` THEN it knows the accounts it had last, their providers and secrets, and no others."""
    for name, value in {**DELIVER, "RELAY_DESTINATIONS": f"{OVERWRITES}/*", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    lane = deliver()._lane
    known: dict[str, Callable[..., object]] = {
        "accounts": lane.accounts,
        "providers": lane.services.provider_for,
        "secrets": lane.services.secrets._secret,  # type: ignore[attr-defined]
    }
    for what, get in known.items():
        first, busy = get(Destination(f"{OVERWRITES}/first")), get(Destination(f"{OVERWRITES}/busy"))
        for number in range(KNOWN - 1):
            get(Destination(f"{OVERWRITES}/{number}"))
            assert get(Destination(f"{OVERWRITES}/busy")) is busy, what
        assert get(Destination(f"{OVERWRITES}/first")) is not first, what
