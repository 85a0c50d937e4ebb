"""The loops of broadcasts: notices made for approved ones, and the upkeep of all that are under way.

Every worker runs them; the row of a broadcast is held by one of them at a time, so that they never do the same twice. While the
database writes one portion of notices the next is made, a few at a time between its answers.
"""

import asyncio

from noticesvc.dispatch.loop import Loop, Loops
from noticesvc.operations import broadcast_expansion, broadcast_upkeep
from noticesvc.operations.broadcast_making import Making
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

_POLL_S = 0.5
_AT_ONCE = 64  # notices made before others in the event loop have their turn: a millisecond or two


class Broadcasts(Loops):
    """Started by bootstrap where a worker runs. Stopped between two transactions: what is not made yet is made by whoever starts next."""

    def __init__(self, database: Database, world: World) -> None:
        self._database, self._world = database, world
        self._made: Making | None = None  # what waits to be written
        self._loops = [Loop("broadcast-expansion", self._expand, _POLL_S), Loop("broadcast-upkeep", self._look, _POLL_S)]
        for loop in self._loops:
            database.on_commit("broadcasts", loop.woken.set)

    async def _expand(self) -> bool:
        made, self._made = self._made or await self._make(None), None
        if made is not None:
            following = asyncio.create_task(self._make(made))
            try:
                if await self._database.write(broadcast_expansion.keep, made):
                    self._made = await following
                    return True
            finally:
                following.cancel()
        # Nothing was there to make ahead, or it could not be kept: one portion in one transaction.
        return await self._database.write(broadcast_expansion.expand, self._world) > 0

    async def _make(self, former: Making | None) -> Making | None:
        """The portion after the former one, or the first of what is left, made."""
        # Over a connection that writes, whose plans go by keys whatever the statistics of a table that was just filled say.
        making = await self._database.write(broadcast_expansion.take, self._world, former)
        while making is not None and making.make(_AT_ONCE):  # noqa: ASYNC110  # nothing is waited for: others have their turn
            await asyncio.sleep(0)
        return making

    async def _look(self) -> bool:
        return await self._database.write(broadcast_upkeep.look, self._world)
