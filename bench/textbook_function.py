"""The function of the textbook: what its pages show for SQS, Powertools' batch processor and one request an event.

Deployed by `bench.textbook` as it stands. It has the relay's layer, for the libraries and for the same payloads.
"""

import json
import os
from typing import Any

import urllib3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.parser.models import SqsRecordModel
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Json

from relay.contract.event import Event
from relay.providers import PROVIDERS

GIVEN = os.environ  # noqa: TID251 it has no settings of its own

provider = PROVIDERS[GIVEN["PROVIDER"]](GIVEN["BASE_URL"])
credentials = json.loads(GIVEN["CREDENTIALS"])
pool = urllib3.PoolManager(retries=False, timeout=10)
logger = Logger(service="textbook")


class Record(SqsRecordModel):
    """A message of the queue with the event in it."""

    body: Json[Event]


# As the sample of AWS's guide does. By default it raises where nothing of a batch went well.
processor = BatchProcessor(event_type=EventType.SQS, model=Record, raise_on_entire_batch_failure=False)


def deliver(record: Record) -> None:
    """Posts one event. Raises RuntimeError for any answer but a success: the message comes again."""
    request = provider.build(record.body, credentials)
    answer = pool.request(request.method, request.url, body=request.body, headers=dict(request.headers))
    if answer.status >= 300:
        raise RuntimeError(f"HTTP {answer.status}")
    logger.info("delivered", extra={"event_id": record.body.id})


def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Called by Lambda with a batch of the queue."""
    return process_partial_response(event, deliver, processor, context)
