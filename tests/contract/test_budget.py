"""What a start, a batch and an event may take stands in tests/budget.toml; here it is counted. None of it is a time."""

import importlib.metadata
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.endpoint import endpoint
from bench.environment import FUNCTIONS, Seen, batch, made, run
from bench.two import TWO
from relay.contract.event import parse_event
from relay.contract.parsing import parse_json
from relay.handlers.envelope import unwrap, validate
from relay.intake.intake import Accepted, Incoming, Intake
from relay.providers import PROVIDERS
from tests.factories import CREDENTIALS, DESTINATIONS, event_json, lane_message
from tests.fakes import FakeClock, FakeIntakeQueues
from tests.steps import peak_bytes, steps
from tests.unit.harness import Harness
from tools.layer import slim

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "budget.toml"
BUDGET = tomllib.loads(FILE.read_text())
BATCH = 10


def within(section: str, name: str, found: float, how: str) -> None:
    """Fails where it is more than the file allows, or so much less that the file would let it double."""
    allowed = BUDGET[section][name]
    assert found <= allowed, f"{FILE.name} [{section}] {name}: {found:,.0f}, at most {allowed:,.0f}. To look: {how}"
    assert found > allowed / 2, f"{FILE.name} [{section}] {name}: {found:,.0f}, far below {allowed:,.0f}: lower it"


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer without a build: the relay, and the files that the pinned packages have in this environment."""
    folder = tmp_path_factory.mktemp("layer")
    shutil.copytree(ROOT / "layers/relay/relay", folder / "relay", ignore=shutil.ignore_patterns("__pycache__"))
    pins = (ROOT / "layers/relay/requirements.txt").read_text()
    for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
    slim(folder)
    return folder


def test_the_layer_is_no_larger(layer: Path) -> None:
    """As it is deployed, but for the bytecode."""
    sizes = Counter[str]()
    for path in layer.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            sizes[path.relative_to(layer).parts[0]] += path.stat().st_size
    within("layer", "bytes", sizes.total(), f"the largest are {sizes.most_common(5)}")


def started(layer: Path, function: str) -> tuple[list[tuple[str, int]], Seen]:
    """The requests of a first batch of ten, each with the bytes of its body, and what its process saw."""
    with endpoint() as ends:
        seen = run(layer, function, ends, [batch(function, made(function, "budget", BATCH))])
    return ends.requests, seen


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_loads_no_more_and_asks_for_no_more(layer: Path, function: str) -> None:
    """GIVEN the layer in a new process WHEN a first batch of ten is worked through THEN modules, requests and bytes.

    Of three such processes that with the fewest requests: on a busy machine turns are used late, and asked for anew.
    """
    requests, seen = min((started(layer, function) for _ in range(3)), key=lambda one: len(one[0]))
    how = f"python -X importtime functions/{function}/app.py"
    wrong = [name for name in seen.modules if name.startswith(tuple(BUDGET["modules"]["never"]))]
    assert not wrong, f"{FILE.name} [modules] never: {', '.join(wrong[:5])}. To look: {how}"
    within("modules", function, len(seen.modules), how)
    asked = Counter(operation for operation, _ in requests)
    lanes = len(TWO) if function == "intake" else 1
    assert asked.keys() == BUDGET[function].keys() - {"bytes"}, f"{FILE.name} [{function}]: {asked}"
    for operation, count in asked.items():
        within(function, operation, count / lanes, f"bench/endpoint.py got {asked}")
    within(function, "bytes", sum(size for _, size in requests) / lanes, f"bench/endpoint.py got {requests}")


def validated() -> Callable[[], object]:
    texts = [event_json(id=f"e-{number}") for number in range(BATCH)]
    return lambda: [parse_event(parse_json(text)) for text in texts]


def built() -> Callable[[], object]:
    events = [parse_event(parse_json(event_json(id=f"e-{number}"))) for number in range(BATCH)]
    providers = [provider("https://example.com") for provider in PROVIDERS.values()]
    return lambda: [provider.build(event, CREDENTIALS) for event in events for provider in providers]


def taken_in() -> Callable[[], object]:
    intake = Intake(FakeIntakeQueues(), FakeClock(), DESTINATIONS, unwrap, validate)
    records = [Incoming(event_json(id=f"e-{number}")) for number in range(BATCH)]

    def accept() -> None:
        assert all(isinstance(verdict, Accepted) for verdict in intake.accept(records))

    return accept


def delivered() -> Callable[[], object]:
    harness = Harness(deaf=True)
    messages = [lane_message(f"m-{number}", id=f"e-{number}") for number in range(BATCH)]

    def deliver() -> None:
        assert len(harness.handle(messages).results) == BATCH

    return deliver


WORK = {"validate": validated, "build": built, "intake": taken_in, "deliver": delivered}


@pytest.mark.parametrize("name", WORK)
def test_an_event_takes_no_more_steps(name: str) -> None:
    """Of a batch of ten, the second of its kind: what is done once in a process is no event's cost."""
    WORK[name]()()
    events = BATCH * len(PROVIDERS) if name == "build" else BATCH
    within("steps", name, steps(WORK[name]()) / events, "tests/steps.py, or cProfile over the same work")


@pytest.mark.parametrize("name", BUDGET["held"])
def test_a_batch_holds_no_more_memory(name: str) -> None:
    """While a batch of ten is worked through, for each event."""
    WORK[name]()()
    within("held", name, peak_bytes(WORK[name]()) / BATCH, "tracemalloc's snapshots over the same work")
