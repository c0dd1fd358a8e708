"""The story of one event, told from what is known of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.condition import Condition
from cli.index import Letter, State
from cli.logs import Line, Told
from cli.story import Known, Now, Step, stand
from cli.trace import _data, _shown, with_lane
from relay.account import schedule
from relay.contract.destination import Destination
from relay.delivery.batch import FORGOTTEN
from relay.ports import AccountRecord, Record
from relay.ports import State as AccountState
from relay.providers import PROVIDERS
from tests.kinds import FAST, SLOW
from tests.unit.cli.stack import stack

NOW = datetime.fromisoformat("2026-11-29T22:46:10").timestamp()
HERE, THERE = Destination.of(FAST, "main"), Destination.of(SLOW, "main")


def said(seconds: float, **fields: Any) -> Line:
    """A line so many seconds ago."""
    at = NOW - seconds
    stamp = datetime.fromtimestamp(at, UTC).isoformat()
    return Line(at, {"timestamp": stamp, "event_id": "e-1", **fields})


def accepted(seconds: float = 100, **more: Any) -> Line:
    given = {"message": "accepted", "destinations": [HERE, THERE], "via": "eventbridge, sqs", "age": 0.2}
    return said(seconds, service="intake", **given | more)


def outcome(seconds: float, name: str, destination: Destination = HERE, **more: Any) -> Line:
    given = {"reason": "", "detail": "", "attempts": 1, "final": name in ("delivered", "duplicate"), "age": 999.0}
    return said(seconds, service="deliver", message=name, outcome=name, destination=destination, **given | more)


def record(state: str, destination: Destination = HERE, **more: Any) -> Record:
    given: dict[str, Any] = {"accepted_at": NOW - 100, "completed_at": NOW - 90, "attempts": 1, **more}
    return Record("e-1", destination, "hash", state, **given)  # type: ignore[arg-type]


def letter(**more: Any) -> Letter:
    given = {"lane": FAST, "at": NOW - 60, "reason": "HTTP 422: no", "destination": HERE, "event_id": "e-1", **more}
    return Letter("l-1", **given)


def account(name: Destination, **more: Any) -> Condition:
    fresh = schedule.fit(AccountRecord(name, version=1), PROVIDERS[name.provider].limits, NOW)
    return Condition(name, replace(fresh, **more))


def known(*parts: Any) -> Known:
    return Known(
        [each for each in parts if isinstance(each, Line)],
        {each.destination: each for each in parts if isinstance(each, Record)},
        [each for each in parts if isinstance(each, Letter)],
    )


def ends(*parts: Any, accounts: tuple[Condition, ...] = (account(HERE), account(THERE))) -> dict[str, Now]:
    stands = stand(known(*parts), {str(each.destination): each for each in accounts}, NOW)
    return {each.where: each for each in stands}


def whats(*parts: Any) -> list[tuple[str, str]]:
    return [(step.where, step.what) for step in known(*parts).steps()]


# --------------------------------------------------------------------------------------------------------- the story


def test_where_it_does_not_go_by_a_mapping() -> None:
    """GIVEN destinations that skip it THEN each says why, and what shows the mapping; nothing is called rejected."""
    stands = ends(accepted(destinations=[HERE], skipped={THERE: "mapping.require is not true"}))
    assert (stands[THERE].state, stands[THERE].do) == ("skipped", "relay config check")
    assert stands[THERE].told == "does not go there: mapping.require is not true"
    assert "not tried yet" in stands[HERE].told
    alone = ends(accepted(destinations=[], skipped={HERE: "why", THERE: "why"}))
    assert {where: each.state for where, each in alone.items()} == {HERE: "skipped", THERE: "skipped"}
    (step,) = known(accepted(destinations=[], skipped={HERE: "why"})).steps()
    assert step.what.endswith(f"for no destination; not for {HERE}: why")


def test_from_acceptance_to_delivery() -> None:
    """Which way it came, each try and what was answered, where it ended, in order of time."""
    assert whats(
        outcome(80, "delivered", reason="HTTP 200", attempts=2),
        outcome(90, "retry", reason="HTTP 503", detail="busy"),
        accepted(),
    ) == [
        ("intake", f"accepted through EventBridge, then SQS, for {HERE}, {THERE}"),
        (HERE, "failed, HTTP 503: busy, try 1; tried again"),
        (HERE, "delivered, HTTP 200, try 2"),
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            accepted(via="direct", age=62.0),
            f"accepted through a direct call, 1m02 after it was put in, for {HERE}, {THERE}",
        ),
        (accepted(via=None), f"accepted, for {HERE}, {THERE}"),
        (
            said(9, service="intake", message="rejected", reason="type: is required", kept=True, via="sns"),
            "rejected through SNS: type: is required (kept in the rejected queue)",
        ),
        (
            said(9, service="intake", message="rejected", reason="too much", kept=False, via="direct"),
            "rejected through a direct call: too much (of its body the beginning is kept)",
        ),
        (
            said(9, service="intake", message="not accepted", failed_at="SQS", code="Denied", via="sqs"),
            "could not be taken through SQS: SQS: Denied; it comes again",
        ),
        (outcome(9, "throttled", reason="HTTP 429", attempts=0), "not yet: HTTP 429"),
        (outcome(9, "unauthorized", reason="HTTP 401"), "credentials refused, HTTP 401, try 1"),
        (outcome(9, "unknown", reason="no answer"), "sent, but no answer came, no answer, try 1; tried again"),
        (outcome(9, "unknown", reason="no answer", final=True), "given up, no answer, try 1: a dead letter"),
        (outcome(9, "expired", reason="too old", attempts=0, final=True), "given up, too old: a dead letter"),
        (
            outcome(9, "rejected", reason="HTTP 422", detail="no", final=True),
            "given up, HTTP 422: no, try 1: a dead letter",
        ),
        (outcome(9, "duplicate", reason="delivered before", attempts=0), "not sent: delivered before"),
        (
            outcome(9, "delivered", reason="HTTP 200", final=False),
            "delivered, HTTP 200, try 1, but that could not be written down; comes again",
        ),
        (
            outcome(9, "delivered", reason="HTTP 200", crashed_before=2),
            "delivered, HTTP 200, try 1 (2 before it left no record of their answer)",
        ),
    ],
)
def test_each_line_in_plain_words(line: Line, what: str) -> None:
    """Of intake's log and of deliver's."""
    assert [each for _, each in whats(line)] == [what]


def test_lines_that_tell_of_no_try_are_no_steps() -> None:
    """Whatever else names the event."""
    assert whats(said(9, service="deliver", message="something"), said(9, service="intake", message="other")) == []


def test_the_same_again_and_again_is_one_step() -> None:
    """Twelve failures alike; another destination's do not part them, another answer does."""
    down = [outcome(90 - n, "retry", reason="HTTP 503", attempts=n) for n in range(1, 13)]
    between = outcome(85.5, "throttled", THERE, reason="HTTP 429", attempts=0)
    steps = known(*down, between, outcome(20, "retry", reason="HTTP 500", attempts=13)).steps()
    assert [(step.where, step.times) for step in steps] == [(HERE, 12), (THERE, 1), (HERE, 1)]
    assert steps[0].what == "failed, HTTP 503, tries 1 to 12; tried again"
    assert (steps[0].at, steps[0].last) == (NOW - 89, NOW - 78)


