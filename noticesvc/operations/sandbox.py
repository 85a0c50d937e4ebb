"""What the sandbox provider keeps: messages it took, and receipts it will send, so that it works in any process and over a crash."""

import json

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from noticesvc.operations import receipts
from noticesvc.operations.sandbox_messages import place
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def keep(tx: Tx, world: World, channel: str, to: str, subject: str, text: str, reference: str | None) -> None:
    """Keep a message that was taken; one attempt's message is kept once."""
    message_id = tx.new_id()
    body = json.dumps({"to": to, "subject": subject, "text": text}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    insert = postgresql.insert(t.sandbox_message) if tx.postgresql else sqlite.insert(t.sandbox_message)
    tx.execute(insert.values(id=message_id, channel=channel, reference=reference, received_at=tx.now,
                             sealed=world.system_key.seal(body.encode("utf-8", "replace"), place(message_id))).on_conflict_do_nothing())


def recall(tx: Tx, reference: str) -> bool:
    """Whether a message was kept under this reference."""
    return tx.execute(select(t.sandbox_message.c.id).where(t.sandbox_message.c.reference == reference)).first() is not None


def schedule(tx: Tx, world: World, provider: str, raw: bytes, media_type: str, after_s: float) -> None:
    """Have these bytes received later."""
    row = tx.new_id()
    tx.insert(t.sandbox_receipt, [{"id": row, "provider": provider, "due_at": tx.now + int(after_s * 1_000_000), "media_type": media_type,
                                   "sealed": world.system_key.seal(raw, f"sandbox_receipt:{row}")}])


def release(tx: Tx, world: World, limit: int = 500) -> int:
    """Receive what is due; answers how many."""
    rows = tx.execute(select(t.sandbox_receipt).where(t.sandbox_receipt.c.due_at <= tx.now).order_by(t.sandbox_receipt.c.due_at)
                      .limit(limit).with_for_update(skip_locked=True)).all()
    for row in rows:
        raw = world.system_key.open(row.sealed, f"sandbox_receipt:{row.id}")
        receipts.store(tx, world, row.provider, "bytes", {"media_type": row.media_type}, raw)
    if rows:
        tx.execute(delete(t.sandbox_receipt).where(tx.within(t.sandbox_receipt.c.id, [row.id for row in rows])))
    return len(rows)
