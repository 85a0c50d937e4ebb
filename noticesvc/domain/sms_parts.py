"""How many parts a short message takes, and where it is cut.

Called by the SMS providers (through noticesvc.provider): to report `Submission.parts`, and by those that must cut a long message
themselves; and by whoever tells beforehand what a broadcast costs.
3GPP TS 23.038 §6.2.1 (GSM 7 bit default alphabet and its extension table, an extended character taking two septets)
and §6.2.3 (UCS-2, sent as UTF-16BE by phones of this century); 3GPP TS 23.040 §9.2.3.24.1 for concatenation: a single
message holds 140 octets, a part of several 134, since its user data header takes six.
"""

from dataclasses import dataclass
from typing import Literal
from zlib import crc32

MAX_PARTS = 255
"""The concatenation header counts parts in one octet (3GPP TS 23.040 §9.2.3.24.1)."""

SINGLE_SEPTETS, PART_SEPTETS = 160, 153
SINGLE_UNITS, PART_UNITS = 70, 67

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")

Alphabet = Literal["gsm7", "ucs2"]


class TooManyParts(ValueError):
    """The text is longer than 255 parts can carry; shorten it."""


@dataclass(frozen=True, slots=True)
class SplitText:
    """A text cut into what fits one short message each; `"".join(parts)` is the text."""

    alphabet: Alphabet
    parts: tuple[str, ...]


def alphabet_of(text: str) -> Alphabet:
    """Return the alphabet that can carry the whole text: GSM 7 bit where every character is in it, else UCS-2."""
    return "gsm7" if all(c in _BASIC or c in _EXTENDED for c in text) else "ucs2"


def width(character: str, alphabet: Alphabet) -> int:
    """Return how many septets (gsm7) or UTF-16 code units (ucs2) one character takes: one or two."""
    if alphabet == "gsm7":
        return 2 if character in _EXTENDED else 1
    return 2 if ord(character) > 0xFFFF else 1


def split(text: str) -> SplitText:
    """Cut a text into parts without parting an escape sequence or a surrogate pair; the empty text is one part.

    Raises TooManyParts beyond 255 parts.
    """
    alphabet = alphabet_of(text)
    single, limit = (SINGLE_SEPTETS, PART_SEPTETS) if alphabet == "gsm7" else (SINGLE_UNITS, PART_UNITS)
    if sum(width(c, alphabet) for c in text) <= single:
        return SplitText(alphabet, (text,))
    parts: list[str] = []
    start = used = 0
    for position, character in enumerate(text):
        more = width(character, alphabet)
        if used + more > limit:
            parts.append(text[start:position])
            start, used = position, 0
        used += more
    parts.append(text[start:])
    if len(parts) > MAX_PARTS:
        message = f"The text needs {len(parts)} short messages, and at most {MAX_PARTS} can be joined; shorten it."
        raise TooManyParts(message)
    return SplitText(alphabet, tuple(parts))


def count_parts(text: str) -> int:
    """Return the number of short messages the text takes. Raises TooManyParts beyond 255."""
    return len(split(text).parts)


def concatenation_header(reference: str, part: int, parts: int) -> bytes:
    """Return the user data header of part `part` (from 1) of `parts` (3GPP TS 23.040 §9.2.3.24.1, 8-bit reference).

    The reference number is drawn from our own reference, so that all parts of one attempt share it.
    """
    return bytes((5, 0, 3, crc32(reference.encode()) & 0xFF, parts, part))
