"""The README's first minute as it stands, in a folder of its own: make up, the AWS CLI, make invoke, deploy, down."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.demo.plan import is_of_use
from local.machine import ROOT
from local.sandbox.client import SandboxClient
from local.stack import architecture
from relay.handlers.envelope import open_record
from relay.providers import PROVIDERS
from tests.checkout import Checkout
from tests.kinds import EVERYWHERE
from tests.system.running import until

ELSEWHERE = {
    "AWS_PROFILE": "somebody-else",
    "AWS_SESSION_TOKEN": "of-somebody-else",
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
}
"""The shell of a person who works with AWS."""
SETTINGS = '{"yotpo/one": {"identify_by": "phone_number"}}'


_KNOWN_BY_ID = open_record(
    json.loads((ROOT / "events" / "sqs-provider-id-only.json").read_text())["Records"][0]["body"]
).model_copy(update={"occurred_at": datetime.now(UTC)})
OF_AN_ID = {name: "delivered" if is_of_use(_KNOWN_BY_ID, name) else "rejected" for name in PROVIDERS}


@dataclass(frozen=True)
class Newcomer:
    """Somebody with a fresh clone and a stack that is up. ``said`` is what make up wrote."""

    checkout: Checkout
    said: str

    def shell(self, script: str) -> Any:
        """Run a script in a shell of a person who works with AWS."""
        return self.checkout.run("bash", "-euo", "pipefail", "-c", script, environment=ELSEWHERE)

    def typed(self, script: str) -> str:
        """What a script wrote that ended well."""
        done = self.shell(script)
        assert done.returncode == 0, done.stderr + done.stdout
        return str(done.stdout)

    def invoke(self, path: str) -> tuple[int, Any, str]:
        """`make invoke`: its status, its standard output as JSON if there is any, and the talk."""
        done = self.checkout.run("make", "-s", "invoke", f"EVENT={path}")
        return done.returncode, json.loads(done.stdout or "null"), done.stderr

    def received(self) -> list[dict[str, Any]]:
        """Every request that the providers got."""
        noted = json.loads((self.checkout.folder / ".local" / "processes.json").read_text())
        return SandboxClient(noted["sandbox_url"]).requests()


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """After `make up`; `make down` leaves nothing."""
    checkout = Checkout.make(tmp_path_factory.mktemp("newcomer") / "relay")
    try:
        up = checkout.run("make", "up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield Newcomer(checkout, up.stdout)
    finally:
        down = checkout.run("make", "down")
    assert down.returncode == 0
    assert not (checkout.folder / ".local").exists()


def readme_block(before: str) -> str:
    """The first block of commands after these words of the README."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text().split(before)[1], re.DOTALL)
    assert block
    return block[1]


def test_the_lines_of_make_up_turn_a_shell_to_the_stack(newcomer: Newcomer) -> None:
    """GIVEN a shell of another account WHEN the lines are pasted THEN the AWS CLI lists the stack's functions."""
    pasted = [line.strip() for line in newcomer.said.splitlines() if re.match(r" +(export|unset) ", line)]
    assert len(pasted) == 4
    listed = newcomer.typed("\n".join([*pasted, "aws lambda list-functions --query 'Functions[].FunctionName'"]))
    assert sorted(json.loads(listed)) == [f"local-customer-events-{name}" for name in sorted(["intake", *PROVIDERS])]


def test_only_those_credentials_are_taken(newcomer: Newcomer) -> None:
    """GIVEN other credentials WHEN the stack is called THEN it refuses, as AWS would: why the lines are printed."""
    refused = newcomer.shell('eval "$(make -s shell-env)"; export AWS_ACCESS_KEY_ID=any; aws lambda list-functions')
    assert "security token included in the request is invalid" in refused.stderr


def test_the_aws_cli_goes_all_three_ways_in(newcomer: Newcomer) -> None:
    """GIVEN the README's commands WHEN typed as they stand THEN each way's event arrives at its providers, once."""
    commands = readme_block("by all three ways in:").replace("make down\n", "")
    assert "sqs send-message" in commands
    assert "lambda invoke" in commands
    assert "events put-events" in commands
    before = len(newcomer.received())
    written = newcomer.typed(commands)
    assert (
        '{"accepted": ["signup-9009", "survey-1010-answered"], "rejected": [{"index": 1, "id": "survey-1212-bad"'
        in written
    )
    wanted = sorted(["order_shipped", "signed_up", "survey_answered"] * len(PROVIDERS) + ["store_visited"])
    until(lambda: len(newcomer.received()) >= before + len(wanted), "the events of all three ways at the providers")
    requests = newcomer.received()[before:]
    assert sorted(one["type"] for one in requests) == wanted
    assert all(one["accepted"] and not one["repeat"] for one in requests)


