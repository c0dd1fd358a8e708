"""The demo's tables: for a terminal 100 columns wide, with nothing personal in full."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.demo.observe import Observed
from local.demo.plan import FIRST, Case
from local.sandbox.contract import contracts
from relay.contract.destination import Destination

_STYLES = {"delivered": "green", "duplicate": "cyan", "dead letter": "magenta", "rejected": "yellow"}

_WAYS = {"direct": "direct", "eventbridge": "EventBridge", "sqs": "SQS", "deliver": "deliver"}

Results = list[tuple[Case, Observed]]


def as_expected(case: Case, observed: Observed) -> bool:
    """Whether the case ended as planned."""
    return observed.outcome == case.outcome and case.attempts in (None, observed.attempts)


def show_fates(console: Console, results: Results) -> None:
    """One line for each event and destination."""
    table = titled_table("What happened to each event")
    for name, justify in (("way in", "left"), ("event", "left"), ("destination", "left"), ("outcome", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("attempts", justify="right", no_wrap=True, min_width=8)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    before = None
    for case, observed in results:
        if before and before.act != case.act:
            table.add_section()
        fine = as_expected(case, observed)
        new_file = before is None or before.file != case.file
        table.add_row(
            _WAYS[case.way] if new_file else "",
            case.event_id or "(not readable)" if _starts(case, before) else "",
            case.destination or "-",
            Text(observed.outcome or "nothing", _STYLES.get(observed.outcome, "red") if fine else "bold red"),
            "" if observed.attempts is None else str(observed.attempts),
            "" if observed.seconds is None else f"{observed.seconds:.1f} s",
            Text(_remark(case, observed, fine=fine), "dim" if fine else "bold red"),
        )
        before = case
    table.caption = " time: from acceptance by the relay to the provider's answer"
    table.caption_justify = "left"
    console.print(table)


def show_reasons(console: Console, results: Results) -> None:
    """Why some events were rejected or given up."""
    table = titled_table("Rejected, or accepted and given up")
    table.add_column("event", no_wrap=True)
    table.add_column("kept in", no_wrap=True)
    table.add_column("reason")
    for case, observed in results:
        if observed.outcome == "dead letter":
            provider = Destination(case.destination).provider
            table.add_row(case.event_id, f"{provider.capitalize()}DeadLetterQueue", _bulleted(observed.reason))
        elif observed.outcome == "rejected":
            table.add_row(case.event_id or "(not readable)", "RejectedQueue", _bulleted(observed.reason))
    console.print(table)


def show_received(console: Console, requests: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    """What each provider got, request by request."""
    table = titled_table("What the providers received")
    for name in ("provider", "event type", "customer", "answer", ""):
        table.add_column(name, no_wrap=True)
    before = None
    for one in sorted(requests, key=lambda one: (str(one["provider"]), int(one["seq"]))):
        if before not in (None, one["provider"]):
            table.add_section()
        status = str(one["status"] or "reset")
        table.add_row(
            one["provider"] if before != one["provider"] else "",
            one["type"],
            masked_customer(one),
            Text(status, "green" if one["accepted"] else "yellow"),
            Text("update of the same ID" if one["update"] else "REPEAT" if one["repeat"] else "", "dim"),
        )
        before = one["provider"]
    console.print(table)
    widest = max(map(len, summary), default=0)
    for provider, counts in summary.items():
        statuses = ", ".join(f"{number} x {status}" for status, number in sorted(counts["statuses"].items()))
        console.print(
            f"   [bold]{provider:<{widest}}[/] {counts['requests']:>2} requests ({statuses}), "
            f"updates: {counts['updates']}, repeats: {counts['repeats']}",
            highlight=False,
        )


def show_verdict(console: Console, results: Results, repeats: int) -> bool:
    """The last word. Returns whether everything is as planned."""
    wrong = sum(not as_expected(case, observed) for case, observed in results)
    console.print()
    for case, observed in results:
        if not as_expected(case, observed):
            console.print(
                f" [red]✗ {case.event_id or '(not readable)'} {case.destination}: expected {case.outcome}"
                f" (attempts: {case.attempts or 'any'}), is {observed.outcome or 'nothing'} ({observed.attempts})[/]",
                highlight=False,
            )
    if wrong or repeats:
        console.print(f" [bold red]✗ {wrong} of {len(results)} not as expected, events sent twice: {repeats}[/]")
        return False
    console.print(f" [bold green]✓ {len(results)} of {len(results)} as expected, nothing lost, nothing sent twice[/]")
    return True


def titled_table(title: str) -> Table:
    """An empty table as all of them look."""
    return Table(
        title=f"\n {title}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )


def _starts(case: Case, before: Case | None) -> bool:
    return before is None or (before.file, before.event_id) != (case.file, case.event_id)


def _remark(case: Case, observed: Observed, *, fine: bool) -> str:
    if not fine:
        return "✗"
    if observed.outcome == "duplicate":
        return "not resent"
    if case.act != FIRST:
        return "new content"
    return "503 at first" if observed.attempts == 2 else ""


def _bulleted(reason: str) -> str:
    return "\n".join(reason.split("; "))


def masked_customer(request: Mapping[str, Any]) -> str:
    """Who a request is about, so that a person can tell them apart and no more."""
    who = contracts()[request["provider"]].event("customer", request["body"], request["url"])
    known = who.values() if isinstance(who, dict) else [who]
    return ", ".join(_masked(one) for one in known if isinstance(one, str)) or "-"


def _masked(text: str) -> str:
    name, at, host = text.partition("@")
    if at:
        return f"{name[:1]}•••@{host}"
    return re.sub(r"^(.{2}).*(.{2})$", r"\1•••\2", text) if text.startswith("+") else f"{text[:2]}•••"
