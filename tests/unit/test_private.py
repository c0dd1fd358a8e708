"""What an event says of its customer, and that none of it comes back in a log line or a dead letter's reason."""

from typing import Any

import pytest

from relay.contract.event import Customer, Event
from relay.masking import OWN_NAMES, PART
from relay.ports import Request
from tests.factories import TOKEN, lane_message, make_event, make_reply
from tests.kinds import OVERWRITES, REPEATS
from tests.unit.harness import Harness


def refused(words: str, provider: str, **event: Any) -> set[str]:
    """All that people will see of a refusal in these words: the results' details and the dead letters' reasons."""
    harness = Harness(provider)

    def refuse(_: Request) -> Any:
        return make_reply(400, {"message": words})

    harness.transport._otherwise = refuse
    report = harness.handle([lane_message(**event)])
    assert [result.final for result in report.results] == [True]
    return {*(result.detail for result in report.results), *(letter.reason for letter in harness.queue.letters)}


ADA: dict[str, Any] = {
    "customer": {
        "email": "ada.lovelace@example.com",
        "phone_number": "+491234",
        "id": "cust-ada",
        "provider_ids": {REPEATS: "Qmp2g5"},
        "properties": {"first_name": "Ada", "full_name": "Ada King", "birthday": "1815-12-10", "age": 36, "vip": True},
    },
    "properties": {"name": "x", "ship_to": "12 St James's Square, London", "total": 1234.5, "items": 3},
    "value": 1234.5,
}


@pytest.mark.parametrize("provider", [OVERWRITES, REPEATS])
@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("Invalid first_name 'Ada King'", "Invalid first_name '***'"),
        ("Invalid first_name 'Ada'", "Invalid first_name '***'"),
        ("birthday '1815-12-10' is out of range", "birthday '***' is out of range"),
        ("birthday 18151210 is out of range", "birthday *** is out of range"),
        ("ship_to '12 St James's Square, London' unknown", "ship_to '***' unknown"),
        ("ship_to 12+St+James%27s+Square%2C+London unknown", "ship_to *** unknown"),
        ("customer cust-ada unknown", "customer *** unknown"),
        ("subscriber Qmp2g5 not found", "subscriber *** not found"),
        ("mailbox ada.lovelace does not exist", "mailbox *** does not exist"),
        ("mailbox adalovelace does not exist", "mailbox *** does not exist"),
        ("no mailbox ada.lovelace @ example.com", "no mailbox ***"),
        ("no ada.lovelace%25252540example.com here", "no *** here"),
        ("no ada.lovelace\\u0040example.com here", "no *** here"),
        ("no ada.love\N{ZERO WIDTH SPACE}lace\N{ZERO WIDTH SPACE} here", "no *** here"),
        ("no ada.love\N{SOFT HYPHEN}lace\N{FULLWIDTH COMMERCIAL AT}example.com", "no ***"),
        ("phone 491234 refused", "phone *** refused"),
        ("phone 49 12 34 refused", "phone *** refused"),
        ("phone 0 1234 refused", "phone 0 *** refused"),
        ("total 1234.50 or 1,234.5 or 1234.5 is odd", "total *** or *** or *** is odd"),
        ("age 36 must be below 3", "age *** must be below ***"),
        ("field 363 is true, vip", "field 363 is true, vip"),
        ("Invalid email", "Invalid email"),
        ("You must confirm domain first", "You must confirm domain first"),
        ("customer.properties.first_name, ship_to: required", "customer.properties.first_name, ship_to: required"),
        (f"bad token {TOKEN}", "bad token ***"),
    ],
)
def test_what_a_provider_quotes(provider: str, words: str, seen: str) -> None:
    """GIVEN a refusal that quotes the event THEN what was quoted is gone, and why it was refused is not."""
    assert refused(words, provider, **ADA) == {seen, f"HTTP 400: {seen}"}


def test_a_value_that_is_the_name_of_a_field_is_no_secret() -> None:
    """GIVEN a property `channel: email` THEN "Invalid email" can still be read."""
    assert refused("Invalid email", OVERWRITES, properties={"name": "x", "channel": "email"}) == {
        "Invalid email",
        "HTTP 400: Invalid email",
    }


@pytest.mark.parametrize(
    ("email", "words", "seen"),
    [
        ("me@Lovelace-Family.name", "lovelace-family.name has no MX record", "*** has no MX record"),
        ("me@lovelace-family.name", "no MX at lovelace%2Dfamily.name:25", "no MX at ***:25"),
        ("me@lovelace-family.name", "mx1.lovelace-family.name refused", "mx1.*** refused"),
        ("me@gmail.com", "gmail.com is over its limit", "gmail.com is over its limit"),
        ("me@Outlook.COM", "outlook.com is over its limit", "outlook.com is over its limit"),
    ],
)
def test_a_mail_domain_alone(email: str, words: str, seen: str) -> None:
    """GIVEN a refusal that names where the mail goes THEN a domain of one's own is gone, a big hoster's is not."""
    assert refused(words, OVERWRITES, customer={"email": email}) == {seen, f"HTTP 400: {seen}"}


JOERG: dict[str, Any] = {"customer": {"email": "jörg.müller@bücherwürmer.example"}, "properties": {"name": "x"}}


