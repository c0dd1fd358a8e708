"""One run: puts the real code and the model together, plays a plan, and says what came of it."""

import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from relay.contract.destination import Destination, account_of
from relay.contract.event import Customer
from tests.simulation.environment import DeliverEnvironment, Environment, IntakeEnvironment
from tests.simulation.function import FifoMapping, Function, StandardMapping
from tests.simulation.history import History
from tests.simulation.invariants import Checker
from tests.simulation.kernel import Kernel
from tests.simulation.plan import EventPlan, Plan
from tests.simulation.provider import EPOCH, LIMITS, Account
from tests.simulation.services import Services
from tests.simulation.sqs import FifoQueue, Message, StandardQueue
from tests.simulation.timeline import Timeline

MAX_RECEIVES = 1000
"""The template's maxReceiveCount of every lane."""
INTAKE_RECEIVES = 200
"""The template's maxReceiveCount of IntakeQueue."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run. `lasted` is the second at which the last event ended."""

    history: History
    functions: dict[str, Function]
    lasted: float
    account_writes: int = 0
    """How often accounts' records were written, or tried to be."""

    @property
    def violation(self) -> str | None:
        return self.history.violation


def play(plan: Plan, *, timeline: bool = False) -> Run:
    """Runs a plan to its end, or to its first violation."""
    return World(plan, timeline).run()


class World:
    def __init__(self, plan: Plan, timeline: bool) -> None:
        self.plan = plan = replace(plan, events=(*plan.events, *_healthy(plan)))
        self.kernel = Kernel()
        self.history = History(plan, Timeline(timeline))
        self.history.on_violation = self._stop
        self.checker = Checker(self.kernel, self.history)
        self._rng = random.Random(f"world {plan.seed}")
        self._environments: list[Environment] = []
        accounts = {
            each.destination: Account(each, self.history.natures, random.Random(f"{plan.seed} {each.destination}"))
            for each in plan.accounts
        }
        providers = list(dict.fromkeys(each.provider for each in plan.accounts))
        lanes = {
            name: FifoQueue(self.kernel, name, MAX_RECEIVES, plan.look_ahead, plan.opens_by_head) for name in providers
        }
        self.services = Services(self.kernel, plan, self.checker, accounts, lanes)
        self.functions = {name: self._function(name) for name in providers}
        for name, lane in lanes.items():
            self._map(name, lane)
        self.intake = StandardQueue(self.kernel, "intake", INTAKE_RECEIVES)
        self.intake.on_delete = self.checker.on_record_deleted
        self.intake.on_receives_used_up = self.checker.on_receives_used_up
        StandardMapping(self.kernel, plan, self.intake, self._function("intake"))

    def run(self) -> Run:
        plan, kernel = self.plan, self.kernel
        for event in plan.events:
            kernel.call_at(event.at, lambda event=event: self._produce(event))  # type: ignore[misc]
        for _ in range(plan.races):
            kernel.call_at(self._rng.uniform(0, plan.faults_end), self._race)
        for hand in plan.hands:
            if hand.hold is not None:
                until = EPOCH + hand.until if hand.until else 0.0
                kernel.call_at(hand.hold, lambda hand=hand, until=until: self.services.hold(hand.destination, until))  # type: ignore[misc]
            kernel.call_at(hand.resume, lambda hand=hand: self.services.resume(hand.destination))  # type: ignore[misc]
        if plan.redrive:
            kernel.call_at(plan.faults_end + 600.0, self.services.redrive)
        last = max([plan.faults_end, *(each.at for each in plan.events)])
        patience, end = last + self._patience(), last + plan.oldest + 24 * 3600
        kernel.run(until=min(plan.ends, patience))
        if plan.steady and plan.ends > patience:
            self.checker.on_patience_over(self._left())
        kernel.run(until=min(plan.ends, end))
        if plan.ends > end and not kernel.stopped:
            self.checker.on_run_over(self._left(), self.intake.size)
        self.history.totals.steps = kernel.steps
        self.history.totals.crashes = sum(each.crashes for each in self.functions.values())
        for environment in self._environments:
            kernel.reap(environment.process)
        ends = [at for delivery in self.history.deliveries.values() for at, _ in delivery.acts]
        writes = self.services.accounts_table.writes
        return Run(self.history, self.functions, max(ends, default=0.0), writes)

    def _patience(self) -> float:
        """Two hours, three times as long as the largest backlog takes at what others leave of the limit, and what the
        provider asks for each time that it answers an event 429 for what it is.
        """
        longest = 0.0
        for account in self.plan.accounts:
            requests, window = LIMITS[account.provider]
            mine = [each for each in self.plan.events if account.destination in each.destinations]
            backlog = len(mine) * window / requests / (1.0 - min(account.foreign, 0.9))
            capped = sum(each.nature == "capped" for each in mine) * account.cap_names
            longest = max(longest, 3 * backlog + 15 * capped)
        return 2 * 3600 + longest

    def _left(self) -> list[Message]:
        return [message for lane in self.services.lanes.values() for message in lane.left()]

    def _stop(self) -> None:
        self.kernel.stopped = True

    def _function(self, name: str) -> Function:
        def make(environment: str) -> Environment:
            made: Environment = (
                IntakeEnvironment(self.services, environment)
                if name == "intake"
                else DeliverEnvironment(self.services, environment, name)
            )
            self._environments.append(made)
            return made

        return Function(self.kernel, self.plan, name, make, self._on_death)

    def _on_death(self, environment: str, why: str) -> None:
        if self.history.timeline.on:
            self.history.timeline.note(self.kernel.now, environment, "", why)

    def _map(self, provider: str, lane: FifoQueue) -> None:
        several = max(self.plan.groups, self.plan.regrouped) + any(each.backfill for each in self.plan.events)
        groups = several * sum(each.provider == provider for each in self.plan.accounts)
        mapping = FifoMapping(self.kernel, self.plan, lane, self.functions[provider])
        mapping.on_batch_answered = self.checker.on_batch_answered
        mapping.on_group_chosen = lambda group, seconds: self.checker.on_group_chosen(
            Destination.of(provider, account_of(group)), seconds, groups
        )
        lane.on_delete = self.checker.on_message_deleted
        lane.on_receives_used_up = self.checker.on_receives_used_up

    def _produce(self, event: EventPlan) -> None:
        body = json.dumps(_body(self.plan, event))
        if event.via == "lane":
            for number, destination in enumerate(event.destinations):
                own = f"own-{event.event_id}-{event.at}-{number}"
                to = Destination(destination)
                group = to.backfill_group if event.backfill else to.group(_line(body), self.services.groups)
                self.services.put_on_lane(to, group, body, own, {})
            return
        wrapped = _wrap(event, body)
        self.intake.send(wrapped, {"is": json.dumps([event.event_id, event.version, event.destinations])})

    def _race(self) -> None:
        left = self._left()
        if left:
            message = self._rng.choice(left)
            provider = message.message_id.partition("-")[0]

            def work(environment: Environment) -> None:
                assert isinstance(environment, DeliverEnvironment)
                environment.deliver_directly(message)

            self.functions[provider].invoke([], lambda _: None, work)


