"""Entries as rows keep them: bundles through zlib, and any number of them that wait, through zlib where they are many.

Called by storage.ledger and by the audit's second process, which knows no database.
"""

from collections.abc import Sequence

from isal import isal_zlib

from noticesvc.errors import LedgerMismatch
from noticesvc.ledger.entry import BUNDLE_ENTRIES, MAX_ENTRY_BYTES

_LARGEST_BUNDLE = BUNDLE_ENTRIES * (MAX_ENTRY_BYTES + 2)
_DEFLATED = b"\0\0"  # framed entries cannot begin with it, since none is empty
_SHORT = 2000  # bytes: about what PostgreSQL keeps in the row itself; less is not worth deflating
_LONG = 1 << 26  # bytes: more is never deflated, so that nothing that says so is ever inflated


def deflate(data: bytes) -> bytes:
    """A bundle as it is stored: a zlib stream (RFC 1950), whoever made it."""
    return isal_zlib.compress(data, 1)  # a sixth of the time that zlib takes for it


def inflate(stored: bytes) -> bytes:
    """The bundle in a stored row. Raises LedgerMismatch if it is no zlib stream, or one of more than any bundle's size."""
    data = _inflated(stored, _LARGEST_BUNDLE)
    if not data:
        raise LedgerMismatch("An entry bundle cannot be read: its row was damaged. Run `noticesvc ledger audit`, restore it from a copy.")
    return data


def pack(entries: Sequence[bytes]) -> bytes:
    """Entries that wait for an index, as a row keeps them: framed as in a bundle (C2SP tlog-tiles) but however many, and deflated
    where that makes less for the database to write: entries of one transaction have much in common.
    """
    framed = b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])
    if not _SHORT <= len(framed) <= _LONG:
        return framed
    return b"".join((_DEFLATED, len(framed).to_bytes(4, "big"), deflate(framed)))


def unpack(stored: bytes) -> bytes:
    """The framed entries that `pack` made this of. Raises LedgerMismatch if they cannot be read."""
    if not stored.startswith(_DEFLATED):
        return stored
    size = int.from_bytes(stored[2:6], "big")
    framed = _inflated(stored[6:], size + 1) if size <= _LONG else b""
    if not framed or len(framed) != size:
        raise LedgerMismatch("Entries that wait cannot be read: a row was damaged. Run `noticesvc ledger audit`, restore it from a copy.")
    return framed


def split(framed: bytes) -> list[bytes]:
    """Entries out of any number of length-prefixed ones, prefixes removed. Raises LedgerMismatch if cut short."""
    found = ends(framed)
    return [framed[start + 2:end] for start, end in zip((0, *found), found)]  # noqa: B905  # the last end begins nothing


def ends(framed: bytes) -> list[int]:
    """Where each of any number of length-prefixed entries ends. Raises LedgerMismatch if the last one is cut short."""
    found: list[int] = []
    at, end = 0, len(framed)
    while at < end:
        start = at + 2
        at = start + (framed[at] << 8 | framed[start - 1] if start <= end else BUNDLE_ENTRIES * end)
        found.append(at)
    if at != end:
        raise LedgerMismatch("Stored entries are cut short: a row was damaged. Run `noticesvc ledger audit`, restore it from a copy.")
    return found


def _inflated(data: bytes, limit: int) -> bytes:
    """What a whole zlib stream holds; nothing if it is none, or one of more than `limit` bytes."""
    stream = isal_zlib.decompressobj()
    try:
        found = stream.decompress(data, limit)
    except isal_zlib.IsalError:  # type: ignore[misc]  # its stub declares an instance
        return b""
    return found if stream.eof and not stream.unused_data else b""
