"""The AWS emulator as a process on 127.0.0.1."""

from pathlib import Path

from local.environment import REGION, server_environment
from local.places import TOOLS
from local.processes import Process, start


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
    return start("emulator", [str(TOOLS / "ministack")], env=env, cwd=state, log=state / "emulator.log")
