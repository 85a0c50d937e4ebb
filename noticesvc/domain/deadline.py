"""Deadlines: from a Shanghai date that is not counted to the end of the n-th day.

Called by operations with the `deadline_from_on` of the independent service, and by `noticesvc deadline`. Clause 五.2②
of the agreement counts working days (the State Council's yearly arrangement, make-up weekends included); other
windows may count calendar days. The day of service is not counted and the last day ends at 24:00 (Civil Code art. 201
and 203).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from noticesvc.domain.calendar import Calendar
from noticesvc.domain.instant import SHANGHAI
from noticesvc.errors import Fault, InputError

LONGEST = 10_000
"""The largest number of days that a deadline may count."""

_ONE_DAY = timedelta(days=1)
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a period: `ends_at` is 24:00 in Shanghai of the last day of `counted`, as aware UTC.

    `provisional` is true when the count crosses days of a year without data; then nothing adverse may be done on it.
    `calendar_version` is null for calendar days, which need no calendar.
    """

    ends_at: datetime
    counted: tuple[date, ...]
    provisional: bool
    calendar_version: str | None


def working_days(from_on: date, n: int, calendar: Calendar) -> Deadline:
    """The end of the n-th working day after `from_on`; n from 1 to 10,000.

    In a year without data Monday to Friday are counted and the result is provisional. That is the legal default which
    a yearly arrangement changes, not a guess at the arrangement: the marked end is only somewhere to look again, no
    adverse step may fire on it, and it is computed anew when the data is there. It is provisional as soon as the count
    meets any day of such a year, weekends too, because a weekend may turn out to be worked. Raises InputError for n
    out of bounds and for dates so late that the end has no date.
    """
    _bounded(n)
    counted: list[date] = []
    provisional = False
    day = from_on
    try:
        while len(counted) < n:
            day += _ONE_DAY
            works = calendar.is_working_day(day)
            if works is None:
                provisional = True
                works = day.weekday() < _SATURDAY
            if works:
                counted.append(day)
        return Deadline(_end_of(day), tuple(counted), provisional, calendar.version)
    except OverflowError:
        raise _too_late() from None


def calendar_days(from_on: date, n: int) -> Deadline:
    """The end of the n-th calendar day after `from_on`; n from 1 to 10,000. Raises InputError as `working_days`."""
    _bounded(n)
    try:
        counted = tuple(from_on + timedelta(days=k) for k in range(1, n + 1))
        return Deadline(_end_of(counted[-1]), counted, provisional=False, calendar_version=None)
    except OverflowError:
        raise _too_late() from None


def _end_of(day: date) -> datetime:
    return datetime.combine(day + _ONE_DAY, time(), SHANGHAI).astimezone(UTC)


def _bounded(n: int) -> None:
    if not 1 <= n <= LONGEST:
        detail = f"must be a whole number from 1 to {LONGEST}"
        raise InputError(f"The number of days {detail}.", (Fault("/days", detail),))


def _too_late() -> InputError:
    fault = Fault("/from", "must be so early that the deadline ends before the year 10000")
    return InputError("The deadline would end after the year 9999; start from an earlier day.", (fault,))
