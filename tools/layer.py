"""``python -m tools.layer`` readies the built layer for a fast cold start: bytecode in, what no function calls out.

Lambda unpacks a layer read-only, so without bytecode every cold start compiles every import anew. Nearly all of
botocore's weight is the descriptions of services the relay does not speak to, and the first client of a process reads
where each of them is, in each region: two fifths of what a client takes to make.
"""

import compileall
import json
import shutil
from pathlib import Path
from py_compile import PycInvalidationMode

ROOT = Path(__file__).parents[1]
BUILT = ROOT / ".aws-sam" / "build" / "RelayLayer" / "python"
SERVICES = frozenset({"dynamodb", "secretsmanager", "sqs", "sts"})


def ready(layer: Path = BUILT) -> None:
    """Slim the layer and compile its modules."""
    slim(layer)
    compiled(layer)


def compiled(layer: Path) -> None:
    """Write the modules' bytecode beside them. Raises SystemExit where one does not compile."""
    # Unchecked: the files' times in a zip say nothing, and nobody edits a deployed layer.
    mode = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(layer, quiet=1, force=True, invalidation_mode=mode, stripdir=str(layer)):
        raise SystemExit(f"{layer} holds modules that do not compile")


def slim(layer: Path) -> None:
    """Remove the services that are not in SERVICES, and where they are."""
    data = layer / "botocore" / "data"
    for description in data.iterdir():
        if description.is_dir() and description.name not in SERVICES:
            shutil.rmtree(description)
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: each for name, each in partition["services"].items() if name in SERVICES}
    (data / "endpoints.json").write_text(json.dumps(endpoints, separators=(",", ":")))


if __name__ == "__main__":
    ready()
