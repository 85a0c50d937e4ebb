"""What a provider read in a receipt, held to the vocabulary and to what can be stored, whatever its plug-in made of hostile bytes.

Called by operations.receipts. Nothing is dropped: a kind that does not exist, or of a part that cannot be, is `unmapped`, and the
raw bytes are kept anyway.
"""

from dataclasses import replace

from noticesvc.domain import instant
from noticesvc.domain.evidence import KINDS
from noticesvc.provider import Receipt

_MOST_PARTS = 255  # a concatenated SMS counts its parts in one octet (3GPP TS 23.040, 9.2.3.24.1)
_LONGEST = 4096
_OURS = frozenset({"intended", "no_receipt", "rebutted", "unknown", "displayed", "link_fetched"})  # no provider's to say


def plausible(receipt: Receipt) -> Receipt:
    """The receipt with what cannot be left out."""
    part = _number(receipt.part)
    known = receipt.kind in KINDS - _OURS and (receipt.part is None) is (part is None)  # without its part it would speak for all of them
    return replace(
        receipt,
        kind=receipt.kind if known else "unmapped",
        reference=_text(receipt.reference),
        provider_reference=_text(receipt.provider_reference),
        claimed_time_raw=_text(receipt.claimed_time_raw),
        claimed_at=_instant(receipt.claimed_at),
        part=part,
        parts=_number(receipt.parts),
        source=receipt.source if receipt.source.isascii() and receipt.source.replace("-", "").isalnum() and len(receipt.source) <= 64
        else "gateway",
    )


def _number(value: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_PARTS else None


def _text(value: str | None) -> str | None:
    """Text that UTF-8 can write; half a surrogate pair becomes a question mark."""
    return None if value is None else value[:_LONGEST].encode("utf-8", "replace").decode()


def _instant(value: str | None) -> str | None:
    """The claim in our own spelling, which may stand open in an entry; null for one that cannot be read."""
    if value is None:
        return None
    try:
        found = instant.parse(value)
    except ValueError:
        return None
    return None if found.year > 9998 else instant.text(found)
