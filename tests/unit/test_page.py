"""The page's server, piece by piece: what stands on the board, what a preview says, what a button does."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import Headers

from local.invoke import NotTakenError
from local.page.app import SITE
from local.page.arrivals import Arrivals
from local.page.board import KEPT, Board
from local.page.deployed import Deployed
from local.page.lanes import Lanes, health
from local.page.preview import preview
from local.page.send import Order, samples, send
from local.page.trouble import KINDS, Trouble
from local.sandbox.contract import contracts
from local.sandbox.faults import Fault
from local.sandbox.guard import refusal
from local.sandbox.provider_side import Sandbox
from local.stack import Stack
from relay.adapters.dynamodb import hidden_key
from relay.ports import AccountRecord, State
from relay.providers import PROVIDERS
from relay.settings import IntakeSettings
from tests.factories import DESTINATIONS, event_data, event_json, eventbridge
from tests.kinds import FAST, REPEATS, SLOW

NOW = 1_000.0


def deployed(**settings: Any) -> Deployed:
    """A stack of which nothing is called."""
    given = {"stage": "local", "destinations": DESTINATIONS, "rejected_queue_url": "x", "letters_table": "x"} | settings
    intake = IntakeSettings.model_validate({**given, "lanes": dict.fromkeys(PROVIDERS, "x")})
    stack = Stack("http://127.0.0.1:1", "us-east-1", {}, "http://127.0.0.1:2", ())
    return Deployed(stack, intake, {name: f"http://127.0.0.1:2/{name}" for name in PROVIDERS})


# ------------------------------------------------------------------------------------------------------- the board


def test_the_board_tells_what_changed_since() -> None:
    """GIVEN things that were put there WHEN asked since a revision THEN only what is newer is told, each as it is."""
    board = Board()
    board.put("came", "1", {"n": 1})
    seen = board.since(0)
    assert seen["came"] == {"1": {"n": 1}}
    board.put("came", "1", {"n": 1})
    assert board.revision == seen["revision"], "the same is no news"
    board.put("came", "2", {"n": 2})
    board.put("came", "1", {"n": 3})
    assert board.since(seen["revision"])["came"] == {"1": {"n": 3}, "2": {"n": 2}}
    assert board.since(board.revision) == {"revision": board.revision, "cleared": []}


def test_the_board_forgets_the_oldest_and_what_is_cleared() -> None:
    """GIVEN more of a kind than are kept THEN the newest stay; cleared, who looked before hears of it."""
    board = Board()
    for number in range(KEPT + 5):
        board.put("came", str(number), {"n": number})
    assert board.get("came", "4") is None
    assert board.get("came", "5") == {"n": 5}
    before = board.revision
    board.clear("came")
    assert board.since(before) == {"revision": before + 1, "cleared": ["came"]}


# ---------------------------------------------------------------------------------------------------- what came in


def line(message: str, **fields: Any) -> dict[str, Any]:
    """What intake logs of one record."""
    given = {"service": "intake", "event_id": "evt-1", "correlation_id": "c-1", "timestamp": "2026-11-22T10:00:00Z"}
    return {**given, "message": message, **fields}


def attempt(outcome: str, destination: str, **fields: Any) -> dict[str, Any]:
    """What deliver logs of one attempt."""
    given = {"service": "deliver", "event_id": "evt-1", "correlation_id": "c-1", "reason": "", "detail": ""}
    given["timestamp"] = "2026-11-22T10:00:01Z"
    return {**given, "outcome": outcome, "destination": destination, "final": True, "attempts": 1, "age": 0.4, **fields}


def test_an_arrival_is_followed_to_each_destination() -> None:
    """GIVEN an accepted event WHEN deliver tells of it THEN what came of it stands there, for the right record."""
    board = Board()
    arrivals = Arrivals(board)
    arrivals.take(line("accepted", destinations=list(DESTINATIONS)))
    arrivals.take(line("accepted", destinations=list(DESTINATIONS), correlation_id="c-2"))
    arrivals.take(attempt("delivered", DESTINATIONS[0]))
    arrivals.take(attempt("rejected", DESTINATIONS[1], correlation_id="c-9"))
    first, second = board.get("came", "1"), board.get("came", "2")
    assert first is not None
    assert second is not None
    assert first["fates"][DESTINATIONS[0]]["outcome"] == "delivered"
    assert first["fates"][DESTINATIONS[1]] is None
    assert second["fates"] == dict.fromkeys(DESTINATIONS)
    assert board.get("came", "3") is not None, "of what no intake told"
    assert board.get("counts", "came") == {"accepted": 2, "rejected": 0}


def test_what_intake_tells_late_is_put_together() -> None:
    """GIVEN an attempt of which is told before its arrival WHEN that is told THEN both are one, and counted once."""
    board = Board()
    arrivals = Arrivals(board)
    arrivals.take(attempt("delivered", DESTINATIONS[0]))
    early = board.get("came", "1")
    assert early is not None
    assert early["verdict"] == "seen at deliver"
    arrivals.take(line("accepted", destinations=list(DESTINATIONS)))
    arrival = board.get("came", "1")
    assert arrival is not None
    assert board.get("came", "2") is None
    assert arrival["verdict"] == "accepted"
    assert [bool(arrival["fates"][name]) for name in DESTINATIONS] == [True, False]
    assert board.get("counts", "came") == {"accepted": 1, "rejected": 0}


def test_a_reject_stands_there_with_every_field() -> None:
    """GIVEN a rejected record WHEN intake tells of it THEN each error is there by its field."""
    board = Board()
    Arrivals(board).take(line("rejected", reason="type: is required; customer.email: must be an e-mail address"))
    arrival = board.get("came", "1")
    assert arrival is not None
    assert arrival["errors"] == [
        {"field": "type", "message": "is required"},
        {"field": "customer.email", "message": "must be an e-mail address"},
    ]


def test_what_was_not_taken_in_is_not_counted() -> None:
    """GIVEN a record that comes again for a fault of ours THEN it stands there, as neither accepted nor rejected."""
    board = Board()
    Arrivals(board).take(line("not accepted", failed_at="SQS", code="X"))
    arrival = board.get("came", "1")
    assert arrival is not None
    assert (arrival["verdict"], arrival["failed_at"]) == ("not accepted", "SQS")
    assert board.get("counts", "came") is None


# -------------------------------------------------------------------------------------------------------- a preview


def test_a_preview_is_the_request_without_the_token() -> None:
    """GIVEN a good event WHEN previewed THEN the exact request of each destination, its token masked."""
    found = preview(event_json(), deployed())
    assert found["errors"] == []
    assert set(found["requests"]) == set(DESTINATIONS)
    for destination, one in found["requests"].items():
        provider = destination.partition("/")[0]
        request = one["request"]
        assert request["url"].startswith(f"http://127.0.0.1:2/{provider}/")
        assert "***" in json.dumps(request)
        assert contracts()[provider].event("type", request["body"]) == "order_shipped"
    assert "made-up-token" not in json.dumps(found)
    assert not any(one.own_token in json.dumps(found) for one in contracts().values())


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", ["body"]),
        ("{", ["body"]),
        (event_json(type="Order Shipped", currency="usd"), ["type", "currency"]),
        (event_json(destinations=["nobody/main"]), ["destinations.0"]),
    ],
    ids=["nothing", "no JSON", "two fields", "a destination that is not there"],
)
def test_a_preview_names_every_error(text: str, fields: list[str]) -> None:
    """GIVEN what intake would reject WHEN previewed THEN every error by its field, and no request."""
    found = preview(text, deployed())
    assert [one["field"] for one in found["errors"]] == fields
    assert found["requests"] == {}


def test_a_preview_says_what_one_provider_cannot_take() -> None:
    """GIVEN an event that one provider knows nobody by WHEN previewed THEN its errors stand beside the request."""
    customer = {"provider_ids": {REPEATS: "Qmp2g5"}}
    requests = preview(event_json(customer=customer), deployed())["requests"]
    assert {name: bool(one["request"]) for name, one in requests.items()} == {
        name: name.startswith(REPEATS) for name in DESTINATIONS
    }
    assert all(one["errors"] for one in requests.values() if not one["request"])


def test_a_preview_has_the_stack_s_settings() -> None:
    """GIVEN settings of a destination WHEN previewed THEN the request is built with them; envelopes are opened."""
    narrow = {f"{REPEATS}/main": {"text_bytes": 3}}
    requests = preview(json.dumps(eventbridge(event_data())), deployed(destination_settings=narrow))["requests"]
    assert requests[f"{REPEATS}/main"]["request"] is None
    assert requests[f"{FAST}/main"]["request"]


def test_a_preview_says_where_an_event_does_not_go() -> None:
    """GIVEN a mapping that keeps it away WHEN previewed THEN that stands in place of its request."""
    away = {f"{REPEATS}/main": {"mapping": {"types": ["x"]}}}
    requests = preview(event_json(), deployed(destination_settings=away))["requests"]
    (error,) = requests[f"{REPEATS}/main"]["errors"]
    assert error["message"] == "does not go there: mapping.types does not have order_shipped"
    assert requests[f"{FAST}/main"]["request"]


# ------------------------------------------------------------------------------------------------------------- send


class Recorder:
    """Stands for the clients: what was put in, and where."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.details: list[str] = []
        self.calls: list[Any] = []
        self.sqs = self.events = self.functions = self

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:
        self.bodies.append(MessageBody)

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, int]:
        self.details.extend(one["Detail"] for one in Entries)
        return {"FailedEntryCount": 0}

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        self.calls.append(json.loads(Payload))
        answer = {"accepted": ["x"], "rejected": []}
        return {"Payload": SimpleNamespace(read=lambda: json.dumps(answer))}


