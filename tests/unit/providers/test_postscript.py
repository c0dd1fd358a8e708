"""What only Postscript has: a plan that is needed for a key, and subscribers named in one way or in all."""

import pytest

from relay.providers.base import Repeat
from relay.providers.checks import Answer, Verdict, judge
from relay.providers.limits import Limit
from relay.providers.postscript import Postscript
from tests.unit.providers.golden import SENT


def test_15_requests_a_second() -> None:
    """The published limit of a token; after a 429, which names no moment, a second and then longer."""
    assert Postscript.limits == (Limit(15, 1.0),)
    assert Postscript("https://provider.example").terms.backoff == 1.0


def test_an_id_promises_nothing() -> None:
    """The page has an ID and no word of a repeat: other content under a used one is a producer's error."""
    assert Postscript.repeats is Repeat.FIRES_AGAIN


@pytest.mark.parametrize(
    ("status", "words", "verdict"),
    [
        (403, "This feature is not available on your plan", Verdict.INACTIVE),
        (400, "Your plan has no API access", Verdict.INACTIVE),
        (403, "Forbidden", Verdict.ACCOUNT),
        (401, "Unauthorized", Verdict.TOKEN),
        (400, "the plane has left", Verdict.NAMES),
    ],
)
def test_a_plan_without_an_api_is_no_wrong_key(status: int, words: str, verdict: Verdict) -> None:
    """GIVEN a refusal of a test event THEN it is told which plan is needed where the words are of a plan, and only
    there.
    """
    check = judge(Answer(status, f'{{"error_message": "{words}", "success": false}}'), Postscript.checks)
    assert check.verdict is verdict
    assert ("Enterprise" in check.do) is (verdict is Verdict.INACTIVE)


def test_only_the_pages_fields_are_ever_sent() -> None:
    """GIVEN every golden event THEN no field the page does not name."""
    named = {"type", "subscriber_id", "phone", "email", "occurred_at", "properties", "external_id"}
    assert {key for one in SENT if one.provider == "postscript" for key in one.data["expect"]["body"]} <= named
