"""The figures of virtual time: named scenarios, each measured and held against what it must reach."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from statistics import mean
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from relay.contract.destination import Destination
from tests.simulation.campaign import side_by_side
from tests.simulation.plan import HOUR, AccountPlan, Episode, EventPlan, Limiter, Nature, Plan
from tests.simulation.provider import LIMITS, windows
from tests.simulation.world import Run, play

LIMITERS: tuple[Limiter, ...] = ("log", "fixed", "bucket")
HAND_OVERS = {
    "5 to 20 ms": (0.0, 0.0),
    "50 to 150 ms": (0.045, 0.13),
    "200 to 400 ms": (0.195, 0.38),
    "400 to 800 ms": (0.395, 0.78),
}
"""Seconds from an account's batch to its next, the poller's own 5 to 20 ms not counted."""
BLOCKING = ("outage", "revoked", "refused", "timeout_before", "throttle_bare")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number and what it must reach (None: nothing was promised)."""

    what: str
    value: str
    reached: bool | None = None


def rows(name: str) -> list[tuple[str, list[Figure]]]:
    """Plays a named scenario: its parts' titles, and what each came to."""
    return list(SCENARIOS[name]())


def show(console: Console, jobs: int, only: str | None = None) -> int:
    """Prints every scenario whose name holds `only`; 1 if a figure is not reached."""
    table = Table("scenario", "measured", "missed")
    missed = 0
    names = [name for name in SCENARIOS if not only or only in name]
    for name, played in zip(names, side_by_side(rows, names, jobs), strict=True):
        for title, figures in played:
            wrong = [f"{each.what} {each.value}" for each in figures if each.reached is False]
            missed += len(wrong)
            said = ", ".join(f"{each.what} {each.value}" for each in figures)
            table.add_row(f"{name}{title}", said, "; ".join(wrong) or "-")
    console.print(table)
    return 1 if missed else 0


type Scenario = Iterator[tuple[str, list[Figure]]]


def rate(
    destination: str,
    count: int,
    share: float | None,
    throttled: float,
    *,
    billed: float | None = None,
    retire_after: int | None = None,
    **more: float,
) -> Scenario:
    """`count` events at once to one account, for each way in which its provider may count.

    The rate is what the provider allows from the first delivery to the last, the first window's burst included, against
    what got through. The network adds some 40 ms to what an answer takes; the starts of cold environments (0.3 to
    0.8 s each, before any of our code runs) count in full.
    """
    for limiter in LIMITERS:
        account = replace(AccountPlan(destination, limiter), **more)  # type: ignore[arg-type]
        run = play(_quiet((account,), tuple(_events(destination, count)), retire_after=retire_after))
        requests, window = LIMITS[account.provider]
        acts = _times(run, destination)
        function, totals = run.functions[account.provider], run.history.totals
        ideal = (count / requests - 1.0) * window / (1.0 - account.foreign)
        if len(acts) < 2:
            yield f", {limiter}", [Figure("delivered", f"{len(acts)} of {count}", False)]
            continue
        took = acts[-1] - acts[0]
        refused = totals.throttled / max(1, totals.requests)
        yield (
            f", {limiter}",
            [
                Figure("delivered", f"{len(acts)} of {count}", len(acts) == count),
                Figure("in", f"{took:.1f} s (ideal {ideal:.0f} s, starts {function.starting_seconds:.1f} s)"),
                Figure("of the allowed rate", f"{ideal / took:.1%}", None if share is None else ideal / took >= share),
                Figure("429", f"{refused:.2%}", refused <= throttled),
                Figure(
                    "function time",
                    f"{function.busy_seconds / run.lasted:.1%}",
                    None if billed is None else function.busy_seconds / run.lasted < billed,
                ),
                *_sound(run),
            ],
        )


def groups_for(requests: float, answers_in: float, hand_over: float = 0.4) -> int:
    """Groups that an account needs, as docs/delivery.md recommends: so many requests a second, answers and hand-over in
    seconds. A batch of ten has its turns in 10 / requests seconds; then it waits for the last answer and SQS hands over
    the next. Another group's batch fills that gap.
    """
    return 1 + math.ceil(1.2 * requests * (answers_in + hand_over) / 10.0)


