"""Starts processes in groups of their own and ends exactly those, from another program or when interrupted."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked this program to end. Not an Exception: nothing but the clean-up may catch it."""


class _State:
    held = 0
    pending = False


@contextmanager
def raised() -> Iterator[None]:
    """Inside, each of the signals raises Interrupted in the main thread."""
    before = {number: signal.signal(number, _on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Inside, a signal waits and raises Interrupted at the end: for clean-up, or to start a process and note it."""
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
    if _State.pending and not _State.held:
        _State.pending = False
        raise Interrupted


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _State.held:
        _State.pending = True
        return
    raise Interrupted


_PATIENCE_SECONDS = 5.0


class CommandError(Exception):
    """A command ended with a failure. Holds the last lines it wrote."""


@dataclass(frozen=True)
class Process:
    """A process of ours. ``started`` tells it from a later process that was given the same number."""

    name: str
    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return self.started != "" and moment_of_start(self.pid) == self.started


def start(name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Process:
    """Start ``command`` in a session of its own, so that a Ctrl-C meant for us does not reach it."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    # Not waited for here: Process.alive and stop() collect it.
    child.returncode = 0
    return Process(name, child.pid, moment_of_start(child.pid))


def stop(process: Process) -> bool:
    """End the process and all it started; first kindly. False if it had ended before."""
    if not process.alive:
        return False
    with held():
        _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while process.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        _signal_group(process.pid, signal.SIGKILL)
        while process.alive:
            time.sleep(0.05)
    return True


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
    """Run ``command`` to its end. Raises CommandError; an interrupt ends the command and all it started."""
    with held():
        process = start(Path(command[0]).name, command, env=env, cwd=cwd, log=log)
    try:
        status = _wait(process.pid)
    except BaseException:
        stop(process)
        raise
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise CommandError(f"{' '.join(command[:2])} ended with status {status}; {log}:\n{tail}")


def _wait(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def moment_of_start(pid: int) -> str:
    """A text that no other process with this number has; empty if there is none, or it only waits to be collected."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else f"{fields[19]} ticks after boot {boot.read_text().strip()}"
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, moment = shown.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else moment.strip()
