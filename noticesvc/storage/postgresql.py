"""PostgreSQL through asyncpg: transactions, what counts as unavailable, repeats after a deadlock, LISTEN/NOTIFY.

Needs a direct connection, not transaction pooling: leases use the database's clock, the sequencer an advisory lock, and
waking LISTEN.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from noticesvc.errors import DatabaseLocked, DatabaseUnavailable, Overtaken
from noticesvc.storage.transaction import Sources, Tx

log = structlog.get_logger()
# SQLSTATE: serialization failure, deadlock; a lock that somebody keeps; then connection, resources, intervention, system, read-only,
# a statement that was cancelled, a right that was taken away.
REPEAT = {"40001", "40P01"}
LOCKED = "55P03"
UNAVAILABLE = ("08", "53", "57P", "58", "25006", "57014", "42501")
_BUSY = "The database is busy; repeat the request later."


# Writers touch rows by key, from a handful to some thousands at a time: plans are made once and never scan, and no process is begun
# for a statement of some milliseconds.
WRITING = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off",
           "max_parallel_workers_per_gather": "0"}


def _engine(url: URL, busy_s: float, statement_s: float | None, settings: dict[str, str]) -> AsyncEngine:
    common = {"application_name": "noticesvc", "jit": "off", "timezone": "UTC", "idle_in_transaction_session_timeout": "60000",
              "lock_timeout": str(int(busy_s * 1000))}
    return create_async_engine(url, pool_size=8, max_overflow=8, pool_timeout=busy_s, pool_use_lifo=True,
                               connect_args={"timeout": busy_s, "command_timeout": statement_s, "server_settings": common | settings})
_GUARDED = "guarded"  # by which guard a connection was let through


def _trusting(tx: Tx) -> None:
    """No guard."""


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection. Whatever hinders making one (the server, its limits, a database that takes none) is no fault of the caller's."""
    try:
        connection = await engine.connect()
    except Exception as error:
        log.error("database cannot be reached", error=type(error).__name__)
        raise _unavailable() from error
    try:
        yield connection
    finally:
        await connection.close()


def _unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database cannot be read or written at the moment; repeat the request later.")


def _judge(error: BaseException) -> BaseException:
    """What a failure means: repeat at once, tell the caller to come back later, or a fault of ours."""
    # A COPY goes past SQLAlchemy, so that the driver's own errors come from it.
    state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None) or ""
    if state in REPEAT:
        return Overtaken(_BUSY)
    if state == LOCKED:
        log.warning("a lock is kept by another transaction")
        return DatabaseLocked(_BUSY)
    gone = isinstance(error, OSError | PoolTimeout | TimeoutError | InterfaceError | OperationalError | asyncpg.InterfaceError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated)
    if gone or state.startswith(UNAVAILABLE):
        log.error("database cannot be used", error=type(error).__name__, sqlstate=state)
        return _unavailable()
    return error


class PostgreSQL:
    """The engine over one PostgreSQL database."""

    name = "postgresql"

    def __init__(self, url: URL, sources: Sources, busy_s: float, statement_s: float | None) -> None:
        self.url, self.sources, self.busy_s = url, sources, busy_s
        self._writing = _engine(url, busy_s, statement_s, WRITING)
        self._reading = _engine(url, busy_s, statement_s, {}).execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._listener: asyncpg.Connection[Any] | None = None
        self._guard: Callable[[Tx], None] = _trusting

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        """Run over one snapshot, read-only; a connection that died while it was idle is replaced once."""
        async def once() -> Any:
            async with _connected(self._reading) as conn, conn.begin():
                return await conn.run_sync(lambda sync: fn(Tx(sync, self.sources, self.sources.clock())))
        try:
            return await once()
        except Exception as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                try:
                    return await once()
                except Exception as second:
                    raise _judge(second) from second
            raise _judge(error) from error

    async def write(self, fn: Callable[[Tx], Any], committed: Callable[[set[str]], None]) -> Any:
        """Run in one transaction; repeated on deadlock or serialization failure."""
        topics: set[str] = set()

        async def once() -> Any:
            async with _connected(self._writing) as conn, conn.begin():
                def run(sync: Any) -> Any:
                    nonlocal topics
                    tx = Tx(sync, self.sources, self.sources.clock())
                    if sync.info.get(_GUARDED) is not self._guard:
                        self._guard(tx)
                        sync.info[_GUARDED] = self._guard
                    result = fn(tx)
                    tx.finish()
                    topics = tx.topics
                    return result
                return await conn.run_sync(run)

        async for turn in AsyncRetrying(retry=retry_if_exception_type(Overtaken), stop=stop_after_attempt(6),
                                        wait=wait_random_exponential(multiplier=0.02, max=0.5), reraise=True):
            with turn:
                try:
                    result = await once()
                except Exception as error:
                    judged = _judge(error)
                    if judged is error:
                        raise
                    raise judged from error
        if topics:
            committed(topics)
        return result

    def guard(self, check: Callable[[Tx], None]) -> None:
        """Run this before the first write over each connection."""
        self._guard = check

    async def listen(self, heard: Callable[[set[str]], None]) -> Awaitable[None]:
        """Hear the commits of every process; the returned awaitable ends when the connection is lost."""
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(url, timeout=self.busy_s)
        self._listener = connection

        def gone(*_: object) -> None:
            if not lost.done():
                lost.set_result(None)

        connection.add_termination_listener(gone)

        def told(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            process, _, topics = str(payload).partition(" ")
            if process != self.sources.process or process == "-":  # its own commits a process hears without the detour
                heard(set(topics.split(",")))

        await connection.add_listener("noticesvc", told)
        return lost

    async def close(self) -> None:
        """Close the pool and the listening connection."""
        if self._listener is not None:
            self._listener.terminate()
        await self._writing.dispose()
        await self._reading.dispose()
