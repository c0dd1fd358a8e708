"""Conversations over a kept connection: whatever a server says, and whenever, an answer is its own request's."""

import fcntl
import gzip
import ipaddress
import ssl
import struct
import termios
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import IPPROTO_TCP, SHUT_RDWR, SHUT_WR, TCP_INFO, TCP_NODELAY, create_server, socket
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import event, given
from hypothesis import strategies as st

from relay.adapters.http import LARGEST_BODY, HttpTransport
from relay.errors import NoAnswerError, NotSentError, TransportError
from relay.outcome import Outcome
from relay.ports import Reply, Request
from relay.providers import PROVIDERS
from tests.contract.test_http import Connection, Server, answering, closing, exchange, failure, hang, transport
from tests.drawing import drawn
from tests.kinds import REFUSES

WHOLE = b'{"success": true}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + WHOLE
STRAY = b"HTTP/1.1 200 OK\r\nX-Tag: stray\r\nContent-Length: 5\r\n\r\nstray"

TCP_CLOSED = 7


class Aside(str):
    """A header's value that does something while it is written: the connection is chosen, the body is still here."""

    act: Callable[[], object]

    def encode(self, *codec: Any, **more: Any) -> bytes:
        self.act()
        return super().encode(*codec, **more)


def request(port: int, tag: str = "a", meanwhile: Callable[[], object] | None = None, scheme: str = "http") -> Request:
    headers = {"Content-Type": "text/plain"}
    if meanwhile:
        headers["X-Aside"] = aside = Aside("x")
        aside.act = meanwhile
    return Request("POST", f"{scheme}://127.0.0.1:{port}/", headers, tag.encode())


def arrived(at: socket) -> None:
    """Waits until all that was sent lies at the other end, or the other end is gone."""
    for _ in range(5000):
        on_its_way = struct.unpack("i", fcntl.ioctl(at, termios.TIOCOUTQ, bytes(4)))[0]
        if not on_its_way or at.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0] == TCP_CLOSED:
            return
        time.sleep(0.001)
    raise AssertionError("not taken")


def send_of(client: HttpTransport, what: Request) -> Reply | TransportError:
    try:
        return client.send(what)
    except TransportError as error:
        return error


# ------------------------------------------------------------------------------------------------------------- TLS


@dataclass
class TlsServer(Server):
    """The same behind TLS 1.3, which sends session tickets before anything else."""

    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def _handle(self, accepted: socket) -> None:
        with suppress(OSError):
            wrapped = self.context.wrap_socket(accepted, server_side=True)
            self._open.append(wrapped)
            self.serve(Connection(wrapped, self))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    """A server's side of TLS, made for this run and trusted by this process while the tests last."""
    pem = tmp_path_factory.mktemp("tls") / "server.pem"
    pem.write_bytes(self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(pem))
        yield context
    Path(pem).unlink()


def self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# ---------------------------------------------------------------------------------------------------- conversations

STRAYS = {
    "answer": STRAY,
    "long answer": b"HTTP/1.1 200 OK\r\nX-Tag: stray\r\nContent-Length: 20000\r\n\r\n" + b"s" * 20_000,
    "beginning": b"HTTP/1.1 200 OK\r\nX-Tag: stray\r\n",
    "interim head": b"HTTP/1.1 103 Early Hints\r\nX-Tag: stray\r\n\r\n",
    "end of line": b"\r\n",
    "noise": b"\x00\xff stray",
}
KEEPS = {"length", "chunked", "trailers", "no content", "1.0 keep-alive"}
"""Framings after which the connection is still good."""


