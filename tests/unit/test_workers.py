"""Which tests stay on one worker, told by their names."""

from pathlib import Path

import pytest

from tests.workers import TOGETHER, unit

ROOT = Path(__file__).parents[2]
DEPLOYED = "tests/system/test_trouble.py::test_where_asked_for_an_answer_that_never_came_is_parked"
PLAIN = "tests/system/test_roles.py::test_rights_too_many_are_noticed"


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (DEPLOYED, "tests/system/test_secrecy.py::test_nothing_hidden_is_there[deployed-log]", True),
        (PLAIN, "tests/system/test_secrecy.py::test_nothing_hidden_is_there[plain-log]", True),
        (DEPLOYED, PLAIN, False),
        ("tests/contract/test_aws.py::test_a[moto-1]", "tests/contract/test_sqs.py::test_b[moto]", True),
        ("tests/contract/test_aws.py::test_a[moto]", "tests/contract/test_aws.py::test_a[ministack]", False),
        ("tests/unit/test_lane.py::test_a[1]", "tests/unit/test_lane.py::test_a[2]", False),
    ],
)
def test_what_shares_a_server_stays_together(one: str, other: str, together: bool) -> None:
    """GIVEN two tests WHEN they ask the same server THEN they are handed out as one, and else apart."""
    assert (unit(one) == unit(other)) is together


def test_every_file_named_is_there() -> None:
    """GIVEN the files whose tests stay together THEN there are files of these names."""
    files = [part for parts in TOGETHER.values() for part in parts if "/test_" in part]
    assert files
    assert [name for name in files if not (ROOT / "tests" / f"{name}.py").is_file()] == []
