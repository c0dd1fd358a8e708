"""`relay outputs`: what the stack is made of."""

from rich.table import Table

from cli.command import Answer
from cli.stack import Relay


def outputs(relay: Relay) -> Answer:
    """The stack's queues, functions and tables, by the names of its outputs."""
    shown = Table(box=None, header_style="bold")
    shown.add_column("OUTPUT")
    shown.add_column("VALUE", overflow="fold")
    for name, value in sorted(relay.outputs.items()):
        shown.add_row(name, value)
    return Answer(relay.outputs, shown)
