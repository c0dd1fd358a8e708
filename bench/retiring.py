"""Deliver's handler in a process that ends after 50 messages, once its answer is out, as Lambda retires environments.

Deployed by the bench alone, as a layer around the real function. It ends where the emulator's runtime asks for the next
event: at no other moment is nothing under way.
"""

import os
import sys
from typing import Any

from app import handler as deliver  # type: ignore[import-not-found]  # the deployed function's own module

MESSAGES = 50


class _Retire:
    def readline(self) -> str:
        sys.stderr.flush()
        os._exit(0)


_seen: list[object] = []


def handler(event: Any, context: Any) -> Any:
    """Answers as the function does."""
    answer = deliver(event, context)
    _seen.extend(event.get("Records", ()))
    if len(_seen) >= MESSAGES:
        sys.stdin = _Retire()
    return answer