def delivered_times(account: AccountPlan, count: int, groups: int = 1) -> list[float]:
    """When each of `count` events at once was delivered, in seconds of the run."""
    run = play(_quiet((account,), tuple(_events(account.destination, count)), groups=groups))
    return _times(run, account.destination)


def soonest(limits: tuple[tuple[int, float], ...], count: int) -> float:
    """Seconds from the first of so many requests to the last, if each goes as soon as every window lets it."""
    times: list[float] = []
    for index in range(count):
        times.append(max(times[index - most] + window if index >= most else 0.0 for most, window in limits))
    return times[-1]


def paced(
    account: AccountPlan, count: int, share: float, throttled: float, *, groups: int = 1, others: int = 0, **more: Any
) -> Scenario:
    """`count` events at once to one account with several groups: of the rate that its tightest limit allows."""
    plans = (account, *(replace(account, destination=f"{account.destination}{each}") for each in range(others)))
    events = tuple(event for plan in plans for event in _named(plan.destination, count))
    concurrency = max(10, groups * len(plans))
    run = play(_quiet(plans, events, groups=groups, concurrency=concurrency, **more))
    delivered = min(len(_times(run, plan.destination)) for plan in plans)
    reached, refused = _reached(run, plans, count), _refused(run)
    writes = run.account_writes / max(1, sum(len(_times(run, plan.destination)) for plan in plans))
    yield (
        f", {groups} group{'s' if groups > 1 else ''}",
        [
            Figure("delivered", f"{delivered} of {count}", delivered == count),
            Figure("of the allowed rate", f"{reached:.1%}", reached >= share),
            Figure("429", f"{refused:.2%}", refused <= throttled),
            Figure("writes a delivery", f"{writes:.2f}"),
            *_sound(run),
        ],
    )


def paced_by_chance(account: AccountPlan, count: int, share: float, throttled: float) -> Scenario:
    """The same where much depends on chance, such as when others send: the mean of four runs, and the worst."""
    runs = [play(_quiet((account,), tuple(_named(account.destination, count)), seed=seed)) for seed in range(1, 5)]
    reached = [_reached(run, (account,), count) for run in runs]
    refused = [_refused(run) for run in runs]
    delivered = sum(len(_times(run, account.destination)) for run in runs)
    yield (
        ", four runs",
        [
            Figure("delivered", f"{delivered} of {4 * count}", delivered == 4 * count),
            Figure("of the allowed rate", f"{mean(reached):.1%} (least {min(reached):.1%})", mean(reached) >= share),
            Figure("429", f"{mean(refused):.2%} (most {max(refused):.2%})", mean(refused) <= throttled),
            *(figure for run in runs for figure in _sound(run) if figure.reached is not None),
        ],
    )


def _reached(run: Run, plans: tuple[AccountPlan, ...], count: int) -> float:
    """The part of the rate that the tightest limit allows."""
    account = plans[0]
    limits = windows(account)
    times = [_times(run, plan.destination) for plan in plans]
    took = max((acts[-1] - acts[0] for acts in times if acts), default=math.inf)
    ideal = soonest(limits, count) / (1.0 - account.foreign)
    if account.limiter in ("leaky", "counter"):
        # Where no burst is allowed the first window has none either.
        ideal = (count - 1) * max(window / requests for requests, window in limits)
    return ideal / took


def _refused(run: Run) -> float:
    """The part of all requests that was answered 429."""
    return run.history.totals.throttled / max(1, run.history.totals.requests)


def turns(count: int, number: int, answers_in: float = 0.02) -> Scenario:
    """Several busy accounts of one lane: environments take turns with them."""
    for spread in (False, True):
        accounts = tuple(AccountPlan(f"yotpo/a{each}", answers_in=answers_in) for each in range(number))
        events = tuple(event for account in accounts for event in _events(account.destination, count))
        run = play(_quiet(accounts, events, spread=spread))
        requests, window = LIMITS["yotpo"]
        took = max(acts[-1] - acts[0] for acts in (_times(run, account.destination) for account in accounts))
        share = (count / requests - 1.0) * window / took
        refused = run.history.totals.throttled / run.history.totals.requests
        yield (
            ", any environment" if spread else ", the last one used",
            [
                Figure("of the slowest account's allowed rate", f"{share:.1%}", share >= 0.95),
                Figure("429", f"{refused:.2%}", refused <= 0.01),
                *_sound(run),
            ],
        )


