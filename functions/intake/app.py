"""Intake: accepts events and puts each on the lanes of its destinations."""

from typing import Any

from relay.loading import loading

with loading():
    from relay.handlers.records import Context
    from relay.wiring import intake as wiring

    intake = wiring.intake()


def handler(event: Any, context: Context) -> dict[str, Any]:
    return intake.handle(event, context)