def _healthy(plan: Plan) -> list[EventPlan]:
    if not plan.settle_down:
        return []
    return [
        EventPlan(plan.faults_end + 200.0 * (1 + number), f"h{index}x{number}", 5000 + number, (account.destination,))
        for index, account in enumerate(plan.accounts)
        for number in range(12)
    ]


def _line(body: str) -> str:
    """In which line the event of a system that puts its own messages on a lane stands: that of its customer."""
    return Customer.model_validate(json.loads(body)["customer"]).line


def _body(plan: Plan, event: EventPlan) -> dict[str, Any]:
    customer: dict[str, Any] = {"properties": {"tier": "gold"}}
    kind = event.customer % 3 if event.nature != "unfit" else 3
    if kind in (0, 1):
        customer["email"] = f"customer{event.customer}.{plan.seed}@example.com"
    if kind in (1, 2):
        customer["phone_number"] = f"+1555{event.customer:07}"
    if kind == 3:
        customer["id"] = f"c{event.customer}"
    body: dict[str, Any] = {
        "id": event.event_id,
        "source": "shop",
        "type": "order_shipped",
        "customer": customer,
        "properties": {"order_id": event.event_id, "version": event.version},
        "destinations": list(event.destinations),
    }
    if event.customer % 2 and event.via != "lane":
        body["occurred_at"] = _iso(float(event.customer))
    if event.expires_in is not None:
        body["expires_at"] = _iso(event.at + event.expires_in)
    if event.backfill:
        body["backfill"] = True
    if event.nature == "invalid":
        body["type"] = customer.get("email", "not a name")
    return body


def _wrap(event: EventPlan, body: str) -> str:
    number = f"{event.event_id}-{event.version}-{event.at}"
    enveloped = {
        "version": "0",
        "id": number,
        "detail-type": "event",
        "source": "shop",
        "account": "111122223333",
        "time": _iso(event.at),
        "region": "eu-west-1",
        "resources": [],
        "detail": json.loads(body),
    }
    match event.via:
        case "eventbridge":
            return json.dumps(enveloped)
        case "sns":
            return json.dumps(
                {
                    "Type": "Notification",
                    "MessageId": number,
                    "TopicArn": "arn:aws:sns:eu-west-1:111122223333:events",
                    "Message": body,
                    "Timestamp": _iso(event.at),
                    "SignatureVersion": "1",
                    "Signature": "x",
                    "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem",
                    "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
                }
            )
        case _:
            return body


def _iso(second: float) -> str:
    return datetime.fromtimestamp(EPOCH + second, UTC).isoformat()
