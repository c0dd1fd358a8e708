"""A stack that is deleted and made again goes on where it stopped: nothing lost, nothing sent twice."""

from pathlib import Path

import pytest

from local.processes import CommandError
from local.stack import STAGE, Stack, build_folder, deploy, parameters_for
from relay.providers import PROVIDERS
from tests.kinds import PAIR
from tests.system.conftest import PLAIN
from tests.system.running import BOTH, Relay, event, until
from tools.adopt import adopt, stack_name


def test_a_new_stack_takes_over(plain: Relay, plain_stack: tuple[Stack, Path]) -> None:
    """GIVEN events delivered, given up, refused and waiting WHEN the stack is deleted, adopted and deployed again
    THEN what was delivered is not sent again, what waited is delivered, and what was kept is still kept."""
    relay, aws = plain, plain.clients
    deferred = len(relay.logged(message="deferred"))
    with pytest.raises(CommandError, match="exists"):
        adopt(STAGE, aws.cloudformation, aws.sqs, aws.dynamodb)

    relay.providers.misbehave("given_up", status=422)
    relay.providers.misbehave("waiting", status=429, headers={"Retry-After": "20"}, bare=True, count=2)
    relay.send(event("delivered"), event("given_up"), event("refused", colour="blue"))
    relay.until_settled([event("delivered")])
    relay.until_settled([event("given_up")], "given_up")
    relay.send(event("waiting"))
    until(
        lambda: len(relay.logged(message="deferred")) == deferred + len(BOTH), "the waiting event deferred in each lane"
    )

    name = stack_name(STAGE)
    aws.cloudformation.delete_stack(StackName=name)
    aws.cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert aws.functions.list_functions()["Functions"] == []

    assert set(adopt(STAGE, aws.cloudformation, aws.sqs, aws.dynamodb)) == {
        *("IntakeQueue", "RejectedQueue", "Ledger", "Accounts", "Letters"),
        *(f"{name.capitalize()}{queue}" for name in PROVIDERS for queue in ("Queue", "DeadLetterQueue")),
    }
    with build_folder():
        assert deploy(relay.log.parent, aws, parameters_for(plain_stack[0].sandbox_url) | PLAIN) == relay.outputs

    relay.send(event("delivered"))
    relay.until_settled([event("waiting")], seconds=180)
    relay.until_drained()
    assert len(relay.providers.accepted("delivered")) == len(BOTH)
    assert len(relay.logged(outcome="duplicate", event_id="delivered-1")) == len(BOTH)
    assert len(relay.providers.accepted("waiting")) == len(BOTH)
    assert [letter for letter in relay.rejected() if "refused-1" in letter.body]
    for provider in PAIR:
        assert len(relay.dead_letters(provider, "given_up-1")) == 1
