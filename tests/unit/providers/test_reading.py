"""What a reply says, and what becomes of a success whose words nobody can read."""

import json
from collections.abc import Mapping
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.outcome import Outcome
from relay.ports import Reply
from relay.providers import PROVIDERS
from relay.providers.base import JSON_HEADERS
from relay.providers.replies import Rule, read_object
from relay.providers.sender import Sender
from tests.drawing import drawn
from tests.kinds import REFUSES
from tests.unit.providers.golden import case
from tests.unit.providers.test_every_provider import expected_outcome, make

REFUSAL = b'{"success": false}'
every_believing = pytest.mark.parametrize("name", REFUSES)


class Plain(Sender):
    """A provider whose status says everything."""

    rules: ClassVar[tuple[Rule, ...]] = ()  # type: ignore[assignment]  # Sender's is a tuple of one


class Versioned(Plain):
    """One with a version, and a media type of its own."""

    headers: ClassVar[Mapping[str, str]] = {"Version": "2", "Content-Type": "application/vnd.api+json"}


class Particular(Plain):
    """One that asks for the body of a 202 and of a 409, and of no other status."""

    rules = (
        Rule(Outcome.DELIVERED, (204,)),
        Rule(Outcome.RETRY, (409,), body={"code": 7}),
        Rule(Outcome.DELIVERED, (202,), body={"queued": True}),
        Rule(Outcome.RETRY, (202,), body={"queued": False}),
    )


def test_a_providers_own_headers_take_the_place_of_everybodys() -> None:
    """GIVEN a version and a media type THEN both are sent, and beside them what every request carries."""
    golden = case("sender", "least")
    request = Versioned("http://x").build(golden.event, golden.data["credentials"])
    own = {"Authorization": "Bearer token-2", "Version": "2", "Content-Type": "application/vnd.api+json"}
    assert request.headers == {**JSON_HEADERS, **own}


@every_believing
def test_a_success_that_is_not_whole_is_unknown(name: str) -> None:
    """GIVEN a body that was cut, too long or undecodable THEN no 2xx is a delivery; another status has decided."""
    subject = make(name)
    for body in (b"", b"{}", REFUSAL, b'{"success": true}', b"<html>"):
        read = {status: subject.read(Reply(status, {}, body, complete=False)) for status in range(200, 600)}
        assert read == {
            status: Outcome.UNKNOWN if status < 300 else expected_outcome(status) for status in range(200, 600)
        }


@every_believing
def test_a_status_that_is_no_success_needs_no_body(name: str) -> None:
    """GIVEN success_statuses without 200 THEN a 200 is refused, whatever it says."""
    narrow = PROVIDERS[name]("http://x", PROVIDERS[name].settings_model(success_statuses=frozenset({201})))
    assert narrow.read(Reply(200, complete=False)) is Outcome.REJECTED
    assert narrow.read(Reply(201, complete=False)) is Outcome.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"{", REFUSAL, b'{"a": ' * 20_000], ids=range(4))
@pytest.mark.parametrize("complete", [True, False])
def test_where_no_rule_reads_the_body_the_status_decides(body: bytes, complete: bool) -> None:
    """GIVEN a provider without a rule on bodies THEN what is wrong with one changes nothing."""
    assert Plain("http://x").read(Reply(200, {}, body, complete)) is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("status", "body", "complete", "outcome"),
    [
        (200, b"{", True, Outcome.DELIVERED),
        (200, b"", False, Outcome.DELIVERED),
        (204, b"{", True, Outcome.DELIVERED),
        (204, b"", False, Outcome.DELIVERED),
        (202, b'{"queued": true}', True, Outcome.DELIVERED),
        (202, b'{"queued": false}', True, Outcome.RETRY),
        (202, b'{"queued": tr', True, Outcome.UNKNOWN),
        (202, b'{"queued": true}', False, Outcome.UNKNOWN),
        (409, b'{"code": 7}', True, Outcome.RETRY),
        (409, b'{"code": 7', True, Outcome.REJECTED),
        (409, b'{"code": 7}', False, Outcome.REJECTED),
    ],
)
def test_only_a_rule_that_asks_leaves_a_success_open(
    status: int, body: bytes, complete: bool, outcome: Outcome
) -> None:
    """A body matters where its status has a rule for it, and an unread one only where it would be a success."""
    assert Particular("http://x").read(Reply(status, {}, body, complete)) is outcome


