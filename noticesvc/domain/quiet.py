"""Quiet hours: when commercial messages must not ring. Mandatory notices override them, and their intents say so.

Pure; called by sealing, made from the configuration by bootstrap. Hours are of Asia/Shanghai, which has kept UTC+8 since 1991.
"""

from dataclasses import dataclass

CHANNELS = frozenset({"sms", "email"})  # those that call for attention; an in-site message waits by itself until somebody looks
_MINUTE_US, _DAY_MIN, _SHANGHAI_MIN = 60_000_000, 1440, 480


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one minute of the day to another, half-open, across midnight if the first is later; equal ones: no quiet at all."""

    begins: int
    ends: int

    def until(self, micros: int) -> int | None:
        """The end, in microseconds, of the quiet hours in which this instant lies; null if it lies in none."""
        minute = micros // _MINUTE_US
        of_day = (minute + _SHANGHAI_MIN) % _DAY_MIN
        if (of_day - self.begins) % _DAY_MIN >= (self.ends - self.begins) % _DAY_MIN:
            return None
        return (minute + (self.ends - of_day) % _DAY_MIN) * _MINUTE_US


def hours(begins: str, ends: str) -> QuietHours:
    """Quiet hours from two times of the day as `HH:MM`, which the configuration has checked."""
    return QuietHours(_minutes(begins), _minutes(ends))


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
