"""Builds the real template with the real SAM CLI and deploys it to the emulator."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.clients import Clients
from local.environment import build_environment
from local.layer import ready
from local.places import ROOT, TOOLS, locked
from local.processes import run

STAGE = "local"
STACK_NAME = "customer-event-relay-local"


def architecture() -> str:
    """Lambda's name for this machine's processor."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def build(state: Path, endpoint_url: str, parameters: Mapping[str, str]) -> None:
    """Build what changed since the last time. Raises CommandError."""
    _sam("build", state, endpoint_url, parameters)
    ready()


def deploy(state: Path, clients: Clients, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy what was built and return the stack's outputs. Raises CommandError."""
    _sam("deploy", state, clients.endpoint_url, parameters, "--stack-name", STACK_NAME)
    stack = clients.cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@contextmanager
def build_folder() -> Iterator[None]:
    """Inside, nobody else builds or deploys from the build folder: two stacks may start at once."""
    with locked(ROOT / ".aws-sam", wait=True):
        yield


def _sam(command: str, state: Path, endpoint_url: str, parameters: Mapping[str, str], *arguments: str) -> None:
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    run(
        [str(TOOLS / "sam"), command, "--config-env", STAGE, *arguments, "--parameter-overrides", *overrides],
        env=build_environment(state, endpoint_url),
        cwd=ROOT,
        log=state / f"sam-{command}.log",
    )