class Wordy(Plain):
    """One that says things in its headers, deep in its body, with an empty list, and with a status of failure."""

    rules = (
        Rule(Outcome.RETRY, (403,), headers={"x-wall": "challenge"}),
        Rule(Outcome.REJECTED, (201,), body={"errors": ...}),
        Rule(Outcome.DELIVERED, (409,), body={"errors[].code": ["duplicate"]}),
    )
    says = ("errors[].[detail, source.pointer]",)
    waits = "meta.retry_in"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(403, {"x-wall": "challenge"}), Outcome.RETRY),
        (Reply(403, {"x-wall": "other"}), Outcome.UNAUTHORIZED),
        (Reply(403), Outcome.UNAUTHORIZED),
        (Reply(201, {}, b'{"errors": ["no"]}'), Outcome.REJECTED),
        (Reply(201, {}, b'{"errors": []}'), Outcome.DELIVERED),
        (Reply(201, {}, b'{"errors": null}'), Outcome.DELIVERED),
        (Reply(201, {}, b'{"errors": false}'), Outcome.DELIVERED),
        (Reply(201, {}, b'{"errors": {}}'), Outcome.DELIVERED),
        (Reply(201, {}, b"{}"), Outcome.DELIVERED),
        (Reply(201, {}, b'{"errors": ['), Outcome.UNKNOWN),
        (Reply(200, {}, b'{"errors": ["no"]}'), Outcome.DELIVERED),
        (Reply(409, {}, b'{"errors": [{"code": "duplicate"}]}'), Outcome.DELIVERED),
        (Reply(409, {}, b'{"errors": [{"code": "other"}]}'), Outcome.REJECTED),
        (Reply(409, {}, b'{"errors": [{"code": "dupli'), Outcome.REJECTED),
    ],
    ids=repr,
)
def test_rules_look_into_headers_and_bodies(reply: Reply, outcome: Outcome) -> None:
    """GIVEN rules by header, by path and for anything but nothing THEN each holds for its own replies only."""
    assert Wordy("http://x").read(reply) is outcome


def test_a_failure_status_that_is_success_needs_no_setting() -> None:
    """`success_statuses` speak of 2xx: a 409 for "have it already" is not among them, and is one all the same."""
    narrow = Wordy("http://x", Wordy.settings_model(success_statuses=frozenset({200})))
    assert narrow.read(Reply(409, {}, b'{"errors": [{"code": "duplicate"}]}')) is Outcome.DELIVERED
    assert narrow.read(Reply(201, {}, b"{}")) is Outcome.REJECTED


def test_what_is_wrong_is_read_where_the_provider_says_it() -> None:
    """By path: the words for a person, and the field they speak of."""
    body = {"errors": [{"code": "invalid", "detail": "is no address", "source": {"pointer": "/data/email"}}]}
    assert Wordy("http://x").detail(Reply(400, {}, json.dumps(body).encode()), ()) == "is no address; /data/email"


def test_the_field_that_is_wrong_is_named() -> None:
    """Where errors are objects with a field and a message, both are kept."""
    body = {"errors": [{"field": "contact.email", "message": "is no address"}, {"field": 1, "message": "is odd"}]}
    detail = Plain("http://x").detail(Reply(400, {}, json.dumps(body).encode()), ())
    assert detail == "contact.email: is no address; is odd"


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({}, b'{"meta": {"retry_in": 30}}', 30.0),
        ({}, b'{"meta": {"retry_in": "1.5"}}', 1.5),
        ({"retry-after": "7"}, b'{"meta": {"retry_in": 30}}', 7.0),
        ({"retry-after": "soon"}, b'{"meta": {"retry_in": 30}}', 30.0),
        ({}, b'{"meta": {"retry_in": 0}}', None),
        ({}, b'{"meta": {"retry_in": -3}}', None),
        ({}, b'{"meta": {"retry_in": 1e9}}', None),
        ({}, b'{"meta": {"retry_in": true}}', None),
        ({}, b'{"meta": {"retry_in": [30]}}', None),
        ({}, b'{"meta": 30}', None),
        ({}, b"", None),
    ],
)
def test_a_wait_is_read_where_the_body_says_it(headers: dict[str, str], body: bytes, wait: float | None) -> None:
    """GIVEN a provider whose body says for how long to stay away THEN that is heeded where no header does, if it can
    be believed.
    """
    reply = Reply(429, headers, body)
    assert Wordy("http://x").budget(reply, now=0.0).retry_after == wait
    assert Plain("http://x").budget(reply, now=0.0).retry_after == (7.0 if headers.get("retry-after") == "7" else None)


