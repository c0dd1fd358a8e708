"""What intake is made of."""

from functools import partial
from typing import Any

from relay.adapters.clock import SystemClock
from relay.adapters.dynamodb import DynamoLetters
from relay.adapters.sqs import SqsIntakeQueues
from relay.contract.destination import recent
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
    )
    return IntakeHandler(intake, IntakeObserver(), clock)
