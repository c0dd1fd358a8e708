"""What only Klaviyo has: two windows, a profile beside the event, errors by path."""

import json
from typing import Any

import pytest

from relay.errors import FieldError
from relay.outcome import Outcome
from relay.ports import Reply
from relay.providers.base import Repeat
from relay.providers.checks import Answer, Verdict, judge
from relay.providers.klaviyo import Klaviyo, KlaviyoSettings
from relay.providers.limits import Limit, Quota
from tests.unit.providers.golden import SENT, case

KLAVIYO = Klaviyo("http://localhost")


def refused(**changed: object) -> list[FieldError]:
    """What is wrong with the plainest event when it is changed so."""
    errors: list[FieldError] = []
    KLAVIYO.payload(case("klaviyo", "least").event.model_copy(update=changed), errors)
    return errors


def test_two_windows() -> None:
    """What an account may send in a second, and in a minute: size XL of Klaviyo's."""
    assert Klaviyo.limits == (Limit(350, 1.0), Limit(3_500, 60.0))


@pytest.mark.parametrize(
    ("window_seconds", "limit", "quotas"),
    [
        (1.0, "3500", (Quota(100, 90, 44.0, 60.0),)),
        (60.0, "3500", (Quota(100, 90, 44.0, 60.0),)),
        (60.0, "50", ()),
        (60.0, "350, 350;w=1, 3500;w=60", (Quota(100, 90, 44.0, 1.0), Quota(100, window=60.0))),
    ],
)
def test_a_reply_speaks_of_a_documented_window_not_of_the_one_that_is_set(
    window_seconds: float, limit: str, quotas: tuple[Quota, ...]
) -> None:
    """GIVEN one window in place of both WHEN a reply has the minute's limit THEN it does not pass for a second's."""
    settings = KlaviyoSettings(requests=100, window_seconds=window_seconds)
    headers = {"ratelimit-limit": limit, "ratelimit-remaining": "90", "ratelimit-reset": "44"}
    assert Klaviyo("http://localhost", settings).budget(Reply(202, headers), 0.0).quotas == quotas


def test_a_repeat_is_ignored() -> None:
    """GIVEN other content under an ID it has had THEN Klaviyo would drop it without a word: a producer's error."""
    assert Klaviyo.repeats is Repeat.IGNORED
    assert not Klaviyo.repeats.overrides


def test_at_most_400_properties() -> None:
    """GIVEN one more THEN it is refused, with their number."""
    many: dict[str, Any] = {f"p{number}": number for number in range(400)}
    assert refused(properties=many) == []
    (error,) = refused(properties={**many, "p400": 400})
    assert (error.field, error.message) == ("properties", "are 401, Klaviyo takes 400")


def test_only_the_pages_fields_are_ever_sent() -> None:
    """GIVEN every golden event THEN no field the page does not name."""
    for golden in SENT:
        if golden.provider == "klaviyo":
            data = golden.data["expect"]["body"]["data"]
            named = {"properties", "time", "value", "value_currency", "unique_id", "backfill", "metric", "profile"}
            assert set(data["attributes"]) <= named
            profile = data["attributes"]["profile"]["data"]
            assert set(profile) <= {"type", "id", "attributes"}
            assert set(profile["attributes"]) <= {"email", "phone_number", "external_id", "properties"}


@pytest.mark.parametrize("headers", [{}, {"cf-mitigated": "block"}, {"cf-ray": "challenge"}], ids=str)
def test_another_403_is_the_keys_fault(headers: dict[str, str]) -> None:
    """GIVEN a 403 that is no challenge to a browser THEN the key may not do this."""
    assert KLAVIYO.read(Reply(403, headers)) is Outcome.UNAUTHORIZED


@pytest.mark.parametrize(
    ("errors", "detail"),
    [
        ([{"detail": "is odd", "source": {"pointer": "/data"}}], "/data: is odd"),
        ([{"detail": "is odd", "code": "invalid", "source": {}}], "invalid: is odd"),
        ([{"detail": "is odd", "source": "/data"}], "error: is odd"),
        ([{"detail": "is odd", "source": {"pointer": True}}], "true: is odd"),
        ([{"detail": 5, "source": {"pointer": "/data"}}, 1, None, "text"], ""),
        ({"detail": "is odd"}, ""),
    ],
    ids=range(6),
)
def test_errors_are_read_whatever_they_hold(errors: object, detail: str) -> None:
    """GIVEN errors of another form than the page's THEN what can be read of them, without an error of ours."""
    assert KLAVIYO.detail(Reply(400, {}, json.dumps({"errors": errors}).encode()), ()) == detail


def test_a_wall_is_no_wrong_key() -> None:
    """GIVEN `relay check` meets a page in place of an answer THEN it does not send anybody for a new key."""
    wall = case("klaviyo", "replies/bot_wall").data["reply"]["body"]
    assert judge(Answer(403, wall), Klaviyo.checks).verdict is Verdict.DOWN
    assert judge(Answer(403, "<html>Forbidden</html>"), Klaviyo.checks).verdict is Verdict.ACCOUNT
    assert judge(Answer(403, '{"errors": []}'), Klaviyo.checks).verdict is Verdict.ACCOUNT
