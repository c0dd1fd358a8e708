"""`relay check`: what an answer says of how an account is set up."""

import json
import time
from io import BytesIO
from typing import Any

import pytest

from cli.check import CHECK_EMAIL, HELD, INVALID, NO_SECRET, NO_TURN, OURS, WAITS, found_out, read, test_event, waits
from relay.contract.destination import Destination
from relay.contract.event import parse_event
from relay.ports import AccountRecord, State
from relay.providers import PROVIDERS
from relay.providers.checks import CHECKS, Verdict
from tests.kinds import SLOW
from tests.unit.cli.stack import stack

test_event.__test__ = False  # type: ignore[attr-defined]

every_provider = pytest.mark.parametrize("name", PROVIDERS)


def answered(status: int, body: str = "{}", outcome: str = "rejected", detail: str = "") -> dict[str, Any]:
    return {
        "outcome": outcome,
        "reason": f"HTTP {status}",
        "detail": detail,
        "response": {"status": status, "body": body},
    }


def unanswered(reason: str, outcome: str = "retry") -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason, "detail": "", "request": None, "response": None}


@every_provider
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (answered(200, outcome="delivered"), Verdict.WORKS),
        (answered(401, outcome="unauthorized"), Verdict.TOKEN),
        (answered(402), Verdict.INACTIVE),
        (answered(403, '{"message": "Forbidden"}', outcome="unauthorized"), Verdict.ACCOUNT),
        (answered(403, '{"message": "Upgrade your plan"}', outcome="unauthorized"), Verdict.INACTIVE),
        (answered(403, "<html>upgrade your browser</html>", outcome="unauthorized"), Verdict.ACCOUNT),
        (answered(404, "<!doctype html><title>404</title>"), Verdict.ADDRESS),
        (answered(405, '{"message": "Method Not Allowed"}'), Verdict.ADDRESS),
        (answered(302, "", outcome="retry"), Verdict.ADDRESS),
        (answered(400, '{"message": "type is not known"}'), Verdict.NAMES),
        (answered(422, '{"errors": {"type": ["unknown"]}}'), Verdict.NAMES),
        (answered(429, '{"message": "upgrade your plan for more"}', outcome="throttled"), Verdict.BUSY),
        (answered(500, outcome="retry"), Verdict.DOWN),
        (answered(503, "<html>", outcome="retry"), Verdict.DOWN),
        (answered(408, outcome="retry"), Verdict.DOWN),
        (answered(200, '{"success": false}'), Verdict.NAMES),
        (unanswered("no answer: NameResolutionError / gaierror"), Verdict.ADDRESS),
        (unanswered("no answer: SSLError / SSLCertVerificationError"), Verdict.ADDRESS),
        (unanswered("no answer: NewConnectionError"), Verdict.ADDRESS),
        (unanswered("no answer: ConnectTimeoutError"), Verdict.ADDRESS),
        (unanswered("no answer: ReadTimeoutError", "unknown"), Verdict.DOWN),
        (unanswered("no answer: ProtocolError / ConnectionResetError"), Verdict.DOWN),
        (unanswered("no readable secret for x/main", "unauthorized"), NO_SECRET),
        (unanswered("no budget left", "throttled"), NO_TURN),
        (unanswered("Secrets Manager unavailable (ThrottlingException)"), OURS),
        ({"outcome": "rejected", "errors": [{"field": "customer.email", "message": "is none"}]}, INVALID),
        ({"outcome": "unauthorized", "errors": [{"field": "destination", "message": "no secret"}]}, NO_SECRET),
    ],
    ids=str,
)
def test_what_each_provider_s_answers_say(name: str, answer: dict[str, Any], verdict: str) -> None:
    """Whichever provider: the same verdict; and where something is wrong it is said what to do."""
    found = read(answer, f"{name}/main")
    assert found.verdict == verdict
    assert found.is_well is (verdict in (Verdict.WORKS, Verdict.BUSY))
    assert found.do or verdict == Verdict.WORKS
    assert "{" not in found.do


