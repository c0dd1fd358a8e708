"""The page's routes, to be served beside the sandbox's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from local.invoke import NotTakenError
from local.page.board import Board
from local.page.follow import Follower
from local.page.preview import preview
from local.page.send import Order, samples, send
from local.sandbox.names import ProviderName
from local.sandbox.provider_side import Sandbox

SITE = Path(__file__).parent / "site"
FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Nothing from elsewhere, in no frame of anybody."""
QUIET_SECONDS = 15.0
"""A stream that has nothing to say says so: else nobody would notice that the other end is gone."""
TOGETHER_SECONDS = 0.1
"""What changes within it is told at once."""


class Draft(BaseModel):
    """An event as it is being written."""

    model_config = ConfigDict(extra="forbid")

    text: str


class Misbehaviour(BaseModel):
    """What a provider does from now on; no provider: all of them."""

    model_config = ConfigDict(extra="forbid")

    provider: ProviderName | None = None
    kind: Literal["normal", "429", "500", "slow", "reset", "token"]


def page(sandbox: Sandbox, state: Path) -> list[BaseRoute]:
    """The routes of the page of the stack whose files are, or will be, in ``state``."""
    return routes(Follower(Board(), sandbox, state))


def routes(follower: Follower) -> list[BaseRoute]:
    """The routes of a page that shows what ``follower`` follows."""

    async def stream(_: Request) -> Response:
        return StreamingResponse(_news(follower), media_type="text/event-stream", headers=HEADERS)

    async def examples(_: Request) -> Response:
        return JSONResponse({"samples": samples()}, headers=HEADERS)

    async def previewed(request: Request) -> Response:
        draft = Draft.model_validate_json(await request.body())
        if (deployed := await follower.stack()) is None:
            return _refused("the stack is not up yet", 503)
        return JSONResponse(preview(draft.text, deployed), headers=HEADERS)

    async def sent(request: Request) -> Response:
        order = Order.model_validate_json(await request.body())
        if (deployed := await follower.stack()) is None:
            return _refused("the stack is not up yet", 503)
        try:
            return JSONResponse(await asyncio.to_thread(send, deployed.stack, order), headers=HEADERS)
        except NotTakenError as error:
            return _refused(str(error), 422)
        except (BotoCoreError, ClientError) as error:
            return _refused(f"the stack did not take it: {error}", 502)

    async def misbehave(request: Request) -> Response:
        asked = Misbehaviour.model_validate_json(await request.body())
        for provider in [asked.provider] if asked.provider else follower.trouble.now():
            follower.trouble.make(provider, asked.kind)
        return JSONResponse({"trouble": follower.trouble.now()}, headers=HEADERS)

    return [
        Route("/", _file("index.html", "text/html")),
        *(Route(f"/_page/site/{name}", _file(name, kind)) for name, kind in FILES.items()),
        Route("/_page/stream", stream),
        Route("/_page/samples", examples),
        Route("/_page/preview", previewed, methods=["POST"]),
        Route("/_page/send", sent, methods=["POST"]),
        Route("/_page/trouble", misbehave, methods=["POST"]),
    ]


async def _news(follower: Follower) -> AsyncIterator[str]:
    seen = 0
    with follower.looking():
        while True:
            news = follower.board.since(seen)
            yield f"data: {json.dumps({'first': seen == 0, **news})}\n\n"
            seen = news["revision"]
            await asyncio.sleep(TOGETHER_SECONDS)
            while True:
                try:
                    await asyncio.wait_for(follower.board.after(seen), QUIET_SECONDS)
                    break
                except TimeoutError:
                    yield ": nothing new\n\n"


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return FileResponse(SITE / name, media_type=media_type, headers=HEADERS)

    return answer


def _refused(why: str, status: int) -> Response:
    return JSONResponse({"error": why}, status, headers=HEADERS)
