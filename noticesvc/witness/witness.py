"""The judgement of a witness: whether it cosigns a checkpoint (C2SP tlog-witness, add-checkpoint), in numbered steps.

Called by witness.server. One request at a time is judged and remembered, so that two can never see the same past.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from noticesvc.errors import LedgerError, NoteError, ProofError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import merkle
from noticesvc.ledger import note as notes
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.key import Signer, Verifier
from noticesvc.ledger.text import from_base64, from_decimal
from noticesvc.witness.memory import Memory

MOST_BYTES = 128 << 10
SIZE_TYPE = "text/x.tlog.size"
TEXT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: an HTTP status, a body and its media type."""

    status: int
    body: str
    media_type: str = TEXT_TYPE


class Witness:
    """Cosigns with one key for some logs (by their verifier keys); `clock` gives POSIX seconds."""

    def __init__(self, signer: Signer, logs: Sequence[Verifier], memory: Memory, clock: Callable[[], int]) -> None:
        self._signer, self._memory, self._clock = signer, memory, clock
        self._keys: Mapping[str, list[Verifier]] = {key.name: [one for one in logs if one.name == key.name] for key in logs}
        self._one_at_a_time = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Judge one request."""
        # 1. The request has its form: the old size, the proof's lines, a blank line, the checkpoint.
        try:
            old, proof, signed = _parse(body)
            origin = notes.parse(signed).text.partition("\n")[0]
        except LedgerError:
            return Answer(400, "The request is not as tlog-witness describes it.\n")
        # 2. It is a log that this witness knows, and that log's key signed it.
        if origin not in self._keys:
            return Answer(404, "This log is not known here.\n")
        try:
            checkpoint = checkpoints.verify(signed, self._keys[origin]).checkpoint
        except NoteError:
            return Answer(403, "No key of this log signed the checkpoint.\n")
        if old > checkpoint.size:
            return Answer(400, "The old size is larger than the checkpoint's.\n")
        with self._one_at_a_time:
            return self._judge(old, proof, signed, checkpoint)

    def _judge(self, old: int, proof: Sequence[bytes], signed: str, checkpoint: Checkpoint) -> Answer:
        # 3. The old size is the one remembered.
        last = self._memory.last(checkpoint.origin)
        if old != (last.size if last else 0):
            return Answer(409, f"{last.size if last else 0}\n", SIZE_TYPE)
        # 4. The checkpoint extends what is remembered.
        try:
            if last is None or last.size == 0:
                if proof:
                    return Answer(422, "A proof from the empty log has no lines.\n")
            elif last.size == checkpoint.size:
                if last.root != checkpoint.root:
                    return Answer(409, "This log has shown another tree of the same size.\n")
                if proof:
                    return Answer(422, "A proof between equal sizes has no lines.\n")
            else:
                merkle.verify_consistency(last.size, checkpoint.size, last.root, checkpoint.root, list(proof))
        except ProofError:
            return Answer(422, "The checkpoint does not extend what this witness has seen.\n")
        # 5. It is remembered before anybody can have the cosignature.
        if last is None or checkpoint != last:
            self._memory.remember(checkpoint)
        return Answer(200, notes.cosign(notes.parse(signed).text, self._signer, self._clock()))


def _parse(body: bytes) -> tuple[int, list[bytes], str]:
    try:
        head, blank, signed = body.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise ProofError("The request is not UTF-8.") from None
    first, *lines = head.split("\n")
    if not blank or not first.startswith("old ") or len(lines) > 63:
        raise ProofError("The request has not the lines that it must have.")
    proof = [from_base64(line, ProofError, "a line of the proof") for line in lines]
    if any(len(one) != merkle.HASH_BYTES for one in proof):
        raise ProofError("A line of the proof is no hash.")
    return from_decimal(first.removeprefix("old "), ProofError, "the old size"), proof, signed
