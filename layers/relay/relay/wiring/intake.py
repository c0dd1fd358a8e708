"""What intake is made of."""

from collections.abc import Callable
from functools import partial
from typing import Any

from relay.adapters.clock import SystemClock
from relay.adapters.dynamodb import DynamoLetters
from relay.adapters.sqs import SqsIntakeQueues
from relay.contract.destination import Destination, recent
from relay.contract.event import Event
from relay.handlers.envelope import unwrap, validate
from relay.handlers.intake import IntakeHandler
from relay.intake.intake import Intake
from relay.observability import IntakeObserver, silence_libraries
from relay.settings import IntakeSettings
from relay.wiring.aws import WhenNeeded, clients


def intake() -> IntakeHandler:
    silence_libraries()
    settings = IntakeSettings.from_environment()
    aws = clients()
    rejects: Any = WhenNeeded(partial(aws, "dynamodb"))
    letters = DynamoLetters(rejects, settings.letters_table)
    # What it sends is always of one form: botocore need not look at each part of it before SQS does.
    sqs = aws("sqs", parameter_validation=False)
    queues = SqsIntakeQueues(sqs, settings.lanes, settings.rejected_queue_url, letters)
    clock = SystemClock()
    intake = Intake(
        queues,
        clock,
        settings.destinations,
        unwrap,
        validate,
        groups=recent(lambda destination: settings.of(destination).groups),
        skips=_skips(settings),
    )
    return IntakeHandler(intake, IntakeObserver(), clock)


def _skips(settings: IntakeSettings) -> Callable[[Destination, Event], str] | None:
    """What mappings say of where an event goes; None where there are none, and nothing has to be asked."""
    if not any(values.get("mapping") for values in settings.destination_settings.values()):
        return None
    mapping = recent(lambda destination: settings.of(destination).mapping)

    def skips(destination: Destination, event: Event) -> str:
        given = mapping(destination)
        return given.skips(event) if given else ""

    return skips
