"""Checkpoints after C2SP tlog-checkpoint: the ledger's origin, size and root as a signed note of three lines.

Called by the sequencer, the witness, anchors, exports and every verifier. Extension lines are refused: we write none,
and a line that nobody checks could carry a claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from noticesvc.errors import NoteError
from noticesvc.ledger import note
from noticesvc.ledger.key import ED25519, Signer, Verifier
from noticesvc.ledger.merkle import EMPTY_ROOT, HASH_BYTES
from noticesvc.ledger.text import MAX_NUMBER, from_base64, from_decimal, is_bytes, is_number, is_text, to_base64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: `origin` names the ledger, `size` counts its entries, `root` is 32 bytes (RFC 6962).

    Raises NoteError for an origin that cannot stand on a line, a size outside 0 to 2^63-1, or an impossible root.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not is_text(self.origin) or any(_unfit(char) for char in self.origin):
            raise NoteError("A checkpoint's origin is empty or holds a character that cannot stand in a note.")
        if not is_number(self.size, 0, MAX_NUMBER):
            raise NoteError("A checkpoint's size is not a whole number from 0 to 2^63-1.")
        if not is_bytes(self.root, HASH_BYTES):
            raise NoteError("A checkpoint's root is not a hash of 32 bytes.")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise NoteError("A checkpoint of an empty ledger does not hold the empty root.")


class SignedCheckpoint(NamedTuple):
    """A checkpoint that its ledger's key signed, and all verified signatures, cosignatures included."""

    checkpoint: Checkpoint
    signed: tuple[note.Signed, ...]


def format(checkpoint: Checkpoint) -> str:  # noqa: A001 - the pair format and parse, called with the module's name
    """The three lines that are signed: origin, size, base64 of the root."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{to_base64(checkpoint.root)}\n"


def parse(text: str) -> Checkpoint:
    """Reads the three lines of a note's text. Raises NoteError for anything but their one spelling."""
    lines = text.split("\n") if is_text(text) else []
    if len(lines) != 4 or lines[3]:
        raise NoteError("A checkpoint does not have exactly three lines: origin, size, root.")
    size = from_decimal(lines[1], NoteError, "a checkpoint's size")
    return Checkpoint(lines[0], size, from_base64(lines[2], NoteError, "a checkpoint's root"))


def sign(checkpoint: Checkpoint, signer: Signer) -> str:
    """The checkpoint as a note signed by the ledger's key, whose name must be the origin, else NoteError."""
    if signer.name != checkpoint.origin:
        raise NoteError("The signing key's name is not the ledger's origin; configure the key that belongs to it.")
    return note.sign(format(checkpoint), signer)


def verify(
    signed_note: str | bytes, log_keys: Iterable[Verifier], witnesses: Iterable[Verifier] = (),
) -> SignedCheckpoint:
    """Reads a signed checkpoint. Raises NoteError unless the origin's own key (type 0x01, among `log_keys`) signed it
    and no signature of a known key is bad; which witnesses signed is for the caller to demand.
    """
    trusted = tuple(log_keys)
    text, signed = note.verify(signed_note, (*trusted, *witnesses))
    checkpoint = parse(text)
    for verifier, _ in signed:
        if verifier in trusted and verifier.key_type == ED25519 and verifier.name == checkpoint.origin:
            return SignedCheckpoint(checkpoint, signed)
    raise NoteError("The checkpoint is not signed by a key of its own origin; check which ledger's key is configured.")


def _unfit(char: str) -> bool:
    return char < " " or "\ud800" <= char <= "\udfff"
