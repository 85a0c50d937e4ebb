"""Tile paths, contents and proofs, against the examples of C2SP tlog-tiles and the tree computed whole."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noticesvc.errors import LedgerError, ProofError
from noticesvc.ledger.frontier import Frontier
from noticesvc.ledger.merkle import consistency_proof, inclusion_proof, root_hash
from noticesvc.ledger.tile import (
    Tile,
    build_tiles,
    consistency_proof_from_tiles,
    consistency_tiles,
    grow_tiles,
    inclusion_proof_from_tiles,
    inclusion_tiles,
    root_from_tiles,
    root_tiles,
    tiles_of,
)

LEAVES = [sha256(b"%d" % number).digest() for number in range(66_000)]
READ_WHOLE = {(tile.level, tile.index): data for tile, data in build_tiles(LEAVES).items()}


def reader(tiles):
    by_place = {(tile.level, tile.index): data for tile, data in tiles.items()}
    return lambda level, index: by_place[level, index]


@pytest.mark.parametrize(("tile", "path"), [
    (Tile(0, 0), "tile/0/000"),
    (Tile(0, 1234067), "tile/0/x001/x234/067"),  # the specification's own example
    (Tile(2, 999), "tile/2/999"),
    (Tile(2, 1000), "tile/2/x001/000"),
    (Tile(63, 5, 1), "tile/63/005.p/1"),
    (Tile(None, 1234067, 255), "tile/entries/x001/x234/067.p/255"),
    (Tile(None, 7), "tile/entries/007"),
])
def test_paths(tile, path):
    """A tile has one path, and the path gives the tile back."""
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize("path", [
    "", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/001", "tile/0/001/002",
    "tile/0/x001", "tile/0/x001/x002", "tile/00/001", "tile/01/001", "tile/64/001", "tile/-1/001", "tile/+1/001",
    "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/01", "tile/0/001.p/", "tile/0/001.p", "tile/0/001.p/1/",
    "/tile/0/001", "tile/0/001/", "tile//0/001", "tile/0/001\n", "tile/0/001?x", "tile/entries/1", "tile/Entries/001",
    "tile/0/X001/002", "tile/٠/001", "tile/0/٠٠١", "tile/0/../0/001", "tile/0/001%2Ep/1", "tile/0/001.p/\u00b9",
    "tile/0/" + "x999/" * 20 + "999", "tile/0/x999/x999/x999/x999/x999/x999/999", None, b"tile/0/001", 5,
])
def test_other_paths_are_refused(path):
    """Whatever is not the one canonical path of a possible tile is refused."""
    with pytest.raises(LedgerError):
        Tile.parse(path)


@given(st.none() | st.integers(0, 63), st.integers(0, 2**55 - 1), st.integers(1, 256))
def test_paths_round_trip(level, index, width):
    """Every possible tile is found again from its path."""
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize("numbers", [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**55, 1), (0, 0, 0), (0, 0, 257),
                                     (True, 0, 1), (0, False, 1), (0, 0, True), ("0", 0, 1), (0, None, 1)])
def test_impossible_tiles(numbers):
    """Levels, indexes and widths that no tile has are refused."""
    with pytest.raises(LedgerError):
        Tile(*numbers)


def test_tiles_of_the_specifications_examples():
    """A tree of 70,000 has 273 full tiles and one of 112, one full and one of 17, one of 1; 256 has two tiles."""
    tiles = list(tiles_of(70_000))
    assert [tile for tile in tiles if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert [tile for tile in tiles if tile.width == 256] == [*(Tile(0, index) for index in range(273)), Tile(1, 0)]
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_new_tiles_are_the_difference(first, more):
    """The tiles new since an older size are exactly those that the older tree did not have."""
    assert set(tiles_of(first + more, first)) == set(tiles_of(first + more)) - set(tiles_of(first))


@given(st.integers(0, 200_000), st.integers(0, 3), st.integers(0, 800), st.integers(1, 256))
def test_what_is_within_a_tree(size, level, index, width):
    """A tile is within a tree exactly if the last leaf under its last hash is (the specification's start indexes)."""
    assert Tile(level, index, width).within(size) == ((index * 256 + width) * 256**level <= size)
    assert Tile(None, index, width).within(size) == (index * 256 + width <= size)


def test_contents():
    """Level 0 holds the leaves, level 1 the roots over full tiles below; partial tiles do not rise."""
    tiles = build_tiles(LEAVES[:70_000 % 66_000 + 512])  # 4,512 = 17 · 256 + 160
    assert tiles[Tile(0, 3)] == b"".join(LEAVES[768:1024])
    assert tiles[Tile(0, 17, 160)] == b"".join(LEAVES[4352:4512])
    assert tiles[Tile(1, 0, 17)] == b"".join(root_hash(LEAVES[at * 256:(at + 1) * 256]) for at in range(17))
    assert set(tiles) == set(tiles_of(4512))


@given(st.lists(st.integers(0, 700), max_size=6))
def test_growing_in_batches(batches):
    """Tiles grown batch by batch, each from what the batch before stored, are those of the tree built at once."""
    frontier, stored, size = Frontier(), {}, 0
    for batch in batches:
        new = grow_tiles(reader(stored), size, frontier.extend(LEAVES[size:size + batch]))
        assert set(new) == set(tiles_of(size + batch, size))
        stored |= new
        size += batch
    whole = build_tiles(LEAVES[:size])
    assert {tile: stored[tile] for tile in whole} == whole


def test_proofs_of_small_trees():
    """For every size up to 40, with tiles of just that size, roots and all proofs equal those over the leaves."""
    for size in range(1, 41):
        leaves = LEAVES[:size]
        read = reader(build_tiles(leaves))
        assert root_from_tiles(read, size) == root_hash(leaves)
        for number in range(size):
            assert inclusion_proof_from_tiles(read, number, size) == inclusion_proof(leaves, number)
            assert consistency_proof_from_tiles(read, number + 1, size) == consistency_proof(leaves, number + 1)


@settings(max_examples=20)  # the whole tree is computed three times for each; every small size is in the test above
@given(st.integers(1, 2000) | st.integers(65_300, 66_000), st.data())
def test_proofs_of_larger_trees(size, data):
    """Proofs for any size come from the tiles of a larger tree too, and read no tile but those announced."""
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    read = set()

    def read_tile(level, number):
        assert (level, number) not in read, "a tile was read twice"
        read.add((level, number))
        return READ_WHOLE[level, number]

    assert inclusion_proof_from_tiles(read_tile, index, size) == inclusion_proof(LEAVES[:size], index)
    assert read == inclusion_tiles(index, size)
    assert len(read) <= 6  # two a level, three levels
    read.clear()
    assert consistency_proof_from_tiles(read_tile, old, size) == consistency_proof(LEAVES[:size], old)
    assert read == consistency_tiles(old, size)
    assert len(read) <= 6
    read.clear()
    assert root_from_tiles(read_tile, size) == root_hash(LEAVES[:size])
    assert read == root_tiles(size)


def test_impossible_proofs():
    """Sizes and indexes that cannot be are refused as by merkle; the empty tree has the empty root."""
    read = reader(build_tiles(LEAVES[:5]))
    for call in (lambda: inclusion_proof_from_tiles(read, 5, 5), lambda: inclusion_proof_from_tiles(read, True, 5),
                 lambda: consistency_proof_from_tiles(read, 0, 5), lambda: consistency_proof_from_tiles(read, 6, 5),
                 lambda: root_from_tiles(read, -1), lambda: list(tiles_of(3, 4)), lambda: Tile(0, 0).within(None)):
        with pytest.raises(ProofError):
            call()
    assert root_from_tiles(read, 0) == sha256(b"").digest()


@pytest.mark.parametrize("data", [b"", b"x" * 32, b"x" * 33, b"x" * 63, b"x" * 32 * 257, None, "x" * 96])
def test_damaged_tiles(data):
    """A tile that is too short for the tree, too long, or no whole number of hashes is refused."""
    with pytest.raises(ProofError):
        root_from_tiles(lambda _level, _index: data, 3)
    with pytest.raises(ProofError):
        grow_tiles(lambda _level, _index: data, 3, [[LEAVES[0]]])
