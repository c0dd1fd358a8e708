"""Like reasons are one group."""

import pytest

from cli.index import Letter
from cli.reasons import grouped, likeness


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 422: order 17 is unknown", "HTTP 422: order 4711 is unknown"),
        ('type: "a" is no type', 'type: "b" is no type'),
        ("customer 0b9f3c2e-1a2b-4c3d-8e9f-0a1b2c3d4e5f", "customer 1b9f3c2e-1a2b-4c3d-8e9f-0a1b2c3d4e5e"),
        ("failed 5 times while others succeeded", "failed 12 times while others succeeded"),
        ("older than 72.5 h", "older than 80 h"),
    ],
)
def test_alike(one: str, other: str) -> None:
    """But for numbers, ids and what is quoted."""
    assert likeness(one) == likeness(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 422: bad", "HTTP 400: bad"),
        ("passed its expires_at", "older than 72 h"),
        ("customer.email: is wrong", "customer.phone_number: is wrong"),
    ],
)
def test_not_alike(one: str, other: str) -> None:
    """A status is no number that differs by chance, and a field no id."""
    assert likeness(one) != likeness(other)


def test_a_long_reason_is_cut() -> None:
    """GIVEN four thousand characters THEN a table holds its beginning."""
    assert len(likeness("a bad thing; " * 400)) == 100


def test_the_most_numerous_come_first() -> None:
    """GIVEN letters of two lanes THEN each lane's are counted apart, with when, which types, and one of them."""
    letters = [
        Letter("1", "a", at=3.0, reason="bad 1", event_id="e-1", event_type="t"),
        Letter("2", "a", at=1.0, reason="bad 2", event_id="e-2", event_type="u"),
        Letter("3", "a", at=2.0, reason="bad 3", event_type="t"),
        Letter("4", "b", at=9.0, reason="bad 4"),
    ]
    first, second = grouped(letters)
    assert (first.lane, first.count, first.first, first.last, first.example) == ("a", 3, 1.0, 3.0, "e-1")
    assert list(first.types.items()) == [("t", 2), ("u", 1)]
    assert (second.lane, second.types, second.example) == ("b", {"?": 1}, "4")
    assert second.as_data()["do"] == "mend, redrive; else drop"
