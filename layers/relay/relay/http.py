"""The HTTP transport: one urllib3 pool, no retries, no redirects, and an honest word on whether a request left."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from relay.errors import NoAnswerError, NotSentError
from relay.ports import Reply, Request

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
LARGEST_BODY = 64 * 1024
IDLE_SECONDS = 50.0
"""A frozen environment's sockets die silently; one unused for longer is not trusted."""


class HttpTransport:
    """Satisfies `ports.Transport`. Safe for as many threads as `connections`, each on a connection of its own."""

    def __init__(self, connections: int, connect: float = CONNECT_SECONDS, read: float = READ_SECONDS) -> None:
        self.longest = connect + read
        self._connect = connect
        timeout = urllib3.Timeout(connect=connect, read=read)
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, timeout=timeout)
        self._pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def send(self, request: Request) -> Reply:
        """Sends once and reads at most 64 KiB of the answer.

        Raises NotSentError when the request did not leave whole, NoAnswerError when it did and no answer came. Neither
        carries urllib3's text: it holds the URL.
        """
        body = _Watched(request.body, self._connect)
        # urllib3's timeouts bound each read, not their sum: an answer may drip for hours.
        watchdog = threading.Timer(self.longest, body.cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._exchange(request, body)
        finally:
            watchdog.cancel()

    def _exchange(self, request: Request, body: "_Watched") -> Reply:
        try:
            response = self._pool.request(
                request.method,
                request.url,
                body=body,
                headers={**request.headers, "Content-Length": str(len(request.body))},
                redirect=False,
                preload_content=False,
                decode_content=True,
            )
        except (HTTPError, OSError, ValueError) as error:
            raise (NoAnswerError if body.handed_over else NotSentError)(_cause(error)) from None
        try:
            return Reply(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=self._read_some(response),
                left_after=body.left_after,
            )
        finally:
            # Back in the pool it may be another's at once.
            body.socket = None
            response.release_conn()

    def _read_some(self, response: urllib3.BaseHTTPResponse) -> bytes:
        # The status has decided already; a body that drips, breaks off or never ends adds nothing.
        read = b""
        try:
            for chunk in response.stream(8192):
                read += chunk
                if len(read) >= LARGEST_BODY:
                    response.close()
                    break
        except (HTTPError, OSError, ValueError):
            response.close()
        return read[:LARGEST_BODY]


class _Watched:
    """A request body that knows whether it was handed to the socket: before that, the provider cannot have acted."""

    def __init__(self, body: bytes, at_most: float) -> None:
        self._body = body
        self._at_most = at_most
        self._began = time.monotonic()
        self.handed_over = False
        self.left_after = 0.0
        self.socket: socket.socket | None = None

    def cut(self) -> None:
        """Ends the exchange from outside."""
        if self.socket is not None:
            with suppress(OSError):
                # Below any TLS, which another thread is reading.
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def __iter__(self) -> Iterator[bytes]:
        self.left_after = time.monotonic() - self._began
        if self.left_after > self._at_most:
            # urllib3's timeout is for each address of a host: many can take longer than the caller has.
            raise TimeoutError
        self.handed_over = True
        yield self._body


def _cause(error: BaseException) -> str:
    inner = error.args[-1] if error.args and isinstance(error.args[-1], BaseException) else None
    names = dict.fromkeys([type(error).__name__, *([type(inner).__name__] if inner else [])])
    return " / ".join(names)


class _ShowsSocket(HTTPConnection):
    """Shows the body its socket, so that it can be cut, and is not trusted after a long rest."""

    _used_at = 0.0

    def request(self, method: str, url: str, body: Any = None, *args: Any, **more: Any) -> None:
        super().request(method, url, body, *args, **more)
        body.socket, self._used_at = self.sock, time.monotonic()

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() - self._used_at < IDLE_SECONDS


class _ShowsTlsSocket(_ShowsSocket, HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _ShowsSocket


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _ShowsTlsSocket
