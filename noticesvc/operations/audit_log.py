"""Entries by their names, read from the log in batches, with what is kept to open them put beside their commitments.

Called by operations.audit_open. The last bundles stay in memory, because neighbouring rows name neighbouring entries.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from noticesvc.errors import EntryError, LedgerMismatch, VaultError
from noticesvc.ledger.entry import BUNDLE_ENTRIES, commitment
from noticesvc.operations.audit_reader import read
from noticesvc.operations.audit_tree import Findings
from noticesvc.proof.entries import Entry
from noticesvc.proof.openings import Opening, unpack
from noticesvc.storage import ledger
from noticesvc.storage.transaction import EntryRef, Tx
from noticesvc.vault import DataKey

BUNDLES = 64  # kept


def ref_of(row: Any, prefix: str = "entry") -> EntryRef | None:
    """The entry that a row names in its two columns; null if it names none."""
    batch, offset = getattr(row, f"{prefix}_batch", None), getattr(row, f"{prefix}_offset", None)
    return None if batch is None or offset is None else EntryRef(batch, offset)


def is_half(row: Any, prefix: str = "entry") -> bool:
    """Whether one of the two columns is empty and the other is not."""
    return (getattr(row, f"{prefix}_batch") is None) is not (getattr(row, f"{prefix}_offset") is None)


class Log:
    """Reads entries of one snapshot. `position` and `index` of an entry are its place; those that wait have negative ones."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()

    def read(self, refs: Iterable[EntryRef | None]) -> dict[EntryRef | None, Entry]:
        """These entries, as far as they are there and can be read; the others are findings of the walk over the log."""
        wanted = {ref for ref in refs if ref is not None}
        places = ledger.indexes(self._tx, wanted)
        self._load({place // BUNDLE_ENTRIES for place in places.values()})
        found: dict[EntryRef | None, Entry] = {}
        for ref, place in places.items():
            bundle = self._bundles.get(place // BUNDLE_ENTRIES, [])
            self._add(found, ref, place, bundle, place % BUNDLE_ENTRIES)
        waiting = wanted - places.keys()
        if waiting:
            for at, row in enumerate(ledger.pending_of(self._tx, {ref.batch for ref in waiting})):
                try:
                    entries = ledger.split(ledger.unpack(row.data))
                except LedgerMismatch:
                    continue
                for ref in waiting:
                    if ref.batch == row.batch:
                        self._add(found, ref, -1 - (at << 20) - ref.offset, entries, ref.offset)
        return found

    @staticmethod
    def _add(found: dict[EntryRef | None, Entry], ref: EntryRef, place: int, entries: list[bytes], at: int) -> None:
        if 0 <= at < len(entries):
            try:
                found[ref] = Entry(place, place, read(entries[at]))
            except EntryError:
                return

    def _load(self, numbers: Collection[int]) -> None:
        for n in numbers & self._bundles.keys():
            self._bundles.move_to_end(n)
        for n, data in ledger.stored_bundles(self._tx, [n for n in numbers if n not in self._bundles]).items():
            try:
                self._bundles[n] = ledger.split(ledger.inflate(data))
            except LedgerMismatch:
                continue
        while len(self._bundles) > max(BUNDLES, len(numbers)):
            self._bundles.popitem(last=False)


class Opened:
    """What opens the commitments of some entries, collected from the rows that keep it, and checked."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._kept: dict[int, dict[str, Opening]] = {}
        self.values: dict[tuple[int, str], bytes] = {}

    def keep(self, entry: Entry, key: DataKey | None, sealed: bytes | None, place: str) -> None:
        """Open what a row keeps for an entry; `place` is what it was sealed for."""
        if key is None or sealed is None:
            return
        try:
            found = unpack(key.open(sealed, place))
        except (VaultError, ValueError, IndexError):
            self._findings.add(f"What is sealed for {place} cannot be opened: it was changed, or moved from another row.")
            return
        self._kept.setdefault(entry.position, {}).update(found)

    def check(self, entries: Iterable[Entry], key: DataKey | None) -> Mapping[tuple[int, str], bytes]:
        """Every commitment of these entries is opened by what was kept, and nothing else was; the opened values.

        Without the key nothing can be opened: that it was rightly destroyed is found elsewhere.
        """
        for entry in entries:
            kept = self._kept.pop(entry.position, {})
            here = f"entry {entry.index} ({entry.type})"
            for name in kept.keys() - entry.commitments.keys():
                self._findings.add(f"A row keeps an opening of {name} for {here}, which does not commit to it.")
            for name, told in entry.commitments.items() if key is not None else ():
                opening = kept.get(name)
                if opening is None:
                    self._findings.add(f"No row keeps what opens {name} of {here}.")
                elif len(opening.salt) != 32 or commitment(name, opening.salt, opening.value) != told:
                    self._findings.add(f"What a row keeps to open {name} of {here} does not fit its commitment.")
                else:
                    self.values[entry.position, name] = opening.value
        return self.values
