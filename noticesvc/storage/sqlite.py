"""SQLite: one writer thread with group commit, a few readers; WAL and synchronous=FULL, so a commit survives a power cut.

The writer takes whatever waits, runs each function in a savepoint of one transaction and commits once: concurrent writers
share one flush to disk, and an error in one undoes only that one.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from noticesvc.errors import DatabaseUnavailable
from noticesvc.storage.transaction import Sources, Tx

log = structlog.get_logger()
GROUP = 256  # functions a commit; bounds how long the first of them waits
READERS = 4


@dataclass(slots=True)
class _Write:
    fn: Callable[[Tx], Any]
    committed: Callable[[set[str]], None]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    begun: bool = False
    abandoned: bool = False
    topics: set[str] | None = None
    result: Any = None
    error: BaseException | None = None


def _unavailable(error: BaseException) -> BaseException:
    if isinstance(error, OperationalError):
        log.error("database cannot be used", error=str(error.orig))
        return DatabaseUnavailable("The database cannot be read or written at the moment; repeat the request later.")
    return error


def connect(path: Path, busy_s: float, *, readers: int = 0) -> Engine:
    """An engine over one file; with `readers`, connections that can only read."""
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=max(1, readers), max_overflow=0,
                           connect_args={"check_same_thread": False, "timeout": busy_s}, pool_timeout=busy_s)

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours to say
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA cache_size=-65536")
        if readers:
            cursor.execute("PRAGMA query_only=1")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if readers else "BEGIN IMMEDIATE")

    return engine


class SQLite:
    """The engine over one SQLite file."""

    name = "sqlite"

    def __init__(self, path: Path, sources: Sources, busy_s: float) -> None:
        self.path, self.sources, self.busy_s = path, sources, busy_s
        self._writer_engine = connect(path, busy_s)
        self._reader_engine = connect(path, busy_s, readers=READERS)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-read")
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    def guard(self, check: Callable[[Tx], None]) -> None:
        """Nothing: an open file stays the same file, whatever takes its name."""

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        """Run in a reader thread, over one snapshot."""
        def run() -> Any:
            with self._reader_engine.connect() as conn, conn.begin():
                return fn(Tx(conn, self.sources, self.sources.clock()))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except DBAPIError as error:
            raise _unavailable(error) from error

    async def write(self, fn: Callable[[Tx], Any], committed: Callable[[set[str]], None]) -> Any:
        """Queue for the writer thread and wait for the commit; what has not begun when time is up is not done at all."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name="sqlite-write", daemon=True)
            self._writer.start()
        loop = asyncio.get_running_loop()
        write = _Write(fn, committed, loop, loop.create_future())
        self._queue.put(write)
        try:
            # Longer than one transaction may wait for the file.
            return await asyncio.wait_for(asyncio.shield(write.future), self.busy_s + 0.5)
        except TimeoutError:
            if write.begun:  # it will be known what becomes of it; whoever cannot wait for that gives up by themselves
                return await asyncio.shield(write.future)
            write.abandoned = True
            raise DatabaseUnavailable("The database is busy; repeat the request later.") from None
        except asyncio.CancelledError:
            write.abandoned = True
            raise

    async def listen(self, heard: Callable[[set[str]], None]) -> None:
        """One process serves on SQLite: there is nobody else to hear."""
        return

    async def close(self) -> None:
        """Let the writer finish what it was given, then close."""
        if self._writer is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._writer.join)
            self._writer = None
        self._readers.shutdown(wait=True)
        self._writer_engine.dispose()
        self._reader_engine.dispose()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = [first], False
            while len(group) < GROUP and not self._queue.empty():
                write = self._queue.get()
                if write is None:
                    last = True
                    break
                group.append(write)
            self._commit([w for w in group if not w.abandoned])
            if last:
                return

    def _commit(self, group: list[_Write]) -> None:
        try:
            with self._writer_engine.connect() as conn, conn.begin():
                for write in group:
                    if not write.abandoned:  # while this transaction waited for the file
                        self._one(conn, write)
        except BaseException as error:
            failed = _unavailable(error)
            for write in group:
                write.error = write.error or failed
        for write in group:
            write.loop.call_soon_threadsafe(_settle, write)

    def _one(self, conn: Connection, write: _Write) -> None:
        write.begun = True
        savepoint = conn.begin_nested()
        try:
            tx = Tx(conn, self.sources, self.sources.clock())
            write.result = write.fn(tx)
            tx.finish()
            savepoint.commit()
            write.topics = tx.topics
        except OperationalError:
            raise  # the file or disk: the whole group fails
        except BaseException as error:
            savepoint.rollback()
            write.error = error


def _settle(write: _Write) -> None:
    if write.error is None and write.topics:
        write.committed(write.topics)
    if write.future.done():
        return
    if write.error is not None:
        write.future.set_exception(write.error)
    else:
        write.future.set_result(write.result)
