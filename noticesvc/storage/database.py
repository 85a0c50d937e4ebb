"""The database: reads and writes for both engines, and who is told after a commit.

Operations are synchronous functions over a `Tx`. On SQLite they run in one writer thread that commits together whatever
waits (storage.sqlite); on PostgreSQL through SQLAlchemy's greenlet bridge over asyncpg (storage.postgresql). Either way no
operation can tell the difference, and one contract suite runs over both.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from noticesvc.errors import ConfigurationError, UnavailableError
from noticesvc.storage.sqlite import SQLite
from noticesvc.storage.transaction import Sources, Tx

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger()


class Engine(Protocol):
    """What an engine does for Database."""

    name: str

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        """Run over one snapshot."""

    async def write(self, fn: Callable[[Tx], Any], committed: Callable[[set[str]], None]) -> Any:
        """Run and commit; `committed` is told the topics that were woken."""

    async def listen(self, heard: Callable[[set[str]], None]) -> Awaitable[None] | None:
        """Hear commits of other processes, where there can be any; the awaitable ends when the connection is lost."""

    def guard(self, check: Callable[[Tx], None]) -> None:
        """Run this before the first write over each new connection, where connections can lead to another database."""

    async def close(self) -> None:
        """Finish what was accepted and close."""


class Database:
    """One database for one process; `read` and `write` take a synchronous function whose first argument is the transaction.

    `busy_s`: how long a lock, a connection or the writer is waited for; `statement_s`: how long a statement may take, null for ever.
    """

    def __init__(self, url: str, sources: Sources, folder: Path | None = None, *, busy_s: float = 4.0,
                 statement_s: float | None = 60.0) -> None:
        self.sources = sources
        self._held: str | None = None
        self._listeners: dict[str, list[Callable[[], None]]] = defaultdict(list)
        try:
            parsed = make_url(url)
        except ArgumentError:
            msg = "[database] url is no database URL; write sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME"
            raise ConfigurationError(msg) from None
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                msg = "[database] url names no file; a notice must outlive the process: write sqlite+aiosqlite:///noticesvc.db"
                raise ConfigurationError(msg)
            self.engine: Engine = SQLite((folder or Path()) / parsed.database, sources, busy_s)
        elif backend == "postgresql":
            from noticesvc.storage.postgresql import PostgreSQL  # with asyncpg and the ORM: a third of a command's start
            self.engine = PostgreSQL(parsed.set(drivername="postgresql+asyncpg"), sources, busy_s, statement_s)
        else:
            msg = f"[database] url: {backend} is not supported; use sqlite+aiosqlite or postgresql+asyncpg"
            raise ConfigurationError(msg)

    @property
    def is_sqlite(self) -> bool:
        """Whether one process at a time serves on this database."""
        return self.engine.name == "sqlite"

    async def read(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in a read-only transaction over one snapshot. Raises DatabaseUnavailable."""
        result: T = await self.engine.read(lambda tx: fn(tx, *args, **kwargs))
        return result

    async def write(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in a transaction of its own; when this returns, it is durable. Raises DatabaseUnavailable.

        `fn` may run more than once (after a deadlock), so it must not touch anything but the transaction. Raises UnavailableError
        while writing is held.
        """
        if self._held is not None:
            raise UnavailableError(self._held, 60)
        result: T = await self.engine.write(lambda tx: fn(tx, *args, **kwargs), self.announce)
        return result

    def hold(self, why: str) -> None:
        """From now on nothing is written through this database: nothing is accepted, sent or signed; reading goes on."""
        self._held = why

    @property
    def held(self) -> str | None:
        """Why nothing is written; null if all may be."""
        return self._held

    def guard(self, check: Callable[[Tx], None]) -> None:
        """From now on `check` runs before the first write over each new connection to the server (PostgreSQL): another database may
        have taken this one's place. What it raises is raised in place of the write.
        """
        self.engine.guard(check)

    def on_commit(self, topic: str, callback: Callable[[], None]) -> None:
        """Call back, in the event loop, after a commit that woke `topic` here or, on PostgreSQL, in any process."""
        self._listeners[topic].append(callback)

    def announce(self, topics: set[str]) -> None:
        """Tell the listeners of these topics."""
        for topic in topics:
            for callback in self._listeners.get(topic, ()):
                callback()

    async def listen(self) -> Awaitable[None] | None:
        """Begin to hear the commits of other processes (PostgreSQL); polling underneath stays the callers' duty."""
        return await self.engine.listen(self.announce)

    async def close(self) -> None:
        """Finish what was accepted and close every connection."""
        await self.engine.close()
