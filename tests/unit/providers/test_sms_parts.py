"""Counting and cutting short messages, against 3GPP TS 23.038 and TS 23.040."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.shared.sms_parts import TooManyParts, alphabet_of, concatenation_header, count_parts, split, width


@pytest.mark.parametrize(("text", "parts"), [
    ("", 1), ("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3),
    ("€" * 80, 1), ("€" * 81, 2),            # an extended character takes two septets
    ("中" * 70, 1), ("中" * 71, 2), ("中" * 134, 2), ("中" * 135, 3),
    ("😀" * 35, 1), ("😀" * 36, 2),           # two UTF-16 code units each
    ("a" * 159 + "`", 3),                    # the grave accent is not in the GSM alphabet: 160 units of UCS-2
])
def test_parts_at_their_limits(text, parts):
    """160 or 153 septets, 70 or 67 code units: the limits of one message and of a part."""
    assert count_parts(text) == parts


def test_the_whole_gsm_alphabet_is_in_it():
    """TS 23.038 §6.2.1: 127 characters beside the escape, and ten extended ones, form feed and euro among them."""
    gsm = [chr(n) for n in range(0x10000) if not 0xD800 <= n <= 0xDFFF and alphabet_of(chr(n)) == "gsm7"]
    assert len([c for c in gsm if width(c, "gsm7") == 1]) == 127
    assert sorted(c for c in gsm if width(c, "gsm7") == 2) == sorted("\f^{}\\[~]|€")


@given(st.text(alphabet=st.sampled_from("aé€^中😀\n"), max_size=600))
def test_parts_join_to_the_text_and_fit(text):
    """Cutting loses nothing, never parts a pair, and every part fits its message."""
    cut = split(text)
    limit = {"gsm7": (160, 153), "ucs2": (70, 67)}[cut.alphabet][len(cut.parts) > 1]
    assert "".join(cut.parts) == text
    for part in cut.parts:
        units = len(part.encode("utf-16-be")) // 2 if cut.alphabet == "ucs2" else sum(1 + (c in "€^") for c in part)
        assert units <= limit


def test_more_than_255_parts_cannot_be_counted_in_the_header():
    """One octet counts the parts."""
    assert count_parts("中" * 67 * 255) == 255
    with pytest.raises(TooManyParts):
        split("中" * (67 * 255 + 1))


def test_concatenation_header_layout():
    """Length 5, element 0 of length 3, then reference, number of parts, this part (TS 23.040 §9.2.3.24.1)."""
    header = concatenation_header("ref.1", 2, 3)
    assert (header[:3], header[4:]) == (b"\x05\x00\x03", b"\x03\x02")
    assert header[3] == concatenation_header("ref.1", 1, 3)[3]
