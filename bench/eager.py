"""What the functions are held against: handlers that import and make at load whatever a textbook imports and makes.

They run on the same layer, in the same environment, and do the same calls. Of an event they check the form only, and
they keep no pace. bench/environment.py runs this file in a process that has the layer alone on its path.
"""

import json
import os
from datetime import datetime
from typing import Any

import boto3
import urllib3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from botocore.config import Config
from pydantic import BaseModel


class Customer(BaseModel):
    """Who it is about."""

    email: str
    properties: dict[str, Any] = {}


class Event(BaseModel):
    """What happened."""

    id: str
    source: str
    type: str
    customer: Customer
    occurred_at: datetime
    properties: dict[str, Any] = {}
    destinations: list[str]


class InEventBridge(EventBridgeModel):
    """An event as EventBridge hands it to a queue."""

    detail: Event


environment = os.environ  # noqa: TID251 (it stands for somebody else's function)
config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
sqs = boto3.client("sqs", config=config)
dynamodb = boto3.client("dynamodb", config=config)
secrets = parameters.SecretsProvider(boto_config=config)
http = urllib3.PoolManager(retries=False)
logger = Logger(service="eager")
metrics = Metrics(service="eager")
processor = BatchProcessor(event_type=EventType.SQS)


@metrics.log_metrics
def intake(event: dict[str, Any], context: Any) -> Any:
    """Takes a batch of EventBridge's to the lanes."""
    return process_partial_response(event=event, record_handler=_accept, processor=processor, context=context)


@metrics.log_metrics
def deliver(event: dict[str, Any], context: Any) -> Any:
    """Takes a batch of a lane to its provider."""
    return process_partial_response(event=event, record_handler=_deliver, processor=processor, context=context)


def _accept(record: SQSRecord) -> None:
    event = parse(event=record.json_body, model=InEventBridge).detail
    lanes = json.loads(environment["RELAY_LANES"])
    for destination in event.destinations:
        provider, account = destination.split("/")
        entry: Any = {
            "Id": "0",
            "MessageBody": event.model_dump_json(),
            "MessageGroupId": account,
            "MessageDeduplicationId": event.id,
        }
        sqs.send_message_batch(QueueUrl=lanes[provider], Entries=[entry])
    metrics.add_metric("Accepted", MetricUnit.Count, 1)
    logger.info("accepted", extra={"event_id": event.id})


def _deliver(record: SQSRecord) -> None:
    event = parse(event=record.json_body, model=Event)
    key: Any = {"event_id": {"S": event.id}, "destination": {"S": event.destinations[0]}}
    table = environment["RELAY_LEDGER_TABLE"]
    update: Any = {"TableName": table, "Key": key, "ExpressionAttributeNames": {"#state": "state"}}
    update["UpdateExpression"] = "SET #state = :state"
    dynamodb.update_item(**update, ExpressionAttributeValues={":state": {"S": "claimed"}})
    name = f"{environment['RELAY_STAGE']}/customer-events/{event.destinations[0]}"
    secret = secrets.get(name, max_age=900, transform="json")
    token = next(iter(secret.values())) if isinstance(secret, dict) else ""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    reply = http.request("POST", environment["RELAY_BASE_URL"], body=event.model_dump_json(), headers=headers)
    assert reply.status == 200
    dynamodb.update_item(**update, ExpressionAttributeValues={":state": {"S": "delivered"}})
    metrics.add_metric("Delivered", MetricUnit.Count, 1)
    logger.info("delivered", extra={"event_id": event.id})