def stack(recorder: Recorder) -> Any:
    outputs = {"IntakeQueueUrl": "q", "EventBusName": "b", "IntakeFunctionName": "i"}
    return SimpleNamespace(clients=recorder, outputs=outputs)


def test_what_is_sent_as_it_is_is_not_touched() -> None:
    """GIVEN text that may be no JSON at all WHEN sent to the queue THEN it is that very text."""
    recorder = Recorder()
    assert send(stack(recorder), Order(text="{ no json"))["sent"] == 1
    assert recorder.bodies == ["{ no json"]


def test_each_copy_has_an_id_of_its_own() -> None:
    """GIVEN three copies WHEN sent by each way THEN three ids, in an envelope too; all else is the same."""
    recorder = Recorder()
    for way in ("queue", "bus", "direct"):
        send(stack(recorder), Order(text=event_json(), way=way, copies=3, fresh="k1"))
    send(stack(recorder), Order(text=json.dumps(eventbridge(event_data())), copies=1, fresh="k2"))
    names = [f"evt-1-k1-{number}" for number in (1, 2, 3)]
    *queued, envelope = map(json.loads, recorder.bodies)
    assert [one["id"] for one in queued] == names
    assert [json.loads(one)["id"] for one in recorder.details] == names
    assert [one["id"] for one in recorder.calls[0]["events"]] == names
    assert queued[0] == event_data(id=names[0])
    assert envelope["detail"]["id"] == "evt-1-k2-1"