def test_what_no_page_says_is_marked() -> None:
    """A guess is told as one: what an account says for which custom events are not activated is no provider's word."""
    assert all(check.assumed for check in CHECKS if check.verdict is Verdict.INACTIVE)
    assert read(answered(403), f"{SLOW}/main").assumed


@every_provider
def test_the_test_event_is_an_event_that_every_provider_takes(name: str) -> None:
    """And nobody takes it for a customer's."""
    event = parse_event(test_event(f"{name}/main", CHECK_EMAIL))
    credentials = dict.fromkeys(PROVIDERS[name].credentials, "x")
    body = PROVIDERS[name]("https://provider.example").build(event, credentials).body.decode()
    assert "relay_check" in body
    assert "No customer did this." in body
    assert CHECK_EMAIL.endswith("@example.com")


def test_an_account_that_waits_is_not_asked() -> None:
    """Held by an operator, or open for what the provider said: it says so, and which command ends it."""
    now = time.time()
    well = AccountRecord("a/b")
    assert waits(well, "a/b") is None
    held = waits(AccountRecord("a/b", held="their maintenance", held_by="Ann"), "a/b")
    assert held is not None
    assert (held.verdict, held.do) == (HELD, "held by Ann: their maintenance. End it with: relay resume a/b")
    assert waits(AccountRecord("a/b", held="their maintenance", held_until=now - 1), "a/b") is None
    refused = waits(AccountRecord("a/b", state=State.OPEN, until=now + 60, why="unauthorized"), "a/b")
    assert refused is not None
    assert refused.verdict == WAITS
    assert waits(AccountRecord("a/b", state=State.OPEN, until=now - 1, why="unauthorized"), "a/b") is None


class Busy:
    """An account whose own events have every turn: DynamoDB and Lambda in one. `worked_at`: what is read, in turn."""

    def __init__(self, *worked_at: float) -> None:
        self._worked_at = list(worked_at)
        self.asked = 0

    def get_item(self, **_: Any) -> dict[str, Any]:
        worked_at = self._worked_at.pop(0) if len(self._worked_at) > 1 else self._worked_at[0]
        return {"Item": {"version": {"N": "1"}, "worked_at": {"N": str(worked_at)}}}

    def invoke(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        return {"Payload": BytesIO(json.dumps(unanswered("no budget left", "throttled")).encode())}


@pytest.mark.parametrize(("worked_at", "asked"), [((5.0, 9.0), 1), ((5.0, 5.0, 9.0), 2)])
def test_an_account_whose_own_events_have_every_turn_works(
    worked_at: tuple[float, ...], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIVEN a backlog behind a new token THEN that it is delivered says that the token is right, and nobody waits."""
    monkeypatch.setattr("cli.check.time.sleep", lambda _: None)
    busy = Busy(*worked_at)
    relay = stack(dynamodb=busy, functions=busy)
    relay.__dict__["outputs"] = {**relay.outputs, "AccountsTableName": "accounts"}
    to = Destination.of(SLOW, "main")
    found = found_out(relay, to, CHECK_EMAIL, AccountRecord(to, worked_at=5.0))
    assert (found.verdict, found.is_well, busy.asked) == (Verdict.BUSY, True, asked)


def test_where_nothing_of_it_is_delivered_either_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN an account with no turn and no delivery since THEN that is no word on its token."""
    monkeypatch.setattr("cli.check.TURN_SECONDS", 0.0)
    busy = Busy(5.0)
    relay = stack(dynamodb=busy, functions=busy)
    relay.__dict__["outputs"] = {**relay.outputs, "AccountsTableName": "accounts"}
    to = Destination.of(SLOW, "main")
    found = found_out(relay, to, CHECK_EMAIL, AccountRecord(to, worked_at=5.0))
    assert (found.verdict, found.is_well) == (NO_TURN, False)
    assert found.said.startswith("no budget left; the last of its own was delivered ")
