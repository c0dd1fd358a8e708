"""A golden case that is like another: what it does not say is the other's, and what it says is its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.providers.golden import compact, load

LEAST: dict[str, Any] = {
    "title": "The plainest event",
    "seed": ["It takes events."],
    "base_url": "https://api.crow.example",
    "credentials": {"key": "k-1"},
    "event": {"id": "e-1", "customer": {"email": "ada@example.com"}, "occurred_at": "2026-11-22T10:00:00Z"},
    "expect": {
        "method": "POST",
        "url": "https://api.crow.example/events",
        "headers": {"X-Key": "k-1", "Accept": "application/json"},
        "body": {"events": [{"who": {"email": "ada@example.com"}, "time": "10:00", "id": "e-1"}], "more": False},
    },
}
EVERYTHING: dict[str, Any] = {
    **LEAST,
    "expect": {"body": {"events": [{"who": {"id": "", "email": ""}, "time": "", "properties": {}, "id": ""}]}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "crow"
    made.mkdir()
    (made / "least.json").write_text(json.dumps(LEAST))
    (made / "everything.json").write_text(json.dumps(EVERYTHING))
    return made


def completed(folder: Path, **data: Any) -> dict[str, Any]:
    (folder / "case.json").write_text(json.dumps({"like": "least", "title": "Another", "seed": ["So."], **data}))
    return load(folder / "case.json", folder.parent).data


def test_it_differs_in_what_it_says_alone(folder: Path) -> None:
    """GIVEN a case that says nothing more THEN all but its title and its sentences is the other's."""
    assert completed(folder) == {**LEAST, "title": "Another", "seed": ["So."]}


def test_an_event_s_fields_take_the_place_of_the_others(folder: Path) -> None:
    """GIVEN a customer THEN nothing of the other's customer is left; a null takes a field away, but not in a map."""
    given = {"customer": {"id": "4711"}, "occurred_at": None, "properties": {"gone": None}}
    data = completed(folder, event=given, credentials={"key": "k-2"})
    assert data["event"] == {"id": "e-1", "customer": {"id": "4711"}, "properties": {"gone": None}}
    assert data["credentials"] == {"key": "k-2"}


def test_what_is_expected_is_patched_and_keeps_the_order_of_everything(folder: Path) -> None:
    """GIVEN changes at any depth THEN what they do not name stays, a null takes away, and fields stand in the page's
    order, for bodies are compared byte by byte.
    """
    changes = {"0": {"properties": {"b": 1, "a": 2}, "who": {"email": None, "id": "4711"}, "time": None}}
    data = completed(folder, expect={"headers": {"X-Key": "k-2"}, "body": {"events": changes}})
    assert data["expect"]["headers"] == {"X-Key": "k-2", "Accept": "application/json"}
    expected = {"events": [{"who": {"id": "4711"}, "properties": {"b": 1, "a": 2}, "id": "e-1"}], "more": False}
    assert compact(data["expect"]["body"]) == compact(expected)
    assert data["expect"]["url"] == LEAST["expect"]["url"]


def test_a_refused_event_expects_no_request(folder: Path) -> None:
    """GIVEN errors THEN nothing that the other expects is left."""
    refused = {"refused_by": "provider", "errors": [{"field": "customer", "message_contains": "needs"}]}
    assert completed(folder, event={"customer": {"id": "1"}}, expect=refused)["expect"] == refused


def test_a_case_may_be_like_one_that_is_like_another(folder: Path) -> None:
    """GIVEN two steps THEN both changes are in it."""
    (folder / "middle.json").write_text(json.dumps({"like": "least", "event": {"id": "e-2"}}))
    data = completed(folder, like="middle", event={"occurred_at": None})
    assert data["event"] == {"id": "e-2", "customer": {"email": "ada@example.com"}}
