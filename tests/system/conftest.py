"""One stack for the whole session, with more accounts than a user's, so that each kind of trouble has its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from local.stack import STAGE, Stack, start_stack, stop_stack
from local.steps import Steps
from relay.providers import PROVIDERS
from tests.kinds import REPEATS, SLOW
from tests.system.running import ACCOUNTS, Providers, Relay, secret, token

HOLD_SECONDS = 3
SLOW_REQUESTS, SLOW_WINDOW = 20, 5
"""The real limit of the slow provider, scaled so that three of its windows pass in seconds."""

_PARAMETERS = {
    "Destinations": ",".join(f"{provider}/{account}" for provider in PROVIDERS for account in ACCOUNTS) + f",{SLOW}/*",
    "DestinationSettings": json.dumps(
        json.dumps(
            {
                SLOW: {"requests": SLOW_REQUESTS, "window_seconds": SLOW_WINDOW},
                f"{REPEATS}/parked": {"on_unknown": "park"},
            }
        )
    ),
    "HoldSeconds": str(HOLD_SECONDS),
    # What is not even written now is never written.
    "LogLevel": "DEBUG",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is a system test; what the logs hold is read when all the others have written to them."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker("system")
    items.sort(key=lambda item: item.path == here / "test_secrecy.py")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Path]]:
    """The stack, and where its files are."""
    state = tmp_path_factory.mktemp("relay") / "state"
    try:
        yield start_stack(state, Steps(Console()), _PARAMETERS), state
    finally:
        stop_stack(state)


@pytest.fixture(scope="session")
def deployed(stack: tuple[Stack, Path]) -> Iterator[Relay]:
    """The relay, with credentials for every account but `missing`."""
    running, state = stack
    relay = Relay(running.clients, running.outputs, Providers(running.sandbox_url), state / "emulator.log")
    relay.providers.sandbox.set_limit(provider=SLOW, limit=SLOW_REQUESTS, window=SLOW_WINDOW, algorithm="fixed")
    for provider in PROVIDERS:
        for account in ACCOUNTS:
            relay.providers.change_token(provider, account, accept=[token(provider, account)])
            if account not in ("main", "missing"):
                relay.clients.secrets.create_secret(
                    Name=f"{STAGE}/customer-events/{provider}/{account}", SecretString=secret(provider, account)
                )
    yield relay
    relay.close()


@pytest.fixture
def relay(deployed: Relay) -> Iterator[Relay]:
    """The relay, with providers that behave again afterwards."""
    yield deployed
    deployed.providers.behave()
