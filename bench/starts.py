"""How long a function takes from nothing to its first answer: held against an eager handler on the same layer.

Each start is a new process that has the built layer and no more: the interpreter begins, the handler is loaded, one
batch of one event is worked through. The functions and the eager ones take turns.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.endpoint import Endpoint, endpoint
from bench.environment import FUNCTIONS, batch, made, run
from bench.layer import built
from bench.table import Goal, Row, Section
from local.machine import ROOT

RUNS, RUNS_OF_TEN, RUNS_WITHOUT_BYTECODE = 11, 5, 3
SHARE = 0.3
"""Of a processor: 530 MB of memory have that much."""
GOAL = Goal.at_most(70)


def measure(say: Callable[[str], None]) -> Section:
    """The part of the bench. Raises CommandError where the layer cannot be built."""
    say("builds the layer")
    layer = built()
    rows: list[Row] = []
    with endpoint() as ends:
        for function in FUNCTIONS:
            say(f"starts {function} and the eager handler, {RUNS} times each")
            rows += _starts(layer, function, ends)
            say(f"starts both with a batch of ten, {RUNS_OF_TEN} times each")
            rows += _firsts(layer, function, ends)
        with tempfile.TemporaryDirectory(prefix=".bench-", dir=ROOT) as folder:
            bare = _without_bytecode(layer, Path(folder))
            for function in FUNCTIONS:
                say(f"starts {function} without bytecode")
                taken = [1000 * _start(bare, function, ends)[1] for _ in range(RUNS_WITHOUT_BYTECODE)]
                rows.append(Row(f"{function}: processor time without bytecode in the layer", taken, "ms"))
    return Section("Starts", rows, NOTES)


def _starts(layer: Path, function: str, ends: Endpoint) -> Iterator[Row]:
    _start(layer, function, ends)  # Whatever comes first reads from the disk.
    pairs = [(_start(layer, function, ends), _start(layer, function, ends, eager=True)) for _ in range(RUNS)]
    for share, words in ((1.0, "a whole processor"), (SHARE, f"{SHARE} of a processor")):
        ratios = [100 * _at(ours, share) / _at(theirs, share) for ours, theirs in pairs]
        yield Row(f"{function}: start and first call, of the eager handler's, {words}", ratios, "%", GOAL)
    yield Row(f"{function}: processor time", [1000 * ours[1] for ours, _ in pairs], "ms")
    yield Row(f"{function}: processor time, the eager handler's", [1000 * theirs[1] for _, theirs in pairs], "ms")


def _firsts(layer: Path, function: str, ends: Endpoint) -> Iterator[Row]:
    calls = [batch(function, made(function, "first", 10))]
    for words, eager in (("", False), (", the eager handler's", True)):
        taken = [1000 * run(layer, function, ends, calls, eager=eager).took[1][1] for _ in range(RUNS_OF_TEN)]
        yield Row(f"{function}: processor time of a first call with ten{words}", taken, "ms")


NOTES = (
    "From the built layer, built for this machine, each start a new process: the interpreter's own beginning, the "
    "handler's load, and a batch of one event, with AWS and the provider on an endpoint of this machine that answers "
    "at once, over TLS. The eager handler (bench/eager.py) imports boto3, Powertools' logger, metrics, parser, "
    "batch and parameters, pydantic and urllib3, makes its clients for SQS, DynamoDB and Secrets Manager, and does the "
    "same calls for one event on the same layer, with boto3 beside it; for ten it does ten times as many, where the "
    "relay's intake sends them together and its deliver side by side. "
    f"At {SHARE} of a processor: by formula, what was waited plus what was computed over {SHARE}. "
    "Lambda loads a function with a whole processor, whatever its memory.",
)


def _start(layer: Path, function: str, ends: Endpoint, *, eager: bool = False) -> tuple[float, float]:
    """Seconds from nothing to the first answer, and how many of them were computed."""
    seen = run(layer, function, ends, [batch(function, made(function, "start", 1))], eager=eager)
    seconds, computed = zip(*seen.took, strict=True)
    return sum(seconds), sum(computed)


def _at(start: tuple[float, float], share: float) -> float:
    seconds, computed = start
    return seconds + computed * (1 / share - 1)


def _without_bytecode(layer: Path, folder: Path) -> Path:
    copy = folder / "python"
    shutil.copytree(layer, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy
