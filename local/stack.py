"""The stack on one machine: starts it, deploys the real template to it with the SAM CLI, finds it again, ends it."""

import json
import os
import platform
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from local.clients import Clients
from local.machine import REGION, ROOT, STATE, TOOLS, build_environment, free_port, locked, server_environment
from local.processes import CommandError, Process, held, run, start, stop
from local.sandbox.contract import contracts
from local.steps import Steps
from relay.providers import PROVIDERS
from tools.layer import ready

STAGE = "local"
STACK_NAME = "customer-event-relay-local"
_HEALTHY_SECONDS = 60.0


def start_emulator(state: Path, port: int) -> Process:
    """Start it with everything it writes under ``state``. Serves once ``/_ministack/health`` answers."""
    env = server_environment(state) | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(state / "tmp" / "s3"),
        "STATE_DIR": str(state / "tmp" / "state"),
        "LAMBDA_EXECUTOR": "local",
        # The functions may do what their roles say and nothing else, as in AWS.
        "AUTH": "true",
        # Else it would look for containers of its own to remove, and open ports for services the relay does not use.
        "DOCKER_HOST": f"unix://{state}/no-docker",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    # By its path, without a path to our modules: the functions would find them there, and not in their layer.
    command = [sys.executable, "-P", str(ROOT / "local" / "emulator.py")]
    return start("emulator", command, env=env, cwd=state, log=state / "emulator.log")


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


def parameters_for(sandbox_url: str) -> dict[str, str]:
    """What a stack on this machine is deployed with: every provider's main account, at the sandbox."""
    return {
        "Stage": STAGE,
        "Architecture": architecture(),
        "Destinations": ",".join(f"{name}/main" for name in PROVIDERS),
        **{base_url_parameter(name): f"{sandbox_url}/{name}" for name in PROVIDERS},
    }


def base_url_parameter(provider: str) -> str:
    """The template's parameter that says where a provider is."""
    return f"{provider.capitalize()}BaseUrl"


@dataclass(frozen=True)
class Stack:
    """A running stack. ``sandbox_url`` serves every provider, even where deliveries go elsewhere."""

    endpoint_url: str
    region: str
    outputs: dict[str, str]
    sandbox_url: str
    processes: tuple[Process, ...]

    @cached_property
    def clients(self) -> Clients:
        """AWS clients for this stack."""
        return Clients(self.endpoint_url, self.region)


def load(state: Path = STATE) -> Stack | None:
    """The stack whose files are in ``state``; None if there is none, or one of its processes is gone."""
    try:
        described = json.loads((state / "stack.json").read_text())
    except FileNotFoundError:
        return None
    noted = _noted(state)
    processes = tuple(Process(**one) for one in noted["processes"])
    if not all(process.alive for process in processes):
        return None
    return Stack(**described, sandbox_url=noted["sandbox_url"], processes=processes)


def start_stack(state: Path, steps: Steps, parameters: Mapping[str, str] | None = None) -> Stack:
    """Start, deploy and seed a stack whose every file is under ``state``.

    ``parameters`` are template parameters that shall differ, such as a provider's base URL, else the sandbox's.
    When this fails, nothing of the stack is left but, after a CommandError, its logs.
    """
    state.mkdir(parents=True, exist_ok=True)
    try:
        return _start(state, steps, parameters or {})
    except BaseException as error:
        stop_stack(state, keep_logs=isinstance(error, CommandError))
        raise


def stop_stack(state: Path, *, keep_logs: bool = False) -> int:
    """End the stack's processes and remove ``state``. Returns how many processes were ended."""
    with held():
        ended = sum(stop(Process(**one)) for one in reversed(_noted(state)["processes"]))
        for path in list(state.iterdir()) if keep_logs else []:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".log":
                path.unlink()
        if not keep_logs:
            shutil.rmtree(state, ignore_errors=True)
    return ended


def _start(state: Path, steps: Steps, changes: Mapping[str, str]) -> Stack:
    with steps.step("emulator and provider sandbox started on 127.0.0.1"):
        sandbox_url = _serve(state, _start_sandbox, "/_sandbox/health")
        endpoint_url = _serve(state, start_emulator, "/_ministack/health")
    clients = Clients(endpoint_url)
    _write(state / "processes.json", _noted(state) | {"sandbox_url": sandbox_url})
    parameters = {**parameters_for(sandbox_url), **changes}
    with build_folder():
        with steps.step("template built with the SAM CLI"):
            build(state, endpoint_url, parameters)
        with steps.step("template deployed to the emulator"):
            outputs = deploy(state, clients, parameters)
    _seed_secrets(clients)
    _write(state / "stack.json", {"endpoint_url": endpoint_url, "region": clients.region, "outputs": outputs})
    stack = load(state)
    if stack is None:
        raise CommandError(f"a process of the stack ended at once; see {state}/*.log")
    return stack


def _start_sandbox(state: Path, port: int) -> Process:
    # The stack is deployed later: its page finds it there.
    command = [sys.executable, "-m", "local.sandbox", "--port", str(port), "--state", str(state)]
    env = server_environment(state) | {"PYTHONPATH": os.pathsep.join([str(ROOT / "layers" / "relay"), str(ROOT)])}
    return start("sandbox", command, env=env, cwd=ROOT, log=state / "sandbox.log")


def _serve(state: Path, start_server: Callable[[Path, int], Process], health: str) -> str:
    """Start a server, note its process, wait until it is healthy, and return its URL."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with held():
        process = start_server(state, port)
        noted = _noted(state)
        _write(state / "processes.json", noted | {"processes": [*noted["processes"], asdict(process)]})
    deadline = time.monotonic() + _HEALTHY_SECONDS
    while not _answers(url + health):
        if not process.alive or time.monotonic() > deadline:
            log = state / f"{process.name}.log"
            raise CommandError(f"the {process.name} did not start; {log}:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
    return url


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _seed_secrets(clients: Clients) -> None:
    for name in PROVIDERS:
        clients.secrets.create_secret(
            Name=f"{STAGE}/customer-events/{name}/main", SecretString=json.dumps(contracts()[name].secret())
        )


def _noted(state: Path) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads((state / "processes.json").read_text())
    except FileNotFoundError:
        return {"sandbox_url": "", "processes": []}
    return noted


def _write(path: Path, content: dict[str, Any]) -> None:
    # In one move, so that nobody reads half of it.
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)
