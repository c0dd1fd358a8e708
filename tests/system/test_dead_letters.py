"""What is accepted and then given up: a dead letter with all a person needs, and nothing they may not see."""

import json
from typing import Any

import pytest

from tests.system.running import PHONE, Json, Letter, Relay, event, token, until

EMAIL = "alan.turing@customers.example"


def told(provider: str, **more: Any) -> Json:
    """An error body in which the provider repeats all it should not."""
    url = f"https://api.example/v1?access_token={token(provider, 'main')}"
    return {"message": f"{EMAIL} and {PHONE} are wrong for {token(provider, 'main')}, see {url}", **more}


def given_up(relay: Relay, provider: str, body: Json) -> Letter:
    """Sends the event, waits for its one dead letter, and checks that it holds nothing secret or personal."""
    relay.send(body)
    [letter] = until(lambda: relay.dead_letters(provider, body["id"]), f"the dead letter of {body['id']}")
    assert json.loads(letter.body)["id"] == body["id"]
    evidence = {"reason", "destination", "event_id", "status", "attempts"}
    assert set(letter.attributes) == evidence | {"content_hash", "accepted_at", "correlation_id", "letter"}
    assert letter.attributes["destination"] == f"{provider}/main"
    for hidden in (EMAIL, PHONE, token(provider, "main"), "api.example"):
        assert hidden not in str(letter.attributes)
    relay.until_drained()
    return letter


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("provider", ["yotpo", "sender"])
def test_what_a_provider_refuses_becomes_a_dead_letter(relay: Relay, provider: str, status: int) -> None:
    """After one request, with its status and its words, masked."""
    name = f"refused_{provider}_{status}"
    body = told(provider, errors={"customer": [f"{EMAIL} is not known"]})
    relay.providers.misbehave(name, status=status, body=body)
    letter = given_up(relay, provider, event(name, customer={"email": EMAIL}, destinations=[f"{provider}/main"]))
    assert letter.attributes["reason"].startswith(f"HTTP {status}: *** and *** are wrong for ***")
    assert "customer: *** is not known" in letter.attributes["reason"]
    assert (letter.attributes["status"], letter.attributes["attempts"]) == (str(status), "1")
    assert len(relay.providers.requests(name)) == 1
    record = relay.ledger(f"{name}-1")[f"{provider}/main"]
    assert (record["state"], record["outcome"], record["status"]) == ("given_up", "rejected", str(status))


def test_a_success_that_says_it_failed_is_a_failure(relay: Relay) -> None:
    """Sender's 200 with `success: false`."""
    relay.providers.misbehave("no_success", status=200, body=told("sender", success=False))
    letter = given_up(relay, "sender", event("no_success", destinations=["sender/main"]))
    assert letter.attributes["reason"].startswith("HTTP 200: ")
    assert letter.attributes["status"] == "200"


@pytest.mark.parametrize("provider", ["yotpo", "sender"])
def test_a_stale_event_is_not_sent(relay: Relay, provider: str) -> None:
    """Nobody wants last week's cart reminder."""
    name = f"stale_{provider}"
    past = "2026-01-01T00:00:00Z"
    letter = given_up(relay, provider, event(name, expires_at=past, destinations=[f"{provider}/main"]))
    assert letter.attributes["reason"] == "passed its expires_at"
    assert (letter.attributes["status"], letter.attributes["attempts"]) == ("-", "0")
    assert relay.providers.requests(name) == []
    assert relay.ledger(f"{name}-1")[f"{provider}/main"]["outcome"] == "expired"


def test_what_one_provider_cannot_take_fails_there_only(relay: Relay) -> None:
    """A text of 3 KB is too long for Sender, and nothing to Yotpo."""
    body = event("long_text", properties={"text": "x" * 3_000})
    letter = given_up(relay, "sender", body)
    assert "properties.text: is 3000 bytes long" in letter.attributes["reason"]
    assert relay.providers.requests("long_text", "sender") == []
    until(lambda: relay.providers.accepted("long_text", "yotpo"), "the event at Yotpo")
    assert relay.dead_letters("yotpo", "long_text-1") == []


@pytest.mark.parametrize("provider", ["yotpo", "sender"])
@pytest.mark.parametrize(
    ("body", "event_id"), [('{"id": "half', "-"), ("[]", "-"), ('{"id": "bare"}', "bare")], ids=["half", "list", "bare"]
)
def test_what_is_no_event_becomes_a_dead_letter_of_its_lane(
    relay: Relay, provider: str, body: str, event_id: str
) -> None:
    """Another writer's malformed message: kept as it was, named as far as it can be, and in nobody's way."""
    relay.put_on_lane(provider, body)
    good = event(f"behind_{len(body)}", destinations=[f"{provider}/main"])
    relay.put_on_lane(provider, good)
    [letter] = until(lambda: [one for one in relay.dead_letters(provider) if one.body == body], "the dead letter")
    told = {name: letter.attributes[name] for name in ("destination", "event_id", "status", "attempts")}
    assert told == {"destination": f"{provider}/main", "event_id": event_id, "status": "-", "attempts": "0"}
    assert ": " in letter.attributes["reason"]
    relay.until_settled([good])


@pytest.mark.parametrize(
    ("account", "changes"),
    [("nobody", {"destinations": ...}), ("main", {"destinations": ["sender/main"]})],
    ids=["unknown account", "another's event"],
)
def test_what_is_on_the_wrong_lane_becomes_a_dead_letter(relay: Relay, account: str, changes: Json) -> None:
    """A group that is no account of this stack, and an event that does not name this destination."""
    body = event(f"astray_{account}", **changes)
    relay.put_on_lane("yotpo", body, account)
    [letter] = until(lambda: relay.dead_letters("yotpo", body["id"]), "the dead letter")
    assert f"yotpo/{account}" in letter.attributes["reason"]
    assert letter.attributes["destination"] == f"yotpo/{account}"
    assert relay.providers.requests(body["type"]) == []
