"""A second process that makes notices of broadcasts while this one writes, numbers and sends: one process uses one core only.

Called by dispatch.broadcasts. It is begun with the first job that is worth it and ended when there was none for a while. Whatever happens
to it, the job is answered with null, and whoever gave it does the work: nothing is stored by it and nothing depends on it.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from typing import cast

import msgspec
import structlog

from noticesvc.operations import pipes
from noticesvc.operations.broadcast_portion import Job
from noticesvc.operations.broadcast_process import PROGRAM, Keys, Made
from noticesvc.vault import Vault

log = structlog.get_logger()
_PATIENCE_S = 60.0  # for one answer
_PAUSE_S = 60.0  # after it has failed
_IDLE_S = 30.0
_LIMIT = 1 << 22  # bytes of an answer read ahead


class SecondProcess:
    """Makes what it is given, in order. It belongs to the event loop that calls it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._process: Process | None = None
        self._writing, self._reading = asyncio.Lock(), asyncio.Lock()
        self._under_way = 0
        self._used_at = self._not_before = 0.0

    async def make(self, job: Job) -> Made | None:
        """What it made; null if it cannot."""
        if asyncio.get_running_loop().time() < self._not_before:
            return None
        # Whoever does not want the answer any more leaves it to be read: the next one is behind it.
        return await asyncio.shield(asyncio.ensure_future(self._exchange(job)))

    async def rest(self) -> None:
        """End it if it had nothing to do for a while."""
        if not self._under_way and asyncio.get_running_loop().time() - self._used_at > _IDLE_S:
            await self.end()

    async def end(self) -> None:
        """End it now."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            cast("asyncio.StreamWriter", process.stdin).close()
            await process.wait()

    async def _exchange(self, job: Job) -> Made | None:
        loop = asyncio.get_running_loop()
        self._under_way += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                made = await self._answered(job)
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("second process failed, its work is done here", error=type(error).__name__)
            self._not_before = loop.time() + _PAUSE_S
            await self.end()
            return None
        finally:
            self._under_way -= 1
            self._used_at = loop.time()
        if not made.packed:
            await self.end()  # the next one is given today's keys
            return None
        return made

    async def _answered(self, job: Job) -> Made:
        async with self._writing:
            process = self._process = self._process or await self._begun()
            await _send(process, job)
        async with self._reading:  # in the order in which they were given
            said = cast("asyncio.StreamReader", process.stdout)
            (length,) = pipes.LENGTH.unpack(await said.readexactly(pipes.LENGTH.size))
            return msgspec.msgpack.decode(await said.readexactly(length), type=Made)

    async def _begun(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=pipes.environment(), limit=_LIMIT)
        await _send(process, Keys(self._vault.masters))
        return process


async def _send(process: Process, message: Job | Keys) -> None:
    given, data = cast("asyncio.StreamWriter", process.stdin), msgspec.msgpack.encode(message)
    given.write(pipes.LENGTH.pack(len(data)))
    given.write(data)
    await given.drain()
