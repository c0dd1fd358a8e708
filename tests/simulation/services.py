"""What all environments of a run share: queues, ledger, providers, the checker."""

import math
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.contract.destination import Destination
from relay.handlers.envelope import open_record
from relay.ports import DeadLetter, RejectedRecord, Request
from relay.providers.base import Provider
from tests.simulation.kernel import Kernel
from tests.simulation.ledger import AccountsTable, Table
from tests.simulation.plan import Plan
from tests.simulation.provider import Account
from tests.simulation.sqs import DEDUPLICATION, FifoQueue, Message

if TYPE_CHECKING:
    from tests.simulation.invariants import Checker


class Services:
    def __init__(
        self,
        kernel: Kernel,
        plan: Plan,
        checker: "Checker",
        accounts: dict[str, Account],
        lanes: dict[str, FifoQueue],
    ) -> None:
        self.kernel = kernel
        self.plan = plan
        self.checker = checker
        self.accounts = accounts
        self.lanes = lanes
        self.table = Table()
        self.accounts_table = AccountsTable()
        self.letters: list[DeadLetter] = []
        self._letters: dict[str, float] = {}
        self.providers: dict[str, Provider] = {}
        """By destination: they know nothing that an environment could have learned."""
        self.open_record = cache(open_record)
        """The relay's own. What is in a body stays the same, however often it is received."""
        self.details: dict[tuple[str, bytes, tuple[str, ...]], str] = {}
        """What the relay makes of a provider's words, by who it is, a reply's body and what is private."""
        self._half = (
            sorted(each.at for each in plan.events)[len(plan.events) // 2] if len(plan.events) > 1 else math.inf
        )
        """The second at which half the events have come."""
        self._by_token = {token: account for account in accounts.values() for token in account.tokens}

    def account_of(self, request: Request) -> Account:
        """By its token: what a request can be told by at either provider."""
        token = request.headers.get("Authorization", "").rpartition(" ")[2]
        return self._by_token[token or urlsplit(request.url).query.rpartition("=")[2]]

    @property
    def groups(self) -> int:
        """How many message groups each account has now."""
        plan = self.plan
        return plan.regrouped if plan.regrouped and self.kernel.now >= self._half else plan.groups

    def put_on_lane(
        self,
        destination: Destination,
        group: str,
        body: str,
        deduplication_id: str,
        attributes: dict[str, str],
        record_at: float | None = None,
    ) -> Message | None:
        """`record_at` is when the record behind it came to the relay first; None: now."""
        lane = self.lanes[destination.provider]
        message = lane.send(group, body, deduplication_id, attributes)
        if message is not None:
            self.checker.on_put_on_lane(destination, message, self.kernel.now if record_at is None else record_at)
        return message

    def keep_rejected(self, record: RejectedRecord) -> None:
        self.checker.on_record_rejected(record)

    def keep_dead_letter(self, letter: DeadLetter) -> None:
        """The dead-letter queue is FIFO as well: within five minutes the same id is one letter."""
        now = self.kernel.now
        if now - self._letters.get(letter.deduplication_id, float("-inf")) >= DEDUPLICATION:
            self._letters[letter.deduplication_id] = now
            self.letters.append(letter)
            self.checker.on_dead_letter_sent(letter)

    def hold(self, destination: str, until: float) -> None:
        """What `relay hold` does."""
        self.accounts_table.hold(destination, "their maintenance", until)
        self.checker.conduct.on_held(destination, until)

    def resume(self, destination: str) -> None:
        """What `relay resume` does: for some seconds it has shown what batches that were under way hid meanwhile."""
        self.accounts_table.resume(destination)
        self.checker.conduct.on_resumed(destination)
        for seconds in range(10):
            self.kernel.call_in(float(seconds), lambda: self._show(destination))

    def _show(self, destination: str) -> None:
        lane = self.lanes[Destination(destination).provider]
        for hidden in self.accounts_table.hidden.values():
            if hidden.destination == destination:
                for receipt in reversed(hidden.receipts):
                    lane.hide(receipt.partition("#")[0], receipt, hidden.group, 0)

    def redrive(self) -> None:
        """Puts every dead letter back on its lane, as an operator does: the body as it lies there, a fresh id."""
        letters, self.letters = self.letters, []
        for number, letter in enumerate(letters):
            attributes = {"content_hash": letter.content_hash} if letter.content_hash else {}
            if letter.accepted_at is not None:
                attributes["accepted_at"] = f"{letter.accepted_at:.3f}"
            first = self.checker.record_at(letter)
            group = letter.group or letter.destination.account
            self.put_on_lane(letter.destination, group, letter.body, f"redrive-{number}", attributes, first)
