"""The clients of AWS's services, as both functions have them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import botocore.session
from botocore import httpsession
from botocore.config import Config

IN_FLIGHT = 10
"""Requests to one service, or to the provider, at the same time."""

CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=IN_FLIGHT,
    user_agent="customer-event-relay",  # botocore's own is put together anew for each call
)


class WhenNeeded:
    """A client that is made when it is first called: for what is seldom called, and never by two threads."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._made = cache(make)

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._made(), operation)


def clients() -> Callable[..., Any]:
    """Makes a client for a service, by its name, with what is to be otherwise in its `Config`. They are botocore's own,
    for boto3 adds a tenth of a start and nothing else.
    """
    session = botocore.session.get_session()
    trust = httpsession.create_urllib3_context()
    # urllib3 has it read the same certificates for each new connection: 15 ms of a processor, ten times a first batch.
    trust.load_verify_locations = cache(trust.load_verify_locations)
    trust.load_verify_locations(session.get_config_variable("ca_bundle") or httpsession.where(), None, None)

    def make(service: str, **otherwise: Any) -> Any:
        client: Any = session.create_client(service, config=CONFIG.merge(Config(**otherwise)))
        client._endpoint.http_session._manager.connection_pool_kw["ssl_context"] = trust
        return client

    return make
