"""The pages of a log hold every tile and every claim exactly where the walk over it needs them."""

import pytest

from noticesvc.ledger.tile import tiles_of
from noticesvc.operations.audit_pages import Claim, pages


class Numbers:
    """A log whose bundles and tiles are their own names."""

    def bundles(self, numbers, size):
        return dict.fromkeys(numbers, b"bundle")

    def tiles(self, places, size):
        return dict.fromkeys(places, b"tile")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 8192, 65_535, 65_536, 65_537, 8192 * 9 + 5, 256**2 * 3, 256**2 * 3 + 256])
def test_pages_hold_every_tile_once_and_claims_before_they_are_passed(size):
    """Over all pages: each bundle and tile of the tree, and each claim in the page that reaches it, those beyond the log at the end."""
    claims = [Claim(at, b"", "") for at in sorted({0, 1, 256, 8192, 8193, 70_000, size, size + 1, size + 5_000})]
    made = list(pages(Numbers(), size, claims))
    held = [(0, page.first + n) for page in made for n, tile in enumerate(page.tiles) if tile]
    held += [(level, n) for page in made for level, n, _ in page.upper]
    assert sorted(held) == sorted((tile.level, tile.index) for tile in tiles_of(size))
    assert [claim for page in made for claim in page.claims] == claims
    done = 0
    for page in made:
        done = min(size, (page.first + len(page.bundles)) * 256)
        assert all(claim.size <= done for claim in page.claims) or done == size
    assert done == size
