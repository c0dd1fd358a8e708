"""A provider that takes everything, in a process of its own: it answers each request so many seconds after it came, and
does so little else that it is never what a rival waits for.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import cast

from local.sandbox.answers import Answer
from local.sandbox.contract import contracts
from local.sandbox.limits import Allowance

PLENTY = Allowance(allowed=True, limit=100_000, remaining=99_999, reset=1.0)
"""What its answers say is left."""


@contextmanager
def answering(provider: str, seconds: float, answer: str = "accepted") -> Iterator[str]:
    """The base URL of such a server. It gives that `answer`, as the provider's description has it."""
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(
        target=_serve, args=(theirs, _written(getattr(contracts()[provider].answers, answer)), seconds), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _written(answer: Answer) -> bytes:
    """The whole of an answer as it goes out."""
    body = json.dumps(answer.body).encode() if answer.media_type else b""
    headers = {"Content-Type": answer.media_type or "text/plain", "Content-Length": str(len(body))}
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        *(f"{name}: {value}" for name, value in (headers | answer.headers(PLENTY)).items()),
    ]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def _serve(parent: Connection, answer: bytes, seconds: float) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(answer, seconds), "127.0.0.1", 0)
        parent.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


class _Client(asyncio.Protocol):
    """One connection, kept open, with one request at a time on it."""

    def __init__(self, answer: bytes, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, ended, body = self._got.partition(b"\r\n\r\n")
        if ended and len(body) >= _length(head):
            self._got = b""
            asyncio.get_running_loop().call_later(self._seconds, self._transport.write, self._answer)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0])
