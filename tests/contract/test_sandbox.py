"""The provider sandbox answers as the providers' pages say, and misbehaves as it is told."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from local.sandbox.faults import Fault, Faults
from local.sandbox.journal import Received
from tests.contract.conftest import SENDER, SENDER_HEADERS, YOTPO, Client
from tests.fakes import FakeClock

YOTPO_REFUSES = {
    "no source": {"source": ...},
    "an empty source": {"source": ""},
    "a source of 256 characters": {"source": "s" * 256},
    "no type": {"type": ...},
    "a type of 256 characters": {"type": "t" * 256},
    "a type with a space": {"type": "order shipped"},
    "no timestamp": {"timestamp": ...},
    "a timestamp that is no date": {"timestamp": "2026-13-22T10:00:00Z"},
    "no id": {"id": ...},
    "no customer": {"customer": ...},
    "a customer without identifier": {"customer": {}},
    "both identifiers": {"customer": {"email": "ada@example.com", "phone_number": "+15550100001"}},
    "a phone number that is not E.164": {"customer": {"phone_number": "0555 0100"}},
    "a null property": {"properties": {"size": None}},
    "a nested property": {"properties": {"order": {"id": 1}}},
    "a property name with a space": {"properties": {"order id": 1}},
    "a customer's null property": {"customer": {"email": "ada@example.com", "properties": {"tier": None}}},
    "an unknown field": {"priority": "high"},
}
SENDER_REFUSES = {
    "no subscriber": {"subscriber": ...},
    "a subscriber without identifier": {"subscriber": {}},
    "no type": {"type": ...},
    "a value that is text": {"value": "6.7"},
    "a currency that is no code": {"value_currency": "dollars"},
    "a nested property": {"properties": {"order": {"id": 1}}},
    "a null property": {"properties": {"size": None}},
    "a text of more than 2 KB": {"properties": {"text": "é" * 1025}},
    "properties of more than 8 KB": {"properties": {f"text_{n}": "x" * 2000 for n in range(5)}},
    "an unknown field": {"id": "event-1"},
}


@pytest.mark.parametrize("changes", YOTPO_REFUSES.values(), ids=YOTPO_REFUSES)
def test_yotpo_refuses_what_its_page_does_not_allow(sandbox: Client, changes: dict[str, Any]) -> None:
    """GIVEN an event that breaks one sentence of the page WHEN it is posted THEN 400, and nothing is accepted."""
    reply = sandbox.yotpo(**changes)
    assert reply.status == 400
    assert reply.json()["errors"]
    assert not sandbox.requests()[0]["accepted"]


@pytest.mark.parametrize("changes", SENDER_REFUSES.values(), ids=SENDER_REFUSES)
def test_sender_refuses_what_its_page_does_not_allow(sandbox: Client, changes: dict[str, Any]) -> None:
    """GIVEN an event that breaks one sentence of the page WHEN it is posted THEN 422, and nothing is accepted."""
    reply = sandbox.sender(**changes)
    assert reply.status == 422
    assert reply.json()["message"]
    assert reply.json()["errors"]
    assert not sandbox.requests()[0]["accepted"]


def test_yotpo_takes_every_kind_of_value(sandbox: Client) -> None:
    """GIVEN an event with all that the page allows WHEN it is posted THEN 2xx with the second's budget."""
    properties = {"text": "café", "flag": True, "count": 2**53, "share": 0.25, "day": "2026-11-22"}
    reply = sandbox.yotpo(
        customer={"phone_number": "+15550100001", "custom_properties": properties}, properties=properties
    )
    assert reply.status == 200
    assert (reply.headers["RateLimit-Remaining"], reply.headers["RateLimit-Reset"]) == ("4", "1")


