"""What all commands share: which stack, in which form they answer, and how they end."""

import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ProfileNotFound
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress, ProgressColumn
from rich.text import Text

from cli.stack import DEFAULT_STACK, NoStackError, Relay, Where


class Exit(IntEnum):
    """How a command ends."""

    OK = 0
    FAILED = 1
    """Something could not be done; what could is said."""
    USAGE = 2
    """What was asked for makes no sense; nothing was done."""
    DEGRADED = 3
    """The relay works, but not as it should: `status` says what rings."""
    NOT_FOUND = 4
    """What was asked about is not there."""
    INTERRUPTED = 130


class Output(StrEnum):
    """In which form a command answers."""

    TABLE = "table"
    JSON = "json"


class CommandError(Exception):
    """What a person did, or what stands in the way of it, in words for them."""

    def __init__(self, message: str, exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Answer:
    """What a command has to say: `data` for programs, `shown` for people."""

    data: Any
    shown: RenderableType = ""
    exit_code: Exit = Exit.OK
    again: Callable[[], "Answer"] | None = None
    """What whoever watches is shown next; None: nobody does."""


WATCHED_SECONDS = 2.0
"""Between two looks."""

_STACK = "Which stack"

_COMMON: dict[str, Any] = {
    "stack": Annotated[
        str, typer.Option("--stack", envvar="RELAY_STACK", help="CloudFormation's name of it.", rich_help_panel=_STACK)
    ],
    "region": Annotated[str | None, typer.Option("--region", help="AWS region.", rich_help_panel=_STACK)],
    "profile": Annotated[str | None, typer.Option("--profile", help="AWS profile.", rich_help_panel=_STACK)],
    "endpoint_url": Annotated[
        str | None,
        typer.Option("--endpoint-url", help="Where AWS is; else as AWS_ENDPOINT_URL says.", rich_help_panel=_STACK),
    ],
    "output": Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")],
    "as_json": Annotated[bool, typer.Option("--json", help="Short for --output json.")],
}
_DEFAULTS: dict[str, Any] = {
    "stack": DEFAULT_STACK,
    "region": None,
    "profile": None,
    "endpoint_url": None,
    "output": Output.TABLE,
    "as_json": False,
}

WIDE = 160
"""Columns of a table that goes into a file or a pipe."""

# What a provider or a producer wrote is shown as it is: none of it is markup.
_PLAIN: Any = {"highlight": False, "markup": False, "emoji": False}

console = Console(**_PLAIN, width=None if sys.stdout.isatty() else WIDE)
"""For answers."""
beside = Console(**_PLAIN, stderr=True, soft_wrap=True)
"""For progress, questions and errors: an answer in JSON stays one."""


def ask(question: str) -> None:
    """Goes on where a person says yes. Raises CommandError where they do not, and where nobody can be asked."""
    if not sys.stdin.isatty():
        raise CommandError("nobody can be asked here: say --yes", Exit.USAGE)
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was done")


def progress_bar(*columns: ProgressColumn) -> Progress:
    """How far a long piece of work is, beside the answer; nothing where nobody looks on."""
    return Progress(*columns, console=beside, transient=True, disable=not beside.is_terminal)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Makes a command of a function that takes a `Relay`, then its own parameters, and returns an `Answer`.

    Its docstring is the help. A parameter that is a dataclass stands for the options that its fields are. Those that
    say which stack, and how to answer, are added. The function itself stays as it is, to be called in a test.
    """

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        own = list(inspect.signature(function).parameters.values())[1:]
        hints = get_type_hints(function, include_extras=True)
        several = {each.name: hints[each.name] for each in own if is_dataclass(hints[each.name])}

        def run(**given: Any) -> None:
            common = {key: given.pop(key) for key in _COMMON}
            where = Where(*(common[key] for key in ("stack", "region", "profile", "endpoint_url")))
            wanted = Output.JSON if common["as_json"] else common["output"]
            with reported(wanted):
                for key, kind in several.items():
                    given[key] = kind(**{each.name: given.pop(each.name) for each in fields(kind)})
                answer = function(Relay(where), **given)
                if answer.again:
                    watch(answer, wanted)
                show(answer, wanted)
                raise typer.Exit(answer.exit_code)

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            *(
                inspect.Parameter(each.name, keyword, default=each.default, annotation=annotation)
                for kind in several.values()
                for each, annotation in zip(fields(kind), _annotations(kind), strict=True)
            ),
            *(each.replace(kind=keyword, annotation=hints[each.name]) for each in own if each.name not in several),
            *(
                inspect.Parameter(key, keyword, default=_DEFAULTS[key], annotation=annotation)
                for key, annotation in _COMMON.items()
            ),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__doc__ = function.__doc__
        app.command(name or function.__name__.replace("_", "-"))(run)
        return function

    return register


def _annotations(kind: type) -> list[Any]:
    hints = get_type_hints(kind, include_extras=True)
    return [hints[each.name] for each in fields(kind)]


def show(answer: Answer, wanted: Output) -> None:
    """The answer on standard output: JSON as one document, for people as they see it."""
    if wanted is Output.JSON:
        json.dump(answer.data, sys.stdout, indent=2, ensure_ascii=False, default=str)
        sys.stdout.write("\n")
    elif answer.shown:
        console.print(answer.shown)


def watch(answer: Answer, wanted: Output) -> NoReturn:
    """Shows one answer after the other until Ctrl-C: for people in one place, as JSON one a line."""
    try:
        if wanted is Output.JSON or not console.is_terminal:
            _write_on(answer, wanted)
        with Live(answer.shown, console=console, screen=True, auto_refresh=False) as live:
            while answer.again:
                live.update(answer.shown, refresh=True)
                time.sleep(WATCHED_SECONDS)
                answer = answer.again()
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    raise typer.Exit(answer.exit_code)


def _write_on(answer: Answer, wanted: Output) -> None:
    while True:
        if wanted is Output.JSON:
            sys.stdout.write(json.dumps(answer.data, ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()
        else:
            console.print(answer.shown, "")
        if answer.again is None:
            return
        time.sleep(WATCHED_SECONDS)
        answer = answer.again()


@contextmanager
def reported(wanted: Output) -> Iterator[None]:
    """Ends the command with a line in place of a traceback, for all that a person or a network did."""
    try:
        yield
    except CommandError as error:
        _end(str(error), wanted, error.exit_code)
    except NoStackError as error:
        _end(str(error), wanted, Exit.USAGE)
    except KeyboardInterrupt:
        _end("interrupted", wanted, Exit.INTERRUPTED)
    except typer.Abort:
        # At a question.
        beside.print()
        _end("interrupted, nothing was done", wanted, Exit.INTERRUPTED)
    except (NoCredentialsError, NoRegionError, ProfileNotFound) as error:
        said = str(error).rstrip(".")
        _end(f"{said}: set up AWS as for its own command line, or name a --profile and a --region", wanted, Exit.USAGE)
    except ClientError as error:
        told = error.response.get("Error", {})
        _end(f"AWS refused {error.operation_name}: {told.get('Code')}: {told.get('Message')}", wanted, Exit.FAILED)
    except BotoCoreError as error:
        _end(f"AWS could not be asked: {error}", wanted, Exit.FAILED)


def _end(message: str, wanted: Output, exit_code: Exit) -> NoReturn:
    if wanted is Output.JSON:
        json.dump({"error": message}, sys.stdout)
        sys.stdout.write("\n")
    beside.print(Text("relay: ", style="red").append(message, style="default"))
    raise typer.Exit(exit_code)
