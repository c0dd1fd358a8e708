"""The page over real HTTP: what it streams and to whom, what it does when asked, and what it never shows."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import urllib3
from botocore.exceptions import EndpointConnectionError

from local.machine import free_port
from local.page.app import HEADERS, routes
from local.page.board import KEPT, Board
from local.page.follow import Follower
from local.sandbox.app import application
from local.sandbox.client import SandboxClient
from local.sandbox.contract import contracts
from local.sandbox.provider_side import Sandbox
from local.sandbox.server import server
from local.stack import Stack
from relay.providers import PROVIDERS
from tests.factories import event_data, event_json, make_event
from tests.kinds import FAST, SLOW
from tests.unit.test_page import attempt, deployed, line


class Gone:
    """A stack that nobody answers for."""

    outputs: ClassVar = {"IntakeQueueUrl": "http://127.0.0.1:1/q", "AccountsTableName": "accounts"}

    def __getattr__(self, name: str) -> Any:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


class Watched(Follower):
    """A follower that counts its looks at the stack."""

    looks = 0

    async def look_at_stack(self) -> None:
        self.looks += 1
        await super().look_at_stack()


@dataclass
class Served:
    """A sandbox with the page of a stack whose files are in ``state``."""

    url: str
    state: Path
    follower: Watched
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=10))

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return self.pool.request("GET", self.url + path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> urllib3.BaseHTTPResponse:
        return self.pool.request("POST", self.url + path, json=body, headers=headers or None)

    def deliver(self, provider: str, token: str | None = None, **changes: Any) -> int:
        """One request as the relay makes it; its status."""
        event, secret = make_event(**changes), contracts()[provider].secret(token=token)
        request = PROVIDERS[provider](f"{self.url}/{provider}").build(event, secret)
        return self.pool.request("POST", request.url, body=request.body, headers=dict(request.headers)).status

    def log(self, *lines: dict[str, Any]) -> None:
        """The functions write."""
        with (self.state / "emulator.log").open("a") as log:
            log.writelines(json.dumps(one) + "\n" for one in lines)

    @contextmanager
    def stream(self) -> Iterator[Iterator[dict[str, Any]]]:
        """What the page hears, message by message."""
        reply = self.pool.request("GET", f"{self.url}/_page/stream", preload_content=False)
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        try:
            yield (json.loads(text.removeprefix("data: ")) for text in _messages(reply) if text.startswith("data: "))
        finally:
            reply.close()


def _messages(reply: urllib3.BaseHTTPResponse) -> Iterator[str]:
    held = ""
    for part in reply.stream(65536):
        held += part.decode()
        *whole, held = held.split("\n\n")
        yield from whole


def heard(
    stream: Iterator[dict[str, Any]], kind: str, key: str, wanted: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The first of that key that has these values."""
    deadline = time.monotonic() + 20
    for news in stream:
        found = news.get(kind, {}).get(key)
        if found and (wanted or {}).items() <= found.items():
            return dict(found)
        assert time.monotonic() < deadline, f"{kind} {key} {wanted}: not told"
    raise AssertionError("the stream has ended")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """No stack is there yet; the follower is given one by the tests that need its settings."""
    sandbox = Sandbox()
    follower = Watched(Board(), sandbox, tmp_path)
    running = server(application(sandbox, routes(follower)), port := free_port())
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.005)
    found = Served(f"http://127.0.0.1:{port}", tmp_path, follower)
    yield found
    found.pool.clear()
    running.should_exit = True
    thread.join()


def test_the_page_and_what_it_consists_of(served: Served) -> None:
    """GIVEN the page WHEN its links are followed THEN each is there, with what keeps everything of others out."""
    page = served.get("/")
    assert page.status == 200
    for path in ("/", "/_page/site/page.css", "/_page/site/page.js", "/_page/site/icon.svg"):
        reply = served.get(path)
        assert reply.status == 200, path
        assert path == "/" or path in page.data.decode()
        assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS
    assert served.get("/_page/site/../app.py").status == 404
    assert len(served.get("/_page/samples").json()["samples"]) > 10


@pytest.mark.parametrize("path", ["/", "/_page/stream", "/_page/samples", "/_sandbox/requests", "/_page/site/page.js"])
def test_another_name_is_refused(served: Served, path: str) -> None:
    """GIVEN a name that its owner has turned to this machine WHEN used THEN nothing is to be read."""
    assert served.get(path, host="evil.example").status == 403


@pytest.mark.parametrize(
    "path", ["/_page/trouble", "/_page/send", "/_page/preview", "/_sandbox/faults", "/_sandbox/tokens"]
)
def test_a_page_elsewhere_cannot_press_a_button(served: Served, path: str) -> None:
    """GIVEN a page of another origin WHEN it posts THEN nothing happens."""
    body = {"provider": FAST, "kind": "500"}
    assert served.post(path, body, origin="https://evil.example").status == 403
    assert served.deliver(FAST) < 300


