"""Takes personal data and secrets out of text that a person or a log will see."""

import re
from collections.abc import Iterable

MASK = "***"

# Begins where a word begins, or a long word without an @ would be searched from each of its characters.
_EMAIL = re.compile(r"(?<![^\s@\"'<>()\[\]{},;:])[^\s@\"'<>()\[\]{},;:]+(?:@|%40)[^\s@\"'<>()\[\]{},;:]+")
_E164 = re.compile(r"\+\d[\d ().-]{5,}\d")
_LONG_NUMBER = re.compile(r"(?<![\w-])\d[\d ().-]{5,}\d(?![\w-])")
_URL = re.compile(r"\bhttps?://\S+", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """`text` with every character that SQS refuses (control characters, lone surrogates) replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def mask_identifiers(text: str) -> str:
    """`text` without e-mail addresses and international phone numbers; other numbers stay, so ids stay readable."""
    return _E164.sub(MASK, _EMAIL.sub(MASK, printable(text)))


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets, URLs, e-mail addresses and anything that could be a phone number."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _LONG_NUMBER.sub(MASK, mask_identifiers(_URL.sub(MASK, text)))


def shorten(text: str, limit: int) -> str:
    """`text` cut to at most `limit` UTF-8 bytes, marked where it was cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
