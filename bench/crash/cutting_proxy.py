"""Stands between the service and PostgreSQL, and can cut them apart: open connections break, and new ones are refused at once.

Used by bench.crash.faults, in the event loop of the run.
"""

import asyncio
import contextlib

from tests.fakes.door import Door


class CuttingProxy:
    """Passes bytes on from `port` to a server on loopback, until it is `cut`; `mend` lets new connections pass."""

    def __init__(self, server_port: int, host: str = "127.0.0.1") -> None:
        self._to, self._host, self._cut = server_port, host, False
        self._open: set[asyncio.StreamWriter] = set()
        self._door = Door(self._pass)
        self.port = 0

    async def __aenter__(self) -> "CuttingProxy":
        self.port = await self._door.open(self._host, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        await self._door.close()

    def cut(self) -> None:
        """Break what is open, and refuse what comes."""
        self._cut = True
        for writer in tuple(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        """Let connections pass again."""
        self._cut = False

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            self._open -= {writer, back}
            for one in (writer, back):
                one.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one side to the other, until either ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
