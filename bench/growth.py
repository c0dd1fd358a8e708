"""How cost grows: with the destinations of a stack, the events of a call, the properties of an event.

Linear or better: drawn in logarithms, what costs n times as much for n times as many is a line that rises by one. The
slope of the upper half is the row; each picture shows the median of the runs.
"""

import json
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from statistics import linear_regression, median
from typing import Any

from bench.events import CREDENTIALS, bodies
from bench.plot import Points, lines
from bench.table import Goal, Row, Section
from bench.two import TWO
from local.machine import ROOT
from relay.account.account import Account
from relay.account.pace import Pace
from relay.adapters.clock import SystemClock
from relay.contract.destination import Destination
from relay.contract.event import Event
from relay.handlers.envelope import open_record, unwrap, validate
from relay.intake.intake import Accepted, Incoming, Intake
from relay.intake.routing import route
from relay.masking import mask
from relay.ports import AccountRecord, Hidden, LaneEntry, Refusal, RejectedRecord
from relay.providers import PROVIDERS
from relay.settings import DeliverSettings

type Say = Callable[[str], None]
type Counts = Sequence[int]
type Costs = dict[str, dict[int, float]]
"""By what it is the cost of, and by how many there were."""

RUNS = 3
LEAST_SECONDS = 0.05
"""What takes less is repeated until it has taken so long."""
LINEAR = Goal.at_most(1.1)
"""A slope of one, and what a measurement strays."""

