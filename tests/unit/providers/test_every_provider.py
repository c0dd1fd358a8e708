"""What every provider must do, whichever it is. A new one in PROVIDERS is tested by being there."""

import inspect
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from local.sandbox.contract import contracts
from local.sandbox.limits import Allowance
from relay.account import schedule
from relay.errors import CredentialsError, FieldError, NoAnswerError, NotSentError, UndeliverableError
from relay.outcome import Outcome
from relay.ports import AccountRecord, Reply
from relay.providers import PROVIDERS
from relay.providers.base import DestinationSettings, Provider, Repeat
from relay.providers.checks import Answer, Verdict, judge
from relay.providers.limits import DAY, Budget, Limit, Terms
from relay.settings import DeliverSettings, Settings
from tests.factories import EMAIL, PHONE, make_event
from tests.unit.providers.golden import REFUSED, REPLIES, ROOT, SENT, Case, case, each, said, settings_of

NOW = 1_774_000_000.0

every_provider = pytest.mark.parametrize("name", PROVIDERS)


def make(name: str, base_url: str = "https://provider.example") -> Provider:
    return PROVIDERS[name](base_url)


def says_as_most(name: str) -> bool:
    """Whether the provider's words on a failure are where most providers have theirs."""
    kind = PROVIDERS[name]
    return kind.detail is Provider.detail and kind.says is Provider.says


def saying(name: str, words: str, *, ensure_ascii: bool = True) -> bytes:
    """A refusal of the provider that says these words wherever its golden one, `replies/rejected`, has text."""

    def said(value: Any) -> Any:
        match value:
            case str():
                return words
            case list():
                return [said(each) for each in value]
            case dict():
                return {key: said(each) for key, each in value.items()}
        return value

    body = said(case(name, "replies/rejected").data["reply"]["body"])
    return json.dumps(body, ensure_ascii=ensure_ascii).encode("utf-8", "surrogatepass")


def waits(budget: Budget) -> list[float]:
    """The seconds that it names."""
    named = [*(quota.reset_after for quota in budget.quotas), budget.retry_after]
    return [wait for wait in named if wait is not None]


# ---------------------------------------------------------------------------------------------- what it says of itself


@every_provider
def test_it_says_what_it_is(name: str) -> None:
    """Name, limit, credentials, what a repeat does: everything the delivery asks of a provider is there and sane."""
    kind = PROVIDERS[name]
    assert kind.name == name
    assert re.fullmatch(r"[a-z][a-z0-9]*", name), "it begins destinations and the template's logical names"
    assert Path(inspect.getfile(kind)).name == f"{name}.py", "one provider, one file"
    assert re.fullmatch(r"https://[^\s?#/@]+(/[^\s?#@]*[^\s?#/@])?", kind.address), "as the template takes it"
    assert all(limit.requests >= 1 and 0 < limit.window <= DAY for limit in kind.limits)
    windows = [limit.window for limit in kind.limits]
    assert windows == sorted(set(windows)), "each window once, the shortest first"
    assert windows
    assert kind.backoff is None or kind.backoff > 0
    assert kind.credentials
    assert set(kind.open_credentials) < set(kind.credentials), "something is secret"
    assert kind.repeats in Repeat
    assert isinstance(kind.backfills, bool)
    assert issubclass(kind.settings_model, DestinationSettings)


@every_provider
def test_its_terms_are_as_documented_or_as_set(name: str) -> None:
    """GIVEN a limit of the destination's own THEN its one window stands in place of all that are documented."""
    kind = PROVIDERS[name]

    def terms(**settings: float) -> Terms:
        return kind("https://provider.example", kind.settings_model.model_validate(settings)).terms

    first = kind.limits[0]
    assert terms() == Terms(kind.limits, kind.backoff)
    assert terms(requests=3).limits == (Limit(3, first.window),)
    assert terms(window_seconds=7.5).limits == (Limit(first.requests, 7.5),)
    assert terms(requests=3, window_seconds=7.5).limits == (Limit(3, 7.5),)
    assert terms(groups=4, concurrency=20) == Terms(kind.limits, kind.backoff, 4, 20)


