"""The shared commit of concurrent POSTs: whatever arrives while the last commit runs is accepted together in the next.

Made by bootstrap, called by the routes of notices through `House.acceptor`. Nobody hears `accepted` before the commit.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from noticesvc.api.patience import LONGEST_WAIT_S, in_time
from noticesvc.domain.access import Access
from noticesvc.errors import DatabaseUnavailable, UnavailableError
from noticesvc.operations import accept
from noticesvc.operations.accept import Outcome
from noticesvc.operations.notice_request import NoticeRequest
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

log = structlog.get_logger()
GROUP = 256  # requests a commit; one call's requests are never parted, so a batch may make it larger


@dataclass(slots=True)
class _Asked:
    requests: list[tuple[Access, NoticeRequest]]
    done: asyncio.Future[list[Outcome | Exception]]


class SharedAcceptor:
    """Accepts notices, many callers sharing one commit. `start` before the first call; `close` finishes what was taken."""

    def __init__(self, database: Database, world: World) -> None:
        self._database, self._world = database, world
        self._waiting: deque[_Asked] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Begin to accept."""
        self._task = asyncio.create_task(self._run(), name="acceptor")

    async def stop(self, grace_s: float) -> None:
        """Finish what was taken, within `grace_s` seconds."""
        self._closed = True
        self._arrived.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=grace_s)
            if not done:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        _refuse(self._waiting)

    async def close(self) -> None:
        """Finish what was taken."""
        await self.stop(2 * LONGEST_WAIT_S)

    def faults(self) -> dict[str, str]:
        """Nothing that the database does not say itself."""
        return {}

    async def accept(self, access: Access, requests: Sequence[NoticeRequest]) -> list[Outcome | Exception]:
        """What became of each request, in order; durable when this returns. An exception is the answer to that one alone.

        Raises DatabaseUnavailable within five seconds if it cannot be said that they are durable.
        """
        if not requests:
            return []
        if self._closed or self._task is None:
            raise UnavailableError("This process is ending; repeat the request at another.")
        asked = _Asked([(access, request) for request in requests], asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._arrived.set()
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                return await asked.done
        except TimeoutError:
            raise DatabaseUnavailable("The database does not answer in time; repeat the request with the same Idempotency-Key.") from None

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while group := self._next():
                await self._accept(group)
            if self._closed:
                return

    def _next(self) -> list[_Asked]:
        """The calls of one commit. Whoever gave up waiting is left out: nothing was promised and nothing is written."""
        group: list[_Asked] = []
        size = 0
        while self._waiting and size < GROUP:
            if group and size + len(self._waiting[0].requests) > GROUP:
                break
            asked = self._waiting.popleft()
            if not asked.done.done():
                group.append(asked)
                size += len(asked.requests)
        return group

    async def _accept(self, group: list[_Asked]) -> None:
        try:
            outcomes = await in_time(self._database.write(accept.accept, self._world,
                                                           [pair for asked in group for pair in asked.requests]))
        except UnavailableError as error:
            for asked in group:
                _fail(asked, DatabaseUnavailable(error.detail, error.retry_after_s))
        except Exception as error:
            await self._part(group, error)
        else:
            at = 0
            for asked in group:
                if not asked.done.done():
                    asked.done.set_result([*outcomes[at:at + len(asked.requests)]])
                at += len(asked.requests)

    async def _part(self, group: list[_Asked], error: Exception) -> None:
        """One request made the whole commit fail in a way that no rule foresees: find it, so that only it fails."""
        if len(group) > 1:
            for asked in group:
                await self._accept([asked])
            return
        asked = group[0]
        if len(asked.requests) == 1:
            _fail(asked, error)
            return
        found: list[Outcome | Exception] = []
        for pair in asked.requests:
            single = _Asked([pair], asyncio.get_running_loop().create_future())
            await self._accept([single])
            failed = single.done.exception()
            found += single.done.result() if failed is None else [failed if isinstance(failed, Exception) else error]
        if not asked.done.done():
            asked.done.set_result(found)


def _fail(asked: _Asked, error: Exception) -> None:
    if not asked.done.done():
        asked.done.set_exception(error)


def _refuse(waiting: deque[_Asked]) -> None:
    while waiting:
        _fail(waiting.popleft(), UnavailableError("This process is ending; repeat the request at another."))
