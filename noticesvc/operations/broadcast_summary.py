"""What the summary of a broadcast says: sums by set statements over its notices, all of one snapshot. Called by the route of the PDF."""

from collections import Counter
from typing import Any, Final

from sqlalchemy import func, select

from noticesvc.certificate import coverage_words as words
from noticesvc.certificate.coverage import Story
from noticesvc.certificate.words import CATEGORIES, CHANNELS, of
from noticesvc.domain.access import Access
from noticesvc.errors import Conflict
from noticesvc.operations import broadcasts
from noticesvc.operations.broadcast_report import NEGATIVE
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR, _DAY = 60 * _MINUTE, 24 * 60 * _MINUTE
WIDTHS: Final = (_SECOND, 5 * _SECOND, 15 * _SECOND, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, _DAY, 7 * _DAY,
                 28 * _DAY, 364 * _DAY)
_MOST_BARS = 40
_OFFSET = 8 * _HOUR  # days begin at midnight in Shanghai


def summary(tx: Tx, world: World, access: Access, broadcast_id: str, days: int) -> Story:
    """The story of a broadcast for its summary. Raises NotFound, Forbidden, and Conflict for one that was never approved."""
    row = broadcasts.found(tx, access, broadcast_id)
    if row.approved_at is None:
        raise Conflict("not-approved", "The broadcast was never approved, so that nothing came of it.")
    shown = broadcasts.one(tx, world, access, broadcast_id, days)
    n = t.notice.c
    independent = tx.execute(select(func.count()).where(n.broadcast_id == row.id, n.independent_at.is_not(None))).scalar_one()
    return Story(
        issuer=world.issuer, sandbox=world.sandbox, now=tx.now, id=row.id, name=shown["name"], state=row.state,
        category=of(CATEGORIES, row.category), created_at=row.created_at, approved_at=row.approved_at, ended_at=row.ended_at,
        effective_at=row.effective_at, days=days, counts=shown["counts"], independent=independent, answers=shown["agreement"],
        bars=_bars(tx, row.id), reasons=_reasons(tx, row, shown["counts"]))


def _bars(tx: Tx, broadcast_id: str) -> dict[str, Any]:
    """How many notices were served in each stretch of time by each channel: width (microseconds), where the first begins, numbers."""
    n = t.notice.c
    mine = (n.broadcast_id == broadcast_id, n.state == "served", n.served_at.is_not(None))
    ends = tx.execute(select(func.min(n.served_at).label("first"), func.max(n.served_at).label("last")).where(*mine)).one()
    first, last = ends.first, ends.last
    if first is None:
        return {"width": 0, "start": 0, "channels": {}}
    width = next((one for one in WIDTHS if (last - first) // one < _MOST_BARS), WIDTHS[-1])
    start = (first + _OFFSET) // width * width - _OFFSET
    size = (last - start) // width + 1
    channels: dict[str, list[int]] = {}
    place = ((n.served_at - start) // width).label("place")
    for one in tx.execute(select(n.service_channel, place, func.count().label("number")).where(*mine).group_by(n.service_channel, place)):
        channels.setdefault(one.service_channel, [0] * size)[int(one.place)] = one.number
    return {"width": width, "start": start, "channels": {one: channels[one] for one in CHANNELS if one in channels}}


def _reasons(tx: Tx, row: Any, counts: dict[str, Any]) -> list[dict[str, Any]]:
    """What became of the deliveries of notices that are over and not served, and of recipients without a notice; the most first."""
    n, d, e, b = t.notice.c, t.delivery.c, t.evidence.c, t.broadcast_recipient.c
    kind = select(e.kind).where(e.notice_id == d.notice_id, e.channel == d.channel, e.kind.in_(sorted(NEGATIVE))).order_by(
        e.observed_at.desc(), e.id.desc()).limit(1).correlate(t.delivery).scalar_subquery()
    each = select(d.channel, d.state, kind.label("kind")).join(t.notice, n.id == d.notice_id).where(
        n.broadcast_id == row.id, n.state.in_(("unserved", "expired", "cancelled"))).subquery()
    found: Counter[tuple[str, str, str]] = Counter()
    for one in tx.execute(select(each.c.channel, each.c.state, each.c.kind, func.count().label("number")).group_by(
            each.c.channel, each.c.state, each.c.kind)):
        said = words.outcome(one.state, one.kind)
        found[one.channel, said["zh"], said["en"]] += one.number
    skipped = select(b.skipped, func.count().label("number")).where(b.broadcast_id == row.id, b.skipped.is_not(None)).group_by(b.skipped)
    for one in tx.execute(skipped):
        said = words.SKIPPED[one.skipped]
        found["", said["zh"], said["en"]] += one.number
    left = counts["total"] - row.expanded - row.skipped
    if left:
        said = words.SKIPPED["broadcast_cancelled" if row.state == "cancelled" else "waits"]
        found["", said["zh"], said["en"]] += left
    return [{"channel": of(CHANNELS, channel or None), "what": {"zh": zh, "en": en}, "count": number}
            for (channel, zh, en), number in found.most_common()]
