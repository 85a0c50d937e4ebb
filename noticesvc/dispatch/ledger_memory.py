"""Remembers the newest checkpoint that this process, or the outside copy, has seen: a database that lacks it is an older copy.

Started by bootstrap in every process on PostgreSQL, where the database can be restored under a running service. From then on the
process reads only: nothing is accepted, sent or signed. Looked at every few seconds, and before the first write over each new
connection, since a database that was put in the place of another one is met over new connections.
"""

import asyncio
from pathlib import Path

import structlog

from noticesvc.dispatch import outside_copy
from noticesvc.dispatch.loop import Loop
from noticesvc.errors import LedgerBehind, LedgerMismatch, UnavailableError
from noticesvc.operations import remembering
from noticesvc.operations.remembering import Seen
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Tx

log = structlog.get_logger()
LOOK_S = 1.0


class LedgerMemory:
    """The loop and what it has seen. `start` and `stop` belong to the event loop that runs them."""

    def __init__(self, database: Database, copy: Path) -> None:
        self._database, self._copy = database, copy
        self._loop = Loop("ledger memory", self._turn, LOOK_S)
        self._seen: Seen | None = None

    async def start(self) -> None:
        """Look once, and begin."""
        await self._turn()
        self._database.guard(self._require)
        self._loop.start()

    async def stop(self, grace_s: float) -> None:
        """End at once: there is nothing to finish."""
        await self._loop.stop()

    def faults(self) -> dict[str, str]:
        """Why nothing is written, if an older database was met."""
        found = {"ledger_memory": "This loop has ended; restart the process."} if self._loop.dead else {}
        return found | ({"signer": self._database.held} if self._database.held else {})

    async def _turn(self) -> bool:
        if self._database.held is None:
            copied = await asyncio.to_thread(self._copied)  # before the database, which is never behind it
            try:
                seen = max((one for one in (self._seen, copied) if one is not None), default=None)
                self._seen = await self._database.read(remembering.look, seen)
            except LedgerBehind as error:
                self._hold(error)
        return False

    def _copied(self) -> Seen | None:
        try:
            note = outside_copy.read(self._copy)
        except LedgerMismatch:
            return None  # told by those who check it at the start
        return remembering.read(note) if note is not None else None

    def _require(self, tx: Tx) -> None:
        """Before the first write over a connection."""
        try:
            remembering.require(tx, self._seen)
        except LedgerBehind as error:
            self._hold(error)
            raise UnavailableError(str(error), 60) from None

    def _hold(self, error: LedgerBehind) -> None:
        self._database.hold(str(error))
        log.critical("an older database was restored: read-only, nothing is sent; see `noticesvc ledger recover`", says=str(error))
