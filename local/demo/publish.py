"""Puts the files of ``events/`` through the doors they are named for."""

import json
from typing import Any

from local.invoke import function_for, invoke
from local.places import ROOT
from local.stack import Stack


class PublishError(Exception):
    """A door did not take what was published."""


def publish(stack: Stack, file: str) -> Any:
    """Publish ``events/<file>.json`` by its door. Returns the answer of a direct call, None for the other doors."""
    content = json.loads((ROOT / "events" / f"{file}.json").read_text())
    match file.partition("-")[0]:
        case "eventbridge":
            return _put_on_bus(stack, content)
        case "sqs":
            for record in content["Records"]:
                stack.clients.sqs.send_message(QueueUrl=stack.outputs["IntakeQueueUrl"], MessageBody=record["body"])
            return None
        case _:
            function = function_for(content, stack.outputs)
            answered, answer = invoke(stack.clients, function, content)
            if not answered:
                raise PublishError(f"{function} failed on events/{file}.json: {answer}")
            return answer


def _put_on_bus(stack: Stack, envelope: dict[str, Any]) -> None:
    reply = stack.clients.events.put_events(
        Entries=[
            {
                "EventBusName": stack.outputs["EventBusName"],
                "Source": envelope["source"],
                "DetailType": envelope["detail-type"],
                "Detail": json.dumps(envelope["detail"]),
            }
        ]
    )
    if reply["FailedEntryCount"]:
        raise PublishError(f"the event bus refused an entry: {reply['Entries']}")
