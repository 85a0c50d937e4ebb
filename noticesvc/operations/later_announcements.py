"""Announcements whose turn comes after acceptance: with `not_before` in the future, or as a later rung of a ladder.

Called by the worker's housekeeping. What may be published at once is published by `accept`, in the same transaction.
"""

from sqlalchemy import select

from noticesvc.domain import broadcast
from noticesvc.operations import announcements, contents
from noticesvc.operations.lanes import held_lanes
from noticesvc.operations.obstacles import obstacle
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def deliver(tx: Tx, world: World, limit: int) -> int:
    """Publish, or join, the announcements of up to `limit` due deliveries; answers how many were taken in hand."""
    d = t.delivery.c
    held = [broadcast.priority(lane, "announcement") for lane in held_lanes(tx)]
    due = tx.execute(
        select(t.delivery)
        .where(d.channel == "announcement", d.due_at <= tx.now, d.state == "pending", d.priority.not_in(held))
        .order_by(d.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return 0
    unit = Unit(tx, world, {one.notice_id for one in due})
    said = contents.load(tx, world, unit.notices.values(), {s: unit.key(s) for s in unit.recipients})
    wanted = {}
    for one in due:
        row, content = unit.notices[one.notice_id], said[one.notice_id]
        closed = obstacle(tx, row, unit.recipients[one.subject_id], "announcement")
        if closed is not None:
            close(unit, row["id"], one, *closed)
        elif content is not None:
            wanted[row["id"]] = content
    live = announcements.join(tx, world, list(wanted.values()), {c.sha256: unit.notices[i]["effective_at"] for i, c in wanted.items()})
    for notice_id in sorted(wanted):
        announcement_id = live[wanted[notice_id].sha256]
        unit.set(notice_id, announcement_id=announcement_id)
        unit.note(notice_id, "announcement.joined", {"announcement_id": announcement_id})
        unit.set_delivery(notice_id, "announcement", attempts=1, due_at=None)
    if wanted:
        announcements.arrive(unit, {notice_id: content.sha256 for notice_id, content in wanted.items()})
    settle(unit)
    unit.save()
    return len(due)

