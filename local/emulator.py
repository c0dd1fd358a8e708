"""``python -P local/emulator.py``: ministack, which waits a second for the first line that one of our functions logs.

Ministack itself waits 50 ms after the answer. Where eight lanes share two processors a line came later, and was handed
on with the function's next run only: ``make invoke`` then said of an event that arrived that nobody had seen it.
Other functions, which may log nothing (the bench's textbook), are not waited for: that would slow them.
"""

import sys
from typing import Any

from ministack.app import main
from ministack.core.lambda_runtime import Worker

OURS = "-customer-events-"
PATIENTLY = {"first_line_wait": 1.0, "idle_confirm": 0.02, "hard_cap": 1.5}
"""Seconds: for the first line, after a line until the next, and at most."""

if __name__ == "__main__":
    # It has no setting for it.
    drain = Worker._drain_stderr_bounded

    def patiently(worker: Any, **waits: float) -> str:
        return str(drain(worker, **(PATIENTLY if OURS in worker.func_name else waits)))

    Worker._drain_stderr_bounded = patiently
    sys.exit(main())
