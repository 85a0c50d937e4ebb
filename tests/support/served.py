"""The application behind a real server, because a stream needs a connection that can be left; and the events of a stream."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import uvicorn

from tests.support.waiting import PATIENCE_S


@asynccontextmanager
async def served(here):
    """A client of a real server in front of the application of `here`."""
    server = uvicorn.Server(uvicorn.Config(here.http._transport.app, port=0, log_config=None, ws="none", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=here.http.headers, timeout=PATIENCE_S) as http:
        yield http
    server.should_exit = True
    await task


async def events(lines):
    """The data of each event."""
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
