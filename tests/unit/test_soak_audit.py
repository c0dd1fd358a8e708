"""The audit of a soak: clean where everything is as it should be, and not for anything that is not."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from relay.contract.destination import Destination
from relay.providers import PROVIDERS
from tests.kinds import OVERWRITES, REPEATS
from tests.soak.audit import MUST_NOT_BE, PLANTED, Found, audit, tables
from tests.soak.plan import APART, FAULTS, MALFORMED, Customer, Plan, Sent, draw
from tests.system.running import Letter

ACCOUNTS = ("soak-1", "soak-2")
PLAN = draw(7, 400, ACCOUNTS)


def as_it_should_be(plan: Plan) -> Found:
    """What is found after a soak in which each event was delivered once, and each repeat and bad one dealt with."""
    found = Found({}, {}, Counter(), {}, {}, {}, [], 0, [])
    for number, event in enumerate(plan.events):
        if event.malformed:
            found.rejected[event.id] = [Letter(f"{event.id} …", {"reason": "customer: is required"})]
            continue
        record = f"record-{number}"
        found.accepted.setdefault(event.id, set()).add((record, event.destinations))
        for destination in event.destinations:
            _end(found, event, destination, record)
    return found


def _end(found: Found, event: Sent, destination: str, record: str) -> None:
    overwrites = PROVIDERS[Destination(destination).provider].repeats.overrides
    is_update = event.version > 1 and overwrites and not found.taken[event.id, destination, event.version]
    if not event.repeats or is_update:
        outcome = "delivered"
        found.taken[event.id, destination, event.version] += 1
    elif event.version > 1 and not overwrites:
        outcome = "rejected"
        letter = Letter("…", {"reason": "id_reused: this id …", "event_id": event.id, "destination": destination})
        found.given_up.setdefault((event.id, destination), []).append(letter)
    else:
        outcome = "duplicate"
    found.ended[event.id, destination, record] = {outcome}
    found.ledger[event.id, destination] = {"state": "delivered", "unknowns": "0"}


def at(provider: str) -> tuple[str, str]:
    """An event that was sent once, and a destination of it at that provider."""
    often = Counter(event.id for event in PLAN.events)
    return next(
        (event.id, destination)
        for event in PLAN.events
        if not event.malformed and often[event.id] == 1
        for destination in event.destinations
        if Destination(destination).provider == provider
    )


MALFORMED_ID = next(event.id for event in PLAN.events if event.malformed)
REPEATED_ID = next(event.id for event in PLAN.events if event.repeats and event.version == 1)
LETTER = next(key for key in as_it_should_be(PLAN).given_up)
FIRST, SECOND = at(OVERWRITES), at(REPEATS)


def record_of(found: Found, delivery: tuple[str, str]) -> str:
    return next(iter(found.accepted[delivery[0]]))[0]


def lose(found: Found) -> None:
    del found.ended[*FIRST, record_of(found, FIRST)]


def duplicate_nothing(found: Found) -> None:
    found.ended[*FIRST, record_of(found, FIRST)] = {"duplicate"}
    del found.taken[*FIRST, 1]


def repeat(found: Found) -> None:
    found.taken[*SECOND, 1] += 1


def leave_a_repeat_out(found: Found) -> None:
    found.accepted[REPEATED_ID].pop()


BREAKAGES: dict[str, Callable[[Found], object]] = {
    "a delivery that ended nowhere": lose,
    "a delivery that the provider never got": lambda found: found.taken.pop((*FIRST, 1)),
    "a repeat that nobody counted": repeat,
    "an event that intake never took": lambda found: found.accepted.pop(FIRST[0]),
    "a repeat that intake never took": leave_a_repeat_out,
    "a bad event that was not kept": lambda found: found.rejected.pop(MALFORMED_ID),
    "a bad event that was accepted": lambda found: found.accepted.update({MALFORMED_ID: {("x", FIRST[1:])}}),
    "a good event that was rejected": lambda found: found.rejected.update({FIRST[0]: [Letter("", {"reason": "a: b"})]}),
    "a reject without a reason": lambda found: found.rejected.update({MALFORMED_ID: [Letter("", {})]}),
    "a dead letter that is not there": lambda found: found.given_up.pop(LETTER),
    "a duplicate of nothing": duplicate_nothing,
    "a delivery that the ledger has open": lambda found: found.ledger.update({FIRST: {"state": "open"}}),
    "a delivery that the ledger does not have": lambda found: found.ledger.pop(FIRST),
    "a letter that the index does not have": lambda found: found.unindexed.append("HTTP 422"),
    "a leak": lambda found: found.leaks.append("log: …"),
}


def test_a_soak_without_a_fault_is_clean() -> None:
    """GIVEN everything as it should be THEN each event is accounted for, and the tables can be drawn."""
    made = audit(PLAN, as_it_should_be(PLAN))
    assert made.wrong == []
    assert made.records["accepted"] + made.records["rejected"] == made.records["sent"] == 400
    sent_to = sum(len(event.destinations) for event in PLAN.events)
    assert sum(made.deliveries.values()) == sent_to
    assert not any(made.records[name] + made.deliveries[name] + made.repeats[name] for name in MUST_NOT_BE)
    assert [table.row_count > 0 for table in tables(made)] == [True] * 6


@pytest.mark.parametrize("what", BREAKAGES)
def test_what_must_not_be_is_noticed(what: str) -> None:
    """GIVEN one thing that is not as it should be THEN the audit is not clean."""
    found = as_it_should_be(PLAN)
    BREAKAGES[what](found)
    assert not audit(PLAN, found).is_clean


def test_what_is_on_the_way_is_not_lost() -> None:
    """GIVEN messages that wait THEN what did not end waits, which must not be either."""
    found = replace(as_it_should_be(PLAN), waiting=3)
    lose(found)
    made = audit(PLAN, found)
    assert (made.deliveries["still waiting"], made.deliveries["lost"], made.is_clean) == (1, 0, False)


def test_a_repeat_that_was_counted_may_be() -> None:
    """GIVEN an event that the ledger counts as unknown once WHEN it was taken twice THEN that is accounted for."""
    found = as_it_should_be(PLAN)
    repeat(found)
    found.ledger[SECOND] = {"state": "delivered", "unknowns": "1"}
    made = audit(PLAN, found)
    assert made.is_clean
    assert made.repeats[f"{REPEATS}: sent again, counted as unknown"] == 1


def test_where_an_id_overwrites_a_repeat_does_no_harm() -> None:
    """It is told of, all the same."""
    found, told = as_it_should_be(PLAN), f"{OVERWRITES}: sent again, which overwrites"
    before = audit(PLAN, found).repeats[told]
    found.taken[*FIRST, 1] += 1
    made = audit(PLAN, found)
    assert made.is_clean
    assert made.repeats[told] == before + 1


def test_a_seed_is_a_plan() -> None:
    """The same each time, in about the parts that were asked for; a repeat never in one call with what it repeats."""
    assert draw(7, 400, ACCOUNTS) == PLAN
    assert draw(8, 400, ACCOUNTS) != PLAN
    events = list(PLAN.events)
    assert 0.5 < sum(bool(event.malformed) for event in events) / (MALFORMED * len(events)) < 1.5
    assert 0.5 < sum(bool(event.fault) for event in events) / (FAULTS * len(events)) < 1.5
    numbers = {event.id: int(event.id.rpartition("-")[2]) for event in events if not event.repeats}
    assert all(numbers[event.id] < 400 - APART for event in events if event.repeats)
    assert {batch.kill for batch in PLAN.batches} > {""}
    assert {batch.rotate for batch in PLAN.batches} > {""}
    for batch in PLAN.batches:
        assert len({event.id for event in batch.events}) == len(batch.events) <= 10


@pytest.mark.parametrize("text", [Customer(7).email, Customer(7).phone[1:], "Bearer tok3n-x", Customer(7).words])
def test_what_was_planted_is_found(text: str) -> None:
    assert PLANTED.search(f'"detail":"{text}"')
