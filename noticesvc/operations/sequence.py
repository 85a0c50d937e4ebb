"""Gives pending entries their index: bundles, hash tiles and a signed checkpoint, all in one transaction.

Called by dispatch.sequencer alone. The head row is locked first and the caller's owner and epoch must still stand in it, so
that a sequencer that lost its office can write nothing. Each transaction starts from what is stored, never from memory: it
reads the right edge of the tree (one partial tile a level, the last bundle), so that memory does not grow with the log and
a restart is nothing special. Formats: RFC 6962, C2SP tlog-tiles and tlog-checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from noticesvc.errors import LedgerBehind, LedgerError, LedgerMismatch
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import merkle, tile
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.ledger.frontier import TILE_HEIGHT, TILE_WIDTH, Frontier
from noticesvc.ledger.key import Signer, Verifier
from noticesvc.storage import ledger
from noticesvc.storage.filling import Filling
from noticesvc.storage.transaction import Tx

ROWS = 20_000  # transactions a batch
BYTES = 3 << 18  # of entries a batch, packed: some eight thousand, so that the event loop is not held for long


class OfficeLost(LedgerError):
    """Another sequencer was elected since; whoever gets this must stop sequencing and stand for election again."""


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What one transaction did. `note` is the newest signed checkpoint, `waiting` whether entries were left behind."""

    note: str
    checkpoint: Checkpoint
    added: int
    waiting: bool


def found(tx: Tx, signer: Signer) -> None:
    """Prepare for this signer at start: the head row of a new ledger, and its public key as the current one.

    Raises LedgerMismatch if the ledger is not empty and its head row is gone.
    """
    if ledger.head(tx) is None:
        if not ledger.is_empty(tx):
            raise LedgerMismatch("The head row of the ledger is missing although entries are stored; restore the database.")
        ledger.make_head(tx)
    ledger.put_vkey(tx, signer.verifier.vkey)


def take_office(tx: Tx, owner: str) -> int:
    """Make `owner`, who holds the election's lock, the sequencer; its epoch, which goes with every call of `sequence`."""
    return ledger.take_office(tx, owner)


def sequence(tx: Tx, signer: Signer, owner: str, epoch: int, last: Checkpoint | None = None,
             size: int = BYTES, retired: Sequence[Verifier] = ()) -> Sequenced:
    """Sequence up to about `size` packed bytes of waiting entries and sign the new tree; also signs where this key has not yet.

    `retired` are the keys that `signer` replaced, whose checkpoints count too; `last` is the checkpoint that the caller saw
    committed last; a database that does not extend it was restored. Raises OfficeLost; LedgerMismatch, and then nothing is
    signed, if the stored tree is not the one that was signed last.
    """
    # 1. Only the elected sequencer of this epoch, one transaction at a time.
    head = ledger.head(tx, lock=True)
    if head is None or (head.owner, head.epoch) != (owner, epoch):
        raise OfficeLost("Another sequencer was elected; this one stands back.")
    # 2. The stored tree must be the one that was signed last.
    edge = Edge(tx, head.size)
    signed = edge.check([signer.verifier, *retired])
    if last is not None:
        require_extension(tx, edge, last, "what this sequencer signed before")
    # 3. Waiting entries, in the order of their transactions, follow the last one.
    filling = edge.filling()
    index: list[tuple[str, int]] = []
    for row in ledger.take_pending(tx, ROWS, size):
        index.append((row.batch, filling.size))
        filling.add(ledger.unpack(row.data))  # of one transaction at a time: those of thousands of notices are megabytes
    added = filling.size - head.size
    if not added and signed is not None and is_signed_by(signed, signer.verifier):
        return Sequenced(signed, edge.checkpoint(signer.name), 0, waiting=False)
    # 4. Index, bundles, tiles, head and checkpoint are written together.
    if added:
        edge.grow(filling)
        ledger.insert_index(tx, index)
        ledger.grow_head(tx, edge.frontier.size)
    grown = edge.checkpoint(signer.name)
    note = checkpoints.sign(grown, signer)
    ledger.put_checkpoint(tx, grown.size, note)
    tx.wake("checkpoint")
    return Sequenced(note, grown, added, ledger.oldest_pending(tx) is not None)


