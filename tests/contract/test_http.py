"""The transport against a real server on this machine: every way an exchange fails, and nothing secret said of it."""

import gzip
import inspect
import logging
import re
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import pytest
import urllib3.exceptions

import relay.adapters.http
from relay.adapters.http import LARGEST_BODY, HttpTransport
from relay.errors import CredentialsError, NoAnswerError, NotSentError, TransportError, UnavailableError
from relay.observability import silence_libraries
from relay.ports import Reply, Request
from relay.providers import PROVIDERS
from tests.factories import CREDENTIALS, EMAIL, TOKEN, make_event

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing: a\r\n\r\n{}"
BODY = b'{"id":"evt-1"}'


@dataclass
class Server:
    """Listens on this machine; `serve` is handed each connection, in a thread of its own."""

    serve: Callable[["Connection"], None]
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.connections += 1
                self._open.append(accepted)
                self._threads.append(threading.Thread(target=self._handle, args=(accepted,)))
                self._threads[-1].start()

    def _handle(self, accepted: socket.socket) -> None:
        with suppress(OSError):
            self.serve(Connection(accepted, self))


@dataclass
class Connection:
    """One client at the server."""

    socket: socket.socket
    server: Server

    def read(self) -> bytes:
        """One whole request; empty when the client has gone."""
        got = b""
        while b"\r\n\r\n" not in got:
            got += (more := self.socket.recv(65_536))
            if not more:
                return b""
        head, _, body = got.partition(b"\r\n\r\n")
        (length,) = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        while len(body) < length:
            body += (more := self.socket.recv(65_536))
            if not more:
                return b""
        self.server.requests.append(head + b"\r\n\r\n" + body)
        return body

    def send(self, answer: bytes) -> None:
        self.socket.sendall(answer)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def answering(*answers: bytes) -> Callable[[Connection], None]:
    """Keeps the connection and gives each request the next answer, the last one for ever."""

    def serve(connection: Connection) -> None:
        remaining = list(answers)
        while connection.read():
            connection.send(remaining.pop(0) if len(remaining) > 1 else remaining[0])

    return serve


def closing(answer: bytes) -> Callable[[Connection], None]:
    """One answer, then the end of the connection."""

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(answer)
        connection.socket.shutdown(socket.SHUT_RDWR)

    return serve


@contextmanager
def transport(connections: int = 10, connect: float = 2.0, read: float = 2.0) -> Iterator[HttpTransport]:
    made = HttpTransport(connections, connect, read)
    yield made
    made._pool.clear()


def request_to(port: int, scheme: str = "http", host: str = "127.0.0.1", body: bytes = BODY) -> Request:
    url = f"{scheme}://{host}:{port}/core/v3/stores/s%2F1/events?access_token={TOKEN}"
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "customer-event-relay",
        "Authorization": f"Bearer {TOKEN}",
    }
    return Request("POST", url, headers, body, secrets=(TOKEN,))


def exchange(serve: Callable[[Connection], None], **limits: Any) -> Reply:
    with Server(serve) as server, transport(**limits) as client:
        return client.send(request_to(server.port))


