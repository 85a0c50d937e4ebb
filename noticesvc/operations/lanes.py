"""Lanes: where among the due deliveries those of broadcasts stand, and which lanes may be taken from now.

Called by whoever looks for due deliveries. A lane is one broadcast on one channel (domain.broadcast); the lanes with anything in
them are found by a step in the index for each, so neither a broadcast that is paused nor one that is slow costs a look at its rows.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text

from noticesvc.domain import broadcast
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

# A loose scan of the index of due work: the least priority, then each time the least one above the last.
_PRESENT = text("""with recursive lane (p) as (
    select min(priority) from delivery where state = :state and due_at is not null and priority >= :first
  union all
    select (select min(priority) from delivery where state = :state and due_at is not null and priority > lane.p)
    from lane where lane.p is not null)
select p from lane where p is not null""").bindparams(bindparam("state"), bindparam("first"))


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane to take from: its priority, its channel, and the broadcast's rate on that channel by name (null: no limit)."""

    priority: int
    channel: str
    limit: tuple[str, float] | None


def present(tx: Tx, states: Collection[str] = ("pending",)) -> list[int]:
    """The priorities of broadcasts in which deliveries of these states wait for a time."""
    found = {int(row.p) for state in states for row in tx.execute(_PRESENT, {"state": state, "first": broadcast.LANES})}
    return sorted(found)


def open_lanes(tx: Tx, channels: Collection[str], states: Collection[str] = ("pending",)) -> list[Lane]:
    """The lanes of these channels that may be taken from: their broadcasts are neither paused nor cancelled."""
    priorities = [one for one in present(tx, states) if broadcast.channel_of(one) in channels]
    if not priorities:
        return []
    b = t.broadcast.c
    rows = tx.execute(select(b.id, b.lane, b.state, b.rates).where(
        tx.within(b.lane, {broadcast.lane_of(one) for one in priorities})).order_by(b.approved_at)).all()
    latest = {row.lane: row for row in rows}
    found = []
    for one in priorities:
        row, channel = latest.get(broadcast.lane_of(one)), broadcast.channel_of(one)
        if row is None or row.state in ("running", "completed"):
            per_s = None if row is None else json.loads(row.rates).get(channel)
            found.append(Lane(one, channel, None if row is None or per_s is None else (f"broadcast {row.id} {channel}", float(per_s))))
    return found


def standing(tx: Tx, broadcast_ids: Collection[str]) -> set[str]:
    """Those of these broadcasts of which nothing may be dispatched now."""
    if not broadcast_ids:
        return set()
    b = t.broadcast.c
    return set(tx.execute(select(b.id).where(tx.within(b.id, list(broadcast_ids)), b.state.in_(("paused", "cancelled")))).scalars())


def held_lanes(tx: Tx) -> list[int]:
    """The lanes of broadcasts that are paused, or were cancelled and still have deliveries to cancel."""
    b = t.broadcast.c
    held = select(b.lane).where(b.due_at.is_not(None), b.lane.is_not(None), b.state.in_(("paused", "cancelled")))
    return list(tx.execute(held).scalars())
