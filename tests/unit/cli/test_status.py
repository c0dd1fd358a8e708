"""What `relay status` says of a look, and what rings."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from rich.console import Console

from cli.command import Answer, Output, console, show
from cli.condition import Condition
from cli.index import Letter
from cli.look import Age, Alarm, LaneSeen, Seen
from cli.reasons import grouped
from cli.ringing import RUNBOOK, Ring, ringing
from cli.stack import Queue, Relay, Where
from cli.status import NONE, _data, _looking_again, _shown
from relay.account import schedule
from relay.contract.destination import ANY, Destination
from relay.ports import AccountRecord, State
from relay.providers import PROVIDERS
from tests.kinds import FAST, SLOW

NOW = datetime.fromisoformat("2026-11-29T22:46:10").timestamp()
FASTS, SLOWS = Destination.of(FAST, "main"), Destination.of(SLOW, "main")
FINE = LaneSeen(Queue(), 0)
ROOT = Path(__file__).parents[3]


def account(name: Destination, **more: Any) -> Condition:
    record = schedule.fit(AccountRecord(name, version=1), PROVIDERS[name.provider].limits, NOW)
    return Condition(name, replace(record, **more))


def refused(name: Destination) -> Condition:
    return account(name, state=State.OPEN, why="unauthorized", until=NOW + 95, since=NOW - 60)


def look(*accounts: Condition, lanes: dict[str, LaneSeen] | None = None, **more: Any) -> Seen:
    given = {each.destination: each for each in (account(FASTS), account(SLOWS), *accounts)}
    return Seen(
        **{
            "stage": "dev",
            "at": NOW,
            "late_after": 14_400.0,
            "intake": FINE,
            "lanes": dict.fromkeys(PROVIDERS, FINE) | (lanes or {}),
            "accounts": list(given.values()),
            "configured": tuple(f"{name}/main" for name in PROVIDERS),
            **more,
        }
    )


def rows(seen: Seen, *, everything: bool = False) -> list[str]:
    console = Console(width=200, color_system=None, file=StringIO())
    with console.capture() as written:
        console.print(_shown(seen, ringing(seen), everything=everything))
    return [" ".join(line.replace(NONE, "-").split()) for line in written.get().splitlines()]


def names(seen: Seen) -> list[str]:
    return [ring.name for ring in ringing(seen)]


def ring(seen: Seen, name: str) -> Ring:
    (found,) = [each for each in ringing(seen) if each.name == name]
    return found


# --------------------------------------------------------------------------------------------------------- the table


def test_all_is_well() -> None:
    """OK, a row for each, and nothing rings."""
    head, _, *table = rows(look())
    assert head.startswith("OK dev 22:46:10")
    assert f"{FASTS} ok 0 - 0 of 5/s - 0" in table
    assert f"{SLOWS} ok 0 - 0 of 60/min - 0" in table
    assert table[-1] == "intake ok 0 - rejected 0"
    assert names(look()) == []


def test_a_held_account_with_a_backlog() -> None:
    """Why, until when, how much waits, for how long, and when it will be gone."""
    lane = LaneSeen(Queue(5, 200), 34, Age(205))
    head, *table = rows(look(refused(SLOWS), lanes={SLOW: lane}))
    assert head.startswith("DEGRADED")
    assert f"{SLOWS} HELD credentials refused, next 22:47:45 205 3m25 0 of 60/min ~22:51 34" in table
    assert f"RINGING {SLOW}-held {SLOWS} → relay connect {SLOWS}, relay resume {SLOWS}" in table
    assert f"{SLOW}-dead-letters 34 → relay dead list {SLOW}" in table


def test_with_several_accounts_on_a_lane_its_row_has_what_sqs_counts() -> None:
    """GIVEN two accounts THEN nobody says how many events wait for which of them; ages that the ledger knows stand."""
    second = account(Destination.of(FAST, "second"))
    seen = look(
        second,
        lanes={FAST: LaneSeen(Queue(7), 2, Age(60))},
        configured=(FASTS, second.destination, SLOWS),
        oldest_by_destination={FASTS: Age(60, is_least=True)},
    )
    table = rows(seen)
    assert f"{FAST} lane 2 accounts 7 1m00 2" in table
    assert f"{FASTS} ok ≥1m00 0 of 5/s -" in table
    data = {each["destination"]: each for each in _data(Relay(Where()), seen, [])["destinations"]}
    assert data[FASTS]["waiting"] is None
    assert data[FASTS]["oldest_is_least"] is True
    assert data[SLOWS]["waiting"] == 0


def test_any_account_of_a_provider_may_be_on_its_lane() -> None:
    """GIVEN `provider/*` and one account that is known THEN there may be others."""
    seen = look(configured=(FASTS, Destination.of(FAST, ANY), SLOWS), lanes={FAST: LaneSeen(Queue(7), 0)})
    assert seen.lone(FAST) is None
    assert seen.lone(SLOW) is not None


def test_where_the_index_knows_it_dead_letters_are_counted_by_account() -> None:
    """The queue counts the lane's."""
    second = account(Destination.of(FAST, "second"))
    letters = [Letter(f"l-{n}", FAST, NOW, reason="HTTP 422", destination=FASTS, event_type="t") for n in range(2)]
    seen = look(
        second,
        lanes={FAST: LaneSeen(Queue(), 2)},
        configured=(FASTS, second.destination, SLOWS),
        reasons=grouped(letters),
    )
    table = rows(seen)
    assert f"{FASTS} ok - 0 of 5/s 2" in table
    assert f"{second.destination} ok - 0 of 5/s 0" in table
    assert any(line.startswith(f"HTTP 422 {FAST} 2 22:46:10 22:46:10 t 2 l-0") for line in table)


