"""Announcements: published once for each distinct content, joined by every notice that names the channel.

An announcement is live from its commit on; for a notice that joins it the delivery arrived when both were so.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from noticesvc.domain.content import Content, from_json
from noticesvc.operations.evidence import NewEvidence, Recorder, at
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof import openings
from noticesvc.rendering.markdown import html
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def join(tx: Tx, world: World, contents: Sequence[Content], effective: Mapping[str, int | None]) -> dict[str, str]:
    """Announcement ids by content hash: the live ones, and new ones for contents that none has yet."""
    wanted = {content.sha256: content for content in contents}
    if not wanted:
        return {}
    index = {world.vault.index("announcement", sha256): sha256 for sha256 in wanted}
    for _ in range(2):
        live = {
            index[row.content_index]: row.id
            for row in tx.execute(
                select(t.announcement.c.id, t.announcement.c.content_index).where(tx.within(t.announcement.c.content_index, list(index)))
            )
        }
        missing = [sha256 for sha256 in wanted if sha256 not in live]
        if not missing:
            break
        for sha256 in missing:
            _publish(tx, world, wanted[sha256], effective.get(sha256))
    return live


def publish(tx: Tx, world: World, subject: str, body: str, effective_at: int | None) -> dict[str, Any]:
    """Publish, or join what is live with the same content; the announcement as shown."""
    content = Content(subject, body, None, None)
    announcement_id = join(tx, world, [content], {content.sha256: effective_at})[content.sha256]
    row = tx.execute(select(t.announcement).where(t.announcement.c.id == announcement_id)).one()
    return _shown(row, content)


def listed(tx: Tx, world: World, limit: int, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Newest first."""
    statement = (
        select(t.announcement, t.content.c.sealed)
        .join(t.content, t.content.c.id == t.announcement.c.content_id)
        .order_by(t.announcement.c.id.desc())
        .limit(limit + 1)
    )
    rows = tx.execute(statement if after is None else statement.where(t.announcement.c.id < after)).all()
    items = [_shown(row, from_json(json.loads(unpacked(world, row)["content"].value))) for row in rows[:limit]]
    return items, rows[limit - 1].id if len(rows) > limit else None


def unpacked(world: World, row: Any) -> dict[str, openings.Opening]:
    """The openings of a shared content row."""
    return openings.unpack(world.system_key.open(row.sealed, f"content:{row.content_id}"))


def arrive(unit: Unit, contents: Mapping[str, str]) -> None:
    """Record, for notices that joined an announcement in this transaction (content hashes by id), that it is live.

    Intent, answer and arrival stand in one entry.
    """
    tx, recorder, attempts = unit.tx, Recorder(unit), []
    rows = tx.execute(
        select(t.delivery).where(tx.within(t.delivery.c.notice_id, list(contents)), t.delivery.c.channel == "announcement")
    ).all()
    for one in rows:
        notice = unit.notices[one.notice_id]
        intended, accepted = tx.new_id(), unit.recipients[notice["subject_id"]].acceptance_id  # in effect at dispatch
        new = NewEvidence(
            notice_id=one.notice_id,
            delivery_id=one.id,
            channel="announcement",
            attempt=1,
            kind="arrived",
            source="announcement",
            observed_at=tx.now,
            carries="full",
            authenticated_by="own-system",
            content_sha256=contents[one.notice_id],
        )
        recorder.record("attempt.answered", new, single_entry(intended, accepted, None, []), answer=True)
        last = recorder.rows[-1]
        attempts.append(
            {
                "notice_id": one.notice_id,
                "channel": "announcement",
                "number": 1,
                "provider": None,
                "contact_id": None,
                "intended_at": tx.now,
                "evidence_id": intended,
                "confirmation": None,
                "contact_effective_from": None,
                "entry_batch": last["entry_batch"],
                "entry_offset": last["entry_offset"],
            }
        )
    tx.insert(t.attempt, attempts)
    recorder.save()


def single_entry(intended_id: str, acceptance_id: str | None, effective_from: int | None, overrode: list[str]) -> dict[str, Any]:
    """The members of an `attempt.answered` that holds intent and arrival in one entry (own channels)."""
    return {
        "outcome": "arrived",
        "intended_id": intended_id,
        "acceptance_id": acceptance_id,
        "overrode": overrode,
        "contact_effective_from": at(effective_from),
        "contact_effective_to": None,
        "contact": None,
        "message_sha256": None,
    }


def _publish(tx: Tx, world: World, content: Content, effective_at: int | None) -> None:
    content_id, announcement_id = tx.new_id(), tx.new_id()
    insert = postgresql.insert(t.announcement) if tx.postgresql else sqlite.insert(t.announcement)
    done = tx.execute(
        insert.values(
            id=announcement_id,
            content_id=content_id,
            content_index=world.vault.index("announcement", content.sha256),
            published_at=tx.now,
            effective_at=effective_at,
        )
        .on_conflict_do_nothing()
        .returning(t.announcement.c.id)
    ).all()
    if not done:
        return  # another process published it meanwhile
    committed, opened = openings.commit({"content": content.to_json(), "content_sha256": content.sha256}, tx.salt)
    shared = tx.append("content.shared", {"content_id": content_id, **committed})
    tx.insert(
        t.content,
        [
            {
                "id": content_id,
                "subject_id": None,
                **shared.columns,
                "sealed": world.system_key.seal(openings.pack(opened), f"content:{content_id}"),
            }
        ],
    )
    ref = tx.append(
        "announcement.published", {"announcement_id": announcement_id, "content_id": content_id, "effective_at": at(effective_at)}
    )
    tx.execute(t.announcement.update().where(t.announcement.c.id == announcement_id).values(**ref.columns))


def _shown(row: Any, content: Content) -> dict[str, Any]:
    return {
        "id": row.id,
        "subject": content.subject,
        "body": content.body,
        "body_html": html(content.body),
        "content_sha256": content.sha256,
        "published_at": at(row.published_at),
        "effective_at": at(row.effective_at),
    }
