"""The counts of broadcasts: never counted row by row, but added up from what each transaction changed.

A transaction that changes the state of a broadcast's notices or deliveries inserts one row for each broadcast with the differences
(`note`), so that no two workers wait for each other's row; housekeeping folds these rows into the broadcast's own (`fold`). A reader
adds both in one snapshot.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select

from noticesvc.domain import broadcast
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

RESPONSE = "response/"  # and what a recipient answered first, or `express`: an express refusal
INDEPENDENT = "independent/"  # and how many days before the effective time; -1: not before it
_DAY_US = 86_400_000_000
MOST_DAYS = 400
FOLDED = 2000  # deltas in one transaction


def note(tx: Tx, deltas: Mapping[str, Mapping[str, int]]) -> None:
    """Record by how much the counts of broadcasts (by id) change with this transaction."""
    changed = {broadcast_id: broadcast.add([delta]) for broadcast_id, delta in deltas.items()}
    tx.insert(t.broadcast_delta, [{"id": tx.new_id(), "broadcast_id": broadcast_id, "counts": json.dumps(delta)}
                                  for broadcast_id, delta in sorted(changed.items()) if delta])


def fold(tx: Tx, row: Any) -> dict[str, int]:
    """Add what waits to the sums on a broadcast's row, which this transaction holds; answers the sums."""
    d = t.broadcast_delta.c
    waiting = tx.execute(select(d.id, d.counts).where(d.broadcast_id == row.id).limit(FOLDED)).all()
    sums = broadcast.add([json.loads(row.counts), *(json.loads(one.counts) for one in waiting)])
    if waiting:
        tx.execute(delete(t.broadcast_delta).where(tx.within(d.id, [one.id for one in waiting])))
        tx.update(t.broadcast, ("id",), [{"id": row.id, "counts": json.dumps(sums)}])
    return sums


def sums(tx: Tx, rows: Sequence[Any]) -> dict[str, dict[str, int]]:
    """The sums of these broadcasts' rows with what waits, by id; all of one snapshot only where the transaction reads from one."""
    d = t.broadcast_delta.c
    found: dict[str, list[Mapping[str, int]]] = {row.id: [json.loads(row.counts)] for row in rows}
    for one in tx.execute(select(d.broadcast_id, d.counts).where(tx.within(d.broadcast_id, list(found)))) if found else ():
        found[one.broadcast_id].append(json.loads(one.counts))
    return {broadcast_id: broadcast.add(deltas) for broadcast_id, deltas in found.items()}


def shown(row: Any, summed: Mapping[str, int]) -> dict[str, Any]:
    """The counts of a broadcast's row, as its reader sees them."""
    return broadcast.counts(row.state, row.channels.split(), row.total, row.expanded, row.skipped, summed)


def names(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Under which names a notice of a broadcast counts: its state, the channel of its service, and how many whole days before the
    effective time of the change it was served independently.
    """
    independent = None
    if row["independent_at"] is not None and row["effective_at"] is not None:
        days = (row["effective_at"] - row["independent_at"]) // _DAY_US
        independent = f"{INDEPENDENT}{min(max(days, -1), MOST_DAYS)}"
    return row["state"], f"{row['service_channel']}/served" if row["served"] else None, independent


def respond(tx: Tx, notice: Mapping[str, Any], response: str, *, express: bool) -> None:
    """Count a recipient's response to their notice, whose row this transaction holds: each response of one counts once."""
    r = t.broadcast_response.c
    known = tx.execute(select(r.response, r.express).where(r.broadcast_id == notice["broadcast_id"], r.notice_id == notice["id"])).all()
    if all(row.response != response for row in known):
        tx.insert(t.broadcast_response, [{"broadcast_id": notice["broadcast_id"], "notice_id": notice["id"], "response": response,
                                          "express": express}])
        delta = {f"{RESPONSE}{response}": 1} | ({f"{RESPONSE}express": 1} if express else {})
        note(tx, {notice["broadcast_id"]: delta})


def agreement(summed: Mapping[str, int], days: int) -> dict[str, Any]:
    """What is told of a change of an agreement: answers, and who was served independently so many days before it takes effect."""
    before = {int(name[len(INDEPENDENT):]): number for name, number in summed.items() if name.startswith(INDEPENDENT)}
    return {"accepted": summed.get(f"{RESPONSE}accept", 0), "refused": summed.get(f"{RESPONSE}refuse", 0),
            "refused_expressly": summed.get(f"{RESPONSE}express", 0), "objected": summed.get(f"{RESPONSE}object", 0),
            "served_independently": sum(before.values()), "days": days,
            "served_independently_in_time": sum(number for left, number in before.items() if left >= days)}


def changes(moved: Iterable[tuple[str, str | None, str | None]]) -> dict[str, dict[str, int]]:
    """Deltas by broadcast from (broadcast id, name counted before, name counted now); null: none."""
    found: dict[str, dict[str, int]] = {}
    for broadcast_id, before, now in moved:
        if before != now:
            mine = found.setdefault(broadcast_id, {})
            if before is not None:
                mine[before] = mine.get(before, 0) - 1
            if now is not None:
                mine[now] = mine.get(now, 0) + 1
    return found
