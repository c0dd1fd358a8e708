"""What one run is made of: drawn from a seed, or written out for a named scenario."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from relay.contract.destination import Destination

MINUTE, HOUR = 60.0, 3600.0

type Nature = Literal["good", "poison", "forbidden", "capped", "bad", "unfit", "invalid", "broken"]
"""What providers think of an event: nothing, always 500, always 403, always 429, always 4xx, or that it never gets to
them. Our own code breaks on a broken one.
"""

LATEST_COPY = 20.0
"""Seconds after which the second invocation of a batch begins at the latest; it has its place meanwhile."""

FAULTY = ("poison", "forbidden", "capped", "broken")
"""Natures of events that go on failing until they are given up."""

type Limiter = Literal["log", "fixed", "bucket", "opened", "counter", "leaky", "leaky, burst"]

TOTAL = ("outage", "refused")
"""Faults that hit every request of the account: nothing that fails under them is an event's own fault."""

OURS = ("DynamoDB", "SQS", "Secrets Manager")

FAULTS = (
    *TOTAL,
    "burst",
    "reset_before",
    "reset_after",
    "timeout_before",
    "timeout_after",
    "cut",
    "slow",
    "throttle_bare",
    "throttle_named",
    "garbage",
    "odd_status",
    "auth",
    "foreign",
    "rotated",
    "revoked",
)


@dataclass(frozen=True, slots=True)
class Episode:
    """One fault at one account, from `start` to `end` (seconds of the run); it hits `share` of the requests."""

    kind: str
    start: float
    end: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """One account and how its provider behaves. Times in seconds."""

    destination: str
    limiter: Limiter = "log"
    episodes: tuple[Episode, ...] = ()
    network: float = 0.02
    answers_in: float = 0.02
    answers_vary: float = 0.05
    """By what part of that an answer may be quicker or slower."""
    foreign: float = 0.0
    """The share of the limit that another client of the same account uses all the time."""
    counts_refused: bool = False
    """A 429 uses up budget too."""
    headers: bool = True
    misleads: bool = False
    """Its headers say that nothing is left, whatever is."""
    limits: tuple[tuple[int, float], ...] = ()
    """Requests and seconds of each window, the shortest first, where they are not the provider's own."""
    concurrency: int | None = None
    provider_skew: float = 0.0
    sends_date: bool = True
    park: bool = False
    front: bool = False
    """Refuses bad events before it looks at anything else, its own trouble included."""
    cap_names: int = 0
    """The wait in seconds that it names to an event that is always answered 429; zero: as to any."""

    @property
    def provider(self) -> str:
        return Destination(self.destination).provider


