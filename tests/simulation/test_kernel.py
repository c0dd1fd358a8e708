"""The kernel of the simulation: whoever sleeps wakes in order, with or without a switch."""

import pytest

from tests.simulation.kernel import TIMEOUT, Kernel, Process

Log = list[tuple[float, str]]


def _sleeper(kernel: Kernel, log: Log, name: str, *naps: float) -> None:
    for seconds in naps:
        kernel.sleep(seconds)
        log.append((kernel.now, name))


def test_those_that_sleep_wake_in_order() -> None:
    """GIVEN three tasks whose sleeps interleave, some to one moment THEN each wakes when it is due, those due at one
    moment in the order in which they fell asleep, and each beginning and awakening is one step.
    """
    kernel, log = Kernel(), Log()
    for name, naps in (("a", (1.0, 1.0, 3.0)), ("b", (2.0, 0.5)), ("c", (2.0,))):
        kernel.spawn(lambda name=name, naps=naps: _sleeper(kernel, log, name, *naps), Process())  # type: ignore[misc]
    kernel.run(until=100.0)
    assert log == [(1.0, "a"), (2.0, "b"), (2.0, "c"), (2.0, "a"), (2.5, "b"), (5.0, "a")]
    assert kernel.steps == 3 + 6


def test_nobody_sleeps_past_the_end_of_a_run() -> None:
    """GIVEN a task alone WHEN a run ends while it sleeps THEN it goes on in the next run, at its moment."""
    kernel, log = Kernel(), Log()
    kernel.spawn(lambda: _sleeper(kernel, log, "a", 1.0, 2.0, 2.0), Process())
    kernel.run(until=3.5)
    assert log == [(1.0, "a"), (3.0, "a")]
    kernel.run(until=10.0)
    assert log[2:] == [(5.0, "a")]


@pytest.mark.parametrize("how", ["killed", "stopped", "frozen"])
def test_who_may_not_go_on_does_not(how: str) -> None:
    """GIVEN a task alone whose process is killed or frozen, or whose run is stopped, before it sleeps THEN it does not
    wake: not before it is thawed, or the run goes on.
    """
    kernel, log, process = Kernel(), Log(), Process()

    def work() -> None:
        match how:
            case "killed":
                process.kill(kernel)
            case "stopped":
                kernel.stopped = True
            case _:
                process.freeze()
        _sleeper(kernel, log, "a", 1.0)

    kernel.spawn(work, process)
    kernel.run(until=10.0)
    assert log == []
    kernel.stopped = False
    process.thaw(kernel)
    kernel.run(until=20.0)
    assert [name for _, name in log] == ([] if how == "killed" else ["a"])


def test_a_late_call_wakes_nobody() -> None:
    """GIVEN a call that is for an earlier wait WHEN the task has slept since, and waits again THEN it waits for as long
    as it said.
    """
    kernel, log = Kernel(), Log()

    def work() -> None:
        task = kernel.current
        kernel.wake(task, task.token, "late", seconds=5.0)
        kernel.sleep(1.0)
        heard = kernel.park(10.0)
        log.append((kernel.now, "nothing" if heard is TIMEOUT else heard))

    kernel.spawn(work, Process())
    kernel.run(until=100.0)
    assert log == [(11.0, "nothing")]


def test_who_was_killed_does_nothing_as_it_ends() -> None:
    """GIVEN a task that would sleep and go on as it ends WHEN it is killed THEN it ends where it stands."""
    kernel, log, process = Kernel(), Log(), Process()

    def work() -> None:
        try:
            kernel.park()
        finally:
            _sleeper(kernel, log, "a", 1.0)

    kernel.spawn(work, process)
    kernel.call_at(3.0, lambda: process.kill(kernel))
    kernel.run(until=100.0)
    assert log == []
