"""What `make mess` sends, without a stack: the trouble that it promises."""

import pytest

from local.mess import BACKLOG, BUSY, CUSTOMER, DEAD, FIRST, HELD, REJECTED, Lot
from relay.contract.event import parse_event
from relay.errors import InvalidEventError
from relay.providers import PROVIDERS

ids = [lot.type for lot in (FIRST, *DEAD, *BACKLOG)]


def test_three_hundred_dead_letters_and_a_poison() -> None:
    """One for each destination, of four reasons; the poison is one event."""
    assert sum(lot.count * len(lot.providers) for lot in DEAD) == 300
    assert [lot.count for lot in DEAD if lot.answer and lot.answer["status"] >= 500] == [1]
    assert {HELD, BUSY} <= set(PROVIDERS)
    assert not PROVIDERS[HELD].repeats.overrides


@pytest.mark.parametrize("lot", [FIRST, *DEAD, *BACKLOG], ids=ids)
def test_each_is_an_event(lot: Lot) -> None:
    """Of another id each, and the last is that customer's."""
    events = [parse_event(one) for one in lot.events("2246")]
    assert len({one.id for one in events}) == lot.count
    assert events[-1].customer.email == CUSTOMER
    assert parse_event(next(lot.events("2247"))).id != events[0].id


def test_an_id_comes_with_two_contents() -> None:
    """The second lot has the ids of the first."""
    first, again = ([parse_event(one) for one in lot.events("2246")] for lot in (FIRST, DEAD[0]))
    assert [one.id for one in first] == [one.id for one in again]
    assert not {one.content_hash for one in first} & {one.content_hash for one in again}


@pytest.mark.parametrize("lot", REJECTED, ids=[lot.type for lot in REJECTED])
def test_each_reject_is_none(lot: Lot) -> None:
    """GIVEN a lot that is to be rejected THEN intake's own check refuses it."""
    with pytest.raises(InvalidEventError):
        parse_event(next(lot.events("2246")))
