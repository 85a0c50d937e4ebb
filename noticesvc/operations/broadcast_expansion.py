"""Making the notices of approved broadcasts, some recipients at a time: exactly one for each, whenever the process dies.

Called by dispatch.broadcasts. `take` reads the next recipients of the audience in the order of their ids; `keep` writes the notices
that were made of them (operations.broadcast_making), and moves `expanded_to` on the broadcast's row, which it holds; so whatever is behind
that id has its notice and nothing else has. What was taken may be made while the portion before it is being written: `keep`
refuses what somebody else was quicker with, and what was made of a recipient who has changed since. Contacts are resolved at dispatch.
"""

import json
import typing
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Select, Text, bindparam, cast, func, select, update

from noticesvc.domain import broadcast
from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.operations import broadcast_request
from noticesvc.operations.broadcast_making import Candidate, Making
from noticesvc.operations.broadcast_request import Asked
from noticesvc.operations.contents import LONGEST_BODY
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

Kept = Literal["kept", "overtaken", "changed"]
TOGETHER = 16 * BUNDLE_ENTRIES
"""Recipients in one transaction: their entries fill whole bundles."""
_WITH_CONTENT = 4 * BUNDLE_ENTRIES  # where each recipient has a content of their own,
_CONTENT_BYTES = 16 << 20  # and of these no more at once than hold in so many bytes, each being held several times


