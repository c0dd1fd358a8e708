"""The same event twice, and the same id with other content: what each provider can take, and what it never gets."""

import pytest

from tests.system.running import BOTH, Relay, event, until


def test_a_repeat_is_not_sent_again(relay: Relay) -> None:
    """Neither by way of intake (the queue drops it) nor past it (the ledger knows it)."""
    once = event("repeat")
    relay.send(once)
    relay.until_settled([once])
    relay.send(once)
    for provider in ("yotpo", "sender"):
        relay.put_on_lane(provider, event("repeat", destinations=[f"{provider}/main"]))
        until(
            lambda to=f"{provider}/main": relay.logged(event_id="repeat-1", outcome="duplicate", destination=to),  # type: ignore[misc]
            f"a duplicate for {provider}",
        )
    relay.until_drained()
    assert len(relay.providers.requests("repeat", "yotpo")) == 1
    assert len(relay.providers.requests("repeat", "sender")) == 1
    assert {to: one["state"] for to, one in relay.ledger("repeat-1").items()} == dict.fromkeys(BOTH, "delivered")


def test_changed_content_updates_yotpo_and_is_refused_for_sender(relay: Relay) -> None:
    """Yotpo overrides by id, so it gets the change. Sender cannot tell it from a new event, so it does not."""
    first = event("changed")
    relay.send(first)
    relay.until_settled([first])
    changed = event("changed", properties={"order_id": "changed-1", "total": 7.9})
    relay.send(changed)
    [letter] = until(lambda: relay.dead_letters("sender", "changed-1"), "Sender's dead letter")
    until(lambda: len(relay.providers.accepted("changed", "yotpo")) == 2, "the update at Yotpo")
    relay.until_drained()

    original, update = relay.providers.accepted("changed", "yotpo")
    assert update["update"]
    assert (original["body"]["properties"]["total"], update["body"]["properties"]["total"]) == (6.7, 7.9)
    assert len(relay.providers.requests("changed", "sender")) == 1
    assert letter.attributes["reason"].startswith("id_reused: ")
    assert letter.attributes["destination"] == "sender/main"
    assert '"total":7.9' in letter.body

    records = relay.ledger("changed-1")
    assert {to: one["state"] for to, one in records.items()} == dict.fromkeys(BOTH, "delivered")
    assert records["yotpo/main"]["content_hash"] != records["sender/main"]["content_hash"]


@pytest.mark.parametrize("provider", ["yotpo", "sender"])
def test_another_system_may_write_to_a_lane(relay: Relay, provider: str) -> None:
    """Its event needs no attributes of ours, and no destinations either."""
    name = f"foreign_{provider}"
    relay.put_on_lane(provider, event(name, destinations=...))
    until(lambda: relay.providers.accepted(name, provider), "the event at the provider")
    assert relay.ledger(f"{name}-1")[f"{provider}/main"]["state"] in ("claimed", "delivered")
    relay.until_drained()
    assert len(relay.providers.requests(name)) == 1
