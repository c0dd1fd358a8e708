"""The sandbox as a web application: the providers' paths, and its own under ``/_sandbox``."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from local.sandbox.faults import Fault
from local.sandbox.guard import OwnPages
from local.sandbox.limits import Limit
from local.sandbox.names import ProviderName
from local.sandbox.provider_side import Sandbox


class TokenChange(BaseModel):
    """Tokens that an account takes or no longer takes."""

    model_config = ConfigDict(extra="forbid")

    provider: ProviderName
    account: str
    accept: list[str] = []
    revoke: list[str] = []


class LimitChange(Limit):
    """A limit from now on."""

    provider: ProviderName


def application(sandbox: Sandbox, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The ASGI application of one sandbox, with the routes of ``more`` beside its own."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            sandbox.journal.clear()
            return Response(status_code=204)
        query = request.query_params
        equal = {name: query[name] for name in ("provider", "account", "type") if name in query}
        return JSONResponse({"requests": sandbox.journal.requests(int(query.get("after", 0)), **equal)})

    async def summary(_: Request) -> Response:
        return JSONResponse({"providers": sandbox.journal.summary(), "foreign": sandbox.limits.foreign()})

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            sandbox.faults.clear()
            return Response(status_code=204)
        number = sandbox.faults.add(Fault.model_validate_json(await request.body()))
        return JSONResponse({"id": number}, 201)

    async def limits(request: Request) -> Response:
        if request.method == "DELETE":
            sandbox.limits.reset()
        else:
            sandbox.limits.set(LimitChange.model_validate_json(await request.body()))
        return Response(status_code=204)

    async def tokens(request: Request) -> Response:
        if request.method == "DELETE":
            sandbox.reset_tokens()
        else:
            change = TokenChange.model_validate_json(await request.body())
            sandbox.change_tokens(change.provider, change.account, accept=change.accept, revoke=change.revoke)
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/_sandbox/health", health),
            Route("/_sandbox/requests", requests, methods=["GET", "DELETE"]),
            Route("/_sandbox/summary", summary),
            Route("/_sandbox/faults", faults, methods=["POST", "DELETE"]),
            Route("/_sandbox/limits", limits, methods=["POST", "DELETE"]),
            Route("/_sandbox/tokens", tokens, methods=["POST", "DELETE"]),
            *more,
            Route("/{path:path}", sandbox.provider_call, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ],
        middleware=[Middleware(OwnPages, own=("/_sandbox/", *_paths(more)))],
        exception_handlers={ValidationError: _refused},
    )


def _paths(routes: Sequence[BaseRoute]) -> list[str]:
    return [one.path for one in routes if isinstance(one, Route)]


async def _refused(_: Request, error: Exception) -> Response:
    # Only what asks the sandbox itself for something is read with a model.
    details = error.errors(include_url=False, include_context=False) if isinstance(error, ValidationError) else []
    return JSONResponse({"errors": details}, 422)
