"""What every test starts from: no AWS settings of the machine, and Powertools as in a fresh function."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.metrics import Metrics
from hypothesis import settings

from relay.providers import PROVIDERS
from tests.drawing import WHOLE
from tests.workers import Together, scheduler

settings.load_profile(WHOLE)

FIRST = (
    "system/test_any_account",
    "system/test_connect",
    "system/test_first_minute",
    "system",
    "simulation",
    "contract",
)
"""In this order, where there are several workers: the stacks first."""

BESIDE = (
    *("unit/cli", "unit/test_docs", "unit/test_page"),
    *("unit/providers/test_places", "unit/providers/test_provider_docs"),
    *("contract/test_adopt", "contract/test_command_line", "contract/test_dead_command", "contract/test_page"),
)
"""What runs no line of the functions: the operator's command, the page, the documents."""

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "CustomerEventRelay",
}

LOGGERS = ("intake", *(f"deliver-{name}" for name in PROVIDERS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """How tests are handed to workers, where there are several."""
    return scheduler(config, log)


@pytest.hookimpl(tryfirst=True)  # before `-m`, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits and what is long begins first, in good time; coverage follows a part of all."""
    for item in items:
        if not is_followed(item):
            item.add_marker("no_cover")
        if asks_for_emulator(item):
            item.add_marker("emulator")
    items.sort(key=lambda item: next((place for place, name in enumerate(FIRST) if name in item.nodeid), len(FIRST)))


def is_followed(item: pytest.Item) -> bool:
    """Whether coverage follows its lines: the examples of unit and contract tests, at one of the two stand-ins for AWS.

    Drawn input, long tests and the other stand-in run the same lines once more, and to be followed takes several times
    as long. What stacks run is in other processes.
    """
    place = item.nodeid.removeprefix("tests/")
    is_drawn = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    again = is_drawn or item.get_closest_marker("long") or "ministack" in item.name
    return place.startswith(("unit/", "contract/")) and not place.startswith(BESIDE) and not again


def asks_for_emulator(item: pytest.Item) -> bool:
    """By the name of a fixture, itself or as a parameter of one."""
    given = getattr(item, "callspec", None)
    asked = [*getattr(item, "fixturenames", ()), *(given.params.values() if given else ())]
    return any(name in asked for name in ("ministack", "moto", "emulator"))


@pytest.fixture(autouse=True)
def fresh_function(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A function's process as it begins: nothing wired, no logger, no metric, credentials no account would take."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    forget()
    yield
    forget()


def forget() -> None:
    """What Powertools and the libraries keep from one test to the next."""
    for logger in map(logging.getLogger, ("urllib3", "botocore", "boto3")):
        if logger.level != logging.NOTSET:  # To set it makes every logger look up its level anew.
            logger.setLevel(logging.NOTSET)
    for name in LOGGERS:
        # Powertools keeps one logger per service, bound to the standard output of the first test that asked for it.
        logging.Logger.manager.loggerDict.pop(name, None)
    # Its metrics are class attributes, one set per process.
    for shared in (Metrics._metrics, Metrics._dimensions, Metrics._metadata, Metrics._default_dimensions):
        shared.clear()
