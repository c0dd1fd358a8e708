"""How much is drawn for a property: as many examples as it names, or a tenth of them in `make quick`."""

from typing import Any

from hypothesis import settings


def drawn(examples: int, **more: Any) -> settings:
    """The profile's share of so many examples. No deadline: no timing is asserted in a test."""
    return settings(max_examples=max(1, examples * settings().max_examples // 100), deadline=None, **more)
