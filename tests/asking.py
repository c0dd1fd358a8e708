"""What a test asks for: tests that share a server stay together where there are several workers."""

import pytest


def asked(item: pytest.Item) -> list[object]:
    """The test's fixtures by name, and its parameters, some of which are names of fixtures."""
    given = getattr(item, "callspec", None)
    return [*getattr(item, "fixturenames", ()), *(given.params.values() if given else ())]