def test_sender_takes_every_kind_of_value(sandbox: Client) -> None:
    """GIVEN an event with all that the page allows WHEN it is posted THEN 201 with the documented body and headers."""
    properties = {"string": "wawaweewa", "int": 123, "decimal": 4.5, "bool": False, "text": "x" * 2048}
    subscriber = {"id": "Qmp2g5", "email": "ada@example.com", "phone": "+15550100001"}
    reply = sandbox.sender(subscriber=subscriber, value=6.7, value_currency="USD", properties=properties)
    assert reply.status == 201
    assert reply.json() == {"success": True, "message": "Event created"}
    assert (reply.headers["X-RateLimit-Limit"], reply.headers["X-RateLimit-Remaining"]) == ("60", "59")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reply.headers["X-RateLimit-Reset"])
    assert "Retry-After" not in reply.headers


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"null", b'{"value": NaN}', b"[" * 20_000])
def test_a_body_that_is_no_object_is_refused(sandbox: Client, body: bytes) -> None:
    """GIVEN a body that is not a JSON object WHEN it is posted THEN a 4xx of the provider, never a 500."""
    assert sandbox.post(YOTPO, body).status == 400
    assert sandbox.post(SENDER, body, SENDER_HEADERS).status in (400, 422)


def test_a_wrong_token_is_unauthorized(sandbox: Client) -> None:
    """GIVEN a token of another or of no account WHEN an event is posted THEN 401, before anything is counted."""
    assert sandbox.post("/core/v3/stores/another/events?access_token=sandbox-yotpo-token", {}).status == 401
    assert sandbox.post("/core/v3/stores/sandbox-store/events", {}).status == 401
    assert sandbox.post(SENDER, {}, {"Authorization": "Bearer wrong"}).status == 401
    assert sandbox.post(SENDER, {}).status == 401
    assert sandbox.yotpo().headers["RateLimit-Remaining"] == "4"


def test_a_store_id_is_one_percent_encoded_segment(sandbox: Client) -> None:
    """GIVEN a store whose ID looks like a path WHEN its events are posted THEN they reach that store."""
    sandbox.control("tokens", {"provider": "yotpo", "account": "../../x?y=1#z", "accept": ["odd"]})
    reply = sandbox.post("/core/v3/stores/..%2F..%2Fx%3Fy%3D1%23z/events?access_token=odd", {})
    assert reply.status == 400
    assert sandbox.requests()[0]["account"] == "../../x?y=1#z"


@pytest.mark.parametrize("path", ["/", "/v2/event", "/core/v3/stores//events", "/core/v3/stores/a/b/events"])
def test_other_paths_are_not_served(sandbox: Client, path: str) -> None:
    """GIVEN a path that neither provider has WHEN it is called THEN 404, and nothing is recorded."""
    assert sandbox.post(path, {}).status == 404
    assert not sandbox.requests()


def test_yotpo_takes_five_a_second_for_each_store(sandbox: Client) -> None:
    """GIVEN five requests in a second WHEN a sixth comes THEN 429 until the first is a second old."""
    sandbox.control("tokens", {"provider": "yotpo", "account": "other", "accept": ["other"]})
    assert [sandbox.yotpo(id=str(n)).status for n in range(6)] == [200] * 5 + [429]
    assert sandbox.yotpo().headers["RateLimit-Remaining"] == "0"
    other = sandbox.post("/core/v3/stores/other/events?access_token=other", {})
    assert other.headers["RateLimit-Remaining"] == "4"
    sandbox.now[0] += 1.0
    assert sandbox.yotpo().status == 200


def test_sender_takes_sixty_a_minute(sandbox: Client) -> None:
    """GIVEN sixty requests in a minute WHEN another comes THEN 429 with the seconds to wait, till it is over."""
    assert {sandbox.sender(value=n).status for n in range(60)} == {201}
    sandbox.now[0] += 20.5
    late = sandbox.sender()
    assert late.status == 429
    assert late.headers["Retry-After"] == "40"
    sandbox.now[0] += 39.5
    assert sandbox.sender().status == 201


