"""Deliberate breakages of the real code. Each takes away one thing the relay promises; the simulation must notice."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

from rich.console import Console
from rich.table import Table

import relay.account.account
import relay.account.breaker
import relay.account.pace
import relay.account.schedule
import relay.delivery.attempt
import relay.delivery.batch
import relay.delivery.post
import relay.intake.intake
import relay.providers.base
from relay.account.account import Account
from relay.account.pace import Pace, Permit
from relay.account.schedule import next_turn
from relay.contract.destination import Destination
from relay.contract.event import Customer
from relay.delivery.attempt import Attempt
from relay.delivery.batch import Lane
from relay.delivery.delivery import Delivery
from relay.delivery.services import Services
from relay.intake.intake import Intake
from relay.outcome import Outcome
from relay.ports import Claim, Failure
from relay.providers.base import Provider, Repeat
from relay.providers.limits import Limit, Terms
from relay.providers.sender import Sender
from relay.providers.yotpo import Yotpo
from tests.simulation.campaign import side_by_side
from tests.simulation.figures import SCENARIOS
from tests.simulation.ledger import Clauses
from tests.simulation.plan import DRAWN
from tests.simulation.world import play

SEEDS = 120
"""So many seeds look for a breakage."""

type Swap = Callable[[object, str, Any], None]


class _Instead:
    """Stands before a port and answers some of its calls itself."""

    def __init__(self, port: object, **calls: object) -> None:
        self._port = port
        self.__dict__.update(calls)

    def __getattr__(self, name: str) -> object:
        return getattr(self._port, name)


@dataclass(frozen=True, slots=True)
class Mutation:
    """`figure`: the named scenario that must miss what it is to reach. None: some seed from `first` on must break an
    invariant.
    """

    what: str
    apply: Callable[[Swap], None]
    figure: str | None = None
    first: int = 0
    drawn: str = "single"


MUTATIONS: list[Mutation] = []


def mutation(
    what: str, figure: str | None = None, first: int = 0, drawn: str = "single"
) -> Callable[[Callable[[Swap], None]], Callable[[Swap], None]]:
    def keep(apply: Callable[[Swap], None]) -> Callable[[Swap], None]:
        MUTATIONS.append(Mutation(what, apply, figure, first, drawn))
        return apply

    return keep


@contextmanager
def mutated(broken: Mutation) -> Iterator[None]:
    """The relay with one breakage. Fails loudly where the name to break is gone."""
    before: list[tuple[object, str, object]] = []

    def swap(owner: object, name: str, value: object) -> None:
        found = vars(owner)[name]
        before.append((owner, name, found))
        setattr(owner, name, value)

    try:
        broken.apply(swap)
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def show(console: Console, jobs: int, only: str | None = None) -> int:
    """Prints what noticed every breakage whose name holds `only`; 1 if one went unnoticed."""
    table = Table("broken on purpose", "noticed by", "what it broke")
    unnoticed = 0
    names = [each.what for each in MUTATIONS if not only or only in each.what]
    for name, found in zip(names, side_by_side(noticed, names, jobs), strict=True):
        where, what = found or ("[bold red]nothing", "")
        # A breakage that no longer fits the code raises at once, and would look as if it were caught.
        unnoticed += not what or "raised:" in what
        table.add_row(name, where, what)
    console.print(table)
    console.print(f"{len(names) - unnoticed} noticed, {unnoticed} not")
    return 1 if unnoticed else 0


def noticed(name: str) -> tuple[str, str] | None:
    """What notices the breakage of that name, as `hunt` tells it."""
    return hunt(next(each for each in MUTATIONS if each.what == name), SEEDS)


def hunt(broken: Mutation, seeds: int) -> tuple[str, str] | None:
    """Where a breakage is noticed, and what it broke: the first of so many seeds that the sound relay passes and the
    broken one does not, or its named scenario, and the figures missed. None: nowhere.
    """
    if broken.figure:
        with mutated(broken):
            for _, some in SCENARIOS[broken.figure]():
                if missed := [f"{each.what} {each.value}" for each in some if each.reached is False]:
                    return broken.figure, ", ".join(missed)
        return None
    for seed in range(broken.first, broken.first + seeds):
        with mutated(broken):
            violation = play(DRAWN[broken.drawn](seed)).violation
        if violation and _sound(seed, broken.drawn):
            return f"seed {seed}", violation
    return None


@cache
def _sound(seed: int, drawn: str) -> bool:
    return play(DRAWN[drawn](seed)).violation is None


def _port(swap: Swap, owner: type, name: str, **calls: Callable[..., object]) -> None:
    """Puts `_Instead` before the port that `owner` is given as `name`; each call gets the port first."""
    original = vars(owner)["__init__"]

    def init(self: object, **ports: Any) -> None:
        port = ports[name]
        bound = {key: (lambda *a, call=call, **k: call(port, *a, **k)) for key, call in calls.items()}
        original(self, **{**ports, name: _Instead(port, **bound)})

    swap(owner, "__init__", init)


@mutation("settle never writes")
def _(swap: Swap) -> None:
    _port(swap, Services, "ledger", settle=lambda ledger, record: None)


@mutation("a claim is always granted")
def _(swap: Swap) -> None:
    def claim(ledger: Any, record: Any, **more: Any) -> Claim:
        return Claim(granted=True, before=ledger.claim(record, **more).before)

    _port(swap, Services, "ledger", claim=claim)


@mutation("a lease is over as it begins")
def _(swap: Swap) -> None:
    def claim(ledger: Any, record: Any, *, now: float, overrides: bool) -> Claim:
        answer: Claim = ledger.claim(replace(record, lease_until=now), now=now, overrides=overrides)
        return answer

    _port(swap, Services, "ledger", claim=claim)


UNSEEN = {
    ("is_claimed", True): "what was delivered is claimed again, and found delivered by its content: one write too many",
    ("is_later", True): "the same",
    ("is_mine", True): "who was taken over from writes its end, too: the one that has it writes it again",
    ("is_same", True): "of two contents under one id the second is sent, and the first is `id_reused`",
}
"""Clauses without which nothing is lost or sent twice: `tests/contract/test_ledger_conditions.py` alone shows them."""

SEEN_BY = {("is_not_ended", True): 47, ("is_delivered", True): 21, ("is_later", False): 985}
"""Seeds that show it, where the first few do not."""


def _break_clause(name: str, holds: bool) -> None:
    what = f"in the ledger's conditions {name} {'always' if holds else 'never'} holds"

    @mutation(what, first=SEEN_BY.get((name, holds), 0))
    def _(swap: Swap) -> None:
        swap(Clauses, name, staticmethod(lambda *_: holds))


for _name in (name for name in vars(Clauses) if name.startswith("is_")):
    for _holds in (True, False):
        if (_name, _holds) not in UNSEEN:
            _break_clause(_name, _holds)


@mutation("a claim forgets what was before")
def _(swap: Swap) -> None:
    def claim(ledger: Any, record: Any, **more: Any) -> Claim:
        return Claim(granted=ledger.claim(record, **more).granted, before=None)

    _port(swap, Services, "ledger", claim=claim)


@mutation("only the head of an account is deferred")
def _(swap: Swap) -> None:
    _port(swap, Services, "queue", defer=lambda queue, messages, seconds: queue.defer(messages[:1], seconds))


@mutation("nothing is deferred")
def _(swap: Swap) -> None:
    _port(swap, Services, "queue", defer=lambda queue, messages, seconds: set())


def _report(swap: Swap, change: Callable[[Any], Any]) -> None:
    handle = vars(Lane)["handle"]
    swap(Lane, "handle", lambda self, messages, deadline: change(handle(self, messages, deadline)))


@mutation("the ids of failed messages are dropped")
def _(swap: Swap) -> None:
    _report(swap, lambda report: replace(report, failed=[]))


@mutation("one failed id is dropped")
def _(swap: Swap) -> None:
    _report(swap, lambda report: replace(report, failed=report.failed[1:]))


@mutation("an id that is not of the batch is reported")
def _(swap: Swap) -> None:
    _report(swap, lambda report: replace(report, failed=[*report.failed, "of-another-batch"]))


@mutation("the pace does not limit")
def _(swap: Swap) -> None:
    swap(Permit, "wait", lambda self, at_most: True)
    swap(Pace, "delay", lambda self, *, backfill: 0.0)


@mutation("environments do not know what others reserved")
def _(swap: Swap) -> None:
    init = vars(Pace)["__init__"]

    def blind(self: Any, destination: str, terms: Terms, accounts: Any, clock: Any) -> None:
        init(self, destination, terms, _Instead(accounts, write=lambda record: None), clock)

    swap(Pace, "__init__", blind)


@mutation("no window is kept")
def _(swap: Swap) -> None:
    swap(relay.account.schedule, "_leaves", lambda window, most, seconds: -math.inf)


@mutation("who probes an account is not elected", figure="six hours' outage, 2,000 to Yotpo, 4 groups")
def _(swap: Swap) -> None:
    swap(relay.account.breaker, "denied_for", lambda record, me, now, **more: 0.0)


@mutation("an operator's hold is overlooked", drawn="live")
def _(swap: Swap) -> None:
    swap(relay.account.breaker, "held_for", lambda record, now: 0.0)


@mutation("a customer's events go to any group", drawn="live")
def _(swap: Swap) -> None:
    numbers = count()
    swap(Destination, "group", lambda self, line, groups: f"{self.account}#{next(numbers) % groups}")


@mutation("history takes its turns as live events do", figure="50,000 of history at 60/min, live half of it")
def _(swap: Swap) -> None:
    swap(relay.account.schedule, "next_backfill_turn", lambda record, now, lead, **more: next_turn(record, now, lead))


@mutation("history stands among the live events", figure="50,000 of history at 5/s, live half of it")
def _(swap: Swap) -> None:
    swap(Destination, "backfill_group", property(lambda self: self.account))


@mutation("nobody knows that live events wait", figure="600 live at 5/s before 1,000 of history, answers in 2 s")
def _(swap: Swap) -> None:
    swap(relay.account.schedule, "want", lambda record, *more: record)


@mutation("the pace is ten times too slow", figure="600 to Yotpo, 20 ms")
def _(swap: Swap) -> None:
    init = vars(Pace)["__init__"]

    def slow(self: Any, destination: str, terms: Terms, *more: Any) -> None:
        limits = tuple(Limit(each.requests, each.window * 10) for each in terms.limits)
        init(self, destination, replace(terms, limits=limits), *more)

    swap(Pace, "__init__", slow)


@mutation("long waits are slept in the function", figure="240 to Sender")
def _(swap: Swap) -> None:
    swap(relay.account.pace, "WITHIN", 100.0)
    swap(relay.delivery.post, "LONGEST_WAIT", 100.0)
    swap(relay.delivery.attempt, "LONGEST_WAIT", 100.0)


@mutation("a provider's bad hour is its events' fault", figure="a bad hour, half of all requests fail")
def _(swap: Swap) -> None:
    swap(Account, "_weight", lambda self, event_id, throttled: 1.0)


@mutation("refusals by chance are an event's fault", figure="a bad hour, 82 of 100 answered 401")
def _(swap: Swap) -> None:
    unauthorized = vars(Account)["unauthorized"]

    def sure(self: Any, *args: Any) -> Failure:
        failure: Failure = unauthorized(self, *args)
        return replace(failure, is_poison=failure.strikes >= relay.account.account.POISON_FAILURES)

    swap(Account, "unauthorized", sure)


@mutation("a 429 is never the event's own", figure="240 to Sender, one always 429")
def _(swap: Swap) -> None:
    throttled = vars(Account)["throttled"]
    swap(Account, "throttled", lambda self, *args: (throttled(self, *args), args[1])[1])


@mutation("every 429 is the event's own")
def _(swap: Swap) -> None:
    def throttled(self: Account, event_id: str, before: Failure, started_at: float) -> Failure:
        strikes = before.strikes + 1
        return replace(before, strikes=strikes, is_poison=strikes >= relay.account.account.POISON_FAILURES)

    swap(Account, "throttled", throttled)


@mutation("an event that breaks us is nobody's fault", figure="one every 60 s, one that breaks us")
def _(swap: Swap) -> None:
    exchange = relay.delivery.post.Exchange

    def made(*args: Any, broken: bool = False, **more: Any) -> Any:
        return exchange(*args, **{**more, "internal": broken or more.get("internal", False)})

    swap(relay.delivery.attempt, "Exchange", made)


@mutation("what failed is asked first again", figure="200 to Yotpo, six always 500")
def _(swap: Swap) -> None:
    swap(Account, "order", lambda self, items, event_id: items)


@mutation("one event's 403 holds its account as any", figure="one every 60 s, one always 403")
def _(swap: Swap) -> None:
    swap(relay.account.account, "SHORTEST_HOLD", 300.0)


@mutation("an account that hangs is asked as soon as any", figure="twenty accounts hang, ten places")
def _(swap: Swap) -> None:
    swap(relay.account.account, "IDLE", 0.0)


@mutation("versions have no order")
def _(swap: Swap) -> None:
    swap(Delivery, "is_outdated", lambda *args: False)


@mutation("a copy is as old as its last copy")
def _(swap: Swap) -> None:
    entries = vars(Intake)["_entries"]
    swap(
        Intake,
        "_entries",
        lambda self, taken, now: [replace(each, accepted_at=now) for each in entries(self, taken, now)],
    )


@mutation("copies are told by their content")
def _(swap: Swap) -> None:
    route = vars(relay.intake.intake)["route"]
    swap(
        relay.intake.intake,
        "route",
        lambda *args: [
            replace(each, deduplication_id=f"{each.destination.provider} {each.content_hash}") for each in route(*args)
        ],
    )


@mutation("crashes in a row count once")
def _(swap: Swap) -> None:
    run = vars(Attempt)["run"]

    def once(self: Attempt) -> Any:
        result = run(self)
        return replace(result, crashed=min(result.crashed, 1))

    swap(Attempt, "run", once)


@mutation("an attempt begins however late it is", first=17)
def _(swap: Swap) -> None:
    swap(Services, "is_late", lambda *args: False)


@mutation("an outage of our own is asked every few seconds", figure="six hours without a ledger")
def _(swap: Swap) -> None:
    swap(Account, "dependency_failed", lambda self: self._clock.now())
    swap(relay.delivery.batch, "PATIENT_AFTER_RECEIVES", 1_000_000)


@mutation("back-off is zero", first=72)
def _(swap: Swap) -> None:
    swap(Account, "back_off", lambda self, *args, **more: 0.0)


@mutation("a hold is ignored", first=18)
def _(swap: Swap) -> None:
    swap(Account, "hold", lambda self, *args: 0.0)


@mutation("the deadline is ignored", first=17)
def _(swap: Swap) -> None:
    handle = vars(Lane)["handle"]
    swap(Lane, "handle", lambda self, messages, deadline: handle(self, messages, deadline + 60.0))


@mutation("the dead letter is not written")
def _(swap: Swap) -> None:
    _port(swap, Services, "queue", give_up=lambda queue, letter: None)


@mutation("a dead letter has no reason")
def _(swap: Swap) -> None:
    _port(swap, Services, "queue", give_up=lambda queue, letter: queue.give_up(replace(letter, reason="")))


@mutation("a 429 teaches nothing")
def _(swap: Swap) -> None:
    swap(Permit, "throttle", lambda self, *args: None)


@mutation("no event is ever at fault", figure="300 to Yotpo, one always 500, one always 403")
def _(swap: Swap) -> None:
    failed = vars(Account)["failed"]
    swap(Account, "failed", lambda self, *args: replace(failed(self, *args), is_poison=False))


@mutation("one event's refusal holds its account", figure="300 to Yotpo, one always 500, one always 403")
def _(swap: Swap) -> None:
    hold = vars(Account)["hold"]
    swap(Account, "hold", lambda self, refused_at, since, event_id=None: hold(self, refused_at, math.inf, event_id))
    swap(Account, "unauthorized", lambda self, event_id, before, started_at, attempts: before)


@mutation("the first failure is poison")
def _(swap: Swap) -> None:
    swap(relay.account.account, "POISON_FAILURES", 1)


@mutation("every failure is the event's own")
def _(swap: Swap) -> None:
    def failed(self: Account, event_id: str, before: Failure, started_at: float, attempts: int = 1) -> Failure:
        return Failure(before.strikes + 1, before.failed_at or started_at, started_at)

    swap(Account, "failed", failed)


@mutation("Sender overwrites by id")
def _(swap: Swap) -> None:
    swap(Sender, "repeats", Repeat.UPDATES)


@mutation("Yotpo does not overwrite by id")
def _(swap: Swap) -> None:
    swap(Yotpo, "repeats", Repeat.FIRES_AGAIN)


@mutation("on_unknown: park is ignored")
def _(swap: Swap) -> None:
    init = vars(Provider)["__init__"]

    def retries(self: Any, base_url: str, settings: Any = None) -> None:
        init(self, base_url, settings and settings.model_copy(update={"on_unknown": "retry"}))

    swap(Provider, "__init__", retries)


@mutation("what others must know is not written", figure="40 to Sender, 429 for 15 min, nothing is hidden")
def _(swap: Swap) -> None:
    swap(Pace, "flush", lambda self: None)


@mutation("a refused secret is not fetched again")
def _(swap: Swap) -> None:
    _port(swap, Services, "secrets", refresh=lambda secrets, destination, seen: seen)


@mutation("a dead letter does not say how often it was tried")
def _(swap: Swap) -> None:
    _port(
        swap, Services, "queue", give_up=lambda queue, letter: queue.give_up(replace(letter, attempts=0, status=None))
    )


@mutation("unknown counts as delivered")
def _(swap: Swap) -> None:
    read = vars(Provider)["read"]

    def sure(self: Provider, answer: Any) -> Outcome:
        outcome: Outcome = read(self, answer)
        return Outcome.DELIVERED if outcome is Outcome.UNKNOWN else outcome

    swap(Provider, "read", sure)


@mutation("a crash before is not counted as unknown")
def _(swap: Swap) -> None:
    run = vars(Attempt)["run"]
    swap(Attempt, "run", lambda self: replace(run(self), crashed=0))


@mutation("nothing ever expires")
def _(swap: Swap) -> None:
    swap(Attempt, "_stale", lambda self, *args: "")


@mutation("everything expires at once")
def _(swap: Swap) -> None:
    swap(Attempt, "_stale", lambda self, *args: "passed its expires_at")


@mutation("the order of a customer's events is ignored")
def _(swap: Swap) -> None:
    swap(Customer, "identities", property(lambda self: frozenset()))
    swap(Customer, "line", property(lambda self: ""))


@mutation("a provider's words are not masked")
def _(swap: Swap) -> None:
    swap(relay.providers.base, "mask", lambda text, secrets=(): text)


@mutation("intake routes to the first destination only")
def _(swap: Swap) -> None:
    route = vars(relay.intake.intake)["route"]
    swap(relay.intake.intake, "route", lambda *args: route(*args)[:1])


@mutation("intake does not keep what it rejects")
def _(swap: Swap) -> None:
    swap(Intake, "_keep", lambda *args: None)
