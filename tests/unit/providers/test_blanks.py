"""Nothing that `make provider` left to its author is forgotten. Each failure is what to do next."""

import pytest

from relay.providers import PROVIDERS
from tools.provider import MARK, blanks


@pytest.mark.parametrize("place", ["code", "contract", "golden", "page", "template"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_nothing_is_left_blank(name: str, place: str) -> None:
    """GIVEN a place of the provider WHEN a question of the scaffold is left in it THEN it is the next thing to do."""
    left = [one for one in blanks(name) if one.place == place]
    if left:
        first, *others = left
        pytest.fail(
            f"next: {first.file}:{first.line}: {first.question}\n"
            f"Answer it from the provider's page and take the {MARK} away; {len(others)} more in this place.",
            pytrace=False,
        )
