"""What a soak sends, and what goes wrong meanwhile: all of it drawn from one seed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal

from relay.providers import PROVIDERS

type Json = dict[str, Any]
type Way = Literal["SQS", "EventBridge", "direct"]

MALFORMED, REPEATS, FAULTS = 0.10, 0.05, 0.20
"""The parts of all events."""
CHANGED = 0.2
"""The part of the repeats that says something else under the same id."""
BATCH = 10
APART = 50
"""A repeat comes so many events after what it repeats, at least: not in the same call."""


HAPPENED_AT = f"{datetime.now(UTC):%FT%TZ}"
"""Lately, for some providers do nothing with what is old."""


@dataclass(frozen=True)
class Customer:
    """Made up, and planted: neither the address nor the number may be seen in a log, a metric or an attribute."""

    number: int

    @property
    def email(self) -> str:
        return f"planted{self.number:05}@customers.example"

    @property
    def phone(self) -> str:
        return f"+15550{self.number:06}"

    @property
    def words(self) -> str:
        """As a provider quotes what it dislikes."""
        return f"cannot handle {self.email} or {self.phone}"


@dataclass(frozen=True)
class Sent:
    """One event. `id` is what the audit knows it by; `version` tells contents under one id apart.

    `malformed` is what is wrong with it, empty for a good one; `repeats` whether the id was sent before.
    """

    id: str
    way: Way
    body: Any
    """Parsed JSON, or text that is none."""
    version: int = 1
    destinations: tuple[str, ...] = ()
    malformed: str = ""
    repeats: bool = False
    faults: tuple[Json, ...] = ()
    """What a provider does to it: `local.sandbox.faults.Fault`, put in force before it is sent."""
    fault: str = ""
    """What that is called."""


@dataclass(frozen=True)
class Batch:
    """Events that are put in together, ten at most; before them a worker may be killed, or a secret changed."""

    way: Way
    events: Sequence[Sent]
    kill: str = ""
    """A function, as the stack's outputs call it, one of whose workers is killed."""
    rotate: str = ""
    """A destination whose token is revoked, and replaced a little later."""


@dataclass(frozen=True)
class Plan:
    """`accounts` are names, the same at every provider."""

    seed: int
    accounts: tuple[str, ...]
    batches: tuple[Batch, ...] = field(repr=False)

    @property
    def events(self) -> Iterator[Sent]:
        """In the order they are sent."""
        return (event for batch in self.batches for event in batch.events)


FUNCTIONS = ("Intake", *(name.capitalize() for name in PROVIDERS))