@dataclass(frozen=True)
class Turn:
    """What the server makes of one request."""

    interim: tuple[int, ...] = ()
    framing: str = "length"
    size: int = 20
    packed: bool = False
    pieces: int = 1
    cut: float | None = None
    """The share of the answer that is sent before the connection ends."""
    resets: bool = False
    stray: str | None = None
    """What is said besides the answer..."""
    when: str = "with"
    """... `with` its last bytes, `after` them, `later`, when the client has its answer, or `early`, before it asks."""

    def content(self, tag: str) -> bytes:
        return b"" if self.framing == "no content" else tag.encode().ljust(self.size, b".")

    def answer(self, tag: str) -> bytes:
        lines = [f"X-Tag: {tag}"]
        body = self.content(tag)
        if self.packed:
            body = gzip.compress(body)
            lines.append("Content-Encoding: gzip")
        match self.framing:
            case "no content":
                return f"HTTP/1.1 204 No Content\r\n{lines[0]}\r\n\r\n".encode()
            case "chunked" | "trailers":
                lines.append("Transfer-Encoding: chunked")
                parts = [body[at : at + 3000] for at in range(0, len(body), 3000)]
                trailer = b"X-Tag: trailer\r\n" if self.framing == "trailers" else b""
                body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
            case "until the end":
                pass
            case _:
                lines.append(f"Content-Length: {len(body)}")
        if self.framing == "close":
            lines.append("Connection: close")
        if self.framing == "1.0 keep-alive":
            lines.append("Connection: keep-alive")
        version = "1.0" if self.framing.startswith("1.0") else "1.1"
        return "\r\n".join([f"HTTP/{version} 200 OK", *lines, "\r\n"]).encode() + body

    @property
    def is_whole(self) -> bool:
        return self.cut is None and self.size <= LARGEST_BODY

    @property
    def keeps(self) -> bool:
        """Whether it leaves the connection silent. What was said too early left none to answer on."""
        ends = self.cut is None and (self.packed or self.is_whole)
        return ends and self.framing in KEEPS and (self.stray is None or self.when == "early")


