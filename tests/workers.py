"""Where tests run side by side: those that share a server stay on one worker.

pytest-xdist has `--dist loadgroup` for this, but 3.8.0 hands its groups on in a field that pytest 9 no longer reads.
"""

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # pytest-xdist ships no types

TOGETHER = {
    r"tests/system/test_(connect|roles|adoption)|tests/system/.*\[plain": "plain stacks, one after the other",
    r"tests/system/test_(first_minute|new_provider)": "copies of the repository",
    r"tests/system/": "the stack of more accounts than a user has",
    r"tests/contract/test_adopt": "an AWS account of its own",
    r"tests/contract/.*\bministack\b": "ministack",
    r"tests/contract/.*\bmoto\b": "moto",
}
"""What begins the names of tests that stay together."""


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whatever shares a server as one, all other tests singly, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for names, group in TOGETHER.items() if re.match(names, nodeid)), nodeid)


def scheduler(config: Any, log: Any) -> Together:
    """For `pytest_xdist_make_scheduler`."""
    config.option.loadscopereorder = False
    return Together(config, log)
