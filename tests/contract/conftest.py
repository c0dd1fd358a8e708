"""What the contract tests talk to: AWS as two emulators know it, and a provider sandbox that really serves.

The sandbox's clock stands still until a test moves it.
"""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_secretsmanager import SecretsManagerClient
from mypy_boto3_sqs import SQSClient
from mypy_boto3_sqs.type_defs import MessageTypeDef

from local.machine import TOOLS, free_port, server_environment
from local.processes import Process, start, stop
from local.sandbox.app import application
from local.sandbox.provider_side import Sandbox
from local.sandbox.server import server
from local.stack import start_emulator
from relay.errors import RelayError
from relay.providers import PROVIDERS
from tests.contract.documented import documented
from tools.template import load

YOTPO = "/core/v3/stores/sandbox-store/events?access_token=sandbox-yotpo-token"
SENDER = "/v2/events"
SENDER_HEADERS = {"Authorization": "Bearer sandbox-sender-token", "Accept": "application/json"}

ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5)
_numbers = itertools.count(1)


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


# ------------------------------------------------------------------------------------------------ AWS, twice


LETTERS: Any = load()["Resources"]["Letters"]["Properties"]
"""The template's own table, for its indexes."""


@cache
def queue_maker(endpoint: str) -> SQSClient:
    """A client for what a test finds there, beside its own, which it may stub."""
    return boto3.Session().client("sqs", endpoint_url=endpoint, config=ONCE)


@dataclass
class Aws:
    """Queues, tables and secrets of one test's own, each made when first asked for."""

    endpoint: str
    name: str = field(default_factory=lambda: f"t{next(_numbers)}")

    @cached_property
    def sqs(self) -> SQSClient:
        return boto3.client("sqs", endpoint_url=self.endpoint, config=ONCE)

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        return boto3.client("dynamodb", endpoint_url=self.endpoint, config=ONCE)

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        return boto3.client("secretsmanager", endpoint_url=self.endpoint, config=ONCE)

    @cached_property
    def lanes(self) -> dict[str, str]:
        scope = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        return {provider: self.fifo(provider, **scope) for provider in PROVIDERS}

    @cached_property
    def dead_letters(self) -> str:
        return self.fifo("dead")

    @cached_property
    def rejected(self) -> str:
        return queue_maker(self.endpoint).create_queue(QueueName=f"{self.name}-rejected")["QueueUrl"]

    @cached_property
    def table(self) -> str:
        name = f"{self.name}-ledger"
        self.dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "event_id", "AttributeType": "S"},
                {"AttributeName": "destination", "AttributeType": "S"},
            ],
            KeySchema=[
                {"AttributeName": "event_id", "KeyType": "HASH"},
                {"AttributeName": "destination", "KeyType": "RANGE"},
            ],
        )
        return name

    @cached_property
    def accounts(self) -> str:
        name = f"{self.name}-accounts"
        self.dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "destination", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "destination", "KeyType": "HASH"}],
        )
        return name

    @cached_property
    def letters(self) -> str:
        name = f"{self.name}-letters"
        self.dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            **{key: LETTERS[key] for key in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")},
        )
        return name

    def fifo(self, name: str, **attributes: str) -> str:
        given: Any = {"FifoQueue": "true", **attributes}
        made = queue_maker(self.endpoint).create_queue(QueueName=f"{self.name}-{name}.fifo", Attributes=given)
        return made["QueueUrl"]

    def receive(self, url: str, visibility: int = 30, most: int = 10) -> list[MessageTypeDef]:
        """Up to `most` messages, hidden for that many seconds."""
        return self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=visibility,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
            WaitTimeSeconds=0,
        ).get("Messages", [])

    def item(self, event_id: str, destination: str) -> dict[str, Any]:
        key = {"event_id": {"S": event_id}, "destination": {"S": destination}}
        return dict(self.dynamodb.get_item(TableName=self.table, Key=key).get("Item", {}))

    def account(self, destination: str) -> dict[str, Any]:
        key = {"destination": {"S": destination}}
        return dict(self.dynamodb.get_item(TableName=self.accounts, Key=key).get("Item", {}))

    def secret(self, name: str, text: str) -> None:
        self.secrets.create_secret(Name=f"{self.name}/customer-events/{name}", SecretString=text)


def start_moto(state: Path, port: int) -> Process:
    """Moto's server, with everything it writes under `state`. Shares no code with the emulator that runs the stack."""
    command = [str(TOOLS / "moto_server"), "--host", "127.0.0.1", "--port", str(port)]
    return start("moto", command, env=server_environment(state), cwd=state, log=state / "moto.log")


@contextmanager
def serving(start_server: Callable[[Path, int], Process], state: Path, health: str) -> Iterator[str]:
    """The server's URL once it answers; ended with all it started, whatever happens."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    server_process = start_server(state, port)
    try:
        with urllib3.PoolManager(retries=False, timeout=2) as pool:
            deadline = time.monotonic() + 60
            while True:
                assert server_process.alive, (state / f"{server_process.name}.log").read_text()
                assert time.monotonic() < deadline, f"{server_process.name} does not answer"
                with suppress(urllib3.exceptions.HTTPError):
                    if pool.request("GET", url + health).status == 200:
                        break
                time.sleep(0.1)
        yield url
    finally:
        stop(server_process)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The emulator that also runs the whole stack."""
    with serving(start_emulator, tmp_path_factory.mktemp("ministack"), "/_ministack/health") as url:
        yield url


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The second opinion."""
    with serving(start_moto, tmp_path_factory.mktemp("moto"), "/moto-api/data.json") as url:
        yield url


@cache
def strict_session() -> boto3.Session:
    """Made once: each new session reads the services' descriptions again."""
    return documented(boto3.Session())


@pytest.fixture(params=["ministack", "moto"])
def endpoint(request: pytest.FixtureRequest) -> str:
    """Each of two emulators.

    A test marked `differs` is known to fail on those it names: AWS does what the test says, by the page it names.
    Should they come to agree, the test fails until its mark is gone.
    """
    for mark in request.node.iter_markers("differs"):
        *emulators, page = mark.args
        if request.param in emulators:
            unlike = pytest.mark.xfail(
                raises=(AssertionError, ClientError, RelayError, pytest.fail.Exception),
                strict=True,
                reason=f"AWS: {page}",
            )
            request.applymarker(unlike)
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """What a test needs of AWS, fresh, held to what neither emulator enforces: every client, the handlers' own too."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", strict_session())
    monkeypatch.setattr(botocore.session, "get_session", lambda: strict_session()._session)
    return Aws(endpoint)


@pytest.fixture
def emulated(endpoint: str) -> Aws:
    """The same, as the emulator has it."""
    return Aws(endpoint)