@every_provider
def test_its_function_starts(name: str) -> None:
    """GIVEN the environment of its deliver function THEN the settings know it and its destinations' own."""
    settings = DeliverSettings.from_environment(
        {
            "RELAY_STAGE": "dev",
            "RELAY_DESTINATIONS": f"{name}/main",
            "RELAY_PROVIDER": name,
            "RELAY_BASE_URL": "https://provider.example",
            "RELAY_QUEUE_URL": "https://queue.example/lane.fifo",
            "RELAY_DEAD_LETTER_QUEUE_URL": "https://queue.example/dead-letters.fifo",
            "RELAY_LEDGER_TABLE": "ledger",
            "RELAY_ACCOUNTS_TABLE": "accounts",
            "RELAY_LETTERS_TABLE": "letters",
            "RELAY_DESTINATION_SETTINGS": json.dumps({name: {"on_unknown": "park"}, f"{name}/main": {"requests": 3}}),
        }
    )
    assert settings.provider == name
    own = settings.of(f"{name}/main")
    assert type(own) is PROVIDERS[name].settings_model
    assert (own.on_unknown, own.requests) == ("park", 3)


@every_provider
def test_it_has_golden_cases(name: str) -> None:
    """Without them it is not proven: a plain, a complete and a refused event, and four kinds of reply."""
    sent = {one.name for one in SENT if one.provider == name}
    assert {"least", "everything"} <= sent
    assert any(one.provider == name and one.data["expect"]["refused_by"] == "provider" for one in REFUSED)
    outcomes = {one.data["expect"]["outcome"] for one in REPLIES if one.provider == name}
    assert {"delivered", "throttled", "unauthorized", "rejected"} <= outcomes


@every_provider
def test_it_is_documented(name: str) -> None:
    """A page for people, with the sections a reader will look for, the secret's name and every key in it."""
    page = (ROOT / "docs" / "providers" / f"{name}.md").read_text()
    headings = re.findall(r"^## (.+)$", page, flags=re.MULTILINE)
    assert headings == [
        "What is sent",
        "What is not sent, and why",
        "Known and assumed",
        "Settings",
        "The secret",
        "Limits",
        "Replies and outcomes",
        "What happens on a repeat",
        "The page, sentence by sentence",
    ]
    assert f"<Stage>/customer-events/{name}/<account>" in page
    assert all(f"`{key}`" in page for key in PROVIDERS[name].credentials)
    assert all(f"`{field}`" in page for field in settings_of(name))


@every_provider
def test_the_sandbox_speaks_it(name: str) -> None:
    """The local stack has an OpenAPI description of it, with the code's own limit, secret and meaning of an id."""
    contract = contracts()[name]
    assert Limit(contract.limit.limit, contract.limit.window) in PROVIDERS[name].limits
    assert tuple(contract.secret()) == PROVIDERS[name].credentials
    request = case(name, "least").build()
    body = json.loads(request.body)
    assert contract.event("type", body) == case(name, "least").event.type
    who = contract.event("customer", body, request.url)
    assert any(who.values()) if isinstance(who, dict) else who
    if PROVIDERS[name].repeats.overrides:
        assert contract.event("id", body), "where an id overwrites, the body has one"


def test_the_sandbox_speaks_no_other() -> None:
    """A description without a provider would be served by nobody."""
    assert set(contracts()) == set(PROVIDERS)


# ----------------------------------------------------------------------------------------------------------- requests


@every_provider
def test_the_least_event_becomes_a_json_request(name: str) -> None:
    """GIVEN the plainest event THEN a JSON request to the stack's own base URL, the same each time."""
    golden = case(name, "least")
    subject, event = make(name, "https://provider.example/base/"), golden.event
    request = subject.build(event, golden.data["credentials"])
    assert request.method.lower() == contracts()[name].method
    assert request.url.startswith("https://provider.example/base/")
    assert "//" not in request.url.removeprefix("https://")
    assert request.headers["Content-Type"] == contracts()[name].media_type
    assert isinstance(json.loads(request.body), dict)
    assert subject.build(event, golden.data["credentials"]) == request
    assert event == golden.event


@each([one for one in REFUSED if one.data["expect"]["refused_by"] == "provider"])
def test_what_it_cannot_take_is_undeliverable(golden: Case) -> None:
    """GIVEN an event the provider does not take THEN the fields are named, with the event's ID as evidence."""
    with pytest.raises(UndeliverableError) as caught:
        golden.build()
    assert caught.value.event_id == golden.event.id
    assert [one.field for one in caught.value.errors] == [one["field"] for one in golden.data["expect"]["errors"]]


