"""Customer event relay: every customer event to its marketing providers, once, on time, at the provider's pace."""

import time

STARTED_AT = time.monotonic()
"""When this process began to start, in monotonic seconds: nothing of ours is imported before."""
