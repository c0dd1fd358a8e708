"""Intake: accepts events and puts each on the lanes of its destinations."""

from typing import Any

from relay import wiring
from relay.doors import Context


def handler(event: Any, context: Context) -> dict[str, Any]:
    return wiring.intake().open(event, context)
