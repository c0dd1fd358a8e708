"""The environments that the emulator and the SAM CLI run in: nothing of the user's AWS set-up can reach them."""

import os
from pathlib import Path

from local.places import TOOLS

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
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
    )


def _path() -> str:
    return os.pathsep.join([str(TOOLS), OWN.get("PATH", os.defpath)])


def _temporary(state: Path) -> Path:
    folder = state / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
