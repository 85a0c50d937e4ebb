"""Tiles after C2SP tlog-tiles: their paths, which of them a tree has, their contents as it grows, and proofs from them.

Called by the sequencer (contents), the API (paths), storage and export, and everything that proves an entry. A tile
is up to 256 consecutive hashes; hash i of tile n on level L is the root over the leaves [(256n + i)·256^L, +256^L). A
proof of a tree of n leaves reads O(log n) tiles and hashes at most 255 times in each.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from noticesvc.errors import LedgerError, ProofError
from noticesvc.ledger.frontier import TILE_HEIGHT, TILE_WIDTH, Frontier
from noticesvc.ledger.merkle import EMPTY_ROOT, HASH_BYTES, _node, _root, consistency_ranges, inclusion_ranges, require_hashes, require_int
from noticesvc.ledger.text import MAX_NUMBER, is_number, is_text

MAX_LEVEL = 63
MAX_TILE_INDEX = MAX_NUMBER >> TILE_HEIGHT

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)
_MAX_PATH = 64

ReadTile = Callable[[int, int], bytes]
"""Gives the hashes, joined, that are there of tile (level, index); more than a proof needs does no harm."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile, or the entry bundle beside a level 0 tile when `level` is None. A `width` below 256 is a partial one.

    Raises LedgerError for numbers that no tile has.
    """

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        level = 0 if self.level is None else self.level
        for number, low, high in ((level, 0, MAX_LEVEL), (self.index, 0, MAX_TILE_INDEX), (self.width, 1, TILE_WIDTH)):
            if not is_number(number, low, high):
                raise LedgerError("No tile has such a level, index or width.")

    @property
    def path(self) -> str:
        """The one canonical path: `tile/<L>/<N>` or `tile/entries/<N>`, with `.p/<W>` behind a partial one."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at:at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{number}{partial}"

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """Reads a path in its one canonical form; raises LedgerError for any other."""
        match = _PATH.fullmatch(path) if is_text(path) and len(path) <= _MAX_PATH else None
        if match:
            kind, number, width = match.groups()
            index = int(number.replace("x", "").replace("/", ""))
            tile = cls(None if kind == "entries" else int(kind), index, TILE_WIDTH if width is None else int(width))
            if tile.path == path:
                return tile
        raise LedgerError("This is not the canonical path of a tile.")

    def within(self, size: int) -> bool:
        """Whether a tree of `size` leaves has all the hashes (or entries) of this tile, so that it may be served."""
        require_int(size, "the size")
        return self.index * TILE_WIDTH + self.width <= size >> TILE_HEIGHT * (self.level or 0)


