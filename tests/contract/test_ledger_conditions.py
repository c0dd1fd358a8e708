"""Every clause of the ledger's conditions is needed: without it a named contract test fails.

Each clause is made to hold always, then never, in the conditions that DynamoDB is really sent
(`relay/adapters/dynamodb.py`) and in the table that the simulation and the unit tests trust
(`tests/simulation/ledger.py`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import relay.adapters.dynamodb
from relay.adapters.dynamodb import DynamoLedger
from relay.ports import Ledger
from tests.contract import test_aws as contract
from tests.contract.conftest import Aws
from tests.fakes import FakeLedger
from tests.simulation.ledger import Clauses

TEXTS = {
    "is_new": "attribute_not_exists(event_id)",
    "is_not_ended": "NOT contains(given_up, :message_id)",
    "is_same": "content_hash = :content_hash",
    "is_open": "#state = :open",
    "is_given_up": "#state = :given_up",
    "is_claimed": "#state = :claimed",
    "is_over": "lease_until < :now",
    "is_delivered": "#state = :delivered",
    "is_later": "delivered_version < :version",
    "is_mine": "#owner = :owner",
}
"""The clauses by the names that the table in memory gives them."""

CONDITIONS = ("_IF_SAME", "_IF_OVERRIDES", "_MINE")


@dataclass(frozen=True)
class Case:
    """`condition` with one clause that always, or never, `holds`; `shown_by` fails then."""

    condition: str
    clause: str
    holds: bool
    shown_by: Callable[..., None]
    given: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.condition}-{self.clause}-{'always' if self.holds else 'never'}"


def both(condition: str, overrides: bool) -> list[Case]:
    """The clauses that a claim has at either kind of provider."""
    given: dict[str, Any] = {"overrides": overrides}
    needs: tuple[tuple[str, bool, Callable[..., None], dict[str, Any]], ...] = (
        ("is_new", False, contract.test_a_first_claim, {}),
        ("is_new", True, contract.test_a_claim_of_a_live_claim, {}),
        ("is_not_ended", False, contract.test_a_claim_of_a_stale_claim, {}),
        ("is_not_ended", True, contract.test_a_claim_of_a_message_that_was_given_up, {}),
        ("is_open", False, contract.test_a_claim_between_attempts, {"state": "open"}),
        ("is_open", True, contract.test_a_claim_of_a_live_claim, {}),
        ("is_given_up", False, contract.test_a_claim_between_attempts, {"state": "given_up"}),
        ("is_given_up", True, contract.test_a_claim_of_a_live_claim, {}),
        ("is_claimed", False, contract.test_a_claim_of_a_stale_claim, {}),
        ("is_claimed", True, contract.test_a_claim_after_delivery, {}),
        ("is_over", False, contract.test_a_claim_of_a_stale_claim, {}),
        ("is_over", True, contract.test_a_claim_of_a_live_claim, {}),
    )
    return [Case(condition, clause, holds, shown_by, given | more) for clause, holds, shown_by, more in needs]


CASES = [
    *both("_IF_SAME", False),
    Case("_IF_SAME", "is_same", False, contract.test_a_claim_of_a_stale_claim, {"overrides": False}),
    Case(
        "_IF_SAME",
        "is_same",
        True,
        contract.test_a_claim_with_other_content,
        {"state": "open", "overrides": False, "granted": False},
    ),
    *both("_IF_OVERRIDES", True),
    Case("_IF_OVERRIDES", "is_same", False, contract.test_a_claim_after_delivery, {"overrides": True}),
    Case(
        "_IF_OVERRIDES",
        "is_same",
        True,
        contract.test_a_claim_with_other_content,
        {"state": "delivered", "overrides": True, "granted": True},
    ),
    Case(
        "_IF_OVERRIDES",
        "is_delivered",
        False,
        contract.test_a_claim_with_other_content,
        {"state": "delivered", "overrides": True, "granted": True},
    ),
    Case(
        "_IF_OVERRIDES",
        "is_delivered",
        True,
        contract.test_a_claim_with_other_content_of_a_live_claim,
        {"overrides": True},
    ),
    Case(
        "_IF_OVERRIDES",
        "is_later",
        False,
        contract.test_a_claim_of_another_version_after_delivery,
        {"content_hash": "aa", "version": "002 2", "granted": True},
    ),
    Case("_IF_OVERRIDES", "is_later", True, contract.test_a_claim_after_delivery, {"overrides": True}),
    Case("_MINE", "is_mine", False, contract.test_a_claim_between_attempts, {"state": "open", "overrides": False}),
    Case("_MINE", "is_mine", True, contract.test_a_settle_of_somebody_elses_claim_is_ignored),
]


def broken_condition(case: Case) -> str:
    """It names the same attributes and values: DynamoDB refuses values that no expression uses."""
    condition, text = getattr(relay.adapters.dynamodb, case.condition), TEXTS[case.clause]
    broken = f"({text} OR NOT ({text}))" if case.holds else f"({text} AND NOT ({text}))"
    assert condition.count(text) == 1
    return str(condition.replace(text, broken))


@pytest.fixture(params=["ministack", "moto", "fake"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], Ledger]:
    """A ledger with one clause broken, the real one or the fake."""

    def with_text(case: Case) -> Ledger:
        monkeypatch.setattr(relay.adapters.dynamodb, case.condition, broken_condition(case))
        aws = Aws(request.getfixturevalue(request.param))
        return DynamoLedger(aws.dynamodb, aws.table)

    def in_memory(case: Case) -> Ledger:
        monkeypatch.setattr(Clauses, case.clause, staticmethod(lambda *_: case.holds))
        return FakeLedger()

    return in_memory if request.param == "fake" else with_text


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_clause_is_seen(broken: Callable[[Case], Ledger], case: Case) -> None:
    """GIVEN the ledger with one clause that always, or never, holds WHEN its contract is tested THEN a test fails."""
    ledger = broken(case)
    with pytest.raises(AssertionError):
        case.shown_by(ledger, **case.given)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_clause_has_its_cases(condition: str) -> None:
    """GIVEN a condition WHEN the clauses known here are taken out THEN nothing but logic is left, and each of them is
    broken both ways above.
    """
    text = getattr(relay.adapters.dynamodb, condition)
    inside = {name for name, clause in TEXTS.items() if clause in text}
    for clause in TEXTS.values():
        text = text.replace(clause, "")
    assert re.sub(r"AND|OR|NOT|[() ]", "", text) == ""
    wanted = {(name, holds) for name in inside for holds in (True, False)}
    assert {(each.clause, each.holds) for each in CASES if each.condition == condition} == wanted


def test_the_table_in_memory_has_the_same_clauses() -> None:
    """GIVEN the real clauses WHEN those in memory are counted THEN they are the same."""
    assert {name for name in vars(Clauses) if name.startswith("is_")} == set(TEXTS)