def handed_over(accounts: int, count: int, answers_in: float, shares: tuple[float, ...]) -> Scenario:
    """What reaches Yotpo of the allowed rate as SQS and Lambda take longer between an account's batches; `shares`: what
    is to be reached, for each of `HAND_OVERS`. Answers do not vary.
    """
    for (name, hand_over), share in zip(HAND_OVERS.items(), shares, strict=True):
        plans = tuple(
            AccountPlan(f"yotpo/a{each}", answers_in=answers_in, answers_vary=0.0) for each in range(accounts)
        )
        events = tuple(event for plan in plans for event in _events(plan.destination, count))
        run = play(_quiet(plans, events, hand_over=hand_over, spread=True))
        requests, window = LIMITS["yotpo"]
        took = max(acts[-1] - acts[0] for acts in (_times(run, plan.destination) for plan in plans))
        reached = (count / requests - 1.0) * window / took
        refused = run.history.totals.throttled / run.history.totals.requests
        yield (
            f", {name}",
            [
                Figure("of the allowed rate", f"{reached:.1%}", reached >= share),
                Figure("429", f"{refused:.2%}", refused <= 0.01),
                *_sound(run),
            ],
        )


def odd_ones_out() -> Scenario:
    """300 events, one that the provider fails on and one that a firewall before it refuses, the others good."""
    natures: dict[int, Nature] = {3: "poison", 7: "forbidden"}
    events = tuple(replace(each, nature=natures.get(each.customer, "good")) for each in _events("yotpo/main", 300))
    run = play(_quiet((AccountPlan("yotpo/main"),), events))
    times, dead = _times(run, "yotpo/main"), run.history.totals.dead.get("poison", 0)
    yield (
        "",
        [
            Figure("delivered", f"{len(times)}", len(times) == 298),
            Figure("dead letters", f"{dead}", dead == 2),
            Figure("the last after", f"{times[-1]:.0f} s (59 s without the two)", times[-1] < 300),
            *_sound(run),
        ],
    )


