"""AWS clients that talk to one endpoint on this machine."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from local.machine import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

_DIRECT = Config(proxies={})
"""A proxy of the user's cannot reach this machine's own ports."""


@dataclass(frozen=True)
class Clients:
    """One client a service, made when first asked for."""

    endpoint_url: str
    region: str = REGION

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        return self._session.client("cloudformation", endpoint_url=self.endpoint_url, config=_DIRECT)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        return self._session.client("dynamodb", endpoint_url=self.endpoint_url, config=_DIRECT)

    @cached_property
    def events(self) -> "EventBridgeClient":
        return self._session.client("events", endpoint_url=self.endpoint_url, config=_DIRECT)

    @cached_property
    def functions(self) -> "LambdaClient":
        # A cold start on a busy machine takes its time, and a call must not be made twice.
        config = _DIRECT.merge(Config(read_timeout=120, retries={"total_max_attempts": 1}))
        return self._session.client("lambda", endpoint_url=self.endpoint_url, config=config)

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        return self._session.client("secretsmanager", endpoint_url=self.endpoint_url, config=_DIRECT)

    @cached_property
    def sqs(self) -> "SQSClient":
        return self._session.client("sqs", endpoint_url=self.endpoint_url, config=_DIRECT)

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=self.region)
