"""Virtual time: a deterministic scheduler of greenlets. Nothing here reads the machine's clock or starts a thread."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

TIMEOUT = object()
"""What `Kernel.park` returns when its seconds have passed."""


class Process:
    """Tasks that live, freeze and die together: one execution environment."""

    def __init__(self) -> None:
        self.tasks: dict[Task, None] = {}
        self.alive = True
        self.frozen = False
        self._late: list[tuple[Task, int, Any]] = []

    def hold(self, task: "Task", token: int, value: object) -> None:
        self._late.append((task, token, value))

    def freeze(self) -> None:
        """Stops time for its tasks, as Lambda does between invocations."""
        self.frozen = True

    def thaw(self, kernel: "Kernel") -> None:
        self.frozen = False
        late, self._late = self._late, []
        for task, token, value in late:
            kernel.wake(task, token, value)

    def kill(self, kernel: "Kernel") -> None:
        """Ends every task where it stands. A task that kills its own process goes on until it waits."""
        if self.alive:
            self.alive = False
            kernel.call_at(kernel.now, lambda: kernel.reap(self))


class Task:
    """One strand of work. `token` tells its present wait from earlier ones, so that a late wake-up is nobody's."""

    __slots__ = ("greenlet", "process", "token")

    def __init__(self, work: greenlet, process: Process) -> None:
        self.greenlet = work
        self.process = process
        self.token = 0


class Kernel:
    """Times are seconds since the run began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self.stopped = False
        self._until = 0.0
        self._hub = getcurrent()
        self._queue: list[tuple[float, int, Task | None, int, Any]] = []
        self._count = 0
        self._current: Task | None = None

    @property
    def current(self) -> Task:
        assert self._current is not None, "only a task may wait"
        return self._current

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        self._push(max(when, self.now), None, 0, action)

    def call_in(self, seconds: float, action: Callable[[], None]) -> None:
        self._push(self.now + seconds, None, 0, action)

    def spawn(self, work: Callable[[], None], process: Process) -> Task:
        """Starts `work` as a task of the process, at this moment but after the present step."""

        def run(_: object = None) -> None:
            try:
                work()
            except GreenletExit:
                pass
            finally:
                process.tasks.pop(task, None)

        task = Task(greenlet(run, self._hub), process)
        process.tasks[task] = None
        self._push(self.now, task, task.token, None)
        return task

    def sleep(self, seconds: float) -> None:
        task, until = self.current, self.now + seconds
        if self._goes_on(task, until):
            # Nothing else happens meanwhile: its awakening is the next step, and needs no switch there and back.
            self.now = until
            self.steps += 1
            task.token += 1
        else:
            self._push(until, task, task.token, None)
            self._switch()

    def park(self, seconds: float | None = None) -> Any:
        """Waits for `wake`; returns its value, or TIMEOUT."""
        task = self.current
        if seconds is not None:
            self._push(self.now + seconds, task, task.token, TIMEOUT)
        return self._switch()

    def wake(self, task: Task, token: int, value: object = None, seconds: float = 0.0) -> None:
        """Ends the wait that `token` names, after some seconds; nothing happens if it is over by then."""
        self._push(self.now + seconds, task, token, value)

    def run(self, until: float) -> None:
        """Works until that second, until nothing is left to do or until `stopped`."""
        queue, self._until = self._queue, until
        while queue and not self.stopped and queue[0][0] <= until:
            self.now, _, task, token, value = heapq.heappop(queue)
            self.steps += 1
            if task is None:
                value()
            elif task.token == token and task.process.alive:
                if task.process.frozen:
                    task.process.hold(task, token, value)
                    continue
                task.token += 1
                self._current = task
                task.greenlet.switch(value)
                self._current = None

    def reap(self, process: Process) -> None:
        for task in list(process.tasks):
            self._current = task
            task.greenlet.throw(GreenletExit)
            self._current = None

    def _goes_on(self, task: Task, until: float) -> bool:
        process, queue = task.process, self._queue
        is_next = until <= self._until and (not queue or until < queue[0][0])
        return is_next and process.alive and not process.frozen and not self.stopped

    def _push(self, when: float, task: Task | None, token: int, value: object) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, task, token, value))

    def _switch(self) -> Any:
        if not self.current.process.alive:
            raise GreenletExit
        return self._hub.switch()


class Mutex:
    """A lock whose waiters wait in virtual time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._held = False
        self._waiting: deque[tuple[Task, int]] = deque()

    def __enter__(self) -> None:
        while self._held:
            task = self._kernel.current
            self._waiting.append((task, task.token))
            self._kernel.park()
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        if self._waiting:
            self._kernel.wake(*self._waiting.popleft())
