"""Step 5 of verification: every commitment is opened, listed as destroyed, or the reason of an earlier reading; each opening fits.

Called by proof.verify for both kinds of bundle.
"""

from collections.abc import Sequence
from hashlib import sha256

from noticesvc.ledger.entry import commitment
from noticesvc.proof.bundle import Bundle
from noticesvc.proof.entries import Entry


def check(bundle: Bundle, entries: Sequence[Entry]) -> tuple[dict[tuple[int, str], bytes], list[str]]:
    """The opened values by position and field, and one sentence for each failure."""
    values: dict[tuple[int, str], bytes] = {}
    failures: list[str] = []
    last = entries[-1]

    def take(at: int, field: str, salt: bytes, value: bytes) -> None:
        entry = entries[at]
        if (at, field) in values:
            failures.append(f"The field {_name(entry, field)} of entry {at} is opened twice.")
        elif field not in entry.commitments:
            failures.append(f"An opening names a field of entry {at} that it does not commit to.")
        elif entry.type == "proof.read" and entry is not last:
            failures.append(f"The reason of an earlier reading (entry {at}) is opened, but belongs to whoever read it.")
        elif commitment(field, salt, value) != entry.commitments[field]:
            failures.append(f"The opening of {_name(entry, field)} does not fit the commitment in entry {at}.")
        values.setdefault((at, field), value)

    for opening in bundle.openings:
        if opening.field == "raw":
            failures.append(f"The raw bytes of entry {opening.entry} stand among the openings and not under raw.")
            continue
        take(opening.entry, opening.field, opening.salt, opening.value)
    for raw in bundle.raw:
        take(raw.entry, "raw", raw.salt, raw.data)
        failures += _raw_members(entries[raw.entry], raw.entry, (raw.evidence_id, raw.media_type, raw.authenticated_by))
    destroyed = _destroyed(bundle, entries, values, failures)
    for entry in entries:
        closed = entry.type == "proof.read" and entry is not last
        failures += [f"The field {field} of entry {entry.position} is neither opened nor listed as destroyed."
                     for field in entry.commitments if not closed and (entry.position, field) not in values.keys() | destroyed]
        failures += _raw_hash(entry, values)
    return values, failures


def _name(entry: Entry, field: str) -> str:
    return field if field in entry.commitments else "that name"


def _raw_members(entry: Entry, at: int, told: tuple[str, str | None, str | None]) -> list[str]:
    names = ("evidence_id", "media_type", "authenticated_by")
    return [f"The raw item of entry {at} tells another {name} than the entry." for name, value in zip(names, told, strict=True)
            if entry.get(name) != value]


def _destroyed(bundle: Bundle, entries: Sequence[Entry], values: dict[tuple[int, str], bytes], failures: list[str]) -> set[tuple[int, str]]:
    found: set[tuple[int, str]] = set()
    for item in bundle.destroyed:
        entry, by, place = entries[item.entry], entries[item.by], (item.entry, item.field)
        if place in found or place in values:
            failures.append(f"A field of entry {item.entry} is listed as destroyed twice, or is opened as well.")
        elif item.field not in entry.commitments or entry.type == "proof.read":
            failures.append(f"What is listed as destroyed of entry {item.entry} is nothing that can be.")
        elif by.type != "recipient.anonymised" or entry.get("subject_id") is None or by["subject_id"] != entry["subject_id"]:
            failures.append(f"What is said to have destroyed a field of entry {item.entry} is not the anonymisation of its recipient.")
        found.add(place)
    return found


def _raw_hash(entry: Entry, values: dict[tuple[int, str], bytes]) -> list[str]:
    raw, told = values.get((entry.position, "raw")), values.get((entry.position, "raw_sha256"))
    if raw is None or told is None or sha256(raw).hexdigest().encode() == told:
        return []
    return [f"The raw bytes of entry {entry.position} do not have the hash that the entry commits to."]
