"""What every provider says of itself: how an event becomes a request, how a reply is read, what its limits are."""

import json
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from relay.contract.event import Event
from relay.errors import CredentialsError, FieldError, NotSentError, TransportError, UndeliverableError
from relay.masking import mask, shorten
from relay.outcome import Outcome
from relay.ports import Reply, Request
from relay.providers.checks import Check
from relay.providers.limits import Budget, Limit, Terms, read_count, read_quotas, read_wait

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
    backfill: Literal["refuse", "send"] = "refuse"
    """What becomes of an event that is history, where the provider cannot be told that it is."""


@dataclass(frozen=True, slots=True)
class Rule:
    """If a reply (or the lack of one) matches, this is the outcome. The first rule that matches decides."""

    outcome: Outcome
    statuses: Container[int] | None = None
    body: Mapping[str, Any] | None = None
    error: type[TransportError] | None = None

    def matches(self, answer: Reply | TransportError) -> bool:
        if isinstance(answer, TransportError):
            return self.error is not None and isinstance(answer, self.error)
        if self.error is not None or (self.statuses is not None and answer.status not in self.statuses):
            return False
        if self.body is None:
            return True
        said = _said(answer)
        return said is not None and self.body.items() <= said.items()

    def is_open(self, reply: Reply) -> bool:
        """Whether it would take the body to know if this matches, and nobody can read what the body says."""
        return (
            self.body is not None
            and self.error is None
            and (self.statuses is None or reply.status in self.statuses)
            and _said(reply) is None
        )


RULES = (
    Rule(Outcome.RETRY, error=NotSentError),
    Rule(Outcome.UNKNOWN, error=TransportError),
    Rule(Outcome.DELIVERED, range(200, 300)),
    Rule(Outcome.UNAUTHORIZED, (401, 403)),
    Rule(Outcome.THROTTLED, (429,)),
    Rule(Outcome.RETRY, (408, 425)),
    Rule(Outcome.REJECTED, range(400, 500)),
    # A redirect or a status nobody defined is a wrong address or a broken proxy: keep the event, try again.
    Rule(Outcome.RETRY),
)
"""How every HTTP provider is read, after its own rules."""


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
    overrides_by_id: ClassVar[bool]
    """True where the provider overwrites an event with the same id: other content is then an update, not an error."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    backfills: ClassVar[bool] = False
    """True where the provider can be told that an event is history (`event.backfill`), so that no flow starts."""
    backoff: ClassVar[float | None] = None
    """Seconds to stay away after a first 429 that names no moment; None: as long as two requests take."""
    settings_model: ClassVar[type[DestinationSettings]] = DestinationSettings

    def __init__(self, base_url: str, settings: DestinationSettings | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.settings = settings or self.settings_model()

    @property
    def terms(self) -> Terms:
        """How this destination may be sent to: as documented, or in the one window that is set in place of these."""
        settings, limits = self.settings, self.limits
        if settings.requests or settings.window_seconds:
            limits = (Limit(settings.requests or limits[0].requests, settings.window_seconds or limits[0].window),)
        return Terms(limits, self.backoff, settings.groups, settings.concurrency)

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
        errors: list[FieldError] = []
        if event.backfill and not self.backfills and self.settings.backfill == "refuse":
            errors.append(FieldError("backfill", f"{self.name} {NO_BACKFILL}"))
        payload = self.payload(event, errors)
        if errors:
            raise UndeliverableError(errors, event.id)
        return self.request(encode(payload), usable)

    @abstractmethod
    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        """The body as JSON-ready data without nulls. Appends to `errors` what this provider cannot take."""

    @abstractmethod
    def request(self, body: bytes, credentials: Mapping[str, str]) -> Request:
        """Address, headers and token around the body."""

    def budget(self, reply: Reply, now: float) -> Budget:
        """What the reply's headers say of the account's budget: by default what the IETF's draft calls `RateLimit` and
        `RateLimit-Policy`, and `Retry-After`. `now` is Unix seconds.
        """
        headers = reply.headers
        return Budget(read_quotas(headers), retry_after=read_wait(headers.get("retry-after"), headers, now))

    def read(self, answer: Reply | TransportError) -> Outcome:
        """The outcome of an answer, by the provider's rules and then everybody's.

        Where a rule asks for the body and it cannot be read, a success is none that we know of: `unknown`.
        """
        outcome = next(rule.outcome for rule in (*self.rules, *RULES) if rule.matches(answer))
        if outcome is not Outcome.DELIVERED or not isinstance(answer, Reply):
            return outcome
        if answer.status not in self.settings.success_statuses:
            return Outcome.REJECTED
        return Outcome.UNKNOWN if any(rule.is_open(answer) for rule in self.rules) else outcome

    def detail(self, reply: Reply, private: Iterable[str]) -> str:
        """The provider's own words on a failure, without what is `private`, at most 512 bytes; empty where it said
        nothing.
        """
        said = read_object(reply.body)
        parts = [part for key in ("message", "error", "status", "errors") for part in _words(said.get(key))]
        return shorten(mask("; ".join(parts), private), 512)


def _words(said: object, depth: int = 4) -> Iterator[str]:
    """What a provider says of a failure: text, a list of texts, objects with a `message`, or texts by field."""
    match said:
        case str():
            yield said
        case list() if depth:
            for each in said:
                yield from _words(each, depth - 1)
        case {"message": str(message)}:
            yield message
        case dict() if depth:
            for field, why in said.items():
                if words := " ".join(_words(why, depth - 1)):
                    yield f"{field}: {words}"


def encode(payload: Mapping[str, Any]) -> bytes:
    """JSON as it goes out: UTF-8, compact."""
    return _compact(payload).encode()


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


def read_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a reply's body; empty for anything else."""
    return _parse(body) or {}


def _said(reply: Reply) -> Mapping[str, Any] | None:
    """The object in a reply's body, empty if it is something else; None if that cannot be known."""
    return _parse(reply.body) if reply.complete else None


@lru_cache(maxsize=1)
def _parse(body: bytes) -> Mapping[str, Any] | None:
    """What a body says. Each rule asks anew, so the last one is kept; it is everybody's: change nothing in it."""
    # Read as kindly as can be: what a provider says counts, not how well it writes JSON.
    encoding = json.detect_encoding(body)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        # Some still answer in Latin-1; with letters replaced, no mask would know a customer's name.
        text = body.decode("latin-1") if encoding == "utf-8" else body.decode(encoding, "replace")
    try:
        value = json.loads(text, strict=False, parse_int=float)
    except (ValueError, RecursionError):
        # Broken off, or beyond our reader, is an object that we do not know; a web page is none.
        return None if text.lstrip().startswith("{") else {}
    return value if isinstance(value, dict) else {}


def size(value: Any) -> int:
    """UTF-8 bytes: of text as it is, of anything else as compact JSON."""
    return len(value.encode() if isinstance(value, str) else encode(value))


def _credential(value: object) -> str:
    """A credential without white space around it; empty if it is none."""
    trimmed = value.strip() if isinstance(value, str) else ""
    return trimmed if trimmed.isprintable() else ""


__all__ = [
    "JSON_HEADERS",
    "RULES",
    "DestinationSettings",
    "Provider",
    "Rule",
    "encode",
    "read_count",
    "read_object",
    "read_wait",
    "size",
]