def several(
    destination: str, count: int, nature: Nature, odd: int, gap: float, most: float, names: int = 0
) -> Scenario:
    """Events every `gap` seconds, the first `odd` of them odd, while environments live for ten minutes of rest."""
    events = tuple(
        EventPlan(gap * index, f"e{index}", index, (destination,), nature if index < odd else "good", via="lane")
        for index in range(count)
    )
    run = play(_quiet((AccountPlan(destination, cap_names=names),), events))
    sent = {each.event_id: each.at for each in events}
    late = sorted(each.acts[0][0] - sent[each.event_id] for each in run.history.deliveries.values() if each.acts)
    dead = run.history.totals.dead.get("poison", 0)
    if not late:
        yield "", [Figure("delivered", f"0 of {count - odd}", False)]
        return
    yield (
        "",
        [
            Figure("delivered", f"{len(late)} of {count - odd}", len(late) == count - odd),
            Figure("dead letters", f"{dead}", dead == odd),
            Figure("median of the others' delay", f"{late[len(late) // 2]:.0f} s", late[len(late) // 2] <= most),
            Figure("the longest", f"{late[-1]:.0f} s"),
            *_sound(run),
        ],
    )


def unhidden() -> Scenario:
    """SQS hides nothing for an hour, and each batch meets an environment that knows nothing: is the quarter of an hour
    that the provider asks for heeded all the same?
    """
    events = tuple(
        EventPlan(60.0 * index, f"e{index}", index, ("sender/main",), "good" if index else "capped", via="lane")
        for index in range(40)
    )
    account = AccountPlan("sender/main", cap_names=900)
    run = play(_quiet((account,), events, faults_end=HOUR, recycle=1.0, away=(Episode("SQS", 0.0, HOUR),)))
    delivered = _acts(run, "sender/main")
    yield "", [Figure("delivered", f"{delivered} of 39", delivered == 39), *_sound(run)]


def capped(destination: str, count: int) -> Scenario:
    """Events of one account, one that is always answered 429 for what it is: what does it cost the others?"""
    good, odd = (tuple(_events(destination, count)) for _ in range(2))
    odd = tuple(replace(each, nature="capped") if each.customer == 3 else each for each in odd)
    alone, run = (play(_quiet((AccountPlan(destination),), events)) for events in (good, odd))
    took, takes = (_times(each, destination)[-1] for each in (alone, run))
    delivered, dead = _acts(run, destination), run.history.totals.dead.get("poison", 0)
    yield (
        "",
        [
            Figure("delivered", f"{delivered} of {count - 1}", delivered == count - 1),
            Figure("dead letters", f"{dead}", dead == 1),
            Figure(
                "the last after",
                f"{takes:.0f} s (without it {took:.0f} s)",
                takes - took <= 7 * LIMITS[Destination(destination).provider][1] + 20.0,
            ),
            *_sound(run),
        ],
    )


def quiet(nature: Nature, gap: float) -> Scenario:
    """One event every `gap` seconds for six hours, the fourth of them odd: how late are the others?"""
    count = int(6 * HOUR / gap)
    events = tuple(
        EventPlan(gap * index, f"e{index}", index, ("yotpo/main",), nature if index == 3 else "good", via="lane")
        for index in range(count)
    )
    run = play(_quiet((AccountPlan("yotpo/main"),), events, ends=7 * HOUR))
    sent = {each.event_id: each.at for each in events}
    late = sorted(each.acts[0][0] - sent[each.event_id] for each in run.history.deliveries.values() if each.acts)
    yield (
        "",
        [
            Figure("delivered", f"{len(late)} of {count - 1}", len(late) == count - 1),
            Figure("dead letters", f"{run.history.totals.letters}", run.history.totals.letters == 1),
            Figure("95th percentile of the others' delay", f"{late[int(0.95 * len(late))]:.1f} s"),
            Figure("the longest", f"{late[-1]:.1f} s", late[-1] <= max(35.0, gap + 5.0)),
            *_sound(run),
        ],
    )


def hanging(number: int) -> Scenario:
    """600 events of a healthy account beside accounts whose provider never answers, with ten places for all."""
    bad = tuple(
        AccountPlan(f"yotpo/bad{each}", episodes=(Episode("timeout_before", 0.0, HOUR),)) for each in range(number)
    )
    events = (*_events("yotpo/good", 600), *(event for each in bad for event in _named(each.destination, 300)))
    run = play(_quiet((AccountPlan("yotpo/good"), *bad), events, faults_end=HOUR, ends=HOUR))
    times = _times(run, "yotpo/good")
    took, gap = times[-1] - times[0], max(after - before for before, after in pairwise(times))
    yield (
        "",
        [
            Figure(
                "the healthy account's 600 took", f"{took:.0f} s (119 s alone)", took <= 119.0 + 13.0 * number / 10 + 5
            ),
            Figure("longest gap", f"{gap:.1f} s"),
            *_sound(run),
        ],
    )


def brownout(share: float, kind: str = "burst") -> Scenario:
    """2,000 good events while the provider fails, or turns away, a share of all requests for an hour."""
    account = AccountPlan("yotpo/main", "log", (Episode(kind, 0.0, HOUR, share),))
    run = play(_quiet((account,), tuple(_events("yotpo/main", 2_000)), faults_end=HOUR))
    wronged = run.history.totals.letters
    yield (
        "",
        [
            Figure("good events called poison", f"{wronged}", wronged == 0),
            Figure("delivered", f"{_acts(run, 'yotpo/main')}", _acts(run, "yotpo/main") == 2_000),
            *_sound(run),
        ],
    )


def without(service: str) -> Scenario:
    """1,000 events queued while a service of ours is gone for six hours."""
    account = AccountPlan("yotpo/main", "log")
    away = (Episode(service, 0.0, 6 * HOUR),)
    run = play(_quiet((account,), tuple(_events("yotpo/main", 1_000)), faults_end=6 * HOUR, away=away))
    times, receives = _times(run, "yotpo/main"), run.history.most_receives
    yield (
        "",
        [
            Figure("lost", f"{1_000 - len(times)}", len(times) == 1_000),
            Figure("dead letters", f"{run.history.totals.letters}", run.history.totals.letters == 0),
            Figure("most receives of one event", f"{receives}", 0 < receives <= 250),
            Figure("first delivery after", f"{times[0] - 6 * HOUR:.0f} s" if times else "never"),
            *_sound(run),
        ],
    )


def outage(destination: str, count: int = 10_000, groups: int = 1) -> Scenario:
    """So many events queued while the provider is gone for six hours."""
    account = AccountPlan(destination, "log", (Episode("outage", 0.0, 6 * HOUR),))
    run = play(_quiet((account,), tuple(_events(destination, count)), faults_end=6 * HOUR, groups=groups))
    acts = _times(run, destination)
    requests, window = LIMITS[account.provider]
    used = (len(acts) - 1) * window / requests / (acts[-1] - acts[0]) if len(acts) > 1 else 0.0
    totals = run.history.totals
    failed = totals.requests - totals.throttled - len(acts)
    yield (
        "",
        [
            Figure("lost", f"{count - len(acts)}", len(acts) == count),
            Figure("dead letters", f"{totals.letters}", totals.letters == 0),
            Figure("of the limit once it works", f"{used:.1%}", used >= 0.95),
            Figure("first delivery after", f"{acts[0] - 6 * HOUR:.0f} s" if acts else "never"),
            Figure("failed requests", f"{failed}", failed <= 200),
            *_sound(run),
        ],
    )


def noisy() -> Scenario:
    """1,000 accounts of one lane, one of them with 20,000 events queued."""
    others = [f"yotpo/a{number}" for number in range(1, 1000)]
    accounts = tuple(AccountPlan(destination) for destination in ("yotpo/noisy", *others))
    own = tuple(
        EventPlan(10.0 + 600.0 * ((index * 0.618) % 1.0), f"o{index}", index, (others[index % 999],))
        for index in range(2997)
    )
    noise = tuple(_events("yotpo/noisy", 20_000))
    without = play(_quiet(accounts, own, ends=900.0))
    run = play(_quiet(accounts, noise + own, ends=900.0))
    before, after = (_percentile(each, "yotpo/a", own) for each in (without, run))
    yield (
        "",
        [
            Figure("95th percentile of the others' delay without", f"{before:.2f} s"),
            Figure("with", f"{after:.2f} s", after - before <= 2.0),
            Figure("of the noisy account's limit meanwhile", f"{_acts(run, 'yotpo/noisy') / (5 * 900.0):.1%}"),
            *_sound(run),
        ],
    )


def blocked() -> Scenario:
    """20 accounts of one lane, half of them refusing everything in five different ways: do the others notice?"""
    delays = []
    for troubled in (False, True):
        accounts = tuple(
            AccountPlan(
                f"yotpo/{'bad' if number % 2 else 'good'}{number}",
                episodes=(Episode(BLOCKING[number // 2 % 5], 0.0, HOUR),) if troubled and number % 2 else (),
            )
            for number in range(20)
        )
        events = tuple(
            EventPlan(1500.0 * ((index * 0.618) % 1.0), f"e{index}", index, (accounts[index % 20].destination,))
            for index in range(4000)
        )
        run = play(_quiet(accounts, events, faults_end=HOUR))
        delays.append(_percentile(run, "yotpo/good", events))
    yield (
        "",
        [
            Figure("95th percentile of the healthy accounts' delay, all healthy", f"{delays[0]:.2f} s"),
            Figure("with half blocked", f"{delays[1]:.2f} s", delays[1] - delays[0] <= 2.0),
            *_sound(run),
        ],
    )


def backfill(account: AccountPlan, live: float, seconds: float, share: float) -> Scenario:
    """Live events that take a `live` part of the limit, at moments of chance, alone and before 50,000 of history that
    wait behind them: do they notice? `share`: how much history is to get of what they leave.
    """
    requests, window = LIMITS[account.provider]
    own = tuple(_by_chance(account.destination, live * requests / window, seconds))
    without, run = (
        play(_quiet((account,), each, ends=seconds)) for each in (own, (*own, *_history(account.destination, 50_000)))
    )
    before, after = (_percentile(each, account.destination, own) for each in (without, run))
    delivered = _acts(run, account.destination)
    rest = (delivered - len(own)) / (requests * seconds / window - len(own))
    yield (
        "",
        [
            Figure("95th percentile of the live events' delay without", f"{before:.2f} s"),
            Figure("with", f"{after:.2f} s", after - before <= 2.0),
            Figure("history's part of the rest", f"{rest:.1%}", rest >= share),
            Figure("429", f"{_refused(run):.2%}", _refused(run) <= _refused(without)),
            Figure("function time", f"{run.functions[account.provider].busy_seconds / seconds:.1%}"),
            Figure("writes a delivery", f"{run.account_writes / max(1, delivered):.2f}"),
            *_sound(run),
        ],
    )


def backlog_and_backfill(account: AccountPlan, live: int, history: int) -> Scenario:
    """So many live events at once, and so many of history: is the last of the live ones any later for them, and is all
    delivered in the end?
    """
    destination, own = account.destination, tuple(_events(account.destination, live))
    alone, run = (play(_quiet((account,), each)) for each in (own, (*own, *_history(destination, history))))
    names = {each.event_id for each in own}
    times = sorted(at for each in run.history.deliveries.values() if each.event_id in names for at, _ in each.acts)
    took, takes, delivered = _times(alone, destination)[-1], times[-1], _acts(run, destination)
    yield (
        "",
        [
            Figure("lost", f"{live + history - delivered}", delivered == live + history),
            Figure("dead letters", f"{run.history.totals.letters}", run.history.totals.letters == 0),
            Figure(
                "the last of the live ones after",
                f"{takes:.1f} s ({took:.1f} s alone)",
                takes - took <= max(2.0, 0.02 * took),
            ),
            Figure("all after", f"{run.lasted:.0f} s"),
            *_sound(run),
        ],
    )


def _history(destination: str, count: int) -> Iterator[EventPlan]:
    return (replace(each, backfill=True) for each in _named(destination, count))


def _by_chance(destination: str, rate: float, seconds: float) -> Iterator[EventPlan]:
    """Events at moments of chance, so many a second."""
    rng, at = random.Random(f"live {destination} {rate}"), 0.0
    for index in itertools.count():
        at += rng.expovariate(rate)
        if at > seconds - 60.0:
            return
        yield EventPlan(at, f"live{index}", index, (destination,), via="lane")


def _sound(run: Run) -> Iterator[Figure]:
    totals = run.history.totals
    yield Figure("repeats", f"{totals.repeats}")
    yield Figure("429", f"{totals.throttled} of {totals.requests}")
    if totals.repeats > totals.unknowns:
        yield Figure("repeats without an unknown", f"{totals.unexplained}", False)
    if run.violation:
        yield Figure("broke", run.violation, False)


def _times(run: Run, destination: str) -> list[float]:
    own = (each for each in run.history.deliveries.values() if each.destination == destination)
    return sorted(at for delivery in own for at, _ in delivery.acts)


def _acts(run: Run, destination: str) -> int:
    return len(_times(run, destination))


def _percentile(run: Run, prefix: str, events: tuple[EventPlan, ...]) -> float:
    sent = {each.event_id: each.at for each in events}
    delays = sorted(
        delivery.acts[0][0] - sent[delivery.event_id] if delivery.acts else float("inf")
        for delivery in run.history.deliveries.values()
        if delivery.destination.startswith(prefix) and delivery.event_id in sent
    )
    return delays[int(0.95 * len(delays))]


def _events(destination: str, count: int) -> Iterator[EventPlan]:
    for index in range(count):
        yield EventPlan(0.0, f"e{index}", index, (destination,), via="lane")


def _named(destination: str, count: int) -> Iterator[EventPlan]:
    """Events of their own beside those of another account."""
    for each in _events(destination, count):
        yield replace(each, event_id=f"{destination}-{each.event_id}")


def _quiet(accounts: tuple[AccountPlan, ...], events: tuple[EventPlan, ...], **more: object) -> Plan:
    return replace(Plan(seed=1, accounts=accounts, events=events, settle_down=False), **more)  # type: ignore[arg-type]


def aims() -> Iterator[tuple[str, Callable[[], Scenario]]]:
    """What an account's pace is to reach, whatever its provider is like."""
    for seconds in (0.02, 0.5, 1.0, 2.0, 3.0, 5.0):
        account = AccountPlan("yotpo/main", answers_in=seconds)
        groups = 1 if seconds <= 0.5 else groups_for(5, seconds)
        count = 600 if seconds < 3 else 2_000
        yield (
            f"5/s, answers in {seconds:g} s",
            partial(paced, account, count, 0.95 if seconds < 5 else 0.94, 0.01, groups=groups),
        )
    for name, hand_over in HAND_OVERS.items():
        account = AccountPlan("yotpo/main", answers_in=1.0)
        yield (
            f"5/s, answers in 1 s, hand-over {name}",
            partial(paced, account, 600, 0.95, 0.01, groups=groups_for(5, 1.0, 0.8), hand_over=hand_over, spread=True),
        )
    account = AccountPlan("yotpo/a", answers_in=1.0)
    yield "four accounts at 5/s, answers in 1 s", partial(paced, account, 600, 0.95, 0.01, groups=2, others=3)
    account = AccountPlan("yotpo/main", answers_in=0.1, limits=((350, 1.0), (3_500, 60.0)))
    yield "350/s and 3,500/min", partial(paced, account, 5_000, 0.95, 0.005, groups=groups_for(350, 0.1, 0.1))
    for kind in ("fixed", "log"):
        account = AccountPlan("klaviyo/main", kind, answers_in=0.1)
        yield (
            f"Klaviyo's 350/s and 3,500/min, {kind}",
            partial(paced, account, 12_000, 0.95, 0.005, groups=groups_for(3_500 / 60, 0.1)),
        )
    account = AccountPlan("yotpo/main", answers_in=0.1, limits=((350, 1.0),))
    yield "350/s", partial(paced, account, 5_000, 0.86, 0.005, groups=groups_for(350, 0.1, 0.1))
    for kind in get_args(Limiter.__value__):
        # Five in a second a counter lets through in one rhythm only: it needs a fifth of a request's room.
        limits = ((50, 10.0),) if kind == "counter" else ((5, 1.0),)
        for says, headers, most in (("", True, 0.01), (", no headers", False, 0.03), (", misled", True, 0.03)):
            account = AccountPlan("yotpo/main", kind, headers=headers, misleads=says == ", misled", limits=limits)
            # What a counter says is left is not what it lets through: it is believed, and costs.
            share = 0.91 if kind == "counter" and headers else 0.95
            play_it = paced_by_chance if kind in ("counter", "leaky") else paced
            yield f"600 at 5/s, {kind}{says}", partial(play_it, account, 600, share, most)
    account = AccountPlan("yotpo/main", answers_in=0.5, concurrency=4)
    yield "600 at 5/s, four at once", partial(paced, account, 600, 0.95, 0.01, groups=2)
    account = AccountPlan("yotpo/main")
    yield "600 at 5/s, cold every 50", partial(paced, account, 600, 0.97, 0.0, retire_after=50)
    account = AccountPlan("yotpo/main", foreign=0.4)
    yield "600 at 5/s, others eat 40 %", partial(paced_by_chance, account, 600, 0.93, 0.02)
    account = AccountPlan("sender/main")
    yield "600 at 60/min", partial(paced, account, 600, 0.99, 0.0)


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    **dict(aims()),
    "600 to Yotpo, 20 ms": lambda: rate("yotpo/main", 600, 0.98, 0.005),
    "600 to Yotpo, 1 s": lambda: rate("yotpo/main", 600, 0.95, 0.01, answers_in=0.96, answers_vary=0.0),
    "600 to Yotpo, 0.99 to 1.09 s": lambda: rate("yotpo/main", 600, None, 0.01, answers_in=1.0),
    "600 to Yotpo, cold every 50": lambda: rate("yotpo/main", 600, 0.95, 0.01, retire_after=50),
    "600 to Yotpo, others eat 40 %": lambda: rate("yotpo/main", 600, 0.90, 0.03, foreign=0.4),
    "240 to Sender": lambda: rate("sender/main", 240, 0.98, 0.01, billed=0.04),
    "240 to Sender, others eat 40 %": lambda: rate("sender/main", 240, 0.90, 0.03, foreign=0.4),
    "600 to Yotpo, 20 ms, hand-over": lambda: handed_over(1, 600, 0.02, (0.98, 0.98, 0.98, 0.98)),
    "600 to Yotpo, 1 s, hand-over": lambda: handed_over(1, 600, 0.96, (0.955, 0.915, 0.835, 0.74)),
    "4 Yotpo accounts, 20 ms, hand-over": lambda: handed_over(4, 150, 0.02, (0.96, 0.91, 0.83, 0.73)),
    "4 Yotpo accounts, 150 each": lambda: turns(150, 4),
    "300 to Yotpo, one always 500, one always 403": odd_ones_out,
    "2,000 to Yotpo, one always 429": lambda: capped("yotpo/main", 2_000),
    "240 to Sender, one always 429": lambda: capped("sender/main", 240),
    "one every 5 s, one always 429": lambda: quiet("capped", 5.0),
    "one every 60 s, one always 429": lambda: quiet("capped", 60.0),
    "one every 60 s, one always 403": lambda: quiet("forbidden", 60.0),
    "one every 60 s, one that breaks us": lambda: quiet("broken", 60.0),
    "200 to Yotpo, six always 500": lambda: several("yotpo/main", 200, "poison", 6, 0.0, 200.0),
    "100 to Yotpo, one every 30 s, five always 403": lambda: several("yotpo/main", 100, "forbidden", 5, 30.0, 1200.0),
    "100 to Sender, one a minute, three always 403": lambda: several("sender/main", 100, "forbidden", 3, 60.0, 300.0),
    "200 to Sender, one always 429 for 15 min": lambda: several("sender/main", 200, "capped", 1, 0.0, 6500.0, 900),
    "40 to Sender, 429 for 15 min, nothing is hidden": unhidden,
    "ten accounts hang, ten places": lambda: hanging(10),
    "twenty accounts hang, ten places": lambda: hanging(20),
    "a bad hour, half of all requests fail": lambda: brownout(0.5),
    "a bad hour, seven of ten requests fail": lambda: brownout(0.7),
    "a bad hour, nine of ten requests fail": lambda: brownout(0.9),
    "a bad hour, 82 of 100 answered 401": lambda: brownout(0.82, "auth"),
    "a bad hour, nine of ten answered 429": lambda: brownout(0.9, "throttle_bare"),
    "six hours without a ledger": lambda: without("DynamoDB"),
    "six hours without secrets": lambda: without("Secrets Manager"),
    "six hours' outage, 10,000 to Yotpo": lambda: outage("yotpo/main"),
    "six hours' outage, 2,000 to Yotpo, 4 groups": lambda: outage("yotpo/main", 2_000, 4),
    "six hours' outage, 10,000 to Sender": lambda: outage("sender/main"),
    "1,000 accounts, one with 20,000": noisy,
    "20 accounts, 10 blocked": blocked,
    "50,000 of history at 5/s, live half of it": lambda: backfill(AccountPlan("yotpo/main"), 0.5, 600.0, 0.65),
    "50,000 of history at 5/s, live 80 %": lambda: backfill(AccountPlan("yotpo/main"), 0.8, 600.0, 0.65),
    "50,000 of history at 60/min, live half of it": lambda: backfill(AccountPlan("sender/main"), 0.5, 3600.0, 0.55),
    "50,000 of history at 60/min, live 80 %": lambda: backfill(AccountPlan("sender/main"), 0.8, 3600.0, 0.28),
    "600 live at 5/s before 1,000 of history": lambda: backlog_and_backfill(AccountPlan("yotpo/main"), 600, 1_000),
    "600 live at 5/s before 1,000 of history, answers in 2 s": lambda: backlog_and_backfill(
        AccountPlan("yotpo/main", answers_in=2.0), 600, 1_000
    ),
    "240 live at 60/min before 300 of history": lambda: backlog_and_backfill(AccountPlan("sender/main"), 240, 300),
}
