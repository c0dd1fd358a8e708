"""Takes personal data and secrets out of text that a person or a log will see."""

import html
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, unquote

MASK = "***"

# The whole word around the @: what may stand before it is wider than any pattern of an address.
_EMAIL = re.compile(r'(?<!\S)\S*(?:@|%40)[^\s,;:"<>()\[\]{}]*')
_QUOTED_EMAIL = re.compile(r'"[^"@]{1,64}"(?:@|%40)\S*')
_E164 = re.compile(r"\+\d[\d ().-]{5,}\d")
_LONG_NUMBER = re.compile(r"\d(?:[\s().\-/_]{0,3}\d){6,}")
_URL = re.compile(r"\bhttps?://\S+", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """`text` with every character that SQS refuses (control characters, lone surrogates) replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def mask_identifiers(text: str) -> str:
    """`text` without e-mail addresses and international phone numbers; other numbers stay, so ids stay readable."""
    return _E164.sub(MASK, _EMAIL.sub(MASK, _QUOTED_EMAIL.sub(MASK, printable(text))))


def mask(text: str, private: Iterable[str] = ()) -> str:
    """`text` without URLs, e-mail addresses, anything that could be a phone number, and what is `private`, in whatever
    encoding a provider quotes it.
    """
    private = sorted(filter(None, private), key=len, reverse=True)
    text = _plain(hide(text, private))
    text = hide(text, [form for each in private for form in (_plain(each), quote(each, safe=""))])
    return _LONG_NUMBER.sub(MASK, mask_identifiers(_URL.sub(MASK, text)))


def hide(text: str, private: Iterable[str]) -> str:
    """`text` without what is `private`, in any case of its letters."""
    for each in private:
        text = re.sub(re.escape(each), MASK, text, flags=re.IGNORECASE)
    return text


def _plain(text: str) -> str:
    """Without the encodings that a page, a URL or JSON puts around text, or look-alikes of its characters."""
    for _ in range(2):
        text = unquote(html.unescape(text))
    return unicodedata.normalize("NFKC", text.replace("\\/", "/").replace("\N{NON-BREAKING HYPHEN}", "-"))


def shorten(text: str, limit: int) -> str:
    """`text` cut to at most `limit` UTF-8 bytes, marked where it was cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
