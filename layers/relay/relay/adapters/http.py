"""The HTTP transport: kept connections, no retries, no redirects, and an honest word on whether a request left.

The standard library's client, without the layers of urllib3 above it: they cost more than the exchange itself, and do
for us what we must not have done (docs/decisions.md).

Only its place in a connection tells whose an answer is. So a connection must be silent when a request leaves and after
its answer; one that is not is never used again.
"""

import http.client
import io
import socket
import ssl
import threading
import time
import zlib
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from urllib3.util import parse_url, wait_for_read

from relay.errors import NoAnswerError, NotSentError
from relay.ports import Reply, Request

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
LARGEST_BODY = 64 * 1024
LARGEST_HEAD = 64 * 1024
"""Of all lines of an answer together: interim heads, its own head, the sizes of chunks, trailers."""
IDLE_SECONDS = 50.0
"""A frozen environment's sockets die silently; one unused for longer is not trusted."""

_FAILURES = (http.client.HTTPException, OSError, ValueError)
"""All that connecting, sending and reading raise."""


class HttpTransport:
    """Satisfies `ports.Transport`. Safe for as many threads as `connections`, each on a connection of its own."""

    def __init__(self, connections: int, connect: float = CONNECT_SECONDS, read: float = READ_SECONDS) -> None:
        self.longest = connect + read
        self._connect = connect
        self._read = read
        self._idle: defaultdict[_Host, deque[_Connection]] = defaultdict(lambda: deque(maxlen=connections))
        self._watchdog = _Watchdog(self.longest)
        # One for all connections: each of its own would read the machine's certificates anew, 15 ms of a processor.
        self._trust = ssl.create_default_context()

    def send(self, request: Request, leave: Callable[[], None] = lambda: None) -> Reply:
        """Sends once and reads at most 64 KiB of the answer. `leave` may wait: the connection is there. What it raises
        comes through.

        Raises NotSentError when the request did not leave whole, NoAnswerError when it did and no answer came. Neither
        carries the cause's text: it may hold the URL.
        """
        try:
            host, target = _where(request.url)
            connection = self._connection(host)
        except _FAILURES as error:
            slow = isinstance(error, TimeoutError)
            why = "ConnectTimeoutError" if slow else f"NewConnectionError / {type(error).__name__}"
            raise NotSentError(why) from None
        try:
            leave()
            return self._exchange(connection, target, request)
        finally:
            if connection.sock is not None:
                self._idle[host].append(connection)

    def close(self) -> None:
        """Closes the connections that are not in use."""
        for each in self._idle.values():
            while each:
                each.pop().close()

    def _connection(self, host: "_Host") -> "_Connection":
        """One that is ready: the one used last, or a new one."""
        idle = self._idle[host]
        with suppress(IndexError):
            while True:
                connection = idle.pop()
                if connection.is_fit:
                    return connection
                connection.close()
        began = time.monotonic()
        connection = self._new_connection(host)
        try:
            connection.connect()
            if time.monotonic() - began > self._connect:
                # The time-out is for each address of a host: many can take longer than the caller has.
                raise TimeoutError
            connection.sock.settimeout(self._read)
        except BaseException:
            connection.close()
            raise
        return connection

    def _new_connection(self, host: "_Host") -> "_Connection":
        if host.scheme == "http":
            return _Connection(host.name, host.port, timeout=self._connect)
        return _TlsConnection(host.name, host.port, timeout=self._connect, context=self._trust)

    def _exchange(self, connection: "_Connection", target: str, request: Request) -> Reply:
        """Leaves the connection closed where anything may still come on it."""
        connected = connection.sock
        self._watchdog.watch(connected)
        try:
            response = connection.exchange(target, request)
            content, complete = _read(response)
            if not response.isclosed():
                response.close()
                connection.close()
        except BaseException as error:
            connection.close()
            if not isinstance(error, _FAILURES):
                raise
            why = "ReadTimeoutError" if isinstance(error, TimeoutError) else type(error).__name__
            raise (NoAnswerError if connection.has_left else NotSentError)(why) from None
        finally:
            # Before it is another's.
            self._watchdog.leave(connected)
        return Reply(response.status, _joined(response.headers), content, complete)


class _Host(NamedTuple):
    scheme: str
    name: str
    port: int


@lru_cache(maxsize=1_000)
def _where(url: str) -> tuple[_Host, str]:
    """The host of a URL and what is asked of it, both written as HTTP wants them. Raises ValueError."""
    parts = parse_url(url)
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError("no URL of HTTP")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Host(parts.scheme, parts.host.strip("[]"), port), parts.request_uri


