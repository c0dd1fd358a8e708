"""How a provider is shown who sends: each kind says where a secret's credentials go, and in which forms."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from relay.errors import CredentialsError


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request carries for it. `secrets` has each form in which a secret is sent, so that none is ever shown."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Auth(Protocol):
    """One kind of it."""

    def show(self, credentials: Mapping[str, str]) -> Shown:
        """`credentials` are usable text. Raises CredentialsError, without a word of it, for one that cannot be sent."""
        ...


@dataclass(frozen=True, slots=True)
class Header:
    """A credential in a header, behind its `scheme` where there is one."""

    credential: str
    name: str = "Authorization"
    scheme: str = ""

    def show(self, credentials: Mapping[str, str]) -> Shown:
        token = credentials[self.credential]
        if not token.isascii():
            # No header takes it, and http.client would quote it in its exception.
            raise CredentialsError(f"secret holds {_an(self.credential)} that is not ASCII")
        return Shown({self.name: f"{self.scheme} {token}".lstrip()}, secrets=(token,))


def bearer(credential: str) -> Header:
    """`Authorization: Bearer …`."""
    return Header(credential, scheme="Bearer")


@dataclass(frozen=True, slots=True)
class Basic:
    """`Authorization: Basic …`, of a user, which may be shown, and a password."""

    user: str
    password: str

    def show(self, credentials: Mapping[str, str]) -> Shown:
        user, password = credentials[self.user], credentials[self.password]
        if ":" in user:
            raise CredentialsError(f"secret holds {_an(self.user)} with a colon, which ends it here")
        pair = b64encode(f"{user}:{password}".encode()).decode()
        return Shown({"Authorization": f"Basic {pair}"}, secrets=(password, pair))


@dataclass(frozen=True, slots=True)
class Query:
    """A credential in the URL, behind the question mark."""

    credential: str
    parameter: str

    def show(self, credentials: Mapping[str, str]) -> Shown:
        token = credentials[self.credential]
        quoted = quote(token, safe="")
        return Shown(query=f"{quote(self.parameter, safe='')}={quoted}", secrets=(token, quoted))


def segment(text: str) -> str:
    """Text as one segment of a path. Dots alone would walk up the path, and `quote` keeps them."""
    return text.replace(".", "%2E") if set(text) == {"."} else quote(text, safe="")


def _an(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
