"""The version of the database and this program: migrating while others work on it, refusing to start, and stopping when it went past us.

Called by `noticesvc migrate`, by whatever opens an installation, and by `serving`, which runs SchemaWatch beside the components.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from noticesvc.dispatch.loop import Loop
from noticesvc.errors import ConfigurationError, DatabaseLocked
from noticesvc.storage import migrate
from noticesvc.storage.database import Database

log = structlog.get_logger()
LOOK_S = 5.0
PATIENCE_S = 900.0
_PAUSE_S = 1.0  # between two tries, so that those who stood behind one get through


async def check(database: Database) -> None:
    """Raise ConfigurationError unless the database is at the version of this program, or at a later one that only added to it."""
    if not await database.read(migrate.supports):
        current, head = await database.read(migrate.current), migrate.head()
        if current is not None and head is not None and current > head:
            raise ConfigurationError(f"The database is at version {current}, which this program ({head}) no longer understands; "
                                     "install the newer program here too.")
        state = "holds no tables of noticesvc yet" if current is None else f"is at version {current}, this program needs {head}"
        raise ConfigurationError(
            f"The database {state}; run `noticesvc migrate --config FILE` (or `noticesvc init` for a new installation).")


async def bring_up(database: Database, say: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
    """Run the missing migrations one by one, each in a transaction that gives way while a table is in use; `say` is told of it.

    A database of a later version is left as it is. Raises DatabaseLocked, with who is in the way, after `patience_s`; what was done until
    then stays, and the next call goes on. Raises ConfigurationError if the database is no longer for this program.
    """
    ends = time.monotonic() + patience_s
    while missing := await database.read(migrate.missing):
        try:
            await database.write(migrate.step)
        except DatabaseLocked:
            who = await database.read(migrate.oldest) or "somebody"
            if time.monotonic() > ends:
                raise DatabaseLocked(f"Version {missing[0]} needs a table that a long transaction uses: {who}. "
                                     "End it, or run this again later; what was done stays.") from None
            say(f"Version {missing[0]} waits for a transaction of {who}.")
            await asyncio.sleep(_PAUSE_S)
    await check(database)


class SchemaWatch:
    """Ends this process when a migration took away what it needs: later it would fail at every turn, and nobody would say why."""

    def __init__(self, database: Database, end: Callable[[], None]) -> None:
        self._database, self._end = database, end
        self._loop = Loop("schema", self._look, LOOK_S)
        self.outdated = False

    async def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def stop(self, grace_s: float) -> None:
        """End at once."""
        await self._loop.stop()

    def faults(self) -> dict[str, str]:
        """Nothing that `/readyz` does not find by itself."""
        return {"schema": "This loop has ended; restart the process."} if self._loop.dead else {}

    async def _look(self) -> bool:
        try:
            await check(self._database)
        except ConfigurationError as error:
            self.outdated = True
            log.critical("the database went past this program; it ends", says=str(error))
            self._end()
        return False
