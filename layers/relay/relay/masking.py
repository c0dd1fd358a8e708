"""Takes personal data and secrets out of text that a person or a log will see.

A text is read as it stands, and then again each time a layer of encoding is taken off, until nothing changes. In each
of these readings a letter is in its plain form (no accents, no case, no look-alikes, nothing invisible) and knows which
part of the text it came from. What is found in any reading is hidden in the text; the rest stays as it was written.

Cost: the text is cut first; each letter is made plain by itself, so nothing is quadratic in combining marks; what is
private is looked up by how it begins, at each place of the text, however much of it there is.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html.entities import html5
from itertools import chain

MASK = "***"

LONGEST = 2048
"""Characters of a text that are looked at and shown at most, before anything else is done with it."""

LONGEST_ID = 255
"""Characters of an event's id, bytes of what stands for it in a rejection."""

DEEPEST = 8
"""Layers of encoding that are taken off. What is wrapped in more is not shown at all."""

CUT_OFF = 64
"""Letters and digits not shown before a cut: something private may have begun there that went on behind it."""

ANYWHERE = 3
"""Letters and digits from which on something private is found within a word, too; a number needs one more."""

QUOTED = 12
"""So much of the beginning of something private, twice as long or longer, is a quote of it, wherever it breaks off."""

PART = 8
"""So many letters and digits in a row of something private that is longer are a quote of a part of it."""

