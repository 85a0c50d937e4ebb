"""Which columns hold something of a recipient, and the statements that destroy it. Called by operations.anonymising.

A table stands in exactly one of BLANKED, SEARCHED and WITHOUT; a test holds this list and the schema together, so that a new
table needs a place here. What is sealed under a recipient's key could be read no more once that key is gone; it is blanked all
the same, so that nothing is left to attack.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, and_, case, delete, exists, literal, select, update

from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

PAGE = 500
NOTHING: Final = b""  # stands in columns that may not be null


class Blank(NamedTuple):
    """The rows of a recipient, by `subject_id` or by their notice, and what their columns are set to."""

    by: str
    columns: Mapping[str, Any]


BLANKED: Final[Mapping[Table, Blank]] = {
    t.recipient: Blank("subject_id", {"recipient_index": None, "wrapped_key": None, "sealed": None, "source_versions": "{}",
                                      "locale": None}),
    t.contact: Blank("subject_id", {"sealed": None, "address_index": NOTHING, "source_index": NOTHING}),
    t.subject_entry: Blank("subject_id", {"sealed": None}),
    t.acceptance: Blank("subject_id", {"sealed": None}),
    t.content: Blank("subject_id", {"sealed": None}),
    t.notice: Blank("subject_id", {"sealed": None, "reference_index": None, "case_index": None}),
    t.attempt: Blank("notice_id", {"sealed": None}),
    # That there were raw bytes decides what counts as a duplicate, so an empty index is left where there was one.
    t.evidence: Blank("notice_id", {"sealed": None, "raw_index": case((t.evidence.c.raw_index.is_not(None), literal(NOTHING)))}),
    t.certificate: Blank("subject_id", {"sealed": None}),
    t.notice_entry: Blank("notice_id", {"sealed": None}),
    t.broadcast_recipient: Blank("subject_id", {"sealed": None}),
}
# Rows are looked up by what they say or by the notice, and emptied or deleted: see operations.anonymising.
SEARCHED: Final = frozenset({t.receipt, t.receipt_waiting, t.sandbox_message, t.sandbox_receipt, t.document, t.provider_reference,
                             t.idempotency, t.outgoing_event})
WITHOUT: Final[Mapping[Table, str]] = {
    t.api_key: "names of programs, chosen by operators",
    t.vault_key: "keys of the system itself",
    t.template: "texts without parameters",
    t.announcement: "published to everybody",
    t.broadcast: "what everybody of an audience is told, and numbers",
    t.broadcast_delta: "numbers",
    t.broadcast_response: "our ids, and which of three words was answered",
    t.notice_document: "our ids",
    t.cure: "our ids, states and times",
    t.delivery: "our ids, states and times",
    t.inbox_message: "our ids and times; the text stands in content",
    t.inquiry: "our ids and times",
    t.provider_pace: "the rate of a provider",
    t.link: "a hash of a random address, which leads nowhere once the content is gone",
    t.ledger_pending: "entries hold commitments only",
    t.ledger_index: "our ids",
    t.ledger_bundle: "entries hold commitments only",
    t.ledger_tile: "hashes of entries",
    t.ledger_checkpoint: "hashes of entries",
    t.ledger_head: "our ids",
    t.ledger_key: "public keys",
    t.ledger_timestamp: "hashes of entries, signed",
    t.ledger_cosignature: "hashes of entries, signed",
    t.ledger_audit: "numbers, and sentences with our ids",
    t.schema_floor: "a version",
}


def due(tx: Tx, before: int, lease_now: int, limit: int) -> list[Any]:
    """Recipients (subject id, wrapped key) to destroy, locked: their time has come, no hold stands, no worker holds a delivery.

    `before`: requests made at this instant (microseconds) or later wait, so that transactions that began before them have ended.
    """
    r, d = t.recipient.c, t.delivery.c
    held = exists().where(t.notice.c.subject_id == r.subject_id, d.notice_id == t.notice.c.id, d.lease_owner.is_not(None),
                          d.lease_until >= lease_now)
    return list(tx.execute(select(r.subject_id, r.wrapped_key).where(
        r.shred_at <= tx.now, r.wrapped_key.is_not(None), r.held_at.is_(None), r.anonymised_at < before, ~held,
    ).order_by(r.shred_at).limit(limit).with_for_update(skip_locked=True)))


def blank(tx: Tx, subject_id: str) -> None:
    """Blank every column of BLANKED in the recipient's rows."""
    theirs = select(t.notice.c.id).where(t.notice.c.subject_id == subject_id)
    for table, (by, columns) in BLANKED.items():
        mine = table.c.subject_id == subject_id if by == "subject_id" else table.c.notice_id.in_(theirs)
        if table is t.broadcast_recipient:  # its key begins with the broadcast, of which there are few
            mine = and_(mine, table.c.broadcast_id.in_(select(t.broadcast.c.id)))
        tx.execute(update(table).where(mine).values(dict(columns)))


