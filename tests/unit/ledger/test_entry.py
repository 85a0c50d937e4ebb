"""Canonical JSON against RFC 8785 and its reference package; entries, commitments and bundles."""

import json
import struct
from base64 import b64encode
from hashlib import sha256

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.errors import EntryError
from noticesvc.ledger.canonical import canonical
from noticesvc.ledger.entry import commitment, decode, encode, frame, unframe, value_bytes

ENTRY = {"v": 1, "type": "attempt.intended", "at": "2026-11-22T02:00:00.000Z"}
WIRE = b'{"at":"2026-11-22T02:00:00.000Z","type":"attempt.intended","v":1}'

# RFC 8785 appendix B: IEEE 754 double as hexadecimal, and its canonical text.
NUMBERS = [
    ("0000000000000000", "0"), ("8000000000000000", "0"), ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"), ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"), ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"), ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"), ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"), ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"), ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"), ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"), ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"), ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"), ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
integers = st.integers(-(2**53) + 1, 2**53 - 1)


def values(numbers):
    return st.recursive(
        st.none() | st.booleans() | numbers | names,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12,
    )


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_of_the_rfc(bits, text):
    """Numbers are written as RFC 8785 appendix B lists them."""
    assert canonical(struct.unpack(">d", bytes.fromhex(bits))[0]) == text.encode()


def test_structure_of_the_rfc():
    """The sample of RFC 8785 section 3.2.2 becomes the text of section 3.2.3."""
    sample = r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    expected = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )
    assert canonical(json.loads(sample)) == expected.encode()


def test_order_of_the_rfc():
    """Names are sorted by UTF-16 code units, so that an emoji comes before U+FB33 (RFC 8785 section 3.2.3)."""
    sample = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(canonical(sample)).values()) == [2, 4, 6, 7, 1, 5, 3]