@each([one for one in SENT if one.name == "least"])
def test_history_is_refused_unless_it_can_be_told_so(golden: Case) -> None:
    """GIVEN an event that is history THEN a provider that cannot be told so refuses it and says what to do; with the
    setting it is sent as any other. One that can be told sends something else.
    """
    kind, credentials = PROVIDERS[golden.provider], golden.data["credentials"]
    event = golden.event.model_copy(update={"backfill": True})
    usual, sent = (
        kind("https://provider.example", kind.settings_model(backfill="send")).build(each, credentials)
        for each in (golden.event, event)
    )
    if kind.backfills:
        assert kind("https://provider.example").build(event, credentials) == sent != usual
        return
    assert sent == usual
    with pytest.raises(UndeliverableError) as caught:
        kind("https://provider.example").build(event, credentials)
    (error,) = caught.value.errors
    assert error.field == "backfill"
    assert golden.provider in error.message
    assert '"backfill": "send" in DestinationSettings' in error.message


# ---------------------------------------------------------------------------------------------------------- the secret

UNUSABLE = [
    None,
    "",
    "   ",
    5,
    True,
    ["x"],
    {"x": "y"},
    "a\nb",
    "a\r\nX-Evil: 1",
    "\n",
    "ab\nc\n",
    "a\x00b",
    "a\x7fb",
    "a\ud800b",
]


@every_provider
@pytest.mark.parametrize("value", UNUSABLE, ids=ascii)
def test_an_unusable_secret_is_named_by_key_and_never_quoted(name: str, value: object) -> None:
    """GIVEN a secret that lacks a key, or holds what would break a header THEN an error with the key and no value."""
    golden = case(name, "least")
    for key in PROVIDERS[name].credentials:
        broken = {**golden.data["credentials"], key: value}
        if value is None:
            del broken[key]
        with pytest.raises(CredentialsError) as caught:
            make(name).build(golden.event, broken)
        assert key in str(caught.value)
        if isinstance(value, str) and value.strip():
            assert value not in str(caught.value)
            assert repr(value)[1:-1] not in str(caught.value)


@every_provider
@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "\r\n\t{}\N{NO-BREAK SPACE}\n"], ids=ascii)
def test_a_secret_is_used_and_hidden_without_white_space_around_it(name: str, around: str) -> None:
    """GIVEN a secret pasted with a space or a line break at an end THEN the same request, and its words are hidden."""
    golden = case(name, "least")
    credentials = golden.data["credentials"]
    pasted = {key: around.format(value) for key, value in credentials.items()}
    request = make(name).build(golden.event, pasted)
    assert request == make(name).build(golden.event, credentials)
    assert request.secrets
    if says_as_most(name):
        for secret in request.secrets:
            said = json.dumps({"message": f"no token {secret} here"}).encode()
            assert make(name).detail(Reply(400, {}, said), request.secrets) == "no token *** here"


@every_provider
def test_everything_wrong_with_a_secret_is_said_at_once(name: str) -> None:
    """GIVEN an empty secret THEN every key that is needed is named."""
    with pytest.raises(CredentialsError) as caught:
        make(name).build(case(name, "least").event, {})
    assert all(key in str(caught.value) for key in PROVIDERS[name].credentials)


@every_provider
@pytest.mark.parametrize("value", ["S3cr3t-plain", "S3cr3t+/=&?#%20 x", "S3cr3t.~_-!*'()"])
def test_a_request_shows_no_secret(name: str, value: str) -> None:
    """GIVEN a token, plain or in need of encoding THEN it is in the request, and not in what may be shown of it."""
    credentials = {key: f"{value}-{index}" for index, key in enumerate(PROVIDERS[name].credentials)}
    request = make(name).build(case(name, "least").event, credentials)
    shown = (repr(request), str(request), json.dumps(request.masked(), ensure_ascii=False), f"{request}")
    for key, given_value in credentials.items():
        other = make(name).build(case(name, "least").event, {**credentials, key: "another"})
        assert (other.url, other.headers) != (request.url, request.headers), f"{key} is not used"
        if contracts()[name].public(key):
            continue
        forms = {given_value, quote(given_value, safe=""), quote(given_value), quote_plus(given_value)}
        assert not [form for form in forms for text in shown if form in text]
    assert request.masked()["body"] == request.body.decode()
    assert request.masked()["method"] == request.method


