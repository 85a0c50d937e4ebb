"""Receipts: stored raw and committed before anybody interprets them, matched to attempts, recorded as evidence.

A receipt for an attempt that is not known yet waits as an orphan and is taken up when that attempt's answer is recorded.
Nothing is dropped: duplicates are evidence too (listed, never counted), and what no table knows stays as `unmapped`.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from noticesvc.operations import contents
from noticesvc.operations.evidence import NewEvidence, Recorder, open_word
from noticesvc.operations.settle import settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.provider import Receipt
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_IN_HAND = 15_000_000  # microseconds for interpreting what `due` gave out
_NEGLIGIBLE = 86_400_000_000 * 90  # an orphan is kept and tried for 90 days


@dataclass(frozen=True, slots=True)
class Stored:
    """A receipt as it was stored: the request or bytes that came, to be interpreted by its provider."""

    id: str
    provider: str
    received_at: int
    kind: str  # callback | bytes | query
    data: dict[str, Any]

    @property
    def raw(self) -> bytes:
        """The bytes that are the evidence."""
        return base64.b64decode(self.data["raw"])


def store(tx: Tx, world: World, provider: str, kind: str, data: dict[str, Any], raw: bytes, *, refused: bool = False) -> str:
    """Keep what came, sealed. `refused`: its signature was bad; it is recorded and has no effect."""
    receipt_id = tx.new_id()
    text = json.dumps(data | {"kind": kind, "raw": base64.b64encode(raw).decode()})
    tx.insert(t.receipt, [{"id": receipt_id, "provider": provider, "received_at": tx.now, "state": "refused" if refused else "new",
                           "due_at": None if refused else tx.now, "sealed": world.system_key.seal(text.encode(), f"receipt:{receipt_id}")}])
    tx.wake("receipts")
    return receipt_id


def due(tx: Tx, world: World, limit: int) -> list[Stored]:
    """Receipts to interpret now; those that another worker interprets are skipped until their turn comes again."""
    rows = tx.execute(select(t.receipt).where(t.receipt.c.due_at <= tx.now).order_by(t.receipt.c.due_at).limit(limit)
                      .with_for_update(skip_locked=True)).all()
    if rows:
        # So long for this worker; if it dies, the next one finds them due again.
        tx.execute(update(t.receipt).where(tx.within(t.receipt.c.id, [r.id for r in rows])).values(due_at=tx.now + _IN_HAND))
    found = []
    for row in rows:
        data = json.loads(world.system_key.open(row.sealed, f"receipt:{row.id}"))
        found.append(Stored(row.id, row.provider, row.received_at, data.pop("kind"), data))
    return found


def load(tx: Tx, world: World, receipt_id: str) -> Stored:
    """One stored receipt."""
    row = tx.execute(select(t.receipt).where(t.receipt.c.id == receipt_id)).one()
    data = json.loads(world.system_key.open(row.sealed, f"receipt:{row.id}"))
    return Stored(row.id, row.provider, row.received_at, data.pop("kind"), data)


def apply(tx: Tx, world: World, stored: Stored, receipts: Sequence[Receipt]) -> None:
    """Record what a provider read from a stored receipt. Applied once: a receipt that is done changes nothing."""
    # Locked: two workers may have it in hand, and the slower one must see that it is done.
    row = tx.execute(select(t.receipt.c.state, t.receipt.c.due_at).where(t.receipt.c.id == stored.id).with_for_update()).one()
    if row.due_at is None:
        return
    matched = [(receipt, _find(tx, world, stored.provider, receipt)) for receipt in receipts]
    unit = Unit(tx, world, {found[0] for _, found in matched if found is not None})
    orphan: bytes | None = None
    recorder = Recorder(unit)
    hashes = contents.hashes(tx, world, unit.notices.values(), {n["subject_id"]: unit.key(n["subject_id"]) for n in unit.notices.values()})
    for receipt, found in matched:
        if found is None or found[0] not in unit.notices:
            orphan = orphan or _orphan_index(world, stored.provider, receipt)
        else:
            _record(tx, recorder, stored, receipt, found, hashes)
    recorder.save()
    settle(unit)
    unit.save()
    wait = orphan is not None and tx.now - stored.received_at < _NEGLIGIBLE
    values: dict[str, Any] = {"due_at": None, "state": "orphan" if wait else "applied", "reference_index": orphan if wait else None}
    if not wait and matched:
        values["sealed"] = None  # the bytes now stand with the evidence, under the recipient's own key
    tx.execute(update(t.receipt).where(t.receipt.c.id == stored.id).values(**values))


def _find(tx: Tx, world: World, provider: str, receipt: Receipt) -> tuple[str, str, int] | None:
    """The attempt that a receipt speaks of: (notice, channel, number)."""
    if receipt.reference is not None:
        parts = receipt.reference.split(".")
        if len(parts) == 3 and len(parts[0]) == 36 and parts[2].isascii() and parts[2].isdigit() and len(parts[2]) <= 4:
            try:
                row = tx.execute(select(t.attempt.c.number).where(
                    t.attempt.c.notice_id == parts[0], t.attempt.c.channel == parts[1], t.attempt.c.number == int(parts[2]))).one_or_none()
            except ValueError:
                row = None
            if row is not None:
                return parts[0], parts[1], int(parts[2])
    if receipt.provider_reference is not None:
        row = tx.execute(select(t.provider_reference).where(
            t.provider_reference.c.reference_index == _reference_index(world, provider, receipt.provider_reference))
            .order_by(t.provider_reference.c.notice_id.desc()).limit(1)).one_or_none()
        if row is not None:
            return row.notice_id, row.channel, row.attempt
    return None


def _reference_index(world: World, provider: str, reference: str) -> bytes:
    return world.vault.index("provider_reference", f"{provider}\0{reference}")


def _orphan_index(world: World, provider: str, receipt: Receipt) -> bytes:
    return _reference_index(world, provider, receipt.provider_reference or receipt.reference or "")


def _record(tx: Tx, recorder: Recorder, stored: Stored, receipt: Receipt, found: tuple[str, str, int],
            hashes: dict[str, str]) -> None:
    notice_id, channel, number = found
    attempt = tx.execute(select(t.attempt).where(t.attempt.c.notice_id == notice_id, t.attempt.c.channel == channel,
                                                 t.attempt.c.number == number)).one()
    one = tx.execute(select(t.delivery).where(t.delivery.c.notice_id == notice_id, t.delivery.c.channel == channel)).one()
    answer = tx.execute(select(t.evidence.c.call_started_at).where(
        t.evidence.c.notice_id == notice_id, t.evidence.c.channel == channel, t.evidence.c.attempt == number,
        t.evidence.c.answer.is_(True))).scalar()
    new = NewEvidence(
        notice_id=notice_id, delivery_id=one.id, channel=channel, attempt=number, kind=receipt.kind, source=receipt.source,
        observed_at=stored.received_at, carries=one.carries, authenticated_by=receipt.authenticated_by,
        call_started_at=answer or attempt.intended_at, claimed_at=receipt.claimed_at, claimed_time_raw=receipt.claimed_time_raw,
        contact_id=attempt.contact_id, confirmation=attempt.confirmation, part=receipt.part, parts=receipt.parts,
        provider=attempt.provider, provider_reference=receipt.provider_reference, media_type=open_word(stored.data.get("media_type")),
        raw=stored.raw, content_sha256=hashes.get(notice_id))
    recorder.record("receipt.observed", new, {"receipt_id": stored.id})
