"""What only Yotpo has: settings for what its page leaves open, an ID that overrides, a moment that is never missing."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from relay.contract.event import parse_event
from relay.contract.parsing import parse_json
from relay.intake.routing import route
from relay.providers.base import Repeat
from relay.providers.checks import Answer, judge
from relay.providers.limits import Limit
from relay.providers.yotpo import Yotpo, YotpoSettings
from tests.unit.providers.golden import case


def test_an_event_with_a_known_id_is_an_update() -> None:
    """Yotpo overrides an event whose ID it knows: changed content under the same ID is sent, not refused."""
    assert Yotpo.repeats is Repeat.UPDATES


def test_five_requests_a_second() -> None:
    """The documented limit of a store."""
    assert Yotpo.limits == (Limit(5, 1.0),)


def test_an_event_without_a_moment_happened_when_it_was_taken_in() -> None:
    """GIVEN no occurred_at WHEN intake takes the event in THEN Yotpo gets that moment, however late."""
    golden = case("yotpo", "timestamp_absent")
    taken_in = datetime(2026, 11, 22, 10, 0, tzinfo=UTC).timestamp()
    (entry,) = route(golden.event, ["yotpo/main"], taken_in)
    request = golden.subject.build(parse_event(parse_json(entry.body)), golden.data["credentials"])
    assert b'"timestamp":"2026-11-22T10:00:00Z"' in request.body


@pytest.mark.parametrize(
    "path",
    [
        "",
        "core/v3/stores/{store_id}/events",
        "/core/v3/stores/events",
        "/core/v3/stores/{store}/events",
        "/core/v3/stores/{store_id}/events?a=b",
        "/core/v3/stores/{store_id}/events#top",
        "/core/v3/stores/{store_id}/my events",
        "/core/v3/stores/{store_id}/events\n",
    ],
    ids=repr,
)
def test_a_path_that_cannot_be_one_is_refused(path: str) -> None:
    """GIVEN a path without the store, with a query, or with white space THEN the settings are refused."""
    with pytest.raises(ValidationError):
        YotpoSettings.model_validate({"path": path})


@pytest.mark.parametrize(
    "names",
    [
        {"colour": "red"},
        {"source": ""},
        {"source": None},
        {"source": "type"},
        {"customer": "properties"},
        {"email": "phone_number"},
        {"customer_properties": "email"},
    ],
    ids=str,
)
def test_names_that_would_lose_a_field_are_refused(names: dict[str, object]) -> None:
    """GIVEN an unknown field, an empty name, or one name for two fields of the same object THEN it is refused."""
    with pytest.raises(ValidationError):
        YotpoSettings.model_validate({"names": names})


def test_the_two_property_maps_may_share_their_name() -> None:
    """They are in different objects; so may other names be."""
    YotpoSettings.model_validate({"names": {"customer_properties": "properties", "email": "id"}})


@pytest.mark.parametrize("given", [{"identify_by": "both"}, {"identify_by": "id"}, {"token_parameter": ""}], ids=str)
def test_other_settings_are_checked_too(given: dict[str, object]) -> None:
    """Never both identifiers; never a token without a parameter."""
    with pytest.raises(ValidationError):
        YotpoSettings.model_validate(given)


@pytest.mark.parametrize(
    ("status", "body", "verdict", "assumed"),
    [
        (
            404,
            '{"status": {"message": "Couldn\'t find Account with app_key = x", "code": 404}}',
            "wrong account",
            False,
        ),
        (404, '{"message": "Not Found"}', "wrong account", True),
        (404, "<html>", "wrong address", False),
        (400, '{"error": "invalid_client"}', "wrong token", False),
        (401, '{"error": "invalid_client"}', "wrong token", False),
    ],
)
def test_a_store_that_yotpo_does_not_know(status: int, body: str, verdict: str, assumed: bool) -> None:
    """The store is in the path: what is not found is the store, unless no API answers. By Yotpo's page on
    troubleshooting API calls (https://support.yotpo.com/docs/troubleshooting-api-calls-generic-integrations).
    """
    found = judge(Answer(status, body), Yotpo.checks)
    assert (found.verdict, found.assumed) == (verdict, assumed)
