"""What only Sender has: no event ID, so a repeat is a repeated event."""

import pytest

from relay.errors import CredentialsError, FieldError
from relay.outcome import Outcome
from relay.ports import Reply
from relay.providers.base import Repeat
from relay.providers.limits import Limit
from relay.providers.sender import Sender, SenderSettings
from tests.unit.providers.golden import SENT, case


def test_an_id_never_overrides() -> None:
    """Sender creates an event with each request: other content under a used ID is a producer's error."""
    assert Sender.repeats is Repeat.FIRES_AGAIN


def test_sixty_requests_a_minute() -> None:
    """The published limit of an account, until its headers say otherwise."""
    assert Sender.limits == (Limit(60, 60.0),)


def test_a_kilobyte_is_1024_bytes() -> None:
    """The page says 2KB and 8KB; both may be set otherwise."""
    settings = SenderSettings()
    assert (settings.text_bytes, settings.properties_bytes) == (2048, 8192)
    golden = case("sender", "least")
    errors: list[FieldError] = []
    Sender("http://localhost", SenderSettings(text_bytes=1, properties_bytes=9)).payload(
        golden.event.model_copy(update={"properties": {"a": "éé"}}), errors
    )
    assert [error.field for error in errors] == ["properties.a", "properties"]


def test_a_success_may_be_narrowed() -> None:
    """GIVEN success_statuses WHEN another 2xx comes THEN it is a refusal, not a delivery."""
    narrow = Sender("http://localhost", SenderSettings(success_statuses=frozenset({201})))
    assert narrow.read(Reply(201)) is Outcome.DELIVERED
    assert narrow.read(Reply(200)) is Outcome.REJECTED
    assert narrow.read(Reply(500)) is Outcome.RETRY


def test_only_the_pages_fields_are_ever_sent() -> None:
    """GIVEN every golden event THEN no field the page does not name."""
    for golden in SENT:
        if golden.provider == "sender":
            body = golden.data["expect"]["body"]
            assert set(body) <= {"subscriber", "type", "value", "value_currency", "properties"}
            assert set(body["subscriber"]) <= {"id", "email", "phone"}


def test_a_token_no_header_can_carry_is_refused_unquoted() -> None:
    """GIVEN a token beyond ASCII THEN the secret is at fault, and its value is not repeated."""
    golden = case("sender", "least")
    with pytest.raises(CredentialsError) as caught:
        golden.subject.build(golden.event, {"access_token": "tokén"})
    assert "access_token" in str(caught.value)
    assert "tokén" not in str(caught.value)