def draw(
    seed: int,
    count: int,
    accounts: Sequence[str],
    *,
    killed: Sequence[str] = FUNCTIONS,
    providers: Sequence[str] = tuple(PROVIDERS),
) -> Plan:
    """The plan of a seed: the same events, faults, kills and rotations each time. `killed`: functions that may be."""
    rng = Random(seed)
    customers = [Customer(number) for number in range(max(1, count // 5))]
    drawn = _Drawn(rng, tuple(accounts), customers, tuple(providers))
    events = [drawn.event(number) for number in range(count)]
    batches = []
    while events:
        way = events[0].way
        size = BATCH if way != "direct" else rng.randint(1, BATCH)
        taken = [event for event in events[: 4 * BATCH] if event.way == way][:size]
        chosen = {id(event) for event in taken}
        events = [event for event in events if id(event) not in chosen]
        batches.append(Batch(way, taken))
    troubled = rng.sample(range(len(batches)), k=min(len(batches), 2 * max(3, count // 400)))
    for turn, place in enumerate(troubled):
        if turn % 2:
            trouble = {"rotate": f"{rng.choice(providers)}/{rng.choice(accounts)}"}
        else:
            trouble = {"kill": killed[turn // 2 % len(killed)]}
        batches[place] = Batch(batches[place].way, batches[place].events, **trouble)
    return Plan(seed, tuple(accounts), tuple(batches))


class _Drawn:
    def __init__(
        self, rng: Random, accounts: Sequence[str], customers: Sequence[Customer], providers: Sequence[str]
    ) -> None:
        self._rng = rng
        self._providers = providers
        self._accounts = accounts
        self._customers = customers
        self._good: list[tuple[Json, Sent]] = []

    def event(self, number: int) -> Sent:
        kind = self._rng.random()
        way: Way = self._rng.choices(("SQS", "EventBridge", "direct"), (6, 2, 2))[0]
        if kind < MALFORMED:
            return self._malformed(f"soak-{number:05}", way)
        if kind < MALFORMED + REPEATS and len(self._good) > APART:
            return self._repeat(way)
        return self._fresh(f"soak-{number:05}", way, troubled=kind > 1 - FAULTS)

    def _fresh(self, event_id: str, way: Way, *, troubled: bool) -> Sent:
        event, customer = self._good_event(event_id)
        fault, faults = "", tuple[Json, ...]()
        if troubled:
            # A type of its own: that is how a fault finds the event at every provider.
            event["type"] = event_id.replace("-", "_")
            fault, faults = self._faults(event, customer)
        elif self._rng.random() < 0.01:
            event["expires_at"] = "2026-11-22T11:00:00Z"
        made = Sent(event_id, way, self._carried(event, way), 1, tuple(event["destinations"]), "", False, faults, fault)
        self._good.append((event, made))
        return made

    def _good_event(self, event_id: str) -> tuple[Json, Customer]:
        customer = self._rng.choice(self._customers)
        some = [[name] for name in self._providers] + [list(self._providers)]
        providers = self._rng.choices(some, [1] * len(self._providers) + [18])
        event = {
            "id": event_id,
            "source": "soak",
            "type": self._rng.choice(("order_shipped", "cart_abandoned", "quiz_finished")),
            "occurred_at": HAPPENED_AT,
            "customer": {"email": customer.email, "phone_number": customer.phone, "properties": {"tier": "gold"}},
            "properties": {"order_id": event_id, "version": 1, "total": round(self._rng.uniform(1, 500), 2)},
            "destinations": [f"{name}/{self._rng.choice(self._accounts)}" for name in providers[0]],
        }
        return event, customer

    def _repeat(self, way: Way) -> Sent:
        event, first = self._rng.choice(self._good[:-APART])
        version = 1
        if self._rng.random() < CHANGED:
            version = 2
            event = {**event, "properties": {**event["properties"], "version": 2}}
        return Sent(first.id, way, self._carried(event, way), version, first.destinations, repeats=True)

    def _malformed(self, event_id: str, way: Way) -> Sent:
        event, customer = self._good_event(event_id)
        # What EventBridge hands over is an object, whatever else is wrong with it.
        known = [name for name in _MALFORMED if way == "SQS" or name not in _TEXT]
        name = self._rng.choice(known)
        body = _MALFORMED[name](event, customer)
        return Sent(event_id, way, body if name in _TEXT else self._carried(body, way), malformed=name)

    def _carried(self, event: Json, way: Way) -> Json:
        """Some of what comes by SQS comes in the envelope of a topic."""
        if way != "SQS" or self._rng.random() > 0.1:
            return event
        return {
            "Type": "Notification",
            "MessageId": f"{self._rng.getrandbits(128):032x}",
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:shop",
            "Message": json.dumps(event),
            "Timestamp": "2026-11-22T10:00:00.000Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLE",
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/example.pem",
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        }

    def _faults(self, event: Json, customer: Customer) -> tuple[str, tuple[Json, ...]]:
        name = self._rng.choices(list(_FAULTS), [weight for weight, _ in _FAULTS.values()])[0]
        fault = _FAULTS[name][1](self._rng, customer)
        hit = event["destinations"] if self._rng.random() < 0.3 else [self._rng.choice(event["destinations"])]
        if fault.get("status") == 200:
            hit = [each for each in hit if each.partition("/")[0] in TELLS]
        name = name if hit else ""
        return name, tuple(
            {
                "provider": provider,
                **({"account": account} if name in WHOLE_ACCOUNT else {"type": event["type"]}),
                **fault,
            }
            for provider, _, account in (destination.partition("/") for destination in hit)
        )


_MALFORMED: Mapping[str, Callable[[Json, Customer], Any]] = {
    "cut off": lambda event, _: json.dumps(event)[:-40],
    "no JSON": lambda event, customer: f"{event['id']} for {customer.email} and {customer.phone}",
    "a list": lambda event, _: json.dumps([event]),
    "nobody": lambda event, _: {**event, "customer": {}},
    "a wrong number": lambda event, customer: {**event, "customer": {"phone_number": customer.phone[1:] + "x"}},
    "a wrong address": lambda event, customer: {**event, "customer": {"email": f"{customer.email} {customer.phone}"}},
    "an address for a type": lambda event, customer: {**event, "type": customer.email},
    "an address for a field": lambda event, customer: {**event, customer.email: 1},
    "nested": lambda event, customer: {**event, "properties": {"of": {customer.phone: customer.email}}},
    "no such destination": lambda event, _: {**event, "destinations": ["nobody/main"]},
    "no moment": lambda event, customer: {**event, "occurred_at": customer.email},
    "a text for a value": lambda event, customer: {**event, "value": customer.phone},
}
_TEXT = ("cut off", "no JSON", "a list")

TELLS = frozenset(name for name, kind in PROVIDERS.items() if any(rule.body for rule in kind.rules))
"""Providers whose body says whether they took it. Of the others a 200 is a promise, and a broken one nobody sees."""

WHOLE_ACCOUNT = ("a storm of 429s", "an outage")
"""These hit whatever the account gets, for some seconds."""


def _said(customer: Customer) -> Json:
    return {"message": customer.words, "errors": [{"field": "customer", "message": customer.words}]}


def _storm(seconds: int) -> Json:
    return {"status": 429, "seconds": seconds, "headers": {"Retry-After": str(seconds)}}


_FAULTS: Mapping[str, tuple[float, Callable[[Random, Customer], Json]]] = {
    "5xx": (
        30,
        lambda rng, who: {"status": rng.choice((500, 502, 503, 504)), "count": rng.randint(1, 2), "body": _said(who)},
    ),
    "429": (15, lambda rng, _: {"status": 429, "count": rng.randint(1, 2), "headers": {"Retry-After": "1"}}),
    "slow": (20, lambda rng, _: {"delay": round(rng.uniform(0.2, 1.0), 2), "count": 1}),
    "reset before": (10, lambda _, __: {"reset": "before", "count": 1}),
    "reset after": (8, lambda _, __: {"reset": "after", "count": 1}),
    "cut off": (6, lambda _, who: {"status": 200, "count": 1, "body": f'{{"success": tr, "{who.words}'}),
    "huge": (
        6,
        lambda rng, who: {"status": rng.choice((200, 500)), "count": 1, "body": {"message": 3_000 * who.words}},
    ),
    "401": (4, lambda rng, who: {"status": 401, "count": rng.randint(1, 2), "body": _said(who)}),
    "refused": (6, lambda rng, who: {"status": rng.choice((400, 422)), "body": _said(who)}),
    "poison": (2, lambda _, who: {"status": 500, "body": _said(who)}),
    "no answer": (0.5, lambda _, __: {"delay": 11.0, "count": 1}),
    WHOLE_ACCOUNT[0]: (3, lambda rng, _: _storm(rng.randint(2, 6))),
    WHOLE_ACCOUNT[1]: (2, lambda rng, who: {"status": 503, "seconds": rng.randint(2, 6), "body": _said(who)}),
}
"""What a provider may do to an event: how often of all, and what the sandbox is told."""
