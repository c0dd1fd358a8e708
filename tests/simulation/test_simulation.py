"""The relay in virtual time, for a little while; `make simulate` is the long one."""

import pytest

from tests.simulation.campaign import campaign
from tests.simulation.plan import draw
from tests.simulation.world import play

pytestmark = pytest.mark.no_cover  # Followed line by line it takes three times as long, and the others cover all of it.


def test_every_invariant_holds_over_some_seeds() -> None:
    """GIVEN seeds from 0 on WHEN each is run for some twenty seconds in all THEN none breaks an invariant."""
    result = campaign(first=0, seeds=None, seconds=20.0, jobs=1)
    assert result.violations == []
    assert result.totals.acts > 0


@pytest.mark.parametrize("seed", [1, 2, 3, 41])
def test_the_same_seed_is_the_same_run(seed: int) -> None:
    """GIVEN one seed WHEN it is run twice THEN both timelines are the same, line by line."""
    first, second = (play(draw(seed), timeline=True).history.timeline.lines for _ in range(2))
    assert len(first) > 20
    assert first == second
