"""A provider's token is replaced while events come in: each is delivered, once."""

import itertools
import threading
import time

from local.stack import STAGE
from tests.kinds import PAIR
from tests.system.running import Json, Relay, event, order_id, secret, token, until

ACCOUNT = "rotating"
TO = [f"{provider}/{ACCOUNT}" for provider in PAIR]
ROTATIONS = 3
BETWEEN = 4
"""Deliveries from one rotation to the next."""
EVERY_SECONDS = 0.4
"""Each provider takes more than that."""
MOST_EVENTS = 400


def rotate(relay: Relay, provider: str, number: int) -> None:
    """As it is done on a provider's page: the old token is dead when the new one is shown; then somebody stores it."""
    old = token(provider, ACCOUNT) + (f"-{number - 1}" if number > 1 else "")
    new = f"{token(provider, ACCOUNT)}-{number}"
    relay.providers.change_token(provider, ACCOUNT, accept=[new], revoke=[old])
    time.sleep(0.5)
    relay.clients.secrets.put_secret_value(
        SecretId=f"{STAGE}/customer-events/{provider}/{ACCOUNT}", SecretString=secret(provider, ACCOUNT, new)
    )


def rotate_again_and_again(relay: Relay, provider: str) -> None:
    for number in range(1, ROTATIONS + 1):
        wanted = len(relay.providers.accepted("rotating", provider)) + BETWEEN
        until(
            lambda most=wanted: len(relay.providers.accepted("rotating", provider)) >= most,  # type: ignore[misc]
            f"{wanted} events at {provider}",
        )
        rotate(relay, provider, number)


def refusals(requests: list[Json]) -> int:
    """How many times the token was refused after it had been taken."""
    taken = [one["status"] != 401 for one in sorted(requests, key=lambda one: one["time"])]
    return sum(was and not is_now for was, is_now in itertools.pairwise(taken))


def test_a_secret_is_rotated_under_load_without_loss(relay: Relay) -> None:
    """GIVEN a steady stream of events for one account of each provider
    WHEN its token is replaced again and again, the old one revoked at once
    THEN every event is delivered exactly once, none is a dead letter, and each rotation was felt.
    """
    rotations = [threading.Thread(target=rotate_again_and_again, args=(relay, provider)) for provider in PAIR]
    for rotation in rotations:
        rotation.start()
    bodies: list[Json] = []
    left = BETWEEN
    while len(bodies) < MOST_EVENTS and left:
        bodies.append(event("rotating", len(bodies) + 1, destinations=TO))
        relay.send(bodies[-1])
        # A few more after the last rotation, so that it is felt, too.
        left -= not any(rotation.is_alive() for rotation in rotations)
        time.sleep(EVERY_SECONDS)
    for rotation in rotations:
        rotation.join()
    relay.until_settled(bodies, seconds=120)
    relay.until_drained()
    for provider in PAIR:
        accepted = relay.providers.accepted("rotating", provider)
        assert sorted(map(order_id, accepted)) == sorted(body["id"] for body in bodies)
        assert not any(one.attributes["destination"] in TO for one in relay.dead_letters(provider))
        assert refusals(relay.providers.requests("rotating", provider)) >= ROTATIONS
        assert {relay.ledger(body["id"])[f"{provider}/{ACCOUNT}"]["outcome"] for body in bodies} == {"delivered"}
