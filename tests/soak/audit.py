"""Accounts for every event of a soak, by what others wrote down: the providers' journal, the ledger, the queues of what
was rejected and given up, the functions' log.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.table import Table

from relay.contract.destination import Destination
from relay.providers import PROVIDERS
from tests.soak.plan import Json, Plan, Sent
from tests.system.running import ON_THE_WAY, Letter, Relay, order_id, properties, provider_account, token

type Delivery = tuple[str, str]
"""An event's id, and a destination."""

PLANTED = re.compile(r"planted\d{5}|(?<![0-9a-f])15550\d{6}(?![0-9a-f])|tok3n-", re.IGNORECASE)
"""Every address, number and token that the soak made up."""
_ID = re.compile(r"soak-\d{5,}")
_FIGURES = re.compile(r"\d+ times")


@dataclass(frozen=True)
class Found:
    """What each place holds of the soak's events, when it is over."""

    accepted: dict[str, set[tuple[str, tuple[str, ...]]]]
    """By event, the records that intake accepted: what their log lines call them, and their destinations."""
    ended: dict[tuple[str, str, str], set[str]]
    """By event, destination and record, the final outcomes."""
    taken: Counter[tuple[str, str, int]]
    """By event, destination and version, how often the provider acted on it."""
    ledger: dict[Delivery, Json]
    rejected: dict[str, list[Letter]]
    given_up: dict[Delivery, list[Letter]]
    unindexed: list[str]
    """Reasons of letters that a queue has and the index has not."""
    waiting: int
    leaks: list[str]

    @classmethod
    def at(cls, relay: Relay, plan: Plan) -> "Found":
        """Reads it all. Empties the queues of the rejected and the given up."""
        ids = {event.id for event in plan.events}
        accepted, ended = defaultdict(set), defaultdict(set)
        for line in relay.logged(message="accepted"):
            if line["event_id"] in ids:
                accepted[line["event_id"]].add((line["correlation_id"], tuple(line["destinations"])))
        for line in relay.logged(final=True):
            if line["event_id"] in ids:
                ended[line["event_id"], line["destination"], line["correlation_id"]].add(line["outcome"])
        for event_id, destination, record in ended:
            # A worker that was killed takes its last lines along. What deliver had, intake has accepted.
            if record not in {name for name, _ in accepted[event_id]}:
                accepted[event_id].add((record, (destination,)))
        rejects = relay.rejected()
        letters = [letter for provider in PROVIDERS for letter in relay.dead_letters(provider)]
        rejected, given_up = defaultdict(list), defaultdict(list)
        for letter in rejects:
            for event_id in set(_ID.findall(letter.body)):
                rejected[event_id].append(letter)
        for letter in letters:
            given_up[letter.attributes["event_id"], letter.attributes["destination"]].append(letter)
        index = {item["letter"]: item for item in _scan(relay, "LettersTableName")}
        ours = [letter for some in (*rejected.values(), *given_up.values()) for letter in some]
        ledger = {(item["event_id"], item["destination"]): item for item in _scan(relay, "LedgerTableName")}
        indexed = [{name: item[name] for name in item if name != "body"} for item in index.values()]
        tables = [*ledger.values(), *indexed, *_scan(relay, "AccountsTableName")]
        return cls(
            accepted=dict(accepted),
            ended=dict(ended),
            taken=_taken(relay, plan, ids),
            ledger=ledger,
            rejected=dict(rejected),
            given_up=dict(given_up),
            unindexed=[
                letter.attributes.get("reason", "none")
                for letter in ours
                if letter.attributes.get("letter") not in index
            ],
            waiting=sum(relay.waiting(queue) for queue in ON_THE_WAY),
            leaks=[
                *_leaks("log", relay.log.read_text(errors="replace").splitlines()),
                *_leaks("attributes", (json.dumps(each.attributes) for each in [*rejects, *letters])),
                *_leaks("table", map(json.dumps, tables)),
            ],
        )


def _leaks(place: str, texts: Iterable[str]) -> Iterator[str]:
    known = [token(provider, "main") for provider in PROVIDERS]
    for text in texts:
        if found := PLANTED.search(text) or next(
            (re.search(re.escape(each), text) for each in known if each in text), None
        ):
            yield f"{place}: …{text[max(0, found.start() - 60) : found.end() + 20]}…"


