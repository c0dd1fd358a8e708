"""A provider is five places: nothing else in the repository names one."""

import re
from collections.abc import Iterator

import pytest

from relay.providers import PROVIDERS
from tests.unit.providers.golden import ROOT

PRODUCT = (
    *("layers", "functions", "local", "tools", "bench", ".github", ".ci"),
    *("Makefile", "pyproject.toml", "samconfig.toml", "SECURITY.md", "CONTRIBUTING.md", "ADDING_A_PROVIDER.md"),
)
ELSEWHERE = {
    "layers/relay/relay/contract/fields.py": "an error that producers know has an example in it",
}
"""What may name a provider all the same, and why."""
EXAMPLE = (
    "tools/scaffold/",
    "tools/provider.py",
    "Makefile",
    "ADDING_A_PROVIDER.md",
    "tests/system/test_new_provider.py",
)
INVENTED = ("pigeon", "heron")
"""They speak of providers that nobody has, and somebody may add one of that name."""
TESTS = {
    "the sandbox held to what two pages say": ("contract/conftest.py", "contract/test_sandbox.py"),
    "events at two providers whose bodies and rules differ": (
        "system/test_connect.py",
        "system/test_dead_letters.py",
        "system/test_entry_points.py",
        "system/test_first_minute.py",
        "system/test_repeats.py",
    ),
    "fixed names, which are an interface": (
        "template/test_admission.py",
        "template/test_functions.py",
        "template/test_interface.py",
        "unit/test_deploy.py",
        "unit/test_fates.py",
        "unit/test_observability.py",
        "unit/test_settings.py",
    ),
    "scenarios whose figures are those of a limit a second or a minute, or of an id that overwrites": (
        "contract/test_aws.py",
        "unit/providers/test_reading.py",
        "unit/test_delivery.py",
        "unit/test_handlers.py",
        "unit/test_event.py",
        "unit/test_intake.py",
        "unit/test_lane.py",
        "unit/test_routing.py",
    ),
    "a model of these two, whose draws and figures the oracle compares": (
        "simulation/conduct.py",
        "simulation/figures.py",
        "simulation/history.py",
        "simulation/invariants.py",
        "simulation/mutations.py",
        "simulation/plan.py",
        "simulation/provider.py",
        "simulation/seeds.py",
    ),
}
"""The tests that name one, by their reason. All others ask PROVIDERS, or tests/kinds.py for one of a kind."""


def own_places(name: str) -> tuple[str, ...]:
    return (
        f"layers/relay/relay/providers/{name}.py",
        "layers/relay/relay/providers/__init__.py",
        f"local/contracts/{name}.yaml",
    )


def files(*places: str) -> Iterator[str]:
    """Every text of these places, by its path."""
    for place in places:
        path = ROOT / place
        for each in [path] if path.is_file() else sorted(path.rglob("*")):
            if each.is_file() and each.suffix in ("", ".py", ".yaml", ".toml", ".yml", ".json", ".md", ".in", ".txt"):
                yield str(each.relative_to(ROOT))


def names(file: str, provider: str) -> list[str]:
    """The lines of a file that name the provider, but for what AWS calls a field."""
    word = re.compile(rf"(?!SenderFault|SenderId){provider}", re.IGNORECASE)
    return [line.strip() for line in (ROOT / file).read_text().splitlines() if word.search(line)]


def examples(name: str) -> tuple[str, ...]:
    return EXAMPLE if name in INVENTED else ()


@pytest.mark.parametrize("name", PROVIDERS)
def test_only_its_own_places_name_it(name: str) -> None:
    """GIVEN the code, the local tools and the benches WHEN searched THEN no file but the provider's own names it."""
    found = {file: names(file, name) for file in files(*PRODUCT) if file not in own_places(name)}
    allowed = (*ELSEWHERE, *examples(name))
    assert {file: lines for file, lines in found.items() if lines and not file.startswith(allowed)} == {}


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_test_names_it_for_a_reason(name: str) -> None:
    """GIVEN the tests WHEN searched THEN those that name the provider are its own, or listed here with their reason."""
    listed = {f"tests/{file}" for files in TESTS.values() for file in files}
    naming = {file for file in files("tests") if file.endswith(".py") and names(file, name)}
    own = {f"tests/unit/providers/test_{name}.py", "tests/unit/providers/test_places.py"}
    assert {file for file in naming - listed - own if not file.startswith(examples(name))} == set()


def test_each_exception_is_one() -> None:
    """A file that no longer names a provider is not excepted."""
    excepted = [*ELSEWHERE, *(f"tests/{file}" for files in TESTS.values() for file in files)]
    assert [file for file in excepted if not any(names(file, name) for name in PROVIDERS)] == []
