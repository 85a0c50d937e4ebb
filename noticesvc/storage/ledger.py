"""Statements over the ledger's tables: pending rows, index, bundles, hash tiles, checkpoints, keys and the head row.

Called by operations.sequence (the only writer), operations.ledger_reading, export and audit. Reading is set-based: any
number of entries costs one statement on each table. Bundles are C2SP tlog-tiles entry bundles, stored through zlib.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Row, func, select, text, tuple_, update

from noticesvc.storage import bundle
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx

inflate, split, unpack = bundle.inflate, bundle.split, bundle.unpack

V = TypeVar("V")
HEAD = 1  # the id of the one row of ledger_head
CHUNK = 500  # values in one IN

# The oldest rows, at most :rows of them and not many more than :bytes of data, but one at least.
_OLDEST = """select {key} from (
    select {key}, sum(length(data)) over (order by pos) - length(data) as before
    from (select {key}, pos, data from ledger_pending order by pos limit :rows) as oldest) as sized
  where before < :bytes"""
_RETURNING = " returning pos, batch, data, created_at"
_TAKE = {  # by row address on PostgreSQL, which otherwise reads the whole table, dead rows too
    True: f"delete from ledger_pending where ctid = any(array({_OLDEST.format(key='ctid')})){_RETURNING}",
    False: f"delete from ledger_pending where pos in ({_OLDEST.format(key='pos')}){_RETURNING}",
}


class Pending(NamedTuple):
    """One transaction's entries that wait for an index; `data` is to be unpacked and split."""

    pos: int
    batch: str
    data: bytes
    created_at: int


class Head(NamedTuple):
    """Who sequences, and how far the ledger goes. `owner` is null before the first election."""

    epoch: int
    owner: str | None
    size: int


def head(tx: Tx, *, lock: bool = False) -> Head | None:
    """The head row, null before the first start; with `lock` no other transaction can take it until this one ends."""
    statement = select(t.ledger_head.c.epoch, t.ledger_head.c.owner, t.ledger_head.c.size).where(t.ledger_head.c.id == HEAD)
    row = tx.execute(statement.with_for_update() if lock and tx.postgresql else statement).one_or_none()
    return Head(row.epoch, row.owner, row.size) if row else None


def make_head(tx: Tx) -> None:
    """Make the head row of an empty ledger; nothing if it is there."""
    tx.execute(text("insert into ledger_head (id, epoch, size) values (:id, 0, 0) on conflict (id) do nothing"), {"id": HEAD})


def take_office(tx: Tx, owner: str) -> int:
    """Make `owner` the sequencer; the new epoch, which fences whoever was it before."""
    values = {"owner": owner, "epoch": t.ledger_head.c.epoch + 1}
    tx.execute(update(t.ledger_head).where(t.ledger_head.c.id == HEAD).values(values))
    return tx.execute(select(t.ledger_head.c.epoch).where(t.ledger_head.c.id == HEAD)).scalar_one()  # type: ignore[no-any-return]


def grow_head(tx: Tx, size: int) -> None:
    """Record how many entries are sequenced."""
    tx.execute(update(t.ledger_head).where(t.ledger_head.c.id == HEAD).values(size=size))


def take_pending(tx: Tx, rows: int, size: int) -> list[Pending]:
    """Remove and return the oldest pending rows in order: at most `rows`, about `size` bytes as they are packed, one at least."""
    statement = text(_TAKE[tx.postgresql]).columns(*t.ledger_pending.c)
    return sorted(map(_pending, tx.execute(statement, {"rows": rows, "bytes": size})))


def pending_rows(tx: Tx) -> Iterator[Pending]:
    """All pending rows in order, for the audit."""
    after = -1
    columns = t.ledger_pending.c
    while rows := tx.execute(select(columns.pos, columns.batch, columns.data, columns.created_at)
                             .where(columns.pos > after).order_by(columns.pos).limit(CHUNK)).all():
        yield from map(_pending, rows)
        after = rows[-1].pos


def pending_of(tx: Tx, batches: Iterable[str]) -> list[Pending]:
    """The pending rows of these transactions, in order."""
    columns = t.ledger_pending.c
    rows = tx.execute(select(columns.pos, columns.batch, columns.data, columns.created_at)
                      .where(tx.within(columns.batch, list(batches))).order_by(columns.pos))
    return [_pending(row) for row in rows]


def oldest_pending(tx: Tx) -> int | None:
    """When the oldest pending row was written (microseconds), null if nothing waits."""
    columns = t.ledger_pending.c
    return tx.execute(select(columns.created_at).order_by(columns.pos).limit(1)).scalar_one_or_none()


def insert_index(tx: Tx, rows: Sequence[tuple[str, int]]) -> None:
    """Record the first index of each batch."""
    if tx.postgresql:
        statement = text("insert into ledger_index (batch, first) "
                         "select * from unnest(cast(:batches as uuid[]), cast(:firsts as bigint[]))")
        tx.execute(statement, {"batches": [batch for batch, _ in rows], "firsts": [first for _, first in rows]})
    else:
        tx.insert(t.ledger_index, [{"batch": batch, "first": first} for batch, first in rows])


def put_bundles(tx: Tx, bundles: Mapping[int, bytes]) -> None:
    """Write deflated entry bundles by number; the last one may be there already, shorter."""
    _put(tx, "insert into ledger_bundle (n, data) values (:n, :data) on conflict (n) do update set data = excluded.data",
         [{"n": n, "data": data} for n, data in bundles.items()])


