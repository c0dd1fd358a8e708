"""Whatever bytes a provider, or something in between, answers with: the transport says that it was answered, or that it
was not, and everybody can read on from there.
"""

import zlib

from hypothesis import HealthCheck, event, given
from hypothesis import strategies as st

from relay.adapters.http import LARGEST_BODY
from relay.errors import NotSentError
from relay.outcome import Outcome
from relay.ports import Reply, Request
from relay.providers import PROVIDERS
from tests.contract.test_conversations import send_of
from tests.contract.test_http import Server, closing, transport
from tests.drawing import drawn
from tests.factories import NOW, TOKEN
from tests.unit.test_replies_properties import budget_is_believable

COMMON = drawn(60, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None)

firsts = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 201",
        b"HTTP/1.0 429 Slow",
        b"HTTP/1.1 503 \xff\xfe",
        b"HTTP/1.1 999 x",
        b"HTTP/1.1 100",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 204 No",
        b"HTTP/1.1 304 No",
        b"HTTP/1.1 1000 x",
        b"HTTP/1.1 -1 x",
        b"HTTP/2 200",
        b"HTTP/1.1 20",
        b"http/1.1 200 ok",
        b"ICY 200 OK",
        b"<html>",
        b"",
        b"HTTP/1.1  200  OK",
        b"HTTP/1.1 \xd9\xa3\xd9\xa3\xd9\xa3 x",
    ]
)
names = st.sampled_from(
    [
        b"Retry-After",
        b"Date",
        b"RateLimit-Remaining",
        b"X-RateLimit-Reset",
        b"Content-Type",
        b"Set-Cookie",
        b"Location",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Content-Encoding",
        b"Connection",
        b"",
        b" x",
        b"a\x00b",
        b"x:y",
        b"Trailer",
    ]
)
values = st.binary(max_size=12) | st.sampled_from(
    [
        b"0",
        b"2",
        b"5",
        b"-1",
        b"+5",
        b"5, 5",
        b"0x5",
        b"99999999999",
        b"1e3",
        b"chunked",
        b"gzip",
        b"gzip, chunked",
        b"deflate",
        b"br",
        b"identity",
        b"close",
        b"keep-alive",
        b"caf\xe9",
        b"\xef\xbb\xbf1",
        b"a" * 70000,
        b"Mon, 01 Jan 2001 00:00:00 GMT",
    ]
)
headers = st.lists(st.tuples(names, values).map(b": ".join), max_size=6).map(
    lambda some: [one + b"\r\n" for one in some]
)
contents = st.sampled_from(
    [b"{}", b'{"success": false}', b"", b"<html>", b'{"success": tr', b"\xff\xfe{", b"x" * 70_000, b"[" * 5_000]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Plain, packed or in chunks, as it should be or not quite."""
    body = draw(contents | st.binary(max_size=40))
    match draw(st.sampled_from(["plain", "packed", "chunks"])):
        case "packed":
            return zlib.compress(body, wbits=draw(st.sampled_from([31, 15, -15])))
        case "chunks":
            size = draw(
                st.sampled_from([b"%x" % len(body), b"%x;a=b" % len(body), b"-1", b"zz", b"ffffffffff", b"", b"0"])
            )
            return (
                size
                + b"\r\n"
                + body
                + b"\r\n"
                + draw(st.sampled_from([b"0\r\n\r\n", b"0\r\n", b"", b"0\r\nX: y\r\n\r\n"]))
            )
    return body


@st.composite
def anything(draw: st.DrawFn) -> bytes:
    """An answer with something wrong about it."""
    answer = (
        draw(firsts) + b"\r\n" + b"".join(draw(headers)) + draw(st.sampled_from([b"\r\n", b"\n", b""])) + draw(bodies())
    )
    if draw(st.booleans()):
        place = draw(st.integers(0, min(len(answer), 300)))
        answer = answer[:place] + draw(st.binary(max_size=6)) + answer[place + draw(st.integers(0, 3)) :]
    return answer[: draw(st.integers(0, len(answer)))] if draw(st.integers(0, 3)) == 0 else answer


@COMMON
@given(anything())
def test_any_bytes_are_an_answer_or_none(answer: bytes) -> None:
    """GIVEN a request that arrived THEN its answer is one, or none came; what is read of it is bounded, and a fate."""
    with Server(closing(answer)) as server, transport(connections=1) as client:
        url = f"http://127.0.0.1:{server.port}/?access_token={TOKEN}"
        said = send_of(client, Request("POST", url, {}, b"{}"))
        assert len(server.requests) == 1
    event(type(said).__name__)
    assert not isinstance(said, NotSentError)
    assert TOKEN not in repr(said)
    for kind in PROVIDERS.values():
        provider = kind("https://api.example.com")
        assert provider.read(said) in Outcome
        if isinstance(said, Reply):
            assert budget_is_believable(provider.budget(said, NOW))
            assert len(provider.detail(said, (TOKEN,)).encode()) <= 512
    if isinstance(said, Reply):
        assert 100 <= said.status <= 999
        assert len(said.body) <= LARGEST_BODY
        assert all(name == name.lower() for name in said.headers)
