"""The counts of broadcasts: never counted row by row, but added up from what each transaction changed.

A transaction that changes the state of a broadcast's notices or deliveries inserts one row for each broadcast with the differences
(`note`), so that no two workers wait for each other's row; housekeeping folds these rows into the broadcast's own (`fold`). A reader
adds both in one snapshot.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select

from noticesvc.domain import broadcast
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

FOLDED = 2000  # deltas in one transaction


def note(tx: Tx, deltas: Mapping[str, Mapping[str, int]]) -> None:
    """Record by how much the counts of broadcasts (by id) change with this transaction."""
    changed = {broadcast_id: broadcast.add([delta]) for broadcast_id, delta in deltas.items()}
    tx.insert(t.broadcast_delta, [{"id": tx.new_id(), "broadcast_id": broadcast_id, "counts": json.dumps(delta)}
                                  for broadcast_id, delta in sorted(changed.items()) if delta])


def fold(tx: Tx, row: Any) -> dict[str, int]:
    """Add what waits to the sums on a broadcast's row, which this transaction holds; answers the sums."""
    d = t.broadcast_delta.c
    waiting = tx.execute(select(d.id, d.counts).where(d.broadcast_id == row.id).limit(FOLDED)).all()
    sums = broadcast.add([json.loads(row.counts), *(json.loads(one.counts) for one in waiting)])
    if waiting:
        tx.execute(delete(t.broadcast_delta).where(tx.within(d.id, [one.id for one in waiting])))
        tx.update(t.broadcast, ("id",), [{"id": row.id, "counts": json.dumps(sums)}])
    return sums


def sums(tx: Tx, rows: Sequence[Any]) -> dict[str, dict[str, int]]:
    """The sums of these broadcasts' rows with what waits, by id; all of one snapshot only where the transaction reads from one."""
    d = t.broadcast_delta.c
    found: dict[str, list[Mapping[str, int]]] = {row.id: [json.loads(row.counts)] for row in rows}
    for one in tx.execute(select(d.broadcast_id, d.counts).where(tx.within(d.broadcast_id, list(found)))) if found else ():
        found[one.broadcast_id].append(json.loads(one.counts))
    return {broadcast_id: broadcast.add(deltas) for broadcast_id, deltas in found.items()}


def shown(row: Any, summed: Mapping[str, int]) -> dict[str, Any]:
    """The counts of a broadcast's row, as its reader sees them."""
    return broadcast.counts(row.state, row.channels.split(), row.total, row.expanded, row.skipped, summed)


def changes(moved: Iterable[tuple[str, str | None, str | None]]) -> dict[str, dict[str, int]]:
    """Deltas by broadcast from (broadcast id, name counted before, name counted now); null: none."""
    found: dict[str, dict[str, int]] = {}
    for broadcast_id, before, now in moved:
        if before != now:
            mine = found.setdefault(broadcast_id, {})
            if before is not None:
                mine[before] = mine.get(before, 0) - 1
            if now is not None:
                mine[now] = mine.get(now, 0) + 1
    return found
