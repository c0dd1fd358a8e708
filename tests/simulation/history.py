"""What the model saw with its own eyes of each delivery, message, request and account. Times are the run's seconds."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.plan import Plan
from tests.simulation.timeline import Timeline


@dataclass(slots=True, eq=False)
class Delivery:
    """One event at one destination."""

    destination: str
    event_id: str
    acts: list[tuple[float, int]] = field(default_factory=list)
    """When the provider acted, and on which version of the event."""
    records: dict[float, int] = field(default_factory=dict)
    """When records of the event came to the relay, and which version each held."""
    repeats: int = 0
    begun: int = 0
    """Attempts: each begins with one claim."""
    reported: int = 0
    """Attempts whose result a finished invocation told of."""
    refused_with: tuple[str, str] = ("", "")
    """The attempt whose token was refused while the store held another one, and that token."""
    claims: int = 0
    """Claims since one was settled."""
    left: set[str] = field(default_factory=set)
    """Messages whose claim another one found open: they may have been posted, and do not know it."""
    held_until: float = 0.0
    """When the invocation ends, at the latest, that was granted the last claim."""
    owners: dict[str, str] = field(default_factory=dict)
    """The present attempt's name, by environment."""
    began_in: dict[str, tuple[str, float]] = field(default_factory=dict)
    """The invocation of each attempt that has not settled."""
    silent: set[str] = field(default_factory=set)
    """Attempts whose post had no answer."""
    known: int = 0
    """What the relay knows not to know: posts without an answer, and claims found open by a later attempt."""
    unknowns: int = 0
    """Results that the relay counts as `unknown`."""
    causes: dict[tuple[str, float], int] = field(default_factory=dict)
    """What an invocation that has not reported yet may count as `unknown`, by its environment and deadline."""
    learned: dict[tuple[str, float], int] = field(default_factory=dict)
    """`known` by invocation that has not reported yet: its environment and deadline."""
    unsure: int = 0
    """Reasons not to know: silence after a post, a ledger or dead-letter call that failed."""
    posts: int = 0
    settled: int = 0
    denied: int = 0
    """Attempts that ended with their claim: somebody else had the event, or it had ended."""
    turned_away: int = 0
    """Attempts that ended without a post for want of credentials."""
    writes: int = 0
    failures: list[bool] = field(default_factory=list)
    """Failed exchanges: whether nothing at all worked at the account then."""
    failed_at: float = -1.0
    fruitless: int = 0
    """Failures with a success of another event of the account since the one before."""
    pardoned: int = 0
    """How many of these count for nothing, 45 at most: it failed while others failed, too."""
    refused: bool = False
    letters: dict[str, str] = field(default_factory=dict)
    """Reasons by message id."""
    versions: set[int] = field(default_factory=set)
    holder: str = ""
    """The message whose attempt has the claim."""
    parked: set[str] = field(default_factory=set)
    """Messages parked as unknown."""
    unanswered: set[str] = field(default_factory=set)
    """Messages whose post had no answer."""

    def acted_on(self, version: int) -> bool:
        return any(each == version for _, each in self.acts)

    def overtakes(self, record_at: float) -> bool:
        """Whether the provider acted on a later record: where it overwrites by id, the earlier is needed no more."""
        later = (version for at, version in self.records.items() if at > record_at)
        return self.destination.startswith("yotpo/") and any(map(self.acted_on, later))

    def on_unknown_met(self, invocation: tuple[str, float], unknowns: int = 1) -> None:
        """An attempt of the invocation met something that it does not know."""
        self.causes[invocation] = self.causes.get(invocation, 0) + unknowns


@dataclass(slots=True, eq=False)
class Kept:
    """One message on a lane."""

    sequence: int
    message_id: str
    delivery: Delivery
    version: int
    accepted_at: float
    record_at: float
    """When the record behind it came to the relay first."""
    expires_at: float = float("inf")
    identities: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        delivery = self.delivery
        given_up = self.message_id in delivery.letters
        return given_up or delivery.acted_on(self.version) or delivery.overtakes(self.record_at)


@dataclass(slots=True, eq=False)
class Site:
    """One account, as all environments together treated it."""

    worked_at: float = -1.0
    failing: deque[float] = field(default_factory=deque)
    """Failed exchanges of the last ten minutes since something worked."""
    environments: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, dict[Kept, None]] = field(default_factory=dict)
    """Messages on the lane, by customer identity, in order."""
    idle_batches: deque[float] = field(default_factory=deque)


@dataclass(slots=True)
class Totals:
    accepted: int = 0
    rejected: int = 0
    requests: int = 0
    throttled: int = 0
    acts: int = 0
    repeats: int = 0
    unexplained: int = 0
    unknowns: int = 0
    letters: int = 0
    dead: dict[str, int] = field(default_factory=dict)
    unended: int = 0
    crashes: int = 0
    steps: int = 0

    def add(self, other: "Totals") -> None:
        for name in self.__slots__:
            if name == "dead":
                for kind, count in other.dead.items():
                    self.dead[kind] = self.dead.get(kind, 0) + count
            else:
                setattr(self, name, getattr(self, name) + getattr(other, name))


class History:
    """`fail` keeps the first violation and calls `on_violation`: the run stops there."""

    def __init__(self, plan: Plan, timeline: Timeline) -> None:
        self.plan = plan
        self.timeline = timeline
        self.totals = Totals()
        self.violation: str | None = None
        self.on_violation: Callable[[], None] = lambda: None
        self.deliveries: dict[tuple[str, str], Delivery] = {}
        self.sites: dict[str, Site] = {}
        self.messages: dict[str, Kept] = {}
        self.most_receives = 0
        self.natures: dict[str, str] = {each.event_id: each.nature for each in plan.events}

    def delivery(self, destination: str, event_id: str) -> Delivery:
        key = (destination, event_id)
        if key not in self.deliveries:
            self.deliveries[key] = Delivery(destination, event_id)
        return self.deliveries[key]

    def site(self, destination: str) -> Site:
        if destination not in self.sites:
            self.sites[destination] = Site()
        return self.sites[destination]

    def fail(self, rule: str, text: str) -> None:
        if self.violation is None:
            self.violation = f"{rule}: {text}"
            self.on_violation()
