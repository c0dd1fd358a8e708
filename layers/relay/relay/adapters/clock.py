"""The machine's own clock, and threads as workers."""

import time
from collections.abc import Callable, Iterable, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
    """Satisfies `ports.Workers`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="attempt")

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        return self._pool.submit(work)

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> Set[Future[Any]]:
        return wait(futures, seconds, FIRST_COMPLETED).done