class _Watchdog:
    """Cuts what lasts longer than so many seconds: time-outs bound each read, not their sum, and an answer may
    drip for hours. One thread for all exchanges, which comes when there are some and goes after them.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until: dict[socket.socket, float] = {}
        self._is_awake = False

    def watch(self, connected: socket.socket) -> None:
        """From now on, for so many seconds."""
        with self._lock:
            self._until[connected] = time.monotonic() + self._seconds
            if not self._is_awake:
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
                self._is_awake = True

    def leave(self, connected: socket.socket) -> None:
        """The exchange is over: what follows on the connection is not cut."""
        with self._lock:
            self._until.pop(connected, None)

    def _run(self) -> None:
        while (seconds := self._cut()) is not None:
            # All have as long, so nothing that comes meanwhile is due before this is over.
            time.sleep(seconds)

    def _cut(self) -> float | None:
        """Cuts what is due. Returns the seconds until the next may be, None where there is nothing to watch."""
        with self._lock:
            now = time.monotonic()
            for connected in [each for each, until in self._until.items() if until <= now]:
                del self._until[connected]
                _end(connected)
            self._is_awake = bool(self._until)
            return min(self._until.values()) - now if self._until else None


class _Answer(http.client.HTTPResponse):
    """Passes over every interim head, where http.client passes over 100 alone and takes others for the answer."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp = _Lines(self.fp.detach(), sock)

    def begin(self) -> None:
        super().begin()
        while 100 < self.status < 200:
            if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                # What was asked is answered in that other protocol.
                raise http.client.UnknownProtocol("101")
            # Without headers it has not begun, and reads the next head.
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


class _Lines(io.BufferedReader):
    """The bytes of one answer. Bounds its lines, misses none of their ends, and is closed at the answer's end."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__(raw)
        self._socket = sock
        self._left = LARGEST_HEAD

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("lines of an answer")
        if not line.endswith(b"\n") and len(line) != size:
            raise http.client.RemoteDisconnected("in the middle of a line")
        return line

    def close(self) -> None:
        # What it has read ahead would be lost with it, and the next answer begin in the middle.
        if not self.closed and not _is_silent(self._socket, self.read):
            _end(self._socket)
        super().close()


class _Connection(http.client.HTTPConnection):
    """Sends a request as one, knows whether it has, and is not trusted after a long rest."""

    response_class = _Answer
    auto_open = 0
    has_left = False
    """Whether the provider may have got the request, or a part of it."""
    _used_at = 0.0
    _body = b""

    def connect(self) -> None:
        super().connect()
        self._used_at = time.monotonic()

    def exchange(self, target: str, request: Request) -> http.client.HTTPResponse:
        """Sends the request and reads the head of the answer."""
        self.has_left = False
        self._body = request.body
        self.request(request.method, target, headers={**request.headers, "Content-Length": str(len(request.body))})
        self._used_at = time.monotonic()
        return self.getresponse()

    def send(self, data: Any) -> None:
        """Head and body in one: what a provider says to a head alone would come in between, and look like a stray."""
        if not self._is_silent:
            # Whatever that is, it answers something else, or nothing.
            raise ConnectionAbortedError
        self.has_left = True
        body, self._body = self._body, b""
        # It may have answered without reading to the end. If it has not, there is nothing to read.
        with suppress(BrokenPipeError, ConnectionResetError):
            super().send(data + body)

    @property
    def is_fit(self) -> bool:
        """Whether another request may go out on it."""
        return time.monotonic() - self._used_at < IDLE_SECONDS and self._is_silent

    @property
    def _is_silent(self) -> bool:
        # All there is has been read by TLS at the end of an answer, so the socket tells; nearly always it is enough.
        return not wait_for_read(self.sock, 0.0) or _is_silent(self.sock, self.sock.recv)


class _TlsConnection(_Connection, http.client.HTTPSConnection):
    pass


def _is_silent(connected: socket.socket, read: Callable[[int], bytes | None]) -> bool:
    """Whether `read` finds nothing, not even the end. What TLS says to itself (session tickets) is nothing."""
    patience = connected.gettimeout()
    connected.settimeout(0)
    try:
        return read(1) is None
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    finally:
        connected.settimeout(patience)


def _end(connected: socket.socket) -> None:
    with suppress(OSError):
        # Below any TLS, which another thread may be reading.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _read(response: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """At most 64 KiB of the body, unpacked, and whether that is all of it. A body that drips or breaks off is not."""
    packed, ended = bytearray(), False
    with suppress(*_FAILURES):
        while not response.isclosed() and len(packed) <= LARGEST_BODY:
            packed += response.read1(8192)
        ended = response.isclosed() and not response.length
    body, whole = _unpacked(bytes(packed), response.headers.get("content-encoding", "identity"))
    framed = response.headers.get("transfer-encoding", "identity").lower() in ("identity", "chunked")
    return body[:LARGEST_BODY], ended and framed and whole and len(body) <= LARGEST_BODY


def _joined(headers: http.client.HTTPMessage) -> dict[str, str]:
    """Headers by their names in small letters; what is said twice is a list."""
    joined: dict[str, str] = {}
    for written, value in headers.items():
        name = written.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _unpacked(body: bytes, coding: str) -> tuple[bytes, bool]:
    # We ask for no coding at all. What is undone for us does not say that a body ends before its end.
    if not body or coding.strip().lower() in ("", "identity"):
        return body, True
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        inside = inflate.decompress(body, LARGEST_BODY + 1)
    except zlib.error:
        return body, False
    # Packed twice, it is not read yet.
    return inside, inflate.eof and not inflate.unused_data and not inside.startswith(b"\x1f\x8b")