def tiles_of(size: int, old_size: int = 0) -> Iterator[Tile]:
    """The hash tiles that represent a tree of `size` leaves, full and partial, level by level; with `old_size` only
    those that the tree of that size did not have in the same width. Raises ProofError for impossible sizes.
    """
    require_int(size, "the size")
    require_int(old_size, "the old size")
    if old_size > size:
        raise ProofError("The old size is larger than the new one; a ledger only grows.")
    level = 0
    while count := size >> TILE_HEIGHT * level:
        old_count = old_size >> TILE_HEIGHT * level
        if count > old_count:
            for index in range(old_count // TILE_WIDTH, -(-count // TILE_WIDTH)):
                yield Tile(level, index, min(TILE_WIDTH, count - index * TILE_WIDTH))
        level += 1


def grow_tiles(read_tile: ReadTile, old_size: int, levels: Sequence[Sequence[bytes]]) -> dict[Tile, bytes]:
    """The tiles that change when a tree of `old_size` gets the hashes that `Frontier.extend` returned, with contents.

    `read_tile` is asked only for last tiles that were partial before. Raises ProofError if they are too short.
    """
    grown: dict[Tile, bytes] = {}
    for level, hashes in enumerate(levels):
        index, width = divmod(old_size >> TILE_HEIGHT * level, TILE_WIDTH)
        joined = b"".join(require_hashes(hashes, "the new hashes"))
        if width:
            joined = _hashes(read_tile(level, index), width)[:width * HASH_BYTES] + joined
        step = TILE_WIDTH * HASH_BYTES
        for at in range(0, len(joined), step):
            data = joined[at:at + step]
            grown[Tile(level, index + at // step, len(data) // HASH_BYTES)] = data
    return grown


def build_tiles(leaf_hashes: Sequence[bytes]) -> dict[Tile, bytes]:
    """All hash tiles of the tree over these leaf hashes. Raises ProofError for a hash that is not 32 bytes."""
    return grow_tiles(lambda _level, _index: b"", 0, Frontier().extend(leaf_hashes))


def root_from_tiles(read_tile: ReadTile, size: int) -> bytes:
    """The root of the tree of `size` leaves. Raises ProofError if a tile holds too few hashes."""
    require_int(size, "the size")
    return _Reader(read_tile).root(0, size) if size else EMPTY_ROOT


def inclusion_proof_from_tiles(read_tile: ReadTile, index: int, size: int) -> list[bytes]:
    """The inclusion proof of leaf `index` in the tree of `size` leaves, as merkle gives it. Raises ProofError."""
    reader = _Reader(read_tile)
    return [reader.root(low, high) for low, high in inclusion_ranges(index, size)]


def consistency_proof_from_tiles(read_tile: ReadTile, old_size: int, size: int) -> list[bytes]:
    """The consistency proof between two sizes, as merkle gives it. Raises ProofError."""
    reader = _Reader(read_tile)
    return [reader.root(low, high) for low, high in consistency_ranges(old_size, size)]


def root_tiles(size: int) -> set[tuple[int, int]]:
    """The (level, index) of all tiles that root_from_tiles reads, for callers that must fetch them beforehand."""
    require_int(size, "the size")
    return _needed([(0, size)])


def inclusion_tiles(index: int, size: int) -> set[tuple[int, int]]:
    """The (level, index) of all tiles that inclusion_proof_from_tiles reads. Raises ProofError as that does."""
    return _needed(inclusion_ranges(index, size))


def consistency_tiles(old_size: int, size: int) -> set[tuple[int, int]]:
    """The (level, index) of all tiles that consistency_proof_from_tiles reads. Raises ProofError as that does."""
    return _needed(consistency_ranges(old_size, size))


class _Reader:
    """Reads each tile once and computes the roots of leaf ranges from them."""

    def __init__(self, read_tile: ReadTile) -> None:
        self._read = read_tile
        self._tiles: dict[tuple[int, int], bytes] = {}

    def root(self, low: int, high: int) -> bytes:
        nodes = [self._perfect(height, position) for height, position in _perfect_nodes(low, high)]
        node = nodes.pop()
        while nodes:
            node = _node(nodes.pop(), node)
        return node

    def _perfect(self, height: int, position: int) -> bytes:
        level, index, first, count = _place(height, position)
        if (level, index) not in self._tiles:
            self._tiles[level, index] = self._read(level, index)
        data = _hashes(self._tiles[level, index], first + count)
        return _root([data[at * HASH_BYTES:(at + 1) * HASH_BYTES] for at in range(first, first + count)])


def _place(height: int, position: int) -> tuple[int, int, int, int]:
    """Level and index of the tile below the perfect node, and the first and number of its hashes that it covers."""
    level, above = divmod(height, TILE_HEIGHT)
    index, first = divmod(position << above, TILE_WIDTH)
    return level, index, first, 1 << above


def _perfect_nodes(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The (height, position) of the perfect subtrees that make up an aligned range of leaves, the largest first."""
    while low < high:
        height = (high - low).bit_length() - 1
        yield height, low >> height
        low += 1 << height


def _needed(ranges: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    return {_place(height, position)[:2] for low, high in ranges for height, position in _perfect_nodes(low, high)}


def _hashes(data: object, count: int) -> bytes:
    if not isinstance(data, bytes) or len(data) % HASH_BYTES or not count * HASH_BYTES <= len(data) <= 256 * HASH_BYTES:
        raise ProofError("A tile is missing or holds too few hashes for this tree size; audit the ledger.")
    return data
