"""Fields of mails that anybody may have written: one line of valid Unicode each, addresses and dates without their ornaments.

Called by everything that reads mail here (`dsn`, `mail_reading`, `mail_trust`).
"""

from datetime import UTC, timedelta
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

MAX_BYTES = 1 << 20
"""How much of a mail is looked at: what it reports comes before the returned message, which may be large."""

_MAX_FIELD = 2000


def field(message: Message, name: str) -> str:
    """Return a field as one line of valid Unicode without control characters, cut to what evidence needs."""
    # raw_items: get() spoils bytes beyond ASCII, which RFC 6533 allows here
    found = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    value = found[:_MAX_FIELD].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())


def typed(message: Message, name: str) -> str:
    """Return a field's value without its type (`dns; relay.example.com`)."""
    return field(message, name).partition(";")[2].strip()


def address(message: Message, name: str) -> str:
    """Return an address field's value without its type and brackets; some systems leave the type out."""
    value = field(message, name)
    kind, found, rest = value.partition(";")
    return (rest if found else kind).strip().removeprefix("<").removesuffix(">")


def mailbox(message: Message, name: str) -> str:
    """Return the one address of a From or similar field, its domain in lower case; empty for none and for several."""
    found = [one for _, one in getaddresses([field(message, name)]) if "@" in one]
    local, _, domain = found[0].rpartition("@") if len(found) == 1 else ("", "", "")
    return f"{local}@{domain.lower()}" if local and domain else ""


def instant(claim: str, *, end_of_second: bool) -> str | None:
    """Return an RFC 5322 date as RFC 3339 UTC; null for one that cannot be read or has no zone."""
    try:
        at = parsedate_to_datetime(claim)
        if at.tzinfo is None:
            return None
        at = at.astimezone(UTC)
        if end_of_second:
            at += timedelta(milliseconds=999)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
