"""Follows the stack for all who look at the page, and only while somebody does."""

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from local.fates import Lines
from local.page.arrivals import Arrivals
from local.page.board import KEPT, Board
from local.page.deployed import Deployed, find
from local.page.lanes import Lanes
from local.page.trouble import Trouble
from local.sandbox.provider_side import Sandbox

OFTEN, EACH = 0.25, 1.0
"""Seconds between two looks at our own journal and log, and at the stack itself."""
LONGEST_LOG = 4 * 1024 * 1024
"""Bytes of the log that are read when somebody looks who has not for long."""


class Follower:
    """Keeps ``board`` up to date inside ``looking()``."""

    def __init__(self, board: Board, sandbox: Sandbox, state: Path) -> None:
        self.board = board
        self.deployed: Deployed | None = None
        self.trouble = Trouble(sandbox)
        self._journal = sandbox.journal
        self._state = state
        self._arrivals = Arrivals(board)
        self._lines: Lines | None = None
        self._lanes: Lanes | None = None
        self._viewers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._cleared = self._journal.cleared
        self._seen = 0
        self._open: set[int] = set()
        board.put("stack", "stack", {"state": "starting"})

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Inside, somebody looks."""
        self._viewers += 1
        if self._viewers == 1:
            looks = ((self.look_often, OFTEN), (self.look_at_stack, EACH))
            self._tasks = [asyncio.create_task(self._repeat(look, seconds)) for look, seconds in looks]
        try:
            yield
        finally:
            self._viewers -= 1
            if not self._viewers:
                for task in self._tasks:
                    task.cancel()

    async def stack(self) -> Deployed | None:
        """The stack, as soon as it is up."""
        if self.deployed is None:
            self.deployed = await asyncio.to_thread(find, self._state)
        return self.deployed

    async def look_often(self) -> None:
        """Take in what our own journal and the functions' log have got since."""
        self._look_at_journal()
        for provider, kind in self.trouble.now().items():
            self.board.put("trouble", provider, {"kind": kind})
        if self._lines is None and (log := self._state / "emulator.log").exists():
            self._lines = Lines(log)
        if self._lines:
            for line in self._lines.new(LONGEST_LOG):
                self._arrivals.take(line)

    async def look_at_stack(self) -> None:
        """Take in how queues and accounts stand."""
        try:
            deployed = await self.stack()
            if deployed is None:
                return
            self._lanes = self._lanes or Lanes(deployed)
            queues, accounts = await asyncio.to_thread(self._lanes.read, time.time())
        except (BotoCoreError, ClientError) as error:
            self.board.put("stack", "stack", {"state": "silent", "why": type(error).__name__})
            return
        self.board.put("stack", "stack", {"state": "up", "destinations": list(deployed.intake.destinations)})
        for kind, found in (("queues", queues), ("accounts", accounts)):
            for name, value in found.items():
                self.board.put(kind, name, value)

    def _look_at_journal(self) -> None:
        if self._cleared != self._journal.cleared:
            self._cleared, self._seen, self._open = self._journal.cleared, 0, set()
            self.board.clear("received")
        new = self._journal.since(self._seen)[-KEPT:]
        again = [self._journal.at(number) for number in sorted(self._open)]
        for one in (*again, *new):
            self.board.put("received", str(one.seq), asdict(one))
            (self._open.discard if one.ended else self._open.add)(one.seq)
            self._seen = max(self._seen, one.seq)

    async def _repeat(self, look: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await look()
            except Exception as error:  # The page says so, instead of showing for ever what was.
                traceback.print_exc(file=sys.stderr)
                self.board.put("stack", "stack", {"state": "unreadable", "why": type(error).__name__})
            await asyncio.sleep(seconds)
