"""Where things are on this machine."""

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
