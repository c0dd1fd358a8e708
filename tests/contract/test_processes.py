"""The local tools end what they started, all of it, and nothing else."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from local.processes import CommandError, Interrupted, Process, held, moment_of_start, raised, run, start, stop

PARENT = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"


def started(folder: Path, code: str) -> Process:
    """A Python process, once it has written something."""
    log = folder / "log"
    process = start("example", [sys.executable, "-c", code], env=dict(os.environ), cwd=folder, log=log)  # noqa: TID251
    while not log.read_text().endswith("\n"):
        assert process.alive
    return process


def test_a_process_ends_with_all_it_started(tmp_path: Path) -> None:
    """GIVEN a process with a child WHEN it is stopped THEN both end, and stopping again does nothing."""
    process = started(tmp_path, PARENT)
    number = int((tmp_path / "log").read_text())
    child = Process("child", number, moment_of_start(number))
    assert child.alive
    assert stop(process)
    assert not process.alive
    while child.alive:
        # It was killed with its parent; the kernel may take a moment to carry that out.
        time.sleep(0.01)
    assert not stop(process)


def test_a_stranger_with_the_same_number_is_left_alone(tmp_path: Path) -> None:
    """GIVEN a noted process whose number now belongs to another WHEN it is stopped THEN the other lives on."""
    process = started(tmp_path, PARENT)
    try:
        assert not stop(replace(process, started="another moment"))
        assert process.alive
    finally:
        stop(process)


def test_a_process_that_ignores_the_request_ends_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a process deaf to SIGTERM WHEN it is stopped THEN it is killed."""
    monkeypatch.setattr("local.processes._PATIENCE_SECONDS", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    assert stop(started(tmp_path, deaf))


def test_a_failed_command_tells_its_last_words(tmp_path: Path) -> None:
    """GIVEN a command that fails WHEN it is run THEN the error holds what it wrote."""
    with pytest.raises(CommandError, match="out of cheese"):
        run([sys.executable, "-c", "raise SystemExit('out of cheese')"], env={}, cwd=tmp_path, log=tmp_path / "log")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_waits_for_the_end_of_a_held_step(number: signal.Signals) -> None:
    """GIVEN a step that must not be torn apart WHEN a signal comes in it THEN it ends first, and then it counts."""
    steps: list[str] = []

    def step() -> None:
        with held():
            os.kill(os.getpid(), number)
            steps.append("ended")

    with raised():
        with pytest.raises(Interrupted):
            step()
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)
    assert steps == ["ended"]
