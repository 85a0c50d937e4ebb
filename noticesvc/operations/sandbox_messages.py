"""What the sandbox took: the newest first, for whoever tries the service or tests an integration.

A row's text is canonical JSON of `to`, `subject` and `text`, sealed under the system key at `sandbox_message:<id>`.
"""

import json
from typing import Any

from sqlalchemy import select

from noticesvc.domain import instant
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def place(message_id: str) -> str:
    """Where a message is sealed."""
    return f"sandbox_message:{message_id}"


def listed(tx: Tx, world: World, limit: int, before: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """At most `limit` messages, the newest first, older than the message `before`; and the id behind which more follow."""
    query = select(t.sandbox_message).order_by(t.sandbox_message.c.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(t.sandbox_message.c.id < before)
    rows = tx.execute(query).all()
    items = [{"channel": row.channel, **json.loads(world.system_key.open(row.sealed, place(row.id))),
              "received_at": instant.text(instant.from_micros(row.received_at))} for row in rows[:limit]]
    return items, rows[limit - 1].id if len(rows) > limit else None
