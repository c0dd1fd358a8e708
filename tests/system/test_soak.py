"""A short soak: what `make soak` does to ten thousand events, to a few, on a stack that others use, too."""

from pathlib import Path

from local.stack import Stack
from tests.kinds import PAIR
from tests.soak.audit import Found, audit
from tests.soak.conduct import Conduct, open_accounts
from tests.soak.plan import draw
from tests.system.conftest import SOAK_LIMIT, SOAKED
from tests.system.running import Relay, provider_account

# Without workers of deliver: what they had claimed is theirs for half a minute.
PLAN = draw(seed=128, count=150, accounts=SOAKED, killed=["Intake"], providers=list(PAIR))


def test_every_event_of_a_short_soak_is_accounted_for(relay: Relay, stack: tuple[Stack, Path]) -> None:
    """GIVEN malformed events, repeats, providers' faults, killed workers and new tokens THEN the audit is clean."""
    [emulator] = [process.pid for process in stack[0].processes if process.name == "emulator"]
    limit = {"limit": SOAK_LIMIT["requests"], "window": SOAK_LIMIT["window_seconds"], "algorithm": "sliding"}
    for provider in PAIR:
        for account in SOAKED:
            name = provider_account(provider, account)
            relay.providers.sandbox.set_limit(provider=provider, account=name, **limit)
    open_accounts(relay, SOAKED)
    run = Conduct(relay, emulator, PLAN, visibility=5)
    run.run()
    made = audit(PLAN, Found.at(relay, PLAN))
    assert not made.wrong, "\n".join(made.wrong)
    assert (made.records["sent"], made.records["accepted"] + made.records["rejected"]) == (150, 150)
    assert run.kills
    assert run.rotations
