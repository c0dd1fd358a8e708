"""Where tests run side by side: those that share a server stay on one worker.

pytest-xdist has `--dist loadgroup` for this, but 3.8.0 hands its groups on in a field that pytest 9 no longer reads.
"""

from typing import Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # pytest-xdist ships no types

TOGETHER = {
    "stacks as a user deploys them": (
        *("system/test_adoption", "system/test_connect", "system/test_page", "system/test_roles"),
        "[plain",
    ),
    "a copy of the repository": ("system/test_first_minute",),
    "another, with a provider more": ("system/test_new_provider",),
    "a stack for operators": (
        *("system/test_cli_accounts", "system/test_cli_send", "system/test_cli_status"),
        *("system/test_rotation", "system/test_soak"),
    ),
    "the stack of more accounts than a user has": ("system/",),
    "an AWS account of its own": ("contract/test_adopt",),
    "ministack": ("[ministack", "-ministack"),
    "moto": ("[moto", "-moto"),
}
"""What is in the names of tests that stay together; the first that fits counts."""


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whatever shares a server as one, all other tests singly, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def unit(nodeid: str) -> str:
    """What a test is handed out with, by the test's name."""
    return next((group for group, parts in TOGETHER.items() if any(part in nodeid for part in parts)), nodeid)


def scheduler(config: Any, log: Any) -> Together:
    """For `pytest_xdist_make_scheduler`."""
    config.option.loadscopereorder = False
    return Together(config, log)
