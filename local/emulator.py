"""``python -P local/emulator.py``: ministack, whose functions say when a run is over, as AWS's do.

Ministack itself reads what a run logged for 50 ms and no longer. On a busy machine a line came later, and was handed on
with the function's next run only: ``make invoke`` then said of an event that arrived that nobody had seen it.
"""

import queue
import sys
from collections.abc import Iterator
from typing import Any

from ministack.app import main
from ministack.core import lambda_runtime

END = "END RequestId: "
"""Lambda's own words for it."""
_ANSWERS = "        _real_stdout.flush()\n\nrun()\n"
"""The end of a run in ministack's program for a function, which has no setting for any of this."""
_SAYS = f"        print({END!r} + context.aws_request_id, file=sys.stderr, flush=True)\n"
_LOOK_SECONDS = 0.1


def read_to_the_end(worker: Any, **_: float) -> str:
    """All that a run logged. `worker` is ministack's, after the answer; where it died nothing more comes."""
    return "\n".join(_lines(worker))


def _lines(worker: Any) -> Iterator[str]:
    while True:
        # Asked before the last look: what it wrote before it died is there.
        lives = worker._stderr_thread.is_alive()
        try:
            line = worker._stderr_queue.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            if lives:
                continue
            return
        if line.startswith(END):
            return
        yield line


def program(text: str) -> str:
    """Ministack's program for a Python function, with our line. Raises ValueError where it has become another."""
    if text.count(_ANSWERS) != 1:
        raise ValueError("ministack's program for a Python function is another; see local/emulator.py")
    return text.replace(_ANSWERS, _SAYS + _ANSWERS)


if __name__ == "__main__":
    lambda_runtime._PYTHON_WORKER_SCRIPT = program(lambda_runtime._PYTHON_WORKER_SCRIPT)
    lambda_runtime.Worker._drain_stderr_bounded = read_to_the_end
    sys.exit(main())
