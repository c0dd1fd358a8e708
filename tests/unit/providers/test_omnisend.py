"""What only Omnisend has: an ID that prevents repeats of history alone, and a version that may be retired."""

from relay.outcome import Outcome
from relay.ports import Reply
from relay.providers.base import Repeat
from relay.providers.limits import Limit
from relay.providers.omnisend import Omnisend
from tests.unit.providers.golden import SENT


def test_a_live_event_is_not_compared() -> None:
    """Omnisend compares IDs of history only: other content under a used ID is a producer's error, never sent."""
    assert Omnisend.repeats is Repeat.FIRES_AGAIN


def test_four_hundred_requests_a_minute() -> None:
    """The documented limit of a brand."""
    assert Omnisend.limits == (Limit(400, 60.0),)


def test_a_retired_version_costs_no_event() -> None:
    """GIVEN a 410 THEN the event is kept for a release that speaks the next version, whatever the body says."""
    for body in (b"", b"{", b'{"title": "Gone"}'):
        assert Omnisend("https://provider.example").read(Reply(410, {}, body)) is Outcome.RETRY


def test_nobodys_consent_is_touched() -> None:
    """GIVEN every golden event THEN no field but those the page names, and none that speaks of consent."""
    for golden in SENT:
        if golden.provider == "omnisend":
            body = golden.data["expect"]["body"]
            assert set(body) <= {"eventName", "origin", "eventID", "eventTime", "contact", "properties"}
            assert set(body["contact"]) <= {"id", "email", "phone", "customProperties"}
