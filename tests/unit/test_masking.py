"""Nothing personal and nothing secret in what a person or a log will see."""

import pytest

from relay.masking import MASK, hide, mask, mask_identifiers, printable, shorten
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
        "ad.o'brien@example.com",
        '"john ad"@example.com',
        "adö@example.com",
        "ad@xn--exmple-cua.com",
        "ad用户@例子.广告",
        "adö@例子.广告",
        "ad(comment)@example.com",
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


@pytest.mark.parametrize(
    "text",
    [
        "%2B15551234567",
        "tel15551234567",
        "phone_15551234567",
        "555/123/4567",
        "555\N{NO-BREAK SPACE}123\N{NO-BREAK SPACE}4567",
        "555\N{NON-BREAKING HYPHEN}123\N{NON-BREAKING HYPHEN}4567",
        "ad%2540example.com",
        "ad&#64;example.com",
        "555123&#52;567",
    ],
)
def test_no_encoding_hides_from_the_mask(text: str) -> None:
    """GIVEN a provider that quotes a customer percent-encoded, as HTML or with look-alikes THEN the mask sees it."""
    masked = mask(f"no such customer: {text} here")
    assert MASK in masked
    assert "567" not in masked
    assert "example.com" not in masked


@pytest.mark.parametrize("text", ["tok/Secret+1=", "tok%2fsecret%2b1%3d", "tok\\/Secret+1=", "TOK&#x2F;SECRET+1="])
def test_what_is_private_is_masked_in_any_encoding(text: str) -> None:
    """A token percent-encoded in any case, or as JSON or HTML writes it, is still the token."""
    assert mask(f"bad token {text}!", ["tok/Secret+1="]) == f"bad token {MASK}!"


@pytest.mark.parametrize(
    ("private", "text"),
    [
        ("Caf\u00e9 Ada", "caf&eacute ada"),
        ("Caf\u00e9 Ada", "CAFE ADA"),
        ("Caf\u00e9 Ada", "caf%E9+ada"),
        ("Adnan K\u0131z\u0131l", "ADNAN KIZIL"),
        ("Stra\u00dfe 1", "STRASSE 1"),
        ("4711", "".join(f"{chr(0x660 + int(digit))}" for digit in "4711")),
        ("4711", "4.711"),
        ("O'Brien", "O\N{RIGHT SINGLE QUOTATION MARK}Brien"),
        ("O'Brien", "OBrien"),
        ("tok/en", "&#x74;ok\\u{2f}\\x65n"),
        ("https", "h\N{ZERO WIDTH JOINER}ttps"),
        ("\N{BALLOON}\N{BALLOON}\N{BALLOON}", "%F0%9F%8E%88&#127880;\\ud83c\\udf88"),
    ],
    ids=ascii,
)
def test_what_is_private_is_masked_as_others_would_write_it(private: str, text: str) -> None:
    """Without its accents, in capitals, in another script's digits, with other quotes, in several encodings at once."""
    assert mask(f"bad value '{text}'!", [private]) == f"bad value '{MASK}'!"


@pytest.mark.parametrize(
    "text",
    ["xn--", "xn---", "xn--a", "xn--zzzzzzzzz", "xn--ls8h.la", "an xn--bcher-kva of another", "exn--a"],
)
def test_what_looks_like_a_label_of_dns_stays(text: str) -> None:
    """GIVEN what is no label, or another's THEN it stays as it was written."""
    assert mask(text, ["Ada Lovelace", "müller.example"]) == text


@pytest.mark.parametrize("value", ["a", "Al", "5", "42", "100"])
def test_what_is_short_is_masked_as_a_word_only(value: str) -> None:
    """GIVEN a private value that is in many words THEN these words stay readable."""
    assert (
        mask(f"Invalid field a1005 or 'al42': {value}, all", [value]) == f"Invalid field a1005 or 'al42': {MASK}, all"
    )


@pytest.mark.parametrize("text", ["", "***", "a & b; 100 % \\o/ c:\\new\\users &c", "%zz &#; &#x; \\u12 \\ud83d"])
def test_what_is_not_private_stays_as_it_was_written(text: str) -> None:
    """Reading a text in other encodings does not change what is shown of it."""
    assert mask(text, ["Ada Lovelace"]) == text
    assert hide(text, ["Ada Lovelace"]) == text


def test_what_is_wrapped_too_often_is_not_shown() -> None:
    """GIVEN more layers of encoding than anybody looks through THEN nothing of the words is shown."""
    text = "Ad&#97; Lovelace"
    for _ in range(5):
        text = text.replace("&", "\\x26").replace("\\", "&#92;")
    assert mask(f"no {text}", ["Ada Lovelace"]) == MASK


def test_long_words_cost_no_time_to_mask() -> None:
    """GIVEN 64 KiB without a space THEN the search does not start anew at every character."""
    for text in ("a" * 65_536, '"' * 65_536, "1-" * 30_000 + "a", "a@" * 30_000):
        assert len(mask(text)) <= len(text)


def test_secrets_are_masked() -> None:
    """Each secret goes, the longer first, so that nothing of it is left over."""
    assert mask(f"bad token {TOKEN}-long and {TOKEN}", [TOKEN, f"{TOKEN}-long", ""]) == f"bad token {MASK} and {MASK}"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v2?access_token=x",
        "https:\\/\\/host\\/x",
        "https%3A%2F%2Fhost",
        "HTTP://user:pw@host/p",
        "http://h",
    ],
)
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
