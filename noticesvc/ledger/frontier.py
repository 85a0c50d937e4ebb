"""The right edge of a growing Merkle tree: all that appending needs, in O(log n) memory (a compact range).

Called by the sequencer to compute roots and tile hashes batch by batch, and by audits that recompute a whole ledger.
A tree of n leaves is a row of perfect subtrees, one for each bit set in n, the largest first; their roots are the
frontier. Appending merges equal neighbours, so it costs O(1) amortised. Trees after RFC 6962 section 2.1.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Self

from noticesvc.errors import ProofError
from noticesvc.ledger.merkle import EMPTY_ROOT, _node, require_hash, require_hashes, require_int

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT


class Frontier:
    """The roots of the perfect subtrees of a tree of `size` leaves, largest first. Changes in place as it grows."""

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        require_int(size, "the size")
        checked = require_hashes(hashes, "the frontier")
        if len(checked) != size.bit_count():
            raise ProofError("The frontier has the wrong number of hashes for its size; rebuild it from the tiles.")
        self._size = size
        self._hashes = list(checked)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def hashes(self) -> list[bytes]:
        """The subtree roots, largest first, for storing; `Frontier(size, hashes)` reads them again."""
        return list(self._hashes)

    def root(self) -> bytes:
        """The root of the whole tree, SHA-256("") while it is empty. Costs O(log n)."""
        if not self._hashes:
            return EMPTY_ROOT
        node = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            node = _node(left, node)
        return node

    def append(self, leaf_hash: bytes) -> list[bytes]:
        """Adds one leaf and returns the hash that it completes on each tile level, from level 0 upwards.

        The first item is the leaf hash itself; a second one is there when 256 leaves are full, and so on: item L is the
        next hash of tile level L (C2SP tlog-tiles). Raises ProofError if the hash is not 32 bytes.
        """
        require_hash(leaf_hash, "the leaf hash")
        return self._append(leaf_hash)

    def extend(self, leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
        """Adds leaves and returns, for each tile level from 0 upwards, the hashes completed there, in order.

        Adds nothing and raises ProofError if one of the hashes is not 32 bytes.
        """
        levels: list[list[bytes]] = []
        hashes = require_hashes(leaf_hashes, "the leaf hashes")
        at, end = 0, len(hashes)
        while at < end:
            if self._size % TILE_WIDTH == 0 and end - at >= TILE_WIDTH:  # a whole tile, level by level: half the time
                whole = hashes[at:at + TILE_WIDTH]
                _extend(levels, 0, whole)
                for level, completed in enumerate(self._append(_perfect(whole), TILE_HEIGHT), 1):
                    _extend(levels, level, (completed,))
                at += TILE_WIDTH
            else:
                for level, completed in enumerate(self._append(hashes[at])):
                    _extend(levels, level, (completed,))
                at += 1
        return levels

    def copy(self) -> Self:
        """An independent frontier of the same tree, so that a transaction that fails leaves the original as it was."""
        return type(self)(self._size, self._hashes)

    def _append(self, node: bytes, height: int = 0) -> list[bytes]:
        """Add a perfect subtree of this height, which divides the size; the hashes completed on its tile level and those above."""
        completed = [node]
        carry, self._size = self._size >> height, self._size + (1 << height)
        while carry & 1:
            node = _node(self._hashes.pop(), node)
            carry >>= 1
            height += 1
            if height % TILE_HEIGHT == 0:
                completed.append(node)
        self._hashes.append(node)
        return completed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frontier) and (self._size, self._hashes) == (other._size, other._hashes)

    __hash__ = None  # type: ignore[assignment]  # it changes in place


def _perfect(row: Sequence[bytes]) -> bytes:
    """The root over a row of hashes whose number is a power of two."""
    while len(row) > 1:
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def _extend(levels: list[list[bytes]], level: int, completed: Sequence[bytes]) -> None:
    if level == len(levels):
        levels.append([])
    levels[level].extend(completed)
