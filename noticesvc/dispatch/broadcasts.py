"""The loops of broadcasts: notices made for approved ones, and the upkeep of all that are under way.

Every worker runs them; the row of a broadcast is held by one of them at a time, so that they never do the same twice. While the
database writes one portion of notices the next ones are made: in a second process where there is a core for it, or a few
notices at a time between the database's answers.
"""

import asyncio
import os
from collections import deque
from collections.abc import Coroutine
from typing import Any, NamedTuple

from noticesvc.dispatch.loop import Loop, Loops
from noticesvc.dispatch.second_process import SecondProcess
from noticesvc.errors import UnavailableError
from noticesvc.operations import broadcast_expansion, broadcast_upkeep
from noticesvc.operations.broadcast_making import Making
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

_POLL_S = 0.5
_AHEAD = 2  # portions beside the one that is being written: whoever is quicker, the database or we, need not wait
_AT_ONCE = 16  # notices made before others in the event loop have their turn: half a millisecond


class Broadcasts(Loops):
    """Started by bootstrap where a worker runs. Stopped between two transactions: what is not made yet is made by whoever starts next."""

    def __init__(self, database: Database, world: World) -> None:
        self._database, self._world = database, world
        self._ahead: deque[_Portion] = deque()
        self._begun = set[asyncio.Task[Making | None]]()  # whatever is on its way
        self._second = SecondProcess(world.vault) if _cores() > 1 else None
        self._rival: tuple[str, str | None] | None = None  # a broadcast that somebody else was quicker with, and how far it had come
        self._loops = [Loop("broadcast-expansion", self._expand, _POLL_S), Loop("broadcast-upkeep", self._look, _POLL_S)]
        for loop in self._loops:
            database.on_commit("broadcasts", loop.woken.set)

    @property
    def making(self) -> bool:
        """Whether portions are on their way."""
        return bool(self._ahead)

    async def stop(self, grace_s: float) -> None:
        """End, and the second process with it, however long the loops take."""
        try:
            await super().stop(grace_s)
        finally:
            self._forget()
            if self._second is not None:
                await self._second.stop()
            await asyncio.gather(*self._begun, return_exceptions=True)

    async def _expand(self) -> bool:
        try:
            follows = bool(self._ahead)
            portion = self._ahead.popleft() if follows else self._begin(None)
            made = await portion.made
            if made is None:
                self._forget()
                if self._second is not None:
                    await self._second.rest()
                return follows  # this broadcast has no more; another may
            while len(self._ahead) < _AHEAD:
                self._ahead.append(self._begin(self._ahead[-1] if self._ahead else portion))
            kept = await self._database.write(broadcast_expansion.keep, made)
        except BaseException as error:
            self._forget()
            if self._second is not None and isinstance(error, Exception) and not isinstance(error, UnavailableError):
                self._second.distrust()  # perhaps the database did not take what it made
            raise
        if kept == "kept":
            return True
        self._forget()
        if kept == "overtaken":
            self._rival = made.broadcast_id, made.after
        # What somebody else is at is left to them for a while; what cannot be made ahead is made in the transaction that writes it.
        return kept == "changed" and await self._database.write(broadcast_expansion.expand, self._world) > 0

    def _begin(self, former: "_Portion | None") -> "_Portion":
        """Begin with the portion after the former one, or with the first of what is left."""
        taken = self._on_its_way(self._take(former))
        return _Portion(taken, self._on_its_way(self._make(former, taken)))

    def _on_its_way(self, work: Coroutine[Any, Any, Making | None]) -> asyncio.Task[Making | None]:
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Making | None]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # of one that was dropped it matters to nobody any more

    async def _take(self, former: "_Portion | None") -> Making | None:
        behind = await former.taken if former is not None else None
        if former is not None and behind is None:
            return None
        busy = await self._busy() if behind is None else None
        # Over a connection that writes, whose plans go by keys whatever the statistics of a table that was just filled say.
        return await self._database.write(broadcast_expansion.take, self._world, behind, busy=busy)

    async def _busy(self) -> str | None:
        """The broadcast that somebody else was quicker with, if it has moved on since: what we made of it would be in vain again."""
        if self._rival is None:
            return None
        broadcast_id, before = self._rival
        now = await self._database.read(broadcast_expansion.reached, broadcast_id)
        self._rival = (broadcast_id, now) if now != before else None
        return broadcast_id if self._rival is not None else None

    async def _make(self, former: "_Portion | None", taken: asyncio.Task[Making | None]) -> Making | None:
        making = await taken
        if making is not None and making.elsewhere and self._second is not None:
            made = await self._second.make(making.job)
            if made is not None:
                making.adopt(made)
                return making
        if former is not None:
            await former.made  # whichever is to be written first is made first
        while making is not None and making.make(_AT_ONCE):  # noqa: ASYNC110  # nothing is waited for: others have their turn
            await asyncio.sleep(0)
        return making

    def _forget(self) -> None:
        """Drop what was made ahead: it follows on something that did not come to be."""
        self._ahead.clear()
        for task in self._begun:
            task.cancel()

    async def _look(self) -> bool:
        return await self._database.write(broadcast_upkeep.look, self._world)


def _cores() -> int:
    """How many this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Portion(NamedTuple):
    """Recipients on their way to notices. The next ones are taken as soon as these are, while these are being made."""

    taken: asyncio.Task[Making | None]
    made: asyncio.Task[Making | None]
