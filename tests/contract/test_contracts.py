"""What a description in `local/contracts/` may say of a provider, and what the sandbox makes of it."""

import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate
from starlette.datastructures import Headers

from local.sandbox.contract import Call, Contract
from local.sandbox.limits import Allowance
from local.sandbox.names import CONTRACTS, NAMES
from tests.contract.conftest import Client
from tests.unit.providers.golden import case

ALLOWANCE = Allowance(allowed=True, limit=9, remaining=4, reset=1.5)


def description(**changes: Any) -> dict[str, Any]:
    """A provider unlike those there are: a key in a header, the account in another, a body in layers, no reply body."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Crow", "version": "1"},
        "servers": [{"url": "https://api.crow.example"}],
        "security": [{"key": []}],
        "x-event": {"type": "data.metric.name", "id": "data.id", "properties": "data.more"},
        "x-limits": {"requests": 2, "window": 10, "counted": "fixed"},
        "x-sandbox": {"account": "nest", "token": "caw", "secret": {"site": "{account}", "key": "{token}"}},
        "paths": {
            "/api/events": {
                "put": {
                    "parameters": [
                        {"name": "X-Site", "in": "header", "schema": {"type": "string"}, "x-account": True},
                    ],
                    "requestBody": {
                        "content": {
                            "application/vnd.api+json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["data"],
                                    "properties": {
                                        "data": {
                                            "type": "object",
                                            "properties": {"more": {"type": "object", "x-max-text-bytes": 2}},
                                        }
                                    },
                                }
                            }
                        }
                    },
                    "responses": {
                        "202": {
                            "description": "Taken.",
                            "headers": {
                                "X-Limit": {"schema": {"type": "integer"}, "x-says": "limit"},
                                "X-Reset": {"schema": {"type": "integer"}, "x-says": "reset-epoch"},
                            },
                        },
                        "400": {
                            "description": "No.",
                            "content": example("invalid", {"errors": ["{field}: {message}"]}),
                        },
                        "401": {"description": "No.", "content": example("unauthorized", "who are you", "text/plain")},
                        "429": {"description": "No.", "content": example("throttled", {})},
                    },
                }
            }
        },
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "Authorization", "x-prefix": "Key "}}
        },
        **changes,
    }


def example(name: str, value: object, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"examples": {name: {"value": value}}}}


def call(body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> Call:
    given = {"Authorization": "Key caw", "X-Site": "nest"} if headers is None else headers
    return Call("PUT", "/api/events", {}, Headers({"Content-Type": "application/vnd.api+json", **given}), body)


@pytest.fixture
def crow(tmp_path: Path) -> Contract:
    (tmp_path / "crow.yaml").write_text(yaml.safe_dump(description()))
    return Contract("crow", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_description_is_openapi(name: str) -> None:
    """GIVEN a provider's file WHEN read as OpenAPI THEN any other tool can read it, too."""
    validate(yaml.safe_load((CONTRACTS / f"{name}.yaml").read_text()))


@pytest.mark.parametrize(
    ("headers", "account"),
    [
        ({"Authorization": "Key caw", "X-Site": "nest"}, "nest"),
        ({"Authorization": "Key caw", "X-Site": "another"}, None),
        ({"Authorization": "Key caw"}, None),
        ({"Authorization": "caw", "X-Site": "nest"}, None),
        ({"X-Site": "nest"}, None),
    ],
)
def test_a_token_and_an_account_stand_where_the_description_says(
    crow: Contract, headers: dict[str, str], account: str | None
) -> None:
    """GIVEN a prefix before the key and the account in a header WHEN called THEN both have to be right."""
    assert crow.account(call(headers=headers), {"caw": "nest"}) == account


def basic(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "account"),
    [
        (f"Basic {basic('nest:caw')}", "nest"),
        (f"basic {basic('nest:caw')}", "nest"),
        (f"Basic {basic('tree:caw')}", None),
        (f"Basic {basic('nest:croak')}", None),
        (f"Basic {basic('nest')}", None),
        ("Basic nest:caw", None),
        ("Basic /w==", None),
        (f"Bearer {basic('nest:caw')}", None),
        ("", None),
    ],
)
def test_in_basic_authentication_the_user_is_the_account(tmp_path: Path, header: str, account: str | None) -> None:
    """GIVEN a user and a token in one header WHEN called THEN both have to be right, and neither is shown."""
    changed = description()
    changed["components"]["securitySchemes"]["key"] = {"type": "http", "scheme": "basic"}
    (tmp_path / "crow.yaml").write_text(yaml.safe_dump(changed))
    contract = Contract("crow", tmp_path)
    assert contract.account(call(headers={"Authorization": header}), {"caw": "nest"}) == account
    assert contract.account_stands_in == "user"
    right = f"Basic {basic('nest:caw')}"
    _, shown = contract.shown(call(headers={"Authorization": right, "X-Copy": f"caw, {right}"}), ["croak"])
    assert (shown["authorization"], shown["x-copy"]) == ("Basic ***", "***, Basic ***")


