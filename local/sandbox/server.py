"""Serves the sandbox over HTTP with connections that can be reset on purpose."""

import asyncio
import socket
import struct

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)


class ResettableProtocol(H11Protocol):
    """HTTP whose connection the application can cut: ``request.state.reset()``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "reset": self._reset}

    def _reset(self) -> None:
        # Closing with a linger of nought sends RST, which the client sees as "connection reset by peer".
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        self.transport.abort()


def server(app: ASGIApp, port: int) -> uvicorn.Server:
    """A server on 127.0.0.1. It writes no access log: a token may travel in the URL."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            http=ResettableProtocol,
            lifespan="off",
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
    )
