"""An endpoint is data: method, path, who may, what it takes and gives. Starlette's routes and the OpenAPI document are both
made from the same list, so they cannot disagree.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from noticesvc.api import access, wire
from noticesvc.api.context import Call, House
from noticesvc.domain.access import Access

NOBODY = Access("", frozenset())


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path. `scopes`: any of them opens it; empty: public. `status` is that of success."""

    method: str
    path: str
    run: Callable[[Call], Awaitable[Any]]
    summary: str
    scopes: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    reply: type[BaseModel] | None = None
    status: int = 200
    body_limit: int = wire.BODY_LIMIT
    media_type: str = "application/json"  # of the body, where `body` is null but bytes are taken
    more_media_types: tuple[str, ...] = ()  # that the bytes may have beside it
    raw_body: bool = False
    reply_media_type: str = "application/json"
    inbox_token: bool = False  # an inbox token opens it too
    also: tuple[tuple[int, type[BaseModel]], ...] = ()  # other successes and what they answer
    headers: tuple[tuple[str, str], ...] = ()  # request headers of this endpoint alone, and what they are for
    error_media_type: str | None = None  # that errors may have beside problem+json
    errors: tuple[int, ...] = ()  # statuses beside those that follow from the rest

    def route(self) -> Route:
        """The Starlette route."""
        return Route(self.path, self.serve, methods=[self.method], name=f"{self.method} {self.path}")

    async def serve(self, request: Request) -> Response:
        """Key, then query, then body, then the work: the first that fails answers."""
        house: House = request.app.state.house
        who = NOBODY
        if self.scopes:
            who = await access.authenticate(request, house, inbox_token=self.inbox_token)
            if who.inbox_of is None:
                who.require(self.scopes)
        query = wire.parse_query(self.query, request) if self.query else None
        if self.body is None and not self.raw_body:
            wire.check_declared(request)  # a body that nobody reads has the limit of all
        body = wire.parse(self.body, await wire.read_body(request, self.body_limit)) if self.body else None
        result = await self.run(Call(request, house, who, body, query))
        return result if isinstance(result, Response) else json_reply(result, self.status)


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in UTF-8."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def empty_reply(status: int = 204) -> Response:
    """No body."""
    return Response(status_code=status)