def forget_notices(tx: Tx, subject_id: str, references: list[bytes]) -> None:
    """Delete what finds the recipient's notices again by something of theirs: idempotency keys, provider references, events."""
    notices = tx.execute(select(t.notice.c.id, t.notice.c.accepted_at).where(t.notice.c.subject_id == subject_id)).all()
    for page in _pages(notices):
        ids = [row.id for row in page]
        # A key is written with its notice, at the same instant, and has an index on that.
        tx.execute(delete(t.idempotency).where(
            tx.within(t.idempotency.c.created_at, {row.accepted_at for row in page}), tx.within(t.idempotency.c.notice_id, ids)))
    for found in _pages(references):
        theirs = select(t.notice.c.id).where(t.notice.c.subject_id == subject_id)
        tx.execute(delete(t.provider_reference).where(tx.within(t.provider_reference.c.reference_index, found),
                                                      t.provider_reference.c.notice_id.in_(theirs)))
    tx.execute(delete(t.outgoing_event).where(t.outgoing_event.c.subject_id == subject_id))


def destroy_documents(tx: Tx, subject_id: str) -> None:
    """Destroy the documents that no recipient whose key still exists was sent."""
    n, used = t.notice.c, t.notice_document.c
    theirs = select(used.document_id).where(used.notice_id.in_(select(n.id).where(n.subject_id == subject_id)))
    others = select(used.document_id).where(
        used.document_id.in_(theirs), used.notice_id == n.id, n.subject_id == t.recipient.c.subject_id,
        t.recipient.c.wrapped_key.is_not(None), n.subject_id != subject_id)
    tx.execute(update(t.document).where(t.document.c.id.in_(theirs), t.document.c.id.not_in(others))
               .values(sealed=None, wrapped_key=None, sha256=NOTHING))


def sealed_rows(tx: Tx, table: Table) -> Iterator[Any]:
    """Every row of one of SEARCHED that still holds something, in order of id, a page a statement."""
    after: str | None = None
    while True:
        query = select(table).where(table.c.sealed.is_not(None)).order_by(table.c.id).limit(PAGE)
        rows = tx.execute(query if after is None else query.where(table.c.id > after)).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def empty_receipts(tx: Tx, ids: list[str]) -> None:
    """Forget what these receipts said; that they came is kept."""
    tx.update(t.receipt, ("id",), [{"id": one, "sealed": None, "reference_index": None, "due_at": None} for one in ids])
    for page in _pages(ids):
        tx.execute(delete(t.receipt_waiting).where(tx.within(t.receipt_waiting.c.receipt_id, page)))


def delete_rows(tx: Tx, table: Table, ids: list[str]) -> None:
    """Delete these rows."""
    for page in _pages(ids):
        tx.execute(delete(table).where(tx.within(table.c.id, page)))


def _pages(found: list[Any] | Any) -> Iterator[list[Any]]:
    for first in range(0, len(found), PAGE):
        yield list(found[first:first + PAGE])


__all__ = ["BLANKED", "SEARCHED", "WITHOUT", "blank", "delete_rows", "destroy_documents", "due", "empty_receipts", "forget_notices",
           "sealed_rows"]
