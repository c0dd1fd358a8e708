"""How the relay behaves towards the providers, checked request by request. The rules are listed in `invariants`."""

import json
import math
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay.account.account import WITNESS_SECONDS
from relay.account.pace import WITHIN_SIDE_BY_SIDE
from relay.ports import Reply, Request
from tests.simulation.history import Delivery, History
from tests.simulation.kernel import Kernel
from tests.simulation.plan import FAULTY, TOTAL
from tests.simulation.provider import EPOCH, SILENT, Account, Arrival, read_event

if TYPE_CHECKING:
    from tests.simulation.environment import DeliverEnvironment

FAILING = ("outage", "refused", "auth", "forbidden", "capped", "burst", "odd_status", "silence", "cut", "poison")
UNCOUNTED = ("reset_before", "timeout_before", "outage", "auth", "forbidden", "odd_status", "burst")
"""What stops a request before the provider counts it: its `Remaining` does not show it to another environment."""

HELD_WITHIN = WITHIN_SIDE_BY_SIDE + 1.5
"""Seconds after which nothing is sent any more to an account that an operator holds: turns that are planned, and late.
"""

STORM_SECONDS, STORM, STORM_EACH = 600.0, 100, 25


@dataclass(slots=True, eq=False)
class Link:
    """What one environment did at one account."""

    since: float
    starts: dict[float, deque[float]] = field(default_factory=dict)
    """Requests of the last window that were not refused, by the window's length."""
    refusals: deque[float] = field(default_factory=deque)
    """Answers of 429 in the last window."""
    open: int = 0
    """Requests under way."""
    answered: bool = False
    silent_from: float = 0.0
    silent_until: float = 0.0


@dataclass(slots=True, eq=False)
class Exchange:
    """One request to a provider."""

    account: Account
    delivery: Delivery
    body: Mapping[str, Any]
    version: int
    links: list[Link]
    """The environment's, and the account's where all clocks go alike and nothing stalls."""
    direct: bool
    started_at: float
    token: str
    invocation: tuple[str, float]
    """The environment's name and deadline."""
    owner: str
    """The attempt's name."""


