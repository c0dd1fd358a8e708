"""The certificates that are trusted are read once: to read them takes longer than all else of a connection."""

import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.endpoint import Endpoint, endpoint
from relay.adapters.http import HttpTransport
from relay.ports import Request
from relay.wiring.aws import clients

AT_ONCE = 3


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """Answers late enough that calls made at once need a connection each."""
    with endpoint(aws_seconds=0.3, provider_seconds=0.3) as ends:
        for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(ends.trusted))
        monkeypatch.setenv("AWS_ENDPOINT_URL", ends.url)
        yield ends


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a context read the certificates of a file, or the machine's."""
    counted = Counter[str]()

    def count(name: str) -> None:
        whole: Callable[..., Any] = getattr(ssl.SSLContext, name)

        def counting(self: ssl.SSLContext, *given: Any) -> None:
            counted[name] += 1
            whole(self, *given)

        monkeypatch.setattr(ssl.SSLContext, name, counting)

    count("load_verify_locations")
    count("load_default_certs")
    return counted


def at_once(call: Callable[[], object]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for each in [pool.submit(call) for _ in range(AT_ONCE)]:
            each.result()


def test_aws_s_are_read_once_for_all_clients(ends: Endpoint, read: Counter[str]) -> None:
    """GIVEN two clients WHEN each has three connections THEN what they trust was read before the first."""
    aws = clients()
    dynamodb, secretsmanager = aws("dynamodb"), aws("secretsmanager")
    assert read == {"load_verify_locations": 1}
    key = {"event_id": {"S": "e-1"}}
    at_once(lambda: dynamodb.update_item(TableName="ledger", Key=key))
    at_once(lambda: secretsmanager.get_secret_value(SecretId="one"))
    assert Counter(name for name, _ in ends.requests) == {"UpdateItem": AT_ONCE, "GetSecretValue": AT_ONCE}
    assert read == {"load_verify_locations": 1}


def test_a_stranger_s_certificate_is_refused(ends: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN an endpoint whose certificate nobody vouches for WHEN it is called THEN nothing is sent."""
    monkeypatch.delenv("AWS_CA_BUNDLE")
    secretsmanager = clients()("secretsmanager")
    with pytest.raises(Exception, match="certificate verify failed"):
        secretsmanager.get_secret_value(SecretId="one")
    assert not ends.requests


def test_the_provider_s_are_read_once(ends: Endpoint, read: Counter[str]) -> None:
    """GIVEN a transport WHEN it has three connections THEN what it trusts was read before the first."""
    transport = HttpTransport(connections=AT_ONCE)
    assert read == {"load_default_certs": 1}
    assert not transport._pool.connection_pool_kw["ssl_context"].hostname_checks_common_name
    at_once(lambda: transport.send(Request("POST", f"{ends.url}/events", {}, b"{}")))
    transport._pool.clear()
    assert len(ends.requests) == AT_ONCE
    assert read == {"load_default_certs": 1}
