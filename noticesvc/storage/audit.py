"""Statements of the audit: rows with the ledger entry that they name, counters, and notices that nobody owns.

Called by operations.audit_rows. Read in the order of each primary key, a page a statement, so that no statement takes long
and memory stays flat whatever the tables hold.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, Table, Text, and_, cast, exists, func, not_, or_, select, tuple_, type_coerce

from noticesvc.domain.delivery import FINISHED
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

PAGE = 5_000
PARKED = ("in_site", "postal", "announcement")  # channels that wait for an account or for people, or were published and struck
_OWNED_STATES = ("pending", "claimed", "sent", "unknown")


class Naming(NamedTuple):
    """A row and the entry that it names: `place` is the entry's index, null if it is not sequenced."""

    id: str
    batch: str | None
    offset: int | None
    place: int | None


def naming(tx: Tx, table: Table, identity: Column[Any], which: ColumnElement[bool] | None = None) -> Iterator[list[Naming]]:
    """All rows of a table (or those of `which`) that has entry_batch and entry_offset, in pages. Ids as the database spells them."""
    index = t.ledger_index.c
    columns = (_bare(tx, identity), _bare(tx, table.c.entry_batch), table.c.entry_offset, index.first + table.c.entry_offset)
    statement = select(*columns).select_from(table.outerjoin(t.ledger_index, index.batch == table.c.entry_batch))
    for rows in _pages(tx, statement if which is None else statement.where(which), table):
        yield [Naming._make(row) for row in rows]


def counters(tx: Tx, table: Table, counter: Column[Any]) -> Iterator[list[tuple[str, int]]]:
    """All ids of a table with one key column, with the number of their last entry, in pages. Ids as the database spells them."""
    (key,) = table.primary_key.columns
    for rows in _pages(tx, select(_bare(tx, key), counter), table):
        yield [(row[0], row[1]) for row in rows]


def whole_rows(tx: Tx, table: Table, size: int) -> Iterator[list[Any]]:
    """All rows of a table with all columns, in pages of `size`."""
    for rows in _pages(tx, select(table), table, size):
        yield list(rows)


def count(tx: Tx, table: Table) -> int:
    """How many rows a table has."""
    return int(tx.execute(select(func.count()).select_from(table)).scalar_one())


def _bare(tx: Tx, column: Column[Any]) -> ColumnElement[Any]:
    """An id without its way through uuid.UUID, which costs more than all else of reading it."""
    return cast(column, Text) if tx.postgresql else type_coerce(column, Text)


def parked() -> ColumnElement[bool]:
    """A delivery that rightly waits for no time, because people or accounts decide: the account is not active, a letter is on its
    way, or what was taken was rebutted, and nothing is sent again by itself.
    """
    d, e = t.delivery.c, t.evidence.c
    rebutted = and_(d.attempts > 0, exists().where(e.notice_id == d.notice_id, e.kind == "rebutted"))
    return or_(and_(d.state == "pending", or_(d.channel.in_(PARKED), rebutted)), and_(d.state == "sent", d.channel == "postal"))


def unowned(tx: Tx) -> Iterator[tuple[str, str]]:
    """Notices that are neither finished nor in anybody's care, with the channel that is stuck (empty: no delivery at all).

    In somebody's care is a delivery that is due at some time, is leased, or is parked.
    """
    d = t.delivery.c
    cared_for = or_(d.due_at.is_not(None), d.lease_owner.is_not(None), parked())
    stuck = select(d.notice_id, d.channel).where(d.state.not_in(FINISHED), not_(cared_for))
    for rows in _pages(tx, stuck, t.delivery):
        yield from ((row.notice_id, row.channel) for row in rows)
    none = select(t.notice.c.id).where(not_(exists().where(d.notice_id == t.notice.c.id)))
    for rows in _pages(tx, none, t.notice):
        yield from ((row.id, "") for row in rows)


def _pages(tx: Tx, statement: Select[Any], table: Table, size: int = PAGE) -> Iterator[Any]:
    """The rows of a statement over a table in pages in the order of the table's key.

    A page covers `size` rows of the table, however few of them the statement gives.
    """
    keys = list(table.primary_key.columns)
    after: tuple[Any, ...] | None = None
    while True:
        ends = select(*keys).order_by(*keys).offset(size - 1).limit(1)
        end = tx.execute(_behind(ends, keys, after)).one_or_none()
        page = _behind(statement, keys, after)
        if end is not None:
            page = page.where(_key(keys) <= _tuple(keys, tuple(end)))
        rows = tx.execute(page.order_by(*keys)).all()
        if rows:
            yield rows
        if end is None:
            return
        after = tuple(end)


def _behind(statement: Select[Any], keys: list[Any], after: tuple[Any, ...] | None) -> Select[Any]:
    return statement if after is None else statement.where(_key(keys) > _tuple(keys, after))


def _key(keys: list[Any]) -> Any:
    return tuple_(*keys) if len(keys) > 1 else keys[0]


def _tuple(keys: list[Any], values: tuple[Any, ...]) -> Any:
    return tuple_(*values, types=[key.type for key in keys]) if len(keys) > 1 else values[0]
