"""The ASGI application: every family's endpoints, and errors as problems.

Called by bootstrap. Routing, measuring and the turn from exception to problem happen here, so that no exception ever
reaches the server, whose log would repeat its message.
"""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from noticesvc import metrics, tracing
from noticesvc.api import openapi, operations_routes, problem
from noticesvc.api.context import House
from noticesvc.api.endpoint import Endpoint

Serve = Callable[[Request], Awaitable[Response]]
# The families in the order in which the OpenAPI document shows them.
FAMILIES = ("recipients", "erasure", "notices", "templates", "documents", "announcements", "statements", "broadcasts",
            "broadcast_people", "broadcast_stream", "inbox", "callbacks", "pages", "proofs", "cases", "check", "ledger")


def endpoints() -> tuple[Endpoint, ...]:
    """Every endpoint that exists."""
    found: list[Endpoint] = []
    for family in FAMILIES:
        found += import_module(f"noticesvc.api.{family}").ENDPOINTS
    return (*found, *operations_routes.ENDPOINTS)


def make(house: House, role: str, stopping: asyncio.Event, more: Iterable[BaseRoute] = ()) -> Starlette:
    """The application. `stopping` is set when the process ends: streams watch it (`app.state.stopping`) and close.

    `more` are routes beside the API, such as the console's pages.
    """
    made = endpoints()
    routes = _routes(made)
    app = Starlette(routes=[*routes, *more], exception_handlers={HTTPException: _unrouted, Exception: problem.on_error})
    app.router.redirect_slashes = False
    app.state.house, app.state.role, app.state.stopping = house, role, stopping
    app.state.openapi = openapi.document(made, house.world.software, house.settings.server.public_url)
    return app


def _routes(made: Iterable[Endpoint]) -> list[BaseRoute]:
    """One route a path, so that a wrong method is answered with all that are allowed."""
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for endpoint in made:
        if by_path[endpoint.path].setdefault(endpoint.method, endpoint) is not endpoint:
            raise RuntimeError(f"two endpoints are {endpoint.method} {endpoint.path}")
    # A recipient may be called `import`: what /v1/recipients/import does not take itself is about them.
    for path in [path for path in by_path if "{" not in path]:
        one = f"{path.rpartition('/')[0]}/{{recipient_id}}"
        for method, endpoint in by_path.get(one, {}).items():
            by_path[path].setdefault(method, endpoint)
    # Fixed segments before parameters: /v1/notices/counts is no notice.
    ordered = sorted(by_path, key=lambda path: [(segment.startswith("{"), segment) for segment in path.split("/")])
    return [_Answers(path, by_path[path]) for path in ordered]


class _Answers(Route):
    """A path with its methods."""

    def __init__(self, path: str, by_method: dict[str, Endpoint]) -> None:
        super().__init__(path, self._answer, methods=list(by_method))
        self._allowed = ", ".join(sorted(self.methods or ()))
        self.methods = set()  # every method ends here: no other route, such as /v1/notices/{id} for /v1/notices/batch, may take it
        self._by_method = by_method

    async def _answer(self, request: Request) -> Response:
        endpoint = self._by_method.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            return await _unrouted(request, HTTPException(405, headers={"Allow": self._allowed}))
        if endpoint.path != self.path:
            request.path_params["recipient_id"] = self.path.rpartition("/")[2]
        begun = time.perf_counter()
        trace_id, parent = tracing.parse(request.headers.get("traceparent"), fresh_trace)
        with tracing.span(f"{request.method} {self.path}", trace_id, parent):
            response = await guarded(endpoint.serve, request)
        metrics.HTTP_SECONDS.labels(request.method, self.path).observe(time.perf_counter() - begun)
        metrics.HTTP_REQUESTS.labels(request.method, self.path, response.status_code).inc()
        return response


def fresh_trace() -> str:
    """A trace id for a request that brought none."""
    return secrets.token_hex(16)


async def guarded(serve: Serve, request: Request) -> Response:
    """The answer of a route, or the problem that its exception is."""
    try:
        return await serve(request)
    except Exception as error:  # whatever it was, the caller gets a problem and the log its type and place
        return await problem.on_error(request, error)


async def _unrouted(request: Request, error: Exception) -> Response:
    """404 and 405 of the router itself."""
    response = await problem.on_error(request, error)
    metrics.HTTP_REQUESTS.labels(request.method if request.method.isalpha() and len(request.method) < 8 else "-", "-",
                                 response.status_code).inc()
    return response
