"""One provider as its OpenAPI 3.1 description has it: ``local/contracts/<provider>.yaml``, written from its page.

Beside what OpenAPI knows, the description holds:

``x-account: true``  on the parameter (path, query or header) that names the account; without one, the token does, or
                     in Basic authentication the user
``x-event``          where ``type``, ``id``, ``customer`` and ``properties`` stand in the body, as JMESPath
                     (``contact``, ``events[0].name``); or in the address, as a parameter in braces
``x-limits``         ``requests`` in ``window`` seconds for each account, counted ``sliding`` or ``fixed``
``x-says``           on a reply's header: ``limit``, ``remaining``, ``reset-seconds``, ``reset-epoch`` or ``reset-date``
``x-sandbox``        an ``account`` and ``token`` that the sandbox takes, and the ``secret`` that a relay then needs
``x-prefix``         on an ``apiKey``: what stands before the token
``x-max-…-bytes``    on the event's property map, ``text`` or ``total``: JSON Schema counts characters, providers bytes
"""

import json
import re
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import jmespath
from jsonschema_path import SchemaPath
from openapi_core.datatypes import RequestParameters
from openapi_core.validation.request.validators import V31RequestValidator
from starlette.datastructures import Headers

from local.sandbox.answers import Answers, Violation
from local.sandbox.limits import Limit
from local.sandbox.names import CONTRACTS, NAMES

type Json = dict[str, Any]

MASK = "***"
"""In place of a token."""


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


