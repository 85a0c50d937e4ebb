"""One transaction as operations see it: statements, one instant, fresh ids, and the ledger entries it appends.

State and ledger entry commit together because there is no other way to append: entries are collected here and written as
one pending row when the function that got this transaction returns.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from sqlalchemy import ARRAY, ColumnElement, Connection, CursorResult, Executable, any_, insert, literal

from noticesvc.domain import instant
from noticesvc.domain.identity import uuid7, uuid7s
from noticesvc.ledger import entry as ledger_entry
from noticesvc.ledger.entry import SALT_BYTES
from noticesvc.storage import arrays, bulk, bundle
from noticesvc.storage import tables as t

_AT_ONCE = 32  # ids or salts
_NOTIFY = "select pg_notify('noticesvc', $1)"
_PENDING_AND_NOTIFY = (  # one statement, since every transaction that writes ends with it
    "with kept as (insert into ledger_pending (batch, created_at, data) values ($1, $2, $3)) select pg_notify('noticesvc', $4)")


class EntryRef(NamedTuple):
    """Names a ledger entry before it has an index: the transaction's batch and the position in it."""

    batch: str
    offset: int

    @property
    def columns(self) -> dict[str, Any]:
        """The two columns by which a row names its entry."""
        return {"entry_batch": self.batch, "entry_offset": self.offset}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where time and randomness come from; tests give their own."""

    clock: Callable[[], int]  # microseconds since 1970 UTC
    random: Callable[[int], bytes]
    process: str = "-"  # names this process among those that hear each other's commits

    def new_id(self) -> str:
        """A fresh UUIDv7."""
        return uuid7(self.clock(), self.random(10))


@dataclass(slots=True)
class Tx:
    """A transaction in progress. `now` is the one instant (microseconds) at which everything in it happens."""

    conn: Connection
    sources: Sources
    now: int
    topics: set[str] = field(default_factory=set)
    _entries: list[bytes] = field(default_factory=list)
    _packed: bytes = b""
    _batch: str = ""
    _ids: int = 0
    _ready: list[str] = field(default_factory=list)
    _salts: bytes = b""
    _salted: int = 0
    _at: str = ""

    @property
    def at(self) -> str:
        """`now` as entries and answers write it."""
        if not self._at:
            self._at = instant.text(instant.from_micros(self.now))
        return self._at

    def happens_at(self, now: int) -> None:
        """Let everything in this transaction happen at the instant (microseconds) at which some of it was made; said first of all."""
        if self._ids or self._batch:
            raise ValueError("ids or entries of this transaction have another instant already")
        self.now, self._at = now, ""

    @property
    def postgresql(self) -> bool:
        """Whether row locks and advisory locks are available (SQLite has one writer and needs none)."""
        return self.conn.dialect.name == "postgresql"

    def new_id(self) -> str:
        """A fresh UUIDv7 of this transaction's time."""
        if not self._ready:  # one for whoever needs one, then many in one system call
            self._ready = self._made(_AT_ONCE if self._ids else 1)[::-1]
        return self._ready.pop()

    def _made(self, number: int) -> list[str]:
        first, self._ids = self._ids + 1, self._ids + number
        return uuid7s(self.now, self.sources.random(6 * number), first)

    def salt(self) -> bytes:
        """32 fresh random bytes for one commitment."""
        self._salted += SALT_BYTES
        if self._salted >= len(self._salts):  # as with ids
            self._salts = self.sources.random(SALT_BYTES if not self._salts else _AT_ONCE * SALT_BYTES)
            self._salted = 0
        return self._salts[self._salted:self._salted + SALT_BYTES]

    def execute(self, statement: Executable, rows: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None) -> CursorResult[Any]:
        """Run one statement; an empty sequence of rows is refused by callers, never silently run without values."""
        return self.conn.execute(statement, rows) if rows is not None else self.conn.execute(statement)

    def insert(self, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns; nothing for none."""
        if rows:
            bulk.insert_rows(self.conn, table, rows)

    def insert_new(self, table: Any, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert those rows whose keys are free, all with the same columns; how many there were."""
        return bulk.insert_new_rows(self.conn, table, rows) if rows else 0

    def insert_ready(self, rows: bulk.Rows) -> None:
        """Insert rows that were put together ahead."""
        rows.insert(self.conn)

    def update(self, table: Any, keys: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> int:
        """Update the rows that `keys` name, each to its own values, all with the same columns; answers how many there were."""
        return bulk.update_rows(self.conn, table, keys, rows) if rows else 0

    def within(self, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
        """`column` is one of `values`; one prepared statement for any number of them."""
        if self.postgresql:
            return cast("ColumnElement[bool]", column == any_(literal(list(values), ARRAY(column.type))))
        return cast("ColumnElement[bool]", column.in_(list(values)))

    def rows(self, table: Any, key: str, values: Collection[Any], order: str | None = None, *, lock: arrays.Lock = "",
             without: tuple[str, ...] = ()) -> list[SimpleNamespace]:
        """The rows of a table whose `key` is one of `values`, in the order of a column; with `lock` held until the transaction ends.

        `without` names columns to leave behind, such as sealed ones that nobody opens.
        """
        return bulk.rows_by(self.conn, table, key, values, order, lock=lock, without=without)

    def among(self, table: Any, keys: tuple[str, ...], values: Collection[tuple[Any, ...]]) -> list[SimpleNamespace]:
        """The rows of a table whose columns `keys` together are one of `values`; each is looked up by its index."""
        return bulk.rows_among(self.conn, table, keys, values)

    def append(self, type_: str, members: Mapping[str, Any]) -> EntryRef:
        """Append one ledger entry; it becomes durable with this transaction. Raises EntryError if it cannot be encoded."""
        if self._packed:
            raise ValueError("this transaction appends what was packed before, and nothing else")
        if not self._batch:
            self._batch = self.new_id()
        self._entries.append(ledger_entry.encode({"v": 1, "type": type_, "at": self.at, **members}))
        return EntryRef(self._batch, len(self._entries) - 1)

    def append_packed(self, batch: str, packed: bytes) -> None:
        """Append entries that were packed ahead (storage.bundle) and go by this batch; the transaction appends nothing else."""
        if self._batch:
            raise ValueError("this transaction has appended something already")
        self._batch, self._packed = batch, packed

    def wake(self, topic: str) -> None:
        """Tell whoever waits for `topic` (`dispatch`, `ledger`, `events`, `receipts`) once this is committed."""
        self.topics.add(topic)

    def finish(self) -> None:
        """Write the collected entries; called once, by the database, when the function has returned."""
        data = self._packed or bundle.pack(self._entries)
        if data:
            self.topics.add("ledger")
        if self.postgresql:
            told = f"{self.sources.process} {','.join(sorted(self.topics))}"
            if data:
                arrays.fetch(self.conn, _PENDING_AND_NOTIFY, (self._batch, self.now, data, told))
            elif self.topics:
                arrays.fetch(self.conn, _NOTIFY, (told,))
        elif data:
            self.conn.execute(insert(t.ledger_pending).values(batch=self._batch, created_at=self.now, data=data))
