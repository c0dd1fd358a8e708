"""The options that say how files of events are written: the same wherever a file is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from cli.columns import KINDS, ColumnMap
from cli.command import CommandError, Exit
from cli.records import Format, Reading, Source

_PANEL = "How the files are written"

Files = Annotated[list[str], typer.Argument(help="JSON, JSON lines or CSV; - is standard input.", show_default=False)]


@dataclass(frozen=True)
class Written:
    """How the files are written, as far as somebody says it."""

    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD[:KIND]=COLUMN",
            help=f"Which column of a CSV file is which field; =@… is a constant. Kinds: {', '.join(KINDS)}.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    map_file: Annotated[
        Path | None, typer.Option("--map-file", help="The same in a TOML or JSON file.", rich_help_panel=_PANEL)
    ] = None
    written_as: Annotated[
        Format | None,
        typer.Option("--format", help="Else by the file's name, or by what it holds.", rich_help_panel=_PANEL),
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", help="Such as cp1252. Else UTF-8, or UTF-16 with its mark.", rich_help_panel=_PANEL),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", help="Of CSV, or tab. Else what divides the header.", rich_help_panel=_PANEL),
    ] = None
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", help="Of CSV's moments without an offset: Europe/Berlin.", rich_help_panel=_PANEL),
    ] = None

    @property
    def reading(self) -> Reading:
        """How they are to be read. Raises CommandError."""
        try:
            zone = ZoneInfo(self.timezone) if self.timezone else None
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise CommandError(
                f"there is no time zone {self.timezone}: name one such as Europe/Berlin", Exit.USAGE
            ) from None
        delimiter = "\t" if self.delimiter in ("tab", "\\t") else self.delimiter
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise CommandError("--delimiter is one character, such as ; or tab", Exit.USAGE)
        columns = ColumnMap.read(self.columns or (), self.map_file, zone)
        return Reading(self.written_as, self.encoding, delimiter, columns)


def sources(files: Sequence[str], read_as: Reading) -> list[Source]:
    """The files, none of them twice. Raises CommandError for one that cannot be read."""
    if twice := sorted({name for name in files if files.count(name) > 1}):
        raise CommandError(f"{twice[0]} is named twice", Exit.USAGE)
    try:
        return [Source(name, read_as) for name in files]
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", Exit.USAGE) from None
