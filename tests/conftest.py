"""What every test starts from: no AWS settings of the machine, and Powertools as in a fresh function."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_lambda_powertools.metrics import Metrics
from hypothesis import settings

from relay.providers import PROVIDERS
from tests.asking import asked

settings.register_profile("quick", max_examples=10)

HERE = Path(__file__).parent
SERVERS = ("ministack", "moto", "emulator")
"""The fixtures that start an emulator of AWS for tests that need no stack."""
FIRST = ("system", "simulation", "contract", "unit", "template")
"""Where there are several workers, what waits most and what is longest begins first."""

LOGGERS = ("intake", *(f"deliver-{name}" for name in PROVIDERS))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups, and `-m`, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a server stays on one worker (`--dist loadgroup`), and begins in good time.

    Drawn input is not followed line by line: that takes four times as long, and examples cover all that it does.
    """
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")
        if server := next((each for each in SERVERS if each in asked(item)), None):
            item.add_marker("emulator")
            item.add_marker(pytest.mark.xdist_group(server))
    items.sort(key=lambda item: FIRST.index(item.path.relative_to(HERE).parts[0]))


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
