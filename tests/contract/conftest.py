"""A provider sandbox that really serves, on a clock that stands still until a test moves it."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3

from local.places import free_port
from local.sandbox.app import application
from local.sandbox.provider_side import Sandbox
from local.sandbox.server import server

YOTPO = "/core/v3/stores/sandbox-store/events?access_token=sandbox-yotpo-token"
SENDER = "/v2/events"
SENDER_HEADERS = {"Authorization": "Bearer sandbox-sender-token", "Accept": "application/json"}


@dataclass
class Client:
    """Talks to the sandbox. ``now`` is the clock of its limits, in seconds."""

    url: str
    now: list[float]
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=10))

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        """POST ``body`` as JSON, or as it is if it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.pool.request(
            "POST", self.url + path, body=content, headers={"Content-Type": "application/json", **(headers or {})}
        )

    def yotpo(self, **changes: Any) -> urllib3.BaseHTTPResponse:
        """A valid Yotpo event, but for the changes. A change to ``...`` leaves the field out."""
        event = {
            "source": "shop",
            "type": "order_shipped",
            "timestamp": "2026-11-22T10:00:00Z",
            "id": "event-1",
            "customer": {"email": "ada@example.com"},
            **changes,
        }
        return self.post(YOTPO, {name: value for name, value in event.items() if value is not ...})

    def sender(self, **changes: Any) -> urllib3.BaseHTTPResponse:
        """A valid Sender event, but for the changes. A change to ``...`` leaves the field out."""
        event = {"subscriber": {"email": "ada@example.com"}, "type": "order_shipped", **changes}
        kept = {name: value for name, value in event.items() if value is not ...}
        return self.post(SENDER, kept, SENDER_HEADERS)

    def control(self, name: str, body: Any) -> urllib3.BaseHTTPResponse:
        """Tell the sandbox itself something."""
        return self.post(f"/_sandbox/{name}", body)

    def requests(self, query: str = "") -> list[dict[str, Any]]:
        """What the sandbox has received."""
        found: list[dict[str, Any]] = self.pool.request("GET", f"{self.url}/_sandbox/requests{query}").json()[
            "requests"
        ]
        return found

    def summary(self) -> dict[str, Any]:
        """The sandbox's counts."""
        counts: dict[str, Any] = self.pool.request("GET", f"{self.url}/_sandbox/summary").json()
        return counts

    def forget(self, name: str) -> None:
        """DELETE one of the sandbox's own resources."""
        assert self.pool.request("DELETE", f"{self.url}/_sandbox/{name}").status == 204


@pytest.fixture(scope="module")
def served() -> Iterator[Client]:
    """One server for a module's tests."""
    now = [100.0]
    port = free_port()
    running = server(application(Sandbox(clock=lambda: now[0])), port)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.005)
    client = Client(f"http://127.0.0.1:{port}", now)
    yield client
    client.pool.clear()
    running.should_exit = True
    thread.join()


@pytest.fixture
def sandbox(served: Client) -> Client:
    """A sandbox that has seen nothing and was told nothing."""
    for name in ("faults", "limits", "requests", "tokens"):
        served.forget(name)
    return served
