"""The library's calendar beside one typed from the State Council's notices for 2025 and 2026."""

import datetime as dt

import pytest

from noticesvc.domain.calendar import BUILT_IN
from noticesvc.domain.deadline import working_days
from tests.vectors.second_deadline import second_deadline, works


@pytest.mark.parametrize("year", [2025, 2026])
def test_every_day_of_two_years(year):
    """Each day of the year works in both calendars or in neither, make-up weekends included."""
    days = [dt.date(year, 1, 1) + dt.timedelta(days=n) for n in range(365)]
    assert [day for day in days if BUILT_IN.is_working_day(day) is not works(day)] == []


@pytest.mark.parametrize("n", [1, 3, 5, 15])
def test_deadlines_from_every_day(n):
    """From each day of two years, the last ones reaching into a year without data, both count the same days to the same end."""
    for start in (dt.date(2025, 1, 1) + dt.timedelta(days=k) for k in range(730)):
        expected = second_deadline(dt.datetime.combine(start, dt.time(12), dt.UTC), n)
        found = working_days(start, n, BUILT_IN)
        counted = [day.isoformat() for day in found.counted]
        assert {"ends_at": found.ends_at, "counted": counted, "provisional": found.provisional} == expected
