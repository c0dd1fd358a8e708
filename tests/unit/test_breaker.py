"""Whether an account is asked at all: a plain policy over its record."""

from dataclasses import replace

import pytest

from relay.account.breaker import (
    HELD_LOOK_SECONDS,
    LOOK_SECONDS,
    PROBE_SECONDS,
    admit,
    denied_for,
    held_for,
    reset,
    trip,
)
from relay.ports import AccountRecord, State
from tests.factories import NOW

CLOSED = AccountRecord("provider/main")
OPEN = trip(CLOSED, 30.0, "failing", NOW)


def test_an_account_that_works_is_open_to_all() -> None:
    """Nothing is changed by asking."""
    for me in ("a", "b"):
        assert denied_for(CLOSED, me, NOW) == 0
        assert admit(CLOSED, me, NOW) == (0, CLOSED)


def test_nothing_is_sent_to_an_account_that_does_not_work() -> None:
    """Everybody is told how long that lasts, and nobody is the probe yet."""
    for me in ("a", "b"):
        for passed in (0.0, 12.5, 29.9):
            wait, record = admit(OPEN, me, NOW + passed)
            assert wait == denied_for(OPEN, me, NOW + passed) == pytest.approx(30 - passed)
            assert record == OPEN


def test_the_first_who_asks_when_that_is_over_is_the_probe() -> None:
    """One, for as long as an invocation may take: the others look again in a moment, not later than it has time."""
    wait, probing = admit(OPEN, "a", NOW + 30)
    assert (wait, probing.state, probing.probe) == (0, State.HALF_OPEN, "a")
    assert denied_for(probing, "a", NOW + 31) == 0
    assert admit(probing, "b", NOW + 31) == (LOOK_SECONDS, probing)
    last = NOW + 30 + PROBE_SECONDS - 1
    assert denied_for(probing, "b", last) == pytest.approx(1)
    assert admit(probing, "b", last)[1] == probing


def test_a_probe_that_goes_on_keeps_its_place() -> None:
    """It may send one request after the other, and has its time anew with each."""
    _, probing = admit(OPEN, "a", NOW + 30)
    wait, again = admit(probing, "a", NOW + 50)
    assert (wait, again.probe, again.state) == (0, "a", State.HALF_OPEN)
    assert again.until == pytest.approx(NOW + 50 + PROBE_SECONDS)


def test_a_probe_that_died_is_followed_by_another() -> None:
    """GIVEN nothing was heard of it in its time THEN the next who asks is the probe, and it is not any more."""
    _, probing = admit(OPEN, "a", NOW + 30)
    late = NOW + 30 + PROBE_SECONDS
    wait, another = admit(probing, "b", late)
    assert (wait, another.probe) == (0, "b")
    assert denied_for(another, "a", late) > 0


def test_a_success_closes_it_and_forgets_the_trouble() -> None:
    """For all."""
    _, probing = admit(OPEN, "a", NOW + 30)
    assert reset(probing) == CLOSED
    assert reset(OPEN) == CLOSED
    assert reset(CLOSED) == CLOSED


def test_trouble_remembers_since_when_it_lasts() -> None:
    """GIVEN a probe that failed THEN it is open again, with its newest reason, and since the first time."""
    _, probing = admit(OPEN, "a", NOW + 30)
    again = trip(probing, 60.0, "unauthorized", NOW + 31)
    assert (again.state, again.until, again.why, again.since, again.probe) == (
        State.OPEN,
        NOW + 91,
        "unauthorized",
        NOW,
        "",
    )
    assert trip(reset(again), 60.0, "failing", NOW + 100).since == NOW + 100


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("passed", [0.0, 1_000.0])
def test_what_an_operator_holds_is_held_in_every_state(state: State, passed: float) -> None:
    """For everybody, its probe included, however long it lasts; and nothing but the operator ends it."""
    record = replace(CLOSED, state=state, until=NOW + 30, probe="a", held="their maintenance")
    for me in ("a", "b"):
        assert admit(record, me, NOW + passed) == (HELD_LOOK_SECONDS, record)
    for after in (reset(record), trip(record, 1.0, "failing", NOW)):
        assert denied_for(after, "a", NOW + passed) == HELD_LOOK_SECONDS
    assert admit(replace(reset(record), held=""), "a", NOW + passed)[0] == 0


@pytest.mark.parametrize("state", State)
def test_a_hold_that_has_an_end(state: State) -> None:
    """Is over by the clock, whatever is written; who waits looks then, or a minute later at the latest."""
    record = replace(CLOSED, state=state, held="their maintenance", held_until=NOW + 90)
    assert denied_for(record, "a", NOW) == HELD_LOOK_SECONDS
    assert denied_for(record, "a", NOW + 80) == 10
    assert held_for(record, NOW + 90) == 0
    assert admit(record, "a", NOW + 90)[0] == 0


def test_what_else_is_known_of_the_account_stays() -> None:
    """The pace is none of the breaker's business."""
    known = replace(CLOSED, quiet_until=NOW + 5, burst=3, calm=7, version=9)
    tripped = trip(known, 1.0, "failing", NOW)
    after = reset(admit(tripped, "a", NOW + 2)[1])
    assert after == known
