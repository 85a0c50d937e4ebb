"""Outgoing events: queued in the transaction of what they tell, sent later by dispatch (Standard Webhooks).

The payload names the recipient by the caller's id, so it is sealed under the recipient's key while it waits.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update

from noticesvc.domain import plain, view
from noticesvc.operations import contents
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey

REPEATED_FOR = 3 * 86_400_000_000  # microseconds
IN_HAND = 20_000_000  # microseconds for posting what `due` gave out; longer than a receiver is waited for
_MOST_TRIES = 32_767


def notice(unit: Unit, row: dict[str, Any], type_: str, weighing: view.Weighing | plain.Plain) -> None:
    """Queue an event about a notice; nothing if no receiver is configured or the recipient was anonymised."""
    key = unit.key(row["subject_id"])
    if not unit.world.events_enabled or key is None:
        return
    shown = weighing.result.to_json()
    sealed = unpack(key.open(row["sealed"], f"notice:{row['id']}")) if row["sealed"] else {}
    data = {
        "notice_id": row["id"],
        "recipient_id": _opened(sealed, "recipient_id"),
        "reference": _opened(sealed, "reference"),
        "category": row["category"],
        "state": weighing.state,
        "revision": row["revision"],
        "service": {name: shown[name] for name in ("rule", "served", "served_at", "channel", "evidence_id", "basis", "conflict")},
    }
    queue(unit, type_, data, row["subject_id"])


def recipient_id(unit: Unit, subject_id: str) -> str | None:
    """The caller's id of a recipient; null once it was destroyed."""
    key, sealed = unit.key(subject_id), unit.recipients[subject_id].sealed
    return None if key is None or sealed is None else _opened(unpack(key.open(sealed, f"recipient:{subject_id}")), "recipient_id")


def queue(unit: Unit, type_: str, data: dict[str, Any], subject_id: str) -> None:
    """Queue one event about a recipient."""
    tx, key = unit.tx, unit.key(subject_id)
    if not unit.world.events_enabled or key is None:
        return
    event_id = tx.new_id()
    body = json.dumps({"type": type_, "timestamp": tx.at, "data": data}, ensure_ascii=False, separators=(",", ":"))
    tx.insert(
        t.outgoing_event,
        [
            {
                "id": event_id,
                "type": type_,
                "subject_id": subject_id,
                "created_at": tx.now,
                "due_at": tx.now,
                "sealed": key.seal(body.encode(), f"outgoing_event:{event_id}"),
            }
        ],
    )
    tx.wake("events")


def queue_shared(tx: Tx, world: World, type_: str, data: dict[str, Any]) -> None:
    """Queue one event about nobody in particular; nothing if no receiver is configured."""
    if not world.events_enabled:
        return
    event_id = tx.new_id()
    body = json.dumps({"type": type_, "timestamp": tx.at, "data": data}, ensure_ascii=False, separators=(",", ":"))
    tx.insert(t.outgoing_event, [{"id": event_id, "type": type_, "subject_id": None, "created_at": tx.now, "due_at": tx.now,
                                  "sealed": world.system_key.seal(body.encode(), f"outgoing_event:{event_id}")}])
    tx.wake("events")


def _opened(sealed: dict[str, Any], name: str) -> str | None:
    return sealed[name].value.decode() if name in sealed else None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event to post."""

    id: str
    body: bytes
    tries: int
    created_at: int


def due(tx: Tx, world: World, limit: int) -> tuple[list[Outgoing], int]:
    """Events to post now, and how many were given up because nobody took them for three days.

    They are due again soon, should this process not come back to say how it went. What is about a recipient whose key was
    destroyed cannot be told any more.
    """
    e = t.outgoing_event.c
    rows = tx.execute(
        select(t.outgoing_event).where(e.due_at <= tx.now).order_by(e.due_at).limit(limit).with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return [], 0
    keys: dict[str | None, DataKey | None] = {None: world.system_key}
    keys.update(contents.keys_of(tx, world, {row.subject_id for row in rows if row.subject_id is not None}).items())
    late = {row.id for row in rows if row.created_at < tx.now - REPEATED_FOR}
    gone = late | {row.id for row in rows if keys.get(row.subject_id) is None}
    if gone:
        tx.execute(delete(t.outgoing_event).where(tx.within(e.id, gone)))
    tx.execute(update(t.outgoing_event).where(tx.within(e.id, [row.id for row in rows])).values(due_at=tx.now + IN_HAND))
    found = []
    for row in rows:
        key = keys.get(row.subject_id)
        if row.id not in gone and key is not None:
            found.append(Outgoing(row.id, key.open(row.sealed, f"outgoing_event:{row.id}"), row.tries, row.created_at))
    return found, len(late)


def settled(tx: Tx, posted: Sequence[tuple[Outgoing, int | None]]) -> None:
    """Events that were taken (null) are done with; the others are due again after so many microseconds."""
    taken = [event.id for event, again in posted if again is None]
    if taken:
        tx.execute(delete(t.outgoing_event).where(tx.within(t.outgoing_event.c.id, taken)))
    tx.update(t.outgoing_event, ("id",), [{"id": event.id, "due_at": tx.now + again, "tries": min(event.tries + 1, _MOST_TRIES)}
                                          for event, again in posted if again is not None])
