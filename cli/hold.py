"""`relay hold` and `relay resume`: nothing is sent to an account, or all that waits for it goes on at once."""

import time
from typing import Annotated, Any

import typer
from rich.text import Text

from cli.accounts import Account, Went, destination_of, is_held
from cli.command import Answer, CommandError, Exit, beside
from cli.moments import iso, shown, span
from cli.stack import Relay
from relay.masking import shorten

LONGEST_REASON = 256

LONGEST = 365 * 86_400.0
"""Seconds that a hold can last by itself."""

Name = Annotated[str, typer.Argument(metavar="DESTINATION", help="provider/account", show_default=False)]


def hold(
    relay: Relay,
    destination: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why, for who comes next.", show_default=False)],
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="90s, 30m, 1h, 2d; else until resumed.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who; else as AWS knows you.")] = "",
) -> Answer:
    """Send nothing to an account from its next turn on. What is for it waits in its lane."""
    account = Account(relay, destination_of(relay, destination))
    seconds = span(lasts) if lasts else 0.0
    if lasts and not 0 < seconds <= LONGEST:
        raise CommandError(f"--for {lasts}: more than nothing, and a year at most", Exit.USAGE)
    if not reason.strip():
        raise CommandError("say why: --reason is empty", Exit.USAGE)
    who = by.strip() or relay.who
    until = time.time() + seconds if seconds else 0.0
    account.hold(shorten(reason.strip(), LONGEST_REASON), shorten(who, LONGEST_REASON), until)
    ends = f" until {shown(until)}" if until else ""
    text = Text.assemble(
        (destination, "bold"),
        f" is held by {who}{ends}: {reason.strip()}\n"
        f"Its events wait in the lane. End it with: relay resume {destination}",
    )
    hours = relay.settings[account.destination.provider].max_delivery_age_hours
    if not seconds or seconds > hours * 3600:
        text.append(f"\nAfter {hours:g} hours (MaxDeliveryAgeHours) what waits becomes dead letters.")
    data = {
        "destination": destination,
        "held": reason.strip(),
        "held_by": who,
        "held_until": iso(until) if until else None,
    }
    return Answer(data, text)


def resume(relay: Relay, destination: Name) -> Answer:
    """End a hold, an operator's or one for refused credentials, or any other wait of an account, at once."""
    account = Account(relay, destination_of(relay, destination))
    before = account.read()
    with beside.status("resumed; watching whether it goes on"):
        went = account.go_on()
    held = {"held": before.held, "held_by": before.held_by} if is_held(before) else {}
    return Answer(
        {"destination": destination, "was_held": held or None, **told(went)},
        words(destination, went),
        Exit.FAILED if went.how == "refused" else Exit.OK,
    )


def told(went: Went) -> dict[str, Any]:
    """How an account went on, for programs."""
    return {"state": went.how, "shown": went.shown, "seconds": round(went.seconds, 1), "why": went.why or None}


def words(destination: str, went: Went) -> Text:
    """How an account went on, for people."""
    hidden = f", {went.shown} hidden messages shown" if went.shown else ""
    match went.how:
        case "delivering":
            how = "is delivering again"
        case "refused":
            how = f"was asked, and waits again: {went.why}. See why with: relay check {destination}"
        case "idle":
            how = "may be sent to; nothing waits for it"
        case _:
            how = "may be sent to; nothing has been seen to arrive yet"
    return Text.assemble((destination, "bold"), f" {how} ({went.seconds:.1f} s{hidden})")
