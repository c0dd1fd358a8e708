"""``python -m local.mess``: trouble of every kind on the stack of this machine, to practise on. It is all made up."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from rich.text import Text

from local.processes import CommandError, Interrupted, raised
from local.sandbox.client import SandboxClient
from local.sandbox.contract import contracts
from local.stack import Stack, load
from local.steps import Steps, terminal
from relay.providers import PROVIDERS

HELD = next(name for name, kind in PROVIDERS.items() if not kind.repeats.overrides)
"""Finds ids that were used for something else, and then refuses its token."""
BUSY = next(name for name in PROVIDERS if name != HELD)
"""Refuses some events, and is sent more than it allows for minutes."""
NEW_TOKEN = "a-new-token-for-tonight"  # noqa: S105 (the sandbox takes it)
CUSTOMER = "grace@customers.example"
"""Has the last event of every lot."""
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Lot:
    """Like events, and what a provider answers to them, where it is not what it should be."""

    type: str
    count: int
    providers: tuple[str, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] | None = None

    def events(self, run: str) -> Iterator[dict[str, Any]]:
        """Its events; ``run`` tells those of one evening from those of the next."""
        for number in range(self.count):
            yield {
                "id": f"{self.type}-{run}-{number}",
                "source": "practice",
                "type": self.type,
                "customer": {"email": CUSTOMER if number == self.count - 1 else f"ada.{number}@customers.example"},
                "properties": {"order_id": f"A-{number}", "total": 6.7},
                "destinations": [f"{name}/main" for name in self.providers],
            } | self.changes


FIRST = Lot("invoice_paid", 20, (HELD,))
"""Delivered before the trouble begins."""
DEAD = (
    # The same ids with other content.
    Lot("invoice_paid", 20, (HELD,), {"properties": {"total": 7.6}}),
    Lot("coupon_used", 160, (BUSY,), answer={"status": 422, "body": {"message": "coupon is not known"}}),
    Lot("cart_left", 40, (BUSY, HELD), {"expires_at": "2026-01-01T00:00:00Z"}),
    Lot("quiz_taken", 39, (BUSY,), answer={"status": 409, "body": {"message": "quiz was closed"}}),
    # The poison: it fails while all others go well.
    Lot("refund_made", 1, (BUSY,), answer={"status": 500, "body": {"message": "Internal Server Error"}}),
)
"""Three hundred dead letters."""
REJECTED = (
    Lot("no_customer", 9, (BUSY,), {"customer": {}}),
    Lot("bad_address", 7, (BUSY,), {"customer": {"email": "grace@"}}),
    Lot("Bad Name", 5, (BUSY,)),
    Lot("nested", 3, (BUSY,), {"properties": {"order": {"total": 6.7}}}),
)
BACKLOG = (Lot("order_shipped", 240, (BUSY, HELD)), Lot("page_seen", 1200, (BUSY,)))


def make(stack: Stack, steps: Steps, run: str) -> None:
    """All of it. Raises CommandError where it does not come to pass."""
    sandbox, contract = SandboxClient(stack.sandbox_url), contracts()[HELD]
    received, before = len(sandbox.requests()), {name: letters(stack, name) for name in PROVIDERS}
    wanted = {name: sum(lot.count for lot in DEAD if name in lot.providers) for name in PROVIDERS}
    with steps.step(f"{FIRST.count} events delivered while all is well"):
        send(stack, run, FIRST)
        _until(lambda: sum(one["accepted"] for one in sandbox.requests(received, type=FIRST.type)) >= FIRST.count)
    with steps.step(f"{sum(wanted.values())} dead letters, {sum(lot.count for lot in REJECTED)} rejects, a backlog"):
        for lot in DEAD:
            if lot.answer:
                sandbox.add_fault(type=lot.type, **lot.answer)
        send(stack, run, *DEAD, *REJECTED)
        # Not the poison: it is found out while others get through. A backlog sent now would get in front of them.
        refused = wanted | {BUSY: wanted[BUSY] - DEAD[-1].count}
        _until(lambda: all(letters(stack, name) >= before[name] + refused[name] for name in PROVIDERS))
        sandbox.change_tokens(HELD, contract.own_account, accept=[NEW_TOKEN], revoke=[contract.own_token])
        send(stack, run, *BACKLOG)
        _until(lambda: all(letters(stack, name) >= before[name] + wanted[name] for name in PROVIDERS))
    steps.console.print(_TRY.format_map({"run": run, "held": HELD}), highlight=False, markup=False, soft_wrap=True)


_TRY = f"""
 What is wrong? What became of order_shipped-{{run}}-7, invoice_paid-{{run}}-7, coupon_used-{{run}}-7,
 no_customer-{{run}}-7, never-was? The answers are in docs/on-call.md. In a shell for it, eval "$(make -s shell-env)",

   the new token of {{held}}/main is     {NEW_TOKEN}
   the causes of dead letters end with  curl -X DELETE "$SandboxUrl/_sandbox/faults"
   who wants to be forgotten is         {CUSTOMER}
"""


def send(stack: Stack, run: str, *lots: Lot) -> None:
    """To IntakeQueue, ten at a time."""
    for ten in batched((one for lot in lots for one in lot.events(run)), 10, strict=False):
        entries: Any = [{"Id": str(place), "MessageBody": json.dumps(one)} for place, one in enumerate(ten)]
        stack.clients.sqs.send_message_batch(QueueUrl=stack.outputs["IntakeQueueUrl"], Entries=entries)


def letters(stack: Stack, provider: str) -> int:
    """How many are in its dead-letter queue."""
    url = stack.outputs[f"{provider.capitalize()}DeadLetterQueueUrl"]
    reply = stack.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(reply["Attributes"]["ApproximateNumberOfMessages"])


def _until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise CommandError("it takes too long: is there trouble already? make down, then make mess")
        time.sleep(1.0)


def main() -> int:
    console, stack = terminal(), load()
    if stack is None:
        console.print("[red]failed:[/] the stack is not up: start it with make up")
        return 1
    try:
        with raised():
            make(stack, Steps(console), time.strftime("%H%M"))
    except CommandError as error:
        console.print("[red]failed:[/]", Text(str(error)), highlight=False)
    except Interrupted:
        console.print("[yellow]interrupted:[/] a part of it is there; make down takes it away")
        return 130
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
