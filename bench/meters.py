"""What a measurement costs: processor time of process trees, memory, PostgreSQL's log bytes and row writes; and what is still to do."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import asyncpg
import psutil

_WRITES = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables"
_LOG = "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"
_TO_DO = "select count(*) from delivery where state in ('pending', 'unknown') and due_at is not null"
_REPORTED_S = 1.2  # PostgreSQL's processes tell what they counted once a second, or when they end


def cpu_s(pid: int) -> float:
    """Seconds of processor time of a process and all below it, those that have ended included."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for one in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                t = one.cpu_times()
                total += t.user + t.system + t.children_user + t.children_system
    return total


def millis(text: str) -> float:
    """An RFC 3339 time as milliseconds since 1970."""
    return datetime.fromisoformat(text).timestamp() * 1e3


def rss_mib(pid: int) -> float:
    """Resident memory of one process."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def server_pid(port: int) -> int:
    """The process of the PostgreSQL server on a port."""
    for one in psutil.process_iter(["name", "cmdline"]):
        if one.info["name"] == "postgres" and f"port={port}" in (one.info["cmdline"] or []):
            return one.pid
    raise SystemExit("the PostgreSQL server's process was not found")


class Watch:
    """A connection that looks at a database from outside."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection = self._run(asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql")))

    def _run(self, awaitable: Any) -> Any:
        return self._loop.run_until_complete(awaitable)

    def value(self, statement: str) -> int:
        """One number."""
        return int(self._run(self._connection.fetchval(statement)) or 0)

    def execute(self, statement: str) -> None:
        """One statement outside a transaction."""
        self._run(self._connection.execute(statement))

    def ids(self, statement: str) -> list[str]:
        """One column."""
        return [row[0] for row in self._run(self._connection.fetch(statement))]

    @property
    def to_do(self) -> int:
        """Deliveries that wait for their evidence."""
        return self.value(_TO_DO)

    def rate(self, count: int, limit_s: float = 900.0) -> float:
        """Deliveries a second from the first moment at which some of `count` were done until all were (of few, from now)."""
        called = time.monotonic()
        ends = called + limit_s
        while (left := self.to_do) >= count:
            self._wait(ends, left)
        first, began = (count - left, time.monotonic()) if left else (0, called)
        while left := self.to_do:
            self._wait(ends, left)
        return (count - first) / (time.monotonic() - began)

    @staticmethod
    def _wait(ends: float, left: int) -> None:
        if time.monotonic() > ends:
            raise SystemExit(f"{left} deliveries are not done in time")
        time.sleep(0.02)

    def counted(self) -> tuple[int, int]:
        """Row writes and bytes of the write-ahead log so far."""
        time.sleep(_REPORTED_S)
        return self.value(_WRITES), self.value(_LOG)

    def close(self) -> None:
        """Hang up."""
        self._run(self._connection.close())
        self._loop.close()


@contextlib.contextmanager
def watching(url: str) -> Iterator[Watch]:
    """A Watch for the block."""
    watch = Watch(url)
    try:
        yield watch
    finally:
        watch.close()