def expand(tx: Tx, world: World, limit: int = TOGETHER) -> int:
    """Make the next notices of one broadcast that nobody else is at; answers how many recipients were dealt with, 0 for none left."""
    row = tx.execute(_unfinished().with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return 0
    making = _making(tx, world, row, limit)
    _store(tx, row, making)
    return max(1, len(making.subject_ids))


def take(tx: Tx, world: World, after: Making | None = None, limit: int = TOGETHER, busy: str | None = None) -> Making | None:
    """The next recipients of a broadcast that nobody else is at, `busy` left out, nothing made yet, or those `after` others in the same
    broadcast; null if there are none.
    """
    b = t.broadcast.c
    first = _unfinished().where(b.id != busy) if busy is not None else _unfinished()
    mine = first.with_for_update(skip_locked=True) if after is None else select(t.broadcast).where(b.id == after.broadcast_id)
    row = tx.execute(mine).one_or_none()
    if row is None:
        return None
    making = _making(tx, world, row, limit, after)
    return making if making.subject_ids or after is None else None


def keep(tx: Tx, making: Making) -> Kept:
    """Write what is made. Nothing is written if it is `overtaken`: somebody else was quicker, or it does not run any more; or `changed`:
    one of the recipients did, since they were taken. Waits for whoever has the row, if only to add up counts.
    """
    row = tx.execute(_running().where(t.broadcast.c.id == making.broadcast_id).with_for_update()).one_or_none()
    if row is None or row.expanded_to != making.after:
        return "overtaken"
    if making.subject_ids and _counted(tx, making) != (len(making.subject_ids), making.changes):
        return "changed"
    tx.happens_at(making.now)
    _store(tx, row, making)
    return "kept"


def reached(tx: Tx, broadcast_id: str) -> str | None:
    """The recipient up to whom the notices of this broadcast are made, null before the first."""
    return tx.execute(select(t.broadcast.c.expanded_to).where(t.broadcast.c.id == broadcast_id)).scalar_one_or_none()


def _running() -> Select[Any]:
    b = t.broadcast.c
    return select(t.broadcast).where(b.due_at.is_not(None), b.state == "running")


def _unfinished() -> Select[Any]:
    """The first running broadcast that lacks notices."""
    b = t.broadcast.c
    return _running().where(b.expanded + b.skipped < b.total).order_by(b.id).limit(1)


def _making(tx: Tx, world: World, row: Any, limit: int, former: Making | None = None) -> Making:
    after = row.expanded_to if former is None else former.last
    number = limit if row.content_id is not None else min(limit, _WITH_CONTENT)
    asked, candidates = broadcast_request.load(tx, world, row), _next(tx, row, after, number)
    if row.content_id is None:
        candidates = _fitting(asked, candidates)
    return Making(world, tx.sources, tx.now, row, asked, after, candidates, postgresql=tx.postgresql)


def _fitting(asked: Asked, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """The first of these recipients whose contents are not too much for one portion; one at least."""
    texts = [text for text in asked.template.texts.values() if text is not None] if asked.template is not None else []
    length, places = sum(len(text.encode()) for text in texts), sum(text.count("{{") for text in texts)
    common = sum(len(str(value).encode()) for value in asked.notice.params.values())
    total = 0
    for number, candidate in enumerate(candidates):  # at most: each parameter in each place, every character escaped
        total += min(LONGEST_BODY, length + 2 * places * (common + len(candidate.params or b"")))
        if number and total > _CONTENT_BYTES:
            return candidates[:number]
    return candidates


def _next(tx: Tx, row: Any, after: str | None, limit: int) -> Sequence[Candidate]:
    """The next rows of the audience, each with what is needed of its recipient."""
    b, r = t.broadcast_recipient.c, t.recipient.c
    def spelt(column: Any) -> Any:  # by PostgreSQL: asyncpg would make a UUID object of each, of which the text would be made
        return cast(column, Text) if tx.postgresql else column
    query = select(spelt(b.subject_id).label("subject_id"), r.subject_seq, r.wrapped_key, r.anonymised_at, r.account_state, r.sealed,
                   spelt(r.acceptance_id), b.sealed.label("params")).join(t.recipient, r.subject_id == b.subject_id).where(
        b.broadcast_id == row.id).order_by(b.subject_id).limit(limit)
    return typing.cast("Sequence[Candidate]", tx.execute(query if after is None else query.where(b.subject_id > after)).all())


def _counted(tx: Tx, making: Making) -> tuple[int, int]:
    """How many are in this part of the audience now, and how often they changed: every change of a recipient counts its number up."""
    b, r = t.broadcast_recipient.c, t.recipient.c
    query = select(func.count().label("number"), func.coalesce(func.sum(r.subject_seq), 0).label("changes")).select_from(
        t.broadcast_recipient).join(t.recipient, r.subject_id == b.subject_id).where(
        b.broadcast_id == making.broadcast_id, b.subject_id <= making.last)
    found = tx.execute(query if making.after is None else query.where(b.subject_id > making.after)).one()
    return int(found.number), int(found.changes)


def _store(tx: Tx, row: Any, making: Making) -> None:
    """Write notices and reasons, and count them on the broadcast's row."""
    ready = making.store(tx)
    for subject_id, reason in making.skipped:
        _skip(tx, row.id, subject_id, reason)
    summed = broadcast.add([json.loads(row.counts), {"queued": ready}, {f"{channel}/pending": ready for channel in row.channels.split()}])
    done = row.expanded + ready, row.skipped + len(making.skipped)
    if not making.subject_ids:  # rows that were approved are gone: nobody can be told, and the counts must say so
        done = row.expanded, row.total - row.expanded
    tx.update(t.broadcast, ("id",), [{"id": row.id, "expanded": done[0], "skipped": done[1], "counts": json.dumps(summed),
                                      "expanded_to": making.last}])
    if making.due <= tx.now:
        tx.wake("dispatch")


def _skip(tx: Tx, broadcast_id: str, subject_id: str, reason: str) -> None:
    b = t.broadcast_recipient.c
    tx.execute(update(t.broadcast_recipient).where(b.broadcast_id == bindparam("v_broadcast"), b.subject_id == bindparam("v_subject"))
               .values(skipped=bindparam("v_reason")), [{"v_broadcast": broadcast_id, "v_subject": subject_id, "v_reason": reason}])
