"""Broadcasts: made, shown, listed, paused, resumed, cancelled. Called by the broadcasts' routes; each verb is one transaction.

Approval stands in operations.broadcast_approval; what follows it in broadcast_expansion and broadcast_upkeep.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from noticesvc.domain import broadcast
from noticesvc.domain.access import Access
from noticesvc.errors import Conflict, NotFound
from noticesvc.operations import broadcast_counts, broadcast_request
from noticesvc.operations.evidence import at
from noticesvc.operations.notice_request import NoticeRequest
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_CANNOT: Mapping[broadcast.Verb, str] = {"pause": "not-pausable", "resume": "not-resumable", "cancel": "not-cancellable"}
DAYS = 7  # between service and effect of a change, where nobody asks for another number


def create(tx: Tx, world: World, access: Access, name: str, asked: NoticeRequest, audience: str,
           rates: Mapping[str, float]) -> dict[str, Any]:
    """Make a draft; as shown, with warnings. Raises Forbidden for a category that the key may not use, and InputError."""
    found, resolved = broadcast_request.judge(tx, world, access, name, asked, upload=audience == "upload")
    broadcast_id = tx.new_id()
    wanted = found.wanted
    row = {"id": broadcast_id, "state": "draft", "audience": audience, "category": asked.category, "channels": " ".join(resolved.channels),
           "template": asked.template if wanted else None, "effective_at": asked.effective_at, "rates": json.dumps(dict(rates)),
           "sealed": world.system_key.seal(broadcast_request.dump(found), broadcast_request.place(broadcast_id)),
           "created_at": tx.now, "key_id": access.key_id}
    tx.insert(t.broadcast, [row])
    made = tx.rows(t.broadcast, "id", [broadcast_id])[0]
    return view(world, made, {}, tx.now) | {"warnings": list(resolved.warnings)}


def one(tx: Tx, world: World, access: Access, broadcast_id: str, days: int = DAYS) -> dict[str, Any]:
    """A broadcast as it stands; `days` as in `view`. Raises NotFound, and Forbidden for a category that the key may not use."""
    row = found(tx, access, broadcast_id)
    return view(world, row, broadcast_counts.sums(tx, [row])[row.id], tx.now, days)


def listed(tx: Tx, world: World, access: Access, limit: int, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """A page of those that the key may read, the newest first, and the id that the next page follows (null: there is none)."""
    b = t.broadcast.c
    query = select(t.broadcast).order_by(b.id.desc()).limit(limit + 1)
    if access.categories is not None:
        query = query.where(tx.within(b.category, access.categories))
    rows = tx.execute(query if after is None else query.where(b.id < after)).all()
    summed = broadcast_counts.sums(tx, rows[:limit])
    return [view(world, row, summed[row.id], tx.now) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None


def found(tx: Tx, access: Access, broadcast_id: str, *, lock: bool = False) -> Any:
    """A broadcast's row. Raises NotFound, and Forbidden for a category that the key may not use."""
    rows = tx.rows(t.broadcast, "id", [broadcast_id], lock="update" if lock else "")
    if not rows:
        raise NotFound("There is no such broadcast.")
    access.require_category(rows[0].category)
    return rows[0]


def act(tx: Tx, _world: World, access: Access, broadcast_id: str, verb: broadcast.Verb) -> None:
    """Pause, resume or cancel. Repeated, it changes nothing. Raises NotFound, Forbidden, and Conflict where the state forbids it."""
    row = found(tx, access, broadcast_id, lock=True)
    state = broadcast.follows(row.state, verb)
    if state is None:
        raise Conflict(_CANNOT[verb], f"The broadcast is {row.state}, so that it cannot be told to {verb}.")
    if state == row.state:
        return
    changed: dict[str, Any] = {"id": row.id, "state": state}
    if state == "cancelled":
        # Whatever waits is cancelled by housekeeping; from this commit on nothing of it is dispatched.
        changed |= {"ended_at": tx.now, "due_at": None if row.lane is None else tx.now}
    tx.update(t.broadcast, ("id",), [changed])
    tx.wake("dispatch")
    tx.wake("broadcasts")


def view(world: World, row: Any, summed: Mapping[str, int], now: int, days: int = DAYS) -> dict[str, Any]:
    """A broadcast as its reader sees it; `days`: how long before the effective time service counts as in time."""
    name, notice = broadcast_request.opened(world, row)
    counts = broadcast_counts.shown(row, summed)
    samples: Sequence[Sequence[int]] = json.loads(row.samples)
    if row.state == "running":
        samples = broadcast.sampled(samples, now, broadcast.finished(counts))
    per_s = broadcast.rate_per_s(samples) if row.state == "running" else 0.0
    return {
        "id": row.id, "name": name, "state": row.state, "audience": {"type": row.audience}, "category": row.category,
        "channels": row.channels.split(), "strategy": notice.strategy, "template": notice.template,
        "effective_at": at(row.effective_at), "rates": json.loads(row.rates), "created_at": at(row.created_at),
        "approved_at": at(row.approved_at), "ended_at": at(row.ended_at),
        "agreement": broadcast_counts.agreement(summed, days) if row.effective_at is not None else None, "counts": counts,
        "rate_per_s": per_s,
        "eta_s": broadcast.eta_s(counts["total"] - broadcast.finished(counts), per_s) if row.state == "running" else None}
