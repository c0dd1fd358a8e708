"""Runs last: what every function of every test wrote, on `deployed` at the most talkative level a log can have."""

import re

import pytest

from relay.providers import PROVIDERS
from tests.kinds import FAST
from tests.system.running import PHONE, Relay, event, token, until

HIDDEN = {
    "an e-mail address": re.compile(r"[\w.+-]+(@|%40)[\w-]+(\.[\w-]+)+"),
    "a phone number": re.compile(r"(?<!such as )\+\d{8,}"),  # but the example in an error message
    "an address of other letters": re.compile(r"j.rg|m.ller|b.cherw.rmer|bcherwrmer", re.IGNORECASE),
    "a token": re.compile("|".join(["tok3n-", *(token(provider, "main") for provider in PROVIDERS)])),
    "a URL with a token": re.compile(r"access_token=|Bearer ", re.IGNORECASE),
}


@pytest.fixture(params=["deployed", "plain"])
def relay(request: pytest.FixtureRequest) -> Relay:
    """Each of the session's two."""
    found: Relay = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("what", HIDDEN)
def test_no_log_holds(relay: Relay, what: str) -> None:
    """In all that the functions of this session wrote."""
    lines = relay.log.read_text(errors="replace").splitlines()
    assert [line[:500] for line in lines if HIDDEN[what].search(line)] == []


def test_the_functions_do_write_there(relay: Relay) -> None:
    """Else the tests above would have looked at nothing."""
    relay.send(event("told"), event("told_badly", colour="blue"))
    for fields in ({"message": "accepted"}, {"message": "delivered"}, {"message": "rejected"}):
        until(lambda fields=fields: relay.logged(**fields), f"{fields} in the log")  # type: ignore[misc]


def test_the_search_finds_what_it_looks_for() -> None:
    sample = f"ada@customers.example jörg {PHONE} {token(FAST, 'main')} ?access_token=x"
    assert all(pattern.search(sample) for pattern in HIDDEN.values())
