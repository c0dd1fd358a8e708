"""The rules of the house that no linter knows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HANDLERS = sorted((ROOT / "functions").glob("*/app.py"))
PRODUCT = sorted((ROOT / "layers/relay/relay").rglob("*.py")) + HANDLERS


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_is_a_door(handler: Path) -> None:
    """At most forty lines, and no branch."""
    lines = handler.read_text().splitlines()
    assert 0 < len(lines) <= 40
    assert not [line for line in lines if re.match(r"\s+(if|for|while|try)\b", line)]


def test_there_are_two_handlers() -> None:
    """The check above looks at something."""
    assert [path.parent.name for path in HANDLERS] == ["deliver", "intake"]


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    """One sentence a room."""
    assert path.read_text().startswith('"""')


def test_no_room_without_a_name() -> None:
    """Nothing is called by what it is not."""
    assert not [path for path in PRODUCT if path.stem in ("utils", "util", "helpers", "helper", "common", "manager")]