DESTINATIONS = (1, 10, 100, 1_000)
EVENTS = (10, 100, 1_000, 10_000, 100_000)
TRACED = 10_000
"""Of more events the memory is not measured: that takes several times as long as the work."""
PROPERTIES = (0, 10, 25, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class Grown:
    """What grows over `counts`: in each run its costs, in the units that stand in their names."""

    over: str
    counts: Counts
    costs: Callable[[Counts], Costs]
    picture: str
    runs: list[Costs] = field(default_factory=list)

    def measure(self) -> None:
        self.runs.extend(self.costs(self.counts) for _ in range(RUNS))

    @property
    def rows(self) -> list[Row]:
        made = []
        for name in self.runs[0]:
            what, unit = name.split(", ")
            most = max(self.runs[0][name])
            each = [run[name][most] / most for run in self.runs]
            made.append(Row(f"{what}, of {most:,} {self.over}: by each of these", each, unit))
            slopes = [slope([*run[name].items()]) for run in self.runs]
            made.append(Row(f"{what}, over {self.over}", slopes, "slope", LINEAR))
        return made

    def draw(self) -> Any:
        """The picture's file."""
        series: Mapping[str, Points] = {
            name: [(count, median(run[name][count] for run in self.runs)) for count in first if count]
            for name, first in self.runs[0].items()
        }
        file = ROOT / "docs" / f"growth-{self.picture}.svg"
        return lines(file, f"What grows with {self.over}", (self.over, "cost"), series, logarithmic=True)


def slope(points: Points) -> float:
    """By how much the logarithm of the cost rises where that of the count rises by one, in the upper half."""
    some = [(math.log(count), math.log(cost)) for count, cost in points if count]
    upper = some[(len(points) - 1) // 2 :]
    return linear_regression(*zip(*upper, strict=True)).slope


def measure(say: Say) -> Section:
    """Every row and picture; about a minute."""
    grown = [
        Grown("destinations", DESTINATIONS, destinations, "destinations"),
        Grown("events of one call", EVENTS, events, "events"),
        Grown("properties", PROPERTIES, properties, "properties"),
    ]
    for each in grown:
        say(f"{each.counts[0]} to {each.counts[-1]:,} {each.over}")
        each.measure()
    notes = [
        "Slope: of the cost over the count, both as logarithms, in the upper half; 1 is linear. Times are of the "
        f"processor. Events: one call of intake, to {len(TWO)} destinations, with an SQS that only says yes; "
        f"memory is what it holds at most at a time, beside the texts. A reply masked: it quotes every property."
    ]
    return Section(
        "How cost grows", [row for each in grown for row in each.rows], notes, [each.draw() for each in grown]
    )


def seconds[**P](work: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> float:
    """Processor seconds of one call."""
    calls = 0
    began = time.process_time()
    while (taken := time.process_time() - began) < LEAST_SECONDS or not calls:
        work(*arguments, **named)
        calls += 1
    return taken / calls


def peak[**P](work: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> float:
    """The most bytes that one call, and what it returns, holds at a time."""
    tracemalloc.start()
    try:
        work(*arguments, **named)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------ destinations


def destinations(counts: Counts) -> Costs:
    """Of a stack with so many destinations by name, half of them with settings of their own."""
    what = ("the settings read, µs", "an event for all routed, µs", "an event for one routed, µs", "accounts, bytes")
    costs: Costs = {name: {} for name in what}
    read, for_all, for_one, known = costs.values()
    body = json.loads(next(bodies()))
    provider = next(iter(TWO))
    for many in counts:
        names = [Destination.of(provider, f"shop-{number}") for number in range(many)]
        environment = _environment(provider, names)
        read[many] = seconds(DeliverSettings.from_environment, environment) * 1e6
        settings = DeliverSettings.from_environment(environment)
        for_all[many] = seconds(route, validate(body), settings.destinations, 0.0) * 1e6
        for_one[many] = seconds(route, validate(body | {"destinations": names[-1:]}), settings.destinations, 0.0) * 1e6
        known[many] = peak(_accounts, settings, names)
    return costs


def _environment(provider: str, names: Sequence[str]) -> dict[str, str]:
    set_ones = {name: {"requests": 7, "window_seconds": 1.0} for name in names[::2]}
    return {
        "RELAY_STAGE": "bench",
        "RELAY_DESTINATIONS": ",".join(names),
        "RELAY_DESTINATION_SETTINGS": json.dumps(set_ones),
        "RELAY_PROVIDER": provider,
        "RELAY_BASE_URL": "https://example.com",
        **{
            f"RELAY_{name}": "a-name"
            for name in ("QUEUE_URL", "DEAD_LETTER_QUEUE_URL", "LEDGER_TABLE", "ACCOUNTS_TABLE", "LETTERS_TABLE")
        },
    }


class _NoRecords:
    """Satisfies `ports.Accounts`."""

    def write(self, _record: AccountRecord, /) -> AccountRecord | None:
        return None

    def note(self, _hidden: Hidden, /) -> None:
        pass


def _accounts(settings: DeliverSettings, names: Sequence[Destination]) -> list[Account]:
    """As `relay.wiring` makes them."""
    clock, records = SystemClock(), _NoRecords()
    providers = ((name, PROVIDERS[settings.provider](settings.base_url, settings.of(name))) for name in names)
    return [Account(Pace(name, each.terms, records, clock), clock, settings.hold_seconds) for name, each in providers]


# ------------------------------------------------------------------------------------------------ events


class _Yes:
    """Satisfies `ports.IntakeQueues`, and keeps nothing."""

    def send(self, _entries: Sequence[LaneEntry], /) -> Mapping[int, Refusal]:
        return {}

    def reject(self, _records: Sequence[RejectedRecord], /) -> Mapping[int, Refusal]:
        raise AssertionError("no event of the bench is a reject")


def events(counts: Counts) -> Costs:
    """Of one call of intake with so many events."""
    intake = Intake(_Yes(), SystemClock(), [f"{name}/main" for name in TWO], unwrap, validate)
    costs: Costs = {"taken in, µs": {}, "most memory, bytes": {}}
    taken_in, held = costs.values()
    for many in counts:
        texts = list(islice(bodies(), many))
        taken_in[many] = seconds(_take, intake, texts) * 1e6
        if many <= TRACED:
            held[many] = peak(_take, intake, texts)
    return costs


def _take(intake: Intake, texts: Sequence[str]) -> None:
    verdicts = intake.accept([Incoming(text, record_id=f"{number:032x}") for number, text in enumerate(texts)])
    assert all(isinstance(verdict, Accepted) for verdict in verdicts)


# ------------------------------------------------------------------------------------------------ properties


def properties(counts: Counts) -> Costs:
    """Of an event with so many properties."""
    what = ("validated, µs", "built for every provider, µs", "hashed, µs", "a reply masked, µs")
    costs: Costs = {name: {} for name in what}
    validated, built, hashed, masked = costs.values()
    for many in counts:
        own = {"occurred_at": "2026-11-22T10:00:00Z", "properties": dict(islice(_properties(), many))}
        text = json.dumps(json.loads(next(bodies())) | own)
        event = open_record(text)
        said = "; ".join(f"{name} is {value}" for name, value in event.properties.items())
        validated[many] = seconds(open_record, text) * 1e6
        built[many] = seconds(_build, event) * 1e6
        hashed[many] = seconds(lambda event: event.content_hash, event) * 1e6
        masked[many] = seconds(_mask, event, said) * 1e6
    return costs


def _properties() -> Iterator[tuple[str, str | int | float]]:
    for number in count(step=4):
        yield f"order_{number}", f"A-{1000 + number}"
        yield f"items_{number}", number
        yield f"total_{number}", number + 0.5
        yield f"text_{number}", f"a gift for number {number}"


_READY = [provider("https://example.com") for provider in TWO.values()]


def _build(event: Event) -> None:
    for provider in _READY:
        provider.build(event, CREDENTIALS)


def _mask(event: Event, said: str) -> None:
    mask(said, event.private)
