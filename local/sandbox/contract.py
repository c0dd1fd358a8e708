"""Checks a request against a provider's OpenAPI 3.1 description."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema_path import SchemaPath
from openapi_core.datatypes import RequestParameters
from openapi_core.validation.request.validators import V31RequestValidator
from starlette.datastructures import Headers

CONTRACTS = Path(__file__).parent.parent / "contracts"


@dataclass(frozen=True)
class Call:
    """One HTTP request as it came: path still percent-encoded, body still bytes."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Headers
    body: bytes

    def parsed(self) -> Any:
        """The body's JSON. Raises ValueError for anything RFC 8259 does not know, such as NaN."""
        return json.loads(self.body, parse_constant=_refuse)


@dataclass(frozen=True)
class Violation:
    """One way in which a request breaks the contract. ``field`` is a dotted path, empty for the whole request."""

    field: str
    message: str


class Contract:
    """The OpenAPI description of one provider, read from ``local/contracts/<provider>.yaml``."""

    def __init__(self, provider: str) -> None:
        document = SchemaPath.from_file_path(str(CONTRACTS / f"{provider}.yaml"))
        self._validator = V31RequestValidator(document)
        self._server = str((document / "servers" / 0 / "url").read_value())
        template = next(iter((document / "paths").keys()))
        self._path = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(str(template))))
        self._properties = _properties_schema(document.read_value())

    def match(self, path: str) -> dict[str, str] | None:
        """The path's parameters, still percent-encoded; None if this provider does not serve the path."""
        found = self._path.fullmatch(path)
        return found.groupdict() if found else None

    def violations(self, call: Call) -> list[Violation]:
        """Everything in ``call`` that the contract does not allow."""
        found: list[Violation] = []
        for error in self._validator.iter_errors(_OpenAPIRequest(self._server, call)):
            details = getattr(error.__cause__, "schema_errors", ())
            found += [Violation(".".join(map(str, one.absolute_path)), one.message) for one in details]
            if not details:
                found.append(Violation("", str(error)))
        return found or list(self._size_violations(call.parsed()))

    def _size_violations(self, body: Mapping[str, Any]) -> Iterator[Violation]:
        # JSON Schema counts characters; the providers count bytes.
        properties = body.get("properties", {})
        text_limit = self._properties.get("x-max-text-bytes")
        total_limit = self._properties.get("x-max-total-bytes")
        for name, value in properties.items():
            if text_limit and isinstance(value, str) and len(value.encode()) > text_limit:
                yield Violation(f"properties.{name}", f"is longer than {text_limit} bytes")
        if (
            total_limit
            and len(json.dumps(properties, ensure_ascii=False, separators=(",", ":")).encode()) > total_limit
        ):
            yield Violation("properties", f"are longer than {total_limit} bytes together")


@dataclass
class _OpenAPIRequest:
    """What openapi-core wants to see of a request."""

    host_url: str
    call: Call
    parameters: RequestParameters = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = RequestParameters(query=dict(self.call.query), header=self.call.headers, cookie={})

    @property
    def path(self) -> str:
        return self.call.path

    @property
    def method(self) -> str:
        return self.call.method.lower()

    @property
    def body(self) -> bytes:
        return self.call.body

    @property
    def content_type(self) -> str:
        return self.call.headers.get("content-type", "application/octet-stream")


def _properties_schema(document: Any) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = document["components"]["schemas"]["Event"]["properties"].get("properties", {})
    return schema


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