def test_a_provider_s_path_asks_for_no_name(served: Served) -> None:
    """GIVEN a delivery under whatever host WHEN it comes THEN it is answered: the guard is the page's own."""
    assert served.pool.request("POST", f"{served.url}/{FAST}/x", headers={"host": "else.example"}).status == 404


def test_a_request_is_shown_without_its_token(served: Served) -> None:
    """GIVEN deliveries WHEN the page hears of them THEN with all there is to it, but the token."""
    tokens = {name: contracts()[name].own_token for name in PROVIDERS}
    with served.stream() as stream:
        for provider in PROVIDERS:
            assert served.deliver(provider) < 300
            assert served.deliver(provider, token="wr0ng+t/ken") == 401
        found = heard(stream, "received", "1")
    shown = served.get("/_sandbox/requests").json()["requests"]
    assert found["method"] == "POST"
    text = json.dumps(shown) + json.dumps(found)
    for token in (*tokens.values(), "wr0ng", "t/ken"):
        assert token not in text
    for one in shown:
        assert "***" in one["url"] + json.dumps(one["headers"])
        assert one["ended"] >= one["time"]
        assert one["violations"] == (None if one["status"] == 401 else [])
        is_told = one["status"] != 401 and contracts()[one["provider"]].answers.accepted.says
        assert bool(one["answer_headers"]) == bool(is_told)


def test_a_token_is_hidden_wherever_it_stands(served: Served) -> None:
    """GIVEN a token where no contract has it WHEN the request is shown THEN it is masked all the same."""
    contract = contracts()[SLOW]
    request = PROVIDERS[SLOW](f"{served.url}/{SLOW}").build(make_event(), contract.secret())
    headers = {**request.headers, "X-Copy": contract.own_token}
    served.pool.request("POST", f"{request.url}?copy={contract.own_token}", body=request.body, headers=headers)
    [one] = served.get("/_sandbox/requests").json()["requests"]
    assert contract.own_token not in json.dumps(one)
    assert one["headers"]["x-copy"] == "***"


def test_what_stands_in_the_token_s_place_is_hidden(served: Served) -> None:
    """GIVEN another scheme WHEN the request is shown THEN what stands there is masked: it may be a secret."""
    for name in PROVIDERS:
        request = PROVIDERS[name](f"{served.url}/{name}").build(make_event(), contracts()[name].secret())
        headers = {"Authorization": "Basic c2VjcmV0Og=="}
        assert served.pool.request("POST", request.url.partition("?")[0], body=b"{}", headers=headers).status == 401
    shown = {one["provider"]: one["headers"] for one in served.get("/_sandbox/requests").json()["requests"]}
    assert shown[SLOW]["authorization"] == "***"


def test_a_request_is_shown_while_it_is_in_work(served: Served) -> None:
    """GIVEN a provider that is slow WHEN a request comes THEN the page shows it at once, and then its answer."""
    served.post("/_sandbox/faults", {"provider": FAST, "delay": 1.5})
    with served.stream() as stream:
        next(stream)
        thread = threading.Thread(target=served.deliver, args=(FAST,))
        thread.start()
        assert heard(stream, "received", "1")["ended"] is None
        assert heard(stream, "received", "1")["ended"] is not None
        thread.join()


def test_the_newest_of_many_are_shown(served: Served) -> None:
    """GIVEN more requests than the page shows WHEN somebody looks for the first time THEN the newest are read."""
    served.post("/_page/trouble", {"provider": FAST, "kind": "token"})
    for _ in range(KEPT + 3):
        served.deliver(FAST)
    with served.stream() as stream:
        heard(stream, "received", str(KEPT + 3))
    assert "3" not in served.follower.board.since(0)["received"]


def test_what_breaks_the_contract_is_named(served: Served) -> None:
    """GIVEN a request that the provider's page does not allow WHEN it is shown THEN with each violation."""
    contract = contracts()[SLOW]
    request = PROVIDERS[SLOW](f"{served.url}/{SLOW}").build(make_event(), contract.secret())
    reply = served.pool.request("POST", request.url, body=b'{"odd": 1}', headers=dict(request.headers))
    assert reply.status >= 400
    [one] = served.get("/_sandbox/requests").json()["requests"]
    assert len(one["violations"]) >= 2
    assert all(each["message"] for each in one["violations"])
    assert one["answer"] == reply.json()


