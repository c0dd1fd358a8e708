"""``python -m local.invoke events/x.json`` calls the function that the file is for, and shows its answer."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.json import JSON
from rich.text import Text

from local.clients import Clients
from local.stack import load


def function_for(call: Any, outputs: Mapping[str, str]) -> str:
    """The name of the function that ``call`` is for: deliver if it names a destination beside an event, else intake."""
    if isinstance(call, dict) and {"destination", "event"} <= call.keys():
        provider = str(call["destination"]).partition("/")[0]
        return outputs.get(f"{provider.capitalize()}FunctionName", outputs["YotpoFunctionName"])
    return outputs["IntakeFunctionName"]


def invoke(clients: Clients, function: str, call: Any) -> tuple[bool, Any]:
    """Call the function and wait. Returns whether it answered, and its answer or its error."""
    reply = clients.functions.invoke(FunctionName=function, Payload=json.dumps(call).encode())
    return "FunctionError" not in reply, json.loads(reply["Payload"].read() or "null")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.invoke", description=__doc__)
    parser.add_argument("event", type=Path, help="a JSON file, such as events/direct-order-shipped.json")
    path = parser.parse_args().event
    console, problems = Console(), Console(stderr=True)
    try:
        call = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        problems.print("[red]cannot be read:[/]", Text(f"{path}: {error}"))
        return 1
    stack = load()
    if stack is None:
        problems.print("[red]the stack is not up:[/] start it with [bold]make up[/]")
        return 1
    function = function_for(call, stack.outputs)
    answered, answer = invoke(stack.clients, function, call)
    console.print(f"[green]✓[/] {function} answered" if answered else f"[red]✗ {function} failed[/]", highlight=False)
    console.print(JSON.from_data(answer))
    return 0 if answered else 1


if __name__ == "__main__":
    sys.exit(main())
