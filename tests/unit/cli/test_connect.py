"""`relay connect`: what a person types, and what a file holds, before anything is stored."""

import json
from typing import Any

import pytest

from cli.command import CommandError, Exit
from cli.connect import LONGEST, asked, fault, from_json
from relay.providers import PROVIDERS
from relay.providers.base import Provider

TOKEN = "eyJ0eXAiOiJKV1QifQ.x-y_z"

every_provider = pytest.mark.parametrize("name", PROVIDERS)


def make(name: str) -> Provider:
    return PROVIDERS[name]("https://provider.example")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "is empty"),
        (f'"{TOKEN}"', "is in quotes"),
        (f"'{TOKEN}", "is in quotes"),
        (f"Bearer {TOKEN}", "Bearer"),
        (f"bearer {TOKEN}", "Bearer"),
        (f"Authorization:{TOKEN}", "what the relay adds"),
        ("two words", "white space"),
        ("two\u00a0words", "white space"),
        ("two\nlines", "white space"),
        ("hidden\u200bin-it", "cannot be printed"),
        ("your-access-token", "placeholder"),
        ("<token>", "placeholder"),
        ("****", "placeholder"),
        ("x" * (LONGEST + 1), "longer than"),
        (TOKEN, ""),
        ("x" * LONGEST, ""),
    ],
)
def test_what_cannot_be_a_credential(value: str, why: str) -> None:
    """Is named, and never repeated."""
    said = fault(value)
    assert (why in said) if why else (said == "")
    assert TOKEN not in said


@every_provider
def test_a_secret_from_json(name: str) -> None:
    """Each part that the provider asks for, without white space around it."""
    provider = make(name)
    given = dict.fromkeys(provider.credentials, f" {TOKEN}\n")
    assert from_json(provider, json.dumps(given)) == dict.fromkeys(provider.credentials, TOKEN)


@every_provider
@pytest.mark.parametrize(
    "change",
    [
        lambda given: [given],
        lambda given: "text",
        lambda given: given | {"tok-in-a-key": "x"},
        lambda given: given | {"access_token": 5},
        lambda given: given | {"access_token": ["tok-in-a-list"]},
        lambda given: {},
        lambda given: given | {"access_token": "tok en"},
        lambda given: given | {"access_token": "tök-not-ascii"} if given.keys() == {"access_token"} else {},
    ],
    ids=range(8),
)
def test_json_that_is_no_secret(name: str, change: Any) -> None:
    """Is refused before anything is stored, in words that repeat nothing of it."""
    provider = make(name)
    with pytest.raises(CommandError) as caught:
        from_json(provider, json.dumps(change(dict.fromkeys(provider.credentials, TOKEN))))
    assert caught.value.exit_code is Exit.USAGE
    for part in ("tok-", "tok ", TOKEN, "tök"):
        assert part not in str(caught.value)


def test_what_is_no_json() -> None:
    """As a token that was piped by itself would be."""
    with pytest.raises(CommandError, match="no JSON object with") as caught:
        from_json(make(next(iter(PROVIDERS))), TOKEN)
    assert TOKEN not in str(caught.value)


@every_provider
def test_a_person_is_asked_for_each_part(name: str) -> None:
    """GIVEN answers that cannot be THEN each is asked for again; only what is no secret is shown, or offered."""
    provider = make(name)
    answers = iter(each for _ in provider.credentials for each in ("Bearer x", "", TOKEN))
    seen: list[tuple[str, bool, Any]] = []

    def ask(text: str, *, default: str | None, hide_input: bool, err: bool) -> str:
        seen.append((text.split(maxsplit=1)[0], hide_input, default))
        assert err, "standard output is for the answer"
        return next(answers)

    given = asked(provider, dict.fromkeys(provider.open_credentials, "before"), ask)
    assert given == dict.fromkeys(provider.credentials, TOKEN)
    assert seen == [
        (key, key not in provider.open_credentials, "before" if key in provider.open_credentials else None)
        for key in provider.credentials
        for _ in range(3)
    ]
