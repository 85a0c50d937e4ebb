"""Bundles filled some entries at a time are those of all entries at once, and nothing else counts."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import LedgerMismatch
from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.ledger.merkle import leaf_hash
from noticesvc.storage.filling import Filling


def _framed(entries):
    return b"".join(len(one).to_bytes(2, "big") + one for one in entries)


@given(st.integers(0, 3 * BUNDLE_ENTRIES), st.lists(st.integers(1, 2 * BUNDLE_ENTRIES + 3), max_size=6), st.integers(1, 40))
def test_bundles_are_the_same_however_their_entries_come(there, numbers, length):
    """Bytes of every bundle, hash of every entry, and the size in between."""
    entries = [number.to_bytes(2, "big") * length for number in range(there + sum(numbers))]
    first = there - there % BUNDLE_ENTRIES
    filling, at = Filling(there, _framed(entries[first:there])), there
    for number in numbers:
        assert filling.size == at
        filling.add(_framed(entries[at:at + number]))
        at += number
    assert filling.size == len(entries)
    assert filling.leaves == [leaf_hash(one) for one in entries[there:]]
    bundles = {start // BUNDLE_ENTRIES: _framed(entries[start:start + BUNDLE_ENTRIES])
               for start in range(first, len(entries), BUNDLE_ENTRIES)}
    assert {n: zlib.decompress(data) for n, data in filling.stored().items()} == bundles


@pytest.mark.parametrize("cut", [b"\0", b"\0\5abc", b"\0\1a\0"])
def test_entries_that_are_cut_short_are_refused(cut):
    """In the length, in the entry, and behind a whole one."""
    with pytest.raises(LedgerMismatch):
        Filling(0, b"").add(cut)