@dataclass(frozen=True, slots=True)
class EventPlan:
    """One event a producer sends at `at`. `nature` is what providers think of it, `via` is how it comes in."""

    at: float
    event_id: str
    customer: int
    destinations: tuple[str, ...]
    nature: Nature = "good"
    version: int = 0
    expires_in: float | None = None
    via: Literal["plain", "eventbridge", "sns", "lane"] = "plain"
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Hand:
    """An operator holds an account at a second of the run, and resumes it at a later one; `until`: it says when that is
    over by itself. Without a `hold`, it is only resumed, whatever it waits for.
    """

    destination: str
    resume: float
    hold: float | None = None
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run depends on, besides the code under test."""

    seed: int
    accounts: tuple[AccountPlan, ...]
    events: tuple[EventPlan, ...]
    faults_end: float = 0.0
    ends: float = math.inf
    """The second at which the run is cut off; by default it goes on until nothing is left to do."""
    oldest: float = 72 * HOUR
    concurrency: int = 10
    mixed_batches: bool = False
    short: float = 0.0
    """Chance that SQS hands over fewer messages than it could."""
    pick: Literal["ready", "oldest", "random"] = "ready"
    recycle: float = 0.0
    """Chance that an environment is thrown away after an invocation."""
    retire_after: int | None = None
    """Messages after which an environment is thrown away."""
    idle_limit: float = 600.0
    spread: bool = False
    """Invocations go to any idle environment, not to the last one used."""
    crash: float = 0.0
    """Chance that the environment dies at one call of a port (before it, or after it)."""
    stall: float = 0.0
    """Chance that a call of our own services takes 5 to 40 seconds."""
    ledger_fails: float = 0.0
    queue_fails: float = 0.0
    defer_fails: float = 0.0
    secrets_fail: float = 0.0
    away: tuple[Episode, ...] = ()
    """Outages of our own services, of the kinds in `OURS`."""
    hand_over: tuple[float, float] = (0.0, 0.0)
    """Seconds from the end of an account's batch until its next one can be had, at least and at most; the poller's own
    5 to 20 ms come on top.
    """
    held_up: float = 0.0
    """Chance that the poller is throttled: the batch begins 165 to 179 s after it was received, may last until its
    messages are visible again and longer, and keeps one of the `concurrency` places meanwhile.
    """
    twice: float = 0.0
    """Chance that a batch of a lane is invoked in two environments at once."""
    opens_by_head: bool = False
    """A lane's group opens when its first message is visible again, not when all are."""
    lost_deletes: float = 0.0
    """Chance that a message that Lambda should delete comes back all the same."""
    malformed: float = 0.0
    """Chance that Lambda spoils a response: nothing is deleted, the whole batch comes back."""
    duplicates: float = 0.0
    skew: float = 0.0
    """Our environments' clocks are off by up to this many seconds."""
    look_ahead: int = 120_000
    groups: int = 1
    """Message groups of each account: as many of its batches run side by side."""
    regrouped: int = 0
    """How many there are once half the events have come; zero: as many as before."""
    redrive: bool = False
    """An operator puts all dead letters back, ten minutes after the faults."""
    hands: tuple[Hand, ...] = ()
    """What operators do."""
    races: int = 0
    """Direct deliveries of events that are on the lane as well."""
    settle_down: bool = field(default=True)
    """Healthy events go on arriving at every account after the faults have stopped."""

    @property
    def fetches(self) -> bool:
        """The secrets can be read whenever they are asked for."""
        return not (self.secrets_fail or self.stall or any(each.kind == "Secrets Manager" for each in self.away))

    @property
    def steady(self) -> bool:
        """Environments live longer than any back-off, so that what one has learned of an account is not lost."""
        return self.recycle == 0 and self.retire_after is None and self.idle_limit > 1800 and self.crash <= 0.001


HAND_OVERS = ((0.0, 0.0), (0.0, 0.0), (0.045, 0.13), (0.195, 0.38), (0.395, 0.78), (0.0, 0.78))
"""Before the poller's own milliseconds: 5 to 800 ms in all."""


def draw(seed: int) -> Plan:
    """A plan with a few of all possible troubles: which ones, and how bad, the seed says."""
    rng, plan = random.Random(f"history {seed}"), draw_live(seed)
    share = rng.choice((0.0, 0.0, 0.0, 0.2, 0.8))
    return replace(plan, events=tuple(replace(each, backfill=rng.random() < share) for each in plan.events))


def draw_live(seed: int) -> Plan:
    """A plan of the days before there was any history (2026-11-29)."""
    rng, plan = random.Random(f"hands {seed}"), draw_untouched(seed)
    return replace(plan, hands=tuple(_hands(rng, plan))) if rng.random() < 0.3 else plan


def _hands(rng: random.Random, plan: Plan) -> Iterator[Hand]:
    """Now and then an operator holds an account for a while, or has one go on that waits for whatever it is."""
    for account in plan.accounts:
        at = 0.0
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            at = rng.uniform(at, plan.faults_end)
            ends = at + rng.choice((1.0, 20.0, 90.0, 900.0))
            is_over = rng.random() < 0.3
            if ends < plan.faults_end:
                if rng.random() < 0.5:
                    yield Hand(account.destination, at)
                else:
                    yield Hand(account.destination, ends, at, (at + ends) / 2 if is_over else 0.0)
            at = ends


