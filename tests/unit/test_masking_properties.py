"""What holds for any event and any answer that quotes it: no customer is readable, the rest is, at a known cost."""

import html
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from relay.contract.event import Event
from relay.masking import ANYWHERE, LONGEST, MASK, PART, hide, mask, mask_identifiers
from relay.ports import Reply
from relay.providers import PROVIDERS
from tests.drawing import drawn
from tests.factories import make_event
from tests.kinds import REPEATS
from tests.steps import steps
from tests.unit.providers.test_every_provider import saying, says_as_most

pytestmark = pytest.mark.long

# ----------------------------------------------------------------------------------------------- a reader, and a quoter


def decoded(text: str) -> str:
    """What somebody with patience makes of a text: written apart from the code under test."""
    for _ in range(20):
        before = text
        text = re.sub(r"\\+u\{?([0-9a-fA-F]{4})\}?", lambda match: chr(int(match[1], 16)), text)
        text = re.sub(r"\\+x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
        text = re.sub(r"%u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
        text = re.sub(r"(?i)(?<![a-z0-9])xn--([a-z0-9-]{1,59})(?![a-z0-9-])", _from_dns, text)
        text = unquote(html.unescape(re.sub(r"\\+(?=[/\"'])", "", text)))
        if text == before:
            break
    return text


def _from_dns(match: re.Match[str]) -> str:
    try:
        return match[1].encode().decode("punycode")
    except UnicodeError:
        return match[0]


def in_dns(text: str) -> str:
    """Each part between dots, spaces and an @ as a label of DNS, where it is beyond ASCII and fits."""

    def label(match: re.Match[str]) -> str:
        made = match[0].lower().encode("punycode", "surrogatepass").decode()
        return match[0] if match[0].isascii() or not re.fullmatch("[a-z0-9-]{1,59}", made) else f"xn--{made}"

    return re.sub(r"[^.@\s]+", label, text)


def letters(text: str) -> str:
    """Its letters and digits alone, a space where others stand between, as different people would write them alike."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).upper().casefold())
    seen = "".join(each for each in plain if unicodedata.category(each) not in ("Mn", "Mc", "Me", "Cf", "Cc"))
    return " ".join(re.findall(r"[^\W_]+", "".join(" " if each.isspace() else each for each in seen)))


def readable(text: str, value: str) -> bool:
    """Whether the value, or a look-alike, stands in the text. Of fewer than three letters and digits: as a word."""
    wanted = letters(value)
    found = [letters(one) for one in (text, decoded(text))]
    if len(wanted.replace(" ", "")) < 3 + wanted.isdecimal():
        return any(f" {wanted} " in f" {one} " for one in found)
    return any(wanted in one for one in found)


def percent_all(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def json_all(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def full_width(text: str) -> str:
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


def between(what: str) -> Callable[[str], str]:
    return what.join


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "every byte": percent_all,
    "JavaScript's escape": lambda text: "".join(f"%u{ord(each):04X}" if ord(each) < 0x10000 else each for each in text),
    "HTML": html.escape,
    "HTML numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML hexadecimal numbers": lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    "HTML numbers with zeros": lambda text: "".join(f"&#{ord(each):09};" for each in text),
    "HTML name of the @": lambda text: text.replace("@", "&commat;"),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with a slash escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON, every letter": json_all,
    ".NET's JSON": lambda text: re.sub(r"[+&'<>@]", lambda match: f"\\u{ord(match[0]):04X}", json.dumps(text)[1:-1]),
    "DNS": in_dns,
    "Python's repr": lambda text: re.sub(r"[@.+ ]", lambda match: f"\\x{ord(match[0]):02x}", text),
    "capitals": str.upper,
    "small letters": str.lower,
    "full width": full_width,
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "composed": lambda text: unicodedata.normalize("NFKC", text),
    "zero-width spaces": between("\N{ZERO WIDTH SPACE}"),
    "soft hyphens": between("\N{SOFT HYPHEN}"),
    "word joiners": between("\N{WORD JOINER}"),
    "non-breaking hyphens": lambda text: text.replace("-", "\N{NON-BREAKING HYPHEN}"),
    "non-breaking spaces": lambda text: text.replace(" ", "\N{NO-BREAK SPACE}"),
    "spaces around the @": lambda text: text.replace("@", " @ "),
}

APART = (
    "Invalid email ' {} ' for this subscriber",
    "The field customer.properties.first_name is ' {} ' but must be short",
    "You must activate workflow first ( {} )",
)
"""What stands around a quote is readable, where it is not one word with it: of an address the whole word is hidden."""

SENTENCES = (
    *APART,
    "Invalid email '{}'",
    '{"error":"not found","given":"{}"} was refused',
    "got <{}>, try again",
    "{}",
)

# ------------------------------------------------------------------------------------------------------- events, values

NAMES = st.text(
    st.sampled_from("adlovecéßüøł\u0131İ ΣσςабвЖ漢字한글日本हिन्दी'-.@+/%&\\\"<>=#!;,_09") | st.characters(codec="utf-8")
)
MAILBOX = st.lists(
    st.text(st.sampled_from("abcxyz019!#$%&'*+/=?^_`{|}~-öÖßıéΣ王明한ह"), min_size=1, max_size=8),
    min_size=1,
    max_size=2,
).map(".".join)
SCALARS = NAMES | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event with something of everything that an event can say of its customer."""
    domain = ".".join(
        draw(st.lists(st.text(st.sampled_from("abcxyz01üßé例子광고"), min_size=1, max_size=8), min_size=2, max_size=3))
    )
    customer = {
        "email": f"{draw(MAILBOX)}@{domain}",
        "phone_number": "+1" + draw(st.text(st.sampled_from("0123456789"), min_size=3, max_size=12)),
        "id": draw(NAMES.filter(lambda text: 1 <= len(text) <= 255)),
        "provider_ids": {REPEATS: draw(NAMES.filter(lambda text: 1 <= len(text) <= 255))},
        "properties": {"first_name": draw(SCALARS), "nickname": draw(SCALARS)},
    }
    return make_event(customer=customer, properties={"ship_to": draw(SCALARS), "total": draw(SCALARS)})


def values(event: Event) -> list[str]:
    """What the event says of its customer, without the product's own list of it."""
    customer = event.customer
    assert customer.email
    assert customer.phone_number
    own = (customer.email, customer.email.partition("@")[0], customer.phone_number, customer.phone_number[1:])
    others = (customer.id, *customer.provider_ids.values(), *customer.properties.values(), *event.properties.values())
    return [*own, *(each if isinstance(each, str) else json.dumps(each) for each in others)]


@drawn(200)
@given(
    event=events(),
    which=st.integers(0, 9),
    encodings=st.lists(st.sampled_from(sorted(ENCODINGS)), max_size=3),
    sentence=st.sampled_from(SENTENCES),
    ascii_only=st.booleans(),
)
def test_no_quote_of_a_customer_is_readable(
    event: Event, which: int, encodings: list[str], sentence: str, ascii_only: bool
) -> None:
    """GIVEN a provider that quotes something of the customer, in up to three encodings, one in the other

    THEN it cannot be read in the detail, in whatever way one tries; the words around it can.
    """
    value = values(event)[which % len(values(event))]
    assume(letters(value) and value.lower() not in {*Event.model_fields, *type(event.customer).model_fields})
    quoted = value
    for encoding in encodings:
        quoted = ENCODINGS[encoding](quoted)
    head, _, tail = sentence.partition("{}")
    assume(not any(readable(part, each) for part in (head, tail) for each in (value, *event.private)))
    said = f"{head}{quoted}{tail}"
    for name, kind in PROVIDERS.items():
        body = saying(name, said, ensure_ascii=ascii_only)
        detail = kind("https://provider.example").detail(Reply(400, {}, body), ("tok-3f9a77", *event.private))
        assert not readable(detail, value), name
        # Some say it several times: in an error's path, too.
        if sentence in APART and len(said) < (500 if says_as_most(name) else 80):
            assert detail.startswith(head), name
            assert detail.endswith(tail), name


@pytest.mark.parametrize("outer", ENCODINGS)
def test_every_encoding_in_every_encoding(outer: str) -> None:
    """GIVEN each pair of encodings THEN the value is gone, and of the sentence nothing else."""
    values = ("Ada Lovelace", "cust-ada", "12 St James's Square, London", "+493012", "tok/en+==", "jörg@bücher.example")
    for private in values:
        for inner, encode in ENCODINGS.items():
            quoted = ENCODINGS[outer](encode(private))
            masked = mask(f"Invalid value ' {quoted} ' for this field", [private])
            assert not readable(masked, private), inner
            if len(quoted) < LONGEST - 100:
                assert masked.startswith("Invalid value ' "), inner
                assert masked.endswith(" ' for this field"), inner
                assert MASK in masked


@drawn(100)
@given(
    private=st.sampled_from(["Ada Lovelace", "ada.lovelace@example.com", "12 St James's Square, London, at the back"]),
    encodings=st.lists(st.sampled_from(sorted(ENCODINGS)), max_size=2),
    place=st.integers(0, 400),
    filler=st.sampled_from(["https://provider.example/" + "x" * 30 + " ", "1234567 ", "x@example.com "]),
)
def test_a_cut_leaves_no_piece_of_a_value(private: str, encodings: list[str], place: int, filler: str) -> None:
    """GIVEN words that are cut in a value, after much that is masked THEN its beginning is not left over."""
    quoted = private
    for encoding in encodings:
        quoted = ENCODINGS[encoding](quoted)
    before = (filler * LONGEST)[: LONGEST - min(place, len(quoted))].rpartition(" ")[0]
    before += " " * (LONGEST - min(place, len(quoted)) - len(before))
    masked = mask(f"{before}{quoted} was refused by the provider's own rules{' and so on' * 300}", [private])
    assert not readable(masked, letters(private)[:4])


@pytest.mark.parametrize("long", ["Dear Ada, your order is on its way to 12 St James's Square", "tok-" + "3f9a77" * 20])
def test_a_quote_that_breaks_off_is_one(long: str) -> None:
    """GIVEN a provider that quotes the beginning of a long value only THEN it is hidden, however far it goes."""
    for length in range(16, len(long) + 1):
        masked = mask(f"too long: '{long[:length]}…' was turned down", [long])
        assert letters(masked) == "too long was turned down"


QUOTED_IN_PART = (
    "Ada Lovelace-Byron",
    "Featherstonehaugh",
    "DE89370400440532013000",
    "sk_live_4f9a77b2c1d8e6",
    "12 St James's Square, London SW1Y 4JH, United Kingdom",
    "ada.lovelace91@lovelace-family.name",
)


@drawn(200)
@given(
    private=st.sampled_from(QUOTED_IN_PART),
    start=st.integers(0, 60),
    length=st.integers(PART, 60),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    sentence=st.sampled_from(
        ["value ' {} ' refused", "too long: '{}…' given", "input_value '***...{}', input_type=str"]
    ),
)
def test_no_part_of_a_value_is_readable(private: str, start: int, length: int, encoding: str, sentence: str) -> None:
    """GIVEN a beginning, an end or a middle of a value, eight letters and digits of it THEN all of it is hidden."""
    part = private[start : start + length]
    parts = letters(part).split()
    assume(sum(map(len, parts)) >= PART)
    masked = mask(sentence.replace("{}", ENCODINGS[encoding](part)), [private])
    # Of a word at its edge that was cut in two, up to three letters may stand.
    assert not any(readable(masked, each) for each in parts if len(each) > ANYWHERE)
    assert not readable(masked, " ".join(parts))
    assert masked.startswith(sentence[:5])
    assert masked.endswith(sentence[-5:])


@pytest.mark.parametrize(
    "words",
    [
        "customer.phone_number, provider_ids: required",
        "properties.currency must not be empty",
        "occurred_at, destinations: unknown field",
        "no such user at outlook.com or gmail.com",
        "Feather is too short",
        "Invalid email",
    ],
)
def test_what_only_resembles_a_part_stays(words: str) -> None:
    """Names of the contract, big mail hosters, and up to seven letters in a row that a longer value shares."""
    private = [
        "ada@outlook.com",
        "b@gmail.com",
        "Feathersxtonehaugh",
        "the phone number and currency of the customer",
        "properties destinations occurred at provider ids",
    ]
    assert mask(words, private) == words


# ----------------------------------------------------------------------------------------------------------- event ids

IDS = st.one_of(
    st.uuids().map(str),
    st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26),
    st.integers(0, 10**18).map(str),
    st.integers(0, 10**12).map("gid://shopify/Order/{}".format),
    st.from_regex(r"[A-Za-z]{1,10}[-_:./#][A-Za-z0-9]{1,12}([-_:./#][A-Za-z0-9]{1,12}){0,3}", fullmatch=True),
    st.datetimes().map(str),
)


@given(IDS)
def test_an_ordinary_id_stays_as_it_is(event_id: str) -> None:
    """A UUID, a ULID, a number, a path, a date: an id is of use only where it can be read."""
    assert mask_identifiers(event_id) == event_id


@pytest.mark.parametrize("outer", ENCODINGS)
@pytest.mark.parametrize("personal", ["ada@example.com", "+1-555-123-4567", "+15551234567"])
def test_no_encoding_hides_an_address_in_an_id(personal: str, outer: str) -> None:
    """GIVEN an id made of an address or an international number THEN it is masked, however it is written."""
    for inner, encode in ENCODINGS.items():
        quoted = ENCODINGS[outer](encode(personal))
        masked = mask_identifiers(f"order-7 {quoted} x")
        assert not readable(masked, "ada"), inner
        assert not readable(masked, "4567"), inner
        assert masked.startswith("order-7 ") or len(quoted) > LONGEST - 100, inner


LOOK_ALIKES = (
    "+" + "\N{ARABIC-INDIC DIGIT ONE}" * 11,
    "".join(chr(ord(each) + 0xFEE0) for each in "+15551234567"),
    "+1-555-123-4567".replace("-", "\N{NON-BREAKING HYPHEN}"),
    "+1-555-123-4567".replace("-", "\N{MINUS SIGN}"),
    "ada\N{SMALL COMMERCIAL AT}example.com",
    "ada\N{FULLWIDTH COMMERCIAL AT}example.com",
)


@pytest.mark.parametrize("event_id", LOOK_ALIKES, ids=ascii)
def test_no_look_alike_hides_an_address_in_an_id(event_id: str) -> None:
    """Digits of another script, full width, other hyphens."""
    assert mask_identifiers(event_id) == MASK


# ----------------------------------------------------------------------------------------------------- total, and cheap

PIECES = st.sampled_from(
    [
        *(
            "\u0301",
            "\u0327",
            "a",
            '"',
            '"a',
            "+1",
            "+1(",
            "1   ",
            "1",
            "&#38;#38;",
            "&amp;",
            "&#",
            "&#x",
            "&",
            "9" * 50,
        ),
        *("%25", "%", "%2", "\ufdfa", "@", "a@ ", "a @ ", "http://", "ada@example.com ", "\u1100\u1161\u11a8", "\\"),
        *("\\u", "\\ud83d", "\\u0040", "\\\\u{40}", "&notit", "&CounterClockwiseContourIntegral", "\u200b", "a.", "- "),
        *(
            "tok-",
            "ada",
            "Ada Lovelace ",
            "\ud800",
            "\x00",
            "{",
            "[",
            "😀",
            "日",
            " ",
            "xn--",
            "xn--bcher-kva.",
            "-kva",
        ),
        "xn--" + "a" * 59 + ".",
        "xn--" + "Wgv71a" * 9 + ".",
    ]
)
HOSTILE = st.lists(st.tuples(PIECES, st.sampled_from([1, 2, 7, 300, 5_000])), max_size=5).map(
    lambda pumped: "".join(piece * times for piece, times in pumped)[:65_536]
)
SECRETS = (
    "tok-3f9a77",
    "ada@example.com",
    "+15551234567",
    "Ada Lovelace",
    "1",
    "a",
    "%25%25",
    "&#" + "9" * 5_000,
)


@drawn(10)
@given(text=HOSTILE | st.text(), body=st.binary() | HOSTILE.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(text="Invalid value: &#" + "9" * 5_000 + ";", body=b'{"message": ' + b"9" * 5_000 + b"}")
@example(text="&#x" + "f" * 5_000 + ";", body=b'{"message": "\\ud800"}')
def test_wording_never_fails(text: str, body: bytes) -> None:
    """GIVEN any text or any bytes in an answer, its head included THEN no fault of its words can lose its outcome."""
    assert len(mask(text, [*SECRETS, "a" * 40, text])) <= LONGEST * 3
    mask_identifiers(text).encode()
    hide(text, [text])
    for kind in PROVIDERS.values():
        provider = kind("https://provider.example")
        quoted = json.dumps({"message": text, "errors": {text: [text]}}).encode()
        for given_body in (body, quoted):
            detail = provider.detail(Reply(400, {}, given_body), SECRETS)
            assert len(detail.encode()) <= 512


class EveryHeader(dict[str, str]):
    """Answers every header with the same text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def get(self, key: str, default: Any = None) -> Any:
        return self._text


@drawn(100)
@given(
    HOSTILE
    | st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9 :]{1,30} ?[A-Z]{0,4}[+-]?[0-9]*")
    | st.datetimes().map(str)
)
@example("9" * 5_000)
@example("Mon, 01 Jan 2001 00:00:00 +" + "9" * 5_000)
@example("9999-12-31T23:59:59-23:59")
def test_reading_the_head_never_fails(text: str) -> None:
    """GIVEN any text in any header THEN the budget is read, or unsaid."""
    for kind in PROVIDERS.values():
        kind("https://provider.example").budget(Reply(429, EveryHeader(text)), 1_774_000_000.0)


@drawn(200)
@given(text=st.text(st.sampled_from("aA0zxXnN-_.:/ @+%&\\#;\u0301"), max_size=12))
@example(text="xn--" + "ada\uff20example".encode("punycode").decode())
def test_what_is_not_searched_would_not_have_been_found(text: str) -> None:
    """GIVEN a short id without a sign in it THEN it stays as it is, as it would within a text that is searched."""
    assert mask_identifiers(text) == mask_identifiers(f"{text} {'x' * 300}").removesuffix(f" {'x' * 300}")


def test_masking_looks_at_the_beginning_only() -> None:
    """GIVEN a text of 64 KiB THEN masking costs what its first characters cost, whatever follows them."""
    for piece in ("\u0301\u0327", "a", "&#38;#38;", "%25", "\ufdfa", "a @ ", '"a', "\\", "1   "):
        begun = (piece * LONGEST)[: LONGEST + 1]
        for work in (mask_identifiers, mask, partial(mask, private=SECRETS)):
            work(begun)
            assert steps(partial(work, begun + piece * 16_384)) <= steps(partial(work, begun)) + 1_000, piece


@drawn(4)
@given(text=HOSTILE, wide=st.booleans())
@example(text="\u0301" * 30_000, wide=False)
@example(text="\ufdfa" * 20_000, wide=False)
@example(text="&#38;#38;" * 7_000, wide=False)
@example(text="9" * 15_000, wide=False)
@example(text=("xn--" + "wgv71a119e" * 5 + ".") * 1_200, wide=False)
def test_an_answers_words_cost_a_bounded_number_of_steps(text: str, wide: bool) -> None:
    """GIVEN a hostile answer of 64 KiB, one long text or very many THEN its detail costs what its length explains."""
    answer: object = {"message": text}
    if wide:
        answer = {
            "errors": [{text[at : at + 3]: [text[at : at + 2], {"message": text[at : at + 1]}]} for at in range(2_000)]
        }
    body = json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")[: 64 * 1024]
    for kind in PROVIDERS.values():
        provider = kind("https://provider.example")
        assert steps(partial(provider.detail, Reply(400, {}, body), SECRETS)) <= 1_500_000 + 60 * len(body)


@pytest.mark.parametrize("each", ["value {}", "{}", "a{}", "{}@example.com", "Ada Lovelace from London, number {}"])
def test_much_that_is_private_costs_what_its_length_explains(each: str) -> None:
    """GIVEN ten times as many values THEN masking costs about ten times as much at most, not more."""
    text = "a1 value 17 a 19@example.com Ada Lovelace from London, number 21 " * 30
    few, many = ([each.format(number) for number in range(count)] for count in (300, 3_000))
    mask(text, many)
    assert steps(lambda: mask(text, many)) <= 12 * steps(lambda: mask(text, few))


def test_only_single_characters_are_normalised() -> None:
    """Unicode's normal forms are quadratic in combining marks, so no text with many of them may ever reach them."""
    lengths: set[int] = set()

    def called(frame: Any, kind: str, function: object) -> None:
        if kind == "c_call" and function is unicodedata.normalize:
            lengths.add(len(frame.f_locals["character"]))

    text = "\u0301\u0327\N{LATIN SMALL LIGATURE FFI}" * 40 + "日本" + "".join(map(chr, range(0x1D00, 0x1D80)))
    sys.setprofile(called)
    try:
        mask(text, [text])
    finally:
        sys.setprofile(None)
    assert lengths <= {1}
