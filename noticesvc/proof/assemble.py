"""Bundles put together from proved entries and their openings; what they show is derived from exactly these.

Called by operations.proving. The entries stand in the order of the ledger, the bundle's own `proof.read` last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noticesvc.domain import instant, view
from noticesvc.domain.rules import BUILT_IN
from noticesvc.errors import LedgerMismatch
from noticesvc.proof import bundle, contacts_from_entries, entries, facts_from_entries
from noticesvc.proof.bundle import Bundle, DestroyedItem, OpeningItem, ProvedItem, RawItem, Timestamp
from noticesvc.proof.entries import Entry
from noticesvc.proof.openings import Opening


@dataclass(frozen=True, slots=True)
class Piece:
    """An entry with its place in the ledger, its proof, and what opens it (nothing once that was destroyed)."""

    index: int
    entry: bytes
    tlog_proof: str
    openings: Mapping[str, Opening]


@dataclass(frozen=True, slots=True)
class _Parts:
    found: list[Entry]
    proved: tuple[ProvedItem, ...]
    openings: tuple[OpeningItem, ...]
    raw: tuple[RawItem, ...]
    destroyed: tuple[DestroyedItem, ...]

    @property
    def values(self) -> dict[tuple[int, str], bytes]:
        return {(one.entry, one.field): one.value for one in self.openings} | {(one.entry, "raw"): one.data for one in self.raw}


def notice_bundle(pieces: Sequence[Piece], log_key: str, cosigners: Sequence[str] = (),
                  timestamps: Sequence[Timestamp] = ()) -> dict[str, Any]:
    """The bundle of a notice, as JSON members. Raises LedgerMismatch if an opening is missing that was not destroyed."""
    parts = _parts(pieces)
    facts = facts_from_entries.notice_facts(parts.found, parts.values)
    as_of = instant.parse(parts.found[-1]["issued_at"])
    own = {"notice": view.body(facts, as_of, BUILT_IN.values()), "outcomes": view.outcomes(facts, as_of, BUILT_IN.values())}
    return _bundle(bundle.NOTICE_FORMAT, own, parts, log_key, cosigners, timestamps)


def contacts_bundle(pieces: Sequence[Piece], log_key: str, cosigners: Sequence[str] = (),
                    timestamps: Sequence[Timestamp] = ()) -> dict[str, Any]:
    """The bundle of a recipient's contacts at a time, as JSON members. Raises as `notice_bundle`."""
    parts = _parts(pieces)
    own = {"recipient": contacts_from_entries.shown(parts.found, parts.values)}
    return _bundle(bundle.CONTACTS_FORMAT, own, parts, log_key, cosigners, timestamps)


def _bundle(form: str, own: dict[str, Any], parts: _Parts, log_key: str, cosigners: Sequence[str],
            timestamps: Sequence[Timestamp]) -> dict[str, Any]:
    read = parts.found[-1]
    return bundle.to_json(Bundle(form, read["issued_at"], read["issuer"], read["software"], own, parts.proved, parts.openings, parts.raw,
                                 parts.destroyed, log_key, tuple(timestamps), tuple(cosigners)))


def _parts(pieces: Sequence[Piece]) -> _Parts:
    ordered = sorted(pieces, key=lambda piece: piece.index)
    found = [Entry(at, piece.index, entries.read(piece.entry)) for at, piece in enumerate(ordered)]
    by = next((one.position for one in found if one.type == "recipient.anonymised"), None)
    opened, raw, destroyed = [], [], []
    for entry, piece in zip(found, ordered, strict=True):
        for name in sorted(entry.commitments):
            if entry.type == "proof.read" and entry is not found[-1]:
                continue  # why others read it stays closed
            opening = piece.openings.get(name)
            if opening is None:
                if by is None or entry.get("subject_id") != found[by]["subject_id"]:
                    raise LedgerMismatch("An opening of an entry is missing although nothing was anonymised; run `noticesvc ledger audit`.")
                destroyed.append(DestroyedItem(entry.position, name, by))
            elif name == "raw":
                raw.append(RawItem(entry.position, entry["evidence_id"], entry["media_type"], opening.salt, opening.value,
                                   entry["authenticated_by"]))
            else:
                opened.append(OpeningItem(entry.position, name, opening.salt, opening.value))
    return _Parts(found, tuple(ProvedItem(piece.entry, piece.tlog_proof) for piece in ordered), tuple(opened), tuple(raw), tuple(destroyed))