def _scan(relay: Relay, table: str) -> Iterator[Json]:
    pages = relay.clients.dynamodb.get_paginator("scan").paginate(TableName=relay.outputs[table])
    for page in pages:
        for item in page["Items"]:
            yield {name: next(iter(value.values())) for name, value in item.items()}


def _taken(relay: Relay, plan: Plan, ids: set[str]) -> Counter[tuple[str, str, int]]:
    ours = {
        (provider, provider_account(provider, account)): f"{provider}/{account}"
        for provider in PROVIDERS
        for account in plan.accounts
    }
    taken: Counter[tuple[str, str, int]] = Counter()
    for request in relay.providers.sandbox.requests():
        destination = ours.get((request["provider"], request["account"]))
        if request["accepted"] and destination and (event_id := order_id(request)) in ids:
            taken[event_id, destination, int(properties(request)["version"])] += 1
    return taken


@dataclass
class Audit:
    """The sums, and `wrong`: all that must not be, each in a line of its own."""

    records: Counter[str] = field(default_factory=Counter)
    """What became of what was sent."""
    rejects: Counter[str] = field(default_factory=Counter)
    """By what was wrong with it."""
    deliveries: Counter[str] = field(default_factory=Counter)
    """What became of each accepted record at each of its destinations."""
    letters: Counter[str] = field(default_factory=Counter)
    """By reason."""
    repeats: Counter[str] = field(default_factory=Counter)
    """What providers got oftener than once."""
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    log: Path | None = None
    """Where the functions' log was kept, if anything is wrong."""

    @property
    def is_clean(self) -> bool:
        return not self.wrong


def audit(plan: Plan, found: Found) -> Audit:
    """Accounts for the plan's events by what was found."""
    made = Audit()
    sent: dict[str, list[Sent]] = defaultdict(list)
    for event in plan.events:
        sent[event.id].append(event)
        made.records["sent"] += 1
        made.records[f"by {event.way}"] += 1
        if event.fault:
            made.faults[event.fault] += 1
    for event_id, events in sent.items():
        if events[0].malformed:
            _reject(made, found, events[0])
        else:
            _accept(made, found, event_id, events)
    for name in ("still waiting", "lost"):
        made.deliveries[name] += 0
    if found.waiting:
        made.wrong.append(f"{found.waiting} messages are still on the way")
    made.wrong += [f"a letter is not in the index: {reason}" for reason in found.unindexed]
    made.records["leaks"] = len(found.leaks)
    made.wrong += [f"leak in a {leak}" for leak in found.leaks]
    return made


def _reject(made: Audit, found: Found, event: Sent) -> None:
    letters = found.rejected.get(event.id, [])
    if event.id in found.accepted:
        made.wrong.append(f"{event.id} is malformed ({event.malformed}), and was accepted")
    elif not letters:
        made.records["lost"] += 1
        made.wrong.append(f"{event.id} is malformed ({event.malformed}), and not in RejectedQueue")
    else:
        made.records["rejected"] += 1
        made.records["rejected, kept twice"] += len(letters) > 1
        made.rejects[event.malformed] += 1
        if not all(": " in letter.attributes.get("reason", "") for letter in letters):
            made.wrong.append(f"{event.id} was rejected without a reason that names a field")


def _accept(made: Audit, found: Found, event_id: str, events: Sequence[Sent]) -> None:
    records = found.accepted.get(event_id, set())
    if event_id in found.rejected:
        made.wrong.append(f"{event_id} is well formed, and was rejected")
    if len(records) < len(events):
        made.records["lost"] += len(events) - len(records)
        told = "; ".join(_told(found, (event_id, destination)) for destination in events[0].destinations)
        ways = ", ".join(event.way for event in events)
        made.wrong.append(f"{event_id} was sent {len(events)} times ({ways}), and accepted as {records}; {told}")
    made.records["accepted"] += min(len(records), len(events))
    made.records["accepted, of these sent again"] += sum(event.repeats for event in events)
    made.records["accepted oftener than sent"] += max(0, len(records) - len(events))
    for destination in events[0].destinations:
        _end(made, found, (event_id, destination), [record for record, _ in records])
        _compare(made, found, (event_id, destination))


