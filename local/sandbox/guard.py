"""Who may ask the sandbox itself: programs of this machine, and its own pages. No page of anybody else.

A page from elsewhere, open in the same browser, can send requests to 127.0.0.1, and under a name that its owner turns
to 127.0.0.1 ("DNS rebinding") it can read the answers, too. Its requests tell: by ``Host``, or by ``Origin``.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost", "::1")
"""What a browser of this machine may call it."""


def refusal(method: str, headers: Headers) -> str:
    """Why the request is none of ours; empty where it is."""
    host = headers.get("host", "")
    if urlsplit(f"//{host}").hostname not in NAMES:
        return f"the host must be one of {', '.join(NAMES)}"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "the request comes from a page of another origin"
    if method not in ("GET", "HEAD") and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "the request comes from a page of another site"
    return ""


class OwnPages:
    """Refuses what another's page asks for under the paths ``own``: ``/x`` is that path, ``/x/`` all below it."""

    def __init__(self, app: ASGIApp, own: Sequence[str]) -> None:
        self._app = app
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_own = scope["type"] == "http" and self._is_own(scope["path"])
        if is_own and (why := refusal(scope["method"], Headers(scope=scope))):
            await PlainTextResponse(f"{why}\n", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_own(self, path: str) -> bool:
        return any(path == one or (one != "/" and one.endswith("/") and path.startswith(one)) for one in self._own)
