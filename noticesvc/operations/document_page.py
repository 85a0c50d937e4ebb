"""The document page behind a link in an SMS: what it shows, and what a visit proves.

A bare GET of a link proves nothing (scanners and previews do that): it is `link_fetched`. The button's POST is an act of
whoever holds the link: `accessed`. Each is recorded at most once a minute. Called by the routes in api.pages.
"""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from noticesvc.domain.content import Content
from noticesvc.operations import contents, documents
from noticesvc.operations.evidence import NewEvidence, Recorder
from noticesvc.operations.settle import settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import fingerprint

AUTHENTICATED_BY = {"link_fetched": "own-system", "accessed": "page-action"}
SILENCE_US = 60_000_000  # a further visit within a minute says nothing new
_TOKEN = re.compile(r"[A-Za-z0-9_-]{24}")


@dataclass(frozen=True, slots=True)
class Page:
    """What a link leads to. `fetched_at`: when its last `link_fetched` was recorded (microseconds)."""

    notice_id: str
    channel: str
    content: Content
    sha256: str
    documents: tuple[dict[str, Any], ...]
    sent_at: int
    fetched_at: int | None


def load(tx: Tx, world: World, token: str) -> Page | None:
    """The page behind a token; null for a token that leads nowhere, or no longer to a text that can be read."""
    found = _link(tx, token)
    if found is None:
        return None
    notice_id, channel = found
    row = dict(tx.execute(select(t.notice).where(t.notice.c.id == notice_id)).mappings().one())
    keys = contents.keys_of(tx, world, {row["subject_id"]})
    content = contents.load(tx, world, [row], keys)[notice_id]
    last = _last_attempt(tx, notice_id, channel)
    if content is None or last is None:
        return None
    known = documents.described(tx, content.documents)
    return Page(notice_id, channel, content, contents.hashes(tx, world, [row], keys)[notice_id],
                tuple(known[one] for one in content.documents if one in known), last.intended_at,
                _recorded_at(tx, notice_id, channel, "link_fetched"))


def visit(tx: Tx, world: World, token: str, kind: str) -> None:
    """Record a visit: `link_fetched` or `accessed`. Nothing for an unknown token, or within a minute of the last of its kind."""
    found = _link(tx, token)
    if found is None:
        return
    notice_id, channel = found
    unit = Unit(tx, world, {notice_id})
    before = _recorded_at(tx, notice_id, channel, kind)
    attempt = _last_attempt(tx, notice_id, channel)
    row = unit.notices[notice_id]
    key = unit.key(row["subject_id"])
    if attempt is None or key is None or (before is not None and tx.now - before < SILENCE_US):
        return
    one = tx.execute(select(t.delivery).where(t.delivery.c.notice_id == notice_id, t.delivery.c.channel == channel)).one()
    recorder = Recorder(unit)
    recorder.record("receipt.observed", NewEvidence(
        notice_id=notice_id, delivery_id=one.id, channel=channel, attempt=attempt.number, kind=kind, source="page", observed_at=tx.now,
        carries=one.carries, authenticated_by=AUTHENTICATED_BY[kind], contact_id=attempt.contact_id, confirmation=attempt.confirmation,
        content_sha256=contents.hashes(tx, world, [row], {row["subject_id"]: key}).get(notice_id)), {"receipt_id": None})
    recorder.save()
    settle(unit)
    unit.save()


def document(tx: Tx, world: World, token: str, document_id: str) -> tuple[str, bytes] | None:
    """Media type and bytes of a document of the page's notice; null for any other."""
    page = load(tx, world, token)
    if page is None or all(one["id"] != document_id for one in page.documents):
        return None
    return documents.opened(tx, world, document_id)


def _link(tx: Tx, token: str) -> tuple[str, str] | None:
    if _TOKEN.fullmatch(token) is None:
        return None
    row = tx.execute(select(t.link).join(t.notice, t.notice.c.id == t.link.c.notice_id)
                     .join(t.recipient, t.recipient.c.subject_id == t.notice.c.subject_id)
                     .where(t.link.c.token_hash == fingerprint(token.encode()), t.recipient.c.anonymised_at.is_(None))).one_or_none()
    return None if row is None else (row.notice_id, row.channel)


def _last_attempt(tx: Tx, notice_id: str, channel: str) -> Any:
    return tx.execute(select(t.attempt).where(t.attempt.c.notice_id == notice_id, t.attempt.c.channel == channel)
                      .order_by(t.attempt.c.number.desc()).limit(1)).one_or_none()


def _recorded_at(tx: Tx, notice_id: str, channel: str, kind: str) -> int | None:
    """When such a visit was recorded last."""
    e = t.evidence.c
    found: int | None = tx.execute(select(func.max(e.observed_at)).where(
        e.notice_id == notice_id, e.channel == channel, e.kind == kind, e.source == "page")).scalar()
    return found
