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
from noticesvc.operations.broadcast_process import FORM, PROGRAM, Keys, Made
from noticesvc.vault import Vault

log = structlog.get_logger()
_PATIENCE_S = 60.0  # for one answer
_PAUSE_S = 60.0  # after it has failed
_IDLE_S = 30.0
_END_S = 5.0  # for a killed process to be gone
_LIMIT = 1 << 19  # bytes of an answer read ahead


class SecondProcess:
    """Makes what it is given, in order. It belongs to the event loop that calls it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._life: _Life | None = None
        self._under_way = set[asyncio.Task[Made | None]]()
        self._stopped = False
        self._used_at = self._not_before = 0.0

    async def make(self, job: Job) -> Made | None:
        """What it made; null if it cannot."""
        if self._stopped or asyncio.get_running_loop().time() < self._not_before:
            return None
        exchange = asyncio.create_task(self._exchange(job))
        self._under_way.add(exchange)
        exchange.add_done_callback(self._under_way.discard)
        return await asyncio.shield(exchange)  # whoever gives up leaves the answer to be read: the next one is behind it

    async def rest(self) -> None:
        """End it if it had nothing to do for a while."""
        if self._life is not None and not self._under_way and asyncio.get_running_loop().time() - self._used_at > _IDLE_S:
            await self._end(self._life)

    def distrust(self) -> None:
        """Do without it for a while: the database did not take what it made."""
        self._not_before = asyncio.get_running_loop().time() + _PAUSE_S

    async def stop(self) -> None:
        """End it for good."""
        self._stopped = True
        if self._life is not None:
            await self._end(self._life)
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _exchange(self, job: Job) -> Made | None:
        if self._stopped:
            return None
        life = self._life = self._life or _Life()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                made = await life.answer(job, self._vault)
        except Exception as error:  # whatever it is, the work can be done here
            if not life.over:  # nobody ended it, and this is the first to notice
                log.warning("second process failed, its work is done here", error=type(error).__name__)
                self.distrust()
            await self._end(life)
            return None
        except BaseException:
            life.kill()  # half an answer is left in it
            raise
        finally:
            self._used_at = asyncio.get_running_loop().time()
        if not made.packed:
            await self._end(life)  # the next one is given today's keys
            return None
        return made

    async def _end(self, life: "_Life") -> None:
        if self._life is life:
            self._life = None
        await life.end()


class _Life:
    """One process from its beginning to its end. Nobody reads from it once it is `over`, so that no answer goes to another's job."""

    def __init__(self) -> None:
        self.over = False
        self._process: Process | None = None
        self._writing, self._reading = asyncio.Lock(), asyncio.Lock()

    async def answer(self, job: Job, vault: Vault) -> Made:
        """What it says to a job. Any exception if it does not, or not to this one."""
        async with self._writing:
            self._must_go_on()
            if self._process is None:
                self._process = await _begun()
                self._must_go_on()
                await _send(self._process, Keys(vault.masters))
            await _send(self._process, job)
        async with self._reading:  # in the order in which they were given
            self._must_go_on()
            said = cast("asyncio.StreamReader", self._process.stdout)
            (length,) = pipes.LENGTH.unpack(await said.readexactly(pipes.LENGTH.size))
            made = msgspec.msgpack.decode(await said.readexactly(length), type=Made)
        if made.batch != job.batch:
            raise ValueError("an answer to another job")
        return made

    async def end(self) -> None:
        """End it now, also where it is only about to begin; returns when it is gone."""
        self.kill()
        if self._process is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await self._process.wait()

    def kill(self) -> None:
        """The same without waiting."""
        self.over = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            cast("asyncio.StreamWriter", self._process.stdin).close()

    def _must_go_on(self) -> None:
        if self.over or (self._process is not None and self._process.returncode is not None):
            raise BrokenPipeError


async def _begun() -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", PROGRAM, FORM, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=_LIMIT, env=pipes.environment())


async def _send(process: Process, message: Job | Keys) -> None:
    given, data = cast("asyncio.StreamWriter", process.stdin), msgspec.msgpack.encode(message)
    given.write(pipes.LENGTH.pack(len(data)))
    given.write(data)
    await given.drain()
