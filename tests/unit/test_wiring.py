"""What the wiring puts together, as far as only the whole shows it."""

from collections.abc import Callable

import pytest

from relay import wiring
from relay.contract.destination import KNOWN, Destination
from tests.kinds import OVERWRITES
from tests.unit.test_settings import DELIVER


def test_deliver_knows_so_many_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN `<provider>/*` THEN it knows the accounts it had last, their providers and secrets, and no others."""
    for name, value in {**DELIVER, "RELAY_DESTINATIONS": f"{OVERWRITES}/*", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    lane = wiring.deliver()._lane
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