def test_of_a_thousand_accounts_those_that_do_not_work_are_shown() -> None:
    """And some of the others; all of them where that is asked for."""
    many = [account(Destination.of(FAST, f"a-{n}")) for n in range(1_000)]
    bad = refused(Destination.of(FAST, "z-bad"))
    seen = look(*many, bad, configured=(Destination.of(FAST, ANY), SLOWS))
    table = rows(seen)
    assert sum(line.startswith(FAST) for line in table) <= 22
    assert any(line.startswith(f"{bad.destination} HELD") for line in table)
    assert any("982 more" in line for line in table)
    assert len(rows(seen, everything=True)) > 1_000


def test_an_account_that_had_trouble_and_has_had_nothing_since() -> None:
    """GIVEN an empty lane and a hold that is long over THEN nothing rings: nobody knows whether it works."""
    idle = account(SLOWS, state=State.OPEN, why="unauthorized", until=NOW - 3600)
    assert names(look(idle)) == []
    assert any("idle, HELD credentials refused, next try is due" in line for line in rows(look(idle)))
    assert names(look(idle, lanes={SLOW: LaneSeen(Queue(1), 0)})) == [f"{SLOW}-held"]


def test_a_lane_whose_function_takes_nothing() -> None:
    """The account works, and nothing is sent."""
    seen = look(lanes={SLOW: LaneSeen(Queue(9), 0, is_on=False)})
    assert f"{SLOWS} OFF 9 - 0 of 60/min - 0" in rows(seen)
    assert names(seen) == [f"{SLOW}-off"]


# ------------------------------------------------------------------------------------------------------- what rings


@pytest.mark.parametrize(
    ("seen", "name", "do"),
    [
        (look(account(SLOWS, held="they asked")), f"{SLOW}-on-hold", f"relay resume {SLOWS}"),
        (
            look(account(FASTS, state=State.OPEN, why="failing", until=NOW + 9)),
            f"{FAST}-failing",
            f"relay check {FASTS}",
        ),
        (look(intake=LaneSeen(Queue(), 42)), "rejected", "relay rejected list"),
        (look(lanes={FAST: LaneSeen(Queue(1), 0, Age(14_400))}), f"{FAST}-queue-age", "docs/runbook.md"),
        (look(lanes={FAST: LaneSeen(Queue(100_000), 0)}), f"{FAST}-queue-depth", "docs/runbook.md"),
        (look(intake=LaneSeen(Queue(1), 0, Age(900))), "intake-queue-age", "docs/runbook.md"),
        (look(intake=LaneSeen(Queue(), 0, is_on=False)), "intake-off", "docs/runbook.md"),
    ],
)
def test_what_is_plain_to_see_rings_without_an_alarm(seen: Seen, name: str, do: str) -> None:
    """There are none on one machine, and in AWS they take minutes. Each says what mends it."""
    assert names(seen) == [name]
    assert any(do in each for each in ring(seen, name).do)


@pytest.mark.parametrize(
    "seen",
    [
        look(account(FASTS, state=State.OPEN, why="throttled", until=NOW + 9)),
        look(lanes={FAST: LaneSeen(Queue(99_999), 0, Age(14_399))}),
        look(intake=LaneSeen(Queue(5), 0, Age(899))),
    ],
)
def test_what_is_as_it_should_be_does_not(seen: Seen) -> None:
    """A limit that is used up is a limit that is used."""
    assert names(seen) == []


