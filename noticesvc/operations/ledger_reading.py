"""What others may see of the ledger: the signed checkpoint, keys, tiles and bundles that it covers, and proofs of entries.

Called by api.ledger, by the proof operations and by the certificate's data. Nothing is shown that no signed checkpoint
covers. Proofs of any number of entries stand in one checkpoint and cost one statement a table.
"""

from collections.abc import Sequence
from typing import NamedTuple

from noticesvc.errors import NotFound, UnavailableError
from noticesvc.ledger import proof, tile
from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.ledger.merkle import HASH_BYTES
from noticesvc.ledger.proof import TlogProof
from noticesvc.ledger.tile import Tile
from noticesvc.operations import anchoring
from noticesvc.operations.world import World
from noticesvc.storage import ledger
from noticesvc.storage.transaction import EntryRef, Tx


class ProvedEntry(NamedTuple):
    """An entry's bytes and the tlog-proof (C2SP) that it stands in the ledger."""

    entry: bytes
    tlog_proof: str


class Proofs(NamedTuple):
    """Entries proved in one signed checkpoint, in the order they were asked for."""

    checkpoint: str
    entries: list[ProvedEntry]


def waits(tx: Tx) -> bool:
    """Whether entries wait for the sequencer."""
    return ledger.oldest_pending(tx) is not None


def checkpoint(tx: Tx, world: World) -> str:  # noqa: ARG001 (operations have one form)
    """The newest signed checkpoint as a note, with its cosignatures. Raises UnavailableError before the first one was signed."""
    latest = ledger.latest_checkpoint(tx)
    if latest is None:
        raise UnavailableError("No checkpoint is signed yet; a worker must run once, then repeat the request.")
    return anchoring.served_checkpoint(tx, *latest)


def keys(tx: Tx, world: World) -> str:  # noqa: ARG001 (operations have one form)
    """The verifier keys, one a line, the current one first. Raises UnavailableError before the first start."""
    known = ledger.vkeys(tx)
    if not known:
        raise UnavailableError("No ledger key is recorded yet; a worker must run once, then repeat the request.")
    return "".join(f"{vkey}\n" for vkey in known)


def tile_bytes(tx: Tx, world: World, wanted: Tile) -> bytes:  # noqa: ARG001 (operations have one form)
    """The hashes of a tile, or the entries of a bundle (`level` null), of exactly its width.

    Raises NotFound unless a signed checkpoint covers it.
    """
    latest = ledger.latest_checkpoint(tx)
    if latest is None or not wanted.within(latest[0]):
        raise NotFound
    if wanted.level is not None:
        data = ledger.tiles(tx, [(wanted.level, wanted.index)]).get((wanted.level, wanted.index), b"")
        return data[:wanted.width * HASH_BYTES]
    data = ledger.bundles(tx, [wanted.index]).get(wanted.index, b"")
    end = sum(2 + len(entry) for entry in ledger.split(data)[:wanted.width])
    return data[:end]


def indexes(tx: Tx, refs: Sequence[EntryRef]) -> dict[EntryRef, int]:
    """The ledger index of each entry that is sequenced; the others are left out. For `ledger_index` of evidence."""
    return ledger.indexes(tx, refs)


def entries(tx: Tx, refs: Sequence[EntryRef]) -> list[bytes] | None:
    """The bytes of these entries in the same order; null if one is not sequenced yet. Raises LedgerMismatch."""
    known = ledger.indexes(tx, refs)
    if any(ref not in known for ref in refs):
        return None
    return _entries(tx, [known[ref] for ref in refs])


def proofs_for(tx: Tx, refs: Sequence[EntryRef], under: tuple[int, str] | None = None) -> Proofs | None:
    """These entries, each with its inclusion proof, all in one checkpoint; null if it does not cover one yet.

    The checkpoint is `under` (size and note) or else the newest one.

    Costs O(log n) tile reads an entry, fetched together. Raises ProofError if tiles are missing, LedgerMismatch if bundles
    are damaged.
    """
    latest = under or ledger.latest_checkpoint(tx)
    known = ledger.indexes(tx, refs)
    if latest is None or any(known.get(ref, latest[0]) >= latest[0] for ref in refs):
        return None
    size, note = latest
    places = [known[ref] for ref in refs]
    there = ledger.tiles(tx, {where for index in places for where in tile.inclusion_tiles(index, size)})
    proved = [ProvedEntry(entry, proof.format(TlogProof(index, tuple(tile.inclusion_proof_from_tiles(
        lambda level, n: there.get((level, n), b""), index, size)), note)))
        for index, entry in zip(places, _entries(tx, places), strict=True)]
    return Proofs(note, proved)


def _entries(tx: Tx, places: Sequence[int]) -> list[bytes]:
    found = {n: ledger.split(data) for n, data in ledger.bundles(tx, {index // BUNDLE_ENTRIES for index in places}).items()}
    missing = [index for index in places if index % BUNDLE_ENTRIES >= len(found.get(index // BUNDLE_ENTRIES, ()))]
    if missing:
        raise NotFound("An entry's bundle is missing in the database; run `noticesvc ledger audit`.")
    return [found[index // BUNDLE_ENTRIES][index % BUNDLE_ENTRIES] for index in places]


def has_checkpoint(tx: Tx) -> bool:
    """Whether anything was ever signed."""
    return ledger.latest_checkpoint(tx) is not None
