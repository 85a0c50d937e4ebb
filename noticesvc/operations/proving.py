"""Proofs of notices and of contacts: the reading is a fact of its own, recorded first; the bundle follows once it is sequenced.

Called by api.proofs and by `noticesvc proof`. Two transactions: `read_…` appends `proof.read`, which fixes `issued_at` and the last
number that belongs to the bundle; `…_proof` assembles the bundle as soon as a signed checkpoint covers that entry, and answers
null until then. Whatever is recorded in between stands behind the reading and does not belong to it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from noticesvc.domain import instant
from noticesvc.domain.access import Access
from noticesvc.errors import LedgerMismatch, NotFound
from noticesvc.operations import anchoring, broadcast_approval, contents, ledger_reading, recipient_state, sequence, subjects
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof import assemble, bundle, entries, needs
from noticesvc.proof.assemble import Piece
from noticesvc.proof.bundle import Timestamp
from noticesvc.proof.entries import Entry
from noticesvc.proof.openings import Opening, commit, unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx
from noticesvc.vault import DataKey

Found = dict[EntryRef, dict[str, Opening]]


@dataclass(frozen=True, slots=True)
class Reading:
    """A recorded reading of a proof: its entry, what opens it, and what it is about (a notice's id, or our id of a recipient)."""

    ref: EntryRef
    about_id: str
    openings: Mapping[str, Opening]


def read_notice(tx: Tx, world: World, access: Access | None, notice_id: str, reason: str) -> Reading:
    """Record that a notice's proof is read, and why; `access` is null for an operator at the shell.

    Raises NotFound, and Forbidden for a category that the key may not use.
    """
    unit = Unit(tx, world, {notice_id})
    if notice_id not in unit.notices:
        raise NotFound("There is no such notice.")
    if access is not None:
        access.require_category(unit.notices[notice_id]["category"])
    committed, opened = commit({"reason": reason}, tx.salt)
    ref = unit.note(notice_id, "proof.read", _members(tx, world, access, bundle.NOTICE_FORMAT, None) | committed, opened)
    unit.save()
    return Reading(ref, notice_id, opened)


def read_contacts(tx: Tx, world: World, access: Access | None, recipient_id: str, at: int | None, reason: str) -> Reading:
    """Record that the proof of a recipient's contacts at an instant (microseconds; null: now) is read. Raises NotFound."""
    state = recipient_state.one_locked(tx, world, recipient_id, anonymised=True)  # it is kept so long for this
    when = max(tx.now, state.row["changed_at"]) if at is None else at
    members = _members(tx, world, access, bundle.CONTACTS_FORMAT, instant.text(instant.from_micros(when)))
    ref = subjects.append_subject_entry(tx, world, state.subject_id, "proof.read", members, {"reason": reason})
    return Reading(ref, state.subject_id, {})


def _members(tx: Tx, world: World, access: Access | None, form: str, in_effect_at: str | None) -> dict[str, Any]:
    return {"key_id": None if access is None else access.key_id, "issuer": world.issuer, "software": world.software, "issued_at": tx.at,
            "format": form, "in_effect_at": in_effect_at}


WITNESSES_S = 1.0  # how long cosignatures are waited for; without them a bundle is as good, but for the word of others


def notice_proof(tx: Tx, world: World, reading: Reading, *, patient: bool = False) -> dict[str, Any] | None:
    """The bundle of a reading by `read_notice`, as JSON members; null until a signed checkpoint covers it.

    Who is `patient` is answered null until all witnesses have cosigned such a checkpoint too.
    """
    if not _is_signed(tx, world, reading.ref, patient=patient):
        return None
    row = tx.execute(select(t.notice).where(t.notice.c.id == reading.about_id)).mappings().one()
    key = contents.keys_of(tx, world, (row["subject_id"],)).get(row["subject_id"])
    found = _of_notice(tx, row, key)
    found[reading.ref] = dict(reading.openings)
    found = _before(tx, found, reading.ref)
    mine = _entries(tx, list(found))
    for ref, openings in _needed(tx, world, row, mine, any_closed=_any_closed(mine, list(found.values()))).items():
        found[ref] = openings
    return assemble.notice_bundle(*_pieces(tx, world, found))


def contacts_proof(tx: Tx, world: World, reading: Reading, *, patient: bool = False) -> dict[str, Any] | None:
    """The bundle of a reading by `read_contacts`, as JSON members; null until a signed checkpoint covers it.

    Patience as in `notice_proof`. Raises NotFound if the recipient was anonymised since.
    """
    if not _is_signed(tx, world, reading.ref, patient=patient):
        return None
    if contents.keys_of(tx, world, (reading.about_id,)).get(reading.about_id) is None:
        raise NotFound("There is no such recipient.")
    found = {one.ref: one.openings for one in subjects.entries(tx, world, reading.about_id)}
    return assemble.contacts_bundle(*_pieces(tx, world, _before(tx, found, reading.ref)))


def _is_signed(tx: Tx, world: World, ref: EntryRef, *, patient: bool) -> bool:
    index = ledger_reading.indexes(tx, [ref]).get(ref)
    best = None if index is None else anchoring.best_checkpoint(tx, index, world.witnesses)
    return best is not None and not (patient and len(best[2]) < len(world.witnesses))


def _before(tx: Tx, found: Found, last: EntryRef) -> Found:
    """Only what stands in the ledger up to the reading; the rest was recorded after it."""
    known = ledger_reading.indexes(tx, list(found))
    return {ref: openings for ref, openings in found.items() if known.get(ref, known[last] + 1) <= known[last]}


def _of_notice(tx: Tx, row: Mapping[Any, Any], key: DataKey | None) -> Found:
    """Every entry about a notice with its openings. Several rows may name one entry: then they keep its openings together."""
    found: Found = {}

    def add(batch: str | None, offset: int | None, *sealed: tuple[bytes | None, str]) -> None:
        if batch is not None and offset is not None:
            openings = found.setdefault(EntryRef(batch, offset), {})
            for data, place in sealed:
                openings.update(unpack(key.open(data, place)) if key is not None and data is not None else {})

    notice_id = row["id"]
    add(row["entry_batch"], row["entry_offset"], (row["sealed"], f"notice:{notice_id}"))
    add(row["determined_batch"], row["determined_offset"])
    own = tx.execute(select(t.content).where(t.content.c.id == row["content_id"], t.content.c.subject_id.is_not(None))).one_or_none()
    if own is not None:  # content that this notice alone has is committed to in its acceptance
        add(row["entry_batch"], row["entry_offset"], (own.sealed, f"content:{own.id}"))
    for one in tx.execute(select(t.attempt).where(t.attempt.c.notice_id == notice_id)):
        add(one.entry_batch, one.entry_offset, (one.sealed, f"attempt:{notice_id}:{one.channel}:{one.number}"))
        add(one.closed_batch, one.closed_offset)
    for one in tx.execute(select(t.evidence).where(t.evidence.c.notice_id == notice_id)):
        add(one.entry_batch, one.entry_offset, (one.sealed, f"evidence:{one.id}"))
    for one in tx.execute(select(t.notice_entry).where(t.notice_entry.c.notice_id == notice_id)):
        add(one.entry_batch, one.entry_offset, (one.sealed, f"notice_entry:{notice_id}:{one.seq}"))
    return found


def _entries(tx: Tx, refs: Sequence[EntryRef]) -> list[Entry]:
    """These entries, read; their positions are those of `refs`."""
    data, known = ledger_reading.entries(tx, refs), ledger_reading.indexes(tx, refs)
    if data is None:
        raise LedgerMismatch("An entry has no place in the ledger although a later one has; run `noticesvc ledger audit`.")
    return [Entry(at, known[ref], entries.read(one)) for at, (ref, one) in enumerate(zip(refs, data, strict=True))]


def _any_closed(found: Iterable[Entry], openings: Sequence[Mapping[str, Opening]]) -> bool:
    return any(name not in openings[entry.position] for entry in found if entry.type != "proof.read" for name in entry.commitments)


def _needed(tx: Tx, world: World, row: Mapping[Any, Any], mine: Sequence[Entry], *, any_closed: bool) -> Found:
    """The entries of the recipient and the shared ones that the notice's entries need, with their openings."""
    wanted = set(needs.of_notice(mine))
    found: Found = {}
    of_subject = subjects.entries(tx, world, row["subject_id"])
    read = dict(zip((one.ref for one in of_subject), _read_sequenced(tx, [one.ref for one in of_subject]), strict=True))
    last = max(entry.index for entry in mine)
    for one in of_subject:
        entry = read[one.ref]
        if entry is None or entry.index > last:
            continue
        if needs.key_of(entry) in wanted:
            wanted.discard(needs.key_of(entry))
            found[one.ref] = one.openings
        elif entry.type == "recipient.anonymised" and any_closed:
            found[one.ref] = one.openings
    if row["broadcast_id"] is not None:
        approved = tx.execute(select(t.broadcast).where(t.broadcast.c.id == row["broadcast_id"])).one()
        found[EntryRef(approved.entry_batch, approved.entry_offset)] = unpack(
            world.system_key.open(approved.sealed_approval, broadcast_approval.place(approved.id)))
    content_ids = {key[1] for key in wanted if key[0] == "content.shared"}
    if row["announcement_id"] is not None:
        announcement = tx.execute(select(t.announcement).where(t.announcement.c.id == row["announcement_id"])).one()
        found[EntryRef(announcement.entry_batch, announcement.entry_offset)] = {}
        content_ids.add(announcement.content_id)
    return found | _shared(tx, world, content_ids)


def _read_sequenced(tx: Tx, refs: Sequence[EntryRef]) -> list[Entry | None]:
    known = ledger_reading.indexes(tx, refs)
    there = [ref for ref in refs if ref in known]
    read = dict(zip(there, _entries(tx, there), strict=True))
    return [read.get(ref) for ref in refs]


def _shared(tx: Tx, world: World, content_ids: Collection[str]) -> Found:
    rows = tx.execute(select(t.content).where(tx.within(t.content.c.id, content_ids))).all() if content_ids else []
    return {EntryRef(row.entry_batch, row.entry_offset): unpack(world.system_key.open(row.sealed, f"content:{row.id}")) for row in rows}


def _pieces(tx: Tx, world: World, found: Found) -> tuple[list[Piece], str, tuple[str, ...], tuple[Timestamp, ...]]:
    """The entries proved in one checkpoint, the key that signed it, who cosigned it, and timestamps that cover the entries."""
    refs = list(found)
    known = ledger_reading.indexes(tx, refs)
    best = anchoring.best_checkpoint(tx, max(known.values(), default=0), world.witnesses)
    proofs = None if best is None else ledger_reading.proofs_for(tx, refs, best[:2])
    keys = sequence.verifiers(tx, world.origin)
    if proofs is None or best is None or not keys:
        raise LedgerMismatch("An entry that stands before a signed one is not covered by its checkpoint; run `noticesvc ledger audit`.")
    signer = next((key for key in keys if sequence.is_signed_by(proofs.checkpoint, key)), keys[0])
    pieces = [Piece(known[ref], one.entry, one.tlog_proof, found[ref]) for ref, one in zip(refs, proofs.entries, strict=True)]
    before = sorted(known.values())[:-1]  # the reading itself is stamped only after the bundle is made
    return pieces, signer.vkey, best[2], anchoring.timestamps(tx, before, best[0])