# ------------------------------------------------------------------------------------------------------------ settings


@every_provider
def test_settings_default_to_the_documented(name: str) -> None:
    """GIVEN no settings THEN the provider's own limit counts and an unknown answer is tried again."""
    settings = make(name).settings
    assert type(settings) is PROVIDERS[name].settings_model
    assert (settings.on_unknown, settings.requests, settings.window_seconds) == ("retry", None, None)


@every_provider
@pytest.mark.parametrize(
    "given_settings",
    [
        {"colour": "red"},
        {"Requests": 5},
        {"on_unknown": "drop"},
        {"requests": 0},
        {"requests": -1},
        {"requests": 1.5},
        {"requests": "many"},
        {"requests": True},
        {"requests": 1_000_000_000},
        {"window_seconds": 0.000001},
        {"window_seconds": True},
        {"success_statuses": []},
        {"success_statuses": [404]},
        {"window_seconds": 0},
        {"window_seconds": -1},
        {"window_seconds": 86_401},
        {"window_seconds": math.nan},
        {"window_seconds": math.inf},
    ],
    ids=str,
)
def test_settings_refuse_what_they_do_not_know(name: str, given_settings: dict[str, object]) -> None:
    """A misspelt or absurd setting stops the deployment, not the deliveries."""
    with pytest.raises(ValidationError):
        PROVIDERS[name].settings_model.model_validate(given_settings)


@every_provider
def test_settings_cannot_be_changed(name: str) -> None:
    """They are shared between threads."""
    assert PROVIDERS[name].settings_model.model_config["frozen"] is True


# ------------------------------------------------------------------------------------------------------------ outcomes


def expected_outcome(status: int) -> Outcome:
    """The design's table. A redirect is a wrong address or a broken proxy: the event is kept and tried again."""
    match status:
        case 429:
            return Outcome.THROTTLED
        case 401 | 403:
            return Outcome.UNAUTHORIZED
        case 408 | 425:
            return Outcome.RETRY
    return {2: Outcome.DELIVERED, 3: Outcome.RETRY, 4: Outcome.REJECTED, 5: Outcome.RETRY}[status // 100]


BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"false",
    b'"success"',
    b'{"success": true}',
    b'{"message": {"success": false}}',
    b"<html></html>",
    b"\xff\xfe\x00",
    b"[" * 50_000,
    b'{"success": ' + b"9" * 5_000 + b"}",
]


def own_statuses(name: str) -> set[int]:
    """Statuses that the provider has a rule of its own for, whatever the body: its golden replies show them."""
    rules = [rule for rule in PROVIDERS[name].rules if rule.statuses and rule.body is None]
    return {status for status in range(200, 600) for rule in rules if rule.statuses and status in rule.statuses}


@every_provider
@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_every_status_has_its_outcome(name: str, body: bytes) -> None:
    """GIVEN any status from 200 to 599, with a body that says nothing against it THEN the table's outcome."""
    subject, statuses = make(name), set(range(200, 600)) - own_statuses(name)
    read = {status: subject.read(Reply(status, {}, body)) for status in statuses}
    assert read == {status: expected_outcome(status) for status in statuses}


@every_provider
def test_a_body_that_says_otherwise_is_believed(name: str) -> None:
    """GIVEN a body that a rule of the provider asks for THEN the rule's outcome; with any other status the table's."""
    subject = make(name)
    for rule in PROVIDERS[name].rules:
        if rule.body is None:
            continue
        said = json.dumps({**rule.body, "message": "no", "errors": {"a": ["b"]}}).encode()
        for status in set(range(200, 600)) - own_statuses(name):
            asked = rule.statuses is None or status in rule.statuses
            assert subject.read(Reply(status, {}, said)) == (rule.outcome if asked else expected_outcome(status))


