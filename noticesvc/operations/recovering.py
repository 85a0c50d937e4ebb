"""Going on deliberately with a restored database: what is lost becomes an entry of its own.

Called by `noticesvc ledger recover`, with no service running.
"""

from typing import NamedTuple

from sqlalchemy import func, select

from noticesvc.domain.delivery import FINISHED
from noticesvc.errors import Conflict, LedgerBehind, NoteError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger.key import Signer, Verifier
from noticesvc.ledger.text import to_base64
from noticesvc.operations import sequence
from noticesvc.storage import ledger
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


class Loss(NamedTuple):
    """What the database lacks, and how many of its deliveries are not finished: they may have been sent since the backup."""

    says: str
    kept_size: int
    lost_size: int
    lost_root: str
    unfinished: int


def loss(tx: Tx, signer: Signer, retired: tuple[Verifier, ...], outside: str | None) -> Loss:
    """What is missing. Raises Conflict if nothing is, and LedgerMismatch if the database is damaged in another way."""
    try:
        sequence.check(tx, signer, outside, retired)
    except LedgerBehind as error:
        head, says = ledger.head(tx), str(error)
    else:
        raise Conflict("nothing-lost", "The database extends the outside copy of the checkpoint: nothing is missing, start the service.")
    if outside is None or head is None:  # without a copy nothing can be behind it
        raise NoteError("There is no outside copy of the checkpoint.")
    seen = checkpoints.verify(outside, [signer.verifier, *retired]).checkpoint
    unfinished = tx.execute(select(func.count()).select_from(t.delivery).where(t.delivery.c.state.not_in(FINISHED))).scalar_one()
    return Loss(says, head.size, seen.size, to_base64(seen.root), unfinished)


def record(tx: Tx, lost: Loss) -> None:
    """Append the entry that says so; it is sequenced by the next start."""
    tx.append("ledger.recovered", {"kept_size": lost.kept_size, "lost_size": lost.lost_size, "lost_root": lost.lost_root})
