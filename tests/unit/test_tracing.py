"""The traceparent header (W3C Trace Context, level 1): what is taken from it, and what is refused."""

import pytest

from noticesvc import tracing

TRACE, PARENT, FRESH = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "f" * 32


@pytest.mark.parametrize("header", [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00", f"cc-{TRACE}-{PARENT}-01-what-comes-later"])
def test_a_valid_header_gives_its_trace_and_its_span(header):
    """Also of a later version, which may be longer."""
    assert tracing.parse(header, lambda: FRESH) == (TRACE, PARENT)


@pytest.mark.parametrize("header", [
    None, "", "x", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{PARENT}-01",
    f"00-{TRACE}-{PARENT}", f"00-{TRACE[1:]}-{PARENT}-01", f" 00-{TRACE}-{PARENT}-01\n"])
def test_a_broken_header_is_as_none(header):
    """A fresh trace begins, so that no caller can make log lines unreadable."""
    assert tracing.parse(header, lambda: FRESH)[0] == FRESH
