"""A listener on loopback whose conversations are all over when it is closed: none lives on into the next test.

Used by the scripted servers. Whoever only closes the listener leaves connections that were accepted a moment before, or whose other
side has not heard yet; their sockets are then found by whichever test happens to run when they are collected.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]
_TURNS = 3  # of the loop, by which an accepted connection has come to its conversation, or a broken one to its end


class Door:
    """Holds each conversation to its end; one that the other side breaks off ends quietly."""

    def __init__(self, converse: Converse) -> None:
        self._converse = converse
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int, **more: Any) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._hold, host, port, **more)
        return int(self._server.sockets[0].getsockname()[1])

    def drop_all(self) -> None:
        """Break every connection at once."""
        for writer in tuple(self._tasks.values()):
            writer.transport.abort()

    async def close(self) -> None:
        """Stop listening and end every conversation; may be called twice."""
        if self._server is None:
            return
        self._server.close()
        await self._turns()
        while self._tasks:
            self.drop_all()
            await asyncio.wait(tuple(self._tasks))
            await self._turns()
        await self._server.wait_closed()

    async def _turns(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()
            del self._tasks[task]
