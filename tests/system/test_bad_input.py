"""Bad input, by name: each is kept or returned with one clear reason, and its neighbours are delivered."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.factories import eventbridge, sns
from tests.kinds import FAST
from tests.system.running import Json, Letter, Relay, event, until

EMAIL = "grace@customers.example"


def bad(**changes: Any) -> Json:
    return event("bad", **{"id": "bad-1", **changes})


def spliced(field: str, value: str) -> str:
    """The bad event as text, with a field that no JSON writer would write."""
    return json.dumps(bad(**{field: "HERE"})).replace('"HERE"', value)


@dataclass(frozen=True)
class Case:
    """A body and the fields that its reason must name. `event_id` is what can be read of it."""

    body: str
    fields: tuple[str, ...] = ("body",)
    event_id: str = "-"


def contract_case(*fields: str, **changes: Any) -> Case:
    """A body that is JSON, an object and has an id, but breaks the contract."""
    changed = bad(**changes)
    return Case(json.dumps(changed), fields, changed["id"] if isinstance(changed.get("id"), str) else "-")


CASES = {
    "malformed JSON": Case('{"id": "bad-1", '),
    "empty body": Case(" \n"),
    "a list": Case("[]"),
    "a number": Case("42"),
    "null": Case("null"),
    "10,000 levels": Case("[" * 10_000 + "]" * 10_000),
    "10,000 levels inside": Case(spliced("properties", '{"a":' * 10_000 + "1" + "}" * 10_000)),
    "900 KB": contract_case("body", properties={"text": "x" * 900_000}),
    "NaN": Case(spliced("value", "NaN")),
    "minus infinity": Case(spliced("value", "-Infinity")),
    "a huge integer": contract_case("properties.n", properties={"n": 10**30}),
    "an endless integer": Case(spliced("value", "9" * 5_000)),
    "lone surrogates": contract_case("properties.text", properties={"text": "\ud800"}),
    "a lone surrogate as id": contract_case("id", id="\udfff"),
    "a duplicate key": Case(spliced("value", '1, "id": "bad-1"'), ("id",)),
    "a duplicate key inside": Case(spliced("properties", '{"a": 1, "a": 2}'), ("properties.a",)),
    "wrong types everywhere": contract_case(
        *("id", "source", "type", "occurred_at", "customer", "properties", "value", "currency", "destinations"),
        **dict.fromkeys(("id", "occurred_at", "currency"), 1),
        **dict.fromkeys(("source", "customer", "destinations"), True),
        **dict.fromkeys(("type", "properties", "value"), ()),
    ),
    "an unknown destination": contract_case("destinations.0", destinations=[f"{FAST}/nobody"]),
    "a destination of no provider": contract_case("destinations.1", destinations=[f"{FAST}/main", "fax/main"]),
    "an unknown field": contract_case("colour", colour="blue"),
    "an unknown field named as a customer": contract_case("***", **{EMAIL: 1}),
    "256 characters": contract_case("id", "source", "type", id="i" * 256, source="s" * 256, type="t" * 256),
    "an envelope in an envelope": Case(json.dumps(eventbridge(eventbridge(bad()))), ("detail",)),
    "SNS in SNS": Case(json.dumps(sns(sns(bad()))), ("Message",)),
    "an id that is a customer": contract_case("colour", id=EMAIL, colour="blue"),
    "a wrong e-mail": contract_case("customer.email", customer={"email": "grace at customers.example"}),
    "a wrong phone number": contract_case("customer.phone_number", customer={"phone_number": "+1 (555) 123-4567"}),
}
RETURNED = ["a list", "a number", "null"] + [
    name for name, case in CASES.items() if case.fields != ("body",) and "duplicate" not in name
]
"""Those that a caller can send at all: what reaches a function has been parsed, and is below 6 MB."""


def neighbours(number: int) -> list[Json]:
    return [event("neighbour", each, destinations=[f"{FAST}/main"]) for each in (2 * number, 2 * number + 1)]


@pytest.fixture(scope="module")
def kept(deployed: Relay) -> list[Letter]:
    """RejectedQueue when each case went in between two good events, and all is worked through."""
    small = [case.body for case in CASES.values() if len(case.body) < 500_000]
    large = [case.body for case in CASES.values() if len(case.body) >= 500_000]
    batches = [small[start : start + 8] for start in range(0, len(small), 8)] + [[body] for body in large]
    for number, batch in enumerate(batches):
        first, last = neighbours(number)
        deployed.send(json.dumps(first), *batch, json.dumps(last))
    until(lambda: len(deployed.rejected()) >= len(CASES), f"{len(CASES)} rejected records")
    deployed.until_drained()
    for number in range(len(batches)):
        deployed.until_settled(neighbours(number))
    return deployed.rejected()


@pytest.mark.parametrize("name", CASES)
def test_a_bad_record_is_kept_with_its_reason(kept: list[Letter], name: str) -> None:
    """Once, with the original body, every field named, and no personal data in what was added."""
    case = CASES[name]
    [letter] = [one for one in kept if one.body == case.body]
    known = {"reason", "destination", "event_id", "status", "attempts", "accepted_at", "letter"}
    assert set(letter.attributes) == known
    for field in case.fields:
        assert f"{field}: " in letter.attributes["reason"]
    told = {name: letter.attributes[name] for name in ("destination", "status", "attempts")}
    assert told == {"destination": "-", "status": "-", "attempts": "0"}
    assert EMAIL not in str(letter.attributes)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.event_id.startswith("bad")])
def test_a_bad_record_is_found_by_its_event_id(kept: list[Letter], name: str) -> None:
    [letter] = [one for one in kept if one.body == CASES[name].body]
    assert letter.attributes["event_id"] == CASES[name].event_id


def test_nothing_but_the_neighbours_is_sent(relay: Relay, kept: list[Letter]) -> None:
    """Every good event of every batch once; nothing of what was rejected; nothing left in IntakeQueue."""
    taken = [request["event_id"] for request in relay.providers.requests("neighbour") if request["accepted"]]
    assert sorted(taken) == sorted(set(taken))
    assert relay.providers.requests("bad") == []
    assert relay.waiting("IntakeQueueUrl") == 0


@pytest.mark.parametrize("name", RETURNED)
def test_a_direct_call_hears_what_is_wrong(relay: Relay, name: str) -> None:
    """Each field named; and it is kept, for nobody may be listening."""
    case = CASES[name]
    before = len(relay.rejected())
    answer = relay.call("Intake", json.loads(case.body))
    assert answer["accepted"] == []
    [rejected] = answer["rejected"]
    assert {error["field"] for error in rejected["errors"]} >= set(case.fields)
    assert (rejected["index"], rejected["kept"]) == (0, True)
    [letter] = until(lambda: relay.rejected()[before:], "the record")
    assert json.loads(letter.body) == json.loads(case.body)


def test_an_asynchronous_call_loses_nothing(relay: Relay) -> None:
    """GIVEN a call whose answer goes to nobody WHEN one of its events is bad THEN that one is in RejectedQueue."""
    good, wrong = event("async_good", destinations=[f"{FAST}/main"]), event("async_bad", colour="blue")
    relay.notify({"events": [good, wrong]})
    [letter] = until(
        lambda: [one for one in relay.rejected() if one.attributes.get("event_id") == "async_bad-1"], "the record"
    )
    assert json.loads(letter.body) == wrong
    assert "colour: " in letter.attributes["reason"]
    relay.until_settled([good])


def test_a_direct_call_with_many_is_answered_one_by_one(relay: Relay) -> None:
    """The good are accepted, the bad are named by their place in the list."""
    good = [event("direct_good", number, destinations=[f"{FAST}/main"]) for number in (1, 2)]
    answer = relay.call("Intake", {"events": [good[0], bad(colour="blue"), good[1], 7]})
    assert answer["accepted"] == ["direct_good-1", "direct_good-2"]
    assert [(one["index"], one["id"], [error["field"] for error in one["errors"]]) for one in answer["rejected"]] == [
        (1, "bad-1", ["colour"]),
        (3, None, ["body"]),
    ]
    relay.until_settled(good)


def test_a_bad_event_of_a_rule_is_kept(relay: Relay) -> None:
    """A rule that targets the function has nobody to answer to: the envelope goes to RejectedQueue."""
    envelope = eventbridge(event("bad_rule", colour="blue"))
    answer = relay.call("Intake", envelope)
    assert [one["id"] for one in answer["rejected"]] == ["bad_rule-1"]
    [letter] = until(
        lambda: [one for one in relay.rejected() if one.attributes.get("event_id") == "bad_rule-1"], "the record"
    )
    assert json.loads(letter.body) == envelope
    assert "colour: " in letter.attributes["reason"]
