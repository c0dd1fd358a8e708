"""Two stacks for the whole session: `deployed` has more accounts than a user's, so that each kind of trouble has its
own; `plain` is as a user deploys it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.machine import REGION
from local.stack import STAGE, Stack
from relay.providers import PROVIDERS
from tests.kinds import FAST, PAIR, REPEATS, SLOW
from tests.system.running import ACCOUNTS, BOTH, Relay, running_relay, running_stack, secret, token

HOLD_SECONDS = 3
SLOW_REQUESTS, SLOW_WINDOW = 20, 5
"""The real limit of the slow provider, scaled so that three of its windows pass in seconds."""
DATA_KEY = f"arn:aws:kms:{REGION}:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
"""The key of `deployed`; `plain` has none. The emulator notes which key is whose, and encrypts nothing with it."""

SOAKED = ("soak-1", "soak-2", "soak-3", "soak-4")
SOAK_LIMIT = {"requests": 20, "window_seconds": 2.0}
"""Accounts that are a soak's, and what each of them allows."""

MAPPED = f"{SLOW}/mapped"
"""An account that nobody listed, with settings of its own."""
MAPPING = {
    "types": ["mapped_*"],
    "require": "customer.properties.marketing_consent",
    "drop": ["properties.note"],
    "rename": {"properties.total": "order_total"},
    "constants": {"properties.channel": "web"},
    "rename_types": {"mapped_order": "mapped_purchase"},
}

_NAMED = [f"{provider}/{account}" for provider in PAIR for account in (*ACCOUNTS, *SOAKED)]
_PARAMETERS = {
    "Destinations": ",".join([*_NAMED, f"{SLOW}/*", *(f"{name}/*" for name in PROVIDERS if name not in PAIR)]),
    "DestinationSettings": json.dumps(
        json.dumps(
            {
                SLOW: {"requests": SLOW_REQUESTS, "window_seconds": SLOW_WINDOW},
                f"{REPEATS}/parked": {"on_unknown": "park"},
                f"{FAST}/grouped": {"groups": 3},
                MAPPED: {"mapping": MAPPING},
                **{f"{provider}/{account}": SOAK_LIMIT for provider in PAIR for account in SOAKED},
            }
        )
    ),
    "HoldSeconds": str(HOLD_SECONDS),
    # What is not even written now is never written.
    "LogLevel": "DEBUG",
    "DataKeyArn": DATA_KEY,
}


PRODUCER = "222222222222"
"""An account that may send to `plain`."""
PLAIN = {"ProducerAccounts": PRODUCER, "Destinations": ",".join(BOTH)}


@pytest.hookimpl(tryfirst=True)  # before `-m`, which reads the marks
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
    with running_stack(state, _PARAMETERS) as stack:
        yield stack, state


@pytest.fixture(scope="session")
def deployed(stack: tuple[Stack, Path]) -> Iterator[Relay]:
    """The relay, with credentials for every account but `missing`."""
    with running_relay(*stack) as relay:
        _open_accounts(relay)
        yield relay


def _open_accounts(relay: Relay) -> None:
    relay.providers.sandbox.set_limit(provider=SLOW, limit=SLOW_REQUESTS, window=SLOW_WINDOW, algorithm="fixed")
    for provider in PAIR:
        for account in ACCOUNTS:
            relay.providers.change_token(provider, account, accept=[token(provider, account)])
            if account not in ("main", "missing"):
                relay.clients.secrets.create_secret(
                    Name=f"{STAGE}/customer-events/{provider}/{account}", SecretString=secret(provider, account)
                )


@pytest.fixture(scope="session")
def plain_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Path]]:
    """The stack of `plain`, and where its files are."""
    state = tmp_path_factory.mktemp("plain") / "state"
    with running_stack(state, PLAIN) as stack:
        yield stack, state


@pytest.fixture(scope="session")
def plain(plain_stack: tuple[Stack, Path]) -> Iterator[Relay]:
    """A relay with the template's defaults, but that a producer in another account may send to it."""
    with running_relay(*plain_stack) as relay:
        yield relay


@pytest.fixture
def relay(deployed: Relay) -> Iterator[Relay]:
    """The relay, with providers that behave again afterwards."""
    yield deployed
    deployed.providers.behave()
