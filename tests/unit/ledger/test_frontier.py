"""The growing edge of a tree against trees computed whole."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import ProofError
from noticesvc.ledger.frontier import Frontier
from noticesvc.ledger.merkle import root_hash


def leaves(count):
    return [sha256(b"%d" % number).digest() for number in range(count)]


def test_roots_at_every_size():
    """After each append the root is that of the tree computed whole, from the empty one to 600 leaves."""
    hashes = leaves(600)
    frontier = Frontier()
    assert frontier.root() == sha256(b"").digest()
    for size, leaf in enumerate(hashes, 1):
        frontier.append(leaf)
        assert frontier.size == size
        assert frontier.root() == root_hash(hashes[:size])


def test_completed_tile_hashes():
    """A leaf completes a hash of level 1 exactly when 256 leaves are full, and one of level 2 at 65,536."""
    hashes = leaves(65_536)
    levels = Frontier().extend(hashes)
    assert levels[0] == hashes
    assert levels[1] == [root_hash(hashes[at:at + 256]) for at in range(0, 65_536, 256)]
    assert levels[2] == [root_hash(hashes)]
    assert len(levels) == 3


@given(st.integers(0, 700), st.integers(0, 700))
def test_storing_and_growing_in_parts(first, second):
    """A frontier that was stored and read again grows as if it had never been away, and a copy grows alone."""
    hashes = leaves(first + second)
    frontier = Frontier()
    frontier.extend(hashes[:first])
    again = Frontier(frontier.size, frontier.hashes)
    copy = again.copy()
    assert again == frontier
    again.extend(hashes[first:])
    assert again.root() == root_hash(hashes)
    assert copy == frontier


@pytest.mark.parametrize(("size", "hashes"), [(0, leaves(1)), (1, []), (3, leaves(1)), (4, leaves(2)), (-1, []),
                                              (True, leaves(1)), (1, [b"short"]), (1, None)])
def test_what_is_no_frontier(size, hashes):
    """A stored frontier whose hashes cannot belong to its size is refused."""
    with pytest.raises(ProofError):
        Frontier(size, hashes)


def test_a_bad_batch_adds_nothing():
    """One malformed hash in a batch leaves the tree as it was."""
    frontier = Frontier()
    with pytest.raises(ProofError):
        frontier.extend([*leaves(2), b"short"])
    with pytest.raises(ProofError):
        frontier.append("x" * 32)
    assert frontier == Frontier()
