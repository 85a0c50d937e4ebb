"""The loops of broadcasts: notices made for approved ones, and the upkeep of all that are under way.

Every worker runs them; the row of a broadcast is held by one of them at a time, so that they never do the same twice.
"""

from noticesvc.dispatch.loop import Loop, Loops
from noticesvc.operations import broadcast_expansion, broadcast_upkeep
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

_POLL_S = 0.5


class Broadcasts(Loops):
    """Started by bootstrap where a worker runs. Stopped between two transactions: what is not made yet is made by whoever starts next."""

    def __init__(self, database: Database, world: World) -> None:
        self._database, self._world = database, world
        self._loops = [Loop("broadcast-expansion", self._expand, _POLL_S), Loop("broadcast-upkeep", self._look, _POLL_S)]
        for loop in self._loops:
            database.on_commit("broadcasts", loop.woken.set)

    async def _expand(self) -> bool:
        return await self._database.write(broadcast_expansion.expand, self._world) > 0

    async def _look(self) -> bool:
        return await self._database.write(broadcast_upkeep.look, self._world)