def test_a_try_was_when_it_was_and_not_when_its_batch_told_of_it() -> None:
    """GIVEN a line at the end of a batch THEN its age says when; another copy's age does not."""
    told = outcome(70, "delivered", reason="HTTP 200", age=4.0)
    (_, step) = known(record("delivered", completed_at=NOW - 96), accepted(), told).steps()
    assert step.at == pytest.approx(NOW - 96, abs=0.01)
    (_, step) = known(
        record("delivered", completed_at=NOW - 96), accepted(), replace(told, said={**told.said, "age": 999.0})
    ).steps()
    assert step.at == NOW - 70


def test_what_the_logs_no_longer_have_the_ledger_tells() -> None:
    """When it came, and its last outcome."""
    assert whats(record("delivered", outcome="delivered", reason="HTTP 200")) == [
        (HERE, "came in; no log line says which way"),
        (HERE, "delivered, HTTP 200, try 1"),
    ]


def test_what_only_the_index_has() -> None:
    """SQS gave it up, which no line tells; and what a person did."""
    given_up = letter(reason="", state=State.REDRIVEN, settled_at=NOW - 5, settled_by="ana")
    assert whats(given_up) == [(HERE, "given up, a dead letter: no reason is known"), (HERE, "sent again by ana")]
    assert whats(letter(lane="rejected", destination=Destination(""), state=State.FORGOTTEN, settled_at=NOW)) == [
        ("intake", "rejected: HTTP 422: no"),
        ("intake", "forgotten"),
    ]


