"""Receipts that came before the attempt that they speak of was known: which of a stored body wait, and what wakes them.

One body may hold many receipts, of which some can be placed at once; only the others wait, each by its position in the body,
until an answer brings the provider's reference that it names. Called by operations.receipts and operations.evidence.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import delete, select, update

from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def waiting(tx: Tx, receipt_ids: Collection[str]) -> dict[str, set[int]]:
    """Positions that wait, by stored receipt; one that never waited is left out."""
    found: dict[str, set[int]] = {}
    for row in tx.rows(t.receipt_waiting, "receipt_id", receipt_ids):
        found.setdefault(row.receipt_id, set()).add(row.position)
    return found


def replace(tx: Tx, before: Collection[str], now: Mapping[str, Mapping[int, bytes]]) -> None:
    """What waits now (blind indexes of references by position, by stored receipt) in place of what waited `before`."""
    if before:
        tx.execute(delete(t.receipt_waiting).where(tx.within(t.receipt_waiting.c.receipt_id, before)))
    tx.insert(t.receipt_waiting, [{"receipt_id": receipt_id, "position": position, "reference_index": index}
                                  for receipt_id, positions in now.items() for position, index in positions.items()])


def wake(tx: Tx, references: Collection[bytes]) -> None:
    """Have bodies read again that hold a receipt for one of these references (blind indexes)."""
    them = select(t.receipt_waiting.c.receipt_id).where(tx.within(t.receipt_waiting.c.reference_index, list(references)))
    woken = tx.execute(update(t.receipt).where(t.receipt.c.id.in_(them), t.receipt.c.state == "orphan")
                       .values(state="new", due_at=tx.now).returning(t.receipt.c.id))
    if woken.all():
        tx.wake("receipts")
