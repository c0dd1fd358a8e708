"""Moments and spans as a person reads them."""

from datetime import datetime

import pytest

from cli.moments import iso_if, lasting, shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.42, "0.4s"),
        (9.97, "10s"),
        (59.4, "59s"),
        (59.6, "1m00"),
        (205, "3m25"),
        (7_440, "2h04"),
        (5 * 86_400 + 3 * 3600, "5d3h"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float, text: str) -> None:
    """Read at a glance in a column."""
    assert lasting(seconds) == text


def test_a_moment_of_another_day_has_its_date() -> None:
    """Of today the time suffices."""
    now = datetime.fromisoformat("2026-11-29T22:46:10").timestamp()
    assert shown(now - 600, now) == "22:36:10"
    assert shown(now - 600, now, to_the_minute=True) == "22:36"
    assert shown(now - 580, now, to_the_minute=True) == "22:37"
    assert shown(now + 2 * 3600, now) == "11-30 00:46"


def test_no_moment_is_none() -> None:
    """A zero in a record stands for never."""
    assert iso_if(0.0) is None
    assert iso_if(1.5) == "1970-01-01T00:00:01.500Z"
