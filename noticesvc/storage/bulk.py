"""Many rows in one statement: INSERT … SELECT and UPDATE … FROM over arrays on PostgreSQL, executemany on SQLite.

One statement for any number of rows is planned once and executed once; a statement for each row costs several times as much
on partitioned tables. Statements are built once for each table and set of columns.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ARRAY, Connection, Executable, Row, Table, and_, any_, bindparam, column, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.selectable import TableValuedAlias


def insert_rows(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the columns of the first."""
    names = tuple(rows[0])
    if conn.dialect.name == "postgresql" and len(rows) > 1:
        conn.execute(_insert(table, names), {name: [row[name] for row in rows] for name in names})
    else:
        conn.execute(insert(table), list(rows))


def insert_new_rows(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those rows whose key is free, all with the columns of the first; who lost is for the caller to look up."""
    if conn.dialect.name == "postgresql":
        names = tuple(rows[0])
        conn.execute(_insert_new_set(table, names), {name: [row[name] for row in rows] for name in names})
    else:
        conn.execute(_insert_new_each(table), list(rows))


def update_rows(conn: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> int:
    """Update the rows that `keys` name, setting the other columns of each; answers how many there were.

    Rows are written in the order of their keys, so that two writers lock them in one order.
    """
    rows = sorted(rows, key=lambda row: tuple(str(row[key]) for key in keys))
    names = tuple(rows[0])
    sets = tuple(name for name in names if name not in keys)
    if conn.dialect.name == "postgresql":
        found = conn.execute(_update_set(table, keys, sets), {f"v_{name}": [row[name] for row in rows] for name in names})
    else:
        found = conn.execute(_update_each(table, keys, sets), [{f"v_{name}": row[name] for name in names} for row in rows])
    return found.rowcount


def rows_by(conn: Connection, table: Table, key: str, values: Collection[Any], order: str | None = None, *,
            lock: bool = False, without: tuple[str, ...] = ()) -> Sequence[Row[Any]]:
    """The rows whose `key` is one of `values`, locked for update where the database has row locks and that is asked for.

    `without` names columns to leave behind.
    """
    if not values:
        return []
    return conn.execute(_by(table, key, order, lock, without, conn.dialect.name == "postgresql"), {"wanted": list(values)}).all()


@lru_cache(maxsize=256)
def _by(table: Table, key: str, order: str | None, lock: bool, without: tuple[str, ...], arrays: bool) -> Executable:
    among = table.c[key]
    wanted = any_(bindparam("wanted", type_=ARRAY(among.type)))
    found = select(*[c for c in table.c if c.name not in without]).where(
        among == wanted if arrays else among.in_(bindparam("wanted", expanding=True)))
    if order is not None:
        found = found.order_by(table.c[order])
    return found.with_for_update() if lock and arrays else found


def _arrays(table: Table, names: tuple[str, ...], prefix: str) -> TableValuedAlias:
    values = [bindparam(f"{prefix}{name}", type_=ARRAY(table.c[name].type)) for name in names]
    return func.unnest(*values).table_valued(*[column(name, table.c[name].type) for name in names], name="given").render_derived()


@lru_cache(maxsize=256)
def _insert(table: Table, names: tuple[str, ...]) -> Executable:
    given = _arrays(table, names, "")
    return insert(table).from_select(list(names), select(*[given.c[name] for name in names]), include_defaults=False)


@lru_cache(maxsize=256)
def _insert_new_set(table: Table, names: tuple[str, ...]) -> Executable:
    given = _arrays(table, names, "")
    return postgresql.insert(table).from_select(
        list(names), select(*[given.c[name] for name in names]), include_defaults=False).on_conflict_do_nothing()


@lru_cache(maxsize=256)
def _insert_new_each(table: Table) -> Executable:
    return sqlite.insert(table).on_conflict_do_nothing()


@lru_cache(maxsize=256)
def _update_set(table: Table, keys: tuple[str, ...], sets: tuple[str, ...]) -> Executable:
    given = _arrays(table, (*keys, *sets), "v_")
    return update(table).where(and_(*[table.c[key] == given.c[key] for key in keys])).values({name: given.c[name] for name in sets})


@lru_cache(maxsize=256)
def _update_each(table: Table, keys: tuple[str, ...], sets: tuple[str, ...]) -> Executable:
    return update(table).where(and_(*[table.c[key] == bindparam(f"v_{key}") for key in keys])).values(
        {name: bindparam(f"v_{name}") for name in sets})
