"""`relay dead` and `relay rejected`, as far as they need no queue: what they show, and how they end."""

from typing import Any, Self

import pytest
import typer
from rich.console import Console

from cli.command import CommandError, Exit, Output, ask, reported
from cli.dead import WIDE_ENOUGH, Consent, DeadFilter, GroupTable, _act, show_dead, show_rejected
from cli.index import Letter
from cli.reasons import grouped
from cli.stack import Relay
from cli.trace import trace
from tests.kinds import FAST
from tests.unit.cli.stack import stack

LONG_ID = "order-0b9f3c2e-1a2b-4c3d-8e9f-0a1b2c3d4e5f"


class Letters:
    """DynamoDB, with letters that wait in the index."""

    def __init__(self, *items: dict[str, str]) -> None:
        self._items = [{name: {"S": value} for name, value in item.items()} for item in items]

    def get_paginator(self, _: str) -> Self:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [self.query()]

    def query(self, **_: Any) -> dict[str, Any]:
        return {"Items": self._items}

    def get_item(self, *, Key: dict[str, Any], **_: Any) -> dict[str, Any]:
        return next(({"Item": item} for item in self._items if item["letter"] == Key.get("letter")), {})


def relay_with(*items: dict[str, str]) -> Relay:
    relay = stack(dynamodb=Letters(*items))
    relay.__dict__["outputs"] = {**relay.outputs, "LettersTableName": "letters", "LedgerTableName": "ledger"}
    return relay


def dead(name: str) -> dict[str, str]:
    return {"letter": name, "lane": FAST, "state": "waiting", "destination": f"{FAST}/main", "event_id": "e 1"}


@pytest.mark.parametrize("width", [80, 100, WIDE_ENOUGH])
def test_an_id_stays_in_one_piece(width: int) -> None:
    """GIVEN a terminal of any width THEN the example can be copied, and what to do stands there."""
    letters = [Letter("l-1", FAST, reason="HTTP 422: " + "no such thing " * 9, event_id=LONG_ID, event_type="order")]
    console = Console(width=width, color_system=None)
    with console.capture() as written:
        console.print(GroupTable(grouped(letters)))
    lines = written.get().splitlines()
    assert any(LONG_ID in line for line in lines) or width >= WIDE_ENOUGH
    assert ("TYPES" in lines[0]) is (width >= WIDE_ENOUGH)
    assert "mend, redrive; else drop" in written.get()
    assert max(map(len, lines)) <= width


def test_interrupted_it_says_how_far_it_was() -> None:
    """GIVEN three letters WHEN Ctrl-C comes at the second THEN one was done with, and the same command goes on."""
    seen: list[str] = []

    def one(letter: Letter) -> str:
        seen.append(letter.letter)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return "dropped"

    with pytest.raises(CommandError) as caught:
        _act(relay_with(dead("1"), dead("2"), dead("3")), "drop", DeadFilter(where=FAST), Consent(yes=True), one)
    assert str(caught.value) == "interrupted: 1 of 3 were done with; the same command goes on"
    assert caught.value.exit_code is Exit.INTERRUPTED


def test_what_is_the_other_kind_of_letter_is_said() -> None:
    """And where there is none at all, what knows of the event."""
    with pytest.raises(CommandError, match="there is a dead letter → relay dead show 'e 1'") as caught:
        show_rejected(relay_with(dead("1")), "e 1")
    assert caught.value.exit_code is Exit.NOT_FOUND
    with pytest.raises(CommandError, match="none of such an event → relay trace e-2"):
        show_dead(relay_with(), "e-2")


def test_a_script_s_empty_variable() -> None:
    """GIVEN no name at all THEN it is said, and AWS is not asked."""
    for look in (show_dead, show_rejected, trace):
        with pytest.raises(CommandError, match="is empty") as caught:
            look(stack(), "")
        assert caught.value.exit_code is Exit.USAGE


def test_a_question_that_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN no terminal THEN nothing is done, and it is said how to go on; Ctrl-C at a question is an interruption."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(CommandError, match="say --yes") as caught:
        ask("sure?")
    assert caught.value.exit_code is Exit.USAGE
    with pytest.raises(typer.Exit) as ended, reported(Output.TABLE):
        raise typer.Abort
    assert ended.value.exit_code == Exit.INTERRUPTED
