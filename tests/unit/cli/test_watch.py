"""Looking again and again, until Ctrl-C."""

import json
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner, Result

from cli.command import Answer, Exit, command
from cli.stack import Relay


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A command that is watched, interrupted at the third look."""
    looks = iter(range(100))

    def sleep(seconds: float) -> None:
        if next(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    app = typer.Typer()

    def status(relay: Relay, watch: bool = True) -> Answer:
        """How it is."""
        numbers = iter(range(100))

        def look() -> Answer:
            number = next(numbers)
            return Answer({"look": number}, f"look {number}", Exit.DEGRADED, again=look if watch else None)

        return look()

    command(app)(status)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_ctrl_c_ends_it_quietly(run: Callable[..., Result]) -> None:
    """No traceback and no word: it is how a watch ends."""
    ended = run()
    assert ended.exit_code == Exit.INTERRUPTED
    assert ended.stdout.split() == ["look", "0", "look", "1", "look", "2"]
    assert ended.stderr == ""


def test_as_json_each_look_is_a_line(run: Callable[..., Result]) -> None:
    """For a program that reads along."""
    lines = run("--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"look": 0}, {"look": 1}, {"look": 2}]


def test_what_nobody_watches_is_shown_once(run: Callable[..., Result]) -> None:
    """And ends with its own code."""
    ended = run("--no-watch")
    assert (ended.exit_code, ended.stdout) == (Exit.DEGRADED, "look 0\n")
