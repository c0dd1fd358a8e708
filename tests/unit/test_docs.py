"""The documentation names what there is, and only what there is."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from relay.contract.event import Event
from relay.outcome import Outcome
from relay.providers import PROVIDERS
from relay.providers.base import Repeat, Useless
from relay.providers.limits import Limit
from relay.settings import PREFIX, DeliverSettings, IntakeSettings
from tools.matrix import matrix
from tools.template import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCS = {path: path.read_text() for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]}


TEMPLATE = load()
FIRST, *OTHERS = (provider.capitalize() for provider in PROVIDERS)


def of_first(name: str) -> str:
    """The first provider's parameters and outputs stand for those of all."""
    other = next((provider for provider in OTHERS if name.startswith(provider)), FIRST)
    return name.replace(other, FIRST)


@pytest.mark.parametrize("name", [*TEMPLATE["Parameters"], *TEMPLATE["Outputs"]])
def test_the_readme_names_every_parameter_and_output(name: str) -> None:
    """A reader finds each in it, or the first provider's."""
    assert f"`{of_first(name)}`" in README


def test_the_readme_names_no_parameter_that_is_not_there() -> None:
    """Every row of the configuration table is a parameter."""
    table = README.split("## Configuration")[1].split("Outputs:")[0]
    named = {
        name for row in re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert set(map(of_first, named)) == set(map(of_first, TEMPLATE["Parameters"]))


def test_the_readme_gives_each_parameter_s_default() -> None:
    """As the template has it; a dash for none, words for addresses."""
    table = README.split("## Configuration")[1].split("Outputs:")[0]
    for names, default in re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            there = str(TEMPLATE["Parameters"][name]["Default"])
            if not name.endswith("BaseUrl"):
                assert default == (f"`{there}`" if there else "\N{EN DASH}"), name


def test_the_readme_s_matrix_is_the_code_s() -> None:
    """Written by `python -m tools.matrix`, with a row for each provider."""
    assert matrix() in README
    assert len(matrix().splitlines()) == 2 + len(PROVIDERS)


def test_the_matrix_says_what_a_provider_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits in words, and who a customer may be, by what its payload takes."""
    kind = PROVIDERS[FIRST.lower()]
    before = matrix()
    monkeypatch.setattr(kind, "limits", (Limit(7, 1.0), Limit(9, 90.0)))
    monkeypatch.setattr(kind, "repeats", Repeat.IGNORED)
    monkeypatch.setattr(kind, "useless", Useless(timedelta(hours=5), "it yawns"))
    monkeypatch.setattr(kind, "payload", lambda *_: {})
    changed = set(matrix().splitlines()) - set(before.splitlines())
    (row,) = changed
    assert "| email, phone number, your `id`, its own id | 7 / s and 9 / 90 s | ignored by its id |" in row
    assert "| dead letter `id_reused` | 5 h: it yawns |" in row


def test_every_variable_is_documented() -> None:
    """The environment table is the settings models."""
    fields = {*IntakeSettings.model_fields, *DeliverSettings.model_fields}
    table = DOCS[ROOT / "docs/architecture.md"].split("## Environment")[1]
    assert set(re.findall(r"`(RELAY_\w+)`", table)) == {PREFIX + field.upper() for field in fields}


def test_every_outcome_is_documented() -> None:
    """The table of outcomes is the closed set."""
    table = DOCS[ROOT / "docs/delivery.md"].split("## Outcomes")[1].split("## How")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [str(outcome) for outcome in Outcome]


def test_every_make_target_named_exists() -> None:
    """What the documentation tells a person to type can be typed."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for text in DOCS.values() for target in re.findall(r"make ([a-z][a-z-]+)(?= |\n|`|$)", text)}
    typed = [code for text in DOCS.values() for code in re.findall(r"```.*?```|``.*?``|`[^`]+`", text, re.DOTALL)]
    commands = {word for word in named if any(f"make {word}" in code for code in typed)}
    assert commands
    assert commands <= targets


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """Files and anchors exist."""
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", DOCS[path]):
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_named_exists(path: Path) -> None:
    """A claim that names the test which shows it names one that there is."""
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCS[path]):
        assert (ROOT / file).exists(), file
        assert f"def {name}" in (ROOT / file).read_text(), f"{file}::{name}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_words_are_the_field_s(path: Path) -> None:
    """No pictures where there is a word. (What was decided is told in the words of its day.)"""
    if path.name != "decisions.md":
        assert not re.findall(r"\b(?:doors?|rooms?|house)\b", DOCS[path], re.IGNORECASE)


def test_the_index_of_decisions_names_each_once() -> None:
    """By its title. (That the link leads there, the test above sees.)"""
    _, index, *_ = DOCS[ROOT / "docs/decisions.md"].split("\n## ")
    entries = re.findall(r"^###? (\d{4}-\d\d-\d\d) — (.+)$", DOCS[ROOT / "docs/decisions.md"], re.MULTILINE)
    assert sorted(re.findall(r"^- (\S+) \[([^]]+)\]", index, re.MULTILINE)) == sorted(entries)
    assert len(set(entries)) == len(entries) > 0


def test_every_event_file_is_named_where_they_are() -> None:
    """events/README.md lists the files, and no others."""
    listed = re.findall(r"`([\w.-]+\.json)`", (ROOT / "events/README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in (ROOT / "events").glob("*.json"))


def test_the_schema_is_the_model_s() -> None:
    """docs/event.schema.json was generated from the code as it is."""
    schema = json.loads((ROOT / "docs/event.schema.json").read_text())
    assert schema["properties"].keys() == Event.model_fields.keys()
    assert schema["additionalProperties"] is False
