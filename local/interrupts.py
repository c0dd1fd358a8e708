"""Turns SIGINT, SIGTERM and SIGHUP into an exception, but never in the middle of a step that must not be torn apart."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked this program to end. Not an Exception: nothing but the clean-up may catch it."""


class _State:
    held = 0
    pending = False


@contextmanager
def raised() -> Iterator[None]:
    """Inside, each of the signals raises Interrupted in the main thread."""
    before = {number: signal.signal(number, _on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Inside, a signal waits and raises Interrupted at the end: for clean-up, or to start a process and note it."""
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
    if _State.pending and not _State.held:
        _State.pending = False
        raise Interrupted


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _State.held:
        _State.pending = True
        return
    raise Interrupted
