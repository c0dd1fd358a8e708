"""What every test starts from: no AWS settings of the machine, and Powertools as in a fresh function."""

import logging
from collections.abc import Iterator

import pytest
from aws_lambda_powertools.metrics import Metrics

from relay.providers import PROVIDERS

LOGGERS = ("intake", *(f"deliver-{name}" for name in PROVIDERS))


@pytest.fixture(autouse=True)
def fresh_function(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A function's process as it begins: nothing wired, no logger, no metric, credentials no account would take."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_METRICS_NAMESPACE": "CustomerEventRelay",
    }.items():
        monkeypatch.setenv(name, value)
    _forget()
    yield
    _forget()


def _forget() -> None:
    for name in ("urllib3", "botocore", "boto3"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in LOGGERS:
        # Powertools keeps one logger per service, bound to the standard output of the first test that asked for it.
        logging.Logger.manager.loggerDict.pop(name, None)
    # Its metrics are class attributes, one set per process.
    for shared in (Metrics._metrics, Metrics._dimensions, Metrics._metadata, Metrics._default_dimensions):
        shared.clear()
