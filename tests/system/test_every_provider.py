"""One event to every provider there is; all other tests here deliver to two of them."""

import json
from datetime import UTC, datetime

from relay.contract.event import parse_event
from relay.providers import PROVIDERS
from tests.kinds import EVERYWHERE
from tests.system.running import Relay, event, secret, until

NAME = "everywhere"


def test_an_event_reaches_every_provider(relay: Relay) -> None:
    """Through its own lane and function, at the provider's sandbox, which takes only what its reference allows: once,
    with the very body that the provider builds of it.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    # None of them may think it too old.
    sent = event(NAME, destinations=list(EVERYWHERE), occurred_at=f"{now:%FT%TZ}", value=6.7, currency="USD")
    relay.send(sent)
    until(lambda: len(relay.providers.accepted(NAME)) == len(PROVIDERS), f"{NAME} at every provider", 120)
    relay.until_settled([sent])
    assert sorted(each["provider"] for each in relay.providers.requests(NAME)) == sorted(PROVIDERS)
    for name, kind in PROVIDERS.items():
        (request,) = relay.providers.requests(NAME, name)
        built = kind("").build(parse_event(sent), json.loads(secret(name, "main")))
        assert request["body"] == json.loads(built.body), name
