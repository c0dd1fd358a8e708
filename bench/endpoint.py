"""One HTTPS endpoint on this machine for all that a function asks: SQS, DynamoDB, Secrets Manager, and the provider.

It takes everything and keeps nothing: what is measured is the function, not an emulator.
"""

import ipaddress
import json
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

from botocore.httpsession import where
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relay.providers import PROVIDERS

SECRET = {name: "bench-credential" for provider in PROVIDERS.values() for name in provider.credentials}


@dataclass(frozen=True)
class Endpoint:
    """Where it is, and a file of all that a machine trusts, and its certificate: to read them is part of a start.

    `requests` has each that came: the operation, `POST` for the provider's, and the bytes of its body.
    """

    url: str
    trusted: Path
    requests: list[tuple[str, int]]


@contextmanager
def endpoint(aws_seconds: float = 0, provider_seconds: float = 0) -> Iterator[Endpoint]:
    """Serves until the end; AWS and the provider answer after so many seconds."""

    class Handler(_Handler):
        delays = (aws_seconds, provider_seconds)
        requests: ClassVar[list[tuple[str, int]]] = []

    server = _Server(("127.0.0.1", 0), Handler)
    with tempfile.TemporaryDirectory() as folder:
        own, trusted = Path(folder, "own.pem"), Path(folder, "trusted.pem")
        certificate, key = _self_signed()
        own.write_bytes(certificate + key)
        trusted.write_bytes(Path(where()).read_bytes() + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Endpoint(f"https://127.0.0.1:{server.server_port}", trusted, Handler.requests)
        finally:
            server.shutdown()
            server.server_close()


def _self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(*plain)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who does not trust the certificate goes away; that is not worth a traceback."""
        if not isinstance(sys.exception(), ssl.SSLError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # One write an answer: two would wait for each other.
    delays: ClassVar[tuple[float, float]]
    requests: ClassVar[list[tuple[str, int]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        target = self.headers.get("X-Amz-Target", "")
        self.requests.append((target.rpartition(".")[2] or "POST", len(body)))
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
