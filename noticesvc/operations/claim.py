"""Claims: a time-limited right to a delivery, fenced by who holds it.

On PostgreSQL a lease is timed on the database's clock. On SQLite, where one process serves at a time, it is timed on that
process's monotonic clock and a lease of another process counts as lapsed. So neither a jump of the wall clock nor a reboot
ends or prolongs a lease.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, literal, or_, select, update

from noticesvc.domain import notice
from noticesvc.domain.broadcast import LANES
from noticesvc.operations.lanes import open_lanes
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

CALLED = ("sms", "email", "postal")  # channels whose deliveries are claimed, sealed, called and recorded


class Claim(msgspec.Struct, frozen=True):
    """A delivery that this worker may dispatch now. `unanswered` is the number of an attempt that its last holder began
    and nobody answered, `held_by` that holder.
    """

    notice_id: str
    channel: str
    delivery_id: str
    subject_id: str
    state: str
    attempts: int
    due_at: int
    held_by: str | None
    lapsed_at: int | None
    unanswered: int | None = None
    avoid: tuple[str, ...] = ()  # providers that could not take it since it last waited
    priority: int = 0  # smaller goes first
    limit: tuple[str, float] | None = None  # a rate beside the provider's, by name, that all of a broadcast on this channel share

    @property
    def bulk(self) -> bool:
        """Whether it is one of many, and lets single ones go first."""
        return self.priority >= notice.BULK


def lease_now(tx: Tx) -> int:
    """The clock of leases, in microseconds."""
    if tx.postgresql:
        return int(tx.conn.exec_driver_sql("select (extract(epoch from clock_timestamp()) * 1000000)::bigint").scalar_one())
    return time.monotonic_ns() // 1000


def _lapsed(tx: Tx, owner: str, now: int) -> ColumnElement[bool]:
    d = t.delivery.c
    free = or_(d.lease_until.is_(None), d.lease_until < now)
    return free if tx.postgresql else or_(free, d.lease_owner != owner)


def claim(tx: Tx, owner: str, limit: int, lease_s: float, channels: Collection[str] = CALLED, *,
          single: bool = False) -> list[Claim]:
    """Claim up to `limit` due deliveries on these channels, urgent ones first (`single`: no bulk); others skip what is locked.

    Those of broadcasts come after all others, an even share from each broadcast that is not held up.
    """
    found = _claim(tx, owner, limit, lease_s, channels, t.delivery.c.priority < (notice.BULK if single else LANES), None)
    if single or len(found) >= limit:
        return found
    lanes = open_lanes(tx, channels, ("pending", "unknown"))
    for at, lane in enumerate(lanes):
        room = -(-(limit - len(found)) // (len(lanes) - at))
        if lane.limit is not None:
            room = min(room, int(2 * lane.limit[1]) + 1)  # no more in hand than goes out soon
        if room > 0:
            found += _claim(tx, owner, room, lease_s, (lane.channel,), t.delivery.c.priority == lane.priority, lane.limit)
    return found


def _claim(tx: Tx, owner: str, limit: int, lease_s: float, channels: Collection[str], which: ColumnElement[bool],
           rate: tuple[str, float] | None) -> list[Claim]:
    now, d = lease_now(tx), t.delivery.c
    due = (
        select(d.notice_id, d.channel, d.lease_owner.label("held_by"), d.lease_until.label("lapsed_at"))
        .where(
            d.state.in_(("pending", "unknown")),
            d.due_at <= tx.now,
            d.channel.in_(channels),
            _lapsed(tx, owner, now),
            which,
        )
        .order_by(d.priority, d.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = (
        tx.execute(
            update(t.delivery)
            .where(d.notice_id == due.c.notice_id, d.channel == due.c.channel)
            .values(
                lease_owner=owner,
                lease_until=now + int(lease_s * 1_000_000),
            )
            .returning(
                d.notice_id, d.channel, d.id, d.subject_id, d.state, d.attempts, d.priority, d.due_at, d.avoid, due.c.held_by,
                due.c.lapsed_at
            )
        ).all()
        if tx.postgresql
        else _claim_sqlite(tx, due, owner, now + int(lease_s * 1_000_000))
    )
    if not rows:
        return []
    begun = _begun(tx, [r for r in rows if r.held_by is not None or r.attempts])
    rows = sorted(rows, key=lambda r: (r.priority, r.due_at))
    return [
        Claim(
            r.notice_id,
            r.channel,
            r.id,
            r.subject_id,
            r.state,
            r.attempts,
            r.due_at,
            r.held_by,
            r.lapsed_at,
            begun.get((r.notice_id, r.channel)),
            tuple(r.avoid.split()) if r.avoid else (),
            r.priority,
            rate,
        )
        for r in rows
    ]


def _begun(tx: Tx, rows: Sequence[Any]) -> dict[tuple[str, str], int]:
    """Of claimed rows that somebody had before: the number of an attempt that was begun and is not counted yet."""
    if not rows:
        return {}
    numbers = {(r.notice_id, r.channel): r.attempts + 1 for r in rows}
    a = t.attempt.c
    found = tx.execute(select(a.notice_id, a.channel, a.number).where(tx.within(a.notice_id, {r.notice_id for r in rows})))
    return {(one.notice_id, one.channel): one.number for one in found if numbers.get((one.notice_id, one.channel)) == one.number}


def _claim_sqlite(tx: Tx, due: Any, owner: str, until: int) -> Sequence[Any]:
    """The same in two statements: SQLite's RETURNING cannot name the table that an UPDATE reads from."""
    d = t.delivery.c
    rows = tx.execute(
        select(d.notice_id, d.channel, d.id, d.subject_id, d.state, d.attempts, d.priority, d.due_at, d.avoid, due.c.held_by,
               due.c.lapsed_at).join(
            due, and_(d.notice_id == due.c.notice_id, d.channel == due.c.channel)
        )
    ).all()
    if rows:
        tx.execute(
            update(t.delivery)
            .where(d.notice_id == bindparam("v_notice"), d.channel == bindparam("v_channel"))
            .values(lease_owner=owner, lease_until=until),
            [{"v_notice": r.notice_id, "v_channel": r.channel} for r in rows],
        )
    return rows


