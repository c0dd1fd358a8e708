"""The HTTP transport: one urllib3 pool, no retries, no redirects, and an honest word on whether a request left.

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
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from relay.errors import NoAnswerError, NotSentError
from relay.ports import Reply, Request

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
LARGEST_BODY = 64 * 1024
LARGEST_HEAD = 64 * 1024
"""Of all lines of an answer together: interim heads, its own head, the sizes of chunks, trailers."""
IDLE_SECONDS = 50.0
"""A frozen environment's sockets die silently; one unused for longer is not trusted."""


class HttpTransport:
    """Satisfies `ports.Transport`. Safe for as many threads as `connections`, each on a connection of its own."""

    def __init__(self, connections: int, connect: float = CONNECT_SECONDS, read: float = READ_SECONDS) -> None:
        self.longest = connect + read
        self._connect = connect
        self._watchdog = _Watchdog(self.longest)
        timeout = urllib3.Timeout(connect=connect, read=read)
        # One context for all connections: each of its own would read the machine's certificates anew.
        trust = create_urllib3_context()
        trust.load_default_certs()
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, timeout=timeout, ssl_context=trust)
        self._pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def send(self, request: Request, leave: Callable[[], None] = lambda: None) -> Reply:
        """Sends once and reads at most 64 KiB of the answer. `leave` may wait: the connection is there. What it raises
        comes through.

        Raises NotSentError when the request did not leave whole, NoAnswerError when it did and no answer came. Neither
        carries urllib3's text: it holds the URL.
        """
        body = _Watched(request.body, self._connect, leave, self._watchdog)
        try:
            return self._watch(request, body)
        except NotSentError:
            if not body.missed_its_connection:
                raise
        # A provider ends a connection that rests, also while the request waits to leave. Nothing has left, and its
        # turn is now: it takes another connection, in the time that it had anyway.
        return self._watch(request, _Watched(request.body, self._connect, None, self._watchdog))

    def _watch(self, request: Request, body: "_Watched") -> Reply:
        self._watchdog.watch(body)
        try:
            return self._exchange(request, body)
        finally:
            self._watchdog.leave(body)

    def _exchange(self, request: Request, body: "_Watched") -> Reply:
        try:
            response = self._pool.request(
                request.method,
                request.url,
                body=body,
                headers={**request.headers, "Content-Length": str(len(request.body))},
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError, ValueError) as error:
            if body.kept_by is not None:
                # Whatever urllib3 has made of it.
                raise body.kept_by from None
            raise (NoAnswerError if body.handed_over else NotSentError)(_cause(error)) from None
        try:
            content, complete = _read(response)
            return Reply(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=content,
                complete=complete,
            )
        finally:
            # Back in the pool it may be another's at once.
            self._watchdog.leave(body)
            response.release_conn()


class _Watched:
    """A request body that knows whether it was handed to the socket: before that, the provider cannot have acted."""

    def __init__(self, body: bytes, at_most: float, leave: Callable[[], None] | None, watchdog: "_Watchdog") -> None:
        self._body = body
        self._at_most = at_most
        self._leave = leave
        self._watchdog = watchdog
        self._began = time.monotonic()
        self.handed_over = False
        self.kept_by: Exception | None = None
        """What `leave` raised."""
        self.socket: socket.socket | None = None
        self.is_reusing = False
        """Whether the connection has carried another request before."""
        self.missed_its_connection = False
        """A kept connection was no longer silent when the request was to leave."""

    def __iter__(self) -> Iterator[bytes]:
        if time.monotonic() - self._began > self._at_most:
            # urllib3's timeout is for each address of a host: many can take longer than the caller has.
            raise TimeoutError
        if self._leave is not None:
            self._watchdog.leave(self)
            try:
                self._leave()
            except Exception as why:
                self.kept_by = why
                raise
            self._watchdog.watch(self)
        if self.socket is not None and not _is_silent(self.socket, self.socket.recv):
            # Whatever that is, it answers something else, or nothing.
            self.missed_its_connection = self.is_reusing
            raise ConnectionAbortedError
        self.handed_over = True
        yield self._body


