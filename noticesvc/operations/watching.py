"""What operators watch: how long things wait, what is unknown, and whether any notice was dropped. Reads only.

Called by dispatch.watch (metrics, `/readyz`) and by `noticesvc status`. Every figure costs the same however much is stored:
queues are looked at from their oldest end and counts stop at AT_MOST, which then means "so many or more".
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, not_, select

from noticesvc.domain.delivery import HORIZON
from noticesvc.operations import lanes
from noticesvc.storage import ledger
from noticesvc.storage import tables as t
from noticesvc.storage.audit import parked
from noticesvc.storage.tables.notices import WITHOUT_TIME
from noticesvc.storage.transaction import Tx

AT_MOST = 10_000
LATE_US = 3_600_000_000  # a gateway that has not reported for an hour is late
_PRIORITIES = range(4)  # domain.notice.priority
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Waiting:
    """So many of one kind wait, the oldest for so many seconds."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One look. Seconds are of the database's transaction; a count of AT_MOST means that many or more."""

    queues: dict[str, Waiting]  # due deliveries by category
    unknown: int  # deliveries whose outcome is unknown
    late_receipts: int  # deliveries by SMS without a receipt for over an hour
    receipts: Waiting  # raw receipts that nobody has read yet
    orphans: int  # receipts of an attempt that nobody knows (yet)
    events: Waiting  # outgoing events that are due
    ledger: Waiting  # transactions whose entries have no index yet
    checkpoint_size: int
    checkpoint_age_s: float | None  # null before the first
    unowned: tuple[tuple[str, str], ...]  # notice and channel: not finished, and nobody is to take care of it; the first few


def look(tx: Tx) -> Figures:
    """All figures, in one snapshot."""
    c, r, e = t.ledger_checkpoint.c, t.receipt.c, t.outgoing_event.c
    latest = tx.execute(select(c.size, c.signed_at).order_by(c.size.desc()).limit(1)).one_or_none()
    return Figures(
        queues=_queues(tx),
        unknown=_count(tx, t.delivery, t.delivery.c.state == "unknown", t.delivery.c.due_at.is_not(None)),
        late_receipts=_late(tx),
        receipts=_waiting(tx, t.receipt, r.due_at, r.state == "new"),
        orphans=_count(tx, t.receipt_waiting),
        events=_waiting(tx, t.outgoing_event, e.due_at),
        ledger=Waiting(_count(tx, t.ledger_pending), _seconds(tx, ledger.oldest_pending(tx))),
        checkpoint_size=latest.size if latest else 0,
        checkpoint_age_s=_seconds(tx, latest.signed_at) if latest else None,
        unowned=unowned(tx),
    )


def unowned(tx: Tx) -> tuple[tuple[str, str], ...]:
    """Deliveries that are not finished, wait for no time, and are neither leased nor parked: they were dropped. The first few."""
    d = t.delivery.c
    found = tx.execute(
        select(d.notice_id, d.channel).where(WITHOUT_TIME, d.lease_owner.is_(None), not_(parked())).limit(_SHOWN))
    return tuple((row.notice_id, row.channel) for row in found)


def _queues(tx: Tx) -> dict[str, Waiting]:
    found: dict[str, list[int]] = {}
    d = t.delivery.c
    for priority in (*_PRIORITIES, *lanes.present(tx)):
        oldest = (select(d.notice_id, d.due_at).where(d.state == "pending", d.priority == priority, d.due_at <= tx.now)
                  .order_by(d.due_at).limit(AT_MOST).subquery())
        rows = tx.execute(
            select(t.notice.c.category, func.count().label("number"), func.min(oldest.c.due_at).label("since"))
            .select_from(oldest.join(t.notice, t.notice.c.id == oldest.c.notice_id)).group_by(t.notice.c.category))
        for row in rows:
            count, since = found.setdefault(row.category, [0, row.since])
            found[row.category] = [count + row.number, min(since, row.since)]
    return {category: Waiting(count, _seconds(tx, since)) for category, (count, since) in sorted(found.items())}


def _late(tx: Tx) -> int:
    """An SMS that is sent is due again at its horizon, 72 h after its call; email and post often bring no receipt at all."""
    horizon_us = int(HORIZON["sms"].total_seconds() * 1_000_000)
    d = t.delivery.c
    return _count(tx, t.delivery, d.state == "sent", d.channel == "sms", d.due_at <= tx.now + horizon_us - LATE_US)


def _count(tx: Tx, table: Any, *where: ColumnElement[bool]) -> int:
    some = select(table.primary_key.columns.values()[0]).where(*where).limit(AT_MOST).subquery()
    return int(tx.execute(select(func.count()).select_from(some)).scalar_one())


def _waiting(tx: Tx, table: Any, due: Any, *where: ColumnElement[bool]) -> Waiting:
    count = _count(tx, table, due <= tx.now, *where)
    since = tx.execute(select(func.min(due)).where(due <= tx.now, *where)).scalar() if count else None
    return Waiting(count, _seconds(tx, since))


def _seconds(tx: Tx, since: int | None) -> float:
    return 0.0 if since is None else max(0.0, (tx.now - since) / 1_000_000)