HOSTERS = frozenset(
    {
        *("gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "aol.com"),
        *("icloud.com", "me.com", "mac.com", "proton.me", "protonmail.com", "gmx.de", "gmx.net", "web.de"),
    }
)
"""Mail domains of so many people that they tell of nobody."""

OWN_NAMES = frozenset(
    {
        *("backfill", "currency", "customer", "destinations", "expires_at", "occurred_at", "phone_number"),
        *("properties", "provider_ids"),
    }
)
"""The contract's longer names: with them an answer says which field is wrong, whatever private text holds one, too."""

# All on plain readings: in ASCII as far as there is an ASCII form, small letters, nothing invisible.
# The whole word around the @: what may stand before it is wider than any pattern of an address.
_EMAIL = re.compile(r'(?<!\S)\S*@[^\s,;:"<>()\[\]{}]*')
_SPACED_EMAIL = re.compile(r"(?<!\S)\S{1,64}\s{0,3}@\s{0,3}[\w-]+(?:\.[\w-]+)+")
_QUOTED_EMAIL = re.compile(r'"[^"@]{1,64}"@\S*')
_E164 = re.compile(r"\+\d[\d ().-]{5,}\d")
_LONG_NUMBER = re.compile(r"\d(?:[\s().\-/_]{0,3}\d){6,}")
_URL = re.compile(r"\bhttps?://\S+")
_IDENTIFIERS = (_EMAIL, _SPACED_EMAIL, _QUOTED_EMAIL, _E164)

# What no identifier can be made of, in no encoding: two hyphens begin a name in DNS's.
_HARMLESS = re.compile(r"(?!.*--)[A-Za-z0-9 _.:/-]*")

# Not by what is printable: that set is so large that to compile it takes 6 ms.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_WORD = re.compile(r"[^\W_]+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d) (?=\d)")

# One character as URLs (also encoded again and again), JSON and JavaScript (in strings in strings) and HTML write it,
# and a label of a domain name as DNS does.
_NEXT_BYTE = r"%(?:25)*[89ab][0-9a-f]"
_BYTES = rf"[cd][0-9a-f]{_NEXT_BYTE}|e[0-9a-f](?:{_NEXT_BYTE}){{2}}|f[0-9a-f](?:{_NEXT_BYTE}){{3}}|[0-9a-f]{{2}}"
_ESCAPE = re.compile(
    rf"%(?:25)*(?:(?P<bytes>{_BYTES})|u(?P<percent_u>[0-9a-f]{{4}}))"
    r"|(?<!\\)\\++(?:u(?P<high>d[89ab][0-9a-f]{2})\\++u(?P<low>d[c-f][0-9a-f]{2})"
    r"|u(?:(?P<u>[0-9a-f]{4})|\{(?P<braced>[0-9a-f]{1,6})\})|x(?P<x>[0-9a-f]{2})|(?P<white>[bfnrt])|(?P<itself>[\"'/]))"
    r"|&(?:amp;|\#38;|\#x26;)*(?:\#x(?P<hex>[0-9a-f]+)|\#(?P<decimal>[0-9]+)|(?P<name>[a-z][a-z0-9]{1,31}));?"
    r"|(?P<label>xn--[a-z0-9-]{1,59})"
)
_PERCENT = re.compile(r"%(?:25)*")
_NAMED = {name.lower(): value for name, value in html5.items()}
_LONGEST_BARE = max(len(name) for name in html5 if not name.endswith(";"))


def printable(text: str) -> str:
    """`text` with every character that SQS refuses (control characters, lone surrogates) replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def mask_identifiers(text: str) -> str:
    """`text` without e-mail addresses and international phone numbers; other numbers stay, so ids stay readable."""
    if len(text) <= LONGEST_ID and _HARMLESS.fullmatch(text):
        return text
    return printable(_covered(text[:LONGEST], (), _IDENTIFIERS, cut=len(text) > LONGEST))


def mask(text: str, private: Iterable[str] = ()) -> str:
    """`text` without URLs, e-mail addresses, anything that could be a phone number, and what is `private`, in whatever
    encoding a provider quotes it. Of a longer text the first `LONGEST` characters at most.
    """
    patterns = (*_IDENTIFIERS, _URL, _LONG_NUMBER)
    return printable(_covered(text[:LONGEST], private, patterns, cut=len(text) > LONGEST))


def hide(text: str, private: Iterable[str]) -> str:
    """`text`, all of it, without what is `private`, in any case of its letters and in any encoding."""
    return _covered(text, private, (), cut=False)


def shorten(text: str, limit: int) -> str:
    """`text` cut to at most `limit` UTF-8 bytes, marked where it was cut."""
    encoded = text[:limit].encode("utf-8", "replace")
    if len(text) <= limit and len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"


def to_punycode(name: str) -> str:
    """A domain name as DNS holds it: `bücher.example` is xn--bcher-kva.example."""
    labels = unicodedata.normalize("NFKC", name.lower()).split(".")
    return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)


def from_punycode(label: str) -> str | None:
    """A label of a domain name as people read it: `xn--bcher-kva` is bücher. None if it is written in no other way."""
    if not label.isascii() or label[:4].lower() != "xn--":
        return None
    try:
        return label[4:].encode().decode("punycode")
    except UnicodeError:
        return None


def _covered(text: str, private: Iterable[str], patterns: Iterable[re.Pattern[str]], *, cut: bool) -> str:
    readings = _readings(text)
    if len(readings) > DEEPEST:
        return MASK
    unseen, end = _Private(private), len(text)
    hidden: list[tuple[int, int]] = []
    for reading in readings:
        words = _words(reading)
        spans = list(unseen.found(reading, words))
        spans += [match.span() for pattern in patterns for match in pattern.finditer(reading.text)]
        hidden += [(reading.starts[start], reading.ends[stop - 1]) for start, stop in spans]
        if cut and words.text:
            end = min(end, reading.starts[words.where[max(0, len(words.text) - CUT_OFF)]])
    shown = _without(text, hidden, end)
    return shown + "…" if cut else shown


def _without(text: str, hidden: list[tuple[int, int]], end: int) -> str:
    parts: list[str] = []
    at = 0
    for start, stop in sorted(hidden):
        if start >= end:
            break
        if start > at or not parts:
            parts += [text[at:start], MASK]
        at = max(at, stop)
    return "".join((*parts, text[at:end]))


# ------------------------------------------------------------------------------------------------------------ readings


@dataclass(frozen=True, slots=True)
class _Reading:
    """Plain text; its character `i` stands for `starts[i]` to `ends[i]` of the text it was read from."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def _readings(text: str) -> list[_Reading]:
    """`text` in plain letters, then with one layer of encoding less each time; `DEEPEST` + 1 of them if it goes on."""
    readings = [_plain(text)]
    while len(readings) <= DEEPEST and (decoded := _decoded(readings[-1])):
        readings.append(decoded)
    return readings


def _plain(text: str) -> _Reading:
    if text.isascii() and text.isprintable():
        return _Reading(text.lower(), range(len(text)), range(1, len(text) + 1))
    builder = _ReadingBuilder()
    for index, character in enumerate(text):
        builder.add(_plain_character(character), index, index + 1)
    return builder.reading


class _ReadingBuilder:
    """Puts a reading together, part by part."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, plain: str, start: int, end: int) -> None:
        """Next comes what stands for the original from `start` to `end`."""
        self._parts.append(plain)
        self._starts += [start] * len(plain)
        self._ends += [end] * len(plain)
        if not plain and self._ends:
            # What cannot be seen goes with what it stands behind.
            self._ends[-1] = end

    def copy(self, reading: _Reading, start: int, end: int | None = None) -> None:
        """Next comes a part of another reading as it is."""
        self._parts.append(reading.text[start:end])
        self._starts += reading.starts[start:end]
        self._ends += reading.ends[start:end]

    @property
    def reading(self) -> _Reading:
        return _Reading("".join(self._parts), self._starts, self._ends)


def _plain_text(characters: str) -> str:
    return "".join(map(_plain_character, characters))


@lru_cache(maxsize=8192)
def _plain_character(character: str) -> str:
    """Without accents and case, as ASCII where Unicode knows it as a form of that; empty for what cannot be seen."""
    if character.isspace():
        return " "
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).upper().casefold())
    return "".join(map(_plain_part, folded))


def _plain_part(character: str) -> str:
    category = unicodedata.category(character)
    if (
        category in ("Mn", "Mc", "Me", "Cf", "Cc")
        or character in "\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}"
    ):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "-" if category == "Pd" or character == "\N{MINUS SIGN}" else character


def _decoded(reading: _Reading) -> _Reading | None:
    """With one layer of encoding less; None if there is none."""
    builder, at = _ReadingBuilder(), 0
    for match in _ESCAPE.finditer(reading.text):
        character = _character(match)
        if character is None:
            continue
        start, end = match.span()
        builder.copy(reading, at, start)
        builder.add(_plain_text(character), reading.starts[start], reading.ends[end - 1])
        at = end
    if at == 0:
        return None
    builder.copy(reading, at)
    return builder.reading


def _character(match: re.Match[str]) -> str | None:
    """What an escape stands for; None if it is none."""
    kind = match.lastgroup
    value = match[kind] if kind else ""
    match kind:
        case "bytes":
            return _utf8(bytes.fromhex(_PERCENT.sub("", value)))
        case "low":
            return chr(0x10000 + (int(match["high"], 16) - 0xD800) * 0x400 + int(value, 16) - 0xDC00)
        case "white" | "itself":
            return value if kind == "itself" else " "
        case "name":
            return _named(match)
        case "label":
            return from_punycode(value)
        case _:
            return _code_point(value, 10 if kind == "decimal" else 16)


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _code_point(digits: str, base: int) -> str:
    digits = digits.lstrip("0")
    code = int(digits or "0", base) if len(digits) <= 7 else -1
    return chr(code) if 0 <= code <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"


def _named(match: re.Match[str]) -> str | None:
    name = match["name"]
    closing = ";" if match[0].endswith(";") else ""
    if closing and name + closing in _NAMED:
        return _NAMED[name + closing]
    for length in range(min(len(name), _LONGEST_BARE), 1, -1):
        if name[:length] in _NAMED:
            return _NAMED[name[:length]] + name[length:] + closing
    return None


# ----------------------------------------------------------------------------------------------------- what is private


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a reading with one space between; the character `i` is the reading's character `where[i]`."""

    text: str
    where: Sequence[int]


def _words(reading: _Reading) -> _Words:
    where: list[int] = []
    words: list[str] = []
    for match in _WORD.finditer(reading.text):
        words.append(match[0])
        where += range(match.start(), match.end())
        where.append(match.end())
    return _Words(" ".join(words), where)


def _joined_digits(words: _Words) -> _Words:
    """A number is the same however it is spaced."""
    spaces = {match.start() for match in _BETWEEN_DIGITS.finditer(words.text)}
    where = [place for index, place in enumerate(words.where) if index not in spaces]
    return _Words(_BETWEEN_DIGITS.sub("", words.text), where)


def _parts(joined: str) -> Iterator[str]:
    return (joined[at : at + PART] for at in range(len(joined) - PART + 1))


_SAID_OF_ALL = frozenset(chain(*(_parts("".join(re.findall("[a-z]+", name))) for name in OWN_NAMES | HOSTERS)))


class _Private:
    """What must not be seen, as words with whatever between them, looked up by how it begins, and each part of it."""

    def __init__(self, values: Iterable[str]) -> None:
        self._edges: dict[str, tuple[str, str]] = {}
        """Each form of it, and what belongs to it before its first word and behind its last."""
        self._short: set[str] = set()
        """Too short to be looked for within words."""
        self._lengths: defaultdict[str, set[int]] = defaultdict(set)
        """How long those are that begin with these letters."""
        self._long: defaultdict[str, list[str]] = defaultdict(list)
        """By the beginning that is enough of a quote, sorted."""
        self._longer: list[str] = []
        """What is longer than a part, as letters and digits alone."""
        self._signs: set[str] = set()
        """Neither letters nor digits."""
        for value in values:
            # Cut: more of it than of the text need not be known.
            for reading in _readings(value[: 4 * LONGEST]):
                self._add(reading.text.strip())
        for forms in self._long.values():
            forms.sort()
        self._parts = {part for joined in self._longer for part in _parts(joined)} - _SAID_OF_ALL
        self._short_lengths = {len(form) for form in self._short}

    def _add(self, text: str) -> None:
        words = _WORD.findall(text)
        if not words:
            self._signs.update([text] if len(text) >= ANYWHERE else [])
            return
        spaced, joined = " ".join(words), "".join(words)
        edges = (text[: text.index(words[0])], text[text.rindex(words[-1]) + len(words[-1]) :])
        if len(joined) < ANYWHERE + joined.isdecimal():
            self._short.add(spaced)
            self._edges[spaced] = max(edges, self._edges.get(spaced, edges), key=_both)
            return
        if len(joined) > PART:
            self._longer.append(joined)
        for form in {spaced, joined}:
            self._edges[form] = max(edges, self._edges.get(form, edges), key=_both)
            begins = form
            if len(form) >= 2 * QUOTED:
                begins = form[:QUOTED]
                self._long[begins].append(form)
            self._lengths[form[:ANYWHERE]].add(len(begins))

    def found(self, reading: _Reading, words: _Words) -> Iterator[tuple[int, int]]:
        """From where to where in the reading something private stands."""
        for sign in self._signs:
            at = reading.text.find(sign)
            while at >= 0:
                yield at, at + len(sign)
                at = reading.text.find(sign, at + len(sign))
        for looked_at in (words, _joined_digits(words)) if self._edges else ():
            for form, start, stop in self._quotes(looked_at.text):
                first, last = looked_at.where[start], looked_at.where[stop - 1] + 1
                before, after = self._edges[form] if stop - start == len(form) else ("", "")
                first -= len(before) if reading.text.endswith(before, 0, first) else 0
                last += len(after) if reading.text.startswith(after, last) else 0
                yield first, last
        if self._parts:
            yield from self._quoted_parts(words)

    def _quoted_parts(self, words: _Words) -> Iterator[tuple[int, int]]:
        """From where to where in the reading parts of something private stand, to the ends of their words."""
        joined = words.text.replace(" ", "")
        where = [place for place, letter in zip(words.where, words.text, strict=False) if letter != " "]
        starts: list[int] = []
        stops: list[int] = []
        for word in words.text.split():
            start = len(starts)
            starts += [start] * len(word)
            stops += [start + len(word)] * len(word)
        for first, last in _overlapping(at for at, part in enumerate(_parts(joined)) if part in self._parts):
            # A few letters that a word happens to share are no quote.
            begun, ended = stops[first] - first > ANYWHERE, last - starts[last - 1] > ANYWHERE
            start = starts[first] if begun or first == starts[first] else stops[first]
            stop = stops[last - 1] if ended or last == stops[last - 1] else starts[last - 1]
            yield where[start], where[stop - 1] + 1

    def _quotes(self, text: str) -> Iterator[tuple[str, int, int]]:
        for start in range(len(text)):
            for length in self._lengths.get(text[start : start + ANYWHERE], ()):
                form = text[start : start + length]
                if form in self._long:
                    form, alike = _most_alike(text[start : start + LONGEST], self._long[form])
                    yield form, start, start + len(alike)
                elif form in self._edges:
                    yield form, start, start + len(form)
            if start == 0 or text[start - 1] == " ":
                for length in self._short_lengths:
                    form = text[start : start + length]
                    if form in self._short and text[start + len(form) : start + len(form) + 1] in ("", " "):
                        yield form, start, start + len(form)


def _overlapping(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """From where to where parts stand that begin at these places, those that overlap as one."""
    first, last = 0, 0
    for at in places:
        if at >= last:
            if last:
                yield first, last
            first = at
        last = at + PART
    if last:
        yield first, last


def _both(edges: tuple[str, str]) -> int:
    return len(edges[0]) + len(edges[1])


def _most_alike(text: str, forms: list[str]) -> tuple[str, str]:
    """Which of the sorted `forms` the text begins with most of, and that beginning."""
    place = bisect_left(forms, text)
    form = max(forms[max(0, place - 1) : place + 1], key=lambda form: len(_common(text, form)))
    return form, _common(text, form)


def _common(text: str, form: str) -> str:
    least, most = 0, min(len(text), len(form))
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if text.startswith(form[:middle]) else (least, middle - 1)
    # The first letters of a word in which the text goes on otherwise are no quote.
    _, space, begun = form[max(0, least - ANYWHERE) : least].rpartition(" ")
    if space and (not begun or text[least : least + 1].strip()):
        least -= len(begun) + 1
    return form[:least]
