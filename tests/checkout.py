"""The repository as a newcomer has it: a copy in a folder of its own, and commands run there as processes."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.machine import OWN, ROOT, TOOLS


@dataclass(frozen=True)
class Checkout:
    """A copy of the files that git knows or would take, with this virtual environment."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Checkout":
        """Copy into ``folder``, which must not exist."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                # With its times, so that make sees nothing to set up.
                shutil.copy2(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(TOOLS.parent)
        return cls(folder)

    def run(
        self, *command: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a terminal. ``environment`` is added to one without any AWS settings."""
        own = {name: value for name, value in OWN.items() if not name.startswith(("AWS_", "PYTHON", "MAKE", "MFLAGS"))}
        env = own | {"PATH": f"{TOOLS}:{OWN['PATH']}", "AWS_EC2_METADATA_DISABLED": "true", **(environment or {})}
        return subprocess.run(
            command, cwd=self.folder, env=env, input=stdin, check=False, capture_output=True, text=True
        )