def draw_untouched(seed: int) -> Plan:
    """A plan of the days before operators had a hand in it (2026-11-29)."""
    rng, single = random.Random(f"groups {seed}"), draw_single(seed)
    return replace(
        single,
        groups=rng.choice((1, 1, 2, 3, 4)),
        regrouped=rng.choice((1, 2, 4)) if rng.random() < 0.1 else 0,
        accounts=tuple(_slower(rng, account) for account in single.accounts),
    )


def draw_single(seed: int) -> Plan:
    """A plan of the days before an account had several groups, or any time to answer (2026-11-29)."""
    rng = random.Random(f"aws {seed}")
    return replace(
        draw_plain(seed),
        hand_over=rng.choice(HAND_OVERS),
        held_up=rng.choice((0.02, 0.2)) if rng.random() < 0.2 else 0.0,
        twice=rng.choice((0.02, 0.2)) if rng.random() < 0.25 else 0.0,
        opens_by_head=rng.random() < 0.5,
    )


def _slower(rng: random.Random, account: AccountPlan) -> AccountPlan:
    """Now and then one whose provider takes any time to answer, and counts in any way."""
    if rng.random() < 0.7:
        return account
    kind: Limiter = rng.choice(("log", "fixed", "bucket", "opened", "counter", "leaky", "leaky, burst"))
    # Who shares a limiter without a burst is refused by chance, however evenly it sends.
    foreign = 0.0 if kind == "leaky" else account.foreign
    return replace(account, answers_in=rng.uniform(0.02, 5.0), limiter=kind, foreign=foreign)


def draw_plain(seed: int) -> Plan:
    """A plan of the days before the model knew of hand-over, throttled pollers, doubled batches and groups that open by
    their head (2026-11-28): what a seed that failed then was.
    """
    rng = random.Random(f"plan {seed}")

    def some[T: (int, float)](chance: float, value: T) -> T:
        return value if rng.random() < chance else type(value)()

    faults_end = rng.choice((10 * MINUTE, 40 * MINUTE, 3 * HOUR, 9 * HOUR))
    accounts = tuple(
        _account(rng, f"{provider}/{name}", faults_end)
        for provider in ("yotpo", "sender")
        for name in ("main", "b", "c", "d")[: rng.choice((0, 1, 1, 1, 2, 4))]
    ) or (_account(rng, "sender/main", faults_end),)
    return Plan(
        seed=seed,
        accounts=accounts,
        events=tuple(_events(rng, accounts, faults_end)),
        faults_end=faults_end,
        oldest=rng.choice((HOUR, 6 * HOUR, 72 * HOUR, 72 * HOUR)),
        concurrency=rng.choice((2, 2, 3, 10)),
        mixed_batches=rng.random() < 0.3,
        short=some(0.3, rng.choice((0.1, 0.6))),
        pick=rng.choice(("ready", "oldest", "random")),
        recycle=some(0.4, rng.uniform(0.02, 0.5)),
        retire_after=rng.choice((None, None, None, 20, 50)),
        idle_limit=rng.choice((300.0, 3600.0, 3600.0)),
        spread=rng.random() < 0.5,
        crash=some(0.5, rng.choice((0.001, 0.005, 0.02))),
        stall=some(0.2, rng.choice((0.001, 0.005, 0.05))),
        ledger_fails=some(0.3, rng.choice((0.01, 0.1, 0.3))),
        queue_fails=some(0.3, rng.choice((0.01, 0.1, 0.3))),
        defer_fails=some(0.3, rng.choice((0.02, 0.2))),
        secrets_fail=some(0.3, rng.choice((0.05, 0.5))),
        away=tuple(_episode(rng, kind, faults_end) for kind in OURS if rng.random() < 0.08),
        lost_deletes=some(0.2, 0.03),
        malformed=some(0.15, 0.02),
        duplicates=some(0.4, rng.choice((0.05, 0.3))),
        skew=some(0.4, rng.choice((0.5, 5.0))),
        look_ahead=rng.choice((120_000, 120_000, 40)),
        redrive=rng.random() < 0.2,
        races=some(0.3, rng.randint(1, 8)),
        settle_down=rng.random() < 0.8,
    )


