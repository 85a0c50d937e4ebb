"""What outside parties said of our checkpoints, audited: each token and each cosignature is of a checkpoint of this very log.

Called by operations.audit. The trees that tokens are over are compared by the walk over the log, as signed checkpoints are.
"""

from collections.abc import Iterator, Sequence

from cryptography.x509 import Certificate
from sqlalchemy import select

from noticesvc.domain import instant
from noticesvc.errors import LedgerError, VerificationError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import note as notes
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.key import Verifier
from noticesvc.operations import anchoring
from noticesvc.operations.audit_tree import Findings
from noticesvc.proof import timestamps
from noticesvc.storage import anchors, audit
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

PAGE = 500


def stamped(tx: Tx, keys: Sequence[Verifier], roots: Sequence[Certificate], findings: Findings) -> Iterator[tuple[Checkpoint, str]]:
    """The checkpoints that tokens are over, in order of size, for the walk over the log. Without roots signatures go unchecked."""
    after = (-1, "00000000-0000-0000-0000-000000000000")
    columns = t.ledger_timestamp.c
    while True:
        rows = tx.execute(select(t.ledger_timestamp).where(
            (columns.size > after[0]) | ((columns.size == after[0]) & (columns.id > after[1])))
            .order_by(columns.size, columns.id).limit(PAGE)).all()
        for row in rows:
            try:
                said = (timestamps.check(row.token, row.note.encode(), roots) if roots
                        else timestamps.read(row.token, row.note.encode()))
                found = checkpoints.verify(row.note, keys).checkpoint
            except (LedgerError, VerificationError, UnicodeEncodeError) as error:
                findings.add(f"A timestamp over the checkpoint of size {row.size} does not hold: {error}")
                continue
            if found.size != row.size or instant.to_micros(said.at) != row.stamped_at:
                findings.add(f"The row of a timestamp over the checkpoint of size {found.size} tells another size or time than it.")
            yield found, "The timestamped checkpoint"
        if len(rows) < PAGE:
            return
        after = rows[-1].size, rows[-1].id


def cosignatures(tx: Tx, keys: Sequence[Verifier], findings: Findings) -> None:
    """Each kept line is a cosignature of the checkpoint of its size."""
    for rows in audit.whole_rows(tx, t.ledger_cosignature, PAGE):
        for row in rows:
            text = anchors.checkpoint_of(tx, row.size)
            try:
                witness = Verifier.parse(row.vkey)
                if text is None or anchoring.checked_line(text, row.line, keys, witness) != row.line:
                    raise notes.NoteError("There is no such checkpoint, or more than one line.")
            except (LedgerError, StopIteration) as error:
                findings.add(f"A cosignature of the checkpoint of size {row.size} does not hold: {error}")
