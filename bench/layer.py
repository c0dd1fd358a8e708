"""The layer as it is deployed, built by the SAM CLI for this machine's processor, once in a run of the bench."""

import atexit
import tempfile
from functools import cache
from pathlib import Path

from local.machine import ROOT, TOOLS, build_environment
from local.processes import run
from local.stack import STAGE, architecture, build_folder
from tools.layer import ready


@cache
def built() -> Path:
    """The folder that a function has on its path. It is gone when the bench ends. Raises CommandError."""
    state = tempfile.TemporaryDirectory(prefix=".bench-", dir=ROOT)
    atexit.register(state.cleanup)
    folder = Path(state.name)
    build = [str(TOOLS / "sam"), "build", "RelayLayer", "--config-env", STAGE, "--build-dir", str(folder / "build")]
    with build_folder():
        run(
            [*build, "--parameter-overrides", f"Stage={STAGE}", f"Architecture={architecture()}"],
            env=build_environment(folder, ""),
            cwd=ROOT,
            log=folder / "sam-build.log",
        )
    layer = folder / "build" / "RelayLayer" / "python"
    ready(layer)
    return layer
