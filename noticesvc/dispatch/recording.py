"""Commits what providers answered: whatever was answered while the last commit ran is committed together in the next.

An answer stays in hand, and in the journal, until it is committed. One that cannot be recorded never holds up the others.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable

import structlog

from noticesvc.errors import UnavailableError
from noticesvc.operations import record
from noticesvc.operations.record import Answer, Schedule
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

log = structlog.get_logger()
AT_MOST = 256
ENOUGH, GATHER_S = 128, 0.02  # while calls are under way, fewer answers wait so long for others: a transaction costs as much for one
POLL_S = 0.5


class Recording:
    """The recorder of a worker. `committed` is told which answers are durable; `busy` whether calls are still in flight."""

    def __init__(self, database: Database, world: World, schedule: Schedule, committed: Callable[[list[Answer]], None],
                 busy: Callable[[], bool]) -> None:
        self._database, self._world, self._schedule = database, world, schedule
        self._committed, self._busy = committed, busy
        self._answers: deque[Answer] = deque()
        self._answered = asyncio.Event()
        self._stopping = False
        self._random = random.SystemRandom()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the running event loop."""
        self._task = asyncio.create_task(self._run(), name="worker-record")

    def add(self, answer: Answer) -> None:
        """Take an answer."""
        self._answers.append(answer)
        self._answered.set()

    def wake(self) -> None:
        """Something ended; look whether there is anything left to wait for."""
        self._answered.set()

    async def stop(self, grace_s: float) -> None:
        """Record what is in hand and what calls in flight still bring, within `grace_s`."""
        self._stopping = True
        self._answered.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=grace_s)
            self._task.cancel()

    @property
    def dead(self) -> bool:
        """Whether it has ended although nobody asked it to."""
        return self._task is not None and self._task.done() and not self._stopping

    async def _run(self) -> None:
        pause = 0.05
        while not (self._stopping and not self._busy() and not self._answers):
            if not self._answers:
                self._answered.clear()
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._answered.wait()
                except TimeoutError:
                    pass
                continue
            if len(self._answers) < ENOUGH and self._busy() and not self._stopping:
                await asyncio.sleep(GATHER_S)
            batch = [self._answers.popleft() for _ in range(min(len(self._answers), AT_MOST))]
            if await self._record(batch):
                pause = 0.05
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def _record(self, batch: list[Answer]) -> bool:
        """Commit a batch; whether that worked. What did not is in hand again, behind the others."""
        try:
            await self._database.write(record.record, self._world, self._schedule, batch, [self._random.random() for _ in batch])
        except Exception as error:
            if isinstance(error, UnavailableError):
                self._answers.extendleft(reversed(batch))
                return False
            log.error("answers cannot be recorded", error=type(error).__name__, exc_info=True)
            if len(batch) == 1:
                self._answers.extend(batch)
            else:
                for answer in batch:
                    await self._record([answer])
            return False
        self._committed(batch)
        return True
