"""How a function is loaded: what is made then stays, so nobody looks for garbage among it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Inside, Python does not look for garbage; later it does not look at what was made inside."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
