"""`relay status`: how it is, what rings, and what mends it."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.command import Answer, Exit
from cli.condition import Condition, Kind
from cli.dead import GroupTable
from cli.look import Age, LaneSeen, Look, Seen
from cli.moments import iso_if, lasting, shown, zone
from cli.ringing import Ring, ringing
from cli.stack import Relay

MOST_ACCOUNTS = 20
"""Of one provider that are shown, unless all are asked for; those that do not work are, in any case."""

NONE = "\N{EN DASH}"

_STYLES = {Kind.OK: "green", Kind.THROTTLED: "green", Kind.FAILING: "yellow", Kind.REFUSED: "red", Kind.HELD: "red"}


def status(
    relay: Relay,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every two seconds, until Ctrl-C.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every account, however many there are.")] = False,
) -> Answer:
    """How it is: what waits, at what pace it goes, what is held, dead or rejected, and what rings.

    Ends with 0 where all is well and 3 where something rings.
    """
    look = Look(relay)

    def answer() -> Answer:
        seen = look()
        rings = ringing(seen)
        return Answer(
            _data(relay, seen, rings),
            _shown(seen, rings, everything=everything),
            Exit.DEGRADED if rings else Exit.OK,
        )

    first = answer()
    return replace(first, again=_looking_again(answer, first)) if watch else first


def _looking_again(look: Callable[[], Answer], last: Answer) -> Callable[[], Answer]:
    """The next look; the last one once more where AWS cannot be asked: a watch outlives a bad moment."""

    def again() -> Answer:
        try:
            answer = look()
        except (BotoCoreError, ClientError) as error:
            told = f"{shown(time.time())}: could not look: {error}"
            answer = replace(last, data={**last.data, "error": told}, shown=Group(last.shown, Text(told, "red")))
            return replace(answer, again=_looking_again(look, last))
        return replace(answer, again=_looking_again(look, answer))

    return again


# -------------------------------------------------------------------------------------------------------- for programs


def _data(relay: Relay, seen: Seen, rings: Sequence[Ring]) -> dict[str, Any]:
    return {
        "stack": relay.where.stack,
        "stage": seen.stage,
        "at": iso_if(seen.at),
        "degraded": bool(rings),
        "lanes": [{"provider": name, **_lane_data(lane, "dead_letters")} for name, lane in seen.lanes.items()],
        "destinations": [_account_data(seen, each) for name in seen.lanes for each in seen.of(name)],
        "intake": _lane_data(seen.intake, "rejected"),
        "ringing": [ring.data() for ring in rings],
        "reasons": [
            group.as_data() | {"first": iso_if(group.first), "last": iso_if(group.last)} for group in seen.reasons or ()
        ],
        "not_seen": list(seen.notes),
    }


def _lane_data(lane: LaneSeen, given_up: str) -> dict[str, Any]:
    return {
        "waiting": lane.queue.messages,
        "in_work_or_deferred": lane.queue.hidden,
        **_age_data(lane.oldest),
        "is_on": lane.is_on,
        given_up: lane.given_up,
    }


def _age_data(age: Age | None) -> dict[str, Any]:
    if age is None:
        return {"oldest_seconds": None}
    return {"oldest_seconds": round(age.seconds, 3), "oldest_is_least": age.is_least}


def _account_data(seen: Seen, account: Condition) -> dict[str, Any]:
    lane = _lane_if_lone(seen, account)
    return {
        **account.data(seen.at),
        "works": seen.works(account),
        "configured": account.destination.is_configured(seen.configured),
        "waiting": lane.queue.messages if lane else None,
        **_age_data(_oldest(seen, account)),
        "drained_at": iso_if(account.drained_at(lane.queue.messages, seen.at)) if lane else None,
        "dead_letters": seen.dead_letters(account),
    }


def _lane_if_lone(seen: Seen, account: Condition) -> LaneSeen | None:
    """The lane's counts as the account's own, where nobody else is on that lane: SQS counts no more than the lane."""
    provider = account.destination.provider
    return seen.lanes[provider] if seen.lone(provider) is account else None


def _oldest(seen: Seen, account: Condition) -> Age | None:
    lane = _lane_if_lone(seen, account)
    return lane.oldest if lane else seen.oldest_by_destination.get(account.destination)


# ---------------------------------------------------------------------------------------------------------- for people


def _shown(seen: Seen, rings: Sequence[Ring], *, everything: bool) -> RenderableType:
    word = Text("DEGRADED", "bold red") if rings else Text("OK", "bold green")
    head = Text.assemble(word, f"  {seen.stage}  {shown(seen.at, seen.at)} {zone(seen.at)}")
    parts: list[RenderableType] = [head, _destinations(seen, everything=everything)]
    if rings:
        parts.append(_rings(rings))
    if seen.reasons:
        parts.append(GroupTable(seen.reasons, seen.at))
    parts += [Text(note, "dim") for note in seen.notes]
    return Group(*parts)


def _table(*columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name != "STATE")
    return table


def _destinations(seen: Seen, *, everything: bool) -> Table:
    columns = ("DESTINATION", "STATE", "WAITING", "OLDEST", "PACE", "DRAINED", "DEAD")
    table = _table(*columns, right=("WAITING", "OLDEST", "DEAD"))
    for provider, lane in seen.lanes.items():
        lone = seen.lone(provider)
        if lone is None:
            _add_lane(table, seen, provider, lane)
        accounts = seen.of(provider)
        shown = accounts if everything else _worth_showing(seen, accounts)
        for account in shown:
            _add_account(table, seen, account)
        if len(shown) < len(accounts):
            table.add_row(Text(f"  {len(accounts) - len(shown):,} more", "dim"), Text("ok (--all shows them)", "dim"))
    intake = seen.intake
    state = Text("ok", "green") if intake.is_on else Text("OFF", "red")
    rejected = _count(intake.given_up)
    table.add_row("intake", state, f"{intake.queue.messages:,}", _age(intake.oldest), "", "rejected", rejected)
    return table


def _add_lane(table: Table, seen: Seen, provider: str, lane: LaneSeen) -> None:
    accounts = seen.of(provider)
    state = Text(f"{len(accounts):,} accounts") if lane.is_on else Text("OFF", "red")
    waiting, age, dead = f"{lane.queue.messages:,}", _age(lane.oldest), _count(lane.given_up)
    table.add_row(f"{provider} lane", state, waiting, age, "", "", dead)


def _worth_showing(seen: Seen, accounts: Sequence[Condition]) -> list[Condition]:
    """Those that do not work, then those that are used most; in the order given."""
    bad = [each for each in accounts if not seen.works(each)]
    good = [each for each in accounts if seen.works(each)]
    good.sort(key=lambda each: (each.destination not in seen.configured, -each.record.last_at))
    chosen = {each.destination for each in (*bad, *good[: max(0, MOST_ACCOUNTS - len(bad))])}
    return [each for each in accounts if each.destination in chosen]


def _add_account(table: Table, seen: Seen, account: Condition) -> None:
    now, lane = seen.at, _lane_if_lone(seen, account)
    works = seen.works(account)
    told = account.told(now)
    if works and account.kind(now) not in (Kind.OK, Kind.THROTTLED):
        told = f"idle, {told}"
    if not account.destination.is_configured(seen.configured):
        told = f"{told}, not configured"
    if lane and not lane.is_on:
        told, works = "OFF", False
    style = "green" if works else _STYLES[account.kind(now)] if lane is None or lane.is_on else "red"
    waiting = f"{lane.queue.messages:,}" if lane else ""
    drained = account.drained_at(lane.queue.messages, now) if lane and lane.is_on else None
    table.add_row(
        str(account.destination) if lane else f"  {account.destination}",
        Text(told, style),
        waiting,
        _age(_oldest(seen, account)),
        account.pace(now),
        f"~{shown(drained, now, to_the_minute=True)}" if drained else NONE if lane else "",
        NONE if (dead := seen.dead_letters(account)) is None else _count(dead),
    )


def _rings(rings: Iterable[Ring]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("")
    for number, ring in enumerate(rings):
        line = Text.assemble((ring.name, "red"), f" {ring.detail}" if ring.detail else "")
        table.add_row(
            Text("" if number else "RINGING", "bold"), line.append(f" → {', '.join(ring.do)}" if ring.do else "")
        )
    return table


def _age(age: Age | None) -> str:
    if age is None:
        return NONE
    return f"{'≥' if age.is_least else ''}{lasting(age.seconds)}"


def _count(number: int) -> Text:
    return Text(f"{number:,}", "red" if number else "")
