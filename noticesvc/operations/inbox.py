"""A recipient's in-site messages (站内信): listed, counted, and what the recipient does with them recorded as evidence.

Called by the inbox routes. Display, opening and acknowledgement are each recorded once; of a repetition nothing is kept.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, func, select, update

from noticesvc.domain.access import Access
from noticesvc.errors import Forbidden, NotFound
from noticesvc.operations import contents, documents
from noticesvc.operations import inbox_token as tokens
from noticesvc.operations.evidence import NewEvidence, Recorder, at
from noticesvc.operations.recipient_state import index
from noticesvc.operations.settle import settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.rendering.markdown import html
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

ACTS = {"displayed": "displayed", "opened": "accessed", "acknowledged": "acknowledged"}  # what was done -> kind of evidence
MOST_TOLD = 1000  # unread messages that a stream names


class Pulse(NamedTuple):
    """What changes when anything in an inbox does."""

    total: int
    unread: int
    displayed: int
    opened: int
    acknowledged: int


def subject_of(tx: Tx, world: World, access: Access, recipient_id: str) -> str:
    """The subject id behind an inbox. NotFound for no such recipient; Forbidden for a token of another recipient."""
    row = tx.execute(select(t.recipient.c.subject_id).where(
        t.recipient.c.recipient_index == index(world, recipient_id), t.recipient.c.anonymised_at.is_(None))).one_or_none()
    if access.inbox_of is not None and (row is None or row.subject_id != access.inbox_of):
        raise Forbidden("This token is for the inbox of another recipient.")
    if row is None:
        raise NotFound("There is no such recipient.")
    return str(row.subject_id)


def token(tx: Tx, world: World, access: Access, recipient_id: str) -> dict[str, Any]:
    """A token for this recipient's inbox alone."""
    made, ends = tokens.issue(world.vault, subject_of(tx, world, access, recipient_id), tx.now)
    return {"token": made, "expires_at": at(ends)}


def messages(tx: Tx, world: World, access: Access, recipient_id: str, unread: bool | None, limit: int,
             after: str | None) -> tuple[list[dict[str, Any]], str | None, int]:
    """A page of messages, the newest notice first, the notice id that the next page follows, and the number of unread ones."""
    m, subject_id = t.inbox_message.c, subject_of(tx, world, access, recipient_id)
    conditions = [m.subject_id == subject_id]
    if unread is not None:
        conditions.append(_unread() if unread else ~_unread())
    if after is not None:
        conditions.append(m.notice_id < after)
    rows = tx.execute(select(t.inbox_message).where(*conditions).order_by(m.notice_id.desc()).limit(limit + 1)).all()
    number = tx.execute(select(func.count()).select_from(t.inbox_message).where(m.subject_id == subject_id, _unread())).scalar_one()
    return _shown(tx, world, rows[:limit]), rows[limit - 1].notice_id if len(rows) > limit else None, number


def act(tx: Tx, world: World, access: Access, recipient_id: str, message_id: str, done: str) -> dict[str, Any]:
    """Record that a message was `displayed`, `opened` or `acknowledged`; the message as it is then. Again: nothing more.

    Raises NotFound for a message that is not in this inbox.
    """
    m = t.inbox_message.c
    mine = and_(m.subject_id == subject_of(tx, world, access, recipient_id), m.id == message_id)
    found = tx.execute(select(m.notice_id).where(mine)).scalar()
    if found is None:
        raise NotFound("There is no such message.")
    unit = Unit(tx, world, {found})  # locks the notice, so that of two who come at once one sees what the other did
    row = tx.execute(select(t.inbox_message).where(m.notice_id == found)).one()
    if getattr(row, f"{done}_at") is None:
        _record(unit, found, ACTS[done])
        tx.execute(update(t.inbox_message).where(m.notice_id == found).values({f"{done}_at": tx.now}))
        tx.wake("inbox")
        row = tx.execute(select(t.inbox_message).where(m.notice_id == found)).one()
    return _shown(tx, world, [row])[0]


def pulses(tx: Tx, subject_ids: Collection[str]) -> dict[str, Pulse]:
    """The pulse of each of these inboxes, in one statement; an empty inbox is left out."""
    m = t.inbox_message.c
    rows = tx.execute(select(m.subject_id, func.count().label("total"), func.count().filter(_unread()).label("unread"),
                             func.count(m.displayed_at).label("displayed"), func.count(m.opened_at).label("opened"),
                             func.count(m.acknowledged_at).label("acknowledged"),
                             ).where(tx.within(m.subject_id, subject_ids)).group_by(m.subject_id))
    return {row.subject_id: Pulse(row.total, row.unread, row.displayed, row.opened, row.acknowledged) for row in rows}


def unread_ids(tx: Tx, subject_id: str) -> list[str]:
    """The ids of unread messages, the newest notice first, at most MOST_TOLD."""
    m = t.inbox_message.c
    statement = select(m.id).where(m.subject_id == subject_id, _unread()).order_by(m.notice_id.desc()).limit(MOST_TOLD)
    return [row.id for row in tx.execute(statement)]


def _unread() -> ColumnElement[bool]:
    return and_(t.inbox_message.c.opened_at.is_(None), t.inbox_message.c.acknowledged_at.is_(None))


def _record(unit: Unit, notice_id: str, kind: str) -> None:
    tx, world, row = unit.tx, unit.world, unit.notices[notice_id]
    one = tx.execute(select(t.delivery).where(t.delivery.c.notice_id == notice_id, t.delivery.c.channel == "in_site")).one()
    hashes = contents.hashes(tx, world, [row], {row["subject_id"]: unit.key(row["subject_id"])})
    recorder = Recorder(unit)
    recorder.record("receipt.observed", NewEvidence(
        notice_id=notice_id, delivery_id=one.id, channel="in_site", attempt=1, kind=kind, source="inbox", observed_at=tx.now,
        carries=one.carries, authenticated_by="session", confirmation="confirmed", content_sha256=hashes.get(notice_id)),
        {"receipt_id": None})
    recorder.save()
    settle(unit)
    unit.save()


def _shown(tx: Tx, world: World, rows: Collection[Row[Any]]) -> list[dict[str, Any]]:
    if not rows:
        return []
    keys = contents.keys_of(tx, world, {row.subject_id for row in rows})
    notices: list[Mapping[Any, Any]] = [*tx.execute(select(t.notice.c.id, t.notice.c.subject_id, t.notice.c.content_id).where(
        tx.within(t.notice.c.id, [row.notice_id for row in rows]))).mappings()]
    said = contents.load(tx, world, notices, keys)
    files = documents.described(tx, {one for content in said.values() if content is not None for one in content.documents})
    made = []
    for row in rows:
        content = said[row.notice_id]
        made.append({
            "id": row.id, "notice_id": row.notice_id, "subject": content and content.subject,
            "body_html": html(content.body) if content is not None else None, "sent_at": at(row.sent_at),
            "displayed_at": at(row.displayed_at), "opened_at": at(row.opened_at), "acknowledged_at": at(row.acknowledged_at),
            "documents": [files[one] for one in content.documents if one in files] if content is not None else []})
    return made