def test_the_two_ways_of_counting_differ_at_the_seam(sandbox: Client) -> None:
    """GIVEN requests late in one fixed window and early in the next WHEN counted THEN only sliding refuses some."""
    seam = [(0.0, 1), (0.9, 4), (1.0, 5)]
    statuses = {}
    for algorithm in ("fixed", "sliding"):
        sandbox.control("limits", {"provider": "yotpo", "limit": 5, "window": 1.0, "algorithm": algorithm})
        start = sandbox.now[0]
        answers = []
        for moment, count in seam:
            sandbox.now[0] = start + moment
            answers += [sandbox.yotpo().status for _ in range(count)]
        statuses[algorithm] = answers.count(429)
        sandbox.now[0] += 10
    assert statuses == {"fixed": 0, "sliding": 4}


def passing(sandbox: Client, at: list[tuple[float, int]], **limit: Any) -> list[int]:
    """How many of so many requests pass at each of these seconds after a whole one."""
    assert sandbox.control("limits", {"provider": "yotpo", **limit}).status == 204
    start = 10.0 * (sandbox.now[0] // 10 + 1)
    passed = []
    for moment, count in at:
        sandbox.now[0] = start + moment
        passed.append(sum(sandbox.yotpo().status == 200 for _ in range(count)))
    return passed


def test_a_counter_weighs_the_window_before(sandbox: Client) -> None:
    """GIVEN two windows by the clock, the one before weighted by what is left of it THEN as many pass as that leaves.

    Late in a window all of them pass; early in the next hardly any, though a log would have room a second later.
    """
    at = [(0.9, 6), (1.0, 2), (1.3, 3), (1.8, 5), (3.5, 6)]
    assert passing(sandbox, at, limit=5, window=1.0, algorithm="counter") == [5, 0, 1, 3, 5]
    assert sandbox.yotpo().headers["RateLimit-Remaining"] == "0"


def test_a_bucket_fills_with_tokens(sandbox: Client) -> None:
    """GIVEN a full bucket THEN all of it passes at once, and then a token at a time, up to the whole bucket."""
    at = [(0.0, 7), (0.1, 1), (0.2, 2), (0.6, 3), (9.9, 7)]
    assert passing(sandbox, at, limit=5, window=1.0, algorithm="bucket") == [5, 0, 1, 2, 5]


@pytest.mark.parametrize(
    ("burst", "passed"),
    [(0, [1, 0, 1, 1, 1]), (2, [3, 0, 1, 2, 3])],
)
def test_a_leaky_bucket_takes_its_burst_and_one_at_each_drip(sandbox: Client, burst: int, passed: list[int]) -> None:
    """GIVEN five a second THEN one each 0.2 s passes, and at once so many more as the burst has."""
    at = [(0.0, 5), (0.1, 1), (0.201, 2), (0.602, 4), (9.9, 7)]
    assert passing(sandbox, at, limit=5, window=1.0, algorithm="leaky", burst=burst) == passed


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter"])
@pytest.mark.parametrize("headers", [True, False])
def test_limiters_of_others_count(sandbox: Client, algorithm: str, headers: bool) -> None:
    """GIVEN a strategy of the package `limits`, whose clock is the real one WHEN more come than a window takes
    THEN so many pass, and the replies say what is left, if they shall.
    """
    pytest.importorskip("limits", reason="the package limits is not there")
    # No run outlasts a day.
    limit = {"provider": "yotpo", "limit": 5, "window": 86_400.0, "algorithm": algorithm, "headers": headers}
    assert sandbox.control("limits", limit).status == 204
    replies = [sandbox.yotpo(id=str(number)) for number in range(7)]
    assert [reply.status for reply in replies] == [200] * 5 + [429] * 2
    left = ["4", "3", "2", "1", "0", "0", "0"] if headers else [None] * 7
    assert [reply.headers.get("RateLimit-Remaining") for reply in replies] == left
    assert ("RateLimit-Reset" in replies[-1].headers) is headers


@pytest.mark.parametrize("wrong", [{"window": 0.5}, {"foreign_per_second": 1.0}])
def test_limiters_of_others_have_a_clock_of_their_own(sandbox: Client, wrong: dict[str, float]) -> None:
    """GIVEN a strategy that counts by the real clock in whole seconds WHEN asked for more THEN the order is refused."""
    limit = {"provider": "yotpo", "limit": 5, "window": 1.0, "algorithm": "moving-window", **wrong}
    assert sandbox.control("limits", limit).status == 422


@pytest.mark.parametrize("algorithm", ["fixed", "sliding", "counter", "bucket", "leaky"])
def test_who_waits_as_long_as_a_429_says_gets_through(sandbox: Client, algorithm: str) -> None:
    """GIVEN more than an account takes at once, however it is counted WHEN the next comes as late as it was told
    THEN it passes, with no other 429 but of a window that is counted in part.
    """
    limit = {"provider": "sender", "limit": 5, "window": 60.0, "algorithm": algorithm, "burst": 4}
    assert sandbox.control("limits", limit).status == 204
    sandbox.now[0] = 60.0 * (sandbox.now[0] // 60 + 1) + 40.0
    replies = [sandbox.sender(value=number) for number in range(7)]
    assert [reply.status for reply in replies] == [201] * 5 + [429] * 2
    waits = 0
    while (reply := sandbox.sender(value=8)).status == 429:
        sandbox.now[0] += float(reply.headers["Retry-After"])
        waits += 1
    assert waits <= (2 if algorithm == "counter" else 1)


@pytest.mark.parametrize("algorithm", ["fixed", "sliding", "counter", "bucket", "leaky"])
def test_what_is_left_can_be_used(sandbox: Client, algorithm: str) -> None:
    """GIVEN a reply that says so many are left THEN so many pass, and the next does not."""
    limit = {"provider": "yotpo", "limit": 5, "window": 1.0, "algorithm": algorithm, "burst": 4}
    assert sandbox.control("limits", limit).status == 204
    sandbox.now[0] = 10.0 * (sandbox.now[0] // 10 + 1)
    left = int(sandbox.yotpo().headers["RateLimit-Remaining"])
    assert left == 4
    assert [sandbox.yotpo().status for _ in range(left + 1)] == [200] * left + [429]


def test_another_client_eats_part_of_the_limit(sandbox: Client) -> None:
    """GIVEN a foreign client at two a second WHEN we send five in each second THEN three pass."""
    limit = {"provider": "yotpo", "limit": 5, "window": 1.0, "foreign_per_second": 2.0}
    assert sandbox.control("limits", limit).status == 204
    passed = 0
    for tenth in range(100):
        sandbox.now[0] = 200 + tenth / 10
        passed += sandbox.yotpo().status == 200
    foreign = sandbox.summary()["foreign"]["yotpo/sandbox-store"]
    assert passed + foreign == 50
    # Whose the last slot is depends on the last bit of a sum of tenths.
    assert foreign in (19, 20)
    sandbox.forget("limits")
    assert sandbox.yotpo().headers["RateLimit-Remaining"] == "4"


def test_an_account_may_have_a_limit_of_its_own(sandbox: Client) -> None:
    """GIVEN a limit set for one store WHEN two stores are used THEN only that one has it."""
    sandbox.control("tokens", {"provider": "yotpo", "account": "small", "accept": ["small"]})
    sandbox.control("limits", {"provider": "yotpo", "account": "small", "limit": 1, "window": 1.0})
    small = "/core/v3/stores/small/events?access_token=small"
    assert [sandbox.post(small, {}).status for _ in range(2)] == [400, 429]
    assert sandbox.yotpo().headers["RateLimit-Remaining"] == "4"


def test_every_request_is_recorded(sandbox: Client) -> None:
    """GIVEN requests of both providers WHEN they are asked for THEN each is there once, in order, and filters work."""
    sandbox.yotpo()
    sandbox.sender()
    sandbox.sender(subscriber={})
    everything = sandbox.requests()
    assert [(one["seq"], one["provider"], one["account"], one["status"]) for one in everything] == [
        (1, "yotpo", "sandbox-store", 200),
        (2, "sender", "main", 201),
        (3, "sender", "main", 422),
    ]
    assert everything[0]["body"]["customer"] == {"email": "ada@example.com"}
    assert everything[0]["event_id"] == "event-1"
    assert [one["seq"] for one in sandbox.requests("?provider=sender&after=2")] == [3]
    assert sandbox.requests("?type=another") == []
    sandbox.forget("requests")
    assert sandbox.requests() == []


def test_the_same_event_twice_is_a_repeat_at_sender(sandbox: Client) -> None:
    """GIVEN an accepted event WHEN the same body comes again THEN it counts as a repeat; other bodies do not."""
    for value in (1, 1, 2, 1):
        sandbox.sender(value=value)
    assert [one["repeat"] for one in sandbox.requests()] == [False, True, False, True]
    assert sandbox.summary()["providers"]["sender"]["repeats"] == 2


def test_a_known_id_overrides_at_yotpo(sandbox: Client) -> None:
    """GIVEN an accepted event WHEN its ID comes again THEN the same content is a repeat, other content an update."""
    for source in ("shop", "shop", "app", "app"):
        sandbox.yotpo(source=source)
    kinds = [(one["repeat"], one["update"]) for one in sandbox.requests()]
    assert kinds == [(False, False), (True, False), (False, True), (True, False)]
    counts = sandbox.summary()["providers"]["yotpo"]
    assert (counts["accepted"], counts["repeats"], counts["updates"]) == (4, 2, 1)


def test_what_was_not_accepted_is_no_repeat(sandbox: Client) -> None:
    """GIVEN a request that failed WHEN it comes again and passes THEN that is the first time."""
    sandbox.control("faults", {"provider": "sender", "status": 500, "count": 1})
    assert [sandbox.sender().status for _ in range(2)] == [500, 201]
    assert not any(one["repeat"] for one in sandbox.requests())


def test_a_fault_answers_for_as_long_as_it_was_told(sandbox: Client) -> None:
    """GIVEN a fault that lets one pass and strikes twice WHEN four requests come THEN the second and third fail."""
    fault = {
        "provider": "sender",
        "skip": 1,
        "count": 2,
        "status": 503,
        "body": {"message": "later"},
        "headers": {"X": "y"},
    }
    assert sandbox.control("faults", fault).status == 201
    replies = [sandbox.sender(value=n) for n in range(4)]
    assert [reply.status for reply in replies] == [201, 503, 503, 201]
    assert replies[1].json() == {"message": "later"}
    assert replies[1].headers["X"] == "y"
    assert "X-RateLimit-Limit" in replies[1].headers


def test_a_fault_strikes_only_what_it_is_meant_for(sandbox: Client) -> None:
    """GIVEN a fault for one type of event WHEN others come too THEN they pass: one poison event among good ones."""
    sandbox.control("faults", {"type": "poison", "status": 500})
    assert [sandbox.yotpo(type=kind).status for kind in ("poison", "good", "poison")] == [500, 200, 500]
    assert sandbox.sender(type="poison").status == 500
    sandbox.forget("faults")
    assert sandbox.sender(type="poison").status == 201


def test_a_fault_may_last_so_long_and_no_longer() -> None:
    """GIVEN a fault of five seconds WHEN they are over THEN the next one happens, or none."""
    clock = FakeClock()
    faults = Faults(clock.monotonic)
    faults.add(Fault(status=429, seconds=5))
    faults.add(Fault(status=500, count=1))
    received = Received(0.0, "any", "main", "order_shipped", None, {})
    struck = []
    for passed in (0.0, 4.9, 0.1, 0.0):
        clock.pass_by(passed)
        fault = faults.strike(received)
        struck.append(fault.status if fault else None)
    assert struck == [429, 429, 500, None]


def test_a_fault_may_hide_the_headers_and_lie_in_the_body(sandbox: Client) -> None:
    """GIVEN a bare 429, garbage, and a 2xx that says no WHEN they strike THEN they come out as told."""
    sandbox.control("faults", {"status": 429, "bare": True, "count": 1})
    sandbox.control("faults", {"status": 200, "body": "<html>", "count": 1})
    sandbox.control("faults", {"status": 200, "body": {"success": False}, "count": 1})
    replies = [sandbox.sender() for _ in range(3)]
    assert "X-RateLimit-Limit" not in replies[0].headers
    assert replies[1].data == b"<html>"
    assert replies[2].json() == {"success": False}
    assert not any(one["accepted"] for one in sandbox.requests())


@pytest.mark.parametrize(("moment", "accepted"), [("before", False), ("after", True)])
def test_a_connection_is_reset_before_or_after_the_provider_acted(sandbox: Client, moment: str, accepted: bool) -> None:
    """GIVEN a fault that resets WHEN a request is sent THEN no answer comes, and the journal knows who acted."""
    sandbox.control("faults", {"provider": "sender", "reset": moment, "count": 1})
    with pytest.raises(urllib3.exceptions.ProtocolError):
        sandbox.sender()
    (received,) = sandbox.requests()
    assert (received["status"], received["accepted"]) == (None, accepted)
    assert sandbox.sender().status == 201
    assert sandbox.requests()[1]["repeat"] is accepted


def test_a_late_answer_has_been_acted_on(sandbox: Client) -> None:
    """GIVEN a delay longer than we wait WHEN a request times out THEN the provider has acted all the same."""
    sandbox.control("faults", {"provider": "sender", "delay": 0.5, "count": 1})
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        sandbox.pool.request(
            "POST",
            sandbox.url + SENDER,
            body=b'{"subscriber": {"id": "Qmp2g5"}, "type": "slow"}',
            headers={"Content-Type": "application/json", **SENDER_HEADERS},
            timeout=0.1,
        )
    assert sandbox.requests()[0]["accepted"]


def test_tokens_can_be_rotated_and_revoked(sandbox: Client) -> None:
    """GIVEN a revoked token WHEN it is used THEN 401, until the sandbox's own tokens are back."""
    change = {"provider": "sender", "account": "main", "accept": ["new"], "revoke": ["sandbox-sender-token"]}
    assert sandbox.control("tokens", change).status == 204
    assert sandbox.sender().status == 401
    event = {"subscriber": {"id": "Qmp2g5"}, "type": "t"}
    assert sandbox.post(SENDER, event, {**SENDER_HEADERS, "Authorization": "Bearer new"}).status == 201
    sandbox.forget("tokens")
    assert sandbox.sender().status == 201


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        ("faults", {"statsu": 500}),
        ("faults", {"status": 99}),
        ("limits", {"provider": "mailer", "limit": 1, "window": 1}),
        ("tokens", {"provider": "yotpo"}),
    ],
)
def test_a_wrong_order_is_refused(sandbox: Client, resource: str, body: dict[str, Any]) -> None:
    """GIVEN a control request with a mistake in it WHEN it is posted THEN 422 names the field."""
    reply = sandbox.control(resource, body)
    assert reply.status == 422
    assert reply.json()["errors"][0]["loc"]


def test_sending_is_not_logged(sandbox: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """GIVEN Yotpo's token in the URL WHEN requests pass and fail THEN the server writes it nowhere."""
    calls: list[Callable[[], object]] = [sandbox.yotpo, lambda: sandbox.post(YOTPO, b"{")]
    for call in calls:
        call()
    captured = capfd.readouterr()
    assert "sandbox-yotpo-token" not in captured.out + captured.err
