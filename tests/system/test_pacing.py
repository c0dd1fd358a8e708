"""A backlog against the sandbox's own limits: all of it arrives, and the limits are kept."""

from tests.kinds import FAST, PAIR, SLOW
from tests.system.conftest import SLOW_REQUESTS, SLOW_WINDOW
from tests.system.running import Relay, event, order_id


def test_a_backlog_runs_at_the_providers_pace(relay: Relay) -> None:
    """More than any window allows at either provider: no loss, no repeat, no dead letter, hardly a 429.

    The slow one's windows are long enough to be waited out in the queue instead of in the function.
    """
    fast = [event("paced_fast", number, destinations=[f"{FAST}/main"]) for number in range(30)]
    slow = [event("paced_slow", number, destinations=[f"{SLOW}/main"]) for number in range(70)]
    letters = {provider: len(relay.dead_letters(provider)) for provider in PAIR}
    deferred = len(relay.logged(message="deferred", destination=f"{SLOW}/main"))
    relay.send(*slow, *fast)
    relay.until_settled([*fast, *slow], seconds=90)
    relay.until_drained()

    for name, events in (("paced_fast", fast), ("paced_slow", slow)):
        accepted = relay.providers.accepted(name)
        assert sorted(map(order_id, accepted)) == sorted(one["id"] for one in events)
        # One or two; on a machine that also runs all other tests, a few more.
        assert sum(one["status"] == 429 for one in relay.providers.requests(name)) <= 5
    assert letters == {provider: len(relay.dead_letters(provider)) for provider in letters}

    times = [one["time"] for one in relay.providers.accepted("paced_slow")]
    assert len({int((time - times[0]) // SLOW_WINDOW) for time in times}) >= 70 // SLOW_REQUESTS
    assert len(relay.logged(message="deferred", destination=f"{SLOW}/main")) > deferred
