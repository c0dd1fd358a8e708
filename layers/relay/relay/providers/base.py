"""What every provider says of itself: how an event becomes a request, how a reply is read, what its limits are."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from copy import replace
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from relay.contract.event import Event
from relay.errors import CredentialsError, FieldError, TransportError, UndeliverableError
from relay.masking import mask, shorten
from relay.outcome import Outcome
from relay.ports import Reply, Request
from relay.providers.auth import Auth
from relay.providers.checks import Check
from relay.providers.limits import Budget, Limit, Quota, Terms, read_prefixed, read_quotas, read_wait
from relay.providers.mapping import EventMapping
from relay.providers.replies import RULES, SAYS, Rule, read_at, read_words

NO_BACKFILL = (
    "cannot be told that an event is history and may start flows for it: leave it out of destinations, or set "
    '"backfill": "send" in DestinationSettings to have it sent like any other'
)

JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "customer-event-relay"}


class DestinationSettings(BaseModel):
    """What may be set per destination, whatever its provider. Unset limits are the provider's documented ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    on_unknown: Literal["retry", "park"] = "retry"
    success_statuses: frozenset[Annotated[int, Field(ge=200, le=299, strict=True)]] = Field(
        default=frozenset(range(200, 300)), min_length=1
    )
    requests: int | None = Field(default=None, ge=1, le=100_000, strict=True)
    window_seconds: float | None = Field(default=None, ge=0.1, le=86_400, strict=True)
    groups: int = Field(default=1, ge=1, le=256, strict=True)
    """How many batches of the account run side by side; a customer's events stay in one of them."""
    concurrency: int | None = Field(default=None, ge=1, le=1_000, strict=True)
    """How many requests the provider takes at the same time."""
    mapping: EventMapping | None = None
    """Which events go there, and what is changed in them; None: all, as they are."""
    backfill: Literal["refuse", "send"] = "refuse"
    """What becomes of an event that is history, where the provider cannot be told that it is."""


class Repeat(StrEnum):
    """What a provider does with an event whose ID it has had before: what the ledger allows follows from it."""

    UPDATES = "updates"
    """It takes the place of the first: other content under one ID is a newer version."""
    IGNORED = "ignored"
    """The first stays, and nothing happens."""
    REJECTED = "rejected"
    """The same, said with a reply of its own, which its rules read as a success."""
    FIRES_AGAIN = "fires again"
    """It knows no ID, or promises nothing: only the ledger prevents it."""

    @property
    def overrides(self) -> bool:
        """Whether other content under an ID it has had is an update, not an error."""
        return self is Repeat.UPDATES


@dataclass(frozen=True, slots=True)
class Useless:
    """Too old, an event is not delivered any more: `after` so long since it occurred, by the provider's `rule`, in
    words that follow "older than so long: ".
    """

    after: timedelta
    rule: str

    def is_reached(self, seconds: float) -> bool:
        """Whether an event that occurred so many seconds ago is useless."""
        return seconds >= self.after.total_seconds()

    def is_near(self, seconds: float) -> bool:
        """Whether it is closer to that than to its beginning: worth a warning."""
        return seconds >= self.after.total_seconds() / 2