def test_an_alarm_says_more_than_is_seen() -> None:
    """It may be of what is over; one of what is seen anyway is said once."""
    about = "What delivers broke off: some are late. More of it. Runbook: docs/runbook.md#a-function-fails"
    alarms = [
        Alarm(f"{FAST}-errors", about, NOW - 60),
        Alarm(f"{SLOW}-dead-letters-age", "10 days old. Runbook: docs/runbook.md#x", NOW - 60),
        Alarm("rejected", "", NOW),
    ]
    seen = look(alarms=alarms, intake=LaneSeen(Queue(), 1))
    assert names(seen) == ["rejected", f"{FAST}-errors", f"{SLOW}-dead-letters-age"]
    crashed = ring(seen, f"{FAST}-errors")
    assert crashed.do == ("docs/runbook.md#a-function-fails",)
    assert crashed.detail == "since 22:45:10: What delivers broke off: some are late"
    assert ring(seen, f"{SLOW}-dead-letters-age").do == (f"relay dead list {SLOW}",)


def test_what_aws_gave_up_itself_is_not_in_the_index() -> None:
    """GIVEN more in a queue than is listed THEN it has to be collected; where nobody knows, nobody says so."""
    letters = grouped([Letter("l-1", SLOW, NOW, reason="expired", destination=SLOWS)])
    both: dict[str, Any] = {"lanes": {SLOW: LaneSeen(Queue(), 2)}, "intake": LaneSeen(Queue(), 1)}
    seen = look(**both, reasons=letters)
    assert ring(seen, f"{SLOW}-dead-letters").do == (f"relay dead list {SLOW}", f"relay dead collect {SLOW}")
    assert ring(seen, "rejected").do == ("relay rejected list", "relay rejected collect")
    assert ring(look(**both), "rejected").do == ("relay rejected list",)
    assert len(ring(look(lanes={SLOW: LaneSeen(Queue(), 1)}, reasons=letters), f"{SLOW}-dead-letters").do) == 1


def test_a_few_of_many_held_accounts_are_named() -> None:
    """The rest is counted."""
    many = [refused(Destination.of(FAST, f"a-{n}")) for n in range(9)]
    held = ring(look(*many), f"{FAST}-held")
    assert held.detail.endswith("and 6 more")
    assert len(held.do) == 6


@pytest.mark.parametrize("section", RUNBOOK.values())
def test_the_runbook_has_every_section_that_is_named(section: str) -> None:
    """A link that leads nowhere helps nobody at night."""
    headings = [line.lstrip("# ") for line in (ROOT / "docs/runbook.md").read_text().splitlines() if line[:1] == "#"]
    assert section in {heading.lower().replace(" ", "-") for heading in headings}


# ------------------------------------------------------------------------------------------------------- for programs


def test_all_of_it_is_data() -> None:
    """JSON as it stands: numbers, seconds, ISO moments."""
    letters = [Letter("l-1", SLOW, NOW, reason="expired", destination=SLOWS, event_type="t", event_id="e-1")]
    lane = LaneSeen(Queue(5, 200), 1, Age(205.5))
    seen = look(refused(SLOWS), lanes={SLOW: lane}, reasons=grouped(letters), notes=["ages could not be read: No"])
    data = json.loads(json.dumps(_data(Relay(Where("mine")), seen, ringing(seen))))
    assert (data["stack"], data["stage"], data["degraded"]) == ("mine", "dev", True)
    (held,) = [each for each in data["destinations"] if each["destination"] == SLOWS]
    assert (held["waiting"], held["oldest_seconds"], held["dead_letters"], held["works"]) == (205, 205.5, 1, False)
    assert held["drained_at"].endswith("Z")
    assert data["ringing"][0]["do"] == [f"relay connect {SLOWS}", f"relay resume {SLOWS}"]
    assert data["reasons"][0]["count"] == 1
    assert data["reasons"][0]["first"].endswith("Z")
    assert data["not_seen"] == ["ages could not be read: No"]


def test_a_watch_outlives_a_moment_in_which_aws_cannot_be_asked() -> None:
    """GIVEN one look that fails THEN the last stands, with a word on it, and the next is shown as ever."""
    failure = EndpointConnectionError(endpoint_url="https://sqs")
    answers: Iterator[Any] = iter([Answer({"n": 1}, "one"), failure, Answer({"n": 2}, "two")])

    def look() -> Answer:
        answer = next(answers)
        if answer is failure:
            raise failure
        found: Answer = answer
        return found

    def again(answer: Answer) -> Answer:
        assert answer.again
        return answer.again()

    second = again(Answer({"n": 1}, "one", again=_looking_again(look, look())))
    assert second.data["n"] == 1
    assert "could not look" in second.data["error"]
    assert again(second).data == {"n": 2}


def test_a_provider_s_words_are_shown_as_they_are() -> None:
    """GIVEN what looks like markup in a reason THEN it is no error and no colour."""
    hostile = Letter("l-1", SLOW, NOW, reason="HTTP 422: [/no] [red]:boom:", destination=SLOWS, event_id="[/e]")
    seen = look(refused(SLOWS), reasons=grouped([hostile]))
    with console.capture() as written:
        show(Answer({}, _shown(seen, ringing(seen), everything=False)), Output.TABLE)
    assert "HTTP 422: [/no] [red]:boom:" in written.get()
