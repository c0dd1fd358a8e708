"""Unit tests talk to nobody."""

import pytest


@pytest.fixture(autouse=True)
def no_network(socket_disabled: None) -> None:
    """Any socket is an error."""