def failure(serve: Callable[[Connection], None], **limits: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        exchange(serve, **limits)
    assert_says_nothing(caught.value)
    return caught.value


def assert_says_nothing(error: TransportError) -> None:
    """No URL, no token and no address, in the error or in what a log would make of it."""
    for said in (str(error), repr(error), "".join(traceback.format_exception(error))):
        assert TOKEN not in said
        assert "access_token" not in said.replace("access_token={TOKEN}", "")
        assert "stores/s" not in said.replace("/core/v3/stores/s%2F1/events", "")
    assert str(error)


# ------------------------------------------------------------------------------------------------ what goes out


def test_the_request_on_the_wire() -> None:
    """Exactly what was built: path and query untouched, the body in one piece, its length said."""
    with Server(answering(OK)) as server, transport() as client:
        client.send(request_to(server.port))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert line == f"POST /core/v3/stores/s%2F1/events?access_token={TOKEN} HTTP/1.1".encode()
    assert body == BODY
    given = [header.partition(b": ")[0].lower() for header in headers]
    assert len(given) == len(set(given))
    assert b"transfer-encoding" not in given
    assert f"Content-Length: {len(BODY)}".encode() in headers
    assert b"User-Agent: customer-event-relay" in headers


def test_the_reply() -> None:
    """Status, headers with lower-case names, body."""
    reply = exchange(answering(OK))
    assert (reply.status, reply.headers["x-thing"], reply.body) == (200, "a", b"{}")


@pytest.mark.parametrize("status", [200, 201, 204, 400, 401, 404, 422, 429, 500, 503, 599])
def test_any_status_is_a_reply(status: int) -> None:
    """What a status means is the provider's business; nothing is raised and nothing is sent again."""
    with Server(answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n" % status)) as server:
        with transport() as client:
            assert client.send(request_to(server.port)).status == status
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """A redirect would carry the token elsewhere."""
    with Server(answering(b"HTTP/1.1 %d X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status)) as server:
        with transport() as client:
            assert client.send(request_to(server.port)).status == status
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("header", ["Location", "Refresh", "Content-Location"])
def test_nobody_else_is_ever_asked(status: int, header: str) -> None:
    """GIVEN an answer that sends to a second server WHEN it is read THEN nobody so much as connects there."""
    with Server(answering(OK)) as second:
        elsewhere = f"{'0; url=' if header == 'Refresh' else ''}http://127.0.0.1:{second.port}/?access_token={TOKEN}"
        answer = f"HTTP/1.1 {status} X\r\n{header}: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode()
        with Server(answering(answer)) as first, transport() as client:
            assert client.send(request_to(first.port)).status == status
        assert len(first.requests) == 1
        assert (second.connections, second.requests) == (0, [])


INJECTED = [
    "\r\nX-Injected: 1",
    "\nX-Injected: 1",
    "\rX-Injected: 1",
    "\r\n\r\nPOST /injected HTTP/1.1\r\nX-Injected: 1\r\n\r\n",
    "\x00X-Injected: 1",
    "\u560d\u560aX-Injected: 1",  # what is a line's end to whoever keeps the low bytes only
    "\u2028X-Injected: 1",
]


def heads(server: Server) -> list[list[bytes]]:
    """The first lines of what the server got, up to each empty line, without the bodies."""
    return [request.partition(b"\r\n\r\n")[0].split(b"\r\n") for request in server.requests]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("injected", INJECTED, ids=ascii)
def test_an_event_writes_no_header(provider: str, injected: str) -> None:
    """GIVEN an event with lines of HTTP in all that it says THEN they are content: of the body, or of the path."""
    text = f"x{injected}"
    customer = {"email": EMAIL, "id": text, "provider_ids": {provider: text}, "properties": {"name": text}}
    event = make_event(id=text, customer=customer, properties={"text": text})
    with Server(answering(OK)) as server, transport() as client:
        build = PROVIDERS[provider](f"http://127.0.0.1:{server.port}").build
        client.send(build(make_event(), CREDENTIALS))
        client.send(build(event, CREDENTIALS))
    assert server.connections == 1
    plain, hostile = heads(server)
    names = [[line.partition(b":")[0] for line in head[1:]] for head in (plain, hostile)]
    assert names[0] == names[1]
    assert all(re.fullmatch(rb"POST /[!-~]* HTTP/1\.1", head[0]) for head in (plain, hostile))
    assert not [line for line in hostile if b"X-Injected:" in line]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("injected", INJECTED, ids=ascii)
def test_a_secret_writes_no_header(provider: str, injected: str) -> None:
    """GIVEN a secret with lines of HTTP in it THEN no request goes out, or one in which they are content."""
    credentials = {name: f"{value}{injected}" for name, value in CREDENTIALS.items()}
    refused = ""
    with Server(answering(OK)) as server, transport() as client:
        try:
            client.send(PROVIDERS[provider](f"http://127.0.0.1:{server.port}").build(make_event(), credentials))
        except (CredentialsError, NotSentError) as error:
            refused = "".join(traceback.format_exception(error))
    assert TOKEN not in refused
    assert len(server.requests) == (not refused)
    for head in heads(server):
        assert not [line for line in head if line.startswith(b"X-Injected")]
        assert [line for line in head if line.startswith(b"POST ")] == head[:1]


# ------------------------------------------------------------------------------------------------ never sent


def test_connection_refused() -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with transport() as client, pytest.raises(NotSentError) as caught:
        client.send(request_to(port))
    assert_says_nothing(caught.value)


def test_a_name_that_does_not_resolve() -> None:
    """DNS knows no such host."""
    with transport() as client, pytest.raises(NotSentError) as caught:
        client.send(request_to(443, "https", "nope.invalid"))
    assert_says_nothing(caught.value)
    assert "nope.invalid" not in str(caught.value)


def test_a_connection_that_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a host whose name or addresses take longer than urllib3 bounds THEN the body stays here."""
    resolve = socket.getaddrinfo

    def slow(*arguments: Any, **more: Any) -> Any:
        time.sleep(0.4)
        return resolve(*arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    received: list[bytes] = []
    serve = lambda connection: received.append(connection.socket.recv(65_536))  # noqa: E731
    with Server(serve) as server, transport(connect=0.2) as client, pytest.raises(NotSentError) as caught:
        client.send(request_to(server.port))
    assert_says_nothing(caught.value)
    assert not any(BODY in each for each in received)


def test_tls_against_a_server_that_speaks_none() -> None:
    """No handshake, no request."""

    def serve(connection: Connection) -> None:
        connection.socket.recv(1024)
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.socket.shutdown(socket.SHUT_RDWR)

    with Server(serve) as server, transport() as client, pytest.raises(NotSentError) as caught:
        client.send(request_to(server.port, "https"))
    assert_says_nothing(caught.value)
    assert server.connections == 1, "tried again behind our back"


def test_tls_that_never_answers() -> None:
    """A handshake that hangs is a connection that never was."""
    with Server(hang) as server:
        with transport(connect=0.2, read=0.2) as client, pytest.raises(NotSentError) as caught:
            client.send(request_to(server.port, "https"))
        assert_says_nothing(caught.value)


@pytest.mark.parametrize(
    ("scheme", "host", "header"),
    [
        ("ftp", "127.0.0.1", "x"),
        ("http", "[::1", "x"),
        ("http", "a" * 300, "x"),
        ("http", "127.0.0.1", f"{TOKEN}\nx: y"),
    ],
)
def test_a_request_that_cannot_be_sent(scheme: str, host: str, header: str) -> None:
    """A wrong address or header is refused before anything is sent, and not quoted."""
    with Server(answering(OK)) as server, transport() as client:
        url = f"{scheme}://{host}:{server.port}/?access_token={TOKEN}"
        with pytest.raises(NotSentError) as caught:
            client.send(Request("POST", url, {"Authorization": header}, BODY))
    assert_says_nothing(caught.value)
    assert server.requests == []


# ------------------------------------------------------------------------------------------------ sent, no answer


def hang(connection: Connection) -> None:
    """Reads whatever comes, until the client has gone."""
    while connection.socket.recv(65_536):
        pass


def test_a_read_timeout() -> None:
    """The provider has it all and says nothing."""
    assert isinstance(failure(hang, read=0.2), NoAnswerError)


def test_reset_after_the_request() -> None:
    """Read, then gone: it may have been acted on."""

    def serve(connection: Connection) -> None:
        connection.read()
        connection.reset()

    assert isinstance(failure(serve), NoAnswerError)


def test_closed_after_the_request() -> None:
    """Read, then closed without a word."""
    assert isinstance(failure(closing(b"")), NoAnswerError)


def test_reset_before_the_request() -> None:
    """Accepted and reset at once: an error either way, unknown only if the body had been handed over."""
    assert isinstance(failure(Connection.reset), NotSentError | NoAnswerError)


def test_reset_in_the_middle_of_the_request() -> None:
    """A reset while the body is written is an error, never a delivery."""

    def serve(connection: Connection) -> None:
        connection.socket.recv(1024)
        connection.reset()

    with Server(serve) as server, transport() as client, pytest.raises(TransportError) as caught:
        client.send(request_to(server.port, body=b"x" * 20_000_000))
    assert_says_nothing(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"HELLO\r\n\r\n",
        b"\x00\xff\xfe\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 99999 X\r\n\r\n",
        b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200",
    ],
    ids=range(11),
)
def test_a_garbled_answer(answer: bytes) -> None:
    """What cannot be read is no answer, or at most a status; never an exception of somebody else's."""
    try:
        reply = exchange(closing(answer))
    except NoAnswerError as error:
        assert_says_nothing(error)
    else:
        assert reply.status == 200


def test_a_head_that_drips() -> None:
    """GIVEN an answer whose head comes byte by byte without end
    WHEN the transport's longest time has passed
    THEN it gives up: an exchange has a bound.
    """
    client_done, all_sent = threading.Event(), threading.Event()

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(60):
            connection.send(b"a")
            if client_done.wait(0.05):
                return
        all_sent.set()

    with Server(serve) as server, transport(connect=0.2, read=0.3) as client:
        # Cut off in the middle of its head, an answer may still have had a status.
        with suppress(NoAnswerError):
            assert client.send(request_to(server.port)).status == 200
        assert not all_sent.is_set(), "the client waited for the server's last byte"
        client_done.set()


# ------------------------------------------------------------------------------------------------ bodies


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"\xff\xfe\x00", b"[1", b"null"])
def test_a_body_that_is_no_json(body: bytes) -> None:
    """Bytes are handed on as they came."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert exchange(answering(answer)).body == body


def test_an_oversized_body() -> None:
    """64 KiB of it are read, the rest is left; the status counts."""
    size = 5_000_000
    reply = exchange(closing(b"HTTP/1.1 422 X\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)))
    assert (reply.status, len(reply.body)) == (422, LARGEST_BODY)


def test_ten_megabytes() -> None:
    """GIVEN a body of 10 MB THEN it is not even taken off the wire: the connection ends after 64 KiB."""
    piece, taken = b"x" * 65_536, 0

    def serve(connection: Connection) -> None:
        nonlocal taken
        connection.read()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        connection.send(b"HTTP/1.1 500 X\r\nContent-Length: %d\r\n\r\n" % (160 * len(piece)))
        for _ in range(160):
            connection.send(piece)
            taken += len(piece)

    reply = exchange(serve)
    assert (reply.status, len(reply.body), reply.complete) == (500, LARGEST_BODY, False)
    assert taken < 160 * len(piece)


def test_a_body_without_end() -> None:
    """A chunked body that never ends is cut like any other."""

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    reply = exchange(serve)
    assert (reply.status, len(reply.body)) == (200, LARGEST_BODY)


def test_a_body_that_unpacks_to_much_more() -> None:
    """A few kilobytes that unpack to megabytes are cut at 64 KiB too."""
    packed = gzip.compress(bytes(20_000_000))
    reply = exchange(
        closing(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed))
    )
    assert (reply.status, len(reply.body)) == (200, LARGEST_BODY)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\nonly this",
        b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!",
        b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_broken_body(rest: bytes) -> None:
    """The status has decided already: what is readable of the body is all there is."""
    assert exchange(closing(b"HTTP/1.1 201 Created\r\n" + rest)).status == 201


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 8192\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n2000\r\n", b"Connection: close\r\n\r\n"],
    ids=["length", "chunked", "close"],
)
def test_a_body_that_drips(framing: bytes) -> None:
    """GIVEN a body that comes byte by byte without end
    WHEN the transport's longest time has passed
    THEN it stops reading and keeps the status: an exchange has a bound.
    """
    client_done, all_sent = threading.Event(), threading.Event()

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\n" + framing)
        for _ in range(60):
            connection.send(b"x")
            if client_done.wait(0.05):
                return
        all_sent.set()

    with Server(serve) as server, transport(connect=0.2, read=0.3) as client:
        assert client.send(request_to(server.port)).status == 200
        assert not all_sent.is_set(), "the client waited for the server's last byte"
        client_done.set()


def test_a_body_that_stops_coming() -> None:
    """Nothing more for the read time-out: the status and what had come."""

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        hang(connection)

    assert exchange(serve, read=0.2).status == 200


# ------------------------------------------------------------------------------------------------ connections


def test_a_connection_is_kept() -> None:
    """Exchange after exchange over the same connection."""
    with Server(answering(OK)) as server, transport() as client:
        for _ in range(5):
            client.send(request_to(server.port))
        assert (server.connections, len(server.requests)) == (1, 5)


def test_a_connection_that_was_idle_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a connection unused for long, as after a freeze THEN it is not trusted with the next request."""
    with Server(answering(OK)) as server, transport() as client:
        client.send(request_to(server.port))
        monkeypatch.setattr(relay.adapters.http, "IDLE_SECONDS", 0.05)
        time.sleep(0.1)
        client.send(request_to(server.port))
        client.send(request_to(server.port))
        assert (server.connections, len(server.requests)) == (2, 3)


def test_each_connection_rests_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN two connections, one of them busy all the time THEN the other is not trusted for that."""
    both = threading.Barrier(2, timeout=10)

    def serve(connection: Connection) -> None:
        while connection.read():
            with suppress(threading.BrokenBarrierError):
                both.wait(1)
            connection.send(OK)

    with Server(serve) as server, transport() as client:

        def side_by_side() -> None:
            threads = [threading.Thread(target=client.send, args=(request_to(server.port),)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        side_by_side()
        both.abort()
        monkeypatch.setattr(relay.adapters.http, "IDLE_SECONDS", 0.5)
        for _ in range(4):
            time.sleep(0.2)
            client.send(request_to(server.port))
        assert server.connections == 2
        both.reset()
        side_by_side()
        assert server.connections == 3


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000, b"GARBAGE\r\n\r\n"]
)
def test_a_connection_in_an_unknown_state_is_not_used_again(answer: bytes) -> None:
    """What was left of one answer never becomes the beginning of the next."""
    with Server(answering(answer, OK)) as server, transport() as client:
        with suppress(NoAnswerError):
            client.send(request_to(server.port))
        server.serve = answering(OK)
        assert client.send(request_to(server.port)).body == b"{}"
        assert server.connections == 2


def test_ten_at_a_time() -> None:
    """Ten threads, ten connections, all at once, and again over the same ten."""
    together = threading.Barrier(10, timeout=20)

    def serve(connection: Connection) -> None:
        while connection.read():
            together.wait()
            connection.send(OK)

    statuses: list[int] = []
    with Server(serve) as server, transport(connections=10, read=20.0) as client:
        for _ in range(2):
            threads = [
                threading.Thread(target=lambda: statuses.append(client.send(request_to(server.port)).status))
                for _ in range(10)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert (server.connections, len(server.requests)) == (10, 20)
    assert statuses == [200] * 20


def test_the_longest_exchange() -> None:
    """What the deadline is planned with: connecting and reading."""
    with transport(connect=1.5, read=4.0) as client:
        assert client.longest >= 5.5


# ------------------------------------------------------------------------------------------------ leaving


def listening(heard: list[bytes]) -> Callable[[Connection], None]:
    """Notes whatever comes, and answers what ends in a whole body."""

    def serve(connection: Connection) -> None:
        while got := connection.socket.recv(65_536):
            heard.append(got)
            if BODY in got:
                connection.send(OK)

    return serve


def test_a_request_leaves_when_it_is_told_to() -> None:
    """GIVEN a connection, new or kept WHEN the request is about to leave
    THEN `leave` is called, once, and not a byte of the request is on its way before.
    """
    heard: list[bytes] = []
    before: list[tuple[int, int]] = []
    with Server(listening(heard)) as server, transport() as client:

        def leave() -> None:
            time.sleep(0.1)
            before.append((server.connections, len(heard)))

        for _ in range(3):
            assert client.send(request_to(server.port), leave).status == 200
    assert before == [(1, 0), (1, 1), (1, 2)]
    assert all(each.startswith(b"POST ") and each.endswith(BODY) for each in heard)


def test_there_is_nothing_to_leave_for_without_a_connection() -> None:
    """GIVEN nobody who listens THEN no turn is taken for it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    called: list[None] = []
    with transport() as client, pytest.raises(NotSentError):
        client.send(request_to(port), lambda: called.append(None))
    assert called == []


class _NotNowError(Exception):
    """The caller's own."""


@pytest.mark.parametrize(
    "why",
    [
        _NotNowError("no turn"),
        UnavailableError("DynamoDB"),
        OSError("x"),
        BrokenPipeError("x"),
        TimeoutError("x"),
        ValueError("x"),
        urllib3.exceptions.ProtocolError("x"),
        NoAnswerError("x"),
    ],
    ids=lambda why: type(why).__name__,
)
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
def test_what_keeps_a_request_from_leaving_comes_through(why: Exception, kept: bool) -> None:
    """GIVEN a `leave` that raises, whatever it is THEN its caller gets just that, and nothing was sent; and the next
    request is whole, alone, and gets its own answer.
    """
    heard: list[bytes] = []

    def stay() -> None:
        raise why

    with Server(listening(heard)) as server, transport() as client:
        if kept:
            client.send(request_to(server.port))
        with pytest.raises(type(why)) as caught:
            client.send(request_to(server.port), stay)
        assert caught.value is why
        assert len(heard) == kept
        assert client.send(request_to(server.port)).body == b"{}"
        # What was made ready for the first went with it: its head must not stand before another's.
        assert server.connections == 2
        assert heard[-1].count(b"POST ") == 1


@pytest.mark.long
def test_the_wait_to_leave_is_not_the_exchange_s() -> None:
    """GIVEN a turn that is longer away than an exchange may take THEN the request has its whole time all the same."""

    def serve(connection: Connection) -> None:
        while connection.read():
            time.sleep(0.3)
            connection.send(OK)

    with Server(serve) as server, transport(connect=0.2, read=0.4) as client:
        for _ in range(2):
            assert client.send(request_to(server.port), lambda: time.sleep(0.8)).status == 200
        assert server.connections == 1


def test_an_exchange_has_its_bound_also_after_a_wait() -> None:
    """GIVEN a wait to leave and an answer that drips without end THEN the bound counts from when it left."""

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.send(b"a")
            time.sleep(0.05)

    with Server(serve) as server, transport(connect=0.2, read=0.3) as client:
        began = time.monotonic()
        with suppress(NoAnswerError):
            client.send(request_to(server.port), lambda: time.sleep(0.4))
        assert 0.9 <= time.monotonic() - began < 2.0


def test_one_thread_watches_all_exchanges() -> None:
    """GIVEN exchanges side by side, one of which drips WHEN its time is over THEN it alone is cut, by one thread for
    all, which is gone when there is nothing to watch.
    """
    before, seen = set(threading.enumerate()), list[int]()

    def watchdogs() -> int:
        return sum(thread.name == "watchdog" for thread in set(threading.enumerate()) - before)

    def serve(connection: Connection) -> None:
        while body := connection.read():
            seen.append(watchdogs())
            connection.send(b"HTTP/1.1 200 OK\r\n" if body == b"drips" else OK)
            with suppress(OSError):
                while body == b"drips":
                    connection.send(b"a")
                    time.sleep(0.02)

    outcomes: dict[str, list[object]] = {"drips": [], "well": []}

    def ask(client: HttpTransport, body: str, times: int) -> None:
        for _ in range(times):
            try:
                outcomes[body].append(client.send(request_to(server.port, body=body.encode())).status)
            except NoAnswerError as error:
                outcomes[body].append(error.cause)
            time.sleep(0.05)

    with Server(serve) as server, transport(connect=0.2, read=0.3) as client:
        threads = [threading.Thread(target=ask, args=(client, *each)) for each in (("drips", 1), ("well", 30))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes["well"] == [200] * 30
    assert len(outcomes["drips"]) == 1
    assert outcomes["drips"] != [200]
    assert set(seen) <= {1}
    deadline = time.monotonic() + 5
    while watchdogs() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watchdogs() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watchdog_that_died_has_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a watchdog that ended by what nobody thought of WHEN the next answer drips THEN it is cut all the same."""
    died = threading.Event()

    def fail(_connected: object) -> None:
        monkeypatch.undo()
        died.set()
        raise RuntimeError

    def drip(connection: Connection) -> None:
        while connection.read():
            connection.send(b"HTTP/1.1 200 OK\r\n")
            with suppress(OSError):
                for _ in range(80):
                    connection.send(b"a")
                    time.sleep(0.02)

    monkeypatch.setattr("relay.adapters.http._end", fail)
    with Server(drip) as server, transport(connect=0.2, read=0.3) as client:
        with pytest.raises(NoAnswerError):
            client.send(request_to(server.port))
        assert died.is_set()
        began = time.monotonic()
        with pytest.raises(NoAnswerError):
            client.send(request_to(server.port))
        assert time.monotonic() - began < 1.2


class Aside:
    """What a server says, or its end, on a connection whose request waits to leave."""

    def __init__(self, stray: bytes) -> None:
        self._stray = stray
        self._waits, self._said = threading.Event(), threading.Event()

    def speak(self, connection: Connection) -> None:
        """The server's part."""
        self._waits.wait(10)
        connection.send(self._stray)
        if not self._stray:
            connection.socket.shutdown(socket.SHUT_RDWR)
        self._said.set()
        hang(connection)

    def wait(self) -> None:
        """The request's."""
        self._waits.set()
        assert self._said.wait(10)
        time.sleep(0.05)


@pytest.mark.parametrize("stray", [OK, b""], ids=["an answer", "the end"])
def test_a_connection_that_is_not_silent_after_the_wait(stray: bytes) -> None:
    """GIVEN a connection on which something comes, or which ends, while the request waits THEN it does not leave."""
    aside = Aside(stray)
    with Server(aside.speak) as server, transport() as client:
        with pytest.raises(NotSentError) as caught:
            client.send(request_to(server.port), aside.wait)
        assert_says_nothing(caught.value)
        assert server.requests == []


@pytest.mark.parametrize("stray", [OK, b""], ids=["an answer", "the end"])
def test_a_kept_connection_that_ends_while_a_request_waits(stray: bytes) -> None:
    """GIVEN a connection that is kept, on which something comes, or which ends, while the next request waits to leave
    THEN it leaves on another one, once, and waits for no second turn.
    """
    aside, turns = Aside(stray), list[int]()

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(OK)
        server.serve = answering(OK)
        aside.speak(connection)

    def leave() -> None:
        turns.append(len(server.requests))
        aside.wait()

    with Server(serve) as server, transport() as client:
        client.send(request_to(server.port))
        assert client.send(request_to(server.port), leave).status == 200
        assert client.send(request_to(server.port)).status == 200
        assert (turns, server.connections, len(server.requests)) == ([1], 2, 3)


def test_one_other_connection_is_tried_and_no_more() -> None:
    """GIVEN a kept connection that ends while the request waits, and a server that ends the next one too, at once
    THEN the request reaches nobody, and no third connection is made.
    """

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(OK)
        waiting.wait(10)

    def leave() -> None:
        server.serve = lambda connection: connection.socket.shutdown(socket.SHUT_RDWR)
        waiting.set()
        for each in server._open:
            each.shutdown(socket.SHUT_RDWR)
        time.sleep(0.05)

    waiting = threading.Event()
    with Server(serve) as server, transport() as client:
        client.send(request_to(server.port))
        with pytest.raises(TransportError) as caught:
            client.send(request_to(server.port), leave)
        assert_says_nothing(caught.value)
        assert (server.connections, len(server.requests)) == (2, 1)


# ------------------------------------------------------------------------------------------------ every exception

EXCEPTIONS = [
    exception
    for _, exception in inspect.getmembers(urllib3.exceptions, inspect.isclass)
    if issubclass(exception, Exception)
    and not issubclass(exception, Warning)
    and exception.__module__ == urllib3.exceptions.__name__
]


class StubPool:
    """A pool that fails with a given error, before or after it took the body."""

    def __init__(self, error: BaseException, *, takes_body: bool) -> None:
        self.error = error
        self.takes_body = takes_body

    def request(self, method: str, url: str, body: Any = None, **_: Any) -> Any:
        if self.takes_body:
            assert b"".join(body) == BODY
        raise self.error

    def clear(self) -> None:
        """Nothing to clear."""


def made(exception: type[Exception]) -> Exception:
    """An instance with the URL in its text, as urllib3 makes them, whatever its constructor asks for."""
    error = exception.__new__(exception)
    error.args = (f"Max retries exceeded with url: /stores/s?access_token={TOKEN}",)
    return error


def test_urllib3_has_the_exceptions_we_know_of() -> None:
    """The list below is not empty by mistake."""
    assert {urllib3.exceptions.MaxRetryError, urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.SSLError} <= set(
        EXCEPTIONS
    )
    assert all(issubclass(each, urllib3.exceptions.HTTPError | ValueError) for each in EXCEPTIONS), (
        "one that the transport does not catch"
    )


@pytest.mark.parametrize(
    "exception", [*EXCEPTIONS, OSError, ConnectionResetError, TimeoutError, ValueError, UnicodeError]
)
@pytest.mark.parametrize("takes_body", [False, True])
def test_every_exception_is_mapped(exception: type[Exception], takes_body: bool) -> None:
    """Before the body was handed over it cannot have arrived; after it, nobody knows."""
    client = HttpTransport(1)
    client._pool = StubPool(made(exception), takes_body=takes_body)  # type: ignore[assignment]
    with pytest.raises(TransportError) as caught:
        client.send(request_to(1))
    assert type(caught.value) is (NoAnswerError if takes_body else NotSentError)
    assert exception.__name__ in caught.value.cause
    assert caught.value.__cause__ is None
    assert_says_nothing(caught.value)


@pytest.mark.parametrize("exception", [*EXCEPTIONS, OSError, ValueError])
def test_every_exception_while_reading(exception: type[Exception]) -> None:
    """Once there is a status, trouble with the body changes nothing."""

    def stream(_: int) -> Iterator[bytes]:
        yield b"{"
        raise made(exception)

    def read1(*_: object, **__: object) -> bytes:
        raise made(exception)

    closed: list[bool] = []
    response = SimpleNamespace(
        status=201,
        headers={"X-A": "b"},
        stream=stream,
        read=read1,
        read1=read1,
        close=lambda: closed.append(True),
        release_conn=lambda: None,
    )
    client = HttpTransport(1)
    client._pool = SimpleNamespace(request=lambda *_, **__: response, clear=lambda: None)  # type: ignore[assignment]
    reply = client.send(request_to(1))
    assert (reply.status, reply.headers) == (201, {"x-a": "b"})
    assert closed


def test_the_cause_names_what_was_inside() -> None:
    """A reset is told from a time-out by the names of the errors, not by their text."""
    inner = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset by peer"))
    client = HttpTransport(1)
    client._pool = StubPool(inner, takes_body=True)  # type: ignore[assignment]
    with pytest.raises(NoAnswerError, match="ProtocolError / ConnectionResetError"):
        client.send(request_to(1))


# ------------------------------------------------------------------------------------------------ logs

SCENES = {
    "delivered": answering(OK),
    "garbage headers": closing(b"HTTP/1.1 200 OK\r\nthis is no header\r\n: neither\r\nContent-Length: 2\r\n\r\n{}"),
    "garbage": closing(b"HELLO\r\n\r\n"),
    "redirect": answering(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
    "throttled": answering(b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
    "closed": closing(b""),
}


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_logged(scene: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """At the most talkative level, urllib3 still says nothing: it would write the URL, and the token is in it."""
    silence_libraries()
    caplog.set_level(logging.DEBUG)
    with suppress(NoAnswerError):
        exchange(SCENES[scene])
    assert caplog.text == ""
    assert TOKEN not in "".join(capfd.readouterr())


def test_urllib3_would_log_the_url(caplog: pytest.LogCaptureFixture) -> None:
    """Why the test above is worth having."""
    caplog.set_level(logging.DEBUG)
    exchange(SCENES["garbage headers"])
    assert TOKEN in caplog.text


def test_the_machine_is_left_alone() -> None:
    """No proxy of the environment is used: the token goes to the provider and nobody else."""
    with Server(answering(OK)) as server, pytest.MonkeyPatch.context() as patch, transport() as client:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        assert client.send(request_to(server.port)).status == 200
