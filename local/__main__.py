"""``python -m local``: ``up`` leaves the stack running, ``down`` ends it, ``shell-env`` turns a shell to it."""

import argparse
import sys

from rich.text import Text

from local.machine import OWN, ROOT, STATE, locked
from local.processes import CommandError, Interrupted, raised
from local.shell import credential_lines, output_lines
from local.stack import base_url_parameter, load, start_stack, stop_stack
from local.steps import Steps, terminal
from relay.providers import PROVIDERS

_HOLD_SECONDS = "20"
"""Who plays with a revoked token on the page waits so long, not five minutes, once the token is back."""
_BASE_URLS = {base_url_parameter(name): f"{name.upper()}_BASE_URL" for name in PROVIDERS}


def up(steps: Steps) -> int:
    """Start the stack, unless it runs."""
    stack = load()
    if stack:
        steps.say("the stack is up already", "make down ends it")
    else:
        if STATE.exists():
            stop_stack(STATE)
        given = {"HoldSeconds": _HOLD_SECONDS}
        given |= {name: url for name, variable in _BASE_URLS.items() if (url := OWN.get(variable))}
        stack = start_stack(STATE, steps, given)
    lines = "".join(f"   {line}\n" for line in credential_lines(stack))
    steps.console.print(
        f"\n   page             {stack.sandbox_url}/"
        f"\n   outputs          {(STATE / 'stack.json').relative_to(ROOT)}"
        f"\n   provider sandbox {stack.sandbox_url}/_sandbox/requests"
        "\n   try              make invoke EVENT=events/direct-order-shipped.json"
        f"\n\n The AWS CLI and any SDK speak to it after these lines:\n\n{lines}"
        '\n or after eval "$(make -s shell-env)", which sets the outputs too: $IntakeQueueUrl, $EventBusName …\n',
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return 0


def down(steps: Steps) -> int:
    """End the stack's processes, and only those."""
    if not STATE.exists():
        steps.say("the stack is not up")
        return 0
    steps.say("the stack is down", f"{stop_stack(STATE)} processes ended, .local removed")
    return 0


def shell_env() -> int:
    """Write the lines to standard output; nothing, where there is no stack."""
    stack = load()
    if stack is None:
        print("the stack is not up: start it with make up", file=sys.stderr)
        return 1
    print("\n".join(credential_lines(stack) + output_lines(stack)))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "shell-env"])
    asked = parser.parse_args().command
    if asked == "shell-env":
        return shell_env()
    command = {"up": up, "down": down}[asked]
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
