"""The calendar of working days and the ends of deadlines."""

import tomllib
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.domain.calendar import BUILT_IN, Calendar
from noticesvc.domain.deadline import calendar_days, working_days
from noticesvc.domain.explain import deadline_json
from noticesvc.errors import ConfigurationError, InputError

# An invented year: two days off, one Saturday worked. 2027-01-01 is a Friday.
FILE = """
version = "7"
source = "made up for this test"
[years.2027]
holidays = ["2027-01-01", 2027-01-04]
working_days = ["2027-01-09"]
"""


@pytest.fixture
def extended():
    return BUILT_IN.extended(tomllib.loads(FILE), "calendar.toml")


@pytest.mark.parametrize(
    ("day", "works"),
    [
        # the State Council's arrangement of 2026: National Day off from 1 to 7 October, Saturday the 10th worked
        (date(2026, 9, 20), True), (date(2026, 10, 1), False), (date(2026, 10, 7), False), (date(2026, 10, 8), True),
        (date(2026, 10, 10), True), (date(2026, 10, 11), False),
        # that of 2020: May Day from 1 to 5 May, Saturday the 9th worked
        (date(2020, 5, 5), False), (date(2020, 5, 9), True),
        (date(2003, 12, 31), None), (date(2027, 1, 1), None), (date.min, None), (date.max, None),
    ],
)  # fmt: skip
def test_built_in_working_days(day, works):
    """The State Council's arrangements are known with make-up weekends; unknown years are null, never an error."""
    assert BUILT_IN.is_working_day(day) is works


def test_the_calendar_names_its_source():
    """Version and last year of the library's data can be shown."""
    assert BUILT_IN.version.startswith("chinesecalendar ")
    assert BUILT_IN.last_year == max(BUILT_IN.years)


def test_three_working_days_over_a_worked_saturday():
    """Served Friday 2026-10-09: Saturday the 10th works, so Tuesday the 13th is the third day."""
    found = working_days(date(2026, 10, 9), 3, BUILT_IN)
    assert found.counted == (date(2026, 10, 10), date(2026, 10, 12), date(2026, 10, 13))
    assert found.ends_at == datetime(2026, 10, 13, 16, 0, tzinfo=UTC)  # 24:00 in Shanghai
    assert not found.provisional
    assert found.calendar_version == BUILT_IN.version


def test_a_holiday_week_is_skipped():
    """From 2026-09-30: 8, 9 and 10 October are the next working days."""
    assert working_days(date(2026, 9, 30), 3, BUILT_IN).counted == tuple(date(2026, 10, day) for day in (8, 9, 10))


def test_a_count_that_only_ends_at_new_year_is_not_provisional():
    """The last working day of the last known year is known whole."""
    found = working_days(date(2026, 12, 30), 1, BUILT_IN)
    assert (found.counted, found.provisional) == ((date(2026, 12, 31),), False)
    assert found.ends_at == datetime(2026, 12, 31, 16, tzinfo=UTC)


def test_days_of_an_unknown_year_make_it_provisional():
    """The count goes on from Monday to Friday, marked as provisional."""
    found = working_days(date(2026, 12, 30), 3, BUILT_IN)
    assert found.provisional
    assert found.counted == (date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 4))


def test_an_unknown_weekend_makes_it_provisional_too():
    """Crossing a weekend that might be worked is enough: 2003-12-27 and 28 before Monday the 29th are unknown."""
    known = Calendar("test", {2004: BUILT_IN.years[2004]})
    assert working_days(date(2003, 12, 31), 1, known).provisional is False  # 2004-01-01 off, the 2nd works
    assert working_days(date(2003, 12, 26), 1, known).provisional


def test_the_operators_year_is_known(extended):
    """Days off and worked weekend days of the file count, and the other years stay."""
    found = working_days(date(2026, 12, 30), 7, extended)
    assert found.counted == (
        date(2026, 12, 31), date(2027, 1, 5), date(2027, 1, 6), date(2027, 1, 7), date(2027, 1, 8), date(2027, 1, 9),
        date(2027, 1, 11),
    )  # fmt: skip
    assert not found.provisional
    assert extended.last_year == 2027


def test_the_version_names_file_and_data(extended):
    """Source, stated version and a hash of the data are in the version, so other data has another version."""
    assert extended.version.startswith(BUILT_IN.version + " + calendar.toml made up for this test 7 sha256:")
    other = tomllib.loads(FILE.replace("2027-01-09", "2027-01-10"))
    assert BUILT_IN.extended(other, "calendar.toml").version != extended.version


