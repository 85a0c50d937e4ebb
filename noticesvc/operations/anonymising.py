"""Anonymising recipients (clause 五.3), and the legal hold that stops it.

Called by the routes in api.erasure and by dispatch.housekeeping. The request stops all processing at once; what was sealed can
still be proved until `retention_days` have passed; then `sweep` destroys the recipient's key and whatever else holds something of
theirs, in the transaction that records `recipient.anonymised`. Entries and their proofs remain.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from sqlalchemy import select

from noticesvc.domain import instant
from noticesvc.errors import Conflict
from noticesvc.operations import recipient_state, subjects
from noticesvc.operations.account_effects import cancel_waiting
from noticesvc.operations.claim import lease_now
from noticesvc.operations.receipts import text_of
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.storage import erasure
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey

GRACE_US = 2_000_000  # a transaction that began before the request has ended by then
TOGETHER = 20
_DAY_US = 86_400_000_000


def anonymise(tx: Tx, world: World, key_id: str | None, recipient_id: str, reason: str) -> dict[str, Any]:
    """Stop processing for a recipient; answers when plaintext and salts are destroyed. Asked again it answers the same.

    Raises NotFound, and Conflict `legal-hold` while a hold stands.
    """
    state = recipient_state.one_locked(tx, world, recipient_id, anonymised=True)
    if state.row["held_at"] is not None:
        raise Conflict("legal-hold", "A legal hold stands for this recipient; it must be lifted first.")
    if state.row["anonymised_at"] is None:
        shred_at = tx.now + world.retention_days * _DAY_US
        state.append(tx, "anonymisation.requested", {"shred_at": _time(shred_at), "key_id": key_id}, {"reason": reason})
        state.set(anonymised_at=tx.now, shred_at=shred_at)
        recipient_state.save(tx, (state,))
        cancel_waiting(tx, world, state.subject_id, "anonymised")
        tx.wake("erasure")
    return {"recipient_id": recipient_id, "anonymised_at": _time(state.row["anonymised_at"]), "shred_at": _time(state.row["shred_at"])}


def hold(tx: Tx, world: World, key_id: str | None, recipient_id: str, reason: str | None) -> dict[str, Any]:
    """Set a legal hold (with a reason) or lift it (without one). Setting it again records the new reason; lifting none does nothing.

    It may be set although anonymisation was asked for, as long as nothing is destroyed. Raises NotFound.
    """
    state = recipient_state.one_locked(tx, world, recipient_id, anonymised=True)
    if reason is not None or state.row["held_at"] is not None:
        state.append(tx, "hold.set", {"held": reason is not None, "key_id": key_id}, {"reason": reason})
        state.set(held_at=None if reason is None else state.row["held_at"] or tx.now)
        recipient_state.save(tx, (state,))
        tx.wake("erasure")
    return {"recipient_id": recipient_id, "reason": reason, "held_since": reason and _time(state.row["held_at"])}


def sweep(tx: Tx, world: World) -> int:
    """Destroy what is due; answers for how many recipients.

    1. Collect, with the keys that still exist, what their data is found by where it is not under those keys.
    2. Search what is sealed under the system key, and empty what speaks of them.
    3. Blank and delete in every table; record `recipient.anonymised`.
    """
    rows = erasure.due(tx, tx.now - GRACE_US, lease_now(tx), TOGETHER)
    if not rows:
        return 0
    needles: set[bytes] = set()
    references: dict[str, list[bytes]] = {}
    for row in rows:
        key = world.vault.unwrap(row.wrapped_key, f"recipient:{row.subject_id}")
        needles |= set(_needles(tx, key, row.subject_id))
        references[row.subject_id] = _references(tx, world, key, row.subject_id)
    _search(tx, world, needles)
    for row in rows:
        subjects.append_subject_entry(tx, world, row.subject_id, "recipient.anonymised", {}, {})
        erasure.forget_notices(tx, row.subject_id, references[row.subject_id])
        erasure.destroy_documents(tx, row.subject_id)
        erasure.blank(tx, row.subject_id)
    return len(rows)


def _needles(tx: Tx, key: DataKey, subject_id: str) -> Iterator[bytes]:
    """What a message or receipt about this recipient holds: an address in any usual spelling, or the id of a notice."""
    for row in tx.execute(select(t.contact.c.id, t.contact.c.sealed).where(t.contact.c.subject_id == subject_id)):
        address = unpack(key.open(row.sealed, f"contact:{row.id}"))["address"].value.lower()
        yield address
        if address.startswith(b"+"):
            yield address[1:]
        if address.startswith(b"+86"):
            yield address[3:]
    for row in tx.execute(select(t.notice.c.id).where(t.notice.c.subject_id == subject_id)):
        yield row.id.encode()


def _references(tx: Tx, world: World, key: DataKey, subject_id: str) -> list[bytes]:
    """The blind indexes of what providers called the recipient's messages."""
    e, found = t.evidence.c, []
    for row in tx.execute(select(e.id, e.provider, e.sealed).join(t.notice, t.notice.c.id == e.notice_id).where(
            t.notice.c.subject_id == subject_id, e.answer, e.provider.is_not(None), e.sealed.is_not(None))):
        reference = unpack(key.open(row.sealed, f"evidence:{row.id}")).get("provider_reference")
        if reference is not None:
            found.append(world.vault.index("provider_reference", f"{row.provider}\0{reference.value.decode()}"))
    return found


def _search(tx: Tx, world: World, needles: Iterable[bytes]) -> None:
    """Empty the receipts, and delete what the sandbox keeps, in which one of the needles stands."""
    def speaks(data: bytes) -> bool:
        spellings = data.lower(), unquote_to_bytes(data.replace(b"+", b" ")).lower(), unquote_to_bytes(data).lower()
        return any(needle in text for needle in needles for text in spellings)

    key = world.system_key
    erasure.empty_receipts(tx, [row.id for row in erasure.sealed_rows(tx, t.receipt)
                                if speaks(text_of(key.open(row.sealed, f"receipt:{row.id}")))])
    if world.sandbox:
        for table in (t.sandbox_message, t.sandbox_receipt):
            erasure.delete_rows(tx, table, [row.id for row in erasure.sealed_rows(tx, table) if speaks(
                key.open(row.sealed, f"{table.name}:{row.id}") + (getattr(row, "reference", None) or "").encode())])


def _time(micros: int) -> str:
    return instant.text(instant.from_micros(micros))
