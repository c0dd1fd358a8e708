"""`relay preview`: the exact request that each destination would get. Nothing is sent, no provider is asked."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.json import JSON
from rich.text import Text

from cli.check import ask
from cli.checking import check
from cli.command import Answer, CommandError, Exit
from cli.config import settings_from
from cli.reading import Files, Written, sources
from cli.records import Record
from cli.stack import Relay
from relay.contract.destination import ANY, Destination
from relay.contract.event import Event
from relay.errors import FieldError, UndeliverableError
from relay.providers import PROVIDERS
from relay.providers.base import DestinationSettings, Provider
from relay.settings import Settings

type Request = Mapping[str, Any]
"""`method`, `url`, `headers` and `body`, secrets masked."""


@dataclass(frozen=True)
class Previewed:
    """One event at one destination (none, where the event is none): its request, or why there is none."""

    place: str
    event_id: str = ""
    destination: str = ""
    request: Request | None = None
    skipped: str = ""
    """Why it does not go there: its mapping's `types` or `require`."""
    errors: tuple[FieldError, ...] = ()
    undated: bool = False
    """The event names no moment: it gets that of its acceptance, here that of the preview."""

    @property
    def data(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "event_id": self.event_id or None,
            "destination": self.destination or None,
            "request": self.request,
            "skipped": self.skipped or None,
            "errors": [{"field": error.field, "message": error.message} for error in self.errors],
        }


@dataclass(frozen=True)
class Previews:
    """Makes requests as a relay with these settings would, and with placeholders for its secrets."""

    configured: Sequence[str]
    build: Callable[[Event, Destination], Request]
    """Raises UndeliverableError."""
    settings_of: Callable[[Destination], DestinationSettings]
    only: Sequence[str] = ()
    """In place of where events themselves go."""
    now: Callable[[], float] = field(default=time.time)

    @classmethod
    def offline(cls, only: Sequence[str] = ()) -> "Previews":
        """Of no stack: where each provider is by its documentation, every setting as it is by default."""
        return cls.with_settings(Settings(stage="offline", destinations=_ANYWHERE), only)

    @classmethod
    def with_settings(cls, settings: Settings, only: Sequence[str] = (), relay: Relay | None = None) -> "Previews":
        """Of settings that need not be deployed: at a stack's addresses, or as providers document theirs."""

        def build(event: Event, to: Destination) -> Request:
            kind = PROVIDERS[to.provider]
            address = relay.settings[to.provider].base_url if relay else kind.address
            return built(kind(address, settings.of(to)), event)

        return cls(settings.destinations, build, settings.of, only)

    @classmethod
    def of(cls, relay: Relay, only: Sequence[str] = ()) -> "Previews":
        """Of a stack, by its settings as they are now."""

        def build(event: Event, to: Destination) -> Request:
            settings = relay.settings[to.provider]
            return built(PROVIDERS[to.provider](settings.base_url, settings.of(to)), event)

        return cls(relay.configured, build, lambda to: relay.settings[to.provider].of(to), only)

    @classmethod
    def from_functions(cls, relay: Relay, only: Sequence[str] = ()) -> "Previews":
        """By the stack's own functions, with its real secrets, which they mask."""
        settings = relay.settings
        return cls(
            relay.configured, lambda event, to: _asked(relay, event, to), lambda to: settings[to.provider].of(to), only
        )

    def each(self, record: Record) -> Iterator[Previewed]:
        """One record at each of its destinations."""
        checked = check(record, None if self.only else self.configured)
        if checked.event and self.only:
            told = checked.event.model_copy(update={"destinations": list(self.only)})
            checked = check(replace(record, content=json.loads(told.to_json())), self.configured)
        event, event_id = checked.event, checked.shown_id
        if event is None:
            yield Previewed(record.place, event_id, errors=checked.errors)
            return
        undated = event.occurred_at is None
        moment = event.occurred_at or datetime.fromtimestamp(self.now(), UTC).replace(microsecond=0)
        for each in checked.destinations:
            mapping = self.settings_of(each).mapping
            if mapping and (why := mapping.skips(event)):
                yield Previewed(record.place, event_id, each, skipped=why)
                continue
            of_one = event.model_copy(update={"occurred_at": moment, "destinations": [each]})
            try:
                yield Previewed(record.place, event_id, each, self.build(of_one, each), undated=undated)
            except UndeliverableError as error:
                yield Previewed(record.place, event_id, each, errors=error.errors, undated=undated)


