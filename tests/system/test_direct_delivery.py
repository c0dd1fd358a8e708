"""A deliver function called by hand: shows the exact request, or delivers once and tells what happened."""

import json

import pytest

from local.sandbox.contract import contracts
from relay.contract.event import parse_event
from tests.kinds import FAST, PAIR, SLOW
from tests.system.running import Json, Relay, event, secret, token

every_provider = pytest.mark.parametrize("provider", PAIR)


def call(provider: str, body: Json, **more: object) -> Json:
    return {"destination": f"{provider}/main", "event": body, **more}


@every_provider
def test_a_dry_run_shows_the_request_and_sends_nothing(relay: Relay, provider: str) -> None:
    """Secrets masked; nothing sent, nothing recorded."""
    name = f"dry_{provider}"
    answer = relay.call(provider.title(), call(provider, event(name), dry_run=True))
    assert (answer["dry_run"], answer["destination"]) == (True, f"{provider}/main")
    shown, request = (
        answer["request"],
        PAIR[provider]("").build(parse_event(event(name)), json.loads(secret(provider, "main"))).masked(),
    )
    assert shown["url"].endswith(request["url"])
    assert (shown["method"], shown["body"]) == (request["method"], request["body"])
    assert token(provider, "main") not in str(answer)
    assert relay.providers.requests(name) == []
    assert relay.ledger(f"{name}-1") == {}


@every_provider
def test_a_dry_run_takes_what_a_delivery_takes(relay: Relay, provider: str) -> None:
    """An event without `occurred_at` is deliverable, so its request can be shown."""
    answer = relay.call(provider.title(), call(provider, event("dry_moment", occurred_at=...), dry_run=True))
    assert "errors" not in answer
    assert answer["request"]["body"]


@every_provider
def test_a_direct_delivery_delivers_once(relay: Relay, provider: str) -> None:
    """The same call again is a duplicate, and says so."""
    name = f"direct_{provider}"
    first = relay.call(provider.title(), call(provider, event(name)))
    assert (first["outcome"], first["event_id"], first["attempts"]) == ("delivered", f"{name}-1", 1)
    assert first["response"]["status"] == contracts()[provider].answers.accepted.status
    assert token(provider, "main") not in str(first)
    again = relay.call(provider.title(), call(provider, event(name)))
    assert (again["outcome"], again["request"], again["response"]) == ("duplicate", None, None)
    assert len(relay.providers.requests(name)) == 1
    assert relay.ledger(f"{name}-1")[f"{provider}/main"]["state"] == "delivered"


def test_a_refused_direct_delivery_is_told_not_kept(relay: Relay) -> None:
    """The caller holds the event: no dead letter."""
    relay.providers.misbehave("direct_refused", status=422, body={"message": "no"})
    answer = relay.call(SLOW.title(), call(SLOW, event("direct_refused")))
    assert (answer["outcome"], answer["reason"], answer["detail"]) == ("rejected", "HTTP 422", "no")
    assert relay.dead_letters(SLOW, "direct_refused-1") == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"destination": f"{SLOW}/main", "event": event("direct_bad")}, "destination"),
        ({"destination": f"{FAST}/nobody", "event": event("direct_bad")}, "destination"),
        ({"destination": f"{FAST}/main", "event": event("direct_bad", colour="blue")}, "colour"),
        ({"destination": f"{FAST}/main", "event": event("direct_bad"), "dry-run": True}, "dry-run"),
        ({"destination": f"{FAST}/main"}, "event"),
        (event("direct_bad"), "destination"),
        ([], "body"),
    ],
)
def test_a_wrong_call_hears_which_field(relay: Relay, asked: object, field: str) -> None:
    answer = relay.call(FAST.title(), asked)
    assert answer["outcome"] == "rejected"
    assert field in [error["field"] for error in answer["errors"]]
    assert relay.providers.requests("direct_bad") == []