@every_provider
@pytest.mark.parametrize("status", [0, 100, 199, 600, 999])
def test_a_status_nobody_defined_keeps_the_event(name: str, status: int) -> None:
    """GIVEN a number that is no HTTP status THEN nothing is deleted for it."""
    assert make(name).read(Reply(status)) is Outcome.RETRY


@every_provider
def test_no_answer_has_its_outcome(name: str) -> None:
    """GIVEN a request that never left, or one whose answer never came THEN `retry`, or `unknown`."""
    assert make(name).read(NotSentError("ConnectionRefusedError")) is Outcome.RETRY
    assert make(name).read(NoAnswerError("ReadTimeoutError")) is Outcome.UNKNOWN


# -------------------------------------------------------------------------------------------------------------- detail


@every_provider
def test_the_providers_words_are_masked(name: str) -> None:
    """GIVEN an answer that repeats what it was sent THEN no e-mail, phone number, token or URL is in the detail."""
    token = "S3cr3t+/=token"
    secrets = (token, quote(token, safe=""))
    words = (
        f"Token {token} ({quote(token, safe='')}) for customer@example.com, customer%40example.com, +15551234567, "
        "+1 (555) 123-4567, 0555 123 4567 at https://provider.example/v1?access_token=abc and HTTPS://provider.example/x"
    )
    body = {"success": False, "message": words, "error": words, "errors": {"customer@example.com": [words], "x": words}}
    said = json.dumps(body).encode() if says_as_most(name) else saying(name, words)
    detail = make(name).detail(Reply(422, {}, said), secrets)
    assert detail.startswith("Token *** (***) for ***, ***, ***, ")
    for leak in ("S3cr3t", "customer", "@", "%40", "555", "4567", "provider.example", "access_token", "://"):
        assert leak not in detail


@every_provider
def test_the_providers_words_are_kept(name: str) -> None:
    """GIVEN a reason, also field by field THEN it can be read in the dead letter; golden replies show other forms."""
    if not says_as_most(name):
        detail = make(name).detail(Reply(422, {}, saying(name, "is odd")), ())
        assert "is odd" in detail, "replies/rejected has words where it is said what is wrong"
        return
    body = {
        "message": "Invalid.",
        "error": "bad_request",
        "errors": {"type": ["is unknown", "is odd"], "value": "is odd"},
    }
    detail = make(name).detail(Reply(422, {}, json.dumps(body).encode()), ())
    assert detail == "Invalid.; bad_request; type: is unknown is odd; value: is odd"


@every_provider
@pytest.mark.parametrize("letter", ["x", "é", "🎁", "\n"])
def test_the_providers_words_are_short(name: str, letter: str) -> None:
    """GIVEN an endless message THEN at most 512 bytes of it, still UTF-8."""
    said = json.dumps({"message": letter * 30_000}).encode() if says_as_most(name) else saying(name, letter * 30_000)
    detail = make(name).detail(Reply(500, {}, said), ())
    assert len(detail.encode()) <= 512
    assert detail.startswith(letter * 20)


@every_provider
@pytest.mark.parametrize(
    "body", [*BODIES, b'{"message": 5, "error": null, "errors": [1]}', b'{"errors": {}}'], ids=lambda b: repr(b[:20])
)
def test_no_words_are_no_detail(name: str, body: bytes) -> None:
    """GIVEN a body without a message THEN the detail is empty."""
    assert make(name).detail(Reply(500, {}, body), ()) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["message", "errors", "x"]), inner),
    max_leaves=8,
)


@given(
    body=st.dictionaries(st.sampled_from(["success", "message", "error", "errors", "x"]), JSON) | JSON,
    status=st.integers(200, 599),
)
def test_any_answer_can_be_read(body: object, status: int) -> None:
    """GIVEN any JSON in an answer THEN every provider reads it to an outcome and a short text, without an error."""
    reply = Reply(status, {}, json.dumps(body).encode())
    for name in PROVIDERS:
        assert make(name).read(reply) in Outcome
        assert len(make(name).detail(reply, ("token",)).encode()) <= 512


@each([one for one in REPLIES if one.data["expect"]["outcome"] in ("retry", "throttled", "unauthorized")])
def test_what_is_tried_again_is_no_wrong_name(golden: Case) -> None:
    """GIVEN an answer after which the event waits WHEN `relay check` meets it THEN nobody is sent to rename fields."""
    body = golden.data["reply"]["body"]
    answer = Answer(golden.data["reply"]["status"], body if isinstance(body, str) else json.dumps(body))
    assert judge(answer, golden.subject.checks).verdict is not Verdict.NAMES


