"""An account that is delivered in several groups side by side: one limit for all of them, and each customer's order."""

from collections import defaultdict

from tests.kinds import FAST, PAIR
from tests.system.running import Relay, event, order_id

CUSTOMERS, EVENTS = 20, 60


def test_groups_share_the_limit_and_keep_each_customer_s_order(relay: Relay) -> None:
    """GIVEN three events of each of twenty customers, all at once WHEN delivered in several groups
    THEN each arrived once, each customer's in order, never more than the limit in a window; and the account is known.
    """
    name, destination = "grouped", f"{FAST}/grouped"
    events = [
        event(name, number, customer={"email": f"{number % CUSTOMERS}@customers.example"}, destinations=[destination])
        for number in range(EVENTS)
    ]
    # In one call: IntakeQueue itself knows no order.
    assert len(relay.call("Intake", {"events": events})["accepted"]) == EVENTS
    relay.until_settled(events, seconds=120)
    relay.until_drained()

    requests, accepted = relay.providers.requests(name), relay.providers.accepted(name)
    arrived = defaultdict(list)
    for one in accepted:
        number = int(order_id(one).rpartition("-")[2])
        arrived[number % CUSTOMERS].append(number)
    assert arrived == {first: list(range(first, EVENTS, CUSTOMERS)) for first in range(CUSTOMERS)}
    assert not any(relay.dead_letters(FAST, each["id"]) for each in events)

    (limit,) = PAIR[FAST].limits
    times = [one["time"] for one in requests]
    within = zip(times, times[limit.requests :], strict=False)
    assert sum(later - earlier < limit.window for earlier, later in within) <= 2
    assert sum(one["status"] == 429 for one in requests) <= 2

    known = relay.account(destination)
    assert known.version > 0
    assert [(window.seconds, window.limit) for window in known.windows] == [(limit.window, limit.requests)]
    assert (known.state, known.held) == ("closed", "")
