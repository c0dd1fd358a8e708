"""Sends what goes to one queue: in order, by the batch, and again what the queue would not take just now."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from relay.errors import UnavailableError
from relay.ports import MOST_BYTES, MOST_ENTRIES, Clock, Refusal

LONGEST_CALL = 12.0
"""Seconds that one call of SQS may take, with all that botocore tries."""

NO_TIME = "no time left"

TRIES = 5
FIRST_PAUSE = 0.2
"""Seconds before an entry is tried again, at most; doubled each time. A throttled lane takes more within the second."""


class Entry(Protocol):
    @property
    def size(self) -> int: ...
    @property
    def order(self) -> frozenset[str]: ...


class Outbox[E: Entry]:
    """One queue's share of one invocation. `place` says whose an entry is; `failed` holds, by place, what went wrong.

    What an entry that failed has gone before stays behind it: once one is given up, nothing that shares its `order`
    is sent any more. (Within one call SQS may take the later and refuse the earlier; nobody can prevent that.)
    """

    def __init__(
        self,
        queue: str,
        send: Callable[[Sequence[E]], Mapping[int, Refusal]],
        clock: Clock,
        deadline: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.failed: dict[int, UnavailableError] = {}
        self._queue = queue
        self._send = send
        self._clock = clock
        self._deadline = deadline
        self._chance = chance
        self._waiting: list[tuple[int, E]] = []
        self._bytes = 0
        self._stuck: dict[str, str] = {}
        """The code of what failed, for each that has to stay behind it."""
        self._away: str = ""
        """Why nothing can be sent any more."""

    def add(self, place: int, entry: E) -> None:
        """Sends what waits where this one no longer fits beside it."""
        size = entry.size
        if len(self._waiting) == MOST_ENTRIES or self._bytes + size > MOST_BYTES:
            self.flush()
        self._waiting.append((place, entry))
        self._bytes += size

    def flush(self) -> None:
        """Sends what waits, and comes back when it is sent or given up."""
        left, self._waiting, self._bytes = self._waiting, [], 0
        for number in range(TRIES):
            if number:
                self._clock.sleep(FIRST_PAUSE * 2 ** (number - 1) * (0.5 + self._chance() / 2))
            left = self._try(left, last=number == TRIES - 1)
            if not left:
                return

    def _try(self, entries: list[tuple[int, E]], *, last: bool) -> list[tuple[int, E]]:
        """Sends them once. Returns those to be tried again."""
        ready = [(place, entry) for place, entry in entries if not self._holds_back(place, entry)]
        if not ready:
            return []
        try:
            refused = self._send([entry for _, entry in ready])
        except Exception as error:  # Whatever it is, none of these may pass for sent.
            self._away = error.code if isinstance(error, UnavailableError) else type(error).__name__
            refused = dict.fromkeys(range(len(ready)), Refusal(self._away, again=False))
        again = []
        for number, (place, entry) in enumerate(ready):
            if number in refused:
                if refused[number].again and not last:
                    again.append((place, entry))
                else:
                    self._give_up(place, entry, refused[number].code)
        return again

    def _holds_back(self, place: int, entry: E) -> bool:
        if not self._away and self._clock.monotonic() + LONGEST_CALL > self._deadline:
            self._away = NO_TIME
        code = self._away
        if self._stuck and not code:
            code = next((self._stuck[key] for key in entry.order if key in self._stuck), "")
        if code:
            self._give_up(place, entry, code)
        return bool(code)

    def _give_up(self, place: int, entry: E, code: str) -> None:
        self.failed.setdefault(place, UnavailableError(self._queue, code=code))
        for key in entry.order:
            self._stuck.setdefault(key, code)
