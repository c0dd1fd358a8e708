"""Lambda: a function's environments (cold, warm, recycled, killed) and the event source mappings that feed it."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tests.simulation.environment import Environment
from tests.simulation.kernel import Kernel
from tests.simulation.plan import LATEST_COPY, Plan
from tests.simulation.sqs import FifoQueue, Message, StandardQueue, failures

TIMEOUT_SECONDS = 30.0
BATCH = 10
CRASHED = object()
"""In place of a response: the invocation raised, died or timed out."""

type OnEnd = Callable[[object], None]


class Function:
    """`make(name)` builds an environment; `on_death(name, why)` is called when one crashes or times out."""

    def __init__(
        self,
        kernel: Kernel,
        plan: Plan,
        name: str,
        make: Callable[[str], Environment],
        on_death: Callable[[str, str], None],
    ) -> None:
        self._kernel = kernel
        self._plan = plan
        self._name = name
        self._make = make
        self._on_death = on_death
        self._rng = random.Random(f"function {name} {plan.seed}")
        self._idle: list[Environment] = []
        self._count = 0
        self.invocations = 0
        self.crashes = 0
        self.busy_seconds = 0.0
        self.starting_seconds = 0.0

    def invoke(
        self, batch: Sequence[Message], on_end: OnEnd, work: Callable[[Environment], object] | None = None
    ) -> None:
        """Runs `batch` (or other `work`) in some environment, then calls `on_end` with the response or CRASHED."""
        environment, cold = self._take()
        delay = self._rng.uniform(0.3, 0.8) if cold else self._rng.uniform(0.002, 0.01)
        self.starting_seconds += delay if cold else 0.0
        self._kernel.call_in(delay, lambda: self._start(environment, batch, on_end, work))

    def _take(self) -> tuple[Environment, bool]:
        now = self._kernel.now
        self._idle = [each for each in self._idle if now - each.idle_since < self._plan.idle_limit]
        if self._idle:
            return self._idle.pop(self._rng.randrange(len(self._idle)) if self._plan.spread else -1), False
        self._count += 1
        return self._make(f"{self._name}-{self._count}"), True

    def _start(
        self,
        environment: Environment,
        batch: Sequence[Message],
        on_end: OnEnd,
        work: Callable[[Environment], object] | None,
    ) -> None:
        kernel, began = self._kernel, self._kernel.now
        environment.deadline = began + TIMEOUT_SECONDS
        self.invocations += 1
        over = False

        def end(response: object) -> None:
            nonlocal over
            if over:
                return
            over = True
            self.busy_seconds += kernel.now - began
            if response is CRASHED:
                self.crashes += 1
                environment.process.kill(kernel)
            else:
                self._release(environment, len(batch))
            on_end(response)

        def die(why: str) -> None:
            if not over:
                self._on_death(environment.name, why)
                end(CRASHED)

        def run() -> None:
            try:
                response = work(environment) if work else environment.handle(batch)
            except Exception as error:
                environment.services.checker.on_handler_raised(error)
                response = CRASHED
            end(response)

        environment.on_death = die
        kernel.call_at(environment.deadline, lambda: die("timed out"))
        environment.process.thaw(kernel)
        kernel.spawn(run, environment.process)

    def _release(self, environment: Environment, served: int) -> None:
        environment.process.freeze()
        environment.idle_since = self._kernel.now
        environment.served += served
        worn = self._plan.retire_after is not None and environment.served >= self._plan.retire_after
        if worn or self._rng.random() < self._plan.recycle:
            environment.process.kill(self._kernel)
        else:
            self._idle.append(environment)


class StandardMapping:
    """An event source mapping on a standard queue."""

    def __init__(self, kernel: Kernel, plan: Plan, queue: StandardQueue, function: Function) -> None:
        self._kernel = kernel
        self._plan = plan
        self._queue = queue
        self._function = function
        self._rng = random.Random(f"intake {plan.seed}")
        self._running = 0
        queue.on_ready = lambda: kernel.call_in(0.01, self._poll)

    def _poll(self) -> None:
        while self._queue.visible and self._running < 5:
            batch = self._queue.receive(self._rng.randint(1, 10), self._rng.randrange)
            if batch:
                self._running += 1
                self._function.invoke(batch, lambda response, batch=batch: self._on_end(response, batch))  # type: ignore[misc]

    def _on_end(self, response: object, batch: list[Message]) -> None:
        self._running -= 1
        if response is not CRASHED:
            failed = failures(response, {each.message_id for each in batch})
            done = [each for each in batch if each.message_id not in failed]
            self._queue.delete(done)
            for each in done:
                if self._rng.random() < self._plan.duplicates and self._kernel.now < self._plan.faults_end:
                    delay = self._rng.choice((0.05, 20.0, 400.0, 3000.0))
                    self._kernel.call_in(delay, lambda each=each: self._queue.again(each))  # type: ignore[misc]
        self._poll()


class FifoMapping:
    """An event source mapping on a lane: one batch at a time per group, `concurrency` batches in all.

    At least once: a batch may be invoked twice at once, and then both responses count, or the second one's is lost; and
    a batch whose invocation was throttled may begin when its messages are about to be visible again.

    `on_group_chosen(group, seconds)` is called when a group's turn has come, after so long in which it was ready;
    `on_batch_answered(batch, receipts, response)` when a response is there, before anything is deleted.
    """

    def __init__(self, kernel: Kernel, plan: Plan, queue: FifoQueue, function: Function) -> None:
        self._kernel = kernel
        self._plan = plan
        self._queue = queue
        self._function = function
        self._rng = random.Random(f"mapping {plan.seed}")
        self._odd = random.Random(f"pollers {plan.seed}")
        """For what pollers do now and then: plans without it are played as they were before it was known."""
        self._resting: dict[str, float] = {}
        """Groups whose last batch ended just now, and until when their next one cannot be had."""
        self._ready: dict[str, float] = {}
        self._running = 0
        self._polling = False
        self.on_group_chosen: Callable[[str, float], None] = lambda *_: None
        self.on_batch_answered: Callable[[list[Message], Mapping[str, str], object], None] = lambda *_: None
        queue.on_ready = self._on_ready

    def _on_ready(self, group: str) -> None:
        self._ready.setdefault(group, self._kernel.now)
        if not self._polling:
            self._polling = True
            self._kernel.call_in(self._rng.uniform(0.005, 0.02), self._poll)

    def _poll(self) -> None:
        self._polling = False
        while self._running < self._plan.concurrency:
            batch = self._receive()
            if not batch:
                return
            self._running += 1
            self._run(batch)

    def _run(self, batch: list[Message]) -> None:
        receipts = {each.message_id: each.receipt for each in batch}
        # What is handed over says what it said when it was received.
        handed = [replace(each) for each in batch]

        def invoke(heard: bool = True) -> None:
            self._function.invoke(
                handed, lambda response: self._on_end(response if heard else CRASHED, batch, receipts)
            )

        faulty, plan = self._kernel.now < self._plan.faults_end, self._plan
        if faulty and plan.held_up and self._odd.random() < plan.held_up:
            self._kernel.call_in(self._odd.uniform(165.0, 179.0), invoke)
        else:
            invoke()
        if faulty and plan.twice and self._odd.random() < plan.twice:
            self._running += 1
            heard = self._odd.random() < 0.5
            self._kernel.call_in(self._odd.choice((0.0, 0.05, 2.0, LATEST_COPY)), lambda: invoke(heard))

    def _receive(self) -> list[Message]:
        batch: list[Message] = []
        most = self._rng.randint(1, BATCH) if self._rng.random() < self._plan.short else BATCH
        while group := self._choose():
            self.on_group_chosen(group, self._kernel.now - self._ready.pop(group))
            batch += self._queue.receive(group, most - len(batch))
            if batch and (not self._plan.mixed_batches or len(batch) >= most):
                break
        return batch

    def _choose(self) -> str | None:
        now = self._kernel.now
        rested = (group for group in self._ready if self._resting.get(group, 0.0) <= now)
        if self._plan.pick == "ready":
            return next((group for group in rested if self._queue.head(group) is not None), None)
        heads = {group: head for group in rested if (head := self._queue.head(group)) is not None}
        if not heads:
            return None
        match self._plan.pick:
            case "oldest":
                return min(heads, key=heads.__getitem__)
            case _:
                return self._rng.choice(list(heads))

    def _on_end(self, response: object, batch: list[Message], receipts: Mapping[str, str]) -> None:
        self._running -= 1
        if response is not CRASHED:
            if self._kernel.now < self._plan.faults_end and self._rng.random() < self._plan.malformed:
                response = {"batchItemFailures": [{"itemIdentifier": "not of this batch"}]}
            self.on_batch_answered(batch, receipts, response)
            failed = failures(response, {each.message_id for each in batch})
            faulty = self._kernel.now < self._plan.faults_end
            lost = {each.message_id for each in batch if faulty and self._rng.random() < self._plan.lost_deletes}
            self._rest(batch)
            self._queue.delete((each for each in batch if each.message_id not in failed | lost), receipts)
        self._poll()

    def _rest(self, batch: list[Message]) -> None:
        if self._plan.hand_over[1]:
            seconds = self._odd.uniform(*self._plan.hand_over)
            for group in {each.group for each in batch}:
                self._resting[group] = self._kernel.now + seconds
            self._kernel.call_in(seconds + self._odd.uniform(0.005, 0.02), self._poll)
