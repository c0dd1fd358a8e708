"""How an account is, read from its record."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from cli.condition import Condition, Kind, used
from relay.account import schedule
from relay.contract.destination import Destination
from relay.ports import AccountRecord, Record, State, Window
from relay.providers.limits import Limit
from tests.kinds import FAST

NAME = Destination.of(FAST, "main")
NOW = datetime.fromisoformat("2026-11-29T22:46:10").timestamp()
SECOND, MINUTE = Limit(5, 1.0), Limit(60, 60.0)


def account(*limits: Limit, **more: Any) -> Condition:
    record = schedule.fit(AccountRecord(NAME, version=1), limits or (SECOND,), NOW - 3600)
    return Condition(NAME, replace(record, **more))


def failure(status: int | None, reason: str, completed_at: float = NOW) -> Record:
    return Record(f"e-{reason}", NAME, "hash", "open", status=status, reason=reason, completed_at=completed_at)


def busy(limit: Limit, seconds: float) -> Condition:
    """One whose turns were all used for so long."""
    record = account(limit).record
    at = NOW - seconds
    while at < NOW:
        turns, record = schedule.take(record, at, 1_000, at + 0.5)
        at = max(at + 0.5, turns[-1] if turns else 0.0)
    return replace(account(limit), record=record)


# ------------------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ({}, Kind.OK, "ok"),
        ({"quiet_until": NOW + 2}, Kind.OK, "ok"),
        ({"quiet_until": NOW + 60}, Kind.OK, "ok, asked to wait until 22:47:10"),
        (
            {"state": State.OPEN, "why": "failing", "until": NOW + 95},
            Kind.FAILING,
            "open failing, next 22:47:45",
        ),
        ({"state": State.OPEN, "why": "failing", "until": NOW - 9}, Kind.FAILING, "open failing, next try is due"),
        (
            {"state": State.HALF_OPEN, "why": "failing", "until": NOW + 30},
            Kind.FAILING,
            "open failing, trying again now",
        ),
        (
            {"state": State.OPEN, "why": "unauthorized", "until": NOW + 95},
            Kind.REFUSED,
            "HELD credentials refused, next 22:47:45",
        ),
        ({"state": State.OPEN, "why": "throttled", "until": NOW + 95}, Kind.THROTTLED, "throttled, next 22:47:45"),
        ({"held": "they asked"}, Kind.HELD, 'HELD "they asked"'),
        ({"held": "they asked", "state": State.HALF_OPEN, "held_by": "ana"}, Kind.HELD, 'HELD by ana "they asked"'),
        (
            {"held": "they asked", "held_by": "ana", "held_until": NOW + 95},
            Kind.HELD,
            'HELD by ana "they asked" until 22:47:45',
        ),
        ({"held": "they asked", "held_until": NOW - 1}, Kind.OK, "ok"),
    ],
)
def test_its_state_in_a_few_words(given: dict[str, Any], kind: Kind, told: str) -> None:
    """What a person on call reads first."""
    one = account(**given)
    assert (one.kind(NOW), one.told(NOW)) == (kind, told)


def test_it_says_what_the_provider_answered_last() -> None:
    """The record does not know it, the ledger does: of several events the last."""
    open_account = account(state=State.OPEN, why="failing", until=NOW + 95)
    failures = (failure(503, "HTTP 503"), failure(500, "HTTP 500", NOW - 60))
    assert replace(open_account, failures=failures).told(NOW) == "open HTTP 503, next 22:47:45"
    refused = account(state=State.OPEN, why="unauthorized", until=NOW + 95)
    assert replace(refused, failures=(failure(401, "HTTP 401"),)).told(NOW) == "HELD 401, next 22:47:45"
    without = replace(refused, failures=(failure(None, "no readable secret"),))
    assert without.told(NOW) == "HELD no readable secret, next 22:47:45"


# -------------------------------------------------------------------------------------------------------------- pace


def test_a_fresh_account_has_used_nothing() -> None:
    """Of what its provider documents."""
    assert account().pace(NOW) == "0 of 5/s"
    assert account(MINUTE).pace(NOW) == "0 of 60/min"
    assert account(Limit(3, 10.0)).pace(NOW) == "0 of 3/10 s"


def test_a_busy_account_uses_what_it_is_allowed() -> None:
    """Its turns of the last ten seconds, or of its window where that is longer."""
    assert used(busy(SECOND, 30).record.windows[0], NOW) == pytest.approx(5, abs=0.15)
    assert used(busy(MINUTE, 100).record.windows[0], NOW) == pytest.approx(60, abs=1)


def test_a_fast_account_s_log_is_shorter_than_its_mean() -> None:
    """GIVEN more turns than the log holds THEN the mean is of those that it does."""
    window = busy(Limit(20, 1.0), 30).record.windows[0]
    assert window.turns[0][0] > NOW - 10
    assert used(window, NOW) == pytest.approx(20, abs=1)


def test_turns_to_come_are_not_used_yet() -> None:
    """A batch reserves ahead."""
    window = replace(account().record.windows[0], turns=((NOW - 1, 1), (NOW + 1, 1)))
    assert used(window, NOW) == pytest.approx(0.1)


def test_what_was_learned_of_the_limit_is_said() -> None:
    """Where it differs from the documented one, others take of it, or all of it is not ours."""
    window = replace(account().record.windows[0], limit=7, share=4.2, others=2, others_until=NOW + 1)
    told = account(windows=(window,), burst=1).pace(NOW)
    assert told == "0 of 7/s, documented 5, others 2, share 4.2, evenly spaced"
    over = replace(window, limit=5, share=5.0, others_until=NOW - 1)
    assert account(windows=(over,)).pace(NOW) == "0 of 5/s"


def test_the_tightest_of_several_windows_is_shown() -> None:
    """350 a second and 3,500 a minute: in the long run it is the minute that counts."""
    one = account(Limit(350, 1.0), Limit(3_500, 60.0))
    assert one.pace(NOW) == "0 of 3500/min"
    assert one.rate(NOW) == pytest.approx(3_500 / 60)
    assert [window["limit"] for window in one.data(NOW)["windows"]] == [350, 3_500]


# ----------------------------------------------------------------------------------------------------------- drained


def test_when_a_backlog_will_be_gone() -> None:
    """At what is allowed, from when it is sent to again."""
    assert account(MINUTE).drained_at(205, NOW) == pytest.approx(NOW + 205, abs=0.01)
    held = account(MINUTE, state=State.OPEN, why="unauthorized", until=NOW + 95)
    assert held.drained_at(205, NOW) == pytest.approx(NOW + 95 + 205, abs=0.01)
    until = account(MINUTE, held="they asked", held_until=NOW + 600)
    assert until.drained_at(60, NOW) == pytest.approx(NOW + 660, abs=0.01)


def test_others_are_left_their_part() -> None:
    """Two of five a second: three are ours."""
    window = Window(1.0, 5, 5, 5.0, others=2, others_until=NOW + 1)
    assert account(windows=(window,)).drained_at(300, NOW) == pytest.approx(NOW + 100, abs=0.01)


def test_nobody_knows_when_an_open_hold_ends() -> None:
    """And nothing that waits is never gone."""
    assert account(held="they asked").drained_at(205, NOW) is None
    assert account().drained_at(0, NOW) is None


# ----------------------------------------------------------------------------------------------------------- as data


def test_it_is_data_for_programs() -> None:
    """Numbers as numbers, moments as ISO text."""
    data = account(state=State.OPEN, why="unauthorized", until=NOW + 95, since=NOW - 60).data(NOW)
    assert (data["state"], data["why"]) == ("refused", "unauthorized")
    assert data["next_at"].endswith("Z")
    assert data["allowed_per_second"] == 5
    assert data["windows"][0]["used"] == 0.0
