"""A provider that nobody has: written by make provider, its blanks answered, and an event delivered to it."""

import difflib
import json
import sys
from collections.abc import Iterator

import pytest

from local.machine import ROOT
from relay.providers import PROVIDERS
from tests.checkout import Checkout
from tools.provider import MARK, blanks, edits, new_files

NAME = "heron"
ANSWERS = {
    'bearer("api_key")': 'Header("api_key", "X-Api-Key")',
    "auth import bearer": "auth import Header",
    '"Authorization": "Bearer ': '"X-Api-Key": "',
    "{type: http, scheme: bearer}": "{type: apiKey, in: header, name: X-Api-Key}",
    "/v1/events": "/v1/flights",
    f"{MARK}: ": "",
    f"{MARK}. ": "",
}
"""What its page says otherwise than the scaffold has guessed; every other guess is right."""

BRIEFLY = ("-q", "-p", "no:cacheprovider", "--hypothesis-profile", "quick")


ITS_TESTS = ("tests/unit/providers", "-k", " and ".join(f"not {name}" for name in PROVIDERS))
"""Those of the providers, but for the others' own cases."""


def python(checkout: Checkout, *arguments: str) -> tuple[int, str, str]:
    """A module run in the copy: its status, and what it wrote."""
    path = f"{checkout.folder}/layers/relay:{checkout.folder}"
    done = checkout.run(sys.executable, "-m", *arguments, environment={"PYTHONPATH": path})
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the repository in which somebody has begun to add a provider."""
    made = Checkout.make(tmp_path_factory.mktemp("provider") / "relay")
    status, _, wrong = python(made, "tools.provider", NAME)
    assert status == 0, wrong
    return made


@pytest.fixture(scope="module")
def answered(checkout: Checkout) -> Checkout:
    """The same with every question answered."""
    for file in (*new_files(NAME), *edits(NAME)):
        path = checkout.folder / file
        text = path.read_text()
        for guess, answer in ANSWERS.items():
            text = text.replace(guess, answer)
        path.write_text(text)
    changes = checkout.folder / "CHANGELOG.md"
    changes.write_text(f"{changes.read_text()}\n- Heron ([its page](docs/providers/{NAME}.md)).\n")
    status, _, wrong = python(checkout, "tools.matrix")
    assert status == 0, wrong
    return checkout


@pytest.fixture(scope="module")
def up(answered: Checkout) -> Iterator[Checkout]:
    """The copy's stack, running."""
    try:
        status, said, wrong = python(answered, "local", "up")
        assert status == 0, said + wrong
        yield answered
    finally:
        python(answered, "local", "down")


def test_it_touches_two_files_and_twelve_lines() -> None:
    """GIVEN what make provider changes in files that are there THEN that is so little that nobody gets lost."""
    changed = edits(NAME)
    lines = [
        line
        for file, text in changed.items()
        for line in difflib.ndiff((ROOT / file).read_text().splitlines(), text.splitlines())
        if line.startswith("+ ")
    ]
    assert len(changed) <= 2
    assert len(lines) <= 12, "\n".join(lines)


def test_failing_tests_say_what_to_do_next(checkout: Checkout) -> None:
    """GIVEN a provider as it was written WHEN its tests run THEN what fails are questions alone, each with its line."""
    status, said, _ = python(checkout, "pytest", *BRIEFLY, *ITS_TESTS)
    failures = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert status == 1
    assert failures
    assert all(f"test_nothing_is_left_blank[{NAME}-" in line for line in failures), failures
    assert f"next: layers/relay/relay/providers/{NAME}.py:" in said


def test_what_stands_elsewhere_is_written_or_asked_for(checkout: Checkout) -> None:
    """GIVEN a provider as it was written THEN README's tables count it, and the changelog's line is still to come."""
    readme = (checkout.folder / "README.md").read_text()
    assert f"a lane for each of {len(PROVIDERS) + 1} providers" in readme
    assert f"](docs/providers/{NAME}.md)" in readme
    assert "CHANGELOG.md" in {one.file for one in blanks(NAME, checkout.folder)}


def test_a_name_that_is_taken_or_cannot_be_one_is_refused(checkout: Checkout) -> None:
    """GIVEN a provider that is there, or a name no resource can have WHEN asked for THEN nothing is written."""
    for name in (NAME, "Heron", "intake", "a-b"):
        status, _, wrong = python(checkout, "tools.provider", name)
        assert status == 1
        assert wrong


def test_answered_it_passes(answered: Checkout) -> None:
    """GIVEN every question answered WHEN the providers' tests and the linters run THEN nothing is left to say."""
    status, said, _ = python(answered, "pytest", *BRIEFLY, *ITS_TESTS)
    assert status == 0, said
    assert list(blanks(NAME, answered.folder)) == []
    for linter in (("ruff", "check"), ("ruff", "format", "--check"), ("mypy", "layers/relay/relay/providers")):
        status, said, wrong = python(answered, *linter)
        assert status == 0, said + wrong


def test_an_event_is_delivered_to_it(up: Checkout) -> None:
    """GIVEN the stack on the emulator WHEN an event names no destination THEN the new provider gets it too, once."""
    status, said, wrong = python(up, "local.invoke", "events/direct-order-shipped.json")
    assert status == 0, wrong
    found = json.loads(said)
    [fate] = [one for one in found["events"] if one["destination"] == f"{NAME}/main"]
    assert (fate["outcome"], fate["attempts"]) == ("delivered", 1)
    [request] = [one for one in found["requests"] if one["provider"] == NAME]
    assert (request["accepted"], request["status"], request["type"]) == (True, 200, "order_shipped")
    assert request["body"]["customer"] == {"email": "ada@example.com", "phone": "+15550100001"}
