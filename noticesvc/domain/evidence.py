"""Evidence: the closed vocabulary and the immutable item, with its JSON form.

Made by operations from provider answers, receipts, acts in the inbox and statements of people; read by `sifting` and
everything after it. The levels follow the product's table of positive kinds (0 intended to 5 acknowledged); negative
kinds have no level. Sources of the kinds: SMPP 3.4 states, RFC 3461-3464 (DSN), RFC 8098 (MDN), vendor codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from noticesvc.domain import instant
from noticesvc.errors import Fault, InputError

CHANNELS = ("in_site", "sms", "email", "postal", "announcement")
"""Every channel, in the order that decides ties of service time."""

CHANNEL_RANK = {channel: rank for rank, channel in enumerate(CHANNELS)}

LEVEL = {"intended": 0, "submitted": 1, "relayed": 2, "arrived": 3, "accessed": 4, "acknowledged": 5}
"""The level that each positive kind proves."""

STRIKING = frozenset({"rejected", "failed_permanent", "expired", "returned"})
"""Kinds that undo earlier events of levels 1 to 3 of the same attempt."""

NEGATIVE = STRIKING | {"failed_temporary", "no_receipt", "rebutted", "unknown"}
WITHOUT_LEVEL = frozenset({"displayed", "link_fetched", "unmapped"})
KINDS = frozenset(LEVEL) | NEGATIVE | WITHOUT_LEVEL

CARRIES = ("full", "link", "pointer")
CONFIRMATIONS = ("confirmed", "identified", "unknown")

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a provider's clock may be off before its claim is not believed."""

