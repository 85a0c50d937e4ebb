"""A log in pages, each with all that the walk over it compares: bundles, hash tiles, signed checkpoints.

Made by operations.audit where the log is read, and given to audit_tree, which may be in another process.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.ledger.frontier import TILE_HEIGHT, TILE_WIDTH
from noticesvc.ledger.tile import tiles_of

BUNDLES = 32  # of a page
CLAIMS = 1_000  # of a page


class Source(Protocol):
    """Where a log is read from."""

    def bundles(self, numbers: Sequence[int], size: int) -> Mapping[int, bytes]:
        """Entry bundles by number, as they are kept; those that are missing are left out."""

    def tiles(self, places: Sequence[tuple[int, int]], size: int) -> Mapping[tuple[int, int], bytes]:
        """Hash tiles by level and number; those that are missing are left out."""


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """A signed checkpoint by what it says, and what to call it."""

    size: int
    root: bytes
    name: str


class Page(msgspec.Struct, array_like=True, frozen=True):
    """Bundles that follow each other from `first` on, null where one is missing, with their level 0 tiles; those upper tiles that
    are complete at the end of the page, in the last page the others too; and the claims up to that end, in order of size.
    """

    first: int
    bundles: list[bytes | None]
    tiles: list[bytes | None]
    upper: list[tuple[int, int, bytes]]
    claims: list[Claim]


def pages(source: Source, size: int, claims: Iterable[Claim], *, bundled: bool = True) -> Iterator[Page]:
    """The whole log of `size` entries; claims beyond it come last, in pages without bundles. Without `bundled` no bundle is read."""
    waiting = iter(claims)
    claim = next(waiting, None)
    count = -(-size // BUNDLE_ENTRIES)
    for first in range(0, count, BUNDLES):
        numbers = range(first, min(first + BUNDLES, count))
        end = min(numbers[-1] * BUNDLE_ENTRIES + BUNDLE_ENTRIES, size)
        due = []
        while claim is not None and claim.size <= end:
            due.append(claim)
            claim = next(waiting, None)
        bundles = source.bundles(numbers, size) if bundled else {}
        tiles = source.tiles([(0, n) for n in numbers], size)
        places = [(tile.level, tile.index) for tile in tiles_of(end, first * BUNDLE_ENTRIES) if tile.level and tile.width == TILE_WIDTH]
        if end == size:
            places += _partial(size)
        upper = source.tiles(places, size) if places else {}
        yield Page(first, [bundles.get(n) for n in numbers], [tiles.get((0, n)) for n in numbers],
                   [(level, n, data) for (level, n), data in upper.items()], due)
    while claim is not None:
        due = []
        while claim is not None and len(due) < CLAIMS:
            due.append(claim)
            claim = next(waiting, None)
        yield Page(count, [], [], [], due)


def _partial(size: int) -> Iterator[tuple[int, int]]:
    """The last tiles of the upper levels, where they are not full."""
    level = 1
    while count := size >> TILE_HEIGHT * level:
        index, width = divmod(count, TILE_WIDTH)
        if width:
            yield level, index
        level += 1