@pytest.mark.parametrize(("way", "text"), [("direct", "{"), ("bus", "{"), ("bus", "[1]")])
def test_only_the_queue_takes_whatever_it_is(way: Any, text: str) -> None:
    """GIVEN what is no event at all WHEN sent by another way THEN it is refused with a reason."""
    with pytest.raises(NotTakenError, match="no JSON"):
        send(stack(Recorder()), Order(text=text, way=way))


def test_the_samples_are_those_of_the_events_folder() -> None:
    """Good ones and bad ones, each as text to be edited; those of an envelope's way without the envelope."""
    found = {one["name"]: one["text"] for one in samples()}
    assert len(found) == len(samples()) >= 12
    assert json.loads(found["direct-order-shipped"])["id"] == "order-1001-shipped"
    assert "detail" not in json.loads(found["eventbridge-quiz-finished"])
    assert not any(name.startswith("deliver-") for name in found)
    bad = [name for name, text in found.items() if preview(text, deployed())["errors"]]
    assert {"direct-bad-event", "direct-many-events (2)", "eventbridge-bad-detail", "sqs-bad-among-good (2)"} == set(
        bad
    )


# ---------------------------------------------------------------------------------------------------------- trouble


def test_a_provider_has_one_trouble_at_a_time() -> None:
    """GIVEN one after the other WHEN asked THEN only the last is in force, at that provider; and then none."""
    sandbox = Sandbox()
    trouble = Trouble(sandbox)
    for kind in [*KINDS, "normal"]:
        trouble.make(FAST, kind)
        assert trouble.now() == {name: kind if name == FAST else "normal" for name in PROVIDERS}
        assert sandbox.faults.count == (kind not in ("token", "normal"))
    assert sandbox.refusing == set()


def test_trouble_leaves_the_faults_of_others_alone() -> None:
    """GIVEN a fault that a test has put in force WHEN buttons are pressed THEN it stays; taken back, a button is up."""
    sandbox = Sandbox()
    trouble = Trouble(sandbox)
    other = sandbox.faults.add(Fault(provider=SLOW, status=500))
    trouble.make(SLOW, "429")
    trouble.make(SLOW, "normal")
    assert other in sandbox.faults
    trouble.make(SLOW, "slow")
    sandbox.faults.clear()
    assert trouble.now()[SLOW] == "normal"


# ------------------------------------------------------------------------------------------------------------ lanes


@pytest.mark.parametrize(
    ("known", "word", "until"),
    [
        ({}, "working", None),
        ({"held": "vacation"}, "held", None),
        ({"held": "vacation", "held_by": "ada", "held_until": NOW + 9}, "held", NOW + 9),
        ({"held": "vacation", "held_until": NOW - 1}, "working", None),
        ({"state": State.OPEN, "until": NOW + 9, "why": "unauthorized"}, "held", NOW + 9),
        ({"state": State.OPEN, "until": NOW + 9, "why": "failing"}, "waiting", NOW + 9),
        ({"state": State.OPEN, "until": NOW - 1, "why": "failing"}, "probing", None),
        ({"state": State.HALF_OPEN, "until": NOW + 9, "why": "failing"}, "probing", None),
        ({"quiet_until": NOW + 9}, "waiting", NOW + 9),
        ({"quiet_until": NOW - 9}, "working", None),
    ],
)
def test_how_an_account_is(known: dict[str, Any], word: str, until: float | None) -> None:
    """GIVEN what its record says WHEN a person asks THEN one word, a reason unless it works, and until when."""
    found, why, ends = health(AccountRecord("x/main", **known), NOW)
    assert (found, ends) == (word, until)
    assert bool(why) == (word != "working")


