"""Instants: reading and writing RFC 3339 times, microseconds since 1970, and the Shanghai calendar date.

Called by everything that reads, stores or prints a time. Inside the project an instant is an aware `datetime` in UTC;
in text it is RFC 3339 with six fractional digits and `Z`; in the database it is an integer of microseconds.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China has had one zone without summer time since 1991-09-15, so a fixed offset needs no zone database."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)

# RFC 3339 section 5.6: `T` and `Z` may be lower case, and a space may stand for `T`.
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)
_UNREADABLE = "not an RFC 3339 time with an offset; write it like 2026-10-09T02:00:00Z"


def parse(value: object) -> datetime:
    """Read an RFC 3339 time; the result is aware and in UTC.

    An offset is required. Digits after the sixth of a fraction are cut off, never rounded, so that no time moves
    later. A leap second (`:60`, RFC 3339 section 5.7) is taken only where UTC can have one, at the end of a month, and
    becomes the second after it, as POSIX time does. Raises ValueError, whose text never repeats the input, for
    everything else, things that are no string included.
    """
    found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(_UNREADABLE)
    year, month, day, hour, minute, second, fraction, zulu, sign, offset_hours, offset_minutes = found.groups()
    microsecond = int(fraction[:6].ljust(6, "0")) if fraction else 0
    leap = second == "60"
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second), microsecond, UTC
        )  # fmt: skip
        if not zulu:
            ahead = _offset(int(offset_hours), int(offset_minutes))
            local = local - ahead if sign == "+" else local + ahead
        if leap:
            local += _SECOND
            if (local.day, local.hour, local.minute, local.second) != (1, 0, 0, 0):
                raise ValueError(_UNREADABLE)
    except (ValueError, OverflowError):
        raise ValueError(_UNREADABLE) from None
    return local


def _offset(hours: int, minutes: int) -> timedelta:
    if hours > 23 or minutes > 59:
        raise ValueError(_UNREADABLE)
    return timedelta(hours=hours, minutes=minutes)


def text(instant: datetime) -> str:
    """Write an aware datetime as RFC 3339 in UTC, always with six fractional digits and `Z`.

    Raises ValueError for a naive one.
    """
    if instant.tzinfo is not UTC:
        instant = _aware(instant).astimezone(UTC)
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exact (integer arithmetic). Raises ValueError for a naive datetime."""
    return (_aware(instant) - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime that many microseconds after 1970; raises ValueError outside the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError("the number of microseconds lies outside the years 1 to 9999") from None


def shanghai_date(instant: datetime) -> date:
    """The calendar date in Asia/Shanghai at this instant; raises ValueError for a naive datetime or past year 9999."""
    try:
        return _aware(instant).astimezone(SHANGHAI).date()
    except OverflowError:
        raise ValueError("the instant lies outside the years 1 to 9999 in Shanghai") from None


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("a datetime without a zone is no instant; attach UTC where it is made")
    return instant
