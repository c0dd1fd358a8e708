"""What the ledger and the accounts' table hold: records that are never changed, only copied with a change."""

import copy
import dataclasses
import math
from typing import Any

import pytest

from relay.adapters.dynamodb import read_item, write_item
from relay.ports import AccountRecord, Record, State, Window

RECORDS = [
    (Record("e1", "one/main", "ab" * 32, "claimed", given_up=("m1",)), {"state": "open", "attempts": 2}),
    (Window(1.0, 5, 5, 5.0, turns=((10.0, 1),)), {"share": 4.5, "turns": ()}),
    (AccountRecord("one/main", windows=(Window(1.0, 5, 5, 5.0),)), {"state": State.OPEN, "until": 60.0}),
]


@pytest.mark.parametrize(("record", "changes"), RECORDS)
def test_a_copy_with_a_change_is_what_making_it_anew_would_be(record: Any, changes: dict[str, Any]) -> None:
    """GIVEN a record WHEN it is copied with changes THEN the copy is the one that its fields would make, the record is
    as it was, and neither lets itself be changed.
    """
    before = dataclasses.asdict(record)
    changed = copy.replace(record, **changes)
    assert changed == dataclasses.replace(record, **changes)
    assert dataclasses.asdict(record) == before
    assert copy.replace(changed) == changed != record
    for each in (record, changed):
        with pytest.raises(dataclasses.FrozenInstanceError):
            each.version = 7


@pytest.mark.parametrize(("record", "changes"), RECORDS)
def test_a_field_that_there_is_not_is_no_change(record: Any, changes: dict[str, Any]) -> None:
    """GIVEN a name that no field has THEN it is refused by name."""
    with pytest.raises(TypeError, match=f"a {type(record).__name__} has no colour"):
        copy.replace(record, **changes, colour="red")


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": 1}, b"a"])
def test_what_no_item_holds_is_refused_before_it_is_sent(value: object) -> None:
    """DynamoDB would refuse it, and that reads as if it were away."""
    with pytest.raises(TypeError):
        write_item({"a": value})


@pytest.mark.parametrize("typed", [{"M": {}}, {"SS": ["a"]}, {"NS": ["1"]}])
def test_what_no_item_was_given_is_not_read(typed: dict[str, object]) -> None:
    """GIVEN a kind of value that is never written WHEN an item has one THEN it does not pass for a plain one."""
    with pytest.raises(TypeError):
        read_item({"a": typed})
