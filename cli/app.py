"""The command `relay` and its subcommands: each is a plain function of a module beside this one."""

import typer

from cli import outputs
from cli.command import command

app = typer.Typer(
    name="relay",
    help="See, explain and mend a stack of the customer event relay.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

command(app)(outputs.outputs)


@app.callback()
def _root() -> None:
    """Keeps Typer from taking a single command for the whole program."""


def main() -> None:
    """The entry point."""
    app()