# -------------------------------------------------------------------------------------------------------------- budget


class AnyHeader(Mapping[str, str]):
    """Answers every header with the same text, but for those named."""

    def __init__(self, text: str, **named: str) -> None:
        self._text, self._named = text, named

    def __getitem__(self, name: str) -> str:
        return self._named.get(name, self._text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


UNBELIEVABLE = [
    "",
    " ",
    "-1",
    "-0.5",
    "1e999",
    "inf",
    "-inf",
    "nan",
    "null",
    "None",
    "soon",
    "0x10",
    "1,000",
    "1;w=60",
    "60, 60;w=60",
    "99999999999999999999999999",
    "2001-01-01T00:00:00Z",
    "Mon, 01 Jan 2001 00:00:00 GMT",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59",
    "2026-02-30T00:00:00Z",
    "Mon, 99 Foo 2026 99:99:99 GMT",
    "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT",
    "\x00",
    "é",
    "٣",
    "²",
    "1_0",
    "x" * 10_000,
    "9" * 10_000,
]


@every_provider
@pytest.mark.parametrize("date", ["", "garbage", "Sat, 21 Mar 2026 08:00:00 GMT"], ids=["no date", "bad date", "date"])
@pytest.mark.parametrize("text", UNBELIEVABLE, ids=lambda text: ascii(text[:24]))
def test_an_unbelievable_header_says_nothing(name: str, text: str, date: str) -> None:
    """GIVEN garbage, negative, past or absurd numbers in every header THEN the budget is unsaid, never wrong."""
    assert said(make(name).budget(Reply(200, AnyHeader(text, date=date)), NOW)) == Budget()


@every_provider
def test_zero_is_nothing_left_and_no_wait(name: str) -> None:
    """GIVEN 0 in every header THEN it may count as nothing left, but never as a wait."""
    budget = make(name).budget(Reply(429, AnyHeader("0")), NOW)
    assert waits(budget) == []
    assert all(quota.remaining in (0, None) and not quota.limit for quota in budget.quotas)


@every_provider
def test_no_header_says_nothing(name: str) -> None:
    """GIVEN an answer without headers THEN the budget is unsaid."""
    assert said(make(name).budget(Reply(200), NOW)) == Budget()


@every_provider
def test_retry_after_is_understood_in_both_forms(name: str) -> None:
    """GIVEN Retry-After as seconds or as an HTTP date THEN the same wait."""
    subject, date = make(name), {"date": "Sat, 21 Mar 2026 08:00:00 GMT"}
    seconds = subject.budget(Reply(429, {"retry-after": " 37 "}), NOW)
    moment = subject.budget(Reply(429, {**date, "retry-after": "Sat, 21 Mar 2026 08:00:37 GMT"}), NOW)
    assert seconds.retry_after == moment.retry_after == 37.0


@every_provider
def test_the_headers_of_its_page_are_read(name: str) -> None:
    """GIVEN the limit's headers as the provider's description has them THEN each is understood."""
    allowance = Allowance(allowed=False, limit=7, remaining=3, reset=30.0)
    answers = contracts()[name].answers
    for answer in (answers.accepted, answers.throttled):
        headers = {header.lower(): text for header, text in answer.headers(allowance).items()}
        budget = make(name).budget(Reply(answer.status, headers), time.time())
        says = list(answer.says.values())
        assert {quota.limit for quota in budget.quotas} - {None} == ({7} if "limit" in says else set())
        assert {quota.remaining for quota in budget.quotas} - {None} == ({3} if "remaining" in says else set())
        assert len(waits(budget)) == sum(what.startswith("reset") for what in says)
        assert all(29 < wait < 32 for wait in waits(budget))


@every_provider
def test_a_limit_that_is_set_is_never_raised(name: str) -> None:
    """GIVEN `requests` in the settings WHEN a reply allows more THEN they stay; what allows less is believed."""
    kind, answer = PROVIDERS[name], contracts()[name].answers.accepted
    subject = kind("https://provider.example", kind.settings_model.model_validate({"requests": 5}))
    for limit, most in ((4, 4), (7, 5), (kind.limits[-1].requests, 5)):
        allowance = Allowance(allowed=True, limit=limit, remaining=3, reset=30.0)
        headers = {header.lower(): text for header, text in answer.headers(allowance).items()}
        record = schedule.fit(AccountRecord(f"{name}/main"), subject.terms.limits, NOW)
        (window,) = schedule.answered(record, subject.budget(Reply(200, headers), NOW), NOW, NOW).windows
        is_told = len(kind.limits) == 1 and "limit" in answer.says.values()
        assert window.limit == (most if is_told else 5)


@every_provider
def test_a_documented_limit_is_of_its_own_window(name: str) -> None:
    """GIVEN ten times as much in a window ten times as long, as some contracts have it, WHEN a reply names what is
    documented THEN that does not pass for the longer window's.
    """
    kind, answer, documented = PROVIDERS[name], contracts()[name].answers.accepted, PROVIDERS[name].limits[-1]
    settings = {"requests": 10 * documented.requests, "window_seconds": 10 * documented.window}
    subject = kind("https://provider.example", kind.settings_model.model_validate(settings))
    allowance = Allowance(allowed=True, limit=documented.requests, remaining=documented.requests - 1, reset=30.0)
    headers = {header.lower(): text for header, text in answer.headers(allowance).items()}
    record = schedule.fit(AccountRecord(f"{name}/main"), subject.terms.limits, NOW)
    (window,) = schedule.answered(record, subject.budget(Reply(200, headers), NOW), NOW, NOW).windows
    assert (window.limit, window.seconds) == (10 * documented.requests, 10 * documented.window)


@given(text=st.text(max_size=40), date=st.text(max_size=40) | st.datetimes().map(str))
def test_any_header_can_be_read(text: str, date: str) -> None:
    """GIVEN any text in every header THEN what is read from it is in bounds, without an error."""
    for name in PROVIDERS:
        budget = make(name).budget(Reply(200, AnyHeader(text, date=date)), NOW)
        counts = [count for quota in budget.quotas for count in (quota.limit, quota.remaining) if count is not None]
        assert all(0 <= count <= 1_000_000 for count in counts)
        assert all(0 < wait <= DAY for wait in waits(budget))


@every_provider
@pytest.mark.parametrize(
    ("part", "given"),
    [
        ("rename_types", {"order_shipped": "x" * 200}),
        ("rename_types", {"order_shipped": "shipped"}),
        ("rename", {"properties.total": "$value"}),
        ("rename", {"properties.total": "time"}),
        ("rename", {"properties.total": "amount"}),
        ("rename", {"customer.properties.vip": "$vip"}),
        ("constants", {"properties.time": 1}),
        ("constants", {"properties.channel": "web"}),
        ("constants", {"properties.channel": "x" * 300_000}),
        ("constants", {"customer.properties.channel": "x" * 300_000}),
        ("constants", {"value": 1, "currency": "EUR", "source": "relay"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mapping_that_none_of_its_events_would_survive_is_refused_at_load(
    name: str, part: str, given: dict[str, Any]
) -> None:
    """GIVEN a name or a value that the provider takes of nobody THEN the settings are refused at its path, where each
    event would become a dead letter else; and nothing that it takes is refused.
    """
    event = make_event(
        customer={
            "email": EMAIL,
            "phone_number": PHONE,
            "id": "7",
            "provider_ids": {name: "p"},
            "properties": {"vip": 1},
        },
        properties={"total": 5},
    )
    settings = {"mapping": {part: given}}
    found: list[list[FieldError]] = [[], []]
    for errors, model in zip(found, ({}, settings), strict=True):
        provider = PROVIDERS[name]("https://provider.example", PROVIDERS[name].settings_model.model_validate(model))
        mapping = provider.settings.mapping
        provider.payload(mapping.apply(event) if mapping else event, errors)
    assert found[0] == []
    try:
        Settings(stage="x", destinations=(f"{name}/main",), destination_settings={f"{name}/main": settings})
        refused = ""
    except ValidationError as error:
        refused = str(error)
    assert bool(refused) is bool(found[1])
    if refused:
        assert f"{name}/main.mapping.{part}.{next(iter(given))}: makes an event that cannot go there: " in refused
