"""How fast the model of `tests/simulation` is played, beside what it was before anybody made it faster.

Steps a second say nothing of a machine that nobody knows. So the code of then (`BEFORE`) is taken out of git's history
and played beside that of now: the same seeds, each in a process that stays, in turns, by processor time. Where there is
no history (a source archive, a shallow clone) nothing can be compared; the rows without a goal are all there is then.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

from bench.table import Goal, Row, Section
from local.machine import OWN, ROOT

BEFORE = "e9d490ec858be8b65707d70859dba23c68a27408"
"""The commit before which nothing of the model was made faster."""

ROUNDS = 7
SEEDS = range(515_000, 515_003)

CODE = ("layers/relay/relay", "local", "tests")
"""What the model is made of."""

TITLE = "The model: seeds of the simulation"
SAME = "Both took the same steps."
OTHERS = "What is simulated has changed since: they took other steps."

_PLAYER = """
import sys, time
from tests.simulation.campaign import one
for line in sys.stdin:
    began = time.process_time()
    _, _, totals, _ = one((int(line), "now"))
    print(totals.steps, time.process_time() - began, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Played:
    """Some seeds: the model's steps, and the seconds of a processor that they took."""

    steps: int
    seconds: float

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps / self.seconds

    def __add__(self, other: "Played") -> "Played":
        return Played(self.steps + other.steps, self.seconds + other.seconds)


def measure(say: Callable[[str], None]) -> Section:
    """Plays the same seeds with the model of now and with that of then, in turns."""
    with ExitStack() as stack:
        then = _of_then(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        now = stack.enter_context(_player(ROOT))
        players = [now, stack.enter_context(_player(then))] if then else [now]
        rounds: list[list[Played]] = []
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}: {len(SEEDS)} seeds, {' and '.join(('now', 'then')[: len(players)])}")
            rounds.append(_round(players, first=number % len(players)))
    return _section(rounds)


def _round(players: Sequence[Callable[[int], Played]], first: int) -> list[Played]:
    """Every seed, played by each of them in turns, by this one first: what each spent."""
    sums = [Played(0, 0.0) for _ in players]
    for seed in SEEDS:
        for number in (first, *(other for other in range(len(players)) if other != first)):
            sums[number] += players[number](seed)
    return sums


def _section(rounds: list[list[Played]]) -> Section:
    rows = [Row("the model's steps in a second of a processor", [sides[0].rate for sides in rounds])]
    if len(rounds[0]) == 1:
        return Section(TITLE, rows, [f"Not compared: there is no git here that has the commit {BEFORE[:12]}."])
    ratios = [now.rate / then.rate for now, then in rounds]
    rows.insert(0, Row("the model itself, over what it was", ratios, "×", Goal.at_least(1.5)))
    alike = all(now.steps == then.steps for now, then in rounds)
    return Section(TITLE, rows, [f"Beside the commit {BEFORE[:12]}. {SAME if alike else OTHERS}"])


def _of_then(folder: Path) -> Path | None:
    """The tree of `BEFORE`, put into the folder; None where git does not have it."""
    asked = subprocess.run(["git", "archive", BEFORE, *CODE], cwd=ROOT, capture_output=True, check=False)  # noqa: S603, S607 (git)
    if asked.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(asked.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def _player(tree: Path) -> Iterator[Callable[[int], Played]]:
    """A process with that tree's code, which plays the seeds it is told."""
    environment = {**OWN, "PYTHONPATH": f"{tree / 'layers' / 'relay'}:{tree}"}
    with subprocess.Popen(  # noqa: S603 (our own code)
        [sys.executable, "-c", _PLAYER], cwd=tree, env=environment, text=True, stdin=PIPE, stdout=PIPE
    ) as process:
        said, heard = process.stdin, process.stdout
        assert said is not None
        assert heard is not None

        def play(seed: int) -> Played:
            print(seed, file=said, flush=True)
            steps, seconds = heard.readline().split()
            return Played(int(steps), float(seconds))

        play(SEEDS[0])  # What is imported or compiled once is no part of any figure.
        yield play