# Scalars and depth, in every form that a provider might write; some of it is beyond a JSON reader.
texts = st.text(max_size=20) | st.sampled_from(["a\nb", "\t", "\x00", "caf\xe9", "\ud83d", '"', "}{"])
scalars = st.none() | st.booleans() | st.floats() | texts | st.just(10**4299) | st.integers()
nested = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
others = st.dictionaries(texts.filter(lambda key: key != "success"), nested, max_size=4)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])


@st.composite
def refusals(draw: st.DrawFn) -> bytes:
    """An object that says `success: false` somewhere in it, as bytes."""
    items = [*draw(others).items(), ("success", False)]
    text = json.dumps(dict(draw(st.permutations(items))), ensure_ascii=draw(st.booleans()))
    # As those write who glue their JSON together: line breaks as they are, numbers of any length.
    text = text.replace("\\n", draw(st.sampled_from(["\\n", "\n"]))).replace(" 0", draw(st.sampled_from([" 0", " -0"])))
    text = text.replace("null", draw(st.sampled_from(["null", "9" * 5_000, "[" * 5_000 + "]" * 5_000])))
    before = draw(st.sampled_from(["", " ", "\r\n\t"]))
    return (before + text).encode(draw(encodings), "replace")


@drawn(300, derandomize=True)
@given(body=refusals(), name=st.sampled_from(REFUSES), data=st.data())
def test_a_refusal_is_never_a_delivery(body: bytes, name: str, data: st.DataObject) -> None:
    """GIVEN a refusal in any form, or the beginning of one THEN it is refused, or unknown; never delivered."""
    subject = make(name)
    assert subject.read(Reply(200, {}, body)) in (Outcome.REJECTED, Outcome.UNKNOWN)
    beginning = body[: data.draw(st.integers(min_value=24, max_value=max(24, len(body) - 1)))]
    assert subject.read(Reply(200, {}, beginning)) is not Outcome.DELIVERED


@every_believing
@pytest.mark.parametrize(
    "body",
    [
        b'{"success": false, "message": "caf\xe9"}',
        b'{"success": false, "message": "a\nb"}',
        b'{"success": false, "at": ' + b"9" * 5_000 + b"}",
        b'{"at": -' + b"9" * 60_000 + b', "success": false}',
        '\ufeff{"success": false}'.encode(),
        '{"success": false}'.encode("utf-16"),
        '{"success": false}'.encode("utf-16-be"),
        b'\r\n {"success": false}\n',
    ],
    ids=["latin-1", "line break", "long number", "longest number", "bom", "utf-16", "utf-16-be", "white space"],
)
def test_a_refusal_written_badly_is_read(name: str, body: bytes) -> None:
    """What can be understood is."""
    assert make(name).read(Reply(200, {}, body)) is Outcome.REJECTED


@every_believing
@pytest.mark.parametrize(
    "body",
    [
        b'{"success": false, "a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"a": ' * 10_000 + REFUSAL + b"}" * 10_000,
        REFUSAL[:-2],
        b"{",
        b'{"success": true}{"success": false}',
        b"{success: false}",
    ],
    ids=["deep beside", "deep around", "cut", "a brace", "two", "no JSON"],
)
def test_an_object_beyond_our_reader_is_unknown(name: str, body: bytes) -> None:
    """GIVEN what begins as an object and cannot be read to its end THEN we do not know what it said."""
    assert make(name).read(Reply(200, {}, body)) is Outcome.UNKNOWN


def test_words_in_latin_1_are_read_as_they_were_written() -> None:
    """With letters replaced, no mask would find a customer's name in them."""
    body = '{"message": "Königstraße 7 is no street"}'.encode("latin-1")
    assert read_object(body)["message"] == "Königstraße 7 is no street"
