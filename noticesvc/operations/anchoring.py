"""What is given to outside parties and what they gave: checkpoints to be timestamped or cosigned, tokens and cosignatures kept.

Called by dispatch.anchors, which talks to them with no transaction open, and by proving, which puts them into bundles. Formats:
RFC 3161, C2SP tlog-witness and tlog-cosignature.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from noticesvc.errors import LedgerError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import note as notes
from noticesvc.ledger import tile
from noticesvc.ledger.key import Verifier
from noticesvc.proof.bundle import Timestamp
from noticesvc.storage import anchors, ledger
from noticesvc.storage.transaction import Tx


class Stampable(NamedTuple):
    """The newest checkpoint, and when this service last stamped one (microseconds; null: never). `new`: since then there are entries."""

    size: int
    note: str
    stamped_at: int | None
    new: bool


class Cosignable(NamedTuple):
    """The newest checkpoint and the proof that it extends the one of `old` entries."""

    old: int
    size: int
    note: str
    proof: Sequence[bytes]


def stampable(tx: Tx, tsa: str) -> Stampable | None:
    """What a time-stamping service may be asked for; null before the first entry is signed."""
    latest = ledger.latest_checkpoint(tx)
    if latest is None or latest[0] == 0:
        return None
    last = anchors.last_timestamp(tx, tsa)
    return Stampable(*latest, last[1] if last else None, last is None or latest[0] > last[0])


def keep_token(tx: Tx, tsa: str, size: int, note: str, token: bytes, stamped_at: int) -> None:
    """Keep a token that was checked."""
    anchors.put_timestamp(tx, tsa, size, note, token, stamped_at)


def cosignable(tx: Tx, witness: str, old: int | None) -> Cosignable | None:
    """What a witness (by its verifier key) may be asked for; null if it cosigned the newest checkpoint already.

    `old`: the size that the witness says to be at, where that is not what we remember.
    """
    latest = ledger.latest_checkpoint(tx)
    remembered = anchors.last_cosigned(tx, witness)
    if latest is None or latest[0] == 0 or (old is None and remembered >= latest[0]):
        return None
    begin = remembered if old is None else old
    return Cosignable(begin, *latest, _consistency(tx, begin, latest[0]) if begin <= latest[0] else ())


def keep_cosignature(tx: Tx, size: int, vkey: str, line: str) -> None:
    """Keep a signature line that was checked."""
    anchors.put_cosignature(tx, size, vkey, line)


def best_checkpoint(tx: Tx, above: int, witnesses: Collection[str]) -> tuple[int, str, tuple[str, ...]] | None:
    """The checkpoint of more than `above` entries with the most cosignatures of these witnesses: size, note, who cosigned.

    The newest one if none was cosigned; null if none covers so many.
    """
    latest = ledger.latest_checkpoint(tx)
    if latest is None or latest[0] <= above:
        return None
    found = anchors.most_cosigned(tx, above, list(witnesses)) if witnesses else None
    text = anchors.checkpoint_of(tx, found[0]) if found else None
    if found is None or text is None:
        return (*latest, ())
    cosigners = []
    for vkey, line in anchors.cosignatures(tx, found[0]):
        if vkey in witnesses:
            text = notes.attach(text, line)
            cosigners.append(vkey)
    return found[0], text, tuple(cosigners)


def served_checkpoint(tx: Tx, size: int, note: str) -> str:
    """A checkpoint with the cosignatures that are there."""
    for _, line in anchors.cosignatures(tx, size):
        note = notes.attach(note, line)
    return note


def timestamps(tx: Tx, indexes: Collection[int], size: int) -> tuple[Timestamp, ...]:
    """For entries of these indexes the first token of each service that covers each, joined to the tree of `size` entries."""
    found = {}
    for tsa in anchors.services(tx):
        for index in sorted(indexes):
            row = anchors.first_timestamp_over(tx, tsa, index)
            if row is not None:
                found[row.id] = row
    return tuple(Timestamp(row.note, tuple(_consistency(tx, min(row.size, size), max(row.size, size))), row.token)
                 for row in sorted(found.values(), key=lambda row: (row.size, row.stamped_at, row.id)))


def checked_line(signed: str, lines: str, log_keys: Sequence[Verifier], witness: Verifier) -> str:
    """The line by which this witness cosigned a checkpoint, out of what it answered. NoteError if it did not."""
    attached = notes.attach(signed, lines)
    found = checkpoints.verify(attached, log_keys, [witness])
    if witness not in {one.verifier for one in found.signed}:
        raise notes.NoteError("The witness's answer holds no cosignature by its key.")
    return next(one.line() for one in notes.parse_lines(lines) if (one.name, one.key_id) == (witness.name, witness.key_id))


def _consistency(tx: Tx, old: int, size: int) -> list[bytes]:
    if not 0 < old < size:
        return []
    there = ledger.tiles(tx, tile.consistency_tiles(old, size))
    try:
        return tile.consistency_proof_from_tiles(lambda level, n: there.get((level, n), b""), old, size)
    except LedgerError:
        return []  # damaged tiles: the audit says so, and whoever is given this proof refuses it
