"""Documents that notices carry: stored once each, sealed under a key of their own, found by id or by hash.

Called by the route of documents, and by whoever shows the documents of a content (inbox, document page).
"""

import hashlib
from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select

from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_SIGNATURES = ((b"%PDF-", "application/pdf"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def media_type(data: bytes) -> str | None:
    """The type that the first bytes say; null for any but PDF (ISO 32000), PNG (ISO 15948) and JPEG (ITU-T T.81)."""
    return next((found for start, found in _SIGNATURES if data.startswith(start)), None)


def prepared(world: World, document_id: str, type_: str, data: bytes) -> dict[str, Any]:
    """The row of a document without its time; hashes and seals, so call it outside a transaction."""
    key, wrapped = world.vault.new_key(f"document:{document_id}")
    return {"id": document_id, "sha256": hashlib.sha256(data).digest(), "media_type": type_, "size": len(data), "wrapped_key": wrapped,
            "sealed": key.seal(data, f"document:{document_id}")}


def store(tx: Tx, world: World, row: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 (every operation is given its world)
    """Keep a prepared document; answers what the caller needs to name and check it. Bytes that are there already keep their id:
    contents name documents by hash, so a notice must be shown with the id that its caller was given.
    """
    if tx.postgresql:  # one writer of the same bytes
        tx.execute(select(func.pg_advisory_xact_lock(int.from_bytes(row["sha256"][:7], "big"))))
    there = described(tx, [row["sha256"].hex()])
    if there:
        return there[row["sha256"].hex()]
    tx.insert(t.document, [row | {"created_at": tx.now}])
    return {"id": row["id"], "sha256": row["sha256"].hex(), "media_type": row["media_type"], "size": row["size"]}


def described(tx: Tx, hashes: Collection[str]) -> dict[str, dict[str, Any]]:
    """Documents by hash as contents name them, without their bytes; of equal ones the first that was stored."""
    found: dict[str, dict[str, Any]] = {}
    if hashes:
        d = t.document.c
        rows = tx.execute(select(d.id, d.sha256, d.media_type, d.size).where(
            tx.within(d.sha256, [bytes.fromhex(one) for one in set(hashes)])).order_by(d.id))
        for row in rows:
            found.setdefault(row.sha256.hex(), {"id": row.id, "sha256": row.sha256.hex(), "media_type": row.media_type, "size": row.size})
    return found


def opened(tx: Tx, world: World, document_id: str) -> tuple[str, bytes] | None:
    """Media type and bytes of a document; null if there is none or its key was destroyed."""
    row = tx.execute(select(t.document).where(t.document.c.id == document_id)).one_or_none()
    if row is None or row.wrapped_key is None or row.sealed is None:
        return None
    key = world.vault.unwrap(row.wrapped_key, f"document:{document_id}")
    return row.media_type, key.open(row.sealed, f"document:{document_id}")


def opened_by_hash(tx: Tx, world: World, sha256: str) -> tuple[str, bytes] | None:
    """The same, of the document that contents name by this hash."""
    found = described(tx, [sha256]).get(sha256)
    return None if found is None else opened(tx, world, found["id"])
