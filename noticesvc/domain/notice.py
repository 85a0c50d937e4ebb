"""Notices: categories with their defaults, strategies, stages, and the state that follows from deliveries and service."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from noticesvc.domain import cure, delivery

Category = Literal["agreement", "platform", "handling", "termination", "contact_cure", "inquiry", "judicial", "commercial"]
CATEGORIES: Final = ("agreement", "platform", "handling", "termination", "contact_cure", "inquiry", "judicial", "commercial")
Channel = Literal["in_site", "sms", "email", "postal", "announcement"]
Strategy = Literal["parallel", "ladder"]
Stage = Literal["first_instance", "second_instance", "retrial", "execution", "supervision", "other"]
State = Literal["queued", "in_progress", "served", "unserved", "cancelled", "expired"]
STATES: Final = ("queued", "in_progress", "served", "unserved", "cancelled", "expired")
LADDER_AFTER: Final = "PT24H"
BULK: Final = 2  # priorities from here on are those of bulk
_DURATION = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?")


def mandatory(category: str) -> bool:
    """Whether notices of this category reach the recipient whatever they refused (clause 4.7: only commercial ones may be)."""
    return category != "commercial"


def default_channels(category: str) -> tuple[str, ...]:
    """The channels of a notice that names none."""
    if category == "judicial":
        return ("in_site", "sms", "email", "postal")
    if category == "commercial":
        return ("in_site", "email")
    return ("in_site", "sms", "email")


def default_rule(category: str) -> str:
    """The service rule of a notice that names none: 6.3 for legal documents, else 6.2."""
    return "agreement-6.3" if category == "judicial" else "agreement-6.2"


def priority(category: str, *, bulk: bool) -> int:
    """Order of dispatch: single notices before broadcasts, mandatory before commercial; smaller goes first."""
    return (BULK if bulk else 0) + (0 if mandatory(category) else 1)


def is_bulk(of_priority: int) -> bool:
    """Whether a delivery of this priority is one of many."""
    return of_priority >= BULK


def windows(category: str, response_window: Mapping[str, int] | None) -> dict[str, Mapping[str, int]]:
    """The deadlines that run from independent service, by kind, each `{"working_days": n}` or `{"days": n}`."""
    found: dict[str, Mapping[str, int]] = {}
    if category == cure.CATEGORY:
        found["cure"] = {"working_days": cure.WORKING_DAYS}
    if response_window is not None:
        found["appeal" if category in ("handling", "termination") else "response"] = response_window
    return found


def duration_s(text: str) -> int | None:
    """Seconds of an ISO 8601 duration of days, hours, minutes and seconds; null if it is none, or zero, or over ten years."""
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith("T") or text == "P":
        return None
    days, hours, minutes, seconds = (int(g or 0) for g in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return total if 0 < total <= 10 * 366 * 86400 else None


def turn(begin: int, steps: int, after: int, expires_at: int | None) -> int:
    """When a rung of a ladder has its turn, in microseconds: `steps` times `after` from `begin`; at once where `after` is 0.

    One whose turn would come when the notice has expired is looked at just after that, to be closed; just after, because what
    waits for an account to become active is due when the notice expires, and must be told from it.
    """
    due = begin + steps * after
    return due if expires_at is None or not after else min(due, expires_at + 1)


def state(deliveries: Iterable[str], *, served: bool, dispatched: bool) -> State:
    """The state of a notice: `queued` before its first intent; `served` while service stands; when all deliveries are
    finished `cancelled` if all are, `expired` if any is, else `unserved`; `in_progress` in between.
    """
    states = list(deliveries)
    if served:
        return "served"
    if states and all(s in delivery.FINISHED for s in states):
        if all(s == "cancelled" for s in states):
            return "cancelled"
        return "expired" if "expired" in states else "unserved"
    return "in_progress" if dispatched else "queued"
