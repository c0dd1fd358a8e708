"""What only Braze has: a success that took nothing, one identifier of several, a cluster in the address."""

import json

import pytest

from relay.contract.event import Event
from relay.errors import FieldError
from relay.outcome import Outcome
from relay.ports import Reply
from relay.providers.base import Repeat
from relay.providers.braze import Braze
from relay.providers.checks import Answer, Verdict, judge
from relay.providers.limits import Limit
from tests.unit.providers.golden import SENT, case

BRAZE = Braze(Braze.address)


def refused(event: Event) -> list[FieldError]:
    """What is wrong with an event for Braze."""
    errors: list[FieldError] = []
    BRAZE.payload(event, errors)
    return errors


def with_properties(*names: str) -> Event:
    """The plainest event with these properties."""
    return case("braze", "least").event.model_copy(update={"properties": dict.fromkeys(names, 1)})


def test_3000_requests_in_three_seconds() -> None:
    """The published limit of a workspace, until its headers say otherwise; after a 429 without any, one window."""
    assert Braze.limits == (Limit(3_000, 3.0),)
    assert BRAZE.terms.backoff == 3.0


def test_a_repeat_is_another_event() -> None:
    """Braze has no ID of ours to know it by: only the ledger prevents it, and other content is an error."""
    assert Braze.repeats is Repeat.FIRES_AGAIN
    for golden in SENT:
        if golden.provider == "braze":
            assert golden.event.id not in golden.build().body.decode()


def test_at_most_256_properties() -> None:
    """GIVEN one more, which Braze would drop without a word THEN the event is refused, with their number."""
    names = [f"p{number}" for number in range(256)]
    assert refused(with_properties(*names)) == []
    (error,) = refused(with_properties(*names, "p256"))
    assert (error.field, error.message) == ("properties", "are 257, Braze keeps the first 256")


def test_a_property_s_name_of_255_characters() -> None:
    """GIVEN a name at the limit THEN it is taken; one over, or with a dollar sign in front, it is refused by field."""
    assert refused(with_properties("é" * 255)) == []
    for name in ("é" * 256, "$" + "x", "$"):
        assert [error.field for error in refused(with_properties(name))] == [f"properties.{name}"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"message": "success", "events_processed": 1}, Outcome.DELIVERED),
        ({"message": "success", "events_processed": 1, "errors": []}, Outcome.DELIVERED),
        ({"message": "success", "errors": None}, Outcome.DELIVERED),
        ({"message": "success", "events_processed": 1, "errors": [{"type": "is odd"}]}, Outcome.REJECTED),
        ({"message": "success", "errors": ["is odd"]}, Outcome.REJECTED),
        ({"message": "success", "errors": [{}]}, Outcome.REJECTED),
        ({"message": "success", "errors": "is odd"}, Outcome.REJECTED),
        ({"message": "success", "events_processed": 0}, Outcome.REJECTED),
    ],
    ids=str,
)
def test_a_success_with_an_error_is_none(status: int, body: object, outcome: Outcome) -> None:
    """GIVEN one event a request WHEN anything is in `errors`, or none was processed THEN it was not taken."""
    assert BRAZE.read(Reply(status, {}, json.dumps(body).encode())) is outcome


def test_what_cannot_be_read_is_no_success() -> None:
    """GIVEN a success whose body is cut off THEN nobody knows whether it had errors."""
    assert BRAZE.read(Reply(201, {}, b'{"message": "success", "err')) is Outcome.UNKNOWN
    assert BRAZE.read(Reply(201, {}, b'{"message": "success"}', complete=False)) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("errors", "detail"),
    [
        ([{"type": "is odd", "input_array": "events", "index": 0}], "is odd"),
        ([{"type": "is odd"}, "is bad", {"other": "is worse"}], "is odd; is bad; other: is worse"),
        ({"events": ["is odd"]}, "events: is odd"),
        ("is odd", "is odd"),
        ([1, None, [], {}], ""),
    ],
    ids=str,
)
def test_errors_are_read_whatever_they_hold(errors: object, detail: str) -> None:
    """GIVEN errors in any form THEN their words, and not that it was a success."""
    said = json.dumps({"message": "success", "errors": errors}).encode()
    assert BRAZE.detail(Reply(201, {}, said), ()) == detail


def test_a_key_of_another_cluster_is_told_from_none() -> None:
    """GIVEN a 401 WHEN checked THEN what to do begins with the address, and names the place where it is shown."""
    check = judge(Answer(401, '{"message": "Invalid API Key"}'), Braze.checks)
    assert check.verdict is Verdict.TOKEN
    assert "of another cluster: the stack's base URL for this provider" in check.do
    assert "relay connect {destination}" in check.do


def test_one_event_and_one_identifier_and_only_the_pages_fields() -> None:
    """GIVEN every golden event THEN no field the page does not name, and one of those that say who it was."""
    identifiers = {"braze_id", "external_id", "user_alias", "email", "phone"}
    for golden in SENT:
        if golden.provider == "braze":
            body = golden.data["expect"]["body"]
            (tracked,) = body["events"]
            assert set(body) == {"events"}
            assert len(set(tracked) & identifiers) == 1
            assert set(tracked) - identifiers <= {"app_id", "name", "time", "properties", "_update_existing_only"}
