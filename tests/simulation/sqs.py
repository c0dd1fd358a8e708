"""SQS as it behaves: a FIFO queue with message groups, and a standard queue that may deliver twice.

A FIFO group is blocked while any of its messages is in flight, or, as a user reports, only while its first one is: both
are played. Visibility, receipt handles (an old one neither hides nor deletes), receive counts, the redrive policy, the
five-minute deduplication window (per group), the 120,000 look-ahead and the twelve-hour cap are AWS's.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation.kernel import Kernel

VISIBILITY = 180.0
DEDUPLICATION = 300.0
LONGEST_IN_FLIGHT = 12 * 3600.0
RETENTION = 14 * 86_400.0


@dataclass(slots=True, eq=False)
class Message:
    message_id: str
    body: str
    group: str
    sent_at: float
    attributes: dict[str, str] = field(default_factory=dict)
    sequence: int = 0
    receives: int = 0
    received_at: float = 0.0
    hidden_until: float = 0.0
    deleted: bool = False

    @property
    def receipt(self) -> str:
        return f"{self.message_id}#{self.receives}"


@dataclass(slots=True, eq=False)
class Group:
    name: str
    messages: deque[Message] = field(default_factory=deque)
    in_flight: list[Message] = field(default_factory=list)
    """Those handed out last that are still hidden, and some that no longer are."""
    check: int = 0
    """Names the latest scheduled look at whether the group is free again."""


class FifoQueue:
    """`on_ready(group name)` is called whenever a group has messages and none in flight (`opens_by_head`: whenever its
    first message is not); `on_delete(message)` just before a message is deleted, `on_receives_used_up(message)` just
    before the redrive policy takes one off.
    """

    def __init__(
        self, kernel: Kernel, name: str, max_receives: int, look_ahead: int, opens_by_head: bool = False
    ) -> None:
        self._kernel = kernel
        self._name = name
        self._max_receives = max_receives
        self._look_ahead = look_ahead
        self._opens_by_head = opens_by_head
        self._groups: dict[str, Group] = {}
        self._seen: dict[tuple[str, str], float] = {}
        self._sequence = 0
        self._alive: deque[Message] = deque()
        self.size = 0
        self.on_ready: Callable[[str], None] = lambda _: None
        self.on_delete: Callable[[Message], None] = lambda _: None
        self.on_receives_used_up: Callable[[Message], None] = lambda _: None

    def send(self, group: str, body: str, deduplication_id: str, attributes: dict[str, str]) -> Message | None:
        """None: SQS said yes, and dropped it as a duplicate of the last five minutes."""
        now, key = self._kernel.now, (group, deduplication_id)
        if now - self._seen.get(key, float("-inf")) < DEDUPLICATION:
            return None
        self._seen[key] = now
        self._sequence += 1
        message = Message(f"{self._name}-{self._sequence}", body, group, now, attributes, self._sequence)
        kept = self._groups.setdefault(group, Group(group))
        kept.messages.append(message)
        self._alive.append(message)
        self.size += 1
        if not kept.in_flight and len(kept.messages) == 1:
            self.on_ready(group)
        return message

    def head(self, group: str) -> int | None:
        """The sequence number of a free group's first message; None for a blocked, empty or hidden group."""
        kept = self._groups[group]
        if not kept.messages or self._opens_at(kept) > self._kernel.now:
            return None
        if kept.messages[0].sequence > self._horizon():
            return None
        return kept.messages[0].sequence

    def receive(self, group: str, most: int) -> list[Message]:
        """The first messages of a free group, in order."""
        kept, now = self._groups[group], self._kernel.now
        while kept.messages and kept.messages[0].receives >= self._max_receives:
            self.on_receives_used_up(kept.messages[0])
            self._remove(kept, kept.messages[0])
        taken: list[Message] = []
        for message in itertools.islice(kept.messages, most):
            if message.receives >= self._max_receives or message.hidden_until > now:
                break
            message.receives += 1
            message.received_at, message.hidden_until = now, now + VISIBILITY
            taken.append(message)
        kept.in_flight = [*(each for each in kept.in_flight if each.hidden_until > now and each not in taken), *taken]
        self._watch(kept)
        return taken

    def hide(self, message_id: str, receipt: str, group: str, seconds: float) -> bool:
        """ChangeMessageVisibility. False where SQS refuses: a stale receipt, or more than twelve hours in all."""
        kept, now = self._groups.get(group), self._kernel.now
        message = next((m for m in (kept.in_flight if kept else ()) if m.message_id == message_id), None)
        if kept is None or message is None or message.receipt != receipt or message.hidden_until <= now:
            return False
        if now + seconds > message.received_at + LONGEST_IN_FLIGHT or not 0 <= seconds <= LONGEST_IN_FLIGHT:
            return False
        message.hidden_until = now + seconds
        self._watch(kept)
        return True

    def delete(self, messages: Iterable[Message], receipts: Mapping[str, str]) -> None:
        """`receipts` by message id. Nothing happens to a message that is visible again, or that somebody else has."""
        for message in messages:
            is_ours = message.receipt == receipts[message.message_id]
            if is_ours and not message.deleted and message.hidden_until > self._kernel.now:
                self.on_delete(message)
                self._remove(self._groups[message.group], message)

    def left(self) -> list[Message]:
        return [message for group in self._groups.values() for message in group.messages]

    def _remove(self, kept: Group, message: Message) -> None:
        message.deleted = True
        kept.messages.remove(message)
        if message in kept.in_flight:
            kept.in_flight.remove(message)
        self.size -= 1
        self._watch(kept)

    def _watch(self, kept: Group) -> None:
        kept.check += 1
        mine = kept.check

        def look() -> None:
            if kept.check == mine:
                kept.in_flight = [each for each in kept.in_flight if each.hidden_until > self._kernel.now]
                if kept.messages:
                    self.on_ready(kept.name)

        self._kernel.call_at(self._opens_at(kept), look)

    def _opens_at(self, kept: Group) -> float:
        if self._opens_by_head:
            return kept.messages[0].hidden_until if kept.messages else self._kernel.now
        return max((message.hidden_until for message in kept.in_flight), default=self._kernel.now)

    def _horizon(self) -> int:
        while self._alive and self._alive[0].deleted:
            self._alive.popleft()
        if self.size <= self._look_ahead:
            return self._sequence
        reached, seen = 0, 0
        for message in self._alive:
            seen += not message.deleted
            reached = message.sequence
            if seen == self._look_ahead:
                break
        return reached