def test_a_letter_whose_line_is_there_is_told_once() -> None:
    """Seconds lie between them."""
    line = outcome(58, "rejected", reason="HTTP 422", detail="no", final=True)
    assert whats(line, letter()) == [(HERE, "given up, HTTP 422: no, try 1: a dead letter")]


# --------------------------------------------------------------------------------------------------- where it stands


def test_accepted_and_not_tried_yet() -> None:
    """No ledger record: it waits, for its account."""
    held = account(THERE, state=AccountState.OPEN, why="unauthorized", until=NOW + 95)
    found = ends(accepted(), accounts=(account(HERE), held))
    assert (found[HERE].state, found[HERE].told) == ("waiting", "waits in the lane, not tried yet; its account: ok")
    assert found[THERE].told.endswith("its account: HELD credentials refused, next 22:47:45")
    assert found[THERE].do == f"relay connect {THERE}, relay resume {THERE}"


def test_an_account_that_an_operator_holds() -> None:
    """The hold is what it waits for."""
    found = ends(accepted(destinations=[HERE]), accounts=(account(HERE, held="they asked"),))
    assert found[HERE].do == f"relay resume {HERE}"


def test_rejected() -> None:
    """No destination has it, and nothing was sent."""
    line = said(9, service="intake", message="rejected", reason="type: is required", kept=True)
    (end,) = ends(line).values()
    assert (end.where, end.state) == ("intake", "rejected")
    assert end.told == "rejected 22:46:01: type: is required; nothing was sent"
    assert end.do == "relay rejected list"
    reject = letter(lane="rejected", destination=Destination(""), reason="type: is required", at=NOW - 9)
    (end,) = ends(line, reject).values()
    assert end.do == "relay rejected show e-1"
    (end,) = ends(line, replace(reject, state=State.DROPPED, settled_at=NOW, settled_by="ana")).values()
    assert end.told.endswith("; dropped by ana")
    (end,) = ends(line, replace(reject, state=State.REDRIVEN, settled_at=NOW, settled_by="ana")).values()
    assert (end.state, end.told) == ("waiting", "sent again by ana 22:46:10, waits for intake")


def test_intake_could_not_take_it() -> None:
    """It is in the intake queue, and comes again."""
    line = said(9, service="intake", message="not accepted", failed_at="SQS", code="AccessDenied")
    (end,) = ends(line).values()
    assert (end.where, end.state) == ("intake", "waiting")
    assert "AccessDenied" in end.told


@pytest.mark.parametrize(
    ("given", "state", "told"),
    [
        (
            record("delivered", outcome="delivered", unknowns=1),
            "delivered",
            "delivered 22:44:40, 10s after acceptance; 1 times nobody knows whether it arrived before",
        ),
        (record("delivered", outcome="duplicate"), "delivered", "delivered before 22:44:40"),
        (record("given_up", reason="HTTP 422"), "dead_letter", "a dead letter since 22:44:40: HTTP 422"),
        (record("claimed", lease_until=NOW + 9), "trying", "is being tried now"),
        (
            record("claimed", lease_until=NOW - 9),
            "waiting",
            "waits: its last try left no record of its answer; it comes again when SQS brings it back; its account: ok",
        ),
        (
            record("open", reason="HTTP 503", attempts=3),
            "waiting",
            "waits: 3 tries, last HTTP 503 at 22:44:40; its account: ok",
        ),
    ],
)
def test_where_its_record_says_it_is(given: Record, state: str, told: str) -> None:
    """The ledger first: it is written before a line is."""
    end = ends(given)[HERE]
    assert (end.state, end.told) == (state, told)


