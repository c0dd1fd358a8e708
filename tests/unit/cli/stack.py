"""A stack that is nowhere: its outputs and settings as AWS would tell them, and services that a test hands over."""

from dataclasses import fields
from typing import Any

from cli.stack import Lane, Relay, Where
from relay.providers import PROVIDERS
from relay.settings import DeliverSettings
from tests.kinds import EVERYWHERE

OUTPUTS = {"IntakeQueueUrl": "intake", "EventBusName": "bus", "IntakeFunctionName": "intake"}


def stack(destinations: str = ",".join(EVERYWHERE), **services: Any) -> Relay:
    """`services` by the names that `Relay` has for AWS's clients. Any other that is asked for fails."""
    relay = Relay(Where("unit"))
    settings = {
        name: DeliverSettings.model_validate(
            {
                "stage": "unit",
                "destinations": destinations,
                "provider": name,
                "base_url": f"https://{name}.example",
                **dict.fromkeys(("queue_url", "dead_letter_queue_url"), "https://queue.example"),
                **dict.fromkeys(("ledger_table", "accounts_table", "letters_table"), "table"),
            }
        )
        for name in PROVIDERS
    }
    lanes = {name: Lane(name, f"{name}.fifo", f"{name}-dead.fifo", f"deliver-{name}") for name in PROVIDERS}
    relay.__dict__.update(outputs=OUTPUTS, settings=settings, lanes=lanes, **services)
    return relay


def chosen[Options](kind: type[Options], given: dict[str, Any]) -> Options:
    """The options of one kind, out of all that are given by name."""
    names = {each.name for each in fields(kind)} & given.keys()  # type: ignore[arg-type]
    return kind(**{name: given.pop(name) for name in names})