_ANYWHERE = tuple(Destination.of(name, account) for name in PROVIDERS for account in ("main", ANY))


def built(provider: Provider, event: Event) -> Request:
    """The provider's request, with the name of each credential in its place. Raises UndeliverableError."""
    return provider.build(event, {key: key.upper() for key in provider.credentials}).masked()


@dataclass(frozen=True)
class By:
    """Whose settings the requests are built by, and for which destinations."""

    destination: Annotated[
        list[str] | None, typer.Option("--destination", help="Instead of the events' own: provider/account.")
    ] = None
    offline: Annotated[
        bool, typer.Option("--offline", help="Without a stack: documented addresses, default settings.")
    ] = False
    from_function: Annotated[
        bool, typer.Option("--from-function", help="Built by the stack's functions, with its secrets, masked.")
    ] = False
    settings: Annotated[
        Path | None,
        typer.Option("--settings", help="JSON: a value of DestinationSettings to try, in place of the stack's."),
    ] = None


def preview(
    relay: Relay,
    files: Files,
    written: Written,
    by: By,
    first: Annotated[int, typer.Option("--first", help="So many events of each file.", min=1)] = 10,
) -> Answer:
    """Show the exact request that each destination would get.

    Nothing is sent, and no provider is asked.

    Secrets are masked. Without --from-function they are not even read: a name in capitals stands for what they hold.
    """
    if by.offline and by.from_function:
        raise CommandError("--offline or --from-function, not both", Exit.USAGE)
    if by.settings and by.from_function:
        raise CommandError("--settings or --from-function, not both: a function has its own", Exit.USAGE)
    parts, only = sources(files, written.reading), by.destination or ()
    if by.settings:
        given = settings_from(by.settings, ",".join(_ANYWHERE if by.offline else relay.configured))
        previews, told = Previews.with_settings(given, only, None if by.offline else relay), f"By {by.settings}"
    elif by.offline:
        previews, told = Previews.offline(only), "Documented addresses and default settings, no stack"
    elif by.from_function:
        previews, told = Previews.from_functions(relay, only), f"Built by the functions of {relay.where.stack}"
    else:
        previews, told = Previews.of(relay, only), f"By the settings of {relay.where.stack}"
    found: list[Previewed] = []
    shown: list[RenderableType] = []
    for part in parts:
        records = iter(part)
        for record in islice(records, first):
            for each in previews.each(record):
                found.append(each)
                shown.append(_shown(each, part.name))
        if next(records, None):
            shown.append(Text(f"{part.name} holds more: --first says how many are shown.\n", "dim"))
    if not found:
        raise CommandError(f"there is no event in {', '.join(part.name for part in parts)}", Exit.USAGE)
    failed = any(each.errors for each in found)
    shown.append(Text(f"{told}. Nothing was sent.", "dim"))
    return Answer([each.data for each in found], Group(*shown), Exit.FAILED if failed else Exit.OK)


def _asked(relay: Relay, event: Event, to: Destination) -> Request:
    answer = ask(relay, to, json.loads(event.to_json()), dry_run=True)
    if "request" in answer:
        request: Request = answer["request"]
        return request
    raise UndeliverableError([FieldError(each["field"], each["message"]) for each in answer["errors"]], event.id)


def _shown(each: Previewed, file: str) -> RenderableType:
    who = each.event_id or f"{file}, {each.place}"
    head = Text.assemble((who, "bold"), (f" → {each.destination}" if each.destination else "", "bold"))
    if each.skipped:
        return Group(head.append(f": does not go there, {each.skipped}", "yellow"), Text())
    if each.request is None:
        what = "cannot be sent there" if each.destination else "is no event"
        wrong = [Text.assemble("  ", (error.field, "yellow"), f": {error.message}") for error in each.errors]
        return Group(head.append(f": {what}", "red"), *wrong, Text())
    lines = [Text.assemble((each.request["method"], "bold green"), " ", each.request["url"])]
    lines += [Text.assemble((name, "cyan"), f": {value}") for name, value in each.request["headers"].items()]
    if each.undated:
        head.append("  (without occurred_at: it gets the moment of its acceptance)", "dim")
    return Group(head, *lines, Text(), JSON(each.request["body"], indent=2), Text())
