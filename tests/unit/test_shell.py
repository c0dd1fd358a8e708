"""The lines for a person's shell."""

import subprocess

import pytest

from local.shell import credential_lines, output_lines
from local.stack import Stack

STACK = Stack("http://127.0.0.1:4566", "us-east-1", {"EventBusName": "it's a bus"}, "http://127.0.0.1:4567", ())


def evaluated(lines: list[str], own: dict[str, str]) -> dict[str, str]:
    """A shell's variables after the lines."""
    script = "\n".join([*lines, "env -0"])
    shown = subprocess.run(["sh", "-c", script], env=own, check=True, capture_output=True, text=True).stdout
    return dict(one.split("=", 1) for one in shown.split("\0") if one)


def test_a_shell_has_nothing_left_of_the_user_s_own_account() -> None:
    """GIVEN a shell with a profile, a session and a region WHEN the lines are run THEN only the stack's are left."""
    own = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "secret", "AWS_REGION": "eu-west-1", "PATH": "/usr/bin:/bin"}
    after = evaluated(credential_lines(STACK, own), own)
    assert {name: value for name, value in after.items() if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    assert "NO_PROXY" not in after


@pytest.mark.parametrize(
    ("own", "without"),
    [
        ({"https_proxy": "http://proxy:3128"}, None),
        ({"http_proxy": "http://proxy:3128"}, "127.0.0.1"),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "internal"}, "internal,127.0.0.1"),
        ({"ALL_PROXY": "http://proxy:3128", "no_proxy": "internal,127.0.0.1"}, "internal,127.0.0.1"),
    ],
)
def test_a_proxy_is_passed_by(own: dict[str, str], without: str | None) -> None:
    """GIVEN a proxy for plain http WHEN the lines are run THEN this machine is reached without it, others as before."""
    after = evaluated(credential_lines(STACK, own), own | {"PATH": "/usr/bin:/bin"})
    assert after.get("no_proxy") == without


def test_outputs_are_variables_of_their_names() -> None:
    """GIVEN an output with a quote in it WHEN the lines are run THEN the variable is that output."""
    after = evaluated(output_lines(STACK), {"PATH": "/usr/bin:/bin"})
    assert (after["EventBusName"], after["SandboxUrl"]) == ("it's a bus", "http://127.0.0.1:4567")
