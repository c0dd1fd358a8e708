"""`relay connect`, `check`, `hold` and `resume`: they act within seconds, whatever an account waits for.

On the stack as a user deploys it: an account whose credentials are refused waits five minutes, then ten.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from local.stack import STACK_NAME
from tests.kinds import FAST, PAIR, REPEATS, SLOW
from tests.system.running import Json, Relay, event, order_id, secret, token, until

AT_ONCE = 5.0
"""Seconds from a hold to the last request, at most."""
SOON = 15.0
"""Seconds from a command to the first delivery, at most: it takes two, here, and by itself a minute or five."""

type Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def command(plain: Relay, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs the command against `plain`. Returns its exit code and its answer; `given` is its standard input."""
    client = plain.clients.sqs.meta
    for name, value in {
        "AWS_ENDPOINT_URL": client.endpoint_url,
        "AWS_REGION": client.region_name,
        "AWS_DEFAULT_REGION": client.region_name,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*words: str, given: str = "") -> tuple[int, Any]:
        result = CliRunner().invoke(app, [*words, "--stack", STACK_NAME, "--json"], input=given)
        assert "tok" not in result.stderr, result.stderr
        return result.exit_code, json.loads(result.stdout)

    yield run
    for provider in PAIR:
        plain.providers.change_token(provider, "main", accept=[token(provider, "main")])
        run("connect", f"{provider}/main", "--no-check", given=secret(provider, "main"))
    plain.providers.behave()


def events(name: str, provider: str, count: int) -> list[Json]:
    return [event(name, number, destinations=[f"{provider}/main"]) for number in range(1, count + 1)]


def refused(relay: Relay, name: str, provider: str, count: int) -> list[Json]:
    """Events that wait, for minutes, because the provider refuses the token."""
    relay.providers.change_token(provider, "main", revoke=[token(provider, "main")])
    bodies = events(name, provider, count)
    relay.send(*bodies)

    def waits() -> bool:
        lines = relay.logged(message="deferred", destination=f"{provider}/main", reason="unauthorized")
        return any(line["seconds"] > 200 for line in lines[seen:])

    seen = len(relay.logged(message="deferred", destination=f"{provider}/main", reason="unauthorized"))
    until(waits, f"{provider} held")
    return bodies


def each_once(relay: Relay, name: str, provider: str, bodies: list[Json]) -> bool:
    return sorted(map(order_id, relay.providers.accepted(name, provider))) == sorted(body["id"] for body in bodies)


@pytest.mark.parametrize("provider", PAIR)
def test_an_account_that_waits_goes_on_with_its_new_token(plain: Relay, command: Command, provider: str) -> None:
    """GIVEN events that wait five minutes for a token that is refused WHEN a good one is connected THEN the first is
    delivered within seconds, and each once.
    """
    name = f"connected_{provider}"
    bodies = refused(plain, name, provider, 25)
    assert not plain.providers.accepted(name)
    fresh = f"{token(provider, 'main')}-fresh"
    plain.providers.change_token(provider, "main", accept=[fresh])
    began = time.time()
    code, answer = command("connect", f"{provider}/main", given=secret(provider, "main", fresh))
    assert (code, answer["stored"], answer["state"]) == (0, "updated", "delivering")
    # What has waited may take every turn there is before the test event gets one.
    assert answer["check"]["verdict"] in ("works", "works, but busy")
    assert answer["shown"] >= 1
    assert fresh not in json.dumps(answer)
    first = min(one["time"] for one in plain.providers.accepted(name, provider))
    assert first - began <= SOON
    plain.until_settled(bodies)
    assert each_once(plain, name, provider, bodies)


def test_a_token_that_is_refused_again_is_said_to_be_wrong(plain: Relay, command: Command) -> None:
    """GIVEN events that wait WHEN another bad token is connected THEN it says so, and what to do; they wait on."""
    bodies = refused(plain, "refused_again", FAST, 3)
    code, answer = command("connect", f"{FAST}/main", given=secret(FAST, "main", "not-good-either"))
    assert (code, answer["state"], answer["check"]["verdict"]) == (1, "refused", "wrong token")
    assert f"relay connect {FAST}/main" in answer["check"]["do"]
    assert command("check", f"{FAST}/main")[1]["verdict"] == "waits"
    plain.providers.change_token(FAST, "main", accept=[token(FAST, "main")])
    assert command("connect", f"{FAST}/main", "--no-check", given=secret(FAST, "main"))[0] == 0
    plain.until_settled(bodies)
    assert each_once(plain, "refused_again", FAST, bodies)


