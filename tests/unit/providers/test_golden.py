"""The golden cases against the contract and the real providers: event in, exact request out; reply in, outcome out."""

import json
from datetime import datetime
from urllib.parse import unquote, urlsplit

import pytest
from starlette.datastructures import Headers

from local.sandbox.contract import Call, contracts
from relay.contract.event import parse_event
from relay.contract.parsing import parse_json
from relay.ports import Reply
from tests.unit.providers.golden import REFUSED, REPLIES, REQUESTS, SENT, Case, budget, compact, each, refusal, said

BY_STACK = [one for one in SENT if "settings" not in one.data and not one.name.startswith("base_url")]


@each(SENT)
def test_an_event_becomes_exactly_this_request(golden: Case) -> None:
    """GIVEN an event WHEN its request is built THEN method, URL, headers and every byte of the body are the case's."""
    expected = golden.data["expect"]
    request = golden.build()
    assert request.method == expected["method"]
    assert request.url == expected["url"]
    assert dict(request.headers) == expected["headers"]
    assert json.loads(request.body) == expected["body"]
    # Byte for byte: UTF-8, compact, fields in the page's order, 5 not 5.0 and 5.0 not 5.
    assert request.body == compact(expected["body"])


@each(REFUSED)
def test_an_event_is_refused_for_exactly_these_reasons(golden: Case) -> None:
    """GIVEN an event one cannot send THEN the right side refuses it and names every field, no more and no less."""
    expected = golden.data["expect"]
    refused_by, errors = refusal(golden)
    assert refused_by == expected["refused_by"]
    assert [field for field, _ in errors] == [one["field"] for one in expected["errors"]]
    for (_, message), one in zip(errors, expected["errors"], strict=True):
        assert one["message_contains"] in message


@each(SENT)
def test_the_way_through_the_lane_changes_nothing(golden: Case) -> None:
    """GIVEN the event as intake writes it to a lane WHEN deliver reads it THEN the request is the same."""
    event = parse_event(parse_json(golden.event.to_json()))
    assert golden.subject.build(event, golden.data["credentials"]) == golden.build()


@each(SENT)
def test_an_absent_value_is_never_sent_as_null(golden: Case) -> None:
    """A null in any depth of a body may be refused; what is absent is left out."""
    assert b":null" not in golden.build().body


@each([one for one in SENT if contracts()[one.provider].account_stands_in == "path"])
def test_the_account_stays_one_segment_of_the_path(golden: Case) -> None:
    """GIVEN any account's ID THEN the path has as many segments as with a plain one, and decodes to the ID itself."""
    url = urlsplit(golden.build().url)
    (account,) = [
        value for key, value in golden.data["credentials"].items() if contracts()[golden.provider].public(key)
    ]
    assert [unquote(segment) for segment in url.path.split("/")].count(account) == 1
    assert url.fragment == ""


@each(BY_STACK)
def test_the_sandbox_takes_the_request(golden: Case) -> None:
    """GIVEN a request in the provider's default form THEN the local sandbox's contract finds nothing wrong with it."""
    request = golden.build()
    url = urlsplit(request.url)
    query = {name: unquote(value) for name, _, value in (part.partition("=") for part in url.query.split("&")) if name}
    call = Call(request.method, url.path, query, Headers(dict(request.headers)), request.body)
    contract = contracts()[golden.provider]
    assert contract.match(url.path) is not None
    assert contract.violations(call) == []


@each(REPLIES)
def test_a_reply_is_read_exactly_so(golden: Case) -> None:
    """GIVEN a provider's answer THEN its outcome, what it says of the budget, and its words (masked) are the case's."""
    subject, given, expected = golden.subject, golden.data["reply"], golden.data["expect"]
    body = given["body"].encode() if isinstance(given["body"], str) else compact(given["body"])
    reply = Reply(given["status"], given["headers"], body)
    now = datetime.fromisoformat(golden.data["now"]).timestamp()
    assert subject.read(reply) == expected["outcome"]
    assert said(subject.budget(reply, now)) == budget(expected["budget"])
    assert subject.detail(reply, ()) == expected["detail"]


@each(REQUESTS + REPLIES)
def test_a_case_is_written_as_agreed(golden: Case) -> None:
    """A misspelt key would switch a check off without a word."""
    if golden in REPLIES:
        assert set(golden.data) == {"title", "basis", "now", "reply", "expect"}
        assert set(golden.data["reply"]) == {"status", "headers", "body"}
        assert set(golden.data["expect"]) == {"outcome", "budget", "detail"}
        assert golden.data["basis"].split(";")[0] in {"seed", "docs", "assumed"}
        return
    assert set(golden.data) - {"settings"} == {"title", "seed", "base_url", "credentials", "event", "expect"}
    assert golden.data["title"]
    assert golden.data["seed"]
    assert all(isinstance(quote, str) and quote for quote in golden.data["seed"])
    expected = golden.data["expect"]
    if "errors" in expected:
        assert set(expected) == {"refused_by", "errors"}
        assert expected["errors"]
        assert all(set(one) == {"field", "message_contains"} and all(one.values()) for one in expected["errors"])
    else:
        assert set(expected) == {"method", "url", "headers", "body"}


@pytest.mark.parametrize("group", [REQUESTS, REPLIES], ids=["requests", "replies"])
def test_no_two_cases_of_a_provider_have_the_same_title(group: list[Case]) -> None:
    """A case is found by its title in a test report."""
    titles = [(one.provider, one.data["title"]) for one in group]
    assert len(titles) == len(set(titles))
