"""Faults put into the service's process on purpose, so that the kill test can show that it finds them. Never part of the product.

Used through Service.wrapper: `from bench.crash import sabotage; sabotage.commit_before_append()` runs before the command line.
"""

import asyncio
import functools
import os
import signal
import time
from pathlib import Path
from typing import Any

from sqlalchemy import insert, or_

from noticesvc.dispatch import journal, recording, worker
from noticesvc.errors import DatabaseUnavailable
from noticesvc.operations import claim
from noticesvc.storage import tables as t
from noticesvc.storage import transaction
from noticesvc.storage.database import Database

_LATE_S = 0.4


def commit_before_append() -> None:
    """State is committed first, and its ledger entries in a transaction of their own a moment later."""
    finish, write = transaction.Tx.finish, Database.write
    kept: list[dict[str, Any]] = []
    later: set[asyncio.Task[None]] = set()

    def without_entries(tx: transaction.Tx) -> None:
        if tx._entries:
            kept.append({"batch": tx._batch, "created_at": tx.now,
                         "data": b"".join(len(entry).to_bytes(2, "big") + entry for entry in tx._entries)})
            tx._entries.clear()
        finish(tx)

    async def append(database: Database, rows: list[dict[str, Any]]) -> None:
        await asyncio.sleep(_LATE_S)
        await write(database, lambda tx: (tx.execute(insert(t.ledger_pending), rows), tx.wake("ledger")))

    @functools.wraps(write)
    async def in_two(database: Database, fn: Any, *args: Any, **kwargs: Any) -> Any:
        result = await write(database, fn, *args, **kwargs)
        if kept:
            rows, kept[:] = list(kept), []
            task = asyncio.get_running_loop().create_task(append(database, rows))
            later.add(task)
            task.add_done_callback(later.discard)
        return result

    transaction.Tx.finish = without_entries  # type: ignore[method-assign]
    Database.write = in_two  # type: ignore[method-assign]


def result_before_commit() -> None:
    """The worker takes an answer for committed as soon as it has it, and the database hears of it a moment later."""
    answer, record = journal.Journal.answer, recording.record.record
    journal._EMPTY_ABOVE = 0

    def forgotten(self: journal.Journal, reference: str, given: Any, key: Any) -> None:
        answer(self, reference, given, key)
        self.committed([reference])
        os.ftruncate(self._fd, 0)

    write = Database.write

    @functools.wraps(write)
    async def late(database: Database, fn: Any, *args: Any, **kwargs: Any) -> Any:
        if fn is record:
            await asyncio.sleep(_LATE_S)
        return await write(database, fn, *args, **kwargs)

    journal.Journal.answer = forgotten  # type: ignore[method-assign]
    Database.write = late  # type: ignore[method-assign]


def no_journal() -> None:
    """Nothing is written before a call or after it."""
    journal.Journal.start = lambda *_: None  # type: ignore[method-assign]
    journal.Journal.answer = lambda *_: None  # type: ignore[method-assign]


def no_leases() -> None:
    """Whoever claims takes what others hold, and does not remember what is in hand already."""
    worker.Worker._holds = lambda *_: False  # type: ignore[method-assign]
    claim._lapsed = lambda *_: or_(t.delivery.c.lease_until.is_(None), t.delivery.c.lease_until.is_not(None))


def answers_without_calls() -> None:
    """Some mails are said to have arrived although nobody called the provider: what a lost message looks like."""
    call, calls = worker.call, iter(range(1 << 30))

    @functools.wraps(call)
    async def sometimes(world: Any, sealed: Any, *rest: Any) -> Any:
        if sealed.channel == "email" and next(calls) % 10 == 9:
            now = rest[2]()
            return worker.Answer(sealed.notice_id, sealed.channel, sealed.number, "arrived", now, now, raw=b"250 2.0.0 Ok\r\n")
        return await call(world, sealed, *rest)

    worker.call = sometimes


def fail_after_commit(operation: Any, times: int = 1) -> None:
    """The connection breaks in the moment of the commit: the first writes of this operation are done, and said to have failed."""
    write, left = Database.write, iter(range(times))

    @functools.wraps(write)
    async def broken(database: Database, fn: Any, *args: Any, **kwargs: Any) -> Any:
        result = await write(database, fn, *args, **kwargs)
        if fn is operation and result != [] and next(left, None) is not None:
            raise DatabaseUnavailable("The connection broke in the moment of the commit.")
        return result

    Database.write = broken  # type: ignore[method-assign]


def fail_before(operation: Any, times: int = 1) -> None:
    """The database is not there for the first writes of this operation."""
    write, left = Database.write, iter(range(times))

    @functools.wraps(write)
    async def broken(database: Database, fn: Any, *args: Any, **kwargs: Any) -> Any:
        if fn is operation and next(left, None) is not None:
            raise DatabaseUnavailable("The database is not there.")
        return await write(database, fn, *args, **kwargs)

    Database.write = broken  # type: ignore[method-assign]


def shifted_clock(file: str) -> None:
    """The wall clock of this process goes wrong by the seconds that stand in a file, from one moment to the next."""
    from noticesvc.bootstrap import installation

    installation.sources = lambda: transaction.Sources(
        lambda: time.time_ns() // 1000 + int(Path(file).read_text() or 0) * 1_000_000, os.urandom)


def die(method: str, after: bool, times: int = 1) -> None:
    """End this process by SIGKILL at a method of the journal (`start`, `answer`, `committed`), before or after it does its work."""
    original, counted = getattr(journal.Journal, method), iter(range(1, 1 << 30))

    def dying(self: journal.Journal, *args: Any) -> None:
        last = next(counted) >= times
        if not last or after:
            original(self, *args)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(journal.Journal, method, dying)
