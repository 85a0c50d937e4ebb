"""The offline proof of one entry as text, after C2SP tlog-proof: index, inclusion proof and signed checkpoint.

Called by the proof room for bundles and by `noticesvc verify`. The `extra` line of that format is refused: it is not
authenticated, so it could carry a claim that nobody checks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from noticesvc.errors import ProofError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import note
from noticesvc.ledger.key import Verifier
from noticesvc.ledger.merkle import leaf_hash, require_hash, require_hashes, require_int, verify_inclusion
from noticesvc.ledger.text import MAX_NUMBER, from_base64, from_decimal, to_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63

_INDEX = "index "


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Where an entry stands: its index, the inclusion proof from the leaf's sibling upwards, the signed checkpoint.

    Raises ProofError for an index outside 0 to 2^63-1, more than 63 hashes, or a hash that is not 32 bytes; NoteError
    for a checkpoint that is no signed note of a checkpoint. Nothing is verified.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def __post_init__(self) -> None:
        require_int(self.index, "the index")
        if self.index > MAX_NUMBER:
            raise ProofError("The index of a tlog-proof is beyond 2^63-1.")
        require_hashes(self.hashes, "the inclusion proof")
        if len(self.hashes) > MAX_HASHES:
            raise ProofError("A tlog-proof holds more hashes than any tree has levels.")
        if not isinstance(self.checkpoint, str):
            raise ProofError("The checkpoint of a tlog-proof is not text.")
        checkpoints.parse(note.parse(self.checkpoint).text)


def format(proof: TlogProof) -> str:  # noqa: A001 - the pair format and parse, called with the module's name
    """The proof as text."""
    hashes = "".join(f"{to_base64(item)}\n" for item in proof.hashes)
    return f"{HEADER}\n{_INDEX}{proof.index}\n{hashes}\n{proof.checkpoint}"


def parse(text: str) -> TlogProof:
    """Reads a proof. Raises ProofError for any line that does not belong, `extra` included; NoteError if what stands
    for the checkpoint is no signed note of a checkpoint.
    """
    if not isinstance(text, str):
        raise ProofError("A tlog-proof is not text.")
    head, blank, signed = text.partition("\n\n")
    if not blank:
        raise ProofError("A tlog-proof has no blank line before its checkpoint.")
    if len(head) > (MAX_HASHES + 2) * 64:
        raise ProofError("A tlog-proof holds more hashes than any tree has levels.")
    header, *lines = head.split("\n")
    if header != HEADER:
        raise ProofError("A tlog-proof does not begin with the header of version 1.")
    if not lines or not lines[0].startswith(_INDEX):
        raise ProofError("The second line of a tlog-proof is not its index; extra data is refused.")
    index = from_decimal(lines[0].removeprefix(_INDEX), ProofError, "the index")
    hashes = tuple(from_base64(line, ProofError, "an inclusion proof") for line in lines[1:])
    for item in hashes:
        require_hash(item, "a line of the inclusion proof")
    return TlogProof(index, hashes, signed)


def verify(
    proof: TlogProof, entry: bytes, log_keys: Iterable[Verifier], witnesses: Iterable[Verifier] = (),
) -> checkpoints.SignedCheckpoint:
    """The checkpoint that this entry is proved in. Raises NoteError if its signatures do not hold (see checkpoint),
    ProofError if the entry does not stand at its index.
    """
    signed = checkpoints.verify(proof.checkpoint, log_keys, witnesses)
    verify_inclusion(proof.index, signed.checkpoint.size, leaf_hash(entry), proof.hashes, signed.checkpoint.root)
    return signed
