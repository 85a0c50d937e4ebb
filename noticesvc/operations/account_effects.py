"""What a change of a recipient's account means for deliveries that wait.

Called by operations.recipients and operations.anonymising in the transaction that records the change; the recipient's row is locked.
"""

from typing import Any

from sqlalchemy import or_, select, update

from noticesvc.operations.claim import lease_now
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def on_account_change(tx: Tx, world: World, subject_id: str, state: str) -> None:
    """Apply the new state of an account to the recipient's deliveries.

    `active`: in-site deliveries that were parked because the account was not active become due at once.
    `locked`, `closed`: nothing now; dispatch parks an in-site delivery that it meets (state `pending`, `due_at` null or when it expires).
    `void` (clause 二.1): what waits is cancelled; what a worker holds at this moment is cancelled when it is sealed.
    """
    d = t.delivery.c
    if state == "active":
        # Parked is what is due when it expires; a rung that would come too late is due just after (domain.notice.turn).
        ends = select(t.notice.c.expires_at).where(t.notice.c.id == d.notice_id).scalar_subquery()
        tx.execute(update(t.delivery).where(
            d.notice_id.in_(_open(subject_id)), d.channel == "in_site", d.state == "pending", or_(d.due_at.is_(None), d.due_at == ends),
            d.attempts == 0,  # one whose arrival was rebutted is not delivered again by itself
        ).values(due_at=tx.now))
    elif state == "void":
        cancel_waiting(tx, world, subject_id, "agreement_void")


def cancel_waiting(tx: Tx, world: World, subject_id: str, reason: str) -> None:
    """Cancel the recipient's deliveries that wait. What a worker holds at this moment is cancelled when it is sealed."""
    d = t.delivery.c
    waiting = tx.execute(select(t.delivery).where(
        d.notice_id.in_(_open(subject_id)), d.state == "pending", d.closed.is_(None),
        or_(d.lease_until.is_(None), d.lease_until < lease_now(tx)))).all()
    unit = Unit(tx, world, {one.notice_id for one in waiting})
    for one in waiting:
        close(unit, one.notice_id, one, "cancelled", reason)
    settle(unit)
    unit.save()


def _open(subject_id: str) -> Any:
    return select(t.notice.c.id).where(t.notice.c.subject_id == subject_id, t.notice.c.state.in_(("queued", "in_progress", "served")))
