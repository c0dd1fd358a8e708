"""A second relay as a user deploys it: the template's defaults, on an emulator of its own that enforces IAM."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from local.clients import Clients
from local.machine import free_port
from local.processes import stop
from local.stack import STAGE, Stack, build, build_folder, deploy, parameters_for, start_emulator
from relay.providers import PROVIDERS
from tests.system.running import Providers, Relay, secret, until


@contextmanager
def second_relay(first: tuple[Stack, Path], state: Path, **parameters: str) -> Iterator[Relay]:
    """It delivers to the session's sandbox. Its log stands beside the session's, where test_secrecy reads it."""
    stack, logs = first
    port = free_port()
    emulator = start_emulator(state, port)
    log = logs / f"emulator-{state.name}.log"
    log.symlink_to(state / "emulator.log")
    try:
        clients = Clients(f"http://127.0.0.1:{port}")
        until(lambda: _healthy(clients.endpoint_url), "the emulator healthy")
        parameters = parameters_for(stack.sandbox_url) | parameters
        with build_folder():
            build(state, clients.endpoint_url, parameters)
            outputs = deploy(state, clients, parameters)
        relay = Relay(clients, outputs, Providers(stack.sandbox_url), log)
        for provider in PROVIDERS:
            clients.secrets.create_secret(
                Name=f"{STAGE}/customer-events/{provider}/main", SecretString=secret(provider, "main")
            )
        yield relay
        relay.close()
    finally:
        stop(emulator)


def _healthy(url: str) -> bool:
    pool = urllib3.PoolManager(retries=False, timeout=2)
    try:
        reply = pool.request("GET", f"{url}/_ministack/health")
        return reply.status == 200 and bool(reply.json().get("services"))
    except urllib3.exceptions.HTTPError:
        return False
    finally:
        pool.clear()
