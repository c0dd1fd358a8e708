"""A backlog against the sandbox's own limits: all of it arrives, and the limits are kept."""

from tests.system.conftest import SENDER_REQUESTS, SENDER_WINDOW
from tests.system.running import Relay, event


def test_a_backlog_runs_at_the_providers_pace(relay: Relay) -> None:
    """More than any window allows at either provider: no loss, no repeat, no dead letter, hardly a 429.

    Sender's windows are long enough to be waited out in the queue instead of in the function.
    """
    yotpo = [event("paced_yotpo", number, destinations=["yotpo/main"]) for number in range(30)]
    sender = [event("paced_sender", number, destinations=["sender/main"]) for number in range(70)]
    letters = {provider: len(relay.dead_letters(provider)) for provider in ("yotpo", "sender")}
    deferred = len(relay.logged(message="deferred", destination="sender/main"))
    relay.send(*sender, *yotpo)
    relay.until_settled([*yotpo, *sender], seconds=90)
    relay.until_drained()

    for name, events in (("paced_yotpo", yotpo), ("paced_sender", sender)):
        accepted = relay.providers.accepted(name)
        assert sorted(one["body"]["properties"]["order_id"] for one in accepted) == sorted(one["id"] for one in events)
        assert sum(one["status"] == 429 for one in relay.providers.requests(name)) <= 2
    assert letters == {provider: len(relay.dead_letters(provider)) for provider in letters}

    times = [one["time"] for one in relay.providers.accepted("paced_sender")]
    assert len({int((time - times[0]) // SENDER_WINDOW) for time in times}) >= 70 // SENDER_REQUESTS
    assert len(relay.logged(message="deferred", destination="sender/main")) > deferred
