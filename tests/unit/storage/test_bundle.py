"""Bundles as rows keep them: any reader of zlib streams gets back what was stored."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import LedgerMismatch
from noticesvc.storage.bundle import deflate, inflate


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
