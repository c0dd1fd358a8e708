"""The layer as it is deployed, built by the SAM CLI for this machine's processor, once in a run of the bench."""

import atexit
import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from local.machine import ROOT, TOOLS, build_environment
from local.processes import run
from local.stack import STAGE, architecture, build_folder
from tools.layer import compiled, ready


@cache
def built() -> Path:
    """The folder that a function has on its path. It is gone when the bench ends. Raises CommandError."""
    folder = _folder()
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


@cache
def boto3_beside() -> Path:
    """What the layer is without, as Lambda's runtime has it: for whoever imports boto3. It is gone with the layer."""
    folder = _folder()
    for name in ("boto3", "s3transfer"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, folder / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    compiled(folder)
    return folder


def _folder() -> Path:
    made = tempfile.TemporaryDirectory(prefix=".bench-", dir=ROOT)
    atexit.register(made.cleanup)
    return Path(made.name)
