"""What the tests of the template read: the template, the runbook."""

import pytest

from tests.template.stack import ROOT, Stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    return Stack.load()


@pytest.fixture(scope="session")
def runbook() -> str:
    return (ROOT / "docs" / "runbook.md").read_text()