@dataclass
class Act:
    """A turn being played, and what the server saw of its request."""

    turn: Turn
    tag: str
    received: int = 0
    spoke_up: bool = False
    answered: threading.Event = field(default_factory=threading.Event)
    played: threading.Event = field(default_factory=threading.Event)

    def play(self, connection: Connection) -> None:
        try:
            self._play(connection)
        finally:
            self.played.set()

    def _play(self, connection: Connection) -> None:
        turn, answer = self.turn, self.turn.answer(self.tag)
        stray = STRAYS[turn.stray] if turn.stray else b""
        for status in turn.interim:
            connection.send(f"HTTP/1.1 {status} Wait\r\nX-Tag: interim\r\n\r\n".encode())
        if turn.cut is not None:
            answer = answer[: int(turn.cut * len(answer))]
        if turn.when == "with":
            answer += stray
        step = -(-len(answer) // turn.pieces) or 1
        for at in range(0, len(answer), step):
            connection.send(answer[at : at + step])
        if turn.when == "after":
            connection.send(stray)
        if turn.when == "later":
            assert self.answered.wait(10)
            connection.send(stray)
            arrived(connection.socket)
        if turn.cut is not None or turn.framing not in KEEPS:
            (connection.reset if turn.resets else lambda: connection.socket.shutdown(SHUT_RDWR))()
            raise ConnectionResetError


class Stage:
    """A server that plays each request's turn, on whatever connection it comes."""

    def __init__(self, turns: list[Turn]) -> None:
        self.acts = {f"evt-{number}": Act(turn, f"evt-{number}") for number, turn in enumerate(turns)}
        self._newest: Connection | None = None

    def serve(self, connection: Connection) -> None:
        connection.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._newest = connection
        while tag := connection.read().decode():
            self.acts[tag].received += 1
            self.acts[tag].play(connection)

    def interject(self, act: Act) -> None:
        """The server speaks up, or ends, before it is asked: once, also where it is asked again."""
        if act.turn.when == "early" and self._newest and not act.spoke_up:
            act.spoke_up = True
            with suppress(OSError):
                if act.turn.stray:
                    self._newest.send(STRAYS[act.turn.stray])
                    arrived(self._newest.socket)
                else:
                    self._newest.socket.shutdown(SHUT_WR)


plain_turns = st.builds(
    Turn,
    interim=st.lists(st.sampled_from([100, 102, 103, 104, 199]), max_size=3).map(tuple),
    framing=st.sampled_from(sorted(KEEPS)),
    size=st.sampled_from([5, 20, 8190, 20_000, LARGEST_BODY]),
    packed=st.booleans(),
    pieces=st.integers(1, 4),
)
stray_turns = st.builds(
    replace, plain_turns, stray=st.sampled_from(sorted(STRAYS)), when=st.sampled_from(["with", "after", "later"])
)
early_turns = st.builds(replace, plain_turns, stray=st.none() | st.sampled_from(sorted(STRAYS)), when=st.just("early"))
ending_turns = st.builds(
    replace,
    plain_turns,
    framing=st.sampled_from(["length", "chunked", "trailers", "until the end", "close", "1.0", "1.0 keep-alive"]),
    size=st.sampled_from([5, 8190, LARGEST_BODY, 90_000]),
    cut=st.none() | st.floats(0, 0.999),
    resets=st.booleans(),
)


def check(turn: Turn, tag: str, answer: Reply | TransportError) -> None:
    """What may become of a request, and the only words that may be said to be its answer."""
    if isinstance(answer, Reply):
        assert answer.headers["x-tag"] == tag
        assert answer.status == (204 if turn.framing == "no content" else 200)
        if answer.complete and not (turn.cut is not None and turn.framing == "until the end"):
            assert turn.is_whole
            assert answer.body == turn.content(tag)
        elif not turn.packed:
            assert turn.content(tag).startswith(answer.body)
        if turn.cut is None and not turn.resets:
            assert answer.complete == turn.is_whole
    elif turn.when != "early":
        assert isinstance(answer, NoAnswerError)
        assert turn.cut is not None or turn.resets, "a whole answer was not read"


def converse(turns: list[Turn], context: ssl.SSLContext | None = None) -> None:
    stage, kept, needed = Stage(turns), False, 0
    made = TlsServer(stage.serve, context=context) if context else Server(stage.serve)
    with made as server, transport(connections=1) as client:
        for tag, act in stage.acts.items():
            needed += not kept
            meanwhile = lambda act=act: stage.interject(act)  # noqa: E731
            answer = send_of(client, request(server.port, tag, meanwhile, "https" if context else "http"))
            event(type(answer).__name__)
            act.answered.set()
            assert isinstance(answer, NotSentError) or act.played.wait(10)
            check(act.turn, tag, answer)
            if act.turn.when == "early" and kept:
                assert isinstance(answer, Reply), "not asked on another connection"
                needed += 1
            kept = act.turn.keeps and isinstance(answer, Reply)
            act.received -= not isinstance(answer, NotSentError)
    assert [act.received for act in stage.acts.values()] == [0] * len(turns), "sent means received, once"
    assert server.connections == needed, "a good connection was not kept, or one that was not silent"


MANY = drawn(200, derandomize=True, database=None)


@MANY
@given(st.lists(plain_turns | stray_turns | early_turns | ending_turns, min_size=1, max_size=5))
def test_an_answer_is_its_own_requests(turns: list[Turn]) -> None:
    """GIVEN any conversation THEN each reply is its own request's, and each error true to what the server saw."""
    converse(turns)


@drawn(80, derandomize=True, database=None)
@given(turns=st.lists(plain_turns | stray_turns | ending_turns, min_size=1, max_size=4))
def test_an_answer_is_its_own_requests_behind_tls(tls: ssl.SSLContext, turns: list[Turn]) -> None:
    """The same where bytes wait in TLS, unseen by the socket, and tickets are no answer."""
    converse(turns, tls)


# ------------------------------------------------------------------------------------------------------ interim heads


@pytest.mark.parametrize("status", [100, 102, 103, 104, 199])
def test_an_interim_head_is_no_answer(status: int) -> None:
    """GIVEN heads of 1xx, with lines of their own and a while before the answer THEN the answer is the answer."""
    heads = f"HTTP/1.1 {status} Wait\r\nLink: </x>\r\nContent-Length: 5\r\n\r\nHTTP/1.1 {status}\r\n\r\n".encode()

    def serve(connection: Connection) -> None:
        while connection.read():
            connection.send(heads)
            arrived(connection.socket)
            connection.send(heads + OK)

    with Server(serve) as server, transport() as client:
        for _ in range(3):
            reply = client.send(request(server.port))
            assert (reply.status, reply.body, reply.complete) == (200, WHOLE, True)
            assert "link" not in reply.headers
        assert server.connections == 1


def test_another_protocol_is_no_answer() -> None:
    """GIVEN 101 THEN what was asked is answered in a language we do not speak, if at all: nobody knows."""
    with Server(answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + OK)) as server:
        with transport() as client:
            assert isinstance(send_of(client, request(server.port)), NoAnswerError)
            server.serve = answering(OK)
            assert client.send(request(server.port)).status == 200
        assert server.connections == 2


@dataclass
class Endless:
    """One answer that goes on until the client has gone. What lies in buffers between the two counts as sent."""

    beginning: bytes
    more: bytes
    sent: int = 0

    def __call__(self, connection: Connection) -> None:
        connection.read()
        connection.send(self.beginning)
        while True:
            connection.send(self.more * 100)
            self.sent += len(self.more) * 100


