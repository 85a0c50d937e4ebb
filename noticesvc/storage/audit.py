"""Statements of the audit: rows with the ledger entry that they name, counters, and notices that nobody owns.

Called by operations.audit_rows. Read in the order of each primary key, a page a statement, so that no statement takes long
and memory stays flat whatever the tables hold.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Table, Text, and_, cast, exists, func, not_, or_, select, true, tuple_, type_coerce

from noticesvc.domain.delivery import FINISHED
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

PAGE = 5_000
PARKED = ("in_site", "postal", "announcement")  # channels that wait for an account or for people, or were published and struck


class Naming(NamedTuple):
    """A row and the entry that it names: `place` is the entry's index, null if it is not sequenced."""

    id: str
    batch: str | None
    offset: int | None
    place: int | None


def ranges(tx: Tx, table: Table, size: int = PAGE) -> Iterator[ColumnElement[bool]]:
    """A table in the order of its key, `size` rows at a time: a condition for each."""
    keys = list(table.primary_key.columns)
    after: tuple[Any, ...] | None = None
    while True:
        behind = true() if after is None else _key(keys) > _tuple(keys, after)
        end = tx.execute(select(*keys).where(behind).order_by(*keys).offset(size - 1).limit(1)).one_or_none()
        if end is None:
            yield behind
            return
        after = tuple(end)
        yield and_(behind, _key(keys) <= _tuple(keys, after))


def named(tx: Tx, table: Table, identity: Column[Any], where: ColumnElement[bool],
          which: ColumnElement[bool] | None = None) -> tuple[int, str]:
    """How many rows of a range (and of `which`) there are, and which entries of the log they name: `id index` of each, joined by
    commas, ids in 32 digits. For tables that have entry_batch and entry_offset.
    """
    index = t.ledger_index.c
    place = index.first + table.c.entry_offset
    said = func.aggregate_strings(_digits(tx, identity).concat(" ").concat(cast(place, Text)), ",")
    statement = select(func.count(), said).select_from(table.outerjoin(t.ledger_index, index.batch == table.c.entry_batch))
    row: Any = tx.execute(statement.where(where, *([] if which is None else [which]))).one()
    return row[0], row[1] or ""


def naming(tx: Tx, table: Table, identity: Column[Any], where: ColumnElement[bool],
           which: ColumnElement[bool] | None = None) -> list[Naming]:
    """The same one by one, with what they name if that is not in the log. Ids as the database spells them."""
    index = t.ledger_index.c
    columns = (_bare(tx, identity), _bare(tx, table.c.entry_batch), table.c.entry_offset, index.first + table.c.entry_offset)
    statement = select(*columns).select_from(table.outerjoin(t.ledger_index, index.batch == table.c.entry_batch))
    rows = tx.execute(statement.where(where, *([] if which is None else [which])).order_by(*table.primary_key.columns))
    return [Naming._make(row) for row in rows]


def counted(tx: Tx, table: Table, counter: Column[Any], where: ColumnElement[bool]) -> str:
    """The ids of a range of a table with one key column, with the numbers of their last entries: `id number` of each that has any,
    joined by commas, ids in 32 digits.
    """
    (key,) = table.primary_key.columns
    said = func.aggregate_strings(_digits(tx, key).concat(" ").concat(cast(counter, Text)), ",")
    return tx.execute(select(said).where(where, counter != 0)).scalar_one() or ""


def counters(tx: Tx, table: Table, counter: Column[Any], where: ColumnElement[bool]) -> dict[str, int]:
    """The same as numbers, those that have none too. Ids as the database spells them."""
    (key,) = table.primary_key.columns
    rows: Iterable[Any] = tx.execute(select(_bare(tx, key), counter).where(where).order_by(key))
    return {row[0]: row[1] for row in rows}


def whole_rows(tx: Tx, table: Table, size: int) -> Iterator[list[Any]]:
    """All rows of a table with all columns, in pages of `size`."""
    for where in ranges(tx, table, size):
        if rows := tx.execute(select(table).where(where).order_by(*table.primary_key.columns)).all():
            yield list(rows)


def count(tx: Tx, table: Table) -> int:
    """How many rows a table has."""
    return int(tx.execute(select(func.count()).select_from(table)).scalar_one())


def _bare(tx: Tx, column: Column[Any]) -> ColumnElement[Any]:
    """An id without its way through uuid.UUID, which costs more than all else of reading it."""
    return cast(column, Text) if tx.postgresql else type_coerce(column, Text)


def _digits(tx: Tx, column: Column[Any]) -> ColumnElement[str]:
    return func.replace(cast(column, Text), "-", "") if tx.postgresql else type_coerce(column, Text)


def parked() -> ColumnElement[bool]:
    """A delivery that rightly waits for no time, because people or accounts decide: the account is not active, a letter is on its
    way, or what was taken was rebutted, and nothing is sent again by itself.
    """
    d, e = t.delivery.c, t.evidence.c
    rebutted = and_(d.attempts > 0, exists().where(e.notice_id == d.notice_id, e.kind == "rebutted"))
    return or_(and_(d.state == "pending", or_(d.channel.in_(PARKED), rebutted)), and_(d.state == "sent", d.channel == "postal"))


def unowned(tx: Tx) -> Iterator[list[tuple[str, str]]]:
    """Notices that are neither finished nor in anybody's care, with the channel that is stuck (empty: no delivery at all), in pages.

    In somebody's care is a delivery that is due at some time, is leased, or is parked.
    """
    d = t.delivery.c
    cared_for = or_(d.due_at.is_not(None), d.lease_owner.is_not(None), parked())
    stuck = select(d.notice_id, d.channel).where(d.state.not_in(FINISHED), not_(cared_for)).order_by(d.notice_id, d.channel)
    for where in ranges(tx, t.delivery):
        yield [(row.notice_id, row.channel) for row in tx.execute(stuck.where(where))]
    none = select(t.notice.c.id).where(not_(exists().where(d.notice_id == t.notice.c.id))).order_by(t.notice.c.id)
    for where in ranges(tx, t.notice):
        yield [(row.id, "") for row in tx.execute(none.where(where))]


def _key(keys: list[Any]) -> Any:
    return tuple_(*keys) if len(keys) > 1 else keys[0]


def _tuple(keys: list[Any], values: tuple[Any, ...]) -> Any:
    return tuple_(*values, types=[key.type for key in keys]) if len(keys) > 1 else values[0]
