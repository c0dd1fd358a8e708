"""What the named scenarios must reach, they reach: the pace, outages, neighbours, in virtual time."""

import pytest

from tests.simulation.figures import SCENARIOS

pytestmark = pytest.mark.no_cover  # Followed line by line it takes three times as long, and the others cover all of it.


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_reaches_its_figures(name: str) -> None:
    """GIVEN a named scenario WHEN it is played THEN none of its figures is missed."""
    rows = list(SCENARIOS[name]())
    missed = [f"{title}: {each.what} {each.value}" for title, some in rows for each in some if each.reached is False]
    assert rows
    assert missed == []