class Provider(ABC):
    """One provider, for one destination of it. Pure: no network, no clock."""

    name: ClassVar[str]
    address: ClassVar[str]
    """The base URL that it documents: the template's default."""
    limits: ClassVar[tuple[Limit, ...]]
    """Every window it counts, the shortest first."""
    credentials: ClassVar[tuple[str, ...]]
    """The keys its secret must hold, each non-empty text."""
    open_credentials: ClassVar[tuple[str, ...]] = ()
    """Those of them that are no secret: what the provider calls the account."""
    checks: ClassVar[tuple[Check, ...]] = ()
    """What its answer to a test event tells, where that is more than everybody's does."""
    repeats: ClassVar[Repeat]
    """What it does with an event whose ID it has had."""
    useless: ClassVar[Useless | None] = None
    """From what age on it does nothing with an event, if there is one."""
    path: ClassVar[str]
    """Where events go, below the address."""
    auth: Auth
    """How it is shown who sends."""
    headers: ClassVar[Mapping[str, str]] = {}
    """What each request carries besides, such as the version of the API, or in place of everybody's `JSON_HEADERS`."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    says: ClassVar[tuple[str, ...]] = SAYS
    """Where its replies say what is wrong: JMESPath expressions."""
    quota: ClassVar[str] = ""
    """How the headers begin that end in `-limit` (which may list several windows), `-remaining` and `-reset`, if it has
    them.
    """
    waits: ClassVar[str] = ""
    """Where its replies' bodies say how many seconds to stay away, if they do: a JMESPath expression."""
    backfills: ClassVar[bool] = False
    """True where the provider can be told that an event is history (`event.backfill`), so that no flow starts."""
    backoff: ClassVar[float | None] = None
    """Seconds to stay away after a first 429 that names no moment; None: as long as two requests take."""
    settings_model: ClassVar[type[DestinationSettings]] = DestinationSettings

    def __init__(self, base_url: str, settings: DestinationSettings | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.settings = settings or self.settings_model()

    @property
    def method(self) -> str:
        """How events are sent."""
        return "POST"

    @property
    def terms(self) -> Terms:
        """How this destination may be sent to: as documented, or in the one window that is set in place of these."""
        settings, limits = self.settings, self.limits
        if self._is_set:
            limits = (Limit(settings.requests or limits[0].requests, settings.window_seconds or limits[0].window),)
        return Terms(limits, self.backoff, settings.groups, settings.concurrency)

    @property
    def _is_set(self) -> bool:
        """Whether one window stands in place of those documented."""
        return bool(self.settings.requests or self.settings.window_seconds)

    def build(self, event: Event, credentials: Mapping[str, str]) -> Request:
        """The exact request for one event.

        Raises UndeliverableError naming the fields this provider cannot take, CredentialsError for a secret that lacks
        what the provider needs.
        """
        # Trimmed: HTTP drops white space at an end, so what is hidden must not have it either.
        usable = {key: value for key in self.credentials if (value := _credential(credentials.get(key)))}
        lacking = [key for key in self.credentials if key not in usable]
        if lacking:
            raise CredentialsError(f"secret lacks a usable {', '.join(lacking)}")
        if self.settings.mapping:
            event = self.settings.mapping.apply(event)
        errors: list[FieldError] = []
        if event.backfill and not self.backfills and self.settings.backfill == "refuse":
            errors.append(FieldError("backfill", f"{self.name} {NO_BACKFILL}"))
        payload = self.payload(event, errors)
        if errors:
            raise UndeliverableError(errors, event.id)
        shown = self.auth.show(usable)
        url = f"{self.base_url}{self.where(event, usable)}{'?' * bool(shown.query)}{shown.query}"
        headers = {**shown.headers, **JSON_HEADERS, **self.headers}
        return Request(self.method, url, headers, encode(payload), secrets=shown.secrets)

    def spoiled(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Where its mapping makes an event that this provider takes of nobody, and why not."""
        if self.settings.mapping is None:
            return
        plain = self._wrong_with(event := _plainest(self.name))
        for where, events in self.settings.mapping.each(event):
            found = [[error for error in self._wrong_with(each) if error not in plain] for each in events]
            if all(found):
                yield where, str(found[0][0])

    def _wrong_with(self, event: Event) -> list[FieldError]:
        errors: list[FieldError] = []
        self.payload(event, errors)
        return errors

    @abstractmethod
    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        """The body as JSON-ready data without nulls. Appends to `errors` what this provider cannot take."""

    def where(self, event: Event, credentials: Mapping[str, str]) -> str:  # noqa: ARG002 for others
        """The path, each part of it percent-encoded (`auth.segment`)."""
        return self.path

    def budget(self, reply: Reply, now: float) -> Budget:
        """What the reply says of the account's budget: by default the headers that begin with `quota`, or what the
        IETF's draft calls `RateLimit` and `RateLimit-Policy`, and `Retry-After`, or else what its body has at `waits`.
        No reply raises `requests` that are set. `now` is Unix seconds.
        """
        headers = reply.headers
        quotas = read_prefixed(headers, self.quota, now) if self.quota else read_quotas(headers)
        if self._is_set:
            quotas = tuple(self._within_set(quotas))
        wait = read_wait(headers.get("retry-after"), headers, now)
        if wait is None and self.waits:
            wait = read_wait(str(read_at(reply.body, self.waits)), headers, now)
        return Budget(quotas, retry_after=wait)

    def _within_set(self, quotas: Iterable[Quota]) -> Iterator[Quota]:
        most = self.settings.requests or math.inf
        for quota in quotas:
            window = quota.window
            if window is None:
                # A documented limit is that of its own window, which may be another than the one that is set.
                window = next((limit.window for limit in self.limits if limit.requests == quota.limit), None)
                if window is None and len(self.limits) > 1:
                    continue
            limit = quota.limit if quota.limit is None else int(min(quota.limit, most))
            yield replace(quota, limit=limit, window=window)

    def read(self, answer: Reply | TransportError) -> Outcome:
        """The outcome of an answer, by the provider's rules and then everybody's.

        Where a rule asks for the body and it cannot be read, a success is none that we know of: `unknown`.
        """
        outcome = self._rule(answer).outcome
        if outcome is not Outcome.DELIVERED or not isinstance(answer, Reply):
            return outcome
        if answer.status in range(200, 300) and answer.status not in self.settings.success_statuses:
            return Outcome.REJECTED
        return Outcome.UNKNOWN if any(rule.is_open(answer) for rule in self.rules) else outcome

    def mend(self, answer: Reply) -> str:
        """What an operator can do about a failure, before the event is sent again; empty where nothing is known."""
        return self._rule(answer).mend

    def _rule(self, answer: Reply | TransportError) -> Rule:
        return next(rule for rule in (*self.rules, *RULES) if rule.matches(answer))

    def detail(self, reply: Reply, private: Iterable[str]) -> str:
        """The provider's own words on a failure, without what is `private`, at most 512 bytes; empty where it said
        nothing.
        """
        return shorten(mask(read_words(reply.body, self.says), private), 512)


def _plainest(provider: str) -> Event:
    """An event that says all it can of who it is of, and nothing else."""
    customer = {"email": "ada@example.com", "phone_number": "+15551234567", "id": "1", "provider_ids": {provider: "1"}}
    return Event.model_validate(
        {"id": "1", "source": "x", "type": "x", "occurred_at": "2026-01-01T00:00:00Z", "customer": customer}
    )


def without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have a value: what is absent is not sent."""
    return {name: value for name, value in fields.items() if value is not None}


def encode(payload: Mapping[str, Any]) -> bytes:
    """JSON as it goes out: UTF-8, compact."""
    return _compact(payload).encode()


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


def size(value: Any) -> int:
    """UTF-8 bytes: of text as it is, of anything else as compact JSON."""
    return len(value.encode() if isinstance(value, str) else encode(value))


def _credential(value: object) -> str:
    """A credential without white space around it; empty if it is none."""
    trimmed = value.strip() if isinstance(value, str) else ""
    return trimmed if trimmed.isprintable() else ""