def test_arrivals_are_heard_as_they_are_logged(served: Served) -> None:
    """GIVEN the functions' log WHEN lines are added THEN the page hears of the record, and then of its end."""
    served.log(line("accepted", destinations=[f"{FAST}/main"]))
    with served.stream() as stream:
        assert heard(stream, "came", "1")["fates"] == {f"{FAST}/main": None}
        served.log(attempt("delivered", f"{FAST}/main"), line("rejected", reason="type: is required", event_id=""))
        assert heard(stream, "came", "2")["errors"] == [{"field": "type", "message": "is required"}]
    with served.stream() as stream:
        first = next(stream)
        assert first["first"]
        assert first["came"]["1"]["fates"][f"{FAST}/main"]["outcome"] == "delivered"


def test_what_was_forgotten_is_gone_from_the_page(served: Served) -> None:
    """GIVEN requests on the page WHEN the sandbox forgets them THEN the page hears it, and numbers begin anew."""
    served.deliver(FAST)
    with served.stream() as stream:
        heard(stream, "received", "1")
        SandboxClient(served.url).forget("requests")
        assert any("received" in news["cleared"] for news in stream)
        served.deliver(FAST, type="another")
        assert heard(stream, "received", "1", {"type": "another"})["status"] < 300


def test_the_stack_is_looked_at_once_for_all_and_not_for_nobody(served: Served) -> None:
    """GIVEN two who look WHEN seconds pass THEN one look each second; when both are gone, none."""
    time.sleep(1.2)
    assert served.follower.looks == 0
    with served.stream() as one, served.stream() as other:
        next(one), next(other)
        time.sleep(2.5)
        during = served.follower.looks
        assert 1 <= during <= 4
    time.sleep(1.5)
    after = served.follower.looks
    time.sleep(1.5)
    assert served.follower.looks == after


def test_buttons_make_a_provider_misbehave(served: Served) -> None:
    """GIVEN each button WHEN pressed THEN the provider does so, all who look hear of it, and normal is normal."""
    with served.stream() as stream:
        for kind, status in (("429", 429), ("500", 500), ("token", 401)):
            assert served.post("/_page/trouble", {"provider": SLOW, "kind": kind}).json()["trouble"][SLOW] == kind
            assert served.deliver(SLOW) == status
            assert served.deliver(FAST) < 300
            heard(stream, "trouble", SLOW, {"kind": kind})
        served.post("/_page/trouble", {"provider": SLOW, "kind": "reset"})
        with pytest.raises(urllib3.exceptions.ProtocolError):
            served.deliver(SLOW)
        assert set(served.post("/_page/trouble", {"kind": "normal"}).json()["trouble"].values()) == {"normal"}
        assert served.deliver(SLOW) < 300


@pytest.mark.parametrize("body", [{}, {"provider": "nobody", "kind": "500"}, {"provider": FAST, "kind": "boom"}])
def test_an_unknown_button_is_refused(served: Served, body: dict[str, str]) -> None:
    """GIVEN an order nobody knows WHEN posted THEN 422, and what is wrong."""
    reply = served.post("/_page/trouble", body)
    assert reply.status == 422
    assert reply.json()["errors"]


def test_without_a_stack_nothing_is_sent_and_nothing_previewed(served: Served) -> None:
    """GIVEN a sandbox that is up before its stack WHEN asked THEN it says so, in the stream too."""
    for path in ("preview", "send"):
        reply = served.post(f"/_page/{path}", {"text": event_json()})
        assert (reply.status, reply.json()) == (503, {"error": "the stack is not up yet"})
    with served.stream() as stream:
        assert heard(stream, "stack", "stack") == {"state": "starting"}


def test_a_preview_over_http(served: Served) -> None:
    """GIVEN a stack's settings WHEN text is posted THEN its errors, or the requests."""
    served.follower.deployed = deployed()
    good = served.post("/_page/preview", {"text": json.dumps(event_data())}).json()
    assert all(one["request"] for one in good["requests"].values())
    assert served.post("/_page/preview", {"text": "{"}).json()["errors"]


def test_what_the_bus_does_not_take_is_refused(served: Served) -> None:
    """GIVEN text that is no JSON WHEN sent by another way than the queue THEN 422 with the reason, not a failure."""
    served.follower.deployed = deployed()
    reply = served.post("/_page/send", {"text": "{", "way": "bus"})
    assert reply.status == 422
    assert "no JSON" in reply.json()["error"]


def test_a_stack_that_is_gone_is_said_to_be(served: Served) -> None:
    """GIVEN a stack that does not answer any more WHEN looked at THEN the page says so, and goes on."""
    served.follower.deployed = replace(deployed(), stack=cast(Stack, Gone()))
    with served.stream() as stream:
        assert heard(stream, "stack", "stack", {"state": "silent"})["why"]
    reply = served.post("/_page/send", {"text": event_json()})
    assert reply.status == 502
    assert "did not take it" in reply.json()["error"]