@pytest.mark.parametrize("provider", [OVERWRITES, REPEATS])
@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("no jörg.müller@bücherwürmer.example here", "no *** here"),
        ("no JÖRG.MÜLLER@BÜCHERWÜRMER.EXAMPLE here", "no *** here"),
        ("no jo\u0308rg.mu\u0308ller@bu\u0308cherwu\u0308rmer.example here", "no *** here"),
        ("no j%C3%B6rg.m%C3%BCller%40b%C3%BCcherw%C3%BCrmer.example here", "no *** here"),
        ("no j%F6rg.m%FCller%40b%FCcherw%FCrmer.example here", "no *** here"),
        ("no j\\u00f6rg.m\\u00FCller@b\\xfccherw\\u{fc}rmer.example here", "no *** here"),
        ("no j&ouml;rg.m&#252;ller&commat;b&#xfc;cherw&uuml;rmer.example here", "no *** here"),
        ("no jörg.müller@xn--bcherwrmer-9dbf.example here", "no *** here"),
        ("mailbox jörg.müller does not exist", "mailbox *** does not exist"),
        ("mailbox jorg.muller does not exist", "mailbox *** does not exist"),
        ("mailbox xn--jrg-sna.xn--mller-kva does not exist", "mailbox *** does not exist"),
        ("no MX for bücherwürmer.example:25", "no MX for ***:25"),
        ("no MX for xn--bcherwrmer-9dbf.example:25", "no MX for ***:25"),
        ("no MX for XN--BCHERWRMER-9DBF.example.", "no MX for ***."),
        ("no MX for xn%2D%2Dbcherwrmer%2D9dbf.example:25", "no MX for ***:25"),
        ("no MX for mx1.xn--bcherwrmer-9dbf.example", "no MX for mx1.***"),
        ("no MX for xn--bcherwrme…", "no MX for ***…"),
    ],
    ids=ascii,
)
def test_an_address_of_other_letters(provider: str, words: str, seen: str) -> None:
    """GIVEN an address beyond ASCII THEN it is hidden as surely, in every encoding, and as DNS writes it."""
    assert refused(words, provider, **JOERG) == {seen, f"HTTP 400: {seen}"}


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("no MX for bücherwürmer.example", "no MX for ***"),
        ("no MX for BU\u0308CHERWU\u0308RMER.example", "no MX for ***"),
        ("no MX for b%C3%BCcherw%C3%BCrmer.example", "no MX for ***"),
        ("no MX for bücherwü…", "no MX for ***…"),
    ],
    ids=ascii,
)
def test_a_domain_given_as_dns_writes_it(words: str, seen: str) -> None:
    """GIVEN an address with `xn--` THEN its domain as people write it is hidden, too."""
    event = {"customer": {"email": "ada@xn--bcherwrmer-9dbf.example"}, "properties": {"name": "x"}}
    assert refused(words, OVERWRITES, **event) == {seen, f"HTTP 400: {seen}"}


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("找不到王小明请检查", "找不到***请检查"),
        ("域名例子.广告不存在", "域名***不存在"),
        ("域名xn--fsqu00a.xn--4rr70v 不存在", "域名*** 不存在"),
        ("no %E7%8E%8B%E5%B0%8F%E6%98%8E here", "no *** here"),
    ],
    ids=ascii,
)
def test_an_address_in_a_text_without_spaces(words: str, seen: str) -> None:
    """GIVEN letters with no space around them THEN what stands beside the address is readable, the address is not."""
    event = {"customer": {"email": "王小明@例子.广告"}, "properties": {"name": "x"}}
    assert refused(words, REPEATS, **event) == {seen, f"HTTP 400: {seen}"}


def test_the_contracts_longer_names_are_known_to_the_mask() -> None:
    """Whatever a customer's property holds, the name of a field stays readable."""
    names = {*Event.model_fields, *Customer.model_fields}
    assert {name for name in names if len(name.replace("_", "")) >= PART} == OWN_NAMES


def test_private_is_the_longest_first_and_never_empty() -> None:
    """GIVEN an event with something of everything THEN each value is there as text, booleans and empty text are not."""
    private = make_event(**ADA, id="evt-1").private
    assert list(private) == sorted(private, key=len, reverse=True)
    assert {"ada.lovelace@example.com", "ada.lovelace", "+491234", "491234", "cust-ada", "Qmp2g5"} <= set(private)
    assert {"Ada", "Ada King", "1815-12-10", "36", "12 St James's Square, London", "1234.5", "1234.50"} <= set(private)
    assert not {"True", "true", "evt-1", "first_name"} & set(private)
    assert make_event(customer={"id": "c"}, properties={"a": "", "b": " ", "c": False}).private == ("c",)


@pytest.mark.parametrize(
    ("number", "ways"),
    [
        (6.0, {"6.0", "6", "6.00"}),
        (1e22, {"1e+22", "1" + "0" * 22}),
        (0.1 + 0.2, {"0.30000000000000004", "0.3", "0.30"}),
    ],
)
def test_a_number_is_private_however_it_is_written(number: float, ways: set[str]) -> None:
    """GIVEN a number that JSON, a page or a rounding may write in several ways THEN all of them are private."""
    assert ways <= set(make_event(properties={"total": number}).private)
