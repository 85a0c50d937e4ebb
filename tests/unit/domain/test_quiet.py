"""Quiet hours of Asia/Shanghai (UTC+8): hand-computed instants on both sides of their bounds."""

from datetime import UTC, datetime

import pytest

from noticesvc.domain.quiet import hours


def micros(text):
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(("begins", "ends", "at", "until"), [
    ("22:00", "08:00", "2026-11-22T21:59:59+08:00", None),
    ("22:00", "08:00", "2026-11-22T22:00:00+08:00", "2026-11-23T08:00:00+08:00"),
    ("22:00", "08:00", "2026-11-23T00:00:00+08:00", "2026-11-23T08:00:00+08:00"),
    ("22:00", "08:00", "2026-11-23T07:59:59+08:00", "2026-11-23T08:00:00+08:00"),
    ("22:00", "08:00", "2026-11-23T08:00:00+08:00", None),
    ("12:30", "14:00", "2026-11-22T12:29:59+08:00", None),
    ("12:30", "14:00", "2026-11-22T04:30:00+00:00", "2026-11-22T06:00:00+00:00"),
    ("12:30", "14:00", "2026-11-22T14:00:00+08:00", None),
    ("08:00", "08:00", "2026-11-22T08:00:00+08:00", None),
    ("00:00", "23:59", "2026-11-22T23:58:59+08:00", "2026-11-22T23:59:00+08:00"),
])
def test_hours_are_half_open_and_may_cross_midnight(begins, ends, at, until):
    """The end of the hours that the instant lies in; null outside them, and for hours that begin when they end."""
    found = hours(begins, ends).until(micros(at))
    assert found == (None if until is None else micros(until)), datetime.fromtimestamp((found or 0) / 1e6, UTC)
