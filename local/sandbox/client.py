"""Speaks to a running sandbox: what it received, and what it is told to do."""

import json
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

type Json = dict[str, Any]


class SandboxClient:
    """The controls of ``local.sandbox``, one call each. Raises urllib.error.HTTPError for an order it refuses."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/_sandbox"
        # A proxy of the user's cannot reach this machine's own ports.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def requests(self, after: int = 0, **equal: str) -> list[Json]:
        """What the providers received since the ``seq`` given, in order: ``local.sandbox.journal.Received``.

        ``equal``: only those of a ``provider``, an ``account``, or a ``type`` of event.
        """
        found: list[Json] = self._get(f"requests?{urlencode({'after': after, **equal})}")["requests"]
        return found

    def summary(self) -> dict[str, Json]:
        """Counts by provider, of those that received anything."""
        counts: dict[str, Json] = self._get("summary")["providers"]
        return counts

    def add_fault(self, **fault: Any) -> None:
        """Misbehave: a ``local.sandbox.faults.Fault``."""
        self._send("POST", "faults", fault)

    def set_limit(self, **limit: Any) -> None:
        """Allow another number of requests: a ``local.sandbox.limits.Limit``."""
        self._send("POST", "limits", limit)

    def change_tokens(
        self, provider: str, account: str, *, accept: Sequence[str] = (), revoke: Sequence[str] = ()
    ) -> None:
        """Tokens that the account takes, and those that it no longer takes, from now on."""
        self._send("POST", "tokens", {"provider": provider, "account": account, "accept": accept, "revoke": revoke})

    def forget(self, *what: str) -> None:
        """Go back to how it was at its start: its ``requests``, ``faults``, ``limits`` or ``tokens``."""
        for each in what:
            self._send("DELETE", each)

    def _get(self, path: str) -> Json:
        found: Json = json.loads(self._send("GET", path))
        return found

    def _send(self, method: str, path: str, body: Json | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}/{path}", data, method=method)  # noqa: S310 (our own sandbox)
        with self._opener.open(request, timeout=10) as reply:
            content: bytes = reply.read()
        return content
