"""Runs in a process of its own, as Lambda runs a function: loads a handler, calls it, writes what that took as JSON.

`python -S -P inside.py BEGUN APP NAME` with the calls' events as a JSON list at standard input. BEGUN is the
monotonic moment at which the process was started. It imports nothing that is measured.
"""

import json
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


class Context:
    """What Lambda hands a handler."""

    aws_request_id = "6d67e385-053d-4622-a56f-b25bcef23083"
    function_name = "bench"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"
    memory_limit_in_mb = 512

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def peak() -> int:
    """The most bytes that this process has had in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    begun, app, name = float(sys.argv[1]), sys.argv[2], sys.argv[3]
    calls: list[Any] = json.load(sys.stdin)
    spec = spec_from_file_location("app", app)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = getattr(module, name)
    took: list[dict[str, float]] = [{"seconds": time.monotonic() - begun, "computed": time.process_time()}]
    peaks = [peak()]
    answers = []
    for call in calls:
        at, computed = time.monotonic(), time.process_time()
        answers.append(handler(call, Context()))
        took.append({"seconds": time.monotonic() - at, "computed": time.process_time() - computed})
        peaks.append(peak())
    print()  # Ends whatever line the handler left.
    print(json.dumps({"took": took, "peaks": peaks, "answers": answers, "modules": sorted(sys.modules)}))


if __name__ == "__main__":
    main()
