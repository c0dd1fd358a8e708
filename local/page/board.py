"""What the page shows, and what of it changed since somebody looked."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

type Json = dict[str, Any]

KEPT = 200
"""How many things of one kind are remembered, the newest."""


@dataclass(frozen=True)
class _Thing:
    value: Json
    revision: int


class Board:
    """Things by kind and key, each with the revision in which it changed last. For one event loop.

    Kinds: ``stack``, ``came`` (what intake saw) and its ``counts``, ``queues``, ``accounts``, ``received`` (what
    providers did), ``trouble``.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._kinds: dict[str, OrderedDict[str, _Thing]] = {}
        self._cleared: dict[str, int] = {}
        self._news = asyncio.Event()

    def put(self, kind: str, key: str, value: Json) -> None:
        """Show ``value``; that it is what stands there already is no news."""
        things = self._kinds.setdefault(kind, OrderedDict())
        if key in things and things[key].value == value:
            return
        things[key] = _Thing(value, self._next())
        while len(things) > KEPT:
            things.popitem(last=False)

    def get(self, kind: str, key: str) -> Json | None:
        """What stands there."""
        things = self._kinds.get(kind)
        return things[key].value if things and key in things else None

    def clear(self, kind: str) -> None:
        """Nothing of this kind stands there any more."""
        self._kinds.pop(kind, None)
        self._cleared[kind] = self._next()

    def since(self, revision: int) -> Json:
        """``{"revision", "cleared": [kind], kind: {key: value}}`` of all that changed after it. 0: everything."""
        changed = {
            kind: {key: thing.value for key, thing in things.items() if thing.revision > revision}
            for kind, things in self._kinds.items()
        }
        cleared = [kind for kind, at in self._cleared.items() if at > revision]
        return {"revision": self.revision, "cleared": cleared, **{kind: one for kind, one in changed.items() if one}}

    async def after(self, revision: int) -> None:
        """Returns when there is something newer."""
        while self.revision <= revision:
            await self._news.wait()

    def _next(self) -> int:
        self.revision += 1
        self._news.set()
        self._news = asyncio.Event()
        return self.revision