def test_invoke_says_what_became_of_an_event(newcomer: Newcomer) -> None:
    """GIVEN a good event WHEN invoked into a pipe THEN standard output is JSON alone, with every fate and request."""
    status, found, talk = newcomer.invoke("events/eventbridge-quiz-finished.json")
    assert status == 0, talk
    assert (found["way"], found["answer"]) == ("EventBridge", None)
    fates = {one["destination"]: (one["event_id"], one["outcome"]) for one in found["events"]}
    assert fates == dict.fromkeys(EVERYWHERE, ("quiz-3003-finished", "delivered"))
    # Seen once, on a busy machine: a second try at one of the eight.
    assert sum(one["attempts"] for one in found["events"]) <= len(PROVIDERS) + 1
    assert sorted(one["provider"] for one in found["requests"] if one["accepted"]) == sorted(PROVIDERS)
    assert "quiz-3003-finished" in talk
    assert "\033" not in talk


def test_invoke_of_a_repeat_shows_the_duplicate_and_is_content(newcomer: Newcomer) -> None:
    """GIVEN an event that was delivered WHEN invoked again THEN both fates are `duplicate`, no request, status 0."""
    newcomer.invoke("events/sqs-product-viewed.json")
    status, found, _ = newcomer.invoke("events/sqs-product-viewed.json")
    assert status == 0
    assert {one["outcome"] for one in found["events"]} == {"duplicate"}
    assert found["requests"] == []


@pytest.mark.parametrize(
    ("file", "fates", "advice"),
    [
        ("direct-bad-event", {("order-1111-bad", None, "rejected")}, "RejectedQueue"),
        (
            "sqs-bad-among-good",
            {("", None, "rejected")} | {(f"view-510{n}", to, "delivered") for n in (5, 6) for to in EVERYWHERE},
            "RejectedQueue",
        ),
        (
            "sqs-provider-id-only",
            {("points-6006-earned", f"{name}/main", fate) for name, fate in OF_AN_ID.items()},
            "YotpoDeadLetterQueue",
        ),
    ],
)
def test_invoke_fails_where_an_event_does(
    newcomer: Newcomer, file: str, fates: set[tuple[str, str | None, str]], advice: str
) -> None:
    """GIVEN an event that is not accepted, or given up WHEN invoked THEN status, reason and next step say so."""
    status, found, talk = newcomer.invoke(f"events/{file}.json")
    assert status != 0
    assert {(one["event_id"], one["destination"], one["outcome"]) for one in found["events"]} == fates
    assert all(one["reason"] for one in found["events"])
    assert advice in talk


def test_invoke_shows_the_exact_request_of_a_dry_run(newcomer: Newcomer) -> None:
    """GIVEN a dry run WHEN invoked THEN the answer holds the request, and no provider got one."""
    before = len(newcomer.received())
    status, found, _ = newcomer.invoke("events/deliver-yotpo-dry-run.json")
    assert status == 0
    assert found["answer"]["request"]["method"] == "POST"
    assert (found["events"], found["requests"], len(newcomer.received())) == ([], [], before)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a provider that is not there.json", {"destination": "nobody/main", "event": {}}, "yotpo, sender"),
        ("no account.json", {"destination": "yotpo/none", "event": {}, "dry_run": True}, None),
        ('it\'s no "JSON".json', None, "cannot be read"),
    ],
)
def test_invoke_takes_any_path_and_refuses_what_is_wrong(
    newcomer: Newcomer, name: str, content: Any, words: str | None
) -> None:
    """GIVEN a path with blanks and quotes WHEN what it holds is wrong THEN that is said, and nothing is delivered."""
    before = len(newcomer.received())
    path = newcomer.checkout.folder / name
    path.write_text(json.dumps(content) if content else "{")
    status, _, talk = newcomer.invoke(path.name)
    assert status != 0
    assert words is None or words in talk
    assert len(newcomer.received()) == before


def test_a_deploy_passes_parameters_on_and_protects_what_asks_first(newcomer: Newcomer) -> None:
    """GIVEN JSON and commas WHEN prod is deployed THEN the stack has exactly these, and cannot be deleted by a slip."""
    # This machine's, whose build is there already.
    parameters = f"Architecture={architecture()} Destinations=yotpo/one,sender/main DestinationSettings={SETTINGS}"
    done = newcomer.typed(
        'eval "$(make -s shell-env)"\n'
        f"make deploy STAGE=prod PARAMETERS='{parameters}' <<<y >deploy.log 2>&1 || {{ cat deploy.log; exit 1; }}\n"
        "aws cloudformation delete-stack --stack-name customer-event-relay-prod 2>&1 || true\n"
        "aws cloudformation describe-stacks --stack-name customer-event-relay-prod --query 'Stacks[0]' > described.json"
    )
    assert "TerminationProtection is enabled" in done
    described = json.loads(Path(newcomer.checkout.folder / "described.json").read_text())
    given = {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}
    assert given["Destinations"] == "yotpo/one,sender/main"
    assert given["DestinationSettings"] == SETTINGS
    assert given["Stage"] == "prod"
    assert described["EnableTerminationProtection"] is True