class Contract:
    """What the sandbox needs to know of one provider."""

    def __init__(self, provider: str, folder: Path = CONTRACTS) -> None:
        document = SchemaPath.from_file_path(str(folder / f"{provider}.yaml"))
        self.provider = provider
        self._validator = V31RequestValidator(document)
        self._server = _text(document / "servers" / 0 / "url")
        template = str(next(iter((document / "paths").keys())))
        # Where two providers have the same path, the prefix tells them apart.
        served = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        self._path = re.compile(rf"(?:/{self.provider})?(?P<_own>{served})")
        item = document / "paths" / template
        self.method = next(method for method in ("post", "put", "patch") if method in item)
        operation = item / self.method
        self.answers = Answers(operation / "responses")
        parameters = [one.read_value() for one in operation.get("parameters", [])]
        self._account = next((one for one in parameters if one.get("x-account")), None)
        self._token = next(iter((document / "components" / "securitySchemes").read_value().values()))
        self._event: dict[str, str] = (document / "x-event").read_value()
        limits = (document / "x-limits").read_value()
        self.limit = Limit(
            provider=self.provider, limit=limits["requests"], window=limits["window"], algorithm=limits["counted"]
        )
        self._sandbox = (document / "x-sandbox").read_value()
        bodies = operation / "requestBody" / "content"
        self.media_type = str(next(iter(bodies.keys())))
        self._properties = _schema_at(bodies / self.media_type / "schema", self._event.get("properties", ""))

    def match(self, path: str) -> dict[str, str] | None:
        """The path's parameters, still percent-encoded; None if this provider does not serve the path."""
        found = self._path.fullmatch(path)
        return found.groupdict() if found else None

    def account(self, call: Call, tokens: Mapping[str, str]) -> str | None:
        """The account whose token the call carries; None if there is none. ``tokens`` has an account for each."""
        user, token = self._user_and_token(call)
        owner = tokens.get(token)
        if self._is_basic:
            return owner if owner == user else None
        if self._account is None:
            return owner
        place, name = self._account["in"], self._account["name"]
        if place == "path":
            return owner if owner == unquote((self.match(call.path) or {})[name]) else None
        return owner if owner == (call.query if place == "query" else call.headers).get(name) else None

    @property
    def account_stands_in(self) -> str | None:
        """``path``, ``query``, ``header``, ``user``; None where the token alone says whose a request is. Tests ask."""
        if self._is_basic:
            return "user"
        return str(self._account["in"]) if self._account else None

    def event(self, part: str, body: Any, url: str = "") -> Any:
        """A part of the event, by its name in ``x-event``, in a body of any kind or in the URL's path, which is still
        percent-encoded; None where there is none.
        """
        if part not in self._event:
            return None
        if self._event[part].startswith("{"):
            return unquote((self.match(urlsplit(url).path) or {}).get(self._event[part][1:-1], "")) or None
        return jmespath.search(self._event[part], body)

    @property
    def own_account(self) -> str:
        """The account that the sandbox has from the start."""
        return str(self._sandbox["account"])

    @property
    def own_token(self) -> str:
        """Its token."""
        return str(self._sandbox["token"])

    def secret(self, account: str | None = None, token: str | None = None) -> dict[str, str]:
        """The secret of a destination for an account and a token, else the sandbox's own."""
        given = {"account": account or self.own_account, "token": token or self.own_token}
        return {key: text.format_map(given) for key, text in self._sandbox["secret"].items()}

    def public(self, key: str) -> bool:
        """Whether a key of the secret names the account, and hides nothing."""
        return "{token}" not in self._sandbox["secret"][key]

    def violations(self, call: Call) -> list[Violation]:
        """Everything in ``call`` that the contract does not allow."""
        found: list[Violation] = []
        path = (self.match(call.path) or {})["_own"]
        for error in self._validator.iter_errors(_OpenAPIRequest(self._server, path, call)):
            details = getattr(error.__cause__, "schema_errors", ())
            found += [Violation(".".join(map(str, one.absolute_path)), one.message) for one in details]
            if not details:
                found.append(Violation("", str(error)))
        return found or list(self._size_violations(call.parsed()))

    def shown(self, call: Call, tokens: Collection[str]) -> tuple[str, dict[str, str]]:
        """The address and the headers of ``call`` without the token: by its place in the contract, and any of
        ``tokens`` wherever else it stands.
        """
        query, headers = dict(call.query), dict(call.headers)
        place, name, prefix = self._token_place
        part = query if place == "query" else headers
        if name in part:
            # Also what is no token for us, such as one behind another scheme.
            kept = prefix if part[name].lower().startswith(prefix.lower()) else ""
            part[name] = kept + MASK
        url = call.path + ("?" + urlencode(query, safe=MASK) if query else "")
        hidden = {*tokens, self._carried(call), self._user_and_token(call)[1]} - {""}
        return masked(url, hidden), {name: masked(value, hidden) for name, value in headers.items()}

    @property
    def _token_place(self) -> tuple[str, str, str]:
        """Where the token stands: ``query`` or ``header``, by what name, and what stands before it there."""
        if self._token["type"] == "http":
            return "header", "authorization", f"{self._token['scheme'].capitalize()} "
        place, name = self._token["in"], self._token["name"]
        return place, name if place == "query" else name.lower(), self._token.get("x-prefix", "")

    @property
    def _is_basic(self) -> bool:
        return bool(self._token.get("scheme") == "basic")

    def _user_and_token(self, call: Call) -> tuple[str, str]:
        """What the call carries; the user is empty but in Basic authentication."""
        carried = self._carried(call)
        if not self._is_basic:
            return "", carried
        try:
            user, _, token = b64decode(carried, validate=True).decode().partition(":")
        except ValueError:
            return "", ""
        return user, token

    def _carried(self, call: Call) -> str:
        place, name, prefix = self._token_place
        given = (call.query if place == "query" else call.headers).get(name, "")
        is_alike = (
            given.lower().startswith(prefix.lower()) if self._token["type"] == "http" else given.startswith(prefix)
        )
        return given[len(prefix) :] if is_alike else ""

    def _size_violations(self, body: Any) -> Iterator[Violation]:
        properties = self.event("properties", body) or {}
        where = self._event.get("properties")
        text_limit = self._properties.get("x-max-text-bytes")
        total_limit = self._properties.get("x-max-total-bytes")
        for name, value in properties.items():
            if text_limit and isinstance(value, str) and len(value.encode()) > text_limit:
                yield Violation(f"{where}.{name}", f"is longer than {text_limit} bytes")
        if (
            total_limit
            and len(json.dumps(properties, ensure_ascii=False, separators=(",", ":")).encode()) > total_limit
        ):
            yield Violation(str(where), f"are longer than {total_limit} bytes together")


@cache
def contracts() -> dict[str, Contract]:
    """Every provider's, by its name."""
    return {name: Contract(name) for name in NAMES}


@dataclass
class _OpenAPIRequest:
    """What openapi-core wants to see of a request."""

    host_url: str
    path: str
    call: Call
    parameters: RequestParameters = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = RequestParameters(query=dict(self.call.query), header=self.call.headers, cookie={})

    @property
    def method(self) -> str:
        return self.call.method.lower()

    @property
    def body(self) -> bytes:
        return self.call.body

    @property
    def content_type(self) -> str:
        return self.call.headers.get("content-type", "application/octet-stream")


def masked(text: str, hidden: Collection[str]) -> str:
    """``text`` without any of these, as they are or as a URL has them."""
    forms = {form for each in hidden for form in (each, quote(each), quote(each, safe=""))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _schema_at(schema: SchemaPath, path: str) -> Mapping[str, Any]:
    for key, place in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        schema = schema / "items" if place else schema / "properties" / key
    return dict(schema.read_value())


def _text(path: SchemaPath) -> str:
    return str(path.read_value())


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
