"""The machine's own clock, and threads as workers."""

import time
from collections.abc import Callable, Iterable, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any


class SystemClock:
    """Satisfies `ports.Clock`."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ThreadWorkers:
    """Satisfies `ports.Workers`, for one who waits at a time: for all that is under way, or what is left out of a wait
    is not heard of again.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="attempt")
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        """`concurrent.futures.wait` would ask every one of them each time that one ends."""

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        future = self._pool.submit(work)
        future.add_done_callback(self._ended.put)
        return future

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> Set[Future[Any]]:
        under_way, until = set(futures), time.monotonic() + seconds
        ended: set[Future[Any]] = set()
        with suppress(Empty):
            while under_way and not ended:
                ended = under_way & {self._ended.get(timeout=max(0.0, until - time.monotonic()))}
            while under_way:
                ended |= under_way & {self._ended.get_nowait()}
        return ended
