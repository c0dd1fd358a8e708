"""The machine's own clock and threads, where the domain meets them."""

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from relay.adapters.clock import SystemClock, ThreadWorkers

if TYPE_CHECKING:
    from relay.ports import Clock, Workers

    _clock: Clock = SystemClock()
    _workers: Workers = ThreadWorkers(1)


def test_the_clock_is_the_machines() -> None:
    """Unix seconds, seconds that never go back, and a sleep that ends."""
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= before
    assert abs(clock.now() - time.time()) < 60


def test_workers_end_side_by_side() -> None:
    """A wait ends with the first that is done, and holds only what is done."""
    workers = ThreadWorkers(2)
    futures = [workers.submit(lambda: 1), workers.submit(lambda: 2)]
    done: set[Future[int]] = set()
    while len(done) < 2:
        done |= workers.wait(set(futures) - done, 10)
    assert [future.result() for future in futures] == [1, 2]


def test_a_wait_may_find_nothing() -> None:
    """No time, nothing done."""
    assert ThreadWorkers(1).wait([], 0) == set()
