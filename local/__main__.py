"""``python -m local up`` leaves the stack running; ``python -m local down`` ends it and removes all it wrote."""

import argparse
import sys

from rich.text import Text

from local.environment import OWN
from local.interrupts import Interrupted, raised
from local.places import ROOT, STATE, locked
from local.processes import CommandError
from local.stack import load, start_stack, stop_stack
from local.steps import Steps, terminal

_BASE_URLS = {"YotpoBaseUrl": "YOTPO_BASE_URL", "SenderBaseUrl": "SENDER_BASE_URL"}


def up(steps: Steps) -> int:
    """Start the stack, unless it runs."""
    stack = load()
    if stack:
        steps.say("the stack is up already", "make down ends it")
    else:
        if STATE.exists():
            stop_stack(STATE)
        given = {name: url for name, variable in _BASE_URLS.items() if (url := OWN.get(variable))}
        stack = start_stack(STATE, steps, given)
    steps.console.print(
        f"\n   AWS endpoint     {stack.endpoint_url}   (region {stack.region}, any credentials)"
        f"\n   provider sandbox {stack.sandbox_url}   (requests at /_sandbox/requests)"
        f"\n   outputs          {(STATE / 'stack.json').relative_to(ROOT)}"
        "\n   try              make invoke EVENT=events/direct-order-shipped.json\n",
        highlight=False,
    )
    return 0


def down(steps: Steps) -> int:
    """End the stack's processes, and only those."""
    if not STATE.exists():
        steps.say("the stack is not up")
        return 0
    steps.say("the stack is down", f"{stop_stack(STATE)} processes ended, .local removed")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    command = {"up": up, "down": down}[parser.parse_args().command]
    console = terminal()
    try:
        with raised(), locked(ROOT / "local", wait=False):
            return command(Steps(console))
    except BlockingIOError:
        console.print("[red]another make up or make down is under way[/]")
    except CommandError as error:
        console.print("[red]failed:[/]", Text(str(error)), highlight=False)
    except Interrupted:
        console.print("[yellow]interrupted:[/] nothing was left behind")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
