"""Shows a person what is being done and how long it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

WIDTH = 100


def terminal() -> Console:
    """Where a person reads along: at most 100 columns, and that many where the output is no terminal."""
    console = Console()
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    return console


class Steps:
    """Writes one line for each step done; a spinner shows the one under way where the output is a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Inside, ``text`` is under way. It is written down only if it ends well."""
        begun = time.monotonic()
        with self.console.status(f"{text} …"):
            yield
        self.say(text, f"{time.monotonic() - begun:5.1f} s")

    def say(self, text: str, detail: str = "") -> None:
        """One line of its own."""
        self.console.print(f" [green]✓[/] {text:<58}[dim]{detail}[/]", highlight=False)