@given(values(integers | st.floats(allow_nan=False, allow_infinity=False)))
def test_same_as_the_reference_package(value):
    """Any value is written as the package rfc8785, which others maintain, writes it."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 2**53, -(2**53), "\ud800", {"\udc00": 1},
                                   {"\U0001f600": "\ud800"}, {1: 2}, {None: 1}, {1, 2}, b"x", object(), [object()], 1j])
def test_what_has_no_canonical_form(value):
    """NaN, infinities, numbers beyond 2^53-1, half surrogates and foreign types are refused, nested too."""
    for wrapped in (value, [value], {"a": {"b": value}}):
        with pytest.raises(EntryError):
            canonical(wrapped)


def test_depth():
    """64 levels are written; deeper nesting, a value that holds itself and hostile brackets are refused."""
    value = 1
    for _ in range(64):
        value = [value]
    assert canonical(value) == b"[" * 64 + b"1" + b"]" * 64
    loop = []
    loop.append(loop)
    for deep in ([value], loop):
        with pytest.raises(EntryError):
            canonical(deep)
    for hostile in (b"[" * 60_000, b'{"a":' * 12_000, b"[" * 30_000 + b"]" * 30_000):
        with pytest.raises(EntryError):
            decode(hostile)


def test_entry_bytes():
    """An entry is its canonical JSON, and reads back."""
    assert encode(ENTRY) == WIRE
    assert decode(WIRE) == ENTRY


@given(st.dictionaries(names, values(integers), max_size=8))
def test_entries_round_trip(members):
    """Whatever an entry holds comes back, and its bytes are those of the reference package."""
    entry = members | ENTRY
    assert encode(entry) == rfc8785.dumps(entry)
    assert decode(encode(entry)) == entry


@pytest.mark.parametrize("change", [{"v": 2}, {"v": True}, {"v": "1"}, {"v": 1.0}, {"v": None}, {"type": ""},
{"type": 5},
                                    {"type": None}, {"at": ""}, {"at": None}, {"at": 5}, {"x": 1.5}, {"x": [2.0]},
                                    {"x": float("nan")}, {"x": 2**53}, {"x": "\ud800"}, {5: 1}, {"x": b""}])
def test_what_is_no_entry(change):
    """Another version, a missing common member, floats and what JSON lacks are refused."""
    with pytest.raises(EntryError):
        encode(ENTRY | change)


@pytest.mark.parametrize("member", ["v", "type", "at"])
def test_missing_members(member):
    """An entry without v, type or at is refused, written or read."""
    entry = {name: value for name, value in ENTRY.items() if name != member}
    with pytest.raises(EntryError):
        encode(entry)
    with pytest.raises(EntryError):
        decode(canonical(entry))
    for other in (None, [], "x", list(ENTRY.items())):
        with pytest.raises(EntryError):
            encode(other)


def test_length_limit():
    """65,535 bytes are an entry, 65,536 are not (16-bit length prefix)."""
    room = 65_535 - len(encode(ENTRY | {"x": ""}))
    largest = encode(ENTRY | {"x": "a" * room})
    assert len(largest) == 65_535
    assert decode(largest)["x"] == "a" * room
    with pytest.raises(EntryError):
        encode(ENTRY | {"x": "a" * (room + 1)})
    with pytest.raises(EntryError):
        decode(largest.replace(b"aa", b"aaa", 1))


@pytest.mark.parametrize("data", [
    b"", b"null", b"[]", b'"x"', b"{}", b"1", WIRE + b"\n", b" " + WIRE, WIRE[:-1], b"\xef\xbb\xbf" + WIRE,
    WIRE.replace(b":", b": "), WIRE.replace(b'"v":1', b'"v":1,"v":1'), WIRE.replace(b'"v":1', b'"v":2,"v":1'),
    WIRE.replace(b'{"at"', b'{"at":"x","at"'), WIRE.replace(b'"v":1', b'"v":1.0'), WIRE.replace(b'"v":1', b'"v":1e0'),
    WIRE.replace(b'"v":1', b'"v":1,"a":2'), WIRE.replace(b'"v":1', b'"v":1,"x":-0'),
    WIRE.replace(b'"v":1', b'"v":1,"x":NaN'), WIRE.replace(b'"v":1', b'"v":1,"x":Infinity'),
    WIRE.replace(b'"v":1', b'"v":1,"x":1.5'), WIRE.replace(b'"v":1', b'"v":1,"x":9007199254740992'),
    WIRE.replace(b'"v":1', b'"v":1,"x":' + b"9" * 5000), WIRE.replace(b"attempt", b"\\u0061ttempt"),
    WIRE.replace(b"attempt", b"att\\/empt"), WIRE.replace(b"attempt", b"\\ud800"),
    WIRE.replace(b"attempt", b"\xed\xa0\x80"),
    WIRE.replace(b"attempt", b"\xff"), WIRE.replace(b"attempt", b"\x01"), WIRE.decode().encode("utf-16"),
    WIRE.decode().encode("utf-32"), WIRE.decode(), bytearray(WIRE), None,
])
def test_other_bytes_are_refused(data):
    """All but the one canonical spelling is refused: blanks, order, duplicates, escapes, numbers, encodings."""
    with pytest.raises(EntryError):
        decode(data)


def test_commitment():
    """A commitment is the documented hash, composed here by hand."""
    salt = bytes(range(32))
    material = b"noticesvc/commit/v1" + b"\x00" + b"contact" + b"\x00" + salt + "张@例.cn".encode()
    assert commitment("contact", salt, value_bytes("张@例.cn")) == b64encode(sha256(material).digest()).decode()


@pytest.mark.parametrize(("field", "salt", "value"), [
    ("", bytes(32), b""), ("a\x00b", bytes(32), b""), (None, bytes(32), b""), (b"a", bytes(32), b""),
    ("\ud800", bytes(32), b""),
    ("a", bytes(31), b""), ("a", bytes(33), b""), ("a", "a" * 32, b""), ("a", bytearray(32), b""),
    ("a", bytes(32), "x"),
    ("a", bytes(32), None), ("a", bytes(32), bytearray()),
])
def test_impossible_commitments(field, salt, value):
    """A salt of another length, a field with NUL and a value that is not bytes are refused."""
    with pytest.raises(EntryError):
        commitment(field, salt, value)


@pytest.mark.parametrize(("value", "expected"), [
    ("null", b"null"), ("", b""), ("张", b"\xe5\xbc\xa0"), (b"\x00\xff", b"\x00\xff"), (True, b"true"), (5, b"5"),
    (1.5, b"1.5"),
    ({"b": 1, "a": [None]}, b'{"a":[null],"b":1}'), ([], b"[]"),
])
def test_value_bytes(value, expected):
    """Strings are UTF-8, bytes stay, anything else is canonical JSON."""
    assert value_bytes(value) == expected


@pytest.mark.parametrize("value", [None, "\ud800", float("nan"), object(), bytearray(b"x")])
def test_values_without_bytes(value):
    """Null is never committed to, and what has no canonical bytes is refused."""
    with pytest.raises(EntryError):
        value_bytes(value)


def test_framing():
    """Each entry stands behind its length as a big-endian 16-bit number (C2SP tlog-tiles)."""
    long = b"x" * 65_535
    assert frame([b"ab", b"", long]) == b"\x00\x02ab" + b"\x00\x00" + b"\xff\xff" + long
    assert unframe(b"\x00\x02ab\x00\x00\xff\xff" + long) == [b"ab", b"", long]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_round_trip(entries):
    """Every bundle comes back, and none that is cut short is read."""
    data = frame(entries)
    assert unframe(data) == entries
    with pytest.raises(EntryError):
        unframe(data + b"\x00")
    if entries[-1]:
        with pytest.raises(EntryError):
            unframe(data[:-1])


def test_impossible_bundles():
    """No entries, more than 256, entries too long or not bytes, and cut data are refused."""
    for entries in ([], [b""] * 257, [b"x" * 65_536], ["x"], [bytearray(b"x")], [None]):
        with pytest.raises(EntryError):
            frame(entries)
    for data in (b"", b"\x00", b"\x00\x01", b"\x00\x00" * 257, "x", None, bytearray(2)):
        with pytest.raises(EntryError):
            unframe(data)