def renew(tx: Tx, owner: str, held: Collection[tuple[str, str]], lease_s: float) -> set[tuple[str, str]]:
    """Prolong the leases still held; answers which those are."""
    if not held:
        return set()
    d = t.delivery.c
    kept = {
        (r.notice_id, r.channel)
        for r in tx.execute(
            update(t.delivery)
            .where(tx.within(d.notice_id, {n for n, _ in held}), d.lease_owner == owner)
            .values(lease_until=lease_now(tx) + int(lease_s * 1_000_000))
            .returning(d.notice_id, d.channel)
        )
    }
    return kept & set(held)


def release(tx: Tx, owner: str, held: Collection[tuple[str, str]]) -> None:
    """Give deliveries back unsent."""
    if held:
        tx.execute(
            update(t.delivery)
            .where(
                t.delivery.c.notice_id == bindparam("v_notice"),
                t.delivery.c.channel == bindparam("v_channel"),
                t.delivery.c.lease_owner == bindparam("v_owner"),
            )
            .values(lease_owner=None, lease_until=None),
            [{"v_notice": n, "v_channel": c, "v_owner": owner} for n, c in sorted(held)],
        )
        tx.wake("dispatch")


def postpone(tx: Tx, owner: str, claims: Collection[tuple[Claim, int]]) -> None:
    """Put claims of `owner` back as they were lapsed, due at the given time: their last holder's host may still adopt its journal.

    One that was adopted since it was claimed is nobody's any more, and stays as the journal left it.
    """
    if claims:
        tx.execute(
            update(t.delivery)
            .where(
                t.delivery.c.notice_id == bindparam("v_notice"),
                t.delivery.c.channel == bindparam("v_channel"),
                t.delivery.c.lease_owner == bindparam("v_holder"),
            )
            .values(lease_owner=bindparam("v_owner"), lease_until=bindparam("v_until"), due_at=bindparam("v_due")),
            [
                {
                    "v_notice": c.notice_id,
                    "v_channel": c.channel,
                    "v_holder": owner,
                    "v_owner": c.held_by,
                    "v_until": c.lapsed_at,
                    "v_due": due,
                }
                for c, due in claims
            ],
        )


def held_by(tx: Tx, owner: str) -> list[tuple[str, str]]:
    """The deliveries that a (dead) worker still holds."""
    d = t.delivery.c
    return [
        (r.notice_id, r.channel)
        for r in tx.execute(
            select(d.notice_id, d.channel).where(
                d.state.in_(("pending", "unknown")), d.due_at.is_not(None), d.lease_owner == literal(owner, t.Id)
            )
        )
    ]