@pytest.mark.parametrize("status", [100, 103])
def test_interim_heads_without_end(status: int) -> None:
    """GIVEN heads that come as fast as they can be read THEN their size ends it, long before the clock does."""
    error = failure(Endless(b"", f"HTTP/1.1 {status} Wait\r\n\r\n".encode()), read=10.0)
    assert isinstance(error, NoAnswerError)
    assert "LineTooLong" in str(error)


# --------------------------------------------------------------------------------------------- before the question


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_is_said_before_the_question_is_no_answer(scheme: str, tls: ssl.SSLContext) -> None:
    """GIVEN a new connection on which the server speaks first THEN the body stays here, and the next try is as new."""
    spoken = threading.Event()
    bodies: list[bytes] = []

    def serve(connection: Connection) -> None:
        connection.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if server.connections == 1:
            connection.send(STRAY)
            arrived(connection.socket)
            spoken.set()
        while body := connection.read():
            bodies.append(body)
            connection.send(OK)

    with server_of(scheme, serve, tls) as server, transport() as client:
        early = request(server.port, "first", lambda: spoken.wait(10), scheme)
        assert isinstance(send_of(client, early), NotSentError)
        assert client.send(request(server.port, "second", None, scheme)).body == WHOLE
    assert bodies == [b"second"]


def server_of(scheme: str, serve: Callable[[Connection], None], context: ssl.SSLContext) -> Server:
    return TlsServer(serve, context=context) if scheme == "https" else Server(serve)


def test_session_tickets_are_no_answer(tls: ssl.SSLContext) -> None:
    """GIVEN TLS 1.3, whose tickets make a socket readable before anything was asked THEN the connection is good."""
    with TlsServer(answering(OK), context=tls) as server, transport() as client:
        for _ in range(4):
            assert client.send(request(server.port, scheme="https")).body == WHOLE
        assert (server.connections, len(server.requests)) == (1, 4)


def test_a_reset_before_the_body_is_no_question() -> None:
    """GIVEN a kept connection that is reset while the head is written, with an answer still in it
    THEN that is nobody's, and the question leaves on another: urllib3 would have read it on a broken pipe.
    """
    asked, gone = threading.Event(), threading.Event()

    def serve(connection: Connection) -> None:
        connection.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        connection.read()
        connection.send(OK)
        assert asked.wait(10)
        connection.send(STRAY)
        arrived(connection.socket)
        connection.reset()
        gone.set()

    def meanwhile() -> None:
        asked.set()
        assert gone.wait(10)

    with Server(serve) as server, transport() as client:
        client.send(request(server.port))
        assert client.send(request(server.port, "b", meanwhile)).body == WHOLE
        assert (server.connections, len(server.requests)) == (2, 2)


# --------------------------------------------------------------------------------------------------- whole or not


def length(body: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines, b"", body])


