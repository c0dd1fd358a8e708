"""A simulation that cannot fail proves nothing: every deliberate breakage of the relay is caught by some seed."""

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation, hunt

pytestmark = pytest.mark.no_cover  # Followed line by line it takes three times as long, and the others cover all of it.

SEEDS = 120


@pytest.mark.parametrize("broken", MUTATIONS, ids=lambda broken: broken.what)
def test_a_broken_relay_is_caught(broken: Mutation) -> None:
    """GIVEN the relay with one promise taken away WHEN seeds are run THEN one of them, sound before, breaks."""
    found = hunt(broken, SEEDS)
    assert found is not None, f"survived {SEEDS} seeds: {broken.what}"
    # A breakage that no longer fits the code raises at once, and would look as if it were caught.
    assert "raised:" not in found[1], found
