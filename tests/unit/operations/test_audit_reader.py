"""The audit's quick reader takes exactly what the ledger's own reader takes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import EntryError
from noticesvc.ledger import entry
from noticesvc.operations.audit_reader import read

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | TEXTS,
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6)


def judged(reader, data):
    """What a reader makes of bytes: the members, or the word refused."""
    try:
        return reader(data)
    except EntryError:
        return "refused"


@given(st.dictionaries(TEXTS, VALUES, max_size=6))
def test_every_entry_that_can_be_written_is_read_the_same(members):
    """For entries that encode, and all whose values cannot stand in one, both readers agree."""
    data = json.dumps({"v": 1, "type": "x", "at": "y", **members}, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert judged(read, data) == judged(entry.decode, data)


@pytest.mark.parametrize("data", [
    b'{"at":"y","n":1.0,"type":"x","v":1}', b'{"at":"y","n":1e2,"type":"x","v":1}', b'{"at":"y","n":-0,"type":"x","v":1}',
    b'{"at":"y","n":9007199254740993,"type":"x","v":1}', b'{"at":"y","n":123456789012345678901234567890,"type":"x","v":1}',
    b'{"at":"y","n":"\\u0041","type":"x","v":1}', b'{"at":"y","n":"\\/","type":"x","v":1}', b'{"at":"y","n":"a\x7f","type":"x","v":1}',
    b'{"at":"y","n":"a\x01","type":"x","v":1}', b'{"at":"y","n":NaN,"type":"x","v":1}', b'{"at":"y","n":[1.5],"type":"x","v":1}',
    b'{"at":"y","n":[{"m":9007199254740993}],"type":"x","v":1}', b'{"at":"y","at":"y","type":"x","v":1}', b'{"type":"x","at":"y","v":1}',
    b'{"at":"y","type":"x","v":1} ', b'{"at":"y","type":"x","v":true}', b'{"at":"y","type":"x","v":1.0}', b'{"at":1,"type":"x","v":1}',
    b'{"at":"","type":"x","v":1}', b'{"at":"y","type":"","v":1}', b'{"at":"y","v":1}', b'["at"]', b"1", b"", b"\xff", b"[" * 5000,
    b'{"at":"y","n":' + b"[" * 70 + b"]" * 70 + b',"type":"x","v":1}', b'{"at":"y","n":"' + b"a" * 65_535 + b'","type":"x","v":1}',
    '{"at":"y","é":1,"type":"x","v":1}'.encode(), '{"at":"y","n":"送达","type":"x","v":1}'.encode(),
])
def test_bytes_from_outside_are_read_the_same(data):
    """Numbers, escapes, orders and shapes that JSON allows and RFC 8785 does not are refused by both."""
    assert judged(read, data) == judged(entry.decode, data)
