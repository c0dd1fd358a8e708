"""How far a file has been sent: a small file beside it, so that what was interrupted goes on where it stopped."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from cli.command import CommandError, Exit

SUFFIX = ".relay-progress"

EVERY = 0.2
"""Seconds between two writes, at least. What was sent since the last one is sent again, and dropped by the relay."""


@dataclass
class Progress:
    """`records` of the file are done with, of which `sent` were taken and `refused` were not. `content` is a digest of
    the file, `options` what it is read and sent by.
    """

    path: Path | None
    content: str
    options: dict[str, Any]
    records: int = 0
    sent: int = 0
    refused: int = 0
    _written_at: float = field(default=0.0, repr=False)

    @classmethod
    def begin(cls, file: Path | None, content: str, options: dict[str, Any], *, resume: bool, restart: bool) -> Self:
        """Where to begin. Nothing is written yet. `file` None: nothing is kept.

        Raises CommandError where another sending of the file is under way, or the one to go on with was another.
        """
        fresh = cls(file and path_beside(file), content, options)
        if not fresh.path or restart or (kept := _read(fresh.path)) is None:
            return fresh
        begun = f"{file} was begun, {kept.get('records')} of its records are done"
        if not resume:
            raise CommandError(f"{begun}: go on with --resume, or send all of it again with --restart", Exit.USAGE)
        if kept.get("content") != content:
            raise CommandError(f"{begun}, and it has changed since: send all of it again with --restart", Exit.USAGE)
        if other := sorted(name for name in options if (kept.get("options") or {}).get(name) != options[name]):
            what = ", ".join(other)
            raise CommandError(f"{begun}, by another {what}: say the same, or send it again with --restart", Exit.USAGE)
        return cls(fresh.path, content, options, kept["records"], kept["sent"], kept["refused"])

    def write(self, *, at_once: bool = False) -> None:
        """Whole or not at all, and not at every call. Raises CommandError where nothing can be written."""
        now = time.monotonic()
        if self.path is None or (now - self._written_at < EVERY and not at_once):
            return
        self._written_at = now
        kept = {name: value for name, value in asdict(self).items() if name not in ("path", "_written_at")}
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            beside.write_text(json.dumps(kept, indent=1) + "\n")
            os.replace(beside, self.path)
        except OSError as error:
            beside_it = f"{self.path}: {error.strerror}"
            raise CommandError(f"{beside_it}; where nothing can be written, send it from standard input") from None

    def end(self) -> None:
        """All of it is done: there is nothing to go on with."""
        if self.path:
            self.path.unlink(missing_ok=True)


def path_beside(file: Path) -> Path:
    return file.with_name(file.name + SUFFIX)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        kept = None
    if not isinstance(kept, dict) or not all(
        isinstance(kept.get(name), int) for name in ("records", "sent", "refused")
    ):
        raise CommandError(f"{path} cannot be read: send all of it again with --restart", Exit.USAGE)
    return kept
