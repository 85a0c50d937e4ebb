"""In-site delivery, set-based: intent, arrival and inbox message of a whole batch in one transaction, one entry a delivery.

The row is committed and visible and the account can log in: that is arrival (clause 6.2). An account that cannot log in
keeps its delivery pending; it is parked until the account is active again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select

from noticesvc.domain.broadcast import LANES
from noticesvc.operations import contents, rates
from noticesvc.operations.announcements import single_entry
from noticesvc.operations.evidence import NewEvidence, Recorder
from noticesvc.operations.lanes import open_lanes
from noticesvc.operations.obstacles import obstacle
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


class Delivered(NamedTuple):
    """How many deliveries were taken in hand, and the seconds until a rate lets more through (null: none holds any up)."""

    number: int
    wait_s: float | None


def deliver(tx: Tx, world: World, limit: int) -> int:
    """Deliver up to `limit` due in-site deliveries; answers how many were taken in hand."""
    return deliver_paced(tx, world, limit).number


def deliver_paced(tx: Tx, world: World, limit: int, *, broadcasts: bool = True) -> Delivered:
    """Deliver up to `limit` due in-site deliveries, those of broadcasts, if they are wanted, after all others."""
    due, wait_s = _due(tx, limit, broadcasts=broadcasts)
    if due:
        _deliver(tx, world, due)
    return Delivered(len(due), wait_s)


def _due(tx: Tx, limit: int, *, broadcasts: bool) -> tuple[list[Any], float | None]:
    """Due deliveries, locked, and the seconds until a rate lets more through."""
    found, waits = _locked(tx, limit, t.delivery.c.priority < LANES), list[float]()
    lanes = open_lanes(tx, ("in_site",)) if broadcasts and len(found) < limit else []
    for at, lane in enumerate(lanes):
        room = -(-(limit - len(found)) // (len(lanes) - at))
        if lane.limit is not None and room > 0:
            name, per_s = lane.limit
            room, micros = rates.reserve(tx, {name: (per_s, room)})[name]
            waits.append(micros / 1e6)
        if room > 0:
            found += _locked(tx, room, t.delivery.c.priority == lane.priority)
    return found, min(waits, default=None)


def _locked(tx: Tx, limit: int, which: ColumnElement[bool]) -> list[Any]:
    d = t.delivery.c
    return list(tx.execute(
        select(t.delivery)
        .where(d.state == "pending", d.due_at <= tx.now, d.channel == "in_site", which)
        .order_by(d.priority, d.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all())


def _deliver(tx: Tx, world: World, due: Sequence[Any]) -> None:
    unit = Unit(tx, world, {one.notice_id for one in due})
    recipients = unit.recipients
    hashes = contents.hashes(tx, world, unit.notices.values(), {s: unit.key(s) for s in recipients})
    recorder, attempts, messages = Recorder(unit), [], []
    for one in sorted(due, key=lambda one: one.notice_id):
        row, recipient = unit.notices[one.notice_id], recipients[one.subject_id]
        closed = obstacle(tx, row, recipient, "in_site")
        if closed is not None:
            close(unit, row["id"], one, *closed)
        elif recipient.account_state != "active":
            unit.set_delivery(one.notice_id, "in_site", due_at=row["expires_at"])
        else:
            attempts.append(_arrive(unit, recorder, one, recipient, hashes[row["id"]]))
            messages.append({"notice_id": one.notice_id, "id": tx.new_id(), "subject_id": one.subject_id, "sent_at": tx.now})
            unit.set_delivery(one.notice_id, "in_site", attempts=1, due_at=None)
    tx.insert(t.attempt, attempts)
    tx.insert(t.inbox_message, messages)
    recorder.save()
    if messages:
        tx.wake("inbox")
    settle(unit)
    unit.save()


def _arrive(unit: Unit, recorder: Recorder, one: Any, recipient: Any, sha256: str) -> dict[str, Any]:
    tx = unit.tx
    intended = tx.new_id()
    new = NewEvidence(
        notice_id=one.notice_id,
        delivery_id=one.id,
        channel="in_site",
        attempt=1,
        kind="arrived",
        source="inbox",
        observed_at=tx.now,
        carries=one.carries,
        authenticated_by="own-system",
        confirmation="confirmed",
        content_sha256=sha256,
    )
    overrode = ["refusal"] if "in_site" in recipient.refuse_commercial.split() else []
    recorder.record("attempt.answered", new, single_entry(intended, recipient.acceptance_id, recipient.created_at, overrode), answer=True)
    entry = recorder.rows[-1]
    return {
        "notice_id": one.notice_id,
        "channel": "in_site",
        "number": 1,
        "provider": None,
        "contact_id": None,
        "intended_at": tx.now,
        "evidence_id": intended,
        "confirmation": "confirmed",
        "contact_effective_from": recipient.created_at,
        "entry_batch": entry["entry_batch"],
        "entry_offset": entry["entry_offset"],
    }
