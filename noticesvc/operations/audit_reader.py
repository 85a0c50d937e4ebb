"""Reads entries of a log quickly, exactly as ledger.entry.decode reads them.

Called by the audit, which reads millions. Plain ASCII without escapes has one spelling with sorted names, which is what RFC 8785
demands; so decoding and encoding again shows whether it is canonical. Whatever this cannot tell at once goes the slow way.
"""

from typing import Annotated, Any

import msgspec

from noticesvc.ledger import entry as ledger_entry
from noticesvc.ledger.canonical import MAX_INT

# Values without fractions, of numbers that JSON readers keep, and not deeply nested; all others are left to the slow reader.
_Plain = Annotated[int, msgspec.Meta(ge=-MAX_INT, le=MAX_INT)] | str | bool | None
_Nested = _Plain | list[_Plain] | dict[str, _Plain]
_Deeper = _Plain | list[_Nested] | dict[str, _Nested]
Value = _Plain | list[_Deeper] | dict[str, _Deeper]

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, Value]).decode


def read(data: bytes) -> dict[str, Any]:
    """The members of an entry. Raises EntryError as ledger.entry.decode does."""
    if data.isascii() and b"\\" not in data and len(data) <= ledger_entry.MAX_ENTRY_BYTES:
        try:
            found: dict[str, Any] = _decode(data)
        except (msgspec.DecodeError, RecursionError):
            return ledger_entry.decode(data)
        if found.get("v") == 1 and type(found["v"]) is int and _is_word(found.get("type")) and _is_word(found.get("at")) \
                and _encode(found) == data:
            return found
    return ledger_entry.decode(data)


def _is_word(value: object) -> bool:
    return type(value) is str and value != ""