def test_what_is_hidden_is_no_account() -> None:
    """GIVEN what is noted beside an account of the messages that its lane hides THEN the page shows the account."""
    of_none = deployed(destinations=[f"{FAST}/main"])
    keys = (f"{FAST}/main", hidden_key(f"{FAST}/main", "main"), f"{FAST}/other")
    table = SimpleNamespace(scan=lambda **_: {"Items": [{"destination": {"S": key}} for key in keys]})
    of_none.stack.outputs["AccountsTableName"] = "accounts"
    of_none.stack.__dict__["clients"] = SimpleNamespace(dynamodb=table)
    _, accounts = Lanes(of_none).read(NOW)
    assert set(accounts) == {f"{FAST}/main", f"{FAST}/other"}


# ------------------------------------------------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    ("method", "headers", "may"),
    [
        ("GET", {"host": "127.0.0.1:8080"}, True),
        ("POST", {"host": "localhost:8080", "origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}, True),
        ("GET", {"host": "[::1]:8080"}, True),
        ("GET", {"host": "evil.example:8080"}, False),
        ("GET", {"host": "127.0.0.1.evil.example"}, False),
        ("GET", {}, False),
        ("POST", {"host": "127.0.0.1:8080", "origin": "http://evil.example"}, False),
        ("POST", {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:9090"}, False),
        ("POST", {"host": "127.0.0.1:8080", "origin": "null"}, False),
        ("POST", {"host": "127.0.0.1:8080", "sec-fetch-site": "cross-site"}, False),
        ("POST", {"host": "127.0.0.1:8080", "sec-fetch-site": "same-site"}, False),
        ("GET", {"host": "127.0.0.1:8080", "sec-fetch-site": "cross-site"}, True),  # a link to the page
    ],
)
def test_no_page_of_anybody_else_may_ask(method: str, headers: dict[str, str], may: bool) -> None:
    """GIVEN a request WHEN it comes from a page elsewhere, or under another name THEN it is refused."""
    assert (refusal(method, Headers(headers)) == "") is may


# ------------------------------------------------------------------------------------------------------- the files


def test_nothing_comes_from_elsewhere() -> None:
    """GIVEN the page's files WHEN read THEN no address of others is in them, nor script or style in markup."""
    text = "".join(path.read_text() for path in sorted(SITE.iterdir()))
    assert "https://" not in text
    assert text.count("http://") == text.count("http://www.w3.org/2000/svg")
    page = (SITE / "index.html").read_text()
    assert " style=" not in page
    assert "<style" not in page
    assert not re.findall(r"<[^>]+ on[a-z]+=", page)
    assert ".innerHTML" not in text


# ------------------------------------------------------------------------------------------------------ the colours

TEXTS = [
    *((text, ground) for text in ("ink", "soft", "bad", "accent") for ground in ("paper", "card", "code")),
    *((word, f"{word}-tint") for word in ("ok", "wait", "bad", "note")),
    ("on-accent", "accent"),
]
LINES = [("edge", "card"), ("edge", "code"), ("bad", "bad-tint"), ("accent", "paper"), ("accent", "card")]
"""Borders of controls, and what shows the focus."""


def colours(scheme: str) -> dict[str, str]:
    """The style sheet's names and their values."""
    light, _, rest = (SITE / "page.css").read_text().partition("@media (prefers-color-scheme: dark)")
    text = light if scheme == "light" else rest.partition("}")[0]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", text))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Between 1 and 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(scheme: str) -> None:
    """GIVEN either scheme WHEN a text is on its ground THEN the contrast is 4.5 or more, of a line 3."""
    known = colours(scheme)
    poor = {(a, b): contrast(known[a], known[b]) for a, b in TEXTS if contrast(known[a], known[b]) < 4.5}
    poor |= {(a, b): contrast(known[a], known[b]) for a, b in LINES if contrast(known[a], known[b]) < 3}
    assert poor == {}
    assert known.keys() - {name for pair in TEXTS + LINES for name in pair} == {"line"}, "a colour nobody looks at"


def test_both_schemes_have_the_same_names() -> None:
    """Else one would show through in the other."""
    assert colours("light").keys() == colours("dark").keys()
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
