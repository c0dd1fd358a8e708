"""``python -P local/emulator.py``: ministack, which waits a second for the first line that a function logs.

Ministack itself waits 50 ms after the answer. Where eight lanes share two processors a line came later, and was handed
on with the function's next run only: ``make invoke`` then said of an event that arrived that nobody had seen it.
"""

import sys

from ministack.app import main
from ministack.core.lambda_runtime import Worker

FIRST_LINE, QUIET, LONGEST = 1.0, 0.02, 1.5
"""Seconds: for the first line, after a line until the next, and at most."""

if __name__ == "__main__":
    waits = Worker._drain_stderr_bounded
    assert waits.__defaults__ is not None
    assert len(waits.__defaults__) == 3
    waits.__defaults__ = (FIRST_LINE, QUIET, LONGEST)
    sys.exit(main())
