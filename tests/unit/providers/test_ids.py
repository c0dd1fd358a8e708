"""An event's ID in a provider's own form."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.providers.ids import ulid, uuid
from tests.factories import make_event

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def test_a_ulid_begins_with_its_moment() -> None:
    """The ULID specification's own example: 1469918176385 ms are 01ARYZ6S41."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=1469918176385)
    made = ulid(make_event(id="one", occurred_at=moment.isoformat()))
    assert made[:10] == "01ARYZ6S41"
    assert len(made) == 26
    assert set(made) <= set(ALPHABET)


@pytest.mark.parametrize("moment", [{}, {"occurred_at": "1969-01-01T00:00:00Z"}])
def test_a_ulid_without_a_moment_begins_with_zeros(moment: dict[str, str]) -> None:
    """Or with one from before 1970: what it is made of must not change from try to try."""
    made = ulid(make_event().model_copy(update={"occurred_at": None}) if not moment else make_event(**moment))
    assert made[:10] == "0" * 10


@given(st.from_regex(r"[!-~]{1,40}", fullmatch=True), st.from_regex(r"[!-~]{1,40}", fullmatch=True))
def test_an_id_is_the_same_at_every_try_and_another_for_another_event(one: str, other: str) -> None:
    """GIVEN the ids of two events THEN the forms are equal where the ids are, and only there."""
    for form in (ulid, uuid):
        first, again, second = (form(make_event(id=each)) for each in (one, one, other))
        assert first == again
        assert (first == second) is (one == other)


def test_a_uuid_is_of_version_5() -> None:
    """The kind that is made of a name."""
    assert uuid(make_event(id="one")).version == 5
