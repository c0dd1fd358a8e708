"""Deliver: takes one provider's lane to the provider, at the provider's pace."""

from typing import Any

from relay.loading import loading

with loading():
    from relay.handlers.records import Context
    from relay.wiring import deliver as wiring

    deliver = wiring.deliver()


def handler(event: Any, context: Context) -> dict[str, Any]:
    return deliver.handle(event, context)
