"""Bundles and waiting entries as rows keep them: whoever reads gets back what was stored, or is told that it was damaged."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import LedgerMismatch
from noticesvc.storage.bundle import deflate, inflate, pack, split, unpack


@given(st.binary(min_size=1, max_size=4000), st.integers(1, 80))
def test_a_stored_bundle_is_a_zlib_stream_of_it(entry, times):
    """Both by our reading and by zlib's own."""
    data = entry * times
    assert inflate(deflate(data)) == data
    assert zlib.decompress(deflate(data)) == data


@given(st.binary(min_size=20, max_size=400), st.data())
def test_a_stored_bundle_that_was_cut_or_lengthened_is_refused(entry, chosen):
    """Whatever is missing at its end, or follows it."""
    stored = deflate(entry)
    with pytest.raises(LedgerMismatch):
        inflate(stored[:chosen.draw(st.integers(0, len(stored) - 1))])
    with pytest.raises(LedgerMismatch):
        inflate(stored + b"\x00")


ENTRIES = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=40)


@given(ENTRIES, st.integers(1, 30))
def test_entries_that_wait_are_read_as_they_were_packed(entries, times):
    """Few of them plainly, many deflated; and a row that an earlier version wrote plainly, however long."""
    entries = entries * times
    framed = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    packed = pack(entries)
    assert split(unpack(packed)) == entries
    assert split(unpack(framed)) == entries
    assert len(packed) <= len(framed) + 64


def test_many_entries_alike_wait_in_a_tenth_of_their_bytes():
    """What the database is to be spared."""
    entries = [b'{"at":"2026-11-28T00:00:00.000000Z","n":%d,"type":"notice.accepted"}' % n for n in range(1000)]
    assert 10 * len(pack(entries)) < sum(map(len, entries))


@given(st.lists(st.binary(min_size=100, max_size=300), min_size=21, max_size=40), st.data())
def test_deflated_entries_that_were_damaged_are_refused(entries, chosen):
    """Cut short, lengthened, with a byte that differs, or with another length than they have."""
    packed = pack(entries)
    cut = packed[:chosen.draw(st.integers(2, len(packed) - 1))]
    at = chosen.draw(st.integers(2, len(packed) - 1))
    changed = packed[:at] + bytes([packed[at] ^ chosen.draw(st.integers(1, 255))]) + packed[at + 1:]
    for damaged in (cut, packed + b"\0", changed):
        with pytest.raises(LedgerMismatch):
            split(unpack(damaged))


@pytest.mark.parametrize("size", [0, 1000, (1 << 28) + 1, (1 << 32) - 1])
def test_a_row_that_would_become_more_than_it_says_is_refused(size):
    """Ten kilobytes that would become ten megabytes, whatever they say."""
    with pytest.raises(LedgerMismatch):
        unpack(b"\0\0" + size.to_bytes(4, "big") + zlib.compress(bytes(10_000_000)))