def test_a_copy_that_was_not_sent_does_not_say_when_it_was_delivered() -> None:
    """GIVEN a record whose last outcome is a duplicate THEN the line of its delivery tells."""
    end = ends(record("delivered", outcome="duplicate", completed_at=NOW - 9), outcome(70, "delivered", age=5.0))[HERE]
    assert end.told == "delivered 22:44:35, 5s after acceptance"


def test_without_a_record_its_last_line_tells() -> None:
    """A dead letter of what was no event of the lane, or a record that is forgotten after 30 days."""
    gone = outcome(9, "rejected", reason="destinations: does not name it", attempts=0, final=True)
    assert (ends(gone)[HERE].state, ends(gone)[HERE].do) == ("dead_letter", f"relay dead list {FAST}")
    assert ends(outcome(9, "delivered", reason="HTTP 200"))[HERE].state == "delivered"
    assert ends(outcome(9, "duplicate", reason="given up before: HTTP 422"))[HERE].state == "dead_letter"


@pytest.mark.parametrize(
    ("state", "record_state", "expected"),
    [
        (State.WAITING, "given_up", "dead_letter"),
        (State.REDRIVEN, "given_up", "waiting"),
        (State.DROPPED, "given_up", "dropped"),
        (State.WAITING, "delivered", "delivered"),
    ],
)
def test_a_letter_says_what_became_of_it(state: State, record_state: str, expected: str) -> None:
    """A person may have sent it again, or dropped it, since its record was written."""
    settled = {} if state is State.WAITING else {"settled_at": NOW - 30, "settled_by": "ana"}
    given = letter(state=state, **settled)
    assert ends(given, record(record_state, completed_at=NOW - 60))[HERE].state == expected


def test_what_was_tried_since_its_letter_is_not_its_end() -> None:
    """GIVEN a redriven letter that was tried since THEN its record tells."""
    given = letter(state=State.REDRIVEN, settled_at=NOW - 50, settled_by="ana", at=NOW - 600)
    assert ends(given, record("open", reason="HTTP 503", completed_at=NOW - 10))[HERE].told.startswith(
        "waits: last HTTP"
    )


def test_another_content_of_its_id_is_told_beside_it() -> None:
    """GIVEN a delivery, and a dead letter of what came later under the same id THEN both are told, each in its time."""
    given = (
        accepted(100, correlation_id="first", destinations=[HERE]),
        outcome(97, "delivered", reason="HTTP 200", correlation_id="first", age=2.0),
        accepted(95, correlation_id="second", destinations=[HERE]),
        outcome(
            94, "rejected", reason="id_reused: used before", final=True, attempts=0, age=0.5, correlation_id="second"
        ),
        record("delivered", outcome="delivered", completed_at=NOW - 97.8),
        letter(at=NOW - 94, content_hash="another", reason="id_reused: used before"),
    )
    end = ends(*given)[HERE]
    assert end.state == "delivered"
    assert "; another content of its id is a dead letter since 22:44:36: id_reused" in end.told
    assert end.do == "relay dead show e-1"
    assert [what.split()[0] for _, what in whats(*given)] == ["accepted", "delivered,", "accepted", "given"]
    waiting = ends(record("open", reason="HTTP 503"), letter(content_hash="another"))[HERE]
    assert waiting.state == "waiting"
    settled = letter(content_hash="another", state=State.DROPPED, settled_at=NOW)
    assert "another content" not in ends(record("delivered"), settled)[HERE].told


