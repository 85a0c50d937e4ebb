"""Times as vendors write them, in the zone that they mean without saying so. Called by the SMS providers."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

SHANGHAI = "Asia/Shanghai"
_FORMS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f")


def zone_fault(name: str) -> str:
    """What is wrong with a zone's name, or an empty text."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return "name a time zone such as Asia/Shanghai or UTC"
    return ""


def in_zone(text: object, zone: str, *, end_of_second: bool) -> str | None:
    """A vendor's local time without an offset as RFC 3339 in UTC; null for what is no such time.

    Claims have whole seconds: a striking one claims the end of its second, so that it follows a submission within it.
    """
    if not isinstance(text, str):
        return None
    for form in _FORMS:
        try:
            at = datetime.strptime(text, form).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
        whole = end_of_second and at.microsecond == 0
        return f"{at:%Y-%m-%dT%H:%M:%S}.{999 if whole else at.microsecond // 1000:03d}Z"
    return None


def from_unix(seconds: object, *, end_of_second: bool) -> str | None:
    """Unix time, a number, as RFC 3339 in whole seconds; null for what cannot be one."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 10_000_000_000:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + ("999Z" if end_of_second else "000Z")
