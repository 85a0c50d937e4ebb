"""Many rows in one statement on PostgreSQL: INSERT … SELECT, UPDATE … FROM and SELECT … = ANY over arrays, given to asyncpg as they are.

Called by storage.bulk alone. Statements are texts, built once for each table and set of columns, because building and binding
them through Core costs more than running them. A column that has the same value in every row goes as one value, not as an
array: an evidence row has thirty columns, of which a worker's batch fills nine differently. Ids and numbers go as one text,
joined by commas, which PostgreSQL takes apart: asyncpg looks at every member of an array several times over.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, Literal

from sqlalchemy import Connection, Integer, Table, Uuid
from sqlalchemy.dialects import postgresql

Lock = Literal["", "update", "share"]
_FEW = 8  # rows up to which every column goes as an array, so that small batches do not make a statement each
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def fetch(conn: Connection, statement: str, values: tuple[Any, ...]) -> list[Any]:
    """The records that a statement with `$1`, `$2` … answers, as asyncpg makes them (`record["name"]`)."""
    result = conn.exec_driver_sql(statement, values)
    records: list[Any] = list(result.cursor.fetchall())
    result.close()
    return records


def insert(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, new: bool = False) -> int:
    """Insert rows, all with the columns of the first; with `new` only those whose keys are free. Answers how many there were."""
    names = tuple(rows[0])
    columns = _columns(names, rows)
    fixed = _fixed(columns)
    return conn.exec_driver_sql(_insert(table, names, fixed, new), _given(table, names, columns, fixed)).rowcount


def update(conn: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> int:
    """Update the rows that `keys` name, setting their other columns; answers how many there were."""
    names = (*keys, *[name for name in rows[0] if name not in keys])
    columns = _columns(names, rows)
    fixed = _fixed(columns, len(keys))
    return conn.exec_driver_sql(_update(table, names, len(keys), fixed), _given(table, names, columns, fixed)).rowcount


def select(conn: Connection, table: Table, key: str, values: Collection[Any], order: str | None, *,
           lock: Lock, without: tuple[str, ...]) -> list[SimpleNamespace]:
    """The rows whose `key` is one of `values`, with the columns as attributes."""
    statement, names = _select(table, key, order, lock, without)
    return _rows(names, fetch(conn, statement, (_array(table, key, list(values)),)))


def among(conn: Connection, table: Table, keys: tuple[str, ...], values: Sequence[tuple[Any, ...]]) -> list[SimpleNamespace]:
    """The rows whose columns `keys` are one of `values`: each is looked up by itself, whatever the statistics of the table say.

    Two conditions with ANY are not that: on a table that was not analysed yet, all rows of the first are read and filtered by the second.
    """
    statement, names = _among(table, keys)
    given = tuple(_array(table, key, column) for key, column in zip(keys, map(list, zip(*values, strict=True)), strict=True))
    return _rows(names, fetch(conn, statement, given))


def _rows(names: tuple[str, ...], records: Sequence[Any]) -> list[SimpleNamespace]:
    # Not `**record`: asyncpg would look each name up in the record, which takes thrice as long.
    return [SimpleNamespace(**dict(zip(names, record))) for record in records]  # noqa: B905


def _columns(names: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
    if len(names) == 1:
        return [[row[names[0]] for row in rows]]
    return list(zip(*map(itemgetter(*names), rows), strict=True))


def _fixed(columns: Sequence[Sequence[Any]], keys: int = 1) -> tuple[bool, ...]:
    """Which columns have one value for all rows. The first `keys` never count as such: something must say how many rows there are."""
    if len(columns[0]) <= _FEW:
        return (False,) * len(columns)
    return tuple(at >= keys and column.count(column[0]) == len(column) for at, column in enumerate(columns))


def _given(table: Table, names: tuple[str, ...], columns: Sequence[Sequence[Any]], fixed: tuple[bool, ...]) -> tuple[Any, ...]:
    return tuple(column[0] if one else _array(table, name, column) for name, column, one in zip(names, columns, fixed, strict=True))


def _array(table: Table, name: str, values: Sequence[Any]) -> Any:
    """The values of a column as its array parameter takes them (`_array_type`); nothing in a joined text is null."""
    if not _joined(table, name):
        return values
    joined = ",".join(["" if value is None else str(value) for value in values])
    if joined.count(",") != max(0, len(values) - 1):
        raise ValueError("an id holds a comma, and so is none")
    return joined


@lru_cache(maxsize=512)
def _joined(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, Uuid | Integer)


def _array_type(table: Table, name: str, at: int) -> str:
    """The array parameter number `at` of a column."""
    type_ = _type(table, name)
    return f"string_to_array(${at}::text, ',', '')::{type_}[]" if _joined(table, name) else f"${at}::{type_}[]"


def _type(table: Table, name: str) -> str:
    return table.c[name].type.compile(_DIALECT).lower()


def _sources(table: Table, names: tuple[str, ...], fixed: tuple[bool, ...]) -> tuple[list[str], str]:
    """For each column where its value comes from, and the array columns as a table `given`."""
    places = [f"${at}::{_type(table, name)}" if one else f"given.{name}"
              for at, (name, one) in enumerate(zip(names, fixed, strict=True), 1)]
    arrays = [_array_type(table, name, at) for at, (name, one) in enumerate(zip(names, fixed, strict=True), 1) if not one]
    listed = ", ".join(name for name, one in zip(names, fixed, strict=True) if not one)
    return places, f"unnest({', '.join(arrays)}) as given({listed})"


@lru_cache(maxsize=512)
def _insert(table: Table, names: tuple[str, ...], fixed: tuple[bool, ...], new: bool) -> str:
    places, given = _sources(table, names, fixed)
    end = " on conflict do nothing" if new else ""
    return f"insert into {table.name} ({', '.join(names)}) select {', '.join(places)} from {given}{end}"


@lru_cache(maxsize=512)
def _update(table: Table, names: tuple[str, ...], keys: int, fixed: tuple[bool, ...]) -> str:
    places, given = _sources(table, names, fixed)
    sets = ", ".join(f"{name} = {place}" for name, place in zip(names[keys:], places[keys:], strict=True))
    which = " and ".join(f"{table.name}.{name} = given.{name}" for name in names[:keys])
    return f"update {table.name} set {sets} from {given} where {which}"


@lru_cache(maxsize=512)
def _select(table: Table, key: str, order: str | None, lock: Lock, without: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The statement, and the names of what it answers."""
    end = (f" order by {table.name}.{order}" if order else "") + (f" for {lock}" if lock else "")
    statement = f"select {_shown(table, without)} from {table.name} where {table.name}.{key} = any({_array_type(table, key, 1)}){end}"
    return statement, tuple(c.name for c in table.c if c.name not in without)


@lru_cache(maxsize=512)
def _among(table: Table, keys: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    _, given = _sources(table, keys, (False,) * len(keys))
    which = " and ".join(f"{table.name}.{name} = given.{name}" for name in keys)
    return f"select {_shown(table)} from {given} join {table.name} on {which}", tuple(c.name for c in table.c)


def _shown(table: Table, without: tuple[str, ...] = ()) -> str:
    """Ids as text: asyncpg would make a UUID object of each, of which we would make the text."""
    return ", ".join(f"{table.name}.{c.name}::text as {c.name}" if isinstance(c.type, Uuid) else f"{table.name}.{c.name}"
                     for c in table.c if c.name not in without)
