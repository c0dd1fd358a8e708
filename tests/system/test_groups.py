"""An account that is delivered in several groups side by side: one limit for all of them, and each customer's order."""

import json
from collections import defaultdict
from collections.abc import Iterator

import pytest

from relay.providers import PROVIDERS
from tests.kinds import FAST
from tests.system.running import Relay, event, order_id, running_relay, running_stack

GROUPS, CUSTOMERS, EVENTS = 3, 20, 60


@pytest.fixture
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay of its own, whose accounts of the fast provider have several groups."""
    state = tmp_path_factory.mktemp("groups") / "state"
    settings = json.dumps(json.dumps({FAST: {"groups": GROUPS}}))
    with running_stack(state, {"DestinationSettings": settings}) as stack, running_relay(stack, state) as relay:
        yield relay


def test_groups_share_the_limit_and_keep_each_customer_s_order(grouped: Relay) -> None:
    """GIVEN three events of each of twenty customers, all at once WHEN delivered in three groups
    THEN each arrived once, each customer's in order, never more than the limit in a window; and the account is known.
    """
    name, destination = "grouped", f"{FAST}/main"
    events = [
        event(name, number, customer={"email": f"{number % CUSTOMERS}@customers.example"}, destinations=[destination])
        for number in range(EVENTS)
    ]
    # In one call: IntakeQueue itself knows no order.
    assert len(grouped.call("Intake", {"events": events})["accepted"]) == EVENTS
    grouped.until_settled(events, seconds=120)
    grouped.until_drained()

    requests, accepted = grouped.providers.requests(name), grouped.providers.accepted(name)
    arrived = defaultdict(list)
    for one in accepted:
        number = int(order_id(one).rpartition("-")[2])
        arrived[number % CUSTOMERS].append(number)
    assert arrived == {first: list(range(first, EVENTS, CUSTOMERS)) for first in range(CUSTOMERS)}
    assert not grouped.dead_letters(FAST)

    (limit,) = PROVIDERS[FAST].limits
    times = [one["time"] for one in requests]
    within = zip(times, times[limit.requests :], strict=False)
    assert sum(later - earlier < limit.window for earlier, later in within) <= 2
    assert sum(one["status"] == 429 for one in requests) <= 2

    known = grouped.account(destination)
    assert known.version > 0
    assert [(window.seconds, window.limit) for window in known.windows] == [(limit.window, limit.requests)]
    assert (known.state, known.held) == ("closed", "")