def put_tiles(tx: Tx, tiles: Mapping[tuple[int, int], bytes]) -> None:
    """Write hash tiles by level and number; the last of each level may be there already, shorter."""
    _put(tx, "insert into ledger_tile (level, n, data) values (:level, :n, :data) "
             "on conflict (level, n) do update set data = excluded.data",
         [{"level": level, "n": n, "data": data} for (level, n), data in tiles.items()])


def put_checkpoint(tx: Tx, size: int, note: str) -> None:
    """Record a signed checkpoint; one of the same size is replaced (another key signs the same tree)."""
    _put(tx, "insert into ledger_checkpoint (size, note, signed_at) values (:size, :note, :at) "
             "on conflict (size) do update set note = excluded.note, signed_at = excluded.signed_at",
         [{"size": size, "note": note, "at": tx.now}])


def latest_checkpoint(tx: Tx) -> tuple[int, str] | None:
    """Size and text of the newest signed checkpoint, null before the first."""
    columns = t.ledger_checkpoint.c
    row = tx.execute(select(columns.size, columns.note).order_by(columns.size.desc()).limit(1)).one_or_none()
    return (row.size, row.note) if row else None


def checkpoints(tx: Tx, after: int, limit: int) -> list[tuple[int, str]]:
    """The next signed checkpoints of more than `after` entries, in order of size."""
    columns = t.ledger_checkpoint.c
    rows = tx.execute(select(columns.size, columns.note).where(columns.size > after).order_by(columns.size).limit(limit))
    return [(row.size, row.note) for row in rows]


def vkeys(tx: Tx) -> list[str]:
    """The public keys of this ledger, the current one first."""
    columns = t.ledger_key.c
    return list(tx.execute(select(columns.vkey).order_by(columns.since.desc(), columns.vkey)).scalars())


def put_vkey(tx: Tx, vkey: str) -> None:
    """Make this the current public key; the others stay, behind it."""
    known = vkeys(tx)
    if known[:1] == [vkey]:
        return
    newest = tx.execute(select(func.max(t.ledger_key.c.since))).scalar_one() or 0
    # A clock that was set back must not put the current key behind a retired one.
    _put(tx, "insert into ledger_key (vkey, since) values (:vkey, :since) on conflict (vkey) do update set since = excluded.since",
         [{"vkey": vkey, "since": max(tx.now, newest + 1)}])


def tiles(tx: Tx, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Stored hash tiles by (level, number); those that are not there are left out."""
    columns = t.ledger_tile.c
    found: dict[tuple[int, int], bytes] = {}
    for some in _chunks(sorted(places)):
        rows = tx.execute(select(columns.level, columns.n, columns.data).where(tuple_(columns.level, columns.n).in_(some)))
        found |= {(row.level, row.n): row.data for row in rows}
    return found


def bundles(tx: Tx, numbers: Iterable[int]) -> dict[int, bytes]:
    """Entry bundles by number; those that are not there are left out. Raises LedgerMismatch for one that is damaged."""
    return {n: inflate(data) for n, data in stored_bundles(tx, numbers).items()}


def stored_bundles(tx: Tx, numbers: Iterable[int]) -> dict[int, bytes]:
    """Entry bundles by number as they lie in the database (see `inflate`)."""
    columns = t.ledger_bundle.c
    found: dict[int, bytes] = {}
    for some in _chunks(sorted(numbers)):
        found |= {row.n: row.data for row in tx.execute(select(columns.n, columns.data).where(columns.n.in_(some)))}
    return found


def indexes(tx: Tx, refs: Iterable[EntryRef]) -> dict[EntryRef, int]:
    """The index of each of these entries; those that are not sequenced yet are left out."""
    wanted = set(refs)
    columns = t.ledger_index.c
    first: dict[str, int] = {}
    for some in _chunks(sorted({ref.batch for ref in wanted})):
        first |= {row.batch: row.first for row in tx.execute(select(columns.batch, columns.first).where(columns.batch.in_(some)))}
    return {ref: first[ref.batch] + ref.offset for ref in wanted if ref.batch in first}


def index_rows(tx: Tx, after: str, limit: int) -> list[tuple[str, int]]:
    """The next batches behind `after` with their first index, in order of batch."""
    columns = t.ledger_index.c
    rows = tx.execute(select(columns.batch, columns.first).where(columns.batch > after).order_by(columns.batch).limit(limit))
    return [(row.batch, row.first) for row in rows]


def counts(tx: Tx) -> tuple[int, dict[int, int]]:
    """How many bundles are stored, and how many tiles on each level."""
    levels = tx.execute(select(t.ledger_tile.c.level, func.count().label("stored")).group_by(t.ledger_tile.c.level))
    return tx.execute(select(func.count()).select_from(t.ledger_bundle)).scalar_one(), {row.level: row.stored for row in levels}


def is_empty(tx: Tx) -> bool:
    """Whether nothing was ever sequenced: no bundle, tile or checkpoint."""
    there = (select(column).limit(1) for column in (t.ledger_bundle.c.n, t.ledger_tile.c.n, t.ledger_checkpoint.c.size))
    return all(tx.execute(statement).one_or_none() is None for statement in there)


def _pending(row: Row[Any]) -> Pending:
    return Pending(row.pos, row.batch, row.data, row.created_at)


def _put(tx: Tx, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        tx.execute(text(statement), rows)


def _chunks(values: Sequence[V]) -> Iterator[Sequence[V]]:
    return (values[at:at + CHUNK] for at in range(0, len(values), CHUNK))