def test_what_was_taken_out_of_its_lane_is_no_dead_letter() -> None:
    """GIVEN an event whose customer was forgotten THEN it neither waits nor is kept, also where it was redriven."""
    gone = outcome(10, "rejected", reason=FORGOTTEN, attempts=0, final=True)
    redriven = letter(state=State.REDRIVEN, settled_at=NOW - 50, lane="")
    for given in ((gone,), (gone, redriven, record("given_up"))):
        assert ends(accepted(), *given)[HERE] == Now(HERE, "forgotten", f"taken out unsent 22:46:00, {FORGOTTEN}")
    assert whats(gone) == [(HERE, f"taken out unsent, {FORGOTTEN}")]
    assert ends(gone, accepted(5))[HERE].state != "forgotten"


def test_a_reject_that_is_settled_is_no_dead_letter() -> None:
    """It is of no lane any more, and of no destination."""
    settled = letter(lane="", destination=Destination(""), state=State.FORGOTTEN, settled_at=NOW, settled_by="ana")
    assert settled.is_reject
    (end,) = ends(settled).values()
    assert (end.where, end.state) == ("intake", "rejected")
    assert end.told.endswith("; forgotten by ana")
    assert not letter(lane="").is_reject


def test_a_command_can_be_pasted() -> None:
    """GIVEN an id with a space THEN it is in quotes."""
    assert ends(letter(event_id="Bad Name-1"))[HERE].do == "relay dead show 'Bad Name-1'"


def test_a_redriven_event_is_as_old_as_its_redrive() -> None:
    """The relay counts anew from there, and so it is told."""
    given = record("delivered", outcome="delivered", accepted_at=NOW - 60, completed_at=NOW - 50)
    end = ends(letter(at=NOW - 600, state=State.REDRIVEN, settled_at=NOW - 60), given)[HERE]
    assert end.told == "delivered 22:45:20, 10s after it was sent again"


class Lanes:
    """SQS, with so many messages on every lane."""

    def __init__(self, visible: int, hidden: int) -> None:
        self._counts = {"ApproximateNumberOfMessages": visible, "ApproximateNumberOfMessagesNotVisible": hidden}

    def get_queue_attributes(self, **_: Any) -> dict[str, dict[str, str]]:
        return {"Attributes": {name: str(count) for name, count in self._counts.items()}}


def test_when_a_backlog_will_be_through() -> None:
    """GIVEN an event that waits in the lane of one account THEN it is told by when; not where others are on it."""
    waits, works = Now(HERE, "waiting", "waits"), account(HERE)
    count = round(600 * works.rate(NOW))
    relay = stack(sqs=Lanes(count - 10, 10))
    told = f"waits; the {count:,} on its lane are through by ~22:56 at the soonest"
    assert with_lane(relay, waits, works, NOW).told == told
    assert with_lane(stack(f"{HERE},{FAST}/*,{THERE}", sqs=Lanes(count, 0)), waits, works, NOW) == waits
    assert with_lane(relay, waits, account(HERE, held="because"), NOW) == waits
    refused = account(HERE, state=AccountState.OPEN, why="unauthorized", until=NOW + 9)
    assert with_lane(relay, waits, refused, NOW) == waits
    assert with_lane(relay, waits, None, NOW) == waits
    delivered = Now(HERE, "delivered", "delivered")
    assert with_lane(relay, delivered, works, NOW) == delivered


# ----------------------------------------------------------------------------------------------------------- answers


def test_all_of_it_is_data_and_shown() -> None:
    """For programs with the record, for people in words."""
    one = known(accepted(), record("open", reason="HTTP 503"))
    stands = list(stand(one, {}, NOW))
    data = json.loads(json.dumps(_data(stands, one.steps(), one.records, NOW - 86_400, Told([], "in part"))))
    assert data["now"][0]["ledger"]["state"] == "open"
    assert data["now"][1] == {
        "where": THERE,
        "state": "waiting",
        "told": "waits in the lane, not tried yet; its account is not known here",
        "do": None,
        "ledger": None,
    }
    assert data["steps"][0]["via"] == "eventbridge, sqs"
    assert data["not_seen"] == "in part"
    assert _shown("e-1", stands, one.steps(), Told([]), NOW)
    assert isinstance(one.steps()[0], Step)
