"""Whether the database still holds the newest checkpoint that was seen: if not, an older copy of it took its place.

Called by dispatch.ledger_memory, every few seconds and on each new connection; one or two rows by their key.
"""

from typing import NamedTuple

from noticesvc.errors import NoteError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.operations import sequence
from noticesvc.storage import anchors, ledger
from noticesvc.storage.transaction import Tx

WHAT = "a checkpoint that this process has seen"


class Seen(NamedTuple):
    """A checkpoint by its size and root."""

    size: int
    root: bytes


def require(tx: Tx, seen: Seen | None) -> None:
    """Raise LedgerBehind unless the database holds this checkpoint."""
    if seen is None:
        return
    note = anchors.checkpoint_of(tx, seen.size)
    if note is None or read(note) != seen:
        head = ledger.head(tx)
        raise sequence.behind(head.size if head else 0, seen.size, WHAT)


def look(tx: Tx, seen: Seen | None) -> Seen | None:
    """The newest checkpoint, when the database still holds the one that was seen before. Raises LedgerBehind."""
    require(tx, seen)
    latest = ledger.latest_checkpoint(tx)
    return read(latest[1]) if latest is not None else seen


def read(note: str) -> Seen | None:
    """What a note says of size and root; its signatures are checked by others. Null if it is no checkpoint."""
    try:
        found = checkpoints.parse(note.partition("\n\n")[0] + "\n")
    except NoteError:
        return None
    return Seen(found.size, found.root)
