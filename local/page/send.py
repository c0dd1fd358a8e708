"""Puts an event into the stack by one of the three ways, once or many times."""

import json
from copy import deepcopy
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local.invoke import NotTakenError, enter
from local.machine import ROOT
from local.stack import Stack
from relay.handlers.records import content_of

type Json = dict[str, Any]

MOST = 200


class Order(BaseModel):
    """``text`` goes in so many times. ``fresh``: each copy gets an id of its own, which begins with the one it has."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=1024 * 1024)
    way: Literal["queue", "bus", "direct"] = "queue"
    copies: int = Field(default=1, ge=1, le=MOST)
    fresh: str = Field(default="", pattern=r"^[a-z0-9]{0,16}$")
    """What goes behind the id of each copy, with its number; empty: they go in as they are."""


def send(stack: Stack, order: Order) -> Json:
    """Carry the order out. Raises NotTakenError, where only a queue takes what is no JSON."""
    if order.way == "queue":
        records = [{"eventSource": "aws:sqs", "body": text} for text in _texts(order)]
        entered = enter(stack, {"Records": records})
        return {"way": entered.way, "sent": len(records), "answer": None}
    try:
        contents = [json.loads(text) for text in _texts(order)]
    except ValueError as error:
        raise NotTakenError(f"is no JSON, which only the queue takes: {error}") from None
    if order.way == "direct":
        entered = enter(stack, {"events": contents})
        return {"way": entered.way, "sent": len(contents), "answer": entered.answer}
    for content in contents:
        if not isinstance(content, dict):
            raise NotTakenError("is no JSON object, which is all that the event bus takes")
        enter(stack, {"source": "page", "detail-type": "customer event", "detail": content})
    return {"way": "EventBridge", "sent": len(contents), "answer": None}


def samples() -> list[Json]:
    """What the files of ``events/`` hold, event by event, as ``name`` and ``text``."""
    found = []
    for path in sorted((ROOT / "events").glob("*.json")):
        content = json.loads(path.read_text())
        if "destination" in content:  # A call of deliver: its event is that of another file.
            continue
        if path.stem.startswith("eventbridge-"):
            content = content["detail"]
        bodies = content.get("events") or [*map(content_of, content.get("Records", []))] or [content]
        for number, body in enumerate(bodies, 1):
            name = path.stem if len(bodies) == 1 else f"{path.stem} ({number})"
            found.append({"name": name, "text": _pretty(body)})
    return found


def _texts(order: Order) -> list[str]:
    if not order.fresh:
        return [order.text] * order.copies
    try:
        content = json.loads(order.text)
    except ValueError:
        return [order.text] * order.copies
    return [json.dumps(_renamed(content, f"{order.fresh}-{number}")) for number in range(1, order.copies + 1)]


def _renamed(content: Any, end: str) -> Any:
    """The event with another id, where it has one: itself, or in an EventBridge envelope."""
    copy = deepcopy(content)
    event = copy.get("detail", copy) if isinstance(copy, dict) else None
    for name in ("id", "messageId"):
        if isinstance(event, dict) and isinstance(event.get(name), str):
            event[name] = f"{event[name]}-{end}"
    return copy


def _pretty(body: Any) -> str:
    try:
        content = json.loads(body) if isinstance(body, str) else body
    except ValueError:
        return str(body)
    return json.dumps(content, indent=2, ensure_ascii=False)
