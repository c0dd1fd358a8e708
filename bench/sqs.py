"""A process of its own that answers as SQS does to SendMessageBatch, and keeps what it was sent until somebody asks.

`python -m bench.sqs` prints its port and runs until its standard input ends.
"""

import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import PIPE, Popen
from typing import Any

from local.machine import ROOT

type Json = dict[str, Any]


class _Sqs(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    taken: list[Json] = []  # noqa: RUF012 (of all connections together)

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["X-Amz-Target"] == "AmazonSQS.SendMessageBatch"
        self.taken.append(call)
        self._answer({"Successful": [_sent(entry) for entry in call["Entries"]]})

    def do_GET(self) -> None:
        # Cleared before the answer is out: what is sent after that is of the next time.
        calls = self.taken[:]
        self.taken.clear()
        self._answer({"calls": calls})

    def log_message(self, *_arguments: object) -> None:
        pass

    def _answer(self, answer: Json) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("x-amzn-RequestId", "b6d4ad8c-4d0c-5c1e-9f4a-f6ff3f1c0d5f")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _sent(entry: Json) -> Json:
    digest = md5(entry["MessageBody"].encode(), usedforsecurity=False).hexdigest()
    return {
        "Id": entry["Id"],
        "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274",
        "MD5OfMessageBody": digest,
        "MD5OfMessageAttributes": digest,
        "SequenceNumber": "18849496460467696128",
    }


class Endpoint:
    """The process, seen from the one that started it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def calls(self) -> list[Json]:
        """Every SendMessageBatch since the last time: its parameters."""
        with urllib.request.urlopen(self.url) as answer:  # noqa: S310 (its own address)
            calls: list[Json] = json.load(answer)["calls"]
        return calls


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Starts it, and ends it afterwards."""
    command = [sys.executable, "-m", "bench.sqs"]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as process:  # noqa: S603 (ourselves)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Endpoint(int(process.stdout.readline()))
        finally:
            process.stdin.close()


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sqs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
