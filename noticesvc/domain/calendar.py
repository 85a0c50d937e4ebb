"""The calendar of Chinese working days: data with a version and a source, nothing computed from habit.

Called by `deadline`. The State Council publishes each year's arrangement (holidays and the weekends worked in return)
in the autumn before. `BUILT_IN` holds what the library chinesecalendar knows; an operator's file extends it. A year
without data is answered with null, never with a guess.

The operator's file, TOML or JSON with the same members::

    version = "2026-11-04"                    # optional; stands in the calendar's version
    source = "the State Council's notice"     # optional; where the operator has the data from
    [years.2027]
    holidays = ["2027-01-01", "2027-02-05"]   # every day off, weekend days among them allowed
    working_days = ["2027-02-14"]             # Saturdays and Sundays that are worked

A year named here replaces what was known about that year.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import chinese_calendar

from noticesvc.errors import ConfigurationError

_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Year:
    """One year's arrangement: days off and the weekend days that are worked."""

    holidays: frozenset[date]
    working_days: frozenset[date]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Working days for the years that are known; `version` names the sources and their versions."""

    version: str
    years: Mapping[int, Year]

    @property
    def last_year(self) -> int:
        """The last year with data, 0 if there is none; what comes after it is provisional."""
        return max(self.years, default=0)

    def is_working_day(self, day: date) -> bool | None:
        """Whether this is a working day; null when nothing is known about its year."""
        year = self.years.get(day.year)
        if year is None:
            return None
        if day.weekday() >= _SATURDAY:
            return day in year.working_days
        return day not in year.holidays

    def extended(self, mapping: object, source: str) -> "Calendar":
        """This calendar with the operator's years (format: see the module).

        `source` names where the mapping comes from, for instance the file's name, and stands in errors and in the
        version, together with a hash of the data, so that two different calendars never share a version. Raises
        ConfigurationError that names the member and what to do.
        """
        table = _table(mapping, source, "the file", ("version", "source", "years"))
        stated = [_word(table, member, source) for member in ("source", "version")]
        named = _table(table.get("years"), source, "years", None)
        if not named:
            raise ConfigurationError(f"{source}: years is empty; name at least one year, like [years.2027].")
        years = {_year_number(key, source): _year(key, value, source) for key, value in named.items()}
        if len(years) != len(named):
            raise ConfigurationError(f"{source}: a year stands twice under years; keep one of them.")
        words = [source, *(word for word in stated if word), "sha256:" + _fingerprint(years)]
        return Calendar(f"{self.version} + {' '.join(words)}", MappingProxyType({**self.years, **years}))


def _built_in() -> Calendar:
    library = chinese_calendar.constants
    first, last = min(library.holidays).year, max(library.holidays).year
    years = {
        number: Year(
            frozenset(day for day in library.holidays if day.year == number),
            frozenset(day for day in library.workdays if day.year == number),
        )
        for number in range(first, last + 1)
    }
    return Calendar(f"chinesecalendar {chinese_calendar.__version__} ({first}-{last})", MappingProxyType(years))


BUILT_IN: Calendar = _built_in()
"""What the installed chinesecalendar knows: the State Council's arrangements from 2004 on."""


def _year(key: object, value: object, source: str) -> Year:
    number = _year_number(key, source)
    where = f"years.{number}"
    table = _table(value, source, where, ("holidays", "working_days"))
    holidays = _days(table.get("holidays"), number, source, f"{where}.holidays")
    working_days = _days(table.get("working_days", []), number, source, f"{where}.working_days")
    if not holidays:
        raise ConfigurationError(f"{source}: {where}.holidays is empty; no year of the arrangement is, so fill it in.")
    if holidays & working_days:
        raise ConfigurationError(f"{source}: a day of {where} is both holiday and working day; keep one.")
    if any(day.weekday() < _SATURDAY for day in working_days):
        raise ConfigurationError(
            f"{source}: {where}.working_days names a day from Monday to Friday; list only weekend days that are worked."
        )
    return Year(holidays, working_days)


def _table(value: object, source: str, where: str, members: tuple[str, ...] | None) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{source}: {where} must be a table; see the calendar file's format in the manual.")
    for member in value:
        if members is not None and member not in members:
            raise ConfigurationError(f"{source}: {where} has a member that is not known; use {', '.join(members)}.")
    return value


def _word(table: Mapping[Any, Any], member: str, source: str) -> str | None:
    value = table.get(member)
    if isinstance(value, date):
        return value.isoformat()  # TOML reads 2026-11-04 without quotes as a date
    if value is not None and (not isinstance(value, str) or not value.strip() or len(value) > 200):
        raise ConfigurationError(f"{source}: {member} must be a string of 1 to 200 characters.")
    return value


def _year_number(key: object, source: str) -> int:
    text = key if isinstance(key, str) else ""
    if len(text) != 4 or not (text.isascii() and text.isdigit()) or text == "0000":
        raise ConfigurationError(f"{source}: years must be named by four digits, like [years.2027].")
    return int(text)


def _days(value: object, year: int, source: str, where: str) -> frozenset[date]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"{source}: {where} must be a list of dates, like ['{year:04}-01-01'].")
    days = set()
    for entry in value:
        day = _day(entry)
        if day is None or day.year != year:
            raise ConfigurationError(f"{source}: {where} must hold only dates of that year, written YYYY-MM-DD.")
        if day in days:
            raise ConfigurationError(f"{source}: {where} names a day twice; name it once.")
        days.add(day)
    return frozenset(days)


def _day(entry: object) -> date | None:
    if isinstance(entry, datetime):
        return None
    if isinstance(entry, date):
        return entry
    try:
        day = date.fromisoformat(entry) if isinstance(entry, str) else None
    except ValueError:
        return None
    return day if day is not None and day.isoformat() == entry else None  # Python also reads week dates


def _fingerprint(years: Mapping[int, Year]) -> str:
    """The first 12 hex digits of SHA-256 over the years in a fixed order."""
    canonical = [
        [number, sorted(map(str, years[number].holidays)), sorted(map(str, years[number].working_days))]
        for number in sorted(years)
    ]
    return hashlib.sha256(json.dumps(canonical, separators=(",", ":")).encode()).hexdigest()[:12]
