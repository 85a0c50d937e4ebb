"""Notes that a cure is to be looked at, written in the transaction of what happened; operations.cures does the rest.

A room of its own, because everything that changes evidence or contacts calls it, and cures call all of that.
"""

from collections.abc import Collection

from sqlalchemy import update

from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def of_recipients(tx: Tx, subject_ids: Collection[str]) -> None:
    """Contacts of these recipients changed: their open cures may have ended or lapsed by it."""
    if subject_ids:
        _look(tx, tx.within(t.cure.c.subject_id, list(subject_ids)))


def of_notices(tx: Tx, notice_ids: Collection[str]) -> None:
    """These cure notices were derived again: their deadlines may begin or have moved."""
    if notice_ids:
        _look(tx, tx.within(t.cure.c.notice_id, list(notice_ids)))


def _look(tx: Tx, which: object) -> None:
    found = tx.execute(update(t.cure).where(which, t.cure.c.state == "open").values(due_at=tx.now).returning(t.cure.c.id))  # type: ignore[arg-type]
    if found.all():
        tx.wake("cures")
