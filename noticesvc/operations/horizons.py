"""What time alone decides: no receipt within the horizon, and `expires_at` of what was sent.

No receipt is neither failure nor arrival: it ends the waiting, and later evidence still moves the delivery.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, update

from noticesvc.operations.evidence import NewEvidence, Recorder
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def sweep(tx: Tx, world: World, limit: int = 200) -> int:
    """Expire sent deliveries whose time is up; answers how many."""
    d = t.delivery.c
    rows = tx.execute(
        select(d.notice_id, d.channel)
        .where(d.state == "sent", d.due_at <= tx.now)
        .order_by(d.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        no_receipt(tx, world, [(r.notice_id, r.channel) for r in rows])
    return len(rows)


def no_receipt(tx: Tx, world: World, keys: Sequence[tuple[str, str]]) -> None:
    """End the waiting for these deliveries: closed where the notice expired, else `no_receipt` on their last attempt."""
    unit = Unit(tx, world, {n for n, _ in keys})
    recorder = Recorder(unit)
    rows = tx.execute(select(t.delivery).where(tx.within(t.delivery.c.notice_id, {n for n, _ in keys}))).all()
    for one in rows:
        if (one.notice_id, one.channel) not in keys:
            continue
        row = unit.notices[one.notice_id]
        if row["expires_at"] is not None and row["expires_at"] <= tx.now:
            close(unit, one.notice_id, one, "expired", "expires_at")
            continue
        last = tx.execute(
            select(t.attempt)
            .where(t.attempt.c.notice_id == one.notice_id, t.attempt.c.channel == one.channel)
            .order_by(t.attempt.c.number.desc())
            .limit(1)
        ).one()
        recorder.record(
            "receipt.observed",
            NewEvidence(
                notice_id=one.notice_id,
                delivery_id=one.id,
                channel=one.channel,
                attempt=last.number,
                kind="no_receipt",
                source="horizon",
                observed_at=tx.now,
                carries=one.carries,
                authenticated_by="own-system",
                contact_id=last.contact_id,
                confirmation=last.confirmation,
                provider=last.provider,
            ),
            {"receipt_id": None},
            content_matches=None,
        )
    recorder.save()
    tx.execute(
        update(t.delivery)
        .where(t.delivery.c.notice_id == bindparam("v_notice"), t.delivery.c.channel == bindparam("v_channel"))
        .values(lease_owner=None, lease_until=None),
        [{"v_notice": n, "v_channel": c} for n, c in sorted(keys)],
    )
    settle(unit)
    unit.save()
