"""What rings, and the command that mends it: the stack's alarms, and what is plain to see without them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cli.condition import Condition, Kind
from cli.look import Alarm, LaneSeen, Seen
from cli.moments import iso_if, lasting, shown
from relay.adapters.dynamodb import REJECTED
from relay.providers import PROVIDERS

INTAKE_LATE = 900.0
"""Seconds after which intake is behind, as its alarm has it."""

DEEP = 100_000
"""Events in a lane from which on SQS may soon not see all accounts, as the alarm has it."""

MOST_NAMED = 3
"""Accounts that one line names."""

RUNBOOK = {
    "queue-age": "a-lane-stands-still",
    "queue-depth": "a-lane-is-too-deep",
    "intake-queue-age": "intake-is-behind",
    "off": "a-lane-stands-still",
}
"""Where docs/runbook.md goes on, for what no command mends."""

_LINK = re.compile(r"\s*Runbook: (\S+)")


@dataclass(frozen=True)
class Ring:
    """One thing that is not as it should be: the alarm's name without the stack's prefix, what is seen of it, and what
    mends it.
    """

    name: str
    detail: str
    do: tuple[str, ...]
    since: float | None = None

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {"name": self.name, "detail": self.detail, "since": iso_if(self.since), "do": list(self.do)}


def ringing(seen: Seen) -> list[Ring]:
    """All of it: what is seen, then the alarms that say more."""
    plain = [*(ring for name in seen.lanes for ring in _of_lane(seen, name)), *_of_intake(seen)]
    names = {ring.name for ring in plain}
    return plain + [_of_alarm(seen, alarm) for alarm in seen.alarms if alarm.name not in names]


def _of_lane(seen: Seen, provider: str) -> Iterator[Ring]:
    lane = seen.lanes[provider]
    accounts = [each for each in seen.of(provider) if not seen.works(each)]
    for kind in (Kind.REFUSED, Kind.HELD, Kind.FAILING):
        if those := [each for each in accounts if each.kind(seen.at) is kind]:
            yield _not_sent_to(seen, provider, kind, those)
    if lane.given_up:
        collect = (f"relay dead collect {provider}",) if seen.are_unlisted(provider, lane.given_up) else ()
        yield Ring(f"{provider}-dead-letters", f"{lane.given_up:,}", (f"relay dead list {provider}", *collect))
    if not lane.is_on:
        yield Ring(f"{provider}-off", "its function takes nothing from the lane", (_runbook("off"),))
    if lane.oldest and lane.oldest.seconds >= seen.late_after:
        late = f"the oldest waits {lasting(lane.oldest.seconds)}, late after {lasting(seen.late_after)}"
        yield Ring(f"{provider}-queue-age", late, (_runbook("queue-age"),))
    if lane.queue.visible >= DEEP:
        yield Ring(f"{provider}-queue-depth", f"{lane.queue.visible:,}", (_runbook("queue-depth"),))


def _not_sent_to(seen: Seen, provider: str, kind: Kind, accounts: Sequence[Condition]) -> Ring:
    names = [str(each.destination) for each in accounts]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    since = min((each.record.since for each in accounts if each.record.since), default=None)
    match kind:
        case Kind.REFUSED:
            do = tuple(f"relay {what} {name}" for name in names[:MOST_NAMED] for what in ("connect", "resume"))
            return Ring(f"{provider}-held", f"{', '.join(names[:MOST_NAMED])}{more}", do, since)
        case Kind.HELD:
            first = f"{names[0]} {accounts[0].told(seen.at).removeprefix('HELD ')}"
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            do = tuple(f"relay resume {name}" for name in names[:MOST_NAMED])
            return Ring(f"{provider}-on-hold", f"{first}{others}", do)
    first = f"{names[0]} {accounts[0].said}".strip()
    lasts = f", for {lasting(seen.at - since)}" if since else ""
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    do = ("tried again by itself", f"relay check {names[0]}")
    return Ring(f"{provider}-failing", f"{first}{others}{lasts}", do, since)


def _of_intake(seen: Seen) -> Iterator[Ring]:
    intake: LaneSeen = seen.intake
    if intake.given_up:
        collect = ("relay rejected collect",) if seen.are_unlisted(REJECTED, intake.given_up) else ()
        yield Ring("rejected", f"{intake.given_up:,}", ("relay rejected list", *collect))
    if not intake.is_on:
        yield Ring("intake-off", "intake takes nothing from its queue", (_runbook("off"),))
    if intake.oldest and intake.oldest.seconds >= INTAKE_LATE:
        late = f"the oldest waits {lasting(intake.oldest.seconds)}"
        yield Ring("intake-queue-age", late, (_runbook("intake-queue-age"),))


def _of_alarm(seen: Seen, alarm: Alarm) -> Ring:
    """An alarm that rings for more than is seen now: it may have been, and be over soon."""
    about = _LINK.sub("", alarm.about).strip().partition(". ")[0].rstrip(".")
    link = _LINK.search(alarm.about)
    provider, _, what = alarm.name.partition("-")
    do: tuple[str, ...] = (link[1],) if link else ()
    if alarm.name.startswith("rejected"):
        do = ("relay rejected list",)
    elif provider in PROVIDERS and what.startswith("dead-letters"):
        do = (f"relay dead list {provider}",)
    return Ring(alarm.name, f"since {shown(alarm.since, seen.at)}: {about}", do, alarm.since)


def _runbook(what: str) -> str:
    return f"docs/runbook.md#{RUNBOOK[what]}"