class _Watchdog:
    """Cuts what lasts longer than so many seconds: urllib3's timeouts bound each read, not their sum, and an answer may
    drip for hours. One thread for all exchanges, which comes when there are some and goes after them.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until: dict[_Watched, float] = {}
        self._is_awake = False

    def watch(self, exchange: _Watched) -> None:
        """From now on, for so many seconds."""
        with self._lock:
            self._until[exchange] = time.monotonic() + self._seconds
            if not self._is_awake:
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
                self._is_awake = True

    def leave(self, exchange: _Watched) -> None:
        """It is over, or may take its time: it is not cut from now on."""
        with self._lock:
            self._until.pop(exchange, None)

    def _run(self) -> None:
        try:
            while (seconds := self._cut()) is not None:
                # All have as long, so nothing that comes meanwhile is due before this is over.
                time.sleep(seconds)
        except BaseException:
            # Whatever it was: the next exchange has a watchdog again.
            self._is_awake = False
            raise

    def _cut(self) -> float | None:
        """Cuts what is due. Returns the seconds until the next may be, None where there is nothing to watch."""
        with self._lock:
            now = time.monotonic()
            for exchange in [each for each, until in self._until.items() if until <= now]:
                del self._until[exchange]
                if exchange.socket is not None:
                    _end(exchange.socket)
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


class _Connection(HTTPConnection):
    """Shows the body its socket, and is not trusted after a long rest."""

    response_class = _Answer
    _used_at = 0.0
    _is_reused = False
    _body: _Watched | None = None
    _head = b""

    def connect(self) -> None:
        self._is_reused = False
        super().connect()

    def request(self, method: str, url: str, body: Any = None, *args: Any, **more: Any) -> None:
        if self.is_closed:
            self.connect()
        self._body, body.socket, body.is_reusing = body, self.sock, self._is_reused
        try:
            super().request(method, url, body, *args, **more)
        except (BrokenPipeError, ConnectionResetError):
            if body.handed_over:
                raise
            # These two urllib3 passes over and waits for an answer, to a request that has not left.
            raise ConnectionAbortedError from None
        self._used_at = time.monotonic()
        self._is_reused = True

    def send(self, data: Any) -> None:
        """Head and body in one: what a provider says to a head alone would come in between, and look like a stray."""
        if self._body is not None and not self._body.handed_over:
            self._head += data
            return
        head, self._head = self._head, b""
        super().send(head + data)

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() - self._used_at < IDLE_SECONDS


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _is_silent(connected: socket.socket, read: Callable[[int], bytes | None]) -> bool:
    """Whether nothing is there to be read, not even the end. What TLS says to itself (session tickets) is nothing."""
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


def _read(response: urllib3.BaseHTTPResponse) -> tuple[bytes, bool]:
    """At most 64 KiB of the body, unpacked, and whether that is all of it. A body that drips or breaks off is not."""
    packed, ended = bytearray(), False
    with suppress(HTTPError, OSError, ValueError):
        while not ended and len(packed) <= LARGEST_BODY:
            packed += (more := response.read1(8192, decode_content=False))
            ended = not more
    if not ended:
        response.close()
    body, whole = _unpacked(bytes(packed), response.headers.get("content-encoding", "identity"))
    framed = response.headers.get("transfer-encoding", "identity").lower() in ("identity", "chunked")
    return body[:LARGEST_BODY], ended and framed and whole and len(body) <= LARGEST_BODY


def _unpacked(body: bytes, coding: str) -> tuple[bytes, bool]:
    # We ask for no coding at all. urllib3 would undo some, and not say that a body ends before its end.
    if not body or coding.strip().lower() in ("", "identity"):
        return body, True
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        inside = inflate.decompress(body, LARGEST_BODY + 1)
    except zlib.error:
        return body, False
    # Packed twice, it is not read yet.
    return inside, inflate.eof and not inflate.unused_data and not inside.startswith(b"\x1f\x8b")


def _cause(error: BaseException) -> str:
    inner = error.args[-1] if error.args and isinstance(error.args[-1], BaseException) else None
    names = dict.fromkeys([type(error).__name__, *([type(inner).__name__] if inner else [])])
    return " / ".join(names)
