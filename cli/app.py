"""The command `relay` and its subcommands: each is a plain function of a module beside this one."""

from typing import Annotated

import typer

from cli import VERSION, check, config, connect, dead, forget, hold, outputs, preview, send, status, trace
from cli.command import command

app = typer.Typer(
    name="relay",
    help="See, explain and mend a stack of the customer event relay.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
command(app)(status.status)
command(app)(trace.trace)
command(app)(forget.forget)
command(app)(outputs.outputs)
command(app)(connect.connect)
command(app)(check.check)
command(app)(hold.hold)
command(app)(hold.resume)
command(app)(send.send)
command(app)(preview.preview)

settings = typer.Typer(help="Settings: where events go, and as what.", no_args_is_help=True)
app.add_typer(settings, name="config")
command(settings, "check")(config.check_config)

letters = typer.Typer(help="Dead letters: accepted events that were given up.", no_args_is_help=True)
app.add_typer(letters, name="dead")
command(letters, "list")(dead.list_dead)
command(letters, "show")(dead.show_dead)
command(letters, "redrive")(dead.redrive_dead)
command(letters, "drop")(dead.drop_dead)
command(letters, "collect")(dead.collect_dead)

rejects = typer.Typer(help="Rejects: what was never accepted as an event.", no_args_is_help=True)
app.add_typer(rejects, name="rejected")
command(rejects, "list")(dead.list_rejected)
command(rejects, "show")(dead.show_rejected)
command(rejects, "redrive")(dead.redrive_rejected)
command(rejects, "drop")(dead.drop_rejected)
command(rejects, "collect")(dead.collect_rejected)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"relay {VERSION}")
        raise typer.Exit


@app.callback()
def _before(
    _: Annotated[bool, typer.Option("--version", help="Show it and end.", is_eager=True, callback=_version)] = False,
) -> None:
    """What may stand before a command. (The program's help is above.)"""


def main() -> None:
    """What the entry point runs."""
    app()
