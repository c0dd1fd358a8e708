"""What only Attentive has: half a day for an event, and keys without brackets."""

from datetime import timedelta

from relay.providers.attentive import Attentive
from relay.providers.base import Repeat
from relay.providers.limits import Limit
from tests.unit.providers.golden import SENT


def test_150_requests_a_second() -> None:
    """The published limit of a token, until its headers say otherwise."""
    assert Attentive.limits == (Limit(150, 1.0),)


def test_an_id_promises_nothing() -> None:
    """The page has an ID and no word of a repeat: other content under a used one is a producer's error."""
    assert Attentive.repeats is Repeat.FIRES_AGAIN


def test_half_a_day_later_no_journey_starts() -> None:
    """GIVEN an event of twelve hours THEN it is not sent, and the dead letter says why; from six on it is near that."""
    assert Attentive.useless
    assert Attentive.useless.after == timedelta(hours=12)
    assert f"older than {Attentive.useless.after}: {Attentive.useless.rule}" == (
        "older than 12:00:00: Attentive starts no journey with it"
    )
    assert not Attentive.useless.is_near(6 * 3600 - 1)
    assert Attentive.useless.is_near(6 * 3600)
    assert not Attentive.useless.is_reached(12 * 3600 - 1)
    assert Attentive.useless.is_reached(12 * 3600)


def test_only_the_pages_fields_are_ever_sent() -> None:
    """GIVEN every golden event THEN no field the page does not name."""
    for golden in SENT:
        if golden.provider == "attentive":
            body = golden.data["expect"]["body"]
            assert set(body) <= {"type", "properties", "externalEventId", "occurredAt", "user"}
            assert set(body["user"]) <= {"phone", "email", "externalIdentifiers"}
            assert set(body["user"].get("externalIdentifiers", {})) <= {"clientUserId"}
