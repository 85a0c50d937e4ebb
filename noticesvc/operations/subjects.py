"""Entries about a recipient: numbered 1, 2, 3 … without gaps on the recipient's row, and found again with their openings.

Every such entry has one row in `subject_entry`. Its openings are sealed exactly once: with the row that the entry made
(recipient, contact, acceptance), or else in `subject_entry` itself. `entries` puts both together again; proofs of contacts
are made from it. Called by everything that changes a recipient; who holds a `RecipientState` appends through that instead.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import select, update

from noticesvc.errors import NotFound
from noticesvc.operations.world import World
from noticesvc.proof.openings import Opening, commit, pack, unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx

# The types whose openings stand with the row that they made, and the table of that row.
KEPT_WITH = {"recipient.recorded": t.recipient, "contact.recorded": t.contact, "acceptance.recorded": t.acceptance}


class SubjectEntry(NamedTuple):
    """An entry about a recipient with what opens it; no openings are left once the recipient's key is destroyed."""

    subject_seq: int
    type: str
    about_id: str | None
    ref: EntryRef
    openings: dict[str, Opening]


def place(subject_id: str, subject_seq: int) -> str:
    """Where the openings in a row of `subject_entry` are sealed for."""
    return f"subject_entry:{subject_id}:{subject_seq}"


def append_subject_entry(tx: Tx, world: World, subject_id: str, type_: str, members: Mapping[str, Any],
                         committed: Mapping[str, Any], *, about_id: str | None = None) -> EntryRef:
    """Append one entry about a recipient, with its next number; `committed` stand in it as commitments only.

    Locks the recipient's row until the end of the transaction. Not for the types in KEPT_WITH. Raises NotFound for no such
    recipient.
    """
    row = tx.execute(update(t.recipient).where(t.recipient.c.subject_id == subject_id)
                     .values(subject_seq=t.recipient.c.subject_seq + 1)
                     .returning(t.recipient.c.subject_seq, t.recipient.c.wrapped_key)).one_or_none()
    if row is None:
        raise NotFound
    commitments, opened = commit(committed, tx.salt)
    ref = tx.append(type_, {"subject_id": subject_id, "subject_seq": row.subject_seq, **members, **commitments})
    sealed = None
    if opened and row.wrapped_key is not None:
        key = world.vault.unwrap(row.wrapped_key, f"recipient:{subject_id}")
        sealed = key.seal(pack(opened), place(subject_id, row.subject_seq))
    tx.insert(t.subject_entry, [{"subject_id": subject_id, "subject_seq": row.subject_seq, "type": type_, "about_id": about_id,
                                 "sealed": sealed, **ref.columns}])
    return ref


def entries(tx: Tx, world: World, subject_id: str) -> list[SubjectEntry]:
    """Every entry about a recipient, in order, with its openings as far as the recipient's key still exists."""
    wrapped = tx.execute(select(t.recipient.c.wrapped_key).where(t.recipient.c.subject_id == subject_id)).scalar_one_or_none()
    key = world.vault.unwrap(wrapped, f"recipient:{subject_id}") if wrapped is not None else None
    kept: dict[str, tuple[bytes | None, str]] = {}
    for table, id_column in ((t.recipient, t.recipient.c.subject_id), (t.contact, t.contact.c.id), (t.acceptance, t.acceptance.c.id)):
        for row in tx.execute(select(id_column, table.c.sealed).where(table.c.subject_id == subject_id)):
            kept[row[0]] = row.sealed, f"{table.name}:{row[0]}"
    found = []
    for row in tx.execute(select(t.subject_entry).where(t.subject_entry.c.subject_id == subject_id)
                          .order_by(t.subject_entry.c.subject_seq)):
        sealed, where = row.sealed, place(subject_id, row.subject_seq)
        if row.type in KEPT_WITH:
            sealed, where = kept[row.about_id or subject_id]
        openings = unpack(key.open(sealed, where)) if key is not None and sealed is not None else {}
        found.append(SubjectEntry(row.subject_seq, row.type, row.about_id, EntryRef(row.entry_batch, row.entry_offset), openings))
    return found
