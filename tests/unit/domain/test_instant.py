"""RFC 3339 times in and out, microseconds, and Shanghai dates."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain import instant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # RFC 3339 section 5.8
        ("1985-04-12T23:20:50.52Z", datetime(1985, 4, 12, 23, 20, 50, 520000, UTC)),
        ("1996-12-19T16:39:57-08:00", datetime(1996, 12, 20, 0, 39, 57, 0, UTC)),
        ("1937-01-01T12:00:27.87+00:20", datetime(1937, 1, 1, 11, 40, 27, 870000, UTC)),
        # section 5.8 again: one leap second in two zones; POSIX counts it as the second after
        ("1990-12-31T23:59:60Z", datetime(1991, 1, 1, 0, 0, 0, 0, UTC)),
        ("1990-12-31T15:59:60-08:00", datetime(1991, 1, 1, 0, 0, 0, 0, UTC)),
        # section 5.6: lower case, and a space for T; section 4.3: unknown local offset
        ("2026-10-09t02:00:00z", datetime(2026, 10, 9, 2, 0, 0, 0, UTC)),
        ("2026-10-09 10:00:00+08:00", datetime(2026, 10, 9, 2, 0, 0, 0, UTC)),
        ("2026-10-09T02:00:00-00:00", datetime(2026, 10, 9, 2, 0, 0, 0, UTC)),
        # cut off, never rounded into the next second
        ("2026-10-09T02:00:00.9999999999999Z", datetime(2026, 10, 9, 2, 0, 0, 999999, UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, 0, UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, 0, 0, 0, 0, UTC)),
    ],
)
def test_reads(text, expected):
    """What RFC 3339 allows is read as the instant it names, in UTC."""
    found = instant.parse(text)
    assert found == expected
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-10-09", "2026-10-09T02:00:00", "2026-10-09T02:00Z", "2026-10-09T02:00:00+08", "20261009T020000Z",
        "2026-10-09T02:00:00+0800", "2026-10-09T24:00:00Z", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
        "2026-10-09T02:00:00,5Z", "2026-10-09T02:00:00.Z", "2026-10-09T02:00:00Z\n", " 2026-10-09T02:00:00Z",
        "2026-10-09T02:00:60Z", "2026-10-09T23:59:60Z", "2026-10-09T02:00:61Z", "2026-10-09T02:00:00+24:00",
        "2026-10-09T02:00:00+08:60", "0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z",
        "２０２６-10-09T02:00:00Z", "2026-10-09T02:00:00Z\x00", "\ud800", "2026-W41-5T02:00:00Z", None, 1, b"x", True,
    ],
)  # fmt: skip
def test_refuses(text):
    """What RFC 3339 does not allow is a ValueError whose text repeats nothing of it."""
    with pytest.raises(ValueError, match=r"^not an RFC 3339 time with an offset"):
        instant.parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """Hostile text is a ValueError or an aware time, never another exception."""
    try:
        found = instant.parse(text)
    except ValueError:
        return
    assert found.tzinfo is UTC


@given(st.datetimes(timezones=st.just(UTC)))
def test_text_and_microseconds_round_trip(moment):
    """Text and microseconds give back the very same instant."""
    written = instant.text(moment)
    assert len(written) == len("2026-10-09T02:00:00.000000Z")
    assert instant.parse(written) == moment
    assert instant.from_micros(instant.to_micros(moment)) == moment


def test_text_has_six_digits_and_z_in_utc():
    """A time of another zone is written in UTC with six digits, small years padded."""
    shanghai = datetime(2026, 10, 9, 10, 0, 7, tzinfo=timezone(timedelta(hours=8)))
    assert instant.text(shanghai) == "2026-10-09T02:00:07.000000Z"
    assert instant.text(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00.000000Z"


def test_microseconds_are_exact():
    """Microseconds are whole numbers from 1970 on, negative before it, without any float between."""
    assert instant.to_micros(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert instant.to_micros(datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)) == -1
    # 2001-09-09T01:46:40Z is the well-known second 1,000,000,000
    assert instant.to_micros(datetime(2001, 9, 9, 1, 46, 40, 1, UTC)) == 1_000_000_000_000_001
    with pytest.raises(ValueError, match="outside the years"):
        instant.from_micros(10**30)


def test_shanghai_dates_change_at_sixteen_utc():
    """The Shanghai date is the next one from 16:00 UTC on."""
    assert instant.shanghai_date(datetime(2026, 10, 9, 15, 59, 59, 999999, UTC)) == date(2026, 10, 9)
    assert instant.shanghai_date(datetime(2026, 10, 9, 16, 0, tzinfo=UTC)) == date(2026, 10, 10)


@pytest.mark.parametrize("call", [instant.text, instant.to_micros, instant.shanghai_date])
def test_naive_times_are_refused(call):
    """A datetime without a zone is no instant anywhere."""
    with pytest.raises(ValueError, match="without a zone"):
        call(datetime(2026, 10, 9))


def test_shanghai_date_past_the_last_year_is_an_error_of_value():
    """The last hours of year 9999 have no date in Shanghai, which is a ValueError."""
    with pytest.raises(ValueError, match="outside the years"):
        instant.shanghai_date(datetime(9999, 12, 31, 23, tzinfo=UTC))
