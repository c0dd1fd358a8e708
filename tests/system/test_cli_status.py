"""`relay status` and `relay trace` against the stack as it runs, with real trouble in it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.machine import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from local.stack import STACK_NAME
from tests.kinds import FAST, SLOW
from tests.system.running import Relay, event, token, until

ROOT = Path(__file__).parents[2]
HELD, DEAD = f"{SLOW}/walled", f"{FAST}/main"

type Json = dict[str, Any]


class Command:
    """The operator's command in a process of its own, as a person has it."""

    def __init__(self, relay: Relay) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RELAY_"))},  # noqa: TID251
            "AWS_ENDPOINT_URL": relay.clients.endpoint_url,
            "AWS_REGION": relay.clients.region,
            "AWS_DEFAULT_REGION": relay.clients.region,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "RELAY_STACK": STACK_NAME,
            "PYTHONPATH": os.pathsep.join((str(ROOT / "layers/relay"), str(ROOT))),
        }

    def __call__(self, *arguments: str, code: int | None = None) -> str:
        command = [sys.executable, "-m", "cli", *arguments]
        ended = subprocess.run(command, env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "Traceback" not in ended.stderr, ended.stderr
        assert code in (None, ended.returncode), ended.stdout + ended.stderr
        return ended.stdout

    def data(self, *arguments: str, code: int | None = None) -> Json:
        found: Json = json.loads(self(*arguments, "--json", code=code))
        return found


@pytest.fixture
def command(relay: Relay) -> Command:
    return Command(relay)


def now_at(traced: Json, where: str) -> Json:
    (found,) = [each for each in traced["now"] if each["where"] == where]
    return dict(found)


def test_a_mess_is_seen_and_explained(relay: Relay, command: Command) -> None:
    """GIVEN a held account, a dead letter, a reject and a delivery THEN status and trace tell each."""
    held = event("cli_held", destinations=[HELD])
    dead = event("cli_dead", destinations=[DEAD])
    fine = event("cli_fine", destinations=[DEAD])
    wrong = event("cli_wrong", customer={})
    relay.providers.change_token(SLOW, "walled", revoke=[token(SLOW, "walled")])
    relay.providers.misbehave("cli_dead", status=422, body={"message": "type is not known"})
    relay.put_on_bus(fine)
    relay.send(held, dead, wrong)
    try:
        relay.until_settled([fine])
        relay.until_settled([dead], "given_up")
        until(lambda: relay.account(HELD).why == "unauthorized", "the account is held")
        until(lambda: relay.logged(event_id=wrong["id"], message="rejected"), "the reject is told")

        status = command.data("status", code=3)
        (account,) = [each for each in status["destinations"] if each["destination"] == HELD]
        assert (account["state"], account["why"], account["works"]) == ("refused", "HTTP 401", False)
        # SQS counts a lane, and several accounts are on it.
        assert account["waiting"] is None
        (lane,) = [each for each in status["lanes"] if each["provider"] == SLOW]
        assert lane["waiting"] >= 1
        rings = {each["name"]: each["do"] for each in status["ringing"]}
        assert f"relay resume {HELD}" in rings[f"{SLOW}-held"]
        assert rings[f"{FAST}-dead-letters"] == [f"relay dead list {FAST}"]
        assert rings["rejected"] == ["relay rejected list"]
        assert any("type is not known" in each["reason"] for each in status["reasons"])
        shown = command("status", "--all", code=3)
        assert f"{HELD}" in shown
        assert "DEGRADED" in shown.splitlines()[0]

        # But for the moment in which it is tried again.
        until(
            lambda: "HELD 401" in now_at(command.data("trace", held["id"]), HELD)["told"], "the trace tells of the hold"
        )
        assert now_at(command.data("trace", dead["id"]), DEAD)["state"] == "dead_letter"
        traced = command.data("trace", fine["id"], code=0)
        assert now_at(traced, DEAD)["state"] == "delivered"
        assert traced["steps"][0]["what"].startswith("accepted through EventBridge, then SQS")
        traced = command.data("trace", wrong["id"], code=0)
        assert (traced["now"][0]["where"], traced["now"][0]["state"]) == ("intake", "rejected")
        assert "customer" in traced["now"][0]["told"]
    finally:
        relay.providers.change_token(SLOW, "walled", accept=[token(SLOW, "walled")])
    relay.until_settled([held])


def test_nothing_is_known_of_an_event_that_never_was(command: Command) -> None:
    """Told apart from one that waits by the exit code, and by what was looked through."""
    assert "no ledger record, no log line since" in command.data("trace", "cli-never-was", code=4)["error"]
