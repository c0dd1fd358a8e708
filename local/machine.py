"""This machine: where things are, and environments for programs that nothing of the user's AWS set-up reaches."""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".local"
"""What ``make up`` leaves behind and ``make down`` removes."""
TOOLS = Path(sys.executable).parent
"""The virtual environment's programs."""
REGION = "us-east-1"
ACCESS_KEY_ID = SECRET_ACCESS_KEY = "test"  # noqa: S105 (the one pair that the emulator takes for its account's own)
OWN = os.environ  # noqa: TID251 (this is the one place of the local tools that reads it)

_AWS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock on ``folder``, made if missing. Raises BlockingIOError if another holds it and ``wait`` is off."""
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def server_environment(state: Path) -> dict[str, str]:
    """For what serves: our programs, temporary files inside ``state``, credentials that no AWS account would take."""
    return _AWS | {
        "PATH": _path(),
        "HOME": str(_temporary(state)),
        "TMPDIR": str(_temporary(state)),
        "LANG": OWN.get("LANG", "C.UTF-8"),
    }


def build_environment(state: Path, endpoint_url: str) -> dict[str, str]:
    """For what builds: the user's own environment (their pip settings count) without their AWS settings."""
    own = {name: value for name, value in OWN.items() if not name.startswith(("AWS_", "SAM_", "PYTHON"))}
    return (
        own
        | _AWS
        | {
            "PATH": _path(),
            "TMPDIR": str(_temporary(state)),
            "AWS_ENDPOINT_URL": endpoint_url,
            "NO_PROXY": "127.0.0.1",
            "SAM_CLI_TELEMETRY": "0",
            # Seconds between two looks at a deployment. The emulator is done at once.
            "SAM_CLI_POLL_DELAY": "0.5",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
    )


def _path() -> str:
    return os.pathsep.join([str(TOOLS), OWN.get("PATH", os.defpath)])


def _temporary(state: Path) -> Path:
    folder = state / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