def test_a_hold_and_its_end_take_effect_at_once(plain: Relay, command: Command) -> None:
    """GIVEN an account that is busy WHEN it is held THEN nothing is sent seconds later; WHEN it is resumed THEN it goes
    on seconds later, and each event arrives, once.
    """
    bodies = events("on_hold", FAST, 80)
    plain.send(*bodies)
    until(lambda: len(plain.providers.requests("on_hold")) >= 10, "the first of them")
    began = time.time()
    code, answer = command(
        "hold", f"{FAST}/main", "--reason", "ada@customers.example asked", "--by", "Ann", "--for", "1h"
    )
    assert (code, answer["held_by"]) == (0, "Ann")
    until(
        lambda: [
            line
            for line in plain.logged(message="deferred", destination=f"{FAST}/main")
            if line.get("reason", "").startswith("held by Ann until ") and line["reason"].endswith(": *** asked")
        ],
        "the hold in the log",
    )
    assert command("check", f"{FAST}/main")[1]["verdict"] == "held"
    time.sleep(AT_ONCE)
    last = max(one["time"] for one in plain.providers.requests("on_hold"))
    waiting = len(bodies) - len(plain.providers.requests("on_hold"))
    assert last - began <= AT_ONCE
    assert waiting > 10
    resumed = time.time()
    code, answer = command("resume", f"{FAST}/main")
    assert (code, answer["state"], answer["was_held"]["held_by"]) == (0, "delivering", "Ann")
    first = min(one["time"] for one in plain.providers.accepted("on_hold") if one["time"] > resumed)
    assert first - resumed <= SOON
    plain.until_settled(bodies)
    assert each_once(plain, "on_hold", FAST, bodies)


def test_a_hold_that_ends_by_itself(plain: Relay, command: Command) -> None:
    """GIVEN a hold for some seconds THEN what waits is delivered when they are over, not before."""
    began = time.time()
    assert command("hold", f"{REPEATS}/main", "--reason", "their maintenance", "--for", "6s")[0] == 0
    bodies = events("held_for", REPEATS, 3)
    plain.send(*bodies)
    plain.until_settled(bodies)
    moments = [one["time"] for one in plain.providers.accepted("held_for", REPEATS)]
    assert 6.0 <= min(moments) - began < 30.0
    assert each_once(plain, "held_for", REPEATS, bodies)


ANSWERS: list[tuple[Json, str]] = [
    ({"status": 404, "body": "<html>no such page</html>", "headers": {"Content-Type": "text/html"}}, "wrong address"),
    ({"status": 422, "body": {"message": "The type field is not known."}}, "wrong names"),
    ({"status": 429}, "works, but busy"),
    ({"status": 503}, "provider in trouble"),
    ({"status": 403, "body": {"message": "Custom events are not activated."}}, "not activated"),
]


def test_a_check_tells_apart_what_is_wrong(plain: Relay, command: Command) -> None:
    """WHEN an account is checked THEN the verdict is that of the answer, and nothing of it comes into a lane."""
    to = f"{SLOW}/main"
    before = len(plain.providers.requests("relay_check", SLOW))
    assert command("check", to, "--dry-run")[1]["request"]["method"] == "POST"
    assert len(plain.providers.requests("relay_check", SLOW)) == before
    for fault, verdict in ANSWERS:
        plain.providers.misbehave("relay_check", provider=SLOW, **fault)
        code, answer = command("check", to)
        assert (answer["verdict"], code) == (verdict, 0 if answer["works"] else 1), answer
        plain.providers.behave()
        command("resume", to)
    code, answer = command("check", to, "--email", "ops@customers.example")
    assert (code, answer["verdict"]) == (0, "works")
    assert command("check", f"{SLOW}/nobody")[0] == 2
    assert plain.drained()
