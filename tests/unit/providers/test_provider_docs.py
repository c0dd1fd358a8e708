"""The providers' pages are true: their examples, their settings, and the table that maps each sentence to its proof."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from relay.contract.destination import Destination
from relay.outcome import Outcome
from relay.ports import Reply
from relay.providers import PROVIDERS
from relay.providers.base import DestinationSettings
from tests.unit.providers.golden import GOLDEN, REPLIES, REQUESTS, ROOT, case, settings_of

SEEDS = ROOT.parent / "shared" / "seeds"
"""The providers' pages as they were, kept beside the project; not there on a user's machine."""

every_provider = pytest.mark.parametrize("name", PROVIDERS)


@cache
def page(name: str) -> dict[str, str]:
    """The sections of a provider's page by heading."""
    text = (ROOT / "docs" / "providers" / f"{name}.md").read_text()
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def json_blocks(name: str, heading: str) -> list[object]:
    return [json.loads(block) for block in re.findall(r"```json\n(.+?)```", page(name)[heading], flags=re.DOTALL)]


def sentences(name: str) -> dict[str, list[str]]:
    """The table: each sentence, and the names of what proves it."""
    rows = re.findall(r"^\| (.+) \| (`.+`) \|$", page(name)["The page, sentence by sentence"], flags=re.MULTILINE)
    return {plain(sentence): re.findall(r"`([^`]+)`", proofs) for sentence, proofs in rows}


def furniture(name: str) -> list[str]:
    return [
        plain(one) for one in re.findall(r"^- (.+)$", page(name)["The page, sentence by sentence"], flags=re.MULTILINE)
    ]


def plain(text: str) -> str:
    """Text without what a table adds to it or line breaks do."""
    return re.sub(r"\s+", " ", re.sub(r"\|(-+\|)*", " ", text)).strip()


def exists(name: str, proof: str) -> bool:
    """A golden case of the provider (`least`, `replies/throttled`) or a test (`test_file.py::test_name`)."""
    file, _, test = proof.partition("::")
    if not test:
        return (GOLDEN / name / f"{proof}.json").is_file()
    source = Path(__file__).with_name(file)
    return source.is_file() and f"\ndef {test}(" in source.read_text()


@every_provider
def test_every_proof_exists(name: str) -> None:
    """GIVEN the table WHEN it names a golden case or a test THEN there is one of that name."""
    assert sentences(name)
    named = [proof for proofs in sentences(name).values() for proof in proofs]
    assert [proof for proof in named if not exists(name, proof)] == []


@every_provider
def test_every_golden_case_is_in_the_table(name: str) -> None:
    """A golden case that proves no sentence is either superfluous or missing from the page."""
    named = {proof for proofs in sentences(name).values() for proof in proofs}
    assert {one.name for one in REQUESTS + REPLIES if one.provider == name} - named == set()


@every_provider
def test_every_quote_of_a_golden_case_is_in_the_table(name: str) -> None:
    """GIVEN the sentences a golden case says it proves THEN they are the page's."""
    text = " ".join(sentences(name))
    quotes = {plain(quote) for one in REQUESTS if one.provider == name for quote in one.data["seed"]}
    assert {quote for quote in quotes if quote not in text} == set()


@every_provider
def test_no_sentence_of_the_providers_page_is_left_out(name: str) -> None:
    """GIVEN the provider's page WHEN the table's sentences and the named rest are taken out THEN no word is left."""
    seeds = list(SEEDS.glob(f"{name}-*.txt"))
    if not seeds:
        pytest.skip("the provider's page is not on this machine")
    left = plain(" ".join(seed.read_text() for seed in seeds))
    parts = [*sentences(name), *furniture(name)]
    assert [part for part in parts if part not in left] == []
    for part in sorted(parts, key=len, reverse=True):
        left = left.replace(part, " … ")
    assert re.findall(r"\w+", left) == []


@every_provider
def test_the_example_is_the_golden_one(name: str) -> None:
    """GIVEN the page's example THEN it is the case `everything`: event, address and body."""
    golden = case(name, "everything")
    event, body = json_blocks(name, "What is sent")
    assert event == golden.data["event"]
    assert body == golden.data["expect"]["body"]
    request = golden.build().masked()
    assert f"`{request['method']} {request['url']}`" in page(name)["What is sent"]


@every_provider
def test_the_settings_example_is_valid(name: str) -> None:
    """GIVEN the page's value of DestinationSettings THEN each part is what the provider's settings take."""
    (example,) = json_blocks(name, "Settings")
    assert isinstance(example, dict)
    for destination, values in example.items():
        assert Destination(destination).provider == name
        PROVIDERS[name].settings_model.model_validate(values)
    assert {key for values in example.values() for key in values} == settings_of(name).keys()


@every_provider
def test_the_settings_table_is_complete(name: str) -> None:
    """Every setting has its row, with the default the code has; unset limits mean the provider's own."""
    table = page(name)["Settings"]
    for key, field in settings_of(name).items():
        (row,) = [line for line in table.splitlines() if line.startswith("| `") and f"`{key}`" in line.split("|")[1]]
        if isinstance(field.default, str):
            assert f"`{field.default or '""'}`" in row
    limits = ", ".join(f"{limit.requests} and {limit.window:g}" for limit in PROVIDERS[name].limits)
    assert f"| {limits} |" in table
    assert {"requests", "window_seconds"} <= set(DestinationSettings.model_fields)


@every_provider
def test_the_secret_example_has_its_keys(name: str) -> None:
    """GIVEN the page's secret THEN it holds exactly what the provider needs."""
    (example,) = json_blocks(name, "The secret")
    assert isinstance(example, dict)
    assert tuple(example) == PROVIDERS[name].credentials


@every_provider
def test_every_outcome_row_is_true(name: str) -> None:
    """GIVEN a row of the table WHEN a reply has a status it names THEN the outcome is the row's."""
    subject = PROVIDERS[name]("https://provider.example")
    table = re.findall(r"^\| (.+?) \| `(\w+)` \|", page(name)["Replies and outcomes"], flags=re.MULTILINE)
    for replies, outcome in table:
        said = [rule.body for rule in subject.rules if rule.body and all(key in replies for key in rule.body)]
        # What a rule says of a part of the body; "..." is anything but nothing.
        body = json.dumps(said[0], default=lambda _: ["x"]).encode() if said else b""
        for status in re.findall(r"\b\d(?:\d\d|xx)\b", replies.replace("other 4xx", "418")):
            assert subject.read(Reply(int(status.replace("xx", "04")), {}, body)) == outcome, status
    assert {outcome for _, outcome in table} == set(Outcome) - {Outcome.DUPLICATE, Outcome.EXPIRED}