def chunked(rest: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest


GZIP = b"Content-Encoding: gzip"
PACKED = gzip.compress(WHOLE)
BODIES: dict[str, tuple[bytes, bytes, bool]] = {
    "length": (OK, WHOLE, True),
    "none": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "none, said to be packed": (b"HTTP/1.1 204 No Content\r\n" + GZIP + b"\r\n\r\n", b"", True),
    "cut": (OK[:-3], WHOLE[:-3], False),
    "cut to nothing": (OK[:-17], b"", False),
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE, WHOLE, True),
    "chunked": (chunked(b'5\r\n{"suc\r\nc\r\ncess": true}\r\n0\r\n\r\n'), WHOLE, True),
    "chunked, with trailers": (chunked(b"11\r\n" + WHOLE + b"\r\n0\r\nA: b\r\n\r\n"), WHOLE, True),
    "chunked, without the last": (chunked(b"11\r\n" + WHOLE + b"\r\n"), WHOLE, False),
    "chunked, cut in the size": (chunked(b"11\r\n" + WHOLE + b"\r\n1"), WHOLE, False),
    "chunked, cut inside": (chunked(b"12\r\n" + WHOLE), WHOLE, False),
    "chunked, no size": (chunked(b"zz\r\n" + WHOLE), b"", False),
    "64 KiB": (length(b"x" * LARGEST_BODY), b"x" * LARGEST_BODY, True),
    "64 KiB and one": (length(b"x" * (LARGEST_BODY + 1)), b"x" * LARGEST_BODY, False),
    "packed": (length(PACKED, GZIP), WHOLE, True),
    "packed, by another name": (length(PACKED, b"Content-Encoding: X-Gzip"), WHOLE, True),
    "not packed": (length(WHOLE, b"Content-Encoding: identity"), WHOLE, True),
    "packed, ends early": (length(PACKED[:-9], GZIP), WHOLE, False),
    "packed, and more": (length(PACKED + b"more", GZIP), WHOLE, False),
    "packed, damaged": (length(PACKED[:-8] + bytes(8), GZIP), PACKED[:-8] + bytes(8), False),
    "packed, 64 KiB": (length(gzip.compress(bytes(LARGEST_BODY)), GZIP), bytes(LARGEST_BODY), True),
    "packed, 64 KiB and one": (length(gzip.compress(bytes(LARGEST_BODY + 1)), GZIP), bytes(LARGEST_BODY), False),
    "packed, another way": (length(WHOLE, b"Content-Encoding: br"), WHOLE, False),
    "packed on its way": (length(WHOLE, b"Transfer-Encoding: gzip"), WHOLE, False),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_reply_says_whether_its_body_is_whole(case: str) -> None:
    """Cut off, too long, or in a form that we cannot undo: then `body` is what could be had of it."""
    answer, body, whole = BODIES[case]
    reply = exchange(closing(answer))
    assert (reply.body, reply.complete) == (body, whole)


def test_a_body_that_stops_coming_is_not_whole() -> None:
    """Nothing more for the read time-out."""

    def serve(connection: Connection) -> None:
        connection.read()
        connection.send(OK[:-1])
        hang(connection)

    reply = exchange(serve, read=0.2)
    assert (reply.status, reply.body, reply.complete) == (200, WHOLE[:-1], False)


@pytest.mark.parametrize(
    ("beginning", "more"),
    [(b"-1\r\n", b"x" * 100), (b"-5\r\n", b"x" * 100), (b"0\r\n", b"A: b\r\n"), (b"", b"1\r\nx\r\n")],
    ids=["less than nothing", "still less", "trailers", "small chunks"],
)
def test_a_chunked_body_without_end_is_bounded(beginning: bytes, more: bytes) -> None:
    """GIVEN chunks that never end, whatever they say of their size THEN reading ends, in bytes and not by the clock."""
    answer = Endless(chunked(beginning), more)
    reply = exchange(answer, read=10.0)
    assert (reply.status, reply.complete) == (200, False)
    assert len(reply.body) <= LARGEST_BODY
    assert answer.sent < 10_000_000


def test_what_is_packed_is_unpacked_within_bounds() -> None:
    """GIVEN 58 KB that unpack to 60 MB THEN no more of it is unpacked than is kept."""
    bomb = length(gzip.compress(bytes(60_000_000)), GZIP)
    with Server(closing(bomb)) as server, transport() as client:
        tracemalloc.start()
        try:
            reply = client.send(request(server.port))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (len(reply.body), reply.complete) == (LARGEST_BODY, False)
    assert peak < 2_000_000


@pytest.mark.parametrize("end", range(1, OK.index(b"\r\n\r\n") + 3))
def test_a_head_that_is_cut_is_no_answer(end: int) -> None:
    """A status without the rest of its head: what it would have said is not known."""
    assert isinstance(failure(closing(OK[:end])), NoAnswerError)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (length(b'{"success": false}')[:-5], Outcome.UNKNOWN),
        (length(b'{"pad": "' + b"a" * 70_000 + b'", "success": false}'), Outcome.UNKNOWN),
        (length(gzip.compress(b'{"success": false}')[:-9], GZIP), Outcome.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b'{"success": fal', Outcome.UNKNOWN),
        (length(gzip.compress(b'{"success": false}'), GZIP), Outcome.REJECTED),
        (length('{"success": false}'.encode("utf-16")), Outcome.REJECTED),
        (OK, Outcome.DELIVERED),
        (OK[:-3].replace(b"200", b"503"), Outcome.RETRY),
    ],
    ids=range(8),
)
def test_a_refusal_that_is_not_read_is_no_delivery(answer: bytes, outcome: Outcome) -> None:
    """From the wire to the outcome: what a 2xx would have said counts, and is not guessed, where a provider says it."""
    reply = exchange(closing(answer))
    assert {PROVIDERS[name]("http://x").read(reply) for name in REFUSES} == {outcome}


def test_head_and_body_leave_in_one_write() -> None:
    """What a front says to a head alone would come in between, and be taken for a stray."""
    first: list[bytes] = []
    with create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                first.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert HttpTransport(1).send(Request("POST", url, {}, b"the whole body")).status == 429
        thread.join(5)
    assert first[0].endswith(b"\r\n\r\nthe whole body")