class StandardQueue:
    """At least once, in any order. `on_ready()` is called when a message can be had, `on_delete(message)` when one is
    deleted, `on_receives_used_up(message)` when the redrive policy takes one off.
    """

    def __init__(self, kernel: Kernel, name: str, max_receives: int) -> None:
        self._kernel = kernel
        self._name = name
        self._max_receives = max_receives
        self._visible: list[Message] = []
        self._count = 0
        self.size = 0
        self.on_ready: Callable[[], None] = lambda: None
        self.on_delete: Callable[[Message], None] = lambda _: None
        self.on_receives_used_up: Callable[[Message], None] = lambda _: None

    def send(self, body: str, attributes: dict[str, str] | None = None) -> Message:
        self._count += 1
        message = Message(f"{self._name}-{self._count}", body, "", self._kernel.now, attributes or {})
        self.size += 1
        self._show(message)
        return message

    def receive(self, most: int, pick: Callable[[int], int]) -> list[Message]:
        """Up to `most` messages; `pick(n)` chooses an index below n."""
        taken: list[Message] = []
        while self._visible and len(taken) < most:
            message = self._visible.pop(pick(len(self._visible)))
            message.receives += 1
            if message.receives > self._max_receives:
                self.on_receives_used_up(message)
                self.size -= 1
                continue
            message.hidden_until = self._kernel.now + VISIBILITY
            taken.append(message)
            self._kernel.call_at(message.hidden_until, lambda m=message: self._reappear(m))  # type: ignore[misc]
        return taken

    def delete(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if not message.deleted:
                message.deleted = True
                self.size -= 1
                self.on_delete(message)

    def again(self, message: Message) -> None:
        """Delivers a message once more although it was deleted: what "at least once" means."""
        copy = replace(message, receives=0, deleted=False)
        self.size += 1
        self._show(copy)

    @property
    def visible(self) -> int:
        return len(self._visible)

    def _reappear(self, message: Message) -> None:
        if not message.deleted and message.hidden_until <= self._kernel.now:
            self._show(message)

    def _show(self, message: Message) -> None:
        self._visible.append(message)
        self.on_ready()


type Response = dict[str, Any] | None


def failures(response: object, batch_ids: set[str]) -> set[str]:
    """The ids that a partial batch response leaves in the queue, read as strictly as AWS reads it.

    An empty response, None included, deletes the whole batch; anything malformed, or an id that is not of the batch,
    brings the whole batch back.
    """
    if response is None or response == {}:
        return set()
    listed = response.get("batchItemFailures") if isinstance(response, dict) else "malformed"
    if listed is None:
        return set()
    if not isinstance(listed, list):
        return batch_ids
    ids = [entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in listed]
    return {str(each) for each in ids} if all(each in batch_ids for each in ids) else batch_ids
