"""Bundles that are filled with entries coming some at a time: of all of them only the last bundle and the newest come uncompressed.

Called by operations.sequence. Bundles are C2SP tlog-tiles entry bundles, leaves those of RFC 6962.
"""

from hashlib import sha256

from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.storage import bundle


class Filling:
    """The end of a ledger of `size` entries, whose last bundle has the entries `last`, framed, if it is not full."""

    def __init__(self, size: int, last: bytes) -> None:
        self.size = size
        self.leaves: list[bytes] = []
        """The hash of each entry that was added."""
        self._full: dict[int, bytes] = {}
        self._last = bytearray(last)  # grows in place: rows may be many and small

    def add(self, framed: bytes) -> None:
        """Append framed entries, however many. Raises LedgerMismatch if they are cut short."""
        ends = bundle.ends(framed)
        self.leaves += [sha256(b"\x00" + framed[start + 2:end]).digest() for start, end in zip((0, *ends), ends)]  # noqa: B905
        at = done = 0
        while len(ends) - done >= (room := BUNDLE_ENTRIES - self.size % BUNDLE_ENTRIES):
            done += room
            self._last += framed[at:ends[done - 1]]
            self._full[self.size // BUNDLE_ENTRIES] = bundle.deflate(bytes(self._last))
            self._last.clear()
            self.size, at = self.size + room, ends[done - 1]
        self._last += framed[at:]
        self.size += len(ends) - done

    def stored(self) -> dict[int, bytes]:
        """Every bundle that changed, by number, as its row keeps it."""
        return self._full | ({self.size // BUNDLE_ENTRIES: bundle.deflate(bytes(self._last))} if self._last else {})
