"""``python -m local.mess``: trouble of every kind on the stack of this machine, to practise on. It is all made up."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import batched, chain
from typing import Any

from rich.text import Text

from local.processes import CommandError, Interrupted, raised
from local.sandbox.client import SandboxClient
from local.sandbox.contract import contracts
from local.stack import Stack, load
from local.steps import Steps, terminal
from relay.providers import PROVIDERS

HELD = next(name for name, kind in PROVIDERS.items() if not kind.overrides_by_id)
"""Will refuse its credentials, and before that finds ids that were used for something else."""
BUSY = next(name for name in PROVIDERS if name != HELD)
"""Works, refuses some events, and is sent more than it allows for minutes."""
NEW_TOKEN = "a-new-token-for-tonight"  # noqa: S105 (the sandbox takes it)
CUSTOMER = "grace@customers.example"
"""Has an event in every lot."""
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Lot:
    """Like events, and what the provider answers to them, if it is not what it should be."""

    type: str
    count: int
    providers: tuple[str, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    fault: dict[str, Any] = field(default_factory=dict)

    def events(self, run: str) -> Iterator[dict[str, Any]]:
        """Its events; ``run`` tells those of one evening from those of the next."""
        for number in range(self.count):
            yield {
                "id": f"{self.type}-{run}-{number}",
                "source": "practice",
                "type": self.type,
                "customer": {"email": f"ada.{number}@customers.example" if number else CUSTOMER},
                "properties": {"order_id": f"A-{number}", "total": 6.7},
                "destinations": [f"{name}/main" for name in self.providers],
            } | self.changes


FIRST = Lot("invoice_paid", 20, (HELD,))
"""Delivered before the trouble begins."""
REUSED = Lot("invoice_paid", 20, (HELD,), {"properties": {"total": 7.6}})
"""The same ids with other content."""
DEAD = (
    REUSED,
    Lot("coupon_used", 160, (BUSY,), fault={"status": 422, "body": {"message": "coupon is not known"}}),
    Lot("cart_left", 40, (BUSY, HELD), {"expires_at": "2026-01-01T00:00:00Z"}),
    Lot("quiz_taken", 39, (BUSY,), fault={"status": 409, "body": {"message": "quiz was closed"}}),
    Lot("refund_made", 1, (BUSY,), fault={"status": 500, "body": {"message": "Internal Server Error"}}),
)
"""Three hundred dead letters. The last is the poison: it fails while all others go well."""
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
    received, dead = len(sandbox.requests()), letters(stack)
    with steps.step(f"{FIRST.count} events delivered while all is well"):
        send(stack, FIRST.events(run))
        _until(lambda: sum(one["accepted"] for one in sandbox.requests(received, type=FIRST.type)) >= FIRST.count)
    for lot in DEAD:
        if lot.fault:
            sandbox.add_fault(type=lot.type, **lot.fault)
    wanted = sum(lot.count * len(lot.providers) for lot in DEAD)
    with steps.step(f"{wanted} dead letters of {len(DEAD)} reasons, and a backlog behind them"):
        send(stack, chain.from_iterable(lot.events(run) for lot in (*DEAD, *REJECTED)))
        _until(lambda: letters(stack)[HELD] >= dead[HELD] + sum(lot.count for lot in DEAD if HELD in lot.providers))
        sandbox.change_tokens(HELD, contract.own_account, accept=[NEW_TOKEN], revoke=[contract.own_token])
        send(stack, chain.from_iterable(lot.events(run) for lot in BACKLOG))
        _until(lambda: letters(stack).total() >= dead.total() + wanted)


def send(stack: Stack, events: Iterable[dict[str, Any]]) -> None:
    """To IntakeQueue, ten at a time."""
    for ten in batched(events, 10, strict=False):
        entries: Any = [{"Id": str(place), "MessageBody": json.dumps(one)} for place, one in enumerate(ten)]
        stack.clients.sqs.send_message_batch(QueueUrl=stack.outputs["IntakeQueueUrl"], Entries=entries)


def letters(stack: Stack) -> Counter[str]:
    """How many are in each provider's dead-letter queue."""
    counts: Counter[str] = Counter()
    for name in PROVIDERS:
        reply = stack.clients.sqs.get_queue_attributes(
            QueueUrl=stack.outputs[f"{name.capitalize()}DeadLetterQueueUrl"],
            AttributeNames=["ApproximateNumberOfMessages"],
        )
        counts[name] = int(reply["Attributes"]["ApproximateNumberOfMessages"])
    return counts


def _until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise CommandError("it takes too long: is there trouble already? make down, and begin anew")
        time.sleep(0.5)


def ideas(run: str) -> str:
    """What to try, for a person."""
    return f"""
 A shell for it:  eval "$(make -s shell-env)"       The answers:  docs/on-call.md

   is it healthy, when is it drained    relay status
   what happened to                     relay trace order_shipped-{run}-7      it waits at one
                                        relay trace invoice_paid-{run}-7       delivered, and its id reused
                                        relay trace coupon_used-{run}-7        dead
                                        relay trace no_customer-{run}-7        rejected
                                        relay trace never-was
   what is dead, and why                relay dead list
   the new token of {HELD}/main         {NEW_TOKEN}
   the causes of dead letters end with  curl -X DELETE "$SandboxUrl/_sandbox/faults"
   a customer                           {CUSTOMER}
"""


def main() -> int:
    """Into the stack that is up."""
    console = terminal()
    stack = load()
    if stack is None:
        console.print("[red]failed:[/] the stack is not up: start it with make up")
        return 1
    run = time.strftime("%H%M")
    try:
        with raised():
            make(stack, Steps(console), run)
    except CommandError as error:
        console.print("[red]failed:[/]", Text(str(error)), highlight=False)
        return 1
    except Interrupted:
        console.print("[yellow]interrupted:[/] half of it is there; make down ends it")
        return 130
    console.print(ideas(run), highlight=False, markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
