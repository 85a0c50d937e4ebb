"""What becomes of broadcasts that are under way: counts folded, the rate measured, completion told, what was cancelled closed.

Called by dispatch.broadcasts again and again, one broadcast a transaction. Whatever is done here can be left off at any point.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select

from noticesvc.domain import broadcast
from noticesvc.operations import broadcast_counts, broadcast_request, events
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_LOOK_US = 1_000_000  # between two looks at a broadcast that is under way
_LATER_US = 60_000_000  # at one that has ended: late receipts still change its counts
_LOOKED_AFTER_US = 30 * 86_400_000_000  # since it ended; what comes later is added up by its readers
CANCELLED_TOGETHER = 250


def look(tx: Tx, world: World) -> bool:
    """Look at the broadcast that has waited longest; whether there may be more to do at once."""
    b = t.broadcast.c
    due = select(t.broadcast).where(b.due_at <= tx.now).order_by(b.due_at).limit(1)
    row = tx.execute(due.with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return False
    summed = broadcast_counts.fold(tx, row)
    if row.state == "cancelled" and not _cancelled(tx, world, row):
        tx.update(t.broadcast, ("id",), [{"id": row.id, "due_at": tx.now}])
        return True
    changed: dict[str, Any] = {"id": row.id, "due_at": tx.now + _LOOK_US}
    if row.state in ("running", "paused"):
        counts = broadcast_counts.shown(row, summed)
        if row.state == "running" and broadcast.is_complete(counts) and row.id in _settled(tx, (row,)):
            changed |= {"state": "completed", "ended_at": tx.now}
            _tell(tx, world, row, counts)
        else:
            changed["samples"] = json.dumps(broadcast.sampled(json.loads(row.samples), tx.now, broadcast.finished(counts)))
    elif row.ended_at is not None:
        changed["due_at"] = tx.now + _LATER_US if tx.now < row.ended_at + _LOOKED_AFTER_US else None
    tx.update(t.broadcast, ("id",), [changed])
    return True


def _settled(tx: Tx, rows: Sequence[Any]) -> set[str]:
    """Those of these broadcasts whose deltas are all folded, so that their sums are the whole truth."""
    d = t.broadcast_delta.c
    waiting = set(tx.execute(select(d.broadcast_id).where(tx.within(d.broadcast_id, [row.id for row in rows]))).scalars())
    return {row.id for row in rows} - waiting


def _tell(tx: Tx, world: World, row: Any, counts: dict[str, Any]) -> None:
    name, _ = broadcast_request.opened(world, row)
    events.queue_shared(tx, world, "broadcast.completed", {"broadcast_id": row.id, "name": name, "state": "completed", "counts": counts})


def _cancelled(tx: Tx, world: World, row: Any) -> bool:
    """Close what was not sent, some notices at a time; whether nothing is left for now.

    First every notice in the order of the ids, then whatever became due again since: a try that had failed for a while.
    """
    n, d = t.notice.c, t.delivery.c
    query = select(n.id).where(n.broadcast_id == row.id).order_by(n.id).limit(CANCELLED_TOGETHER)
    ids = list(tx.execute(query if row.cancelled_to is None else query.where(n.id > row.cancelled_to)).scalars())
    if ids:
        _close(tx, world, ids)
        tx.update(t.broadcast, ("id",), [{"id": row.id, "cancelled_to": ids[-1]}])
        return False
    lanes = [broadcast.priority(row.lane, channel) for channel in row.channels.split()]
    open_ = select(d.notice_id).where(d.state.in_(("pending", "unknown")), d.due_at.is_not(None), d.priority.in_(lanes))
    late = set(tx.execute(open_.limit(CANCELLED_TOGETHER)).scalars())
    return not late or _close(tx, world, late) == 0


def _close(tx: Tx, world: World, ids: Collection[str]) -> int:
    """Cancel what waits of these notices; an attempt that was begun goes its way. Answers how many deliveries were closed."""
    d = t.delivery.c
    waiting = tx.execute(select(d.notice_id).where(tx.within(d.notice_id, list(ids)), d.state.in_(("pending", "unknown")),
                                                   d.closed.is_(None))).scalars()
    unit = Unit(tx, world, set(waiting))
    past, closed = unit.history(), 0
    for notice_id in sorted(unit.notices):
        row, mine = unit.notices[notice_id], []
        begun = {(one.channel, one.number) for one in past.attempts[notice_id]}
        for one in past.deliveries[notice_id]:
            under_way = (one.channel, one.attempts + 1) in begun
            rebutted = one.state == "pending" and one.attempts and one.due_at is None  # what was sent stands as it is
            if one.state in ("pending", "unknown") and one.closed is None and not under_way and not rebutted:
                mine.append(one)
        if mine and row["state"] == "queued" and not begun and len(mine) == len(past.deliveries[notice_id]):
            unit.note(notice_id, "notice.cancelled", {"reason": "caller", "key_id": None})
        for one in mine:
            close(unit, notice_id, one, "cancelled", "cancelled_by_caller")
            unit.set_delivery(notice_id, one.channel, lease_owner=None, lease_until=None)
        closed += len(mine)
    settle(unit)
    unit.save()
    return closed
