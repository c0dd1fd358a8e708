"""How a provider is shown who sends, and that no form of a secret is ever shown to anybody else."""

from base64 import b64decode

import pytest

from relay.errors import CredentialsError
from relay.ports import Request
from relay.providers.auth import Auth, Basic, Header, Query, Shown, bearer, segment

CREDENTIALS = {"api_key": "k e&y/1", "site_id": "site"}
KINDS: dict[str, tuple[Auth, Shown]] = {
    "bearer": (bearer("api_key"), Shown({"Authorization": "Bearer k e&y/1"}, secrets=("k e&y/1",))),
    "header": (Header("api_key", "X-API-KEY"), Shown({"X-API-KEY": "k e&y/1"}, secrets=("k e&y/1",))),
    "scheme": (Header("api_key", scheme="Key"), Shown({"Authorization": "Key k e&y/1"}, secrets=("k e&y/1",))),
    "basic": (
        Basic("site_id", "api_key"),
        Shown({"Authorization": "Basic c2l0ZTprIGUmeS8x"}, secrets=("k e&y/1", "c2l0ZTprIGUmeS8x")),
    ),
    "query": (Query("api_key", "to ken"), Shown(query="to%20ken=k%20e%26y%2F1", secrets=("k e&y/1", "k%20e%26y%2F1"))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind(kind: str) -> None:
    """GIVEN a kind of it THEN its header or query, and each form of the secret among `secrets`."""
    auth, shown = KINDS[kind]
    assert auth.show(CREDENTIALS) == shown


@pytest.mark.parametrize("kind", KINDS)
def test_no_form_of_a_secret_is_shown(kind: str) -> None:
    """GIVEN a request with it WHEN it is masked THEN neither the token nor what it was made into is in it."""
    shown = KINDS[kind][0].show(CREDENTIALS)
    masked = str(Request("POST", f"https://x/y?{shown.query}", shown.headers, b"{}", shown.secrets).masked())
    for form in ("k e&y/1", "k%20e%26y%2F1", "c2l0ZTprIGUmeS8x"):
        assert form not in masked


def test_basic_is_what_rfc_7617_says() -> None:
    """Its own example of characters that are not ASCII: test and 123£, in UTF-8."""
    shown = Basic("user", "password").show({"user": "test", "password": "123\u00a3"})
    assert shown.headers == {"Authorization": "Basic dGVzdDoxMjPCow=="}
    assert b64decode("dGVzdDoxMjPCow==").decode() == "test:123\u00a3"


@pytest.mark.parametrize(
    ("auth", "credentials"),
    [(bearer("api_key"), {"api_key": "k\u00ebypart"}), (Basic("site", "key"), {"site": "a:b", "key": "keypart"})],
)
def test_what_cannot_be_sent_is_refused_without_a_word_of_it(auth: Auth, credentials: dict[str, str]) -> None:
    """GIVEN a token that no header takes, or a user with a colon THEN an error that names the key only."""
    with pytest.raises(CredentialsError) as caught:
        auth.show(credentials)
    assert not any(value in str(caught.value) for value in credentials.values())
    assert any(f" {name} " in str(caught.value) for name in credentials)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a/b c", "a%2Fb%20c"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a.b", "a.b"),
        ("\u00e9?#", "%C3%A9%3F%23"),
        ("@+", "%40%2B"),
    ],
)
def test_a_segment_stays_one(text: str, quoted: str) -> None:
    """Whatever stands in it."""
    assert segment(text) == quoted
