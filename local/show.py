"""What ``make invoke`` tells a person: the fate of each event, what the providers received, and what to do next."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from local.demo.report import masked_customer, titled_table
from local.fates import NOT_SEEN, ON_THE_WAY, Fate
from relay.contract.destination import Destination

_ADVICE = {
    "duplicate": "the ledger has it as delivered; another id makes it another event",
    "throttled": "it comes back when the provider allows",
    "retry": "it comes back by itself; docs/delivery.md says when",
    "unauthorized": "the account is held; correct its secret, see docs/runbook.md#an-account-is-held",
    NOT_SEEN: "intake has not told of it; see .local/emulator.log",
    ON_THE_WAY: "nothing was tried yet; the account may be at its limit, or held",
}


def show_fates(console: Console, fates: Sequence[Fate], way: str) -> None:
    """One line for each event and destination, its reason, and what comes next."""
    if not fates:
        return
    table = titled_table("What happened to each event")
    for name in ("event", "destination", "outcome"):
        table.add_column(name, no_wrap=True)
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for fate in fates:
        table.add_row(
            Text(fate.event_id or "(not readable)"),
            Text(fate.destination or "-"),
            Text(fate.outcome, "green" if fate.fine else "bold red"),
            "" if fate.attempts is None else str(fate.attempts),
            "" if fate.seconds is None else f"{fate.seconds:.1f} s",
        )
    console.print(table)
    for fate in fates:
        for reason in fate.reason.split("; ") if not fate.fine else []:
            console.print(
                f"   {fate.event_id or '(not readable)'}: {reason}", highlight=False, markup=False, soft_wrap=True
            )
    for advice in dict.fromkeys(_advice(fate, way) for fate in fates):
        if advice:
            console.print(f"   → {advice}", highlight=False, markup=False, soft_wrap=True)


def show_requests(console: Console, requests: Iterable[Mapping[str, Any]]) -> None:
    """What each provider got, request by request; nothing where there was none."""
    table = titled_table("What the providers received")
    for name in ("provider", "account", "event type", "customer", "answer"):
        table.add_column(name, no_wrap=True)
    for one in requests:
        status = Text(str(one["status"] or "reset"), "green" if one["accepted"] else "yellow")
        table.add_row(one["provider"], one["account"], one["type"], masked_customer(one), status)
    if table.row_count:
        console.print(table)


def _advice(fate: Fate, way: str) -> str:
    if fate.outcome in ("delivered", "rejected", "expired", "unknown") and fate.final:
        if fate.fine or way == "deliver":
            return ""
        if fate.destination:
            provider = Destination(fate.destination).provider.capitalize()
            return f"a dead letter waits in {provider}DeadLetterQueue; docs/runbook.md#dead-letters says what to do"
        return "its body is kept in RejectedQueue; docs/runbook.md#rejected-records says what to do"
    return f"{fate.outcome}: {_ADVICE.get(fate.outcome, 'it comes back by itself')}"
