"""Many rows in one statement: arrays or, for very many, COPY on PostgreSQL (storage.arrays, storage.copying), executemany on SQLite.

One statement for any number of rows is planned once and executed once; a statement for each row costs several times as much
on partitioned tables. Statements are built once for each table and set of columns.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Executable, Table, and_, bindparam, insert, select, tuple_, update
from sqlalchemy.dialects import sqlite

from noticesvc.storage import arrays, copying


def insert_rows(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the columns of the first."""
    if conn.dialect.name == "postgresql":
        arrays.insert(conn, table, rows)
    else:
        conn.execute(insert(table), list(rows))


def insert_new_rows(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert those rows whose keys are free, all with the columns of the first; how many. Who lost is for the caller to look up."""
    if conn.dialect.name == "postgresql":
        return arrays.insert(conn, table, rows, new=True)
    return conn.execute(_insert_new_each(table), list(rows)).rowcount


class Rows:
    """Rows of a table, put together ahead of the transaction that inserts them: the columns `names` differ, the others are the `same`.

    What is done ahead is done while the database is at something else.
    """

    def __init__(self, table: Table, same: Mapping[str, Any], names: Sequence[str], *, postgresql: bool) -> None:
        self._table, self._same, self._names = table, same, tuple(names)
        self._copied = copying.Form(table, same, names) if postgresql else None
        self._encoded, self._plain = list[bytes](), list[dict[str, Any]]()

    def add(self, *columns: Sequence[Any]) -> None:
        """Some more rows, column by column in the order of `names`. ValueError if the columns differ in length."""
        if self._copied is not None:
            self._encoded.append(self._copied.encode(columns))
        else:
            self._plain += [{**self._same, **dict(zip(self._names, row, strict=True))} for row in zip(*columns, strict=True)]

    @property
    def encoded(self) -> bytes:
        """The rows as COPY takes them, to be inserted by somebody else who has the same table, values and names (PostgreSQL)."""
        return b"".join(self._encoded)

    def add_encoded(self, encoded: bytes) -> None:
        """Rows that somebody else has encoded."""
        self._encoded.append(encoded)

    def insert(self, conn: Connection) -> None:
        """Insert them all; nothing for none. May be done again in another transaction."""
        if self._encoded and self._copied is not None:
            self._copied.insert(conn, self._encoded)
        elif self._plain:
            conn.execute(insert(self._table), self._plain)


def update_rows(conn: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> int:
    """Update the rows that `keys` name, setting the other columns of each; answers how many there were.

    Rows are written in the order of their keys, so that two writers lock them in one order.
    """
    rows = sorted(rows, key=lambda row: tuple(str(row[key]) for key in keys))
    if conn.dialect.name == "postgresql":
        return arrays.update(conn, table, keys, rows)
    names = tuple(rows[0])
    sets = tuple(name for name in names if name not in keys)
    return conn.execute(_update_each(table, keys, sets), [{f"v_{name}": row[name] for name in names} for row in rows]).rowcount


def rows_by(conn: Connection, table: Table, key: str, values: Collection[Any], order: str | None = None, *,
            lock: arrays.Lock = "", without: tuple[str, ...] = ()) -> list[SimpleNamespace]:
    """The rows whose `key` is one of `values`, locked where the database has row locks and that is asked for.

    `without` names columns to leave behind. A row belongs to whoever asked: its attributes may be changed.
    """
    if not values:
        return []
    if conn.dialect.name == "postgresql":
        return arrays.select(conn, table, key, values, order, lock=lock, without=without)
    found = conn.execute(_by(table, key, order, without), {"wanted": list(values)})
    return [SimpleNamespace(**row._asdict()) for row in found]


def rows_among(conn: Connection, table: Table, keys: tuple[str, ...], values: Collection[tuple[Any, ...]]) -> list[SimpleNamespace]:
    """The rows whose columns `keys` together are one of `values`."""
    if not values:
        return []
    if conn.dialect.name == "postgresql":
        return arrays.among(conn, table, keys, list(values))
    found = conn.execute(select(table).where(tuple_(*(table.c[key] for key in keys)).in_(list(values))))
    return [SimpleNamespace(**row._asdict()) for row in found]


@lru_cache(maxsize=256)
def _by(table: Table, key: str, order: str | None, without: tuple[str, ...]) -> Executable:
    found = select(*[c for c in table.c if c.name not in without]).where(table.c[key].in_(bindparam("wanted", expanding=True)))
    return found if order is None else found.order_by(table.c[order])


@lru_cache(maxsize=256)
def _insert_new_each(table: Table) -> Executable:
    return sqlite.insert(table).on_conflict_do_nothing()


@lru_cache(maxsize=256)
def _update_each(table: Table, keys: tuple[str, ...], sets: tuple[str, ...]) -> Executable:
    return update(table).where(and_(*[table.c[key] == bindparam(f"v_{key}") for key in keys])).values(
        {name: bindparam(f"v_{name}") for name in sets})
