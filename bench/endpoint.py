"""One HTTP endpoint on this machine for all that a function asks: SQS, DynamoDB, Secrets Manager, and the provider.

It takes everything and keeps nothing: what is measured is the function, not an emulator.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from relay.providers import PROVIDERS

SECRET = {name: "bench-credential" for provider in PROVIDERS.values() for name in provider.credentials}


@contextmanager
def endpoint(aws_seconds: float = 0, provider_seconds: float = 0) -> Iterator[str]:
    """The base URL, for AWS and the provider; each answers after so many seconds."""

    class Handler(_Handler):
        delays = (aws_seconds, provider_seconds)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # One write an answer: two would wait for each other.
    delays = (0.0, 0.0)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        target = self.headers.get("X-Amz-Target", "")
        time.sleep(self.delays[0 if target else 1])
        answer = json.dumps(_answer(target.rpartition(".")[2], body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0" if target else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def _answer(operation: str, body: bytes) -> dict[str, Any]:
    match operation:
        case "SendMessageBatch":
            ids = [entry["Id"] for entry in json.loads(body)["Entries"]]
            return {"Successful": [{"Id": each, "MessageId": each, "MD5OfMessageBody": ""} for each in ids]}
        case "GetSecretValue":
            return {"SecretString": json.dumps(SECRET)}
        case "UpdateItem":
            return {}
        case "":
            return {"success": True}
        case other:
            raise ValueError(f"{other} has no answer here")
