"""`relay config check`: what a stack's settings say, and everything that is wrong with them, before it is deployed."""

import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.command import Answer, CommandError, Exit
from cli.stack import Relay
from relay.contract.destination import ANY, Destination
from relay.contract.fields import message
from relay.errors import FieldError
from relay.providers import PROVIDERS
from relay.settings import Settings, SettingsError

EVERY_DESTINATION = ",".join(Destination.of(name, ANY) for name in PROVIDERS)
"""Where nobody says which there are."""

SURE_TO_FIT = 2_500
"""Characters of names and settings together: Lambda has 4 KB for all variables of a function."""

NONE = "\N{EN DASH}"

_PARAMETERS = {"destinations": "Destinations", "destination_settings": "DestinationSettings"}


@dataclass(frozen=True)
class Config:
    """The two parameters of a stack that say where events go, as text, and `where` they were read."""

    where: str
    destinations: str = EVERY_DESTINATION
    settings: str = "{}"

    @classmethod
    def of_stack(cls, relay: Relay) -> "Config":
        """As it was deployed."""
        given = relay.parameters
        return cls(relay.where.stack, given.get("Destinations", ""), given.get("DestinationSettings", "{}"))

    @classmethod
    def of_file(cls, path: Path) -> "Config":
        """A JSON file with the value of `DestinationSettings`. Raises CommandError."""
        return cls(str(path), settings=_read(path))

    @classmethod
    def of_samconfig(cls, path: Path, stage: str) -> "Config":
        """The overrides that a table of samconfig.toml deploys with. Raises CommandError."""
        try:
            tables = tomllib.loads(_read(path))
        except tomllib.TOMLDecodeError as error:
            raise CommandError(f"{path} is no TOML: {error}", Exit.USAGE) from None
        try:
            overrides = tables[stage]["deploy"]["parameters"].get("parameter_overrides", [])
        except (KeyError, TypeError, AttributeError):
            missing = f"{path} has no [{stage}.deploy.parameters]: name yours with --config-env"
            raise CommandError(missing, Exit.USAGE) from None
        given = dict(_overrides(overrides))
        return cls(
            f"{path}, {stage}",
            given.get("Destinations", EVERY_DESTINATION),
            given.get("DestinationSettings", "{}"),
        )

    def read(self) -> tuple[Settings | None, list[FieldError]]:
        """As the functions read it; or all that is wrong with it, at its path."""
        try:
            given = {"stage": "check", "destinations": self.destinations, "destination_settings": self.settings}
            return Settings.model_validate(given), []
        except ValidationError as error:
            return None, [found for each in error.errors(include_input=False) for found in _errors(each)]

    @property
    def size(self) -> int:
        """Characters."""
        return len(self.destinations) + len(self.settings)


@dataclass(frozen=True)
class From:
    """Where the settings are read: in place of what is deployed."""

    settings: Annotated[
        Path | None, typer.Option("--settings", help="JSON: a value of DestinationSettings, deployed or not.")
    ] = None
    samconfig: Annotated[Path | None, typer.Option("--samconfig", help="A samconfig.toml, with its overrides.")] = None
    config_env: Annotated[str, typer.Option("--config-env", help="Which table of it.")] = "default"
    destinations: Annotated[
        str, typer.Option("--destinations", metavar="LIST", help="Instead of the Destinations found.")
    ] = ""

    @property
    def is_the_stack(self) -> bool:
        return self.settings is None and self.samconfig is None

    def config(self, relay: Relay) -> Config:
        """What is found there. Raises CommandError."""
        if self.settings and self.samconfig:
            raise CommandError("--settings or --samconfig, not both", Exit.USAGE)
        if self.settings:
            found = Config.of_file(self.settings)
        elif self.samconfig:
            found = Config.of_samconfig(self.samconfig, self.config_env)
        else:
            found = Config.of_stack(relay)
        return replace(found, destinations=self.destinations) if self.destinations else found


def check_config(relay: Relay, source: From) -> Answer:
    """Check settings before they are deployed, and say what goes where.

    By default those of the stack; --settings and --samconfig name others. Every error is told with its path.
    """
    config = source.config(relay)
    settings, errors = config.read()
    if settings is None:
        wrong: list[RenderableType] = [Text.assemble((each.field, "yellow"), f": {each.message}") for each in errors]
        data = {"where": config.where, "errors": [{"field": each.field, "message": each.message} for each in errors]}
        ends = Text(f"{config.where}: {len(errors)} wrong. The functions would not start with it.", "red")
        return Answer(data, Group(*wrong, ends), Exit.FAILED)
    rows = [_row(settings, name) for name in _named(settings)]
    table = Table(box=None, header_style="bold")
    for title in ("DESTINATION", "TYPES", "REQUIRES", "CHANGES"):
        table.add_column(title, overflow="fold")
    for row in rows:
        types, changes = ", ".join(row["types"]) or "all", "\n".join(row["changes"]) or NONE
        table.add_row(row["destination"], types, row["require"] or NONE, changes)
    shown: list[RenderableType] = [table, Text(f"{config.where}: right.", "dim")]
    if config.size > SURE_TO_FIT:
        told = f"{config.size:,} characters of names and settings"
        shown.append(Text(f"{told}: beyond {SURE_TO_FIT:,} they may not fit into Lambda's 4 KB.", "yellow"))
    return Answer({"where": config.where, "errors": [], "destinations": rows, "characters": config.size}, Group(*shown))


def _row(settings: Settings, name: str) -> dict[str, Any]:
    mapping = settings.of(name).mapping
    return {
        "destination": name,
        "types": list(mapping.types or ()) if mapping else [],
        "require": mapping.require if mapping else None,
        "changes": mapping.told if mapping else [],
    }


def _named(settings: Settings) -> list[str]:
    """The stack's destinations, and the accounts of `provider/*` that have settings of their own."""
    own = (name for name in settings.destination_settings if Destination(name).account)
    return list(dict.fromkeys([*settings.destinations, *own]))


def _errors(error: Any) -> Iterator[FieldError]:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SettingsError):
        yield from cause.errors
    else:
        first, *below = error["loc"]
        what = str(cause) if cause else message(error)
        yield FieldError(".".join(map(str, (_PARAMETERS.get(first, first), *below))), what)


def _overrides(given: str | Sequence[str]) -> Iterator[tuple[str, str]]:
    """`Name=value`, each value as SAM takes it: quoted or not."""
    for each in shlex.split(given) if isinstance(given, str) else given:
        name, _, value = each.partition("=")
        yield name, value if value.startswith("{") else "".join(shlex.split(value))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{path}: {getattr(error, 'strerror', None) or 'is no text'}", Exit.USAGE) from None


def settings_from(path: Path, destinations: str = EVERY_DESTINATION) -> Settings:
    """The settings in a file. Raises CommandError with all that is wrong with them."""
    config = replace(Config.of_file(path), destinations=destinations)
    settings, errors = config.read()
    if settings is None:
        raise CommandError(f"{path}: {'; '.join(map(str, errors))}", Exit.USAGE)
    return settings