def test_a_year_in_the_file_replaces_what_was_known():
    """An operator corrects a year by naming it whole."""
    corrected = BUILT_IN.extended({"years": {"2026": {"holidays": ["2026-10-09"]}}}, "fix")
    assert corrected.is_working_day(date(2026, 10, 9)) is False
    assert corrected.is_working_day(date(2026, 10, 1)) is True
    assert BUILT_IN.is_working_day(date(2026, 10, 9)) is True


def year(**members):
    return {"years": {"2027": {"holidays": ["2027-01-01"], **members}}}


@pytest.mark.parametrize(
    "mapping",
    [
        None, [], {}, {"years": {}}, {"years": []}, {"years": {"27": {}}}, {"years": {2027: {}}},
        {"years": {"２０２７": {}}},
        {"years": {"0000": {}}}, {"years": {"2027": {}}}, {"years": {"2027": {"holidays": []}}}, {"year": {}},
        {**year(), "more": 1}, {**year(), "version": 1}, {**year(), "source": ""}, year(holidays=["2026-01-01"]),
        year(holidays=["2027-1-1"]), year(holidays=["2027-W01-1"]), year(holidays="2027-01-01"), year(holidays=[1]),
        year(holidays=["2027-02-29"]), year(holidays=[datetime(2027, 1, 1)]), year(holidays=["2027-01-01"] * 2),
        year(working_days=["2027-01-04"]), year(holidays=["2027-01-02"], working_days=["2027-01-02"]),
        year(working_day=["2027-01-09"]), year(working_days=None),
    ],
)  # fmt: skip
def test_a_bad_calendar_file_is_refused(mapping):
    """Each mistake is a ConfigurationError that names the file."""
    with pytest.raises(ConfigurationError, match=r"^cal\.toml: "):
        BUILT_IN.extended(mapping, "cal.toml")


def test_calendar_days_end_with_the_nth():
    """Fifteen days from 2026-10-09 end with the 24th, whatever day of the week it is, and need no calendar."""
    found = calendar_days(date(2026, 10, 9), 15)
    assert found.ends_at == datetime(2026, 10, 24, 16, 0, tzinfo=UTC)
    assert (len(found.counted), found.provisional, found.calendar_version) == (15, False, None)
    assert found.counted[0] == date(2026, 10, 10)


@pytest.mark.parametrize("n", [0, -1, 10_001])
def test_the_number_of_days_is_bounded(n):
    """Fewer than one or more than ten thousand days are refused."""
    with pytest.raises(InputError):
        working_days(date(2026, 10, 9), n, BUILT_IN)
    with pytest.raises(InputError):
        calendar_days(date(2026, 10, 9), n)


@given(st.dates(), st.integers(1, 300))
def test_working_days_never_crash(day, n):
    """Any date gives n counted days after it, or an InputError at the end of time."""
    try:
        found = working_days(day, n, BUILT_IN)
    except InputError:
        assert day > date(9998, 1, 1)
        return
    assert len(found.counted) == n
    assert list(found.counted) == sorted(set(found.counted))
    assert found.counted[0] > day
    first, last = day + timedelta(days=1), found.counted[-1]
    assert found.provisional is (first.year < 2004 or last.year > BUILT_IN.last_year)


def test_the_last_days_of_time_are_refused():
    """A deadline past the last date that exists is an InputError, not a crash."""
    with pytest.raises(InputError):
        calendar_days(date.max, 1)
    with pytest.raises(InputError):
        working_days(date(9999, 12, 30), 1, BUILT_IN)


def test_the_shells_answer():
    """`noticesvc deadline` prints these members; the Shanghai date of the time given is not counted."""
    found = deadline_json("2026-10-09T15:59:59Z", 3, BUILT_IN)
    assert found == {
        "ends_at": "2026-10-13T16:00:00.000000Z", "calendar_version": BUILT_IN.version,
        "counted": ["2026-10-10", "2026-10-12", "2026-10-13"], "provisional": False,
    }  # fmt: skip
    assert deadline_json("2026-10-09T16:00:00Z", 1, BUILT_IN)["counted"] == ["2026-10-12"]


@pytest.mark.parametrize("text", ["2026-10-09", "", "2026-10-09T10:00:00", "9999-12-31T20:00:00Z"])
def test_the_shell_refuses_unreadable_times(text):
    """A time without offset, or none at all, is an InputError that points to it."""
    with pytest.raises(InputError) as caught:
        deadline_json(text, 3, BUILT_IN)
    assert caught.value.faults[0].pointer == "/from"
