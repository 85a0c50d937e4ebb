"""A second reading of "Deadlines": working days of two years, typed from the State Council's notices and shared with nothing.

2025: 国办发明电〔2024〕12号. 2026: 国办发明电〔2025〕7号. The service takes the same years from a library.
"""

import datetime as dt

DAY = dt.timedelta(days=1)
SHANGHAI = dt.timezone(dt.timedelta(hours=8))

# Days off, first and last of each holiday, and the Saturdays and Sundays worked in return.
OFF = [
    ("2025-01-01", "2025-01-01"), ("2025-01-28", "2025-02-04"), ("2025-04-04", "2025-04-06"), ("2025-05-01", "2025-05-05"),
    ("2025-05-31", "2025-06-02"), ("2025-10-01", "2025-10-08"),
    ("2026-01-01", "2026-01-03"), ("2026-02-15", "2026-02-23"), ("2026-04-04", "2026-04-06"), ("2026-05-01", "2026-05-05"),
    ("2026-06-19", "2026-06-21"), ("2026-09-25", "2026-09-27"), ("2026-10-01", "2026-10-07"),
]
WORKED = {
    "2025-01-26", "2025-02-08", "2025-04-27", "2025-09-28", "2025-10-11",
    "2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10",
}
KNOWN = {2025, 2026}


def works(day: dt.date) -> bool:
    """Whether this day of 2025 or 2026 is a working day; elsewhere Monday to Friday."""
    text = day.isoformat()
    return text in WORKED or (day.weekday() < 5 and not any(first <= text <= last for first, last in OFF))


def second_deadline(start: dt.datetime, n: int) -> dict[str, object]:
    """What `noticesvc deadline --from start --working-days n` must say, its calendar's name left out."""
    day = start.astimezone(SHANGHAI).date()  # this day is not counted
    counted: list[dt.date] = []
    crossed = set()
    while len(counted) < n:
        day += DAY
        crossed.add(day.year)
        if works(day):
            counted.append(day)
    midnight = dt.datetime.combine(day + DAY, dt.time(), SHANGHAI)  # 24:00 of the last day
    return {
        "ends_at": midnight.astimezone(dt.UTC), "counted": [one.isoformat() for one in counted], "provisional": not crossed <= KNOWN,
    }
