"""Times of vendors, and whatever else may stand where a time is expected."""

import pytest

from providers.shared.vendor_times import from_unix, in_zone


@pytest.mark.parametrize(("text", "ends", "claimed"), [
    ("2026-11-22 11:04:09", False, "2026-11-22T03:04:09.000Z"), ("2026-11-22T11:04:09", True, "2026-11-22T03:04:09.999Z"),
    ("2026-11-22T11:04:09.25", True, "2026-11-22T03:04:09.250Z"), ("2026-11-22T11:04:09+08:00", False, None), ("2026-11-22", False, None),
    ("", False, None), (None, False, None), (1795316649, False, None), (b"2026-11-22 11:04:09", False, None), ([], False, None)])
def test_local_times(text, ends, claimed):
    """A date and time without an offset is read in the zone; everything else, of whatever type, is no claim."""
    assert in_zone(text, "Asia/Shanghai", end_of_second=ends) == claimed


@pytest.mark.parametrize(("seconds", "ends", "claimed"), [
    (1795316649, False, "2026-11-22T03:04:09.000Z"), (1795316649.75, True, "2026-11-22T03:04:09.999Z"), (0, False, None),
    (-1, False, None), (10**30, False, None), (float("nan"), False, None), (True, False, None), ("1795316649", False, None),
    (None, False, None), ({}, False, None)])
def test_unix_times(seconds, ends, claimed):
    """A number of seconds counts, without its fraction; everything else, of whatever type, is no claim."""
    assert from_unix(seconds, end_of_second=ends) == claimed
