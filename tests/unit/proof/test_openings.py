"""Openings as bytes and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.proof.openings import Opening, head, only, pack, unpack

OPENINGS = st.dictionaries(st.from_regex(r"[a-z_]{1,40}", fullmatch=True), st.builds(
    Opening, st.binary(min_size=32, max_size=32), st.binary(max_size=300)), max_size=6)


@given(OPENINGS)
def test_openings_come_back(found):
    """Names, salts and values, in their order."""
    assert list(unpack(pack(found)).items()) == list(found.items())


@given(OPENINGS, st.from_regex(r"[a-z_]{1,40}", fullmatch=True))
def test_the_only_opening_is_read_or_refused(found, name):
    """It is there under its name and alone, or nothing is answered."""
    if list(found) == [name]:
        assert only(pack(found), head(name)) == found[name].value
    else:
        with pytest.raises(ValueError, match="something else"):
            only(pack(found), head(name))
    for one, opening in found.items():
        assert only(pack({one: opening}), head(one)) == opening.value
