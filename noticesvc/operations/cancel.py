"""Cancelling a notice of which nothing was dispatched. Called by the route `POST /v1/notices/{id}/cancel`.

The notice's row is locked first, as every seal of an intent does, so of a cancel and a dispatch one comes first and the
other sees it: a delivery that a worker holds but has not sealed is taken from it here.
"""

from typing import Any

from sqlalchemy import select, update

from noticesvc.domain.access import Access
from noticesvc.errors import Conflict, NotFound
from noticesvc.operations import notice_reading
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def cancel(tx: Tx, world: World, access: Access, notice_id: str) -> dict[str, Any]:
    """Cancel the notice and close its deliveries; the notice as it is then. Cancelling a cancelled one changes nothing.

    Raises NotFound, Forbidden for a category that the key may not use, and Conflict `already-dispatched`.
    """
    unit = Unit(tx, world, {notice_id})
    row = unit.notices.get(notice_id)
    if row is None:
        raise NotFound("There is no such notice.")
    access.require_category(row["category"])
    if row["state"] != "cancelled":
        _cancel(unit, row, access)
    return notice_reading.one(tx, world, notice_id)


def _cancel(unit: Unit, row: dict[str, Any], access: Access) -> None:
    tx, mine = unit.tx, t.delivery.c.notice_id == row["id"]
    deliveries = tx.execute(select(t.delivery).where(mine).order_by(t.delivery.c.position)).all()
    begun = tx.execute(select(t.attempt.c.number).where(t.attempt.c.notice_id == row["id"]).limit(1)).first()
    if begun is not None or any(one.closed not in (None, "cancelled") for one in deliveries):
        raise Conflict("already-dispatched", "The notice was dispatched already, at least in part, and cannot be called back.")
    unit.note(row["id"], "notice.cancelled", {"reason": "caller", "key_id": access.key_id})
    for one in deliveries:
        if one.closed is None:
            close(unit, row["id"], one, "cancelled", "cancelled_by_caller")
    tx.execute(update(t.delivery).where(mine).values(lease_owner=None, lease_until=None))
    settle(unit)
    unit.save()
