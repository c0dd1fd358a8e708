"""`relay send` and `relay preview` on a running stack: by each way in, killed and resumed, built by the functions."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.progress import path_beside
from local.machine import OWN
from local.stack import STACK_NAME, Stack
from tests.kinds import FAST, PAIR
from tests.system.running import Relay, event, order_id, token, until

TO = [f"{FAST}/main"]


@pytest.fixture
def environment(stack: tuple[Stack, Path]) -> dict[str, str]:
    """A shell that is turned to the stack."""
    started, _ = stack
    own = {name: value for name, value in OWN.items() if not name.startswith("AWS_")}
    return own | {
        "AWS_ENDPOINT_URL": started.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": started.region,
        "AWS_DEFAULT_REGION": started.region,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "RELAY_STACK": STACK_NAME,
    }


def relay_command(environment: Mapping[str, str], *arguments: str) -> tuple[int, Any]:
    """How it ended, and its answer."""
    result = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize("via", ["sqs", "eventbridge", "direct"])
def test_a_table_is_delivered(relay: Relay, environment: dict[str, str], tmp_path: Path, via: str) -> None:
    """GIVEN a CSV file WHEN sent by each way in THEN every row is delivered as the event that its map makes of it."""
    name = f"table_{via}"
    file = tmp_path / "orders.csv"
    rows = [f"{name}-{number};{name}.{number}@customers.example;1.234,5{number}" for number in range(1, 4)]
    file.write_text("\n".join(("Order;Mail;Total", *rows)))
    fields = ("id=Order", "source=@shop", f"type=@{name}", "customer.email=Mail", f"destinations=@{TO[0]}")
    maps = [f"--map={each}" for each in (*fields, "properties.order_id=Order", "properties.total:comma=Total")]
    exit_code, answer = relay_command(environment, "send", str(file), *maps, "--via", via)
    assert (exit_code, answer["files"][0]["sent"]) == (0, 3), answer
    relay.until_settled([event(name, number, destinations=TO) for number in range(1, 4)])
    received = relay.providers.accepted(name, FAST)
    assert sorted(map(order_id, received)) == [f"{name}-{number}" for number in range(1, 4)]
    assert sorted(one["body"]["properties"]["total"] for one in received) == [1234.51, 1234.52, 1234.53]


def test_killed_and_gone_on_with_each_event_is_delivered_once(
    relay: Relay, environment: dict[str, str], tmp_path: Path
) -> None:
    """GIVEN a run that is killed in the midst of a file WHEN resumed THEN all of it is delivered, and nothing twice."""
    name, many = "sent_killed", 40
    events = [event(name, number, destinations=TO) for number in range(many)]
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{json.dumps(one)}\n" for one in events))
    run = subprocess.Popen(
        [sys.executable, "-m", "cli", "send", str(file), "--rate", "10"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _done(file) >= 10, "ten of them sent")
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    assert 10 <= _done(file) < many
    assert relay_command(environment, "send", str(file))[0] == 2
    exit_code, answer = relay_command(environment, "send", str(file), "--resume")
    assert (exit_code, answer["files"][0]["sent"]) == (0, many), answer
    assert not path_beside(file).exists()
    relay.until_settled(events)
    assert Counter(map(order_id, relay.providers.accepted(name, FAST))) == {f"{name}-{each}": 1 for each in range(many)}


def _done(file: Path) -> int:
    try:
        return int(json.loads(path_beside(file).read_text())["records"])
    except FileNotFoundError:
        return 0


def test_the_functions_preview_with_their_secrets_masked(
    relay: Relay, environment: dict[str, str], tmp_path: Path
) -> None:
    """GIVEN --from-function WHEN previewed THEN it is what they would send, no secret is shown, and nothing is sent."""
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event("sent_preview")))
    for options in ([], ["--from-function"]):
        exit_code, shown = relay_command(environment, "preview", str(file), *options)
        assert (exit_code, [each["destination"] for each in shown]) == (0, [f"{name}/main" for name in PAIR])
        bodies: Sequence[str] = [each["request"]["body"] for each in shown]
        assert all("sent_preview" in body for body in bodies)
        assert not [name for name in PAIR if token(name, "main") in json.dumps(shown)]
    assert relay.providers.requests("sent_preview") == []
