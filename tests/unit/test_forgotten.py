"""Marks of customers who are to be forgotten."""

from relay.account.forgotten import is_marked, mark, moment

NOW = 1_764_000_000.0
ADA = "email=ada@example.com"


def test_a_mark_holds_for_what_came_before_it() -> None:
    """And for no other customer, no other account, and nothing that comes later."""
    marks = [mark("provider/main", ADA, NOW)]
    assert is_marked(marks, "provider/main", {ADA, "id=7"}, NOW)
    assert is_marked(marks, "provider/main", {ADA}, NOW - 86_400)
    assert not is_marked(marks, "provider/main", {ADA}, NOW + 0.01)
    assert not is_marked(marks, "provider/main", {"email=bob@example.com"}, NOW)
    assert not is_marked(marks, "provider/other", {ADA}, NOW)
    assert not is_marked([], "provider/main", {ADA}, NOW)


def test_a_mark_names_nobody() -> None:
    """GIVEN a mark THEN it says when, and not who."""
    made = mark("provider/main", ADA, NOW)
    assert moment(made) == NOW
    assert "ada" not in made
