"""What only Customer.io has: the person in the path, an ID that prevents repeats, an age, two regions."""

from datetime import timedelta

import pytest

from relay.providers.base import Repeat
from relay.providers.checks import Answer, Verdict, judge
from relay.providers.customerio import Customerio
from relay.providers.limits import Limit
from tests.unit.providers.golden import SENT


def test_a_repeat_is_ignored() -> None:
    """Other content under a used ID would be ignored as well, so it is a producer's error, never sent."""
    assert Customerio.repeats is Repeat.IGNORED
    assert not Customerio.repeats.overrides


def test_a_hundred_requests_a_second() -> None:
    """The lower of the two limits that pages name."""
    assert Customerio.limits == (Limit(100, 1.0),)


def test_after_three_days_it_is_useless() -> None:
    """No campaign starts by it; half of that is worth a warning."""
    useless = Customerio.useless
    assert useless is not None
    assert useless.is_reached(timedelta(hours=72).total_seconds())
    assert not useless.is_reached(timedelta(hours=71, minutes=59).total_seconds())
    assert useless.is_near(timedelta(hours=36).total_seconds())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_workspace_in_the_eu_is_told_its_address(status: int) -> None:
    """GIVEN the US host's redirect WHEN checked THEN what to do names the host in the EU."""
    check = judge(Answer(status), Customerio.checks)
    assert check.verdict is Verdict.ADDRESS
    assert "https://track-eu.customer.io" in check.do


def test_only_the_pages_fields_are_ever_sent() -> None:
    """GIVEN every golden event THEN no field the page does not name, and nothing of the customer but in the path."""
    for golden in SENT:
        if golden.provider == "customerio":
            body = golden.data["expect"]["body"]
            assert set(body) <= {"name", "id", "timestamp", "data"}
            assert "customer@example.com" not in str(body)