_LONGEST_TEXT = 4096
_LARGEST_NUMBER = 2**31 - 1
_LAST_YEAR = 9998  # so that adding a horizon or a zone can never leave the years that datetime knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One fact about a delivery, never changed once recorded.

    Times are aware UTC: `claimed_at` the provider's, `observed_at` ours, `call_started_at` when we began the call,
    `proved_at` (rebuttals only) when the recipient proved that it really happened. `part` counts from 1 to `parts`.
    `content_sha256` is the notice's hash as lower-case hex, null where the source does not know it. `refers_to` is the
    id of the item that a rebuttal rebuts. `fault` is `recipient` where returned post is the recipient's own doing.
    """

    id: str
    delivery_id: str
    attempt: int
    channel: str
    kind: str
    source: str | None = None
    authenticated: bool = True
    carries: str = "full"
    call_started_at: datetime | None = None
    claimed_at: datetime | None = None
    observed_at: datetime
    content_sha256: str | None = None
    confirmation: str | None = None
    contact_in_effect: bool = True
    part: int | None = None
    parts: int | None = None
    provider: str | None = None
    raw_sha256: str | None = None
    refers_to: str | None = None
    proved_at: datetime | None = None
    fault: str | None = None


def instant_of(item: Evidence) -> datetime:
    """The instant that counts for this item, before any rebuttal.

    It is the claim if call start - 5 min <= claim <= observed + 5 min, moved to call start or to the observation where
    it lies outside them by less than that; otherwise the observation. Without a call start only the upper bound
    applies. The tolerance is compared as a difference so that no sum can leave the range of datetime.
    """
    claimed = item.claimed_at
    if claimed is None or not claim_believed(item):
        return item.observed_at
    started = item.call_started_at
    if started is not None and claimed < started:
        claimed = started
    return min(claimed, item.observed_at)


def claim_believed(item: Evidence) -> bool:
    """Whether the item has a claim within the tolerance; a claim that is not believed gets the `clock` flag."""
    claimed = item.claimed_at
    if claimed is None or claimed - item.observed_at > CLOCK_TOLERANCE:
        return False
    return item.call_started_at is None or item.call_started_at - claimed <= CLOCK_TOLERANCE


def from_json(obj: object, pointer: str = "") -> Evidence:
    """Read one item; a member left out, or null where it has a default, has the default; unknown members are ignored.

    A `claimed_at` that cannot be read or has no offset counts as absent, because it is the provider's word and not
    ours. Everything else that is wrong is collected and raised as one InputError, each fault with its RFC 6901 pointer
    below `pointer`.
    """
    if not isinstance(obj, Mapping):
        raise InputError("An evidence item must be a JSON object.", (Fault(pointer, "must be an object"),))
    read = _Reader(obj, pointer)
    values: dict[str, Any] = {
        "id": read.required_text("id"),
        "delivery_id": read.required_text("delivery_id"),
        "attempt": read.number("attempt", 0, required=True),
        "channel": read.word("channel", CHANNELS, required=True),
        "kind": read.word("kind", KINDS, required=True),
        "source": read.text("source"),
        "authenticated": read.truth("authenticated", default=True),
        "carries": read.word("carries", CARRIES) or "full",
        "call_started_at": read.time("call_started_at"),
        "claimed_at": _claim(obj.get("claimed_at")),
        "observed_at": read.time("observed_at", required=True),
        "content_sha256": read.text("content_sha256"),
        "confirmation": read.word("confirmation", CONFIRMATIONS),
        "contact_in_effect": read.truth("contact_in_effect", default=True),
        "part": read.number("part", 1),
        "parts": read.number("parts", 1),
        "provider": read.text("provider"),
        "raw_sha256": read.text("raw_sha256"),
        "refers_to": read.text("refers_to"),
        "proved_at": read.time("proved_at"),
        "fault": read.text("fault"),
    }
    if read.faults:
        raise InputError("An evidence item cannot be read; correct the members named.", tuple(read.faults))
    return Evidence(**values)


def to_json(item: Evidence) -> dict[str, Any]:
    """The item as JSON members, every one of them, with times as RFC 3339 in UTC."""
    members = {field.name: getattr(item, field.name) for field in fields(item)}
    return {name: instant.text(value) if isinstance(value, datetime) else value for name, value in members.items()}


def _claim(value: object) -> datetime | None:
    try:
        return instant.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


class _Reader:
    """Reads members of one object and collects what is wrong with them."""

    def __init__(self, members: Mapping[Any, object], pointer: str) -> None:
        self.members = members
        self.pointer = pointer
        self.faults: list[Fault] = []

    def fault(self, name: str, detail: str) -> None:
        self.faults.append(Fault(f"{self.pointer}/{name}", detail))

    def text(self, name: str) -> str | None:
        value = self.members.get(name)
        if value is None:
            return None
        if isinstance(value, str) and len(value) <= _LONGEST_TEXT:
            return value
        self.fault(name, f"must be a string of at most {_LONGEST_TEXT} characters")
        return None

    def required_text(self, name: str) -> str | None:
        before = len(self.faults)
        value = self.text(name)
        if not value and len(self.faults) == before:
            self.fault(name, "is required and must not be empty")
        return value

    def word(self, name: str, words: frozenset[str] | tuple[str, ...], *, required: bool = False) -> str | None:
        value = self.members.get(name)
        if value is None and not required:
            return None
        if isinstance(value, str) and value in words:
            return value
        self.fault(name, "must be one of " + ", ".join(sorted(words)))
        return None

    def number(self, name: str, least: int, *, required: bool = False) -> int | None:
        value = self.members.get(name)
        if value is None and not required:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LARGEST_NUMBER:
            return value
        self.fault(name, f"must be a whole number from {least} to {_LARGEST_NUMBER}")
        return None

    def truth(self, name: str, *, default: bool) -> bool:
        value = self.members.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self.fault(name, "must be true or false")
        return default

    def time(self, name: str, *, required: bool = False) -> datetime | None:
        value = self.members.get(name)
        if value is None and not required:
            return None
        try:
            when = instant.parse(value) if isinstance(value, str) else None
        except ValueError:
            when = None
        if when is None or when.year > _LAST_YEAR:
            self.fault(name, f"must be an RFC 3339 time with an offset, not after the year {_LAST_YEAR}")
            return None
        return when
