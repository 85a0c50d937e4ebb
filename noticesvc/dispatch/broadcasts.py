"""The loops of broadcasts: notices made for approved ones, and the upkeep of all that are under way.

Every worker runs them; the row of a broadcast is held by one of them at a time, so that they never do the same twice. While the
database writes one portion of notices the next ones are made, a few notices at a time between its answers, and written too, but for
the end.
"""

import asyncio
from collections import deque
from typing import Literal, NamedTuple

from noticesvc.dispatch.loop import Loop, Loops
from noticesvc.operations import broadcast_expansion, broadcast_upkeep
from noticesvc.operations.broadcast_expansion import Left, NotKept
from noticesvc.operations.broadcast_making import Making
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

_POLL_S = 0.5
_AHEAD = 4  # portions on their way: two are written, one is made, one taken
_TOGETHER = 2  # portions being written: the second ends when the first has
_AT_ONCE = 64  # notices made before others in the event loop have their turn: a millisecond or two

Kept = Literal["kept"] | Left


class Broadcasts(Loops):
    """Started by bootstrap where a worker runs. Stopped between two transactions: what is not made yet is made by whoever starts next."""

    def __init__(self, database: Database, world: World) -> None:
        self._database, self._world = database, world
        self._ahead: deque[_Portion] = deque()
        self._leaving: list[asyncio.Task[Kept | None]] = []
        self._writing = asyncio.Semaphore(_TOGETHER)
        self._loops = [Loop("broadcast-expansion", self._expand, _POLL_S), Loop("broadcast-upkeep", self._look, _POLL_S)]
        for loop in self._loops:
            database.on_commit("broadcasts", loop.woken.set)

    async def stop(self, grace_s: float) -> None:
        """End; what is being written is waited for."""
        await super().stop(grace_s)
        await self._left()

    async def _expand(self) -> bool:
        await self._left()
        try:
            follows = bool(self._ahead)
            if not follows:
                self._ahead.append(self._begin(None))
            first = self._ahead[0]
            if await first.taken is None:
                self._forget()
                return follows  # this broadcast has no more; another may
            while len(self._ahead) < _AHEAD:
                self._ahead.append(self._begin(self._ahead[-1]))
            kept = await first.kept
        except BaseException:
            self._forget()
            raise
        if kept == "kept":
            self._ahead.popleft()
            return True
        self._forget()
        await self._left()
        # What somebody else is at is left to them for a while; what cannot be made ahead is made in the transaction that writes it.
        return kept == "changed" and await self._database.write(broadcast_expansion.expand, self._world) > 0

    def _begin(self, former: "_Portion | None") -> "_Portion":
        """Begin with the portion after the former one, or with the first of what is left."""
        taken = asyncio.create_task(self._take(former))
        made = asyncio.create_task(self._make(former, taken))
        return _Portion(taken, made, asyncio.create_task(self._keep(former, made)))

    async def _take(self, former: "_Portion | None") -> Making | None:
        behind = await former.taken if former is not None else None
        if former is not None and behind is None:
            return None
        # Over a connection that writes, whose plans go by keys whatever the statistics of a table that was just filled say.
        return await self._database.write(broadcast_expansion.take, self._world, behind)

    async def _make(self, former: "_Portion | None", taken: asyncio.Task[Making | None]) -> Making | None:
        making = await taken
        if former is not None:
            await former.made  # whichever is to be written first is made first
        while making is not None and making.make(_AT_ONCE):  # noqa: ASYNC110  # nothing is waited for: others have their turn
            await asyncio.sleep(0)
        return making

    async def _keep(self, former: "_Portion | None", made: asyncio.Task[Making | None]) -> Kept | None:
        making = await made
        if making is None:
            return None
        kept = await self._write(making)
        if kept == "early" and former is not None and await former.kept == "kept":
            kept = await self._write(making)  # it was written more quickly than the former one
        return kept

    async def _write(self, making: Making) -> Kept:
        async with self._writing:
            try:
                await self._database.write(broadcast_expansion.keep, making)
            except NotKept as error:
                return error.left
        return "kept"

    def _forget(self) -> None:
        """Drop what is on its way: it follows on something that did not come to be. What is being written finds that out by itself."""
        while self._ahead:
            portion = self._ahead.pop()
            for task in portion[:2]:
                task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # it matters to nobody any more
                task.cancel()
            self._leaving.append(portion.kept)

    async def _left(self) -> None:
        """Wait until nothing is written any more of what was dropped."""
        await asyncio.gather(*self._leaving, return_exceptions=True)
        self._leaving.clear()

    async def _look(self) -> bool:
        return await self._database.write(broadcast_upkeep.look, self._world)


class _Portion(NamedTuple):
    """Recipients on their way to notices. The next ones are taken as soon as these are, while these are being made or written."""

    taken: asyncio.Task[Making | None]
    made: asyncio.Task[Making | None]
    kept: asyncio.Task[Kept | None]
