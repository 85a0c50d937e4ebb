"""Who may sequence: the holder of one lock in the database, on a connection of its own.

Called by dispatch.sequencer. PostgreSQL frees the lock when that connection ends: at once when its process dies, after some
ten seconds when its host vanishes (TCP keepalive) or the process hangs (idle_session_timeout, beaten by `held`). The epoch
in ledger_head fences whoever believes to hold it still. On SQLite one process serves at a time and always holds it.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

from noticesvc.errors import DatabaseUnavailable
from noticesvc.storage.database import Database

if TYPE_CHECKING:
    import asyncpg  # imported late, as in storage.database: nothing of it is needed on SQLite

LOCK = 7103562  # of pg_try_advisory_lock; locks belong to one database
DEADLINE_S = 5.0
SESSION = {"application_name": "noticesvc sequencer", "tcp_keepalives_idle": "4", "tcp_keepalives_interval": "2",
           "tcp_keepalives_count": "3"}
SILENCE_S = 15


class Election:
    """One candidate. Not to be shared between tasks."""

    def __init__(self, database: Database) -> None:
        self._url: URL | None = None
        self._connection: asyncpg.Connection[Any] | None = None
        if not database.is_sqlite:
            from noticesvc.storage.postgresql import PostgreSQL
            assert isinstance(database.engine, PostgreSQL)  # noqa: S101 - there are two engines
            self._url = database.engine.url

    async def held(self) -> bool:
        """Whether this candidate holds the lock, which it tries to take if not; call it every few seconds to keep it.

        Raises DatabaseUnavailable; the lock must then be taken for lost.
        """
        if self._url is None:
            return True
        import asyncpg
        try:
            async with asyncio.timeout(DEADLINE_S):
                if self._connection is not None:
                    await self._connection.execute("select 1")
                    return True
                return await self._stand(self._url)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self.release()
            raise DatabaseUnavailable("The database cannot be reached to elect a sequencer.") from error

    def release(self) -> None:
        """Give the lock up at once; safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _stand(self, url: URL) -> bool:
        import asyncpg
        connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False),
                                           timeout=DEADLINE_S, server_settings=SESSION)
        elected: bool = False
        try:
            if await connection.fetchval("select 1 from pg_settings where name = 'idle_session_timeout'"):  # since 14
                await connection.execute(f"set idle_session_timeout = '{SILENCE_S}s'")
            elected = bool(await connection.fetchval("select pg_try_advisory_lock($1)", LOCK))
        finally:
            if not elected:
                connection.terminate()
        if elected:
            self._connection = connection
        return elected