class Conduct:
    def __init__(self, kernel: Kernel, history: History) -> None:
        self._kernel = kernel
        self._history = history
        self._links: dict[tuple[str, str], Link] = {}
        self._held: dict[str, tuple[float, float]] = {}
        """Since when, and until when, an operator holds an account."""

    def on_account_met(self, environment: "DeliverEnvironment", destination: str) -> None:
        """An environment has an account before it for the first time."""
        self._links[environment.name, destination] = Link(min(self._kernel.now, environment.alone_since))

    def forget_silence(self, destination: str) -> None:
        """What the provider asked for reaches no other environment, so none is held to it: neither SQS nor the ledger
        keeps it, or the event that it was asked for is given up, and none is left to be hidden.
        """
        if link := self._links.get(("", destination)):
            link.silent_until = 0.0

    def on_held(self, destination: str, until: float) -> None:
        """An operator holds an account, until that Unix second or, where it is zero, until it is resumed."""
        self._held[destination] = (self._kernel.now, until - EPOCH if until else math.inf)

    def on_resumed(self, destination: str) -> None:
        """An operator has it go on at once, whatever it waits for."""
        self._held.pop(destination, None)
        for (_, name), link in self._links.items():
            if name == destination:
                link.silent_until = 0.0

    def on_request_sent(
        self, environment: "DeliverEnvironment", account: Account, request: Request, *, refused: bool = False
    ) -> Exchange:
        """A request leaves; or, `refused`, would leave if there were a connection."""
        history, now, destination = self._history, self._kernel.now, account.plan.destination
        body = json.loads(request.body)
        event_id, version = read_event(body)
        delivery = history.delivery(destination, event_id)
        delivery.posts += 1
        history.totals.requests += 1
        links = [self._links[environment.name, destination]]
        if not (history.plan.skew or history.plan.stall):
            links.append(self._links.setdefault(("", destination), Link(-math.inf, answered=True)))
        token, invocation = account.sent_token(request), (environment.name, environment.deadline)
        owner = delivery.owners[environment.name]
        exchange = Exchange(account, delivery, body, version, links, environment.direct, now, token, invocation, owner)
        if history.timeline.on:
            history.timeline.note(now, destination, delivery.event_id, f"posted by {environment.name}")
        since, until = self._held.get(destination, (math.inf, math.inf))
        if since + HELD_WITHIN < now < until - history.plan.skew and not refused:
            history.fail("held", f"{destination} was sent {delivery.event_id} {now - since:.1f} s after it was held")
        if now + environment.longest > environment.deadline + 1e-6:
            history.fail("deadline", f"{delivery.event_id} posted {environment.deadline - now:.3f} s before the end")
        if delivery.holder in delivery.parked:
            history.fail("parked", f"{destination} {delivery.event_id} posted after it was parked as unknown")
        if account.plan.park and not environment.direct and delivery.holder in delivery.unanswered:
            history.fail("parked", f"{destination} {delivery.event_id} posted again after its answer never came")
        if delivery.refused_with == (owner, token) and history.plan.fetches:
            history.fail(
                "refetch", f"{destination} was sent a token that it had refused, and that was replaced by then"
            )
        self._check_age(exchange)
        for link in exchange.links:
            link.open += 1
            if not refused:
                self._check_pace(exchange, link)
        self._check_storm(environment.name, destination)
        return exchange

    def on_request_arrived(self, exchange: Exchange, arrival: Arrival) -> None:
        """The provider has dealt with a request, whether or not an answer reaches us."""
        history, delivery = self._history, exchange.delivery
        if history.timeline.on:
            said = arrival.reply.status if arrival.reply else "no answer"
            acted = " (acted)" if arrival.acted else ""
            note = f"provider: {said}{acted} {arrival.cause}"
            history.timeline.note(self._kernel.now, delivery.destination, delivery.event_id, note)
        if arrival.acted:
            self._act(exchange)

    def on_exchange_ended(self, exchange: Exchange, cause: str, reply: Reply | None) -> None:
        """The environment has an answer, or waits for none any more."""
        history, delivery, now = self._history, exchange.delivery, self._kernel.now
        site = history.site(delivery.destination)
        for link in exchange.links:
            link.open -= 1
        if cause in UNCOUNTED and len(exchange.links) > 1:
            _forget(exchange.links[-1], exchange.started_at)
        if cause in ("silence", "cut"):
            delivery.unsure += 1
            delivery.silent.add(exchange.owner)
            delivery.on_unknown_met(exchange.invocation)
            delivery.unanswered.add(delivery.holder)
        stored = exchange.account.secret(now)
        if cause == "auth" and stored is not None and stored["access_token"] != exchange.token:
            delivery.refused_with = (exchange.owner, exchange.token)
        if reply is not None:
            if reply.status == 429:
                history.totals.throttled += 1
            for link in exchange.links:
                link.answered = True
                if reply.status == 429:
                    self._refused(exchange, link)
                    self._silence(exchange, link, reply)
            delivery.refused |= cause == "bad"
            if reply.status in range(200, 300) and cause != "cut":
                site.worked_at = now
                site.failing.clear()
        if cause in FAILING:
            site.failing.append(now)
            delivery.failures.append(self._nothing_works(exchange.account))
            self._failed(delivery, self._is_confused(exchange.account, cause))

    def on_attempt_broken(self, delivery: Delivery) -> None:
        """A fault of our own has ended an attempt."""
        self._failed(delivery, True)

    def _failed(self, delivery: Delivery, confused: bool) -> None:
        if self._history.site(delivery.destination).worked_at > delivery.failed_at >= 0:
            delivery.fruitless += 1
        delivery.failed_at = self._kernel.now
        if confused:
            delivery.pardoned = min(delivery.fruitless, 45)
        if delivery.fruitless > delivery.pardoned + 15 and self._history.plan.steady:
            self._history.fail("poison", f"{delivery.event_id} failed {delivery.fruitless} times, others succeeding")

    def _is_confused(self, account: Account, cause: str) -> bool:
        """Whether attempts of other events fail as well, or did within the half hour that the relay looks back."""
        now = self._kernel.now
        at_times = any(
            each.kind in (*FAILING, *SILENT) and (each.share < 1.0 or each.start < now < each.end + WITNESS_SECONDS)
            for each in account.plan.episodes
        )
        mine = {each.event_id for each in self._history.plan.events if account.plan.destination in each.destinations}
        others = sum(self._history.natures.get(each) in FAULTY for each in mine)
        return at_times or others > 2 or cause == "forbidden"

    def _act(self, exchange: Exchange) -> None:
        history, delivery, now = self._history, exchange.delivery, self._kernel.now
        history.totals.acts += 1
        if not delivery.acted_on(exchange.version) and not exchange.direct:
            self._check_order(exchange)
        # Sender knows no ids: whatever comes second fires the customer's automation again.
        updates = (
            exchange.account.plan.provider == "yotpo" and delivery.acts and delivery.acts[-1][1] != exchange.version
        )
        if delivery.acts and not updates:
            delivery.repeats += 1
            history.totals.repeats += 1
        delivery.acts.append((now, exchange.version))

    def _check_order(self, exchange: Exchange) -> None:
        delivery = exchange.delivery
        mine = self._history.messages.get(delivery.holder)
        waiting = self._history.site(delivery.destination).waiting
        if self._history.plan.regrouped:
            # While the number of groups changes, a customer stands in two of them.
            return
        for line in (waiting[identity] for identity in (mine.identities if mine else ())):
            for kept in line:
                if mine is None or kept.sequence >= mine.sequence:
                    break
                other = kept.delivery
                tried = other.posts + other.turned_away + other.begun - other.settled - other.denied
                if not kept.ended and tried < 3 and other is not delivery:
                    text = f"{delivery.destination} {delivery.event_id} before {other.event_id}"
                    self._history.fail("order", text)

    def _check_age(self, exchange: Exchange) -> None:
        plan, kept = self._history.plan, self._history.messages.get(exchange.delivery.holder)
        moment = self._kernel.now - 30.0 - plan.skew
        if kept and moment > min(kept.expires_at - EPOCH, kept.accepted_at + plan.oldest):
            self._history.fail("stale", f"{kept.delivery.event_id} posted after its time")

    def _check_pace(self, exchange: Exchange, link: Link) -> None:
        now, account = self._kernel.now, exchange.account
        for limit, window in account.limits:
            starts = link.starts.setdefault(window, deque())
            starts.append(now)
            while starts[0] <= now - window + 1e-9:
                starts.popleft()
            if len(starts) > limit + 1:
                what = f"{len(starts)} requests to {account.plan.destination} in {window:g} s"
                self._history.fail("rate", what)
        if link.silent_from < now < link.silent_until:
            left = link.silent_until - now
            self._history.fail("asked", f"{account.plan.destination} asked for {left:.1f} s more of silence")

    def _refused(self, exchange: Exchange, link: Link) -> None:
        account, now = exchange.account, self._kernel.now
        _forget(link, exchange.started_at)
        link.refusals.append(now)
        while link.refusals[0] <= now - account.window + 1e-9:
            link.refusals.popleft()
        # Two windows' requests leave before the first answer, where that takes as long as a window.
        slow = account.plan.answers_in + 2 * account.plan.network > 0.8 * account.window
        if len(link.refusals) > max(account.limit // 2, 5) * (2 if slow else 1):
            text = f"{len(link.refusals)} answers of 429 from {account.plan.destination} in one window"
            self._history.fail("throttle", text)

    def _silence(self, exchange: Exchange, link: Link, reply: Reply) -> None:
        named = reply.headers.get("retry-after", "")
        plan = self._history.plan
        if link is not exchange.links[0] and (plan.crash or (plan.twice and plan.ledger_fails)):
            # Who died with the answer, or could not write it, told nobody; a copy of its batch may not be hidden.
            return
        if named.isdecimal() and len(named) < 5 and self._kernel.now >= link.silent_until:
            several = max(plan.groups, plan.regrouped) > 1 and link is not exchange.links[0]
            # What had its turn already.
            link.silent_from = self._kernel.now + (WITHIN_SIDE_BY_SIDE if several else 1.0)
            # Whose environment did not hear of it comes when its messages do, and SQS counts whole seconds.
            early = 1e-6 if link is not exchange.links[-1] or len(exchange.links) == 1 else 1.0
            link.silent_until = self._kernel.now + int(named) - early

    def _check_storm(self, environment: str, destination: str) -> None:
        site, now = self._history.site(destination), self._kernel.now
        site.environments[environment] = now
        while site.failing and site.failing[0] < now - STORM_SECONDS:
            site.failing.popleft()
        if len(site.failing) > STORM:
            lately = sum(at > now - STORM_SECONDS for at in site.environments.values())
            if len(site.failing) > STORM + STORM_EACH * lately:
                self._history.fail("storm", f"{len(site.failing)} failures at {destination} in ten minutes")

    def _nothing_works(self, account: Account) -> bool:
        now = self._kernel.now
        return any(
            each.kind in (*TOTAL, "revoked", "rotated", "odd_status", "auth", "burst", "reset_before", "timeout_before")
            and each.share == 1.0
            and each.start <= now < each.end
            for each in account.plan.episodes
        )


def _forget(link: Link, started_at: float) -> None:
    for starts in link.starts.values():
        with suppress(ValueError):
            starts.remove(started_at)
