"""Nothing personal and nothing secret in what a person or a log will see."""

import pytest

from relay.masking import MASK, mask, mask_identifiers, printable, shorten
from tests.factories import TOKEN


@pytest.mark.parametrize(
    "text",
    [
        "ada@example.com",
        "ADA.L+x@sub.example.co.uk",
        "ada%40example.com",
        "<ada@example.com>",
        '"ada@example.com"',
        "mailto:ada@example.com",
        "ada@localhost",
        "a=ada@example.com&b=1",
        "adä@exämple.com",
    ],
)
def test_emails_are_masked(text: str) -> None:
    """In any dress an address is gone."""
    for masked in (mask_identifiers(f"no such user {text} here"), mask(f"no such user {text} here")):
        assert "ad" not in masked.lower()
        assert masked.startswith("no such user")
        assert masked.endswith("here")


@pytest.mark.parametrize("text", ["+15551234567", "+1 (555) 123-4567", "+49 170 1234567"])
def test_international_numbers_are_masked(text: str) -> None:
    """With a plus it is a phone number, however it is spaced."""
    assert mask_identifiers(f"phone {text} taken") == f"phone {MASK} taken"


@pytest.mark.parametrize("text", ["15551234567", "555-123-4567", "(555) 123 4567", "0170 1234567"])
def test_numbers_that_may_be_phones_are_masked(text: str) -> None:
    """In a provider's words, a long number may be a phone number."""
    assert "4567" not in mask(f"phone {text} taken")


@pytest.mark.parametrize("text", ["evt-1", "order 1001", "A-1001-2002", "0b9f7c4e-0000-4000-8000-123456789012", "2026"])
def test_ids_stay_readable(text: str) -> None:
    """An id helps nobody once it is masked."""
    assert mask_identifiers(text) == text


def test_secrets_are_masked() -> None:
    """Each secret goes, the longer first, so that nothing of it is left over."""
    assert mask(f"bad token {TOKEN}-long and {TOKEN}", [TOKEN, f"{TOKEN}-long", ""]) == f"bad token {MASK} and {MASK}"


@pytest.mark.parametrize("url", ["https://api.example.com/v2?access_token=x", "HTTP://user:pw@host/p", "http://h"])
def test_urls_are_masked(url: str) -> None:
    """A URL may hold the token."""
    assert mask(f"failed: {url} timed out") == f"failed: {MASK} timed out"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\ud800", "\uffff", "\ufffe"])
def test_printable(character: str) -> None:
    """What SQS refuses and what garbles a terminal is replaced."""
    assert printable(f"a{character}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("text", ["", "a\tb\nc", "ü€🎈", "\U0010ffff"])
def test_printable_text_stays(text: str) -> None:
    """Ordinary text is not touched."""
    assert printable(text) == text


@pytest.mark.parametrize(("text", "limit"), [("ü" * 100, 51), ("a" * 100, 50), ("🎈" * 20, 33), ("a\ud800" * 30, 20)])
def test_shorten(text: str, limit: int) -> None:
    """At most so many UTF-8 bytes, whole characters, and a mark where it was cut."""
    short = shorten(text, limit)
    assert len(short.encode()) <= limit
    assert short.endswith("…")


@pytest.mark.parametrize("text", ["", "a" * 50, "ü" * 25])
def test_shorten_what_fits(text: str) -> None:
    """What fits is left alone."""
    assert shorten(text, 50) == text
