"""``python -m local.invoke events/x.json``: one file put in as it is meant to come, and what became of its events.

On a terminal: the answer and tables. Into a pipe: one JSON object on standard output, ``{"way", "to", "answer",
"events": [{"event_id", "destination", "outcome", …}], "requests"}``, and the talk on standard error. Ends with 0 if
every event was delivered (or had been before), else with 1.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.json import JSON
from rich.text import Text

from local.clients import Clients
from local.fates import Fate, Watch, expected_ids
from local.machine import STATE
from local.sandbox.client import SandboxClient
from local.show import show_fates, show_requests
from local.stack import Stack, load
from local.steps import terminal
from relay.contract.destination import Destination

PATIENCE_SECONDS = 60.0


class NotTakenError(Exception):
    """What was handed over was not taken, or there is nobody to hand it to."""


@dataclass(frozen=True)
class Entered:
    """``way`` is ``SQS``, ``EventBridge``, ``direct`` or ``deliver``; ``to`` names the function, queue or bus.

    ``answer`` is a function's, None where nobody answers.
    """

    way: str
    to: str
    answer: Any = None


def function_for(call: Any, outputs: Mapping[str, str]) -> str:
    """The name of the function that ``call`` is for: deliver if it names a destination beside an event, else intake.

    Raises NotTakenError for a provider that the stack does not have.
    """
    if not is_for_deliver(call):
        return outputs["IntakeFunctionName"]
    provider = Destination(call["destination"]).provider
    end = "FunctionName"
    functions = {
        name.removesuffix(end).lower(): value
        for name, value in outputs.items()
        if name.endswith(end) and name != f"Intake{end}"
    }
    if provider not in functions:
        known = ", ".join(functions)
        raise NotTakenError(f'no function delivers to "{call["destination"]}"; the providers are {known}')
    return functions[provider]


def is_for_deliver(call: Any) -> bool:
    """Whether it is a direct call of deliver."""
    return isinstance(call, dict) and {"destination", "event"} <= call.keys()


def invoke(clients: Clients, function: str, call: Any) -> tuple[bool, Any]:
    """Call the function and wait. Returns whether it answered, and its answer or its error."""
    reply = clients.functions.invoke(FunctionName=function, Payload=json.dumps(call).encode())
    return "FunctionError" not in reply, json.loads(reply["Payload"].read() or "null")


def enter(stack: Stack, content: Any) -> Entered:
    """Put what a file of ``events/`` holds in, the way it is written for. Raises NotTakenError."""
    if _is_queued(content):
        url = stack.outputs["IntakeQueueUrl"]
        for record in content["Records"]:
            stack.clients.sqs.send_message(QueueUrl=url, MessageBody=record["body"], **_attributes(record))
        return Entered("SQS", url)
    if isinstance(content, dict) and {"detail-type", "detail", "source"} <= content.keys():
        return _put_on_bus(stack, content)
    function = function_for(content, stack.outputs)
    answered, answer = invoke(stack.clients, function, content)
    if not answered:
        raise NotTakenError(f"{function} failed: {json.dumps(answer)}")
    return Entered("deliver" if is_for_deliver(content) else "direct", function, answer)


def _is_queued(content: Any) -> bool:
    records = content.get("Records") if isinstance(content, dict) else None
    return isinstance(records, list) and all(
        isinstance(one, dict) and one.get("eventSource") == "aws:sqs" and isinstance(one.get("body"), str)
        for one in records
    )


def _attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of a record as Lambda gets it, as SQS takes them."""
    texts = {
        name: {"DataType": each["dataType"], "StringValue": each["stringValue"]}
        for name, each in (record.get("messageAttributes") or {}).items()
        if each.get("stringValue")
    }
    return {"MessageAttributes": texts} if texts else {}


def _put_on_bus(stack: Stack, envelope: dict[str, Any]) -> Entered:
    bus = stack.outputs["EventBusName"]
    reply = stack.clients.events.put_events(
        Entries=[
            {
                "EventBusName": bus,
                "Source": envelope["source"],
                "DetailType": envelope["detail-type"],
                "Detail": json.dumps(envelope["detail"]),
            }
        ]
    )
    if reply["FailedEntryCount"]:
        raise NotTakenError(f"the event bus refused an entry: {reply['Entries']}")
    return Entered("EventBridge", bus)


def follow(content: Any, entered: Entered, watch: Watch, patience: float) -> list[Fate]:
    """What became of each event at each destination, when all have ended or ``patience`` seconds are over."""
    if entered.way == "deliver":
        return [] if entered.answer.get("dry_run") else [Fate.of_answer(content, entered.answer)]
    return watch.until_ended(expected_ids(content), patience)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.invoke", description=__doc__.partition("\n")[0])
    parser.add_argument("event", type=Path, help="a JSON file, such as events/direct-order-shipped.json")
    parser.add_argument("--seconds", type=float, default=PATIENCE_SECONDS, help="how long to wait for deliveries")
    asked = parser.parse_args()
    piped = not sys.stdout.isatty()
    talk = Console(stderr=True, width=100) if piped else terminal()
    stack = load()
    if stack is None:
        talk.print("[red]the stack is not up:[/] start it with [bold]make up[/]")
        return 1
    try:
        content = json.loads(asked.event.read_text())
        sandbox, watch = SandboxClient(stack.sandbox_url), Watch(STATE / "emulator.log")
        before = len(sandbox.requests())
        entered = enter(stack, content)
    except (OSError, ValueError) as error:
        talk.print("[red]cannot be read:[/]", Text(f"{asked.event}: {error}"), highlight=False, soft_wrap=True)
        return 1
    except NotTakenError as error:
        talk.print("[red]not taken:[/]", Text(str(error)), highlight=False, soft_wrap=True)
        return 1
    talk.print(f" [green]✓[/] {entered.way}: {entered.to}", highlight=False)
    if entered.answer is not None and not piped:
        talk.print(JSON.from_data(entered.answer), soft_wrap=True)
    with talk.status("waiting for the deliveries …"):
        fates = follow(content, entered, watch, asked.seconds)
    requests = sandbox.requests(after=before)
    show_fates(talk, fates, entered.way)
    show_requests(talk, requests)
    if piped:
        found = asdict(entered) | {"events": [asdict(fate) for fate in fates], "requests": requests}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0 if all(fate.fine for fate in fates) and _was_built(entered) else 1


def _was_built(entered: Entered) -> bool:
    # A dry run that cannot be built answers as a delivery that was rejected.
    return entered.way != "deliver" or bool(entered.answer.get("dry_run")) or entered.answer.get("outcome") is not None


if __name__ == "__main__":
    sys.exit(main())