def _account(rng: random.Random, destination: str, faults_end: float) -> AccountPlan:
    kinds = rng.sample(FAULTS, rng.choice((0, 1, 1, 2, 3, 5)))
    return AccountPlan(
        destination=destination,
        limiter=rng.choice(("log", "fixed", "bucket")),
        episodes=tuple(_episode(rng, kind, faults_end) for kind in kinds),
        network=rng.choice((0.005, 0.02, 0.1)),
        answers_in=rng.choice((0.02, 0.02, 0.2, 1.0)),
        foreign=rng.choice((0.0, 0.0, 0.0, 0.2, 0.4, 0.8)),
        counts_refused=rng.random() < 0.2,
        headers=rng.random() < 0.85,
        provider_skew=rng.choice((0.0, 0.0, -40.0, 3.0, 90.0)),
        sends_date=rng.random() < 0.8,
        park=rng.random() < 0.15,
        front=rng.random() < 0.3,
        cap_names=rng.choice((0, 0, 0, 30, 900)),
    )


def _episode(rng: random.Random, kind: str, faults_end: float) -> Episode:
    start = rng.uniform(0, 0.7) * faults_end * rng.choice((0.05, 1.0))
    end = rng.uniform(start, faults_end) if rng.random() < 0.7 else min(faults_end, start + rng.uniform(1, 120))
    share = 1.0 if kind in (*TOTAL, "revoked", "rotated") else rng.choice((0.05, 0.2, 0.5, 0.9, 1.0))
    return Episode(kind, start, end, share)


def _events(rng: random.Random, accounts: tuple[AccountPlan, ...], faults_end: float) -> list[EventPlan]:
    names = [account.destination for account in accounts]
    count = rng.choice((5, 20, 60, 120))
    customers = rng.choice((1, 5, 1000))
    over = rng.choice((0.1, 30.0, 0.8 * faults_end))
    odd = rng.choice((0.0, 0.0, 0.03, 0.15))
    made: list[EventPlan] = []
    for index in range(count):
        nature: Nature = "good"
        if rng.random() < odd:
            nature = rng.choice(("poison", "poison", "forbidden", "capped", "bad", "unfit", "invalid", "broken"))
        wanted = tuple(rng.sample(names, rng.randint(1, min(2, len(names)))))
        event = EventPlan(
            at=rng.uniform(0, over),
            event_id=f"e{index}",
            customer=rng.randrange(customers),
            destinations=wanted,
            nature=nature,
            expires_in=rng.choice((5.0, 600.0, 4 * HOUR)) if rng.random() < 0.1 else None,
            via=rng.choice(("plain", "plain", "eventbridge", "sns", "lane")),
        )
        made.append(event)
        if rng.random() < 0.08:
            made.extend(_again(rng, event))
    return made


def _again(rng: random.Random, event: EventPlan) -> Iterator[EventPlan]:
    """The producer sends it again, once to three times: the same, with other content under the same id, or with content
    that another has replaced.
    """
    at = event.at
    for _ in range(rng.choice((1, 1, 2, 3))):
        at += rng.choice((0.5, 30.0, 400.0, 2 * HOUR))
        yield replace(event, at=at, version=rng.choice((0, 0, 1, 2)))


DRAWN: dict[str, Callable[[int], Plan]] = {
    "now": draw,
    "live": draw_live,
    "untouched": draw_untouched,
    "single": draw_single,
    "plain": draw_plain,
}
"""Ways in which plans were drawn."""
