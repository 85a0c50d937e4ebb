"""A receiver of outgoing events that answers as it is told: takes, refuses, redirects, hangs, or breaks the connection.

Called by tests of events. A real HTTP server; `script` says what to do with each request in turn, and after its end all are taken.
"""

import asyncio
import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web


@dataclass
class Receiver:
    """Start with `async with`; `port` 0 takes a free one, and is kept when it is started again."""

    script: list[Any] = field(default_factory=list)  # a status, "reset", "hang", or a URL to redirect to
    port: int = 0
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)  # headers and body of every request
    taken: list[str] = field(default_factory=list)  # webhook-ids answered with 2xx
    came: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?of=notices"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(({name.lower(): value for name, value in request.headers.items()}, body))
        self.came.set()
        step = self.script.pop(0) if self.script else 200
        if step == "hang":
            await self._released.wait()
            step = "reset"
        if step == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(step, str):
            return web.Response(status=302, headers={"Location": step})
        if 200 <= step < 300:
            self.taken.append(request.headers["webhook-id"])
        return web.Response(status=step, body=b"x" * 100_000)

    def events(self) -> list[dict[str, Any]]:
        """What the requests said."""
        return [json.loads(body) for _, body in self.seen]
