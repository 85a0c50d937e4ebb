"""Signed notes after C2SP signed-note: a text, a blank line, and one line for each signature.

Called by checkpoint, proof, the sequencer, the witness and `noticesvc verify`. A signature line is `— name base64(key
id ‖ signature)`. Signatures of unknown keys are ignored; a bad signature of a known key, and a note that no known key
signed, are errors. For cosignatures (C2SP tlog-cosignature, type 0x04) the signature begins with eight bytes of POSIX
time, and what is signed is `cosignature/v1`, a time line and the text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from noticesvc.errors import NoteError
from noticesvc.ledger.key import COSIGNATURE, ED25519, KEY_ID_BYTES, SIGNATURE_BYTES, Signer, Verifier, check_name, generate
from noticesvc.ledger.text import MAX_NUMBER, from_base64, is_number, to_base64

__all__ = [
    "COSIGNATURE", "ED25519", "Note", "NoteError", "Signature", "Signed", "Signer", "VerifiedNote", "Verifier",
    "attach", "cosign", "generate", "parse", "parse_lines", "sign", "verify",
]

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100

_DASH = "— "
_TIME_BYTES = 8
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # but not the line feed


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who says to have signed, and the bytes behind the key id. Proves nothing by itself."""

    name: str
    key_id: bytes
    blob: bytes

    def line(self) -> str:
        """The line as it stands in a note, with its line feed."""
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.blob)}\n"


class Note(NamedTuple):
    """A note taken apart, nothing verified: the text with its last line feed, and all signature lines."""

    text: str
    signatures: tuple[Signature, ...]


class Signed(NamedTuple):
    """One verified signature: whose, and for a cosignature the POSIX time in seconds that it states, else None."""

    verifier: Verifier
    time_s: int | None


class VerifiedNote(NamedTuple):
    """The text, with its last line feed, and the known keys that signed it, each once, in the note's order."""

    text: str
    signed: tuple[Signed, ...]


def sign(text: str, signer: Signer) -> str:
    """The text as a note signed by one type 0x01 key. Raises NoteError if it does not end in a line feed, holds another
    control character or is not UTF-8, or if the key is a witness's.
    """
    if signer.key_type != ED25519:
        raise NoteError("A cosignature key cannot sign a note by itself; use a ledger key (type 1).")
    message = _text_bytes(text)
    return f"{text}\n{Signature(signer.name, signer.verifier.key_id, signer.raw_signature(message)).line()}"


def cosign(text: str, signer: Signer, time_s: int) -> str:
    """The signature line of a witness over a checkpoint's text, as of POSIX time `time_s` in whole seconds.

    Raises NoteError if the key is not of type 0x04 or the time cannot be.
    """
    if signer.key_type != COSIGNATURE:
        raise NoteError("Only a cosignature key (type 4) can cosign; make one for the witness.")
    if not is_number(time_s, 0, MAX_NUMBER):
        raise NoteError("The time of a cosignature is not a whole number of seconds from 0 to 2^63-1.")
    signature = signer.raw_signature(_cosigned(_text_bytes(text), time_s))
    blob = time_s.to_bytes(_TIME_BYTES, "big") + signature
    return Signature(signer.name, signer.verifier.key_id, blob).line()


def attach(note: str, lines: str) -> str:
    """The note with further signature lines behind its own; lines that it has already are not repeated.

    Nothing is verified. Raises NoteError if the note or a line is malformed or the note would grow too large.
    """
    text, present = parse(note)
    signatures = dict.fromkeys((*present, *parse_lines(lines)))
    attached = f"{text}\n{''.join(signature.line() for signature in signatures)}"
    parse(attached)
    return attached


def parse(note: str | bytes) -> Note:
    """Takes a note apart without verifying anything. Raises NoteError if it is malformed or larger than 1 MB."""
    if isinstance(note, bytes):
        try:
            note = note.decode()
        except UnicodeDecodeError:
            raise NoteError("A note is not UTF-8.") from None
    if len(_text_bytes(note)) > MAX_NOTE_BYTES:
        raise NoteError("A note is larger than one million bytes.")
    # The text may hold empty lines itself: the last one separates it from the signatures.
    end = note.rfind("\n\n")
    if end < 0:
        raise NoteError("A note has no blank line before its signatures.")
    return Note(note[: end + 1], parse_lines(note[end + 2:]))


def parse_lines(lines: str) -> tuple[Signature, ...]:
    """Signature lines alone, each with its line feed, such as a witness answers. Raises NoteError if malformed."""
    _text_bytes(lines)
    rows = lines[:-1].split("\n")
    if len(rows) > MAX_SIGNATURES:
        raise NoteError("A note has more than 100 signatures.")
    return tuple(_signature(row) for row in rows)


def verify(note: str | bytes, verifiers: Iterable[Verifier]) -> VerifiedNote:
    """The text of a note and who of these keys signed it.

    Raises NoteError if the note is malformed, a known key's signature is bad, none of the keys signed, or two of the
    given keys share name and key id.
    """
    # 1. The known keys, by what a signature line says of them.
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise NoteError("Two different keys share a name and a key id; leave one of them out.")
    # 2. The note's parts.
    text, signatures = parse(note)
    # 3. Every signature that names a known key must hold; the others say nothing.
    signed: dict[Verifier, Signed] = {}
    for signature in signatures:
        if candidate := known.get((signature.name, signature.key_id)):
            signed.setdefault(candidate, _check(text, signature, candidate))
    if not signed:
        raise NoteError("None of the known keys signed this note; check that the right verifier key is configured.")
    return VerifiedNote(text, tuple(signed.values()))


def _check(text: str, signature: Signature, verifier: Verifier) -> Signed:
    message, raw, time_s = text.encode(), signature.blob, None
    if verifier.key_type == COSIGNATURE:
        time_s, raw = int.from_bytes(raw[:_TIME_BYTES], "big"), raw[_TIME_BYTES:]
        message = _cosigned(message, time_s)
    if len(raw) != SIGNATURE_BYTES or (time_s or 0) > MAX_NUMBER or not verifier.holds(message, raw):
        raise NoteError("A signature that names a known key does not hold: the note was changed or forged.")
    return Signed(verifier, time_s)


def _cosigned(message: bytes, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + message


def _signature(row: str) -> Signature:
    dash, name, encoded = (*row.split(" "), "", "", "")[:3]
    if row.count(" ") != 2 or dash != _DASH.rstrip():
        raise NoteError("A signature line is not of the form: em dash, name, base64, with single spaces.")
    check_name(name)
    data = from_base64(encoded, NoteError, "a signature line")
    if len(data) <= KEY_ID_BYTES:
        raise NoteError("A signature line holds no signature behind its key id.")
    return Signature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _text_bytes(text: object) -> bytes:
    """The UTF-8 of a text that may stand in a note."""
    if not isinstance(text, str) or not text.endswith("\n"):
        raise NoteError("A note or its text does not end in a line feed.")
    if _CONTROL.search(text):
        raise NoteError("A note holds a control character other than the line feed.")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NoteError("A note holds half of a surrogate pair, which is not UTF-8.") from None