def _end(made: Audit, found: Found, delivery: Delivery, records: Sequence[str]) -> None:
    """The accepted records of one event at one destination: what became of each, and that each place agrees."""
    ends = Counter(_fate(found.ended.get((*delivery, record), set())) for record in records)
    took = sum(found.taken[*delivery, version] for version in (1, 2))
    letters = found.given_up.get(delivery, [])
    again = min(ends[DELIVERED], max(0, took - ends[DELIVERED]))
    made.deliveries["delivered once"] += ends[DELIVERED] - again
    made.deliveries["delivered, and sent again"] += again
    made.deliveries["duplicates, not sent"] += ends[DUPLICATE]
    made.deliveries["dead letters"] += ends[DEAD]
    made.deliveries["expired"] += ends[EXPIRED]
    made.deliveries["still waiting" if found.waiting else "lost"] += ends[NOWHERE]
    for wrong, why in (
        (ends[NOWHERE] > 0, "is still waiting" if found.waiting else "is lost"),
        (ends[DELIVERED] > 0 and not took, "is said to be delivered, and the provider never took it"),
        (ends[DUPLICATE] > 0 and not took and not letters, "is said to be a duplicate, of nothing"),
        (ends[DEAD] + ends[EXPIRED] > len(letters), "has fewer dead letters than ended so"),
    ):
        if wrong:
            made.wrong.append(f"{delivery} {why}; {_told(found, delivery)}")


DELIVERED, DUPLICATE, DEAD, EXPIRED, NOWHERE = "delivered", "duplicate", "dead", "expired", "nowhere"


def _fate(outcomes: set[str]) -> str:
    """Of the ends that a record came to: several where a worker was killed before SQS knew of the first."""
    if not outcomes:
        return NOWHERE
    return next((each for each in (DELIVERED, DUPLICATE, EXPIRED) if each in outcomes), DEAD)


def _compare(made: Audit, found: Found, delivery: Delivery) -> None:
    """One event at one destination: how often the provider got it, and what the ledger says of that."""
    event_id, destination = delivery
    took = {version: found.taken[event_id, destination, version] for version in (1, 2)}
    for letter in found.given_up.get(delivery, []):
        made.letters[f"{Destination(destination).provider}: {_short(letter.attributes['reason'])}"] += 1
    item = found.ledger.get(delivery, {})
    if item.get("state") not in ("delivered", "given_up"):
        made.wrong.append(f"{delivery} is not settled; {_told(found, delivery)}")
    provider = PROVIDERS[Destination(destination).provider]
    unknowns, more = int(item.get("unknowns", 0)), max(0, sum(took.values()) - 1)
    made.repeats[f"{provider.name}: unknown, as the ledger counts"] += unknowns
    if provider.repeats.overrides:
        again = sum(max(0, times - 1) for times in took.values())
        made.repeats[f"{provider.name}: sent again, which overwrites"] += again
        made.repeats[f"{provider.name}: updates"] += took[1] > 0 and took[2] > 0
        return
    made.repeats[f"{provider.name}: sent again, counted as unknown"] += min(more, unknowns)
    made.repeats[f"{provider.name}: sent again, not counted"] += max(0, more - unknowns)
    if more > unknowns:
        made.wrong.append(f"{delivery} was taken {more + 1} times, {unknowns} unknown; {_told(found, delivery)}")


def _short(reason: str) -> str:
    """Reasons of a kind: without what a provider said, and how often."""
    return _FIGURES.sub("… times", reason.partition(": ")[0])[:60]


def _told(found: Found, delivery: Delivery) -> str:
    """The evidence, for whoever looks into it."""
    item = found.ledger.get(delivery)
    kept = ("state", "outcome", "reason", "attempts", "unknowns", "claims", "status")
    ledger = {name: item[name] for name in kept if name in item} if item else "none"
    ended = {key[2]: outcomes for key, outcomes in found.ended.items() if key[:2] == delivery}
    took = {key[2]: times for key, times in found.taken.items() if key[:2] == delivery}
    return f"ledger: {ledger}, ended: {ended}, taken by version: {took}"


def tables(made: Audit) -> Iterator[Table]:
    """For a person."""
    for title, counts in (
        ("What was sent", made.records),
        ("Rejected, and kept in RejectedQueue, by what was wrong", made.rejects),
        ("Faults that providers were told to make", made.faults),
        ("Accepted records at their destinations", made.deliveries),
        ("Dead letters by reason", made.letters),
        ("What providers got oftener than once", made.repeats),
    ):
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("", min_width=58, no_wrap=True)
        table.add_column("events", justify="right")
        for name, count in counts.items():
            table.add_row(name, f"{count:,}", style="red" if count and name in MUST_NOT_BE else "")
        yield table


MUST_NOT_BE = ("lost", "still waiting", "leaks", *(f"{name}: sent again, not counted" for name in PROVIDERS))