class Edge:
    """The right edge of the stored tree: partial tiles, and the frontier that follows from them."""

    def __init__(self, tx: Tx, size: int) -> None:
        self._tx = tx
        self._tiles = ledger.tiles(tx, tile.root_tiles(size))
        try:
            self.frontier = Frontier(size, [self._perfect(bit, size) for bit in reversed(range(size.bit_length())) if size >> bit & 1])
        except LedgerError:
            raise LedgerMismatch("Hash tiles at the ledger's end are missing or cut short; run `noticesvc ledger audit`.") from None

    def checkpoint(self, origin: str) -> Checkpoint:
        """Size and root of the tree as it is now."""
        return Checkpoint(origin, self.frontier.size, self.frontier.root())

    def check(self, keys: Sequence[Verifier]) -> str | None:
        """The newest signed checkpoint, which must verify and be of exactly this tree; null only for an empty ledger.

        Raises LedgerMismatch otherwise.
        """
        size, latest = self.frontier.size, ledger.latest_checkpoint(self._tx)
        if latest is None:
            if size:
                raise LedgerMismatch(f"The ledger has {size} entries but no signed checkpoint; restore the database from a copy.")
            return None
        try:
            signed = checkpoints.verify(latest[1], keys).checkpoint
        except LedgerError as error:
            raise LedgerMismatch(f"The last checkpoint in the database does not verify under the keys in this ledger's key file: {error} "
                                 "After a rotation every host needs the new key file, which lists the retired keys.") from None
        if (signed.size, signed.root) != (size, self.frontier.root()):
            raise LedgerMismatch(f"The stored tree of {size} entries is not the one of {signed.size} entries that was signed last; "
                                 "run `noticesvc ledger audit` and restore the database from a copy.")
        self._check_last_bundle()
        return latest[1]

    def filling(self) -> Filling:
        """What entries are to be added to."""
        number, there = divmod(self.frontier.size, BUNDLE_ENTRIES)
        return Filling(self.frontier.size, ledger.bundles(self._tx, [number])[number] if there else b"")

    def grow(self, filling: Filling) -> None:
        """Append what was added: write its bundles, of which the first may have been there, and all tiles that change."""
        ledger.put_bundles(self._tx, filling.stored())
        old = self.frontier.size
        levels = self.frontier.extend(filling.leaves)
        grown = tile.grow_tiles(lambda level, n: self._tiles.get((level, n), b""), old, levels)
        ledger.put_tiles(self._tx, {(where.level or 0, where.index): data for where, data in grown.items()})

    def _perfect(self, height: int, size: int) -> bytes:
        """The root of the perfect subtree of this height in the row of subtrees that makes up a tree of `size` leaves."""
        first = size >> height + 1 << height + 1
        level, above = divmod(height, TILE_HEIGHT)
        n, at = divmod(first >> level * TILE_HEIGHT, TILE_WIDTH)
        data = self._tiles.get((level, n), b"")
        end = (at + (1 << above)) * merkle.HASH_BYTES
        return merkle.root_hash([data[low:low + merkle.HASH_BYTES] for low in range(at * merkle.HASH_BYTES, end, merkle.HASH_BYTES)])

    def _check_last_bundle(self) -> None:
        number, there = divmod(self.frontier.size, BUNDLE_ENTRIES)
        if there:
            entries = ledger.split(ledger.bundles(self._tx, [number]).get(number, b""))
            if b"".join(map(merkle.leaf_hash, entries)) != self._tiles[0, number]:
                raise LedgerMismatch("The last entry bundle does not hold the entries that were signed; run `noticesvc ledger audit`.")


def check(tx: Tx, signer: Signer, outside: str | None, retired: Sequence[Verifier] = ()) -> None:
    """At start and before taking office: the stored tree is the one that was signed last, and extends the outside copy.

    Raises LedgerMismatch saying what is wrong; where entries are missing, it names them.
    """
    head = ledger.head(tx)
    if head is None:
        raise LedgerMismatch("The head row of the ledger is missing; restore the database.")
    edge = Edge(tx, head.size)
    keys = [signer.verifier, *retired]
    edge.check(keys)
    if outside is not None:
        try:
            copy = checkpoints.verify(outside, keys).checkpoint
        except LedgerError as error:
            raise LedgerMismatch(f"The outside copy of the checkpoint cannot be used: {error} It belongs to another ledger or was damaged; "
                                 "if that is known and wanted, remove the file.") from None
        require_extension(tx, edge, copy, "the outside copy of the checkpoint")


def require_extension(tx: Tx, edge: Edge, old: Checkpoint, what: str) -> None:
    """Return if the stored tree extends an older checkpoint (RFC 6962 consistency), else raise LedgerBehind."""
    size, root = edge.frontier.size, edge.frontier.root()
    if old.size > size:
        raise behind(size, old.size, what)
    try:
        if old.size:
            proof: list[bytes] = []
            if old.size < size:
                there = ledger.tiles(tx, tile.consistency_tiles(old.size, size))
                proof = tile.consistency_proof_from_tiles(lambda level, n: there.get((level, n), b""), old.size, size)
            merkle.verify_consistency(old.size, size, old.root, root, proof)
    except LedgerError:
        raise behind(size, old.size, what) from None


def behind(size: int, old_size: int, what: str) -> LedgerBehind:
    """The error for a ledger of `size` entries that does not extend one of `old_size`, called `what`."""
    if old_size > size:
        return LedgerBehind(
            f"The database's ledger ends with {size} entries, but {what} has {old_size}: entries {size} to {old_size - 1} are missing. "
            "A backup was restored or rows were lost; restore a newer copy of the database. Nothing is signed or sent until then.")
    return LedgerBehind(
        f"The database's ledger of {size} entries does not extend {what}: among entries 0 to {old_size - 1} some are missing or "
        "were changed, as after a restored backup. Nothing is signed or sent until the right database is restored.")


def verifiers(tx: Tx, origin: str) -> list[Verifier]:
    """The keys under which this ledger's checkpoints verify: the current one and those it replaced."""
    return [key for key in map(Verifier.parse, ledger.vkeys(tx)) if key.name == origin]


def is_signed_by(note_text: str, key: Verifier) -> bool:
    """Whether this key, not only one that it replaced, signed the note."""
    try:
        checkpoints.verify(note_text, [key])
    except LedgerError:
        return False
    return True
