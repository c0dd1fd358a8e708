"""What a function weighs: memory at its largest batch, the layer's zip by what is in it, and what memory size pays."""

import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import distributions
from math import ceil
from pathlib import Path
from statistics import median

from bench import cost
from bench.endpoint import Endpoint, endpoint
from bench.environment import FUNCTIONS, Json, batch, made, run
from bench.layer import built
from bench.plot import lines
from bench.table import Goal, Row, Section
from local.machine import ROOT
from relay.contract.event import MAX_EVENT_BYTES
from tools.template import load

MB = 1_000_000
RUNS = 5
WARM_CALLS = 3
WHOLE_PROCESSOR = 1769
"""Megabytes at which a function has a whole processor; with fewer, as large a part of one."""
SIZES = (128, 192, 256, 384, 512, 768, 1024, WHOLE_PROCESSOR)
PLOT = ROOT / "docs" / "memory.svg"
SHAPES = {"in bursts of ten": 10, "one by one": 1}


def measure(say: Callable[[str], None]) -> Section:
    """The part of the bench. Raises CommandError where the layer cannot be built."""
    say("builds the layer, unless it stands")
    layer = built()
    say("zips it")
    zipped = zipped_bytes(layer)
    rows = [
        Row("layer, zipped", [sum(zipped.values()) / MB], "MB", Goal.at_most(12)),
        *(Row(f"of it {name}", [size / MB], "MB") for name, size in zipped.most_common()),
    ]
    with endpoint() as ends:
        for function in FUNCTIONS:
            say(f"fills {function} with ten events of 256 KB")
            rows += _memory(layer, function, ends)
    with endpoint(cost.AWS_SECONDS, cost.ANSWER_SECONDS) as ends:
        say("calls both, as they are called in between")
        warm = {
            f"{function}, {shape}": _warm(layer, function, ends, count)
            for function in FUNCTIONS
            for shape, count in SHAPES.items()
        }
    curves = {name: [(size, dollars(size, *each)) for size in SIZES] for name, each in warm.items()}
    size = memory_size()
    rows += [Row(f"{name}: a million events at {size} MB", [dollars(size, *each)], "$") for name, each in warm.items()]
    axes = ("memory in MB", "$ for the functions of a million events")
    plot = lines(PLOT, "What memory costs: it is paid for while a function waits, too", axes, curves)
    return Section("Weight", rows, NOTES, [plot])


NOTES = (
    "Memory: the most that a process of its own had (VmHWM), held against what it has after its load plus the batch "
    "as text. The layer is zipped as the SAM CLI zips it. A million events by memory size: what a warm call waited "
    "plus what it computed over the share of a processor that the size has, times the price of the memory; AWS answers "
    f"in {1000 * cost.AWS_SECONDS:.0f} ms, the provider in {1000 * cost.ANSWER_SECONDS:.0f} ms. The part "
    "on cost prices what was counted beside the emulator, in bursts that come without a pause. Ten events of 16,000 "
    "properties are a worse batch than any that is meant to come: it has to fit, and has no goal.",
)


def zipped_bytes(layer: Path) -> Counter[str]:
    """Compressed bytes of what the layer holds, by distribution; what is none's own is the relay's."""
    owners = {
        Path(file).parts[0]: distribution.name
        for distribution in distributions(path=[str(layer)])
        for file in distribution.files or ()
    }
    sizes: Counter[str] = Counter()
    with tempfile.TemporaryFile() as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(layer.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(layer))
        for each in archive.infolist():
            sizes[owners.get(Path(each.filename).parts[0], "relay")] += each.compress_size
    return sizes


def _memory(layer: Path, function: str, ends: Endpoint) -> list[Row]:
    bytes_of_batch = len(json.dumps(batch(function, made(function, "large", 10, _LARGEST))))
    peaks, ratios, loaded = [], [], []
    for _ in range(RUNS):
        (before,) = run(layer, function, ends, []).peaks
        peak = _most(layer, function, ends, _LARGEST)
        loaded.append(before / MB)
        peaks.append(peak / MB)
        ratios.append(peak / (before + bytes_of_batch))
    return [
        Row(f"{function}: most memory, over loaded plus a batch of ten times 256 KB", ratios, "×", Goal.at_most(1.25)),
        Row(f"{function}: most memory", peaks, "MB"),
        Row(
            f"{function}: most memory, 16,000 properties an event", [_most(layer, function, ends, _RICHEST) / MB], "MB"
        ),
        Row(f"{function}: loaded, before any call", loaded, "MB"),
    ]


def _most(layer: Path, function: str, ends: Endpoint, properties: Json) -> int:
    full = batch(function, made(function, "large", 10, properties))
    return run(layer, function, ends, [full]).peaks[-1]


_LARGEST: Json = {f"text_{number}": "x" * 1_000 for number in range(MAX_EVENT_BYTES // 1_030)}
"""Properties that make an event nearly as large as one may be."""
_RICHEST: Json = {f"k{number}": number for number in range(16_000)}
"""The same in as many properties as fit."""


def _warm(layer: Path, function: str, ends: Endpoint, count: int) -> tuple[float, float]:
    """Seconds waited and computed in a call with so many events, for each of them: the median of the warm calls."""
    calls = [batch(function, made(function, f"warm{number}", count)) for number in range(1 + WARM_CALLS)]
    took = run(layer, function, ends, calls).took[2:]
    return (
        median(max(0, seconds - computed) for seconds, computed in took) / count,
        median(computed for _, computed in took) / count,
    )


def dollars(size: int, waited: float, computed: float) -> float:
    """What Lambda takes for a million events that each wait and compute for so many seconds, calls left out."""
    seconds = waited + computed * max(1, WHOLE_PROCESSOR / size)
    return size / 1024 * ceil(seconds * 1e6) * cost.LAMBDA_GB_SECOND


def memory_size() -> int:
    """Megabytes, by the template."""
    size: int = load()["Globals"]["Function"]["MemorySize"]
    return size