def test_the_event_is_found_at_any_depth(crow: Contract) -> None:
    """GIVEN paths WHEN a body is read THEN each part is found, and none in what has another form."""
    body = {"data": {"metric": {"name": "seen"}, "id": "e-1"}}
    assert [crow.event(part, body) for part in ("type", "id", "customer")] == ["seen", "e-1", None]
    others: list[Any] = [{"data": "seen"}, [], None, {"data": {"metric": []}}]
    assert [crow.event("type", other) for other in others] == [None] * 4


def test_an_event_in_a_list_is_found_there(tmp_path: Path) -> None:
    """GIVEN a body that is a list of events WHEN read THEN the first is the event, also where sizes are counted."""
    within = {"type": "object", "properties": {"more": {"type": "object", "x-max-text-bytes": 2}}}
    schema = {"type": "object", "properties": {"events": {"type": "array", "items": within}}}
    changed = description(**{"x-event": {"type": "events[0].name", "properties": "events[0].more"}})
    changed["paths"]["/api/events"]["put"]["requestBody"]["content"]["application/vnd.api+json"]["schema"] = schema
    (tmp_path / "crow.yaml").write_text(yaml.safe_dump(changed))
    contract = Contract("crow", tmp_path)
    assert contract.event("type", {"events": [{"name": "seen"}, {"name": "sold"}]}) == "seen"
    others: list[Any] = [{"events": []}, {"events": {"name": "seen"}}, {"events": ["seen"]}, [], "seen", None]
    assert [contract.event("type", other) for other in others] == [None] * 6
    wrong = contract.violations(call(b'{"events": [{"more": {"a": "123", "b": "12"}}]}'))
    assert [(one.field, one.message) for one in wrong] == [("events[0].more.a", "is longer than 2 bytes")]


def test_a_customer_in_the_path_is_found_there(tmp_path: Path) -> None:
    """GIVEN a parameter in braces WHEN a path is read THEN it is the customer, as they are called; else nobody."""
    changed = description(**{"x-event": {"type": "type", "customer": "{who}"}})
    changed["paths"] = {"/api/{who}/events": next(iter(changed["paths"].values()))}
    (tmp_path / "crow.yaml").write_text(yaml.safe_dump(changed))
    contract = Contract("crow", tmp_path)
    assert contract.event("customer", {}, "/api/ada%40example.com/events") == "ada@example.com"
    assert contract.event("customer", {"who": "x"}, "/api/events") is None
    assert contract.event("customer", None) is None


def test_the_first_success_needs_no_example_where_it_has_no_body(crow: Contract) -> None:
    """GIVEN a 202 without content WHEN accepted THEN that is the answer, with the headers as the page has them."""
    answer = crow.answers.accepted
    headers = answer.headers(ALLOWANCE)
    assert (answer.status, answer.media_type, headers["X-Limit"]) == (202, "", "9")
    assert 0 <= int(headers["X-Reset"]) - time.time() <= 2.5
    assert (crow.method, crow.media_type) == ("put", "application/vnd.api+json")


def test_what_is_wrong_is_worded_as_the_example(crow: Contract) -> None:
    """GIVEN a list that holds the words WHEN two things are wrong THEN it has an item for each."""
    wrong = crow.violations(call(b'{"data": {"more": {"a": "\xc3\xa9\xc3\xa9", "b": "123", "c": "12"}}}'))
    assert crow.answers.invalid(wrong).body == {
        "errors": ["data.more.a: is longer than 2 bytes", "data.more.b: is longer than 2 bytes"]
    }
    assert crow.answers.unreadable.body == {"errors": ["request: is not JSON"]}
    assert crow.violations(call(b"{}"))


def test_the_secret_is_told_for_any_account(crow: Contract) -> None:
    """GIVEN which key holds what WHEN a secret is asked for THEN it has the account's words in their places."""
    assert crow.secret() == {"site": "nest", "key": "caw"}
    assert crow.secret("tree", "croak") == {"site": "tree", "key": "croak"}
    assert (crow.public("site"), crow.public("key")) == (True, False)


def test_a_word_that_says_nothing_is_a_mistake(tmp_path: Path) -> None:
    """GIVEN a header whose meaning is misspelt WHEN it is to be sent THEN that is an error, not a header left out."""
    changed = description()
    (path,) = changed["paths"].values()
    path["put"]["responses"]["202"]["headers"]["X-Limit"]["x-says"] = "lmit"
    (tmp_path / "crow.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(ValueError, match="lmit"):
        Contract("crow", tmp_path).answers.accepted.headers(ALLOWANCE)


@pytest.mark.parametrize("provider", NAMES)
def test_a_provider_is_served_under_its_name_too(sandbox: Client, provider: str) -> None:
    """GIVEN two providers that may have one path WHEN called under their names THEN each gets its own requests."""
    golden = case(provider, "least")
    request = type(golden.subject)(f"/{provider}").build(golden.event, golden.data["credentials"])
    assert sandbox.post(request.url, request.body).status == 401
    assert [one["provider"] for one in sandbox.requests()] == [provider]
