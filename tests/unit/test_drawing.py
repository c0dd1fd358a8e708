"""The drawing of the way says what the code imports."""

import re
from itertools import permutations
from pathlib import Path

import pytest

from relay.providers import PROVIDERS
from tools import drawing
from tools.drawing import BARS, LANE, PATH, ROW, WAY, draw, main, place, read_imports, reduced, route


def test_what_follows_from_others_is_not_drawn() -> None:
    """GIVEN a imports b, c and d, b imports c, and c imports d THEN three arrows say all of it."""
    assert reduced({("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("c", "d")}) == [("a", "b"), ("b", "c"), ("c", "d")]


def test_every_arrow_is_an_import() -> None:
    """Nothing is drawn that is not so, and nothing that is so cannot be followed along the arrows."""
    _, arrows = read_imports()
    few = reduced(arrows)
    assert set(few) < arrows
    reached = set(few)
    while more := {(one, last) for one, via in reached for first, last in few if via == first} - reached:
        reached |= more
    assert arrows <= reached


@pytest.mark.parametrize("arrow", sorted(permutations({*ROW, *BARS} - {LANE}, 2)), ids=" to ".join)
def test_every_arrow_begins_and_ends_at_its_boxes(arrow: tuple[str, str]) -> None:
    """Whatever may be imported by whatever one day."""
    packages, _ = read_imports()
    one, other = (place(packages)[name] for name in arrow)
    x, y, *turns = re.findall(r"[MHV ](\d+)", path := route(one, other))
    end_x, end_y = int(x), int(y)
    for turn, to in zip(re.findall("[HV]", path), map(int, turns), strict=True):
        end_x, end_y = (to, end_y) if turn == "H" else (end_x, to)
    for box, at_x, at_y in ((one, int(x), int(y)), (other, end_x, end_y)):
        assert box.x <= at_x <= box.right
        assert box.y <= at_y <= box.bottom
        assert at_x in (box.x, box.right) or at_y in (box.y, box.bottom)


def test_a_package_without_a_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new package is not left out in silence."""
    monkeypatch.setattr(drawing, "ROW", tuple(name for name in ROW if name != "account"))
    with pytest.raises(ValueError, match="account"):
        read_imports()


def test_every_step_and_module_is_shown() -> None:
    """Each box has its name, its modules, and as many numbers as the way passes it."""
    packages, arrows = read_imports()
    shown = re.findall(r">([^<>]+)</text>", draw(packages, reduced(arrows)))
    assert {*WAY, *ROW, LANE, "ports"} <= {*shown}
    modules = {module for modules in packages.values() for module in modules} - PROVIDERS.keys()
    assert modules <= {*re.split(" · |\n", "\n".join(shown))}
    assert [text for text in shown if text.isdigit()] == [str(step) for step, _ in enumerate(WAY, 1)]


def test_another_provider_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN the file of a new one, and its name in the list THEN the drawing is as it was."""
    packages, arrows = read_imports()
    monkeypatch.setitem(PROVIDERS, "pigeon", next(iter(PROVIDERS.values())))
    assert draw(packages | {"providers": [*packages["providers"], "pigeon"]}, reduced(arrows)) == PATH.read_text()


@pytest.mark.parametrize(("text", "status"), [(PATH.read_text(), 0), ("<svg/>", 1), (None, 1)])
def test_drift_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, status: int) -> None:
    """GIVEN the drawing as committed, another, or none WHEN it is checked THEN only the first passes."""
    path = tmp_path / "way.svg"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(drawing, "PATH", path)
    monkeypatch.setattr(drawing, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["drawing", "--check"])
    assert main() == status
    assert path.exists() is (text is not None)
