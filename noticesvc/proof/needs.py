"""Which entries beside its own a notice's bundle needs, and no others: of the recipient, of contacts used, of shared content.

Called by whoever assembles a bundle, to know what to fetch, and by the verifier, to demand exactly that: what is left out would
leave a claim unproved, and what nobody needs is somebody's data without a reason.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from noticesvc.proof.entries import Entry

Key = tuple[str, ...]
"""Type, and the ids that name one entry of it."""


def of_notice(mine: Sequence[Entry]) -> dict[Key, int]:
    """What the notice's own entries need, with the index below which it must stand; announcements need their content too."""
    found: dict[Key, int] = {}

    def need(index: int, *key: Any) -> None:
        found[key] = min(index, found.get(key, index))

    for entry in mine:
        match entry.type:
            case "notice.accepted":
                need(entry.index, "recipient.recorded", entry["subject_id"])
                if entry["broadcast_id"] is not None:
                    need(entry.index, "broadcast.approved", entry["broadcast_id"])
                if entry["announcement_id"] is not None:
                    need(entry.index, "announcement.published", entry["announcement_id"])
                if "content_commit" not in entry.members:
                    need(entry.index, "content.shared", entry["content_id"])
                if entry["acceptance_id"] is not None:
                    need(entry.index, "acceptance.recorded", entry["acceptance_id"])
                if entry["cure_id"] is not None:
                    need(entry.index, "cure.begun", entry["cure_id"])
            case "announcement.joined":
                need(entry.index, "announcement.published", entry["announcement_id"])
            case "attempt.intended" | "attempt.answered":
                if entry["acceptance_id"] is not None:
                    need(entry.index, "acceptance.recorded", entry["acceptance_id"])
                if entry.type == "attempt.intended" and entry["contact_id"] is not None:
                    need(entry.index, "contact.recorded", entry["contact_id"])
                    if entry["contact_effective_to"] is not None:
                        need(entry.index, "contact.ended", entry["contact_id"], entry["contact_effective_to"])
    return found


def of_announcements(entries: Iterable[Entry]) -> dict[Key, int]:
    """The content of the announcements among these entries."""
    return {("content.shared", entry["content_id"]): entry.index for entry in entries if entry.type == "announcement.published"}


def key_of(entry: Entry) -> Key:
    """What an entry that belongs to no single notice answers to."""
    match entry.type:
        case "recipient.recorded" | "recipient.anonymised":
            return entry.type, entry["subject_id"]
        case "contact.recorded":
            return entry.type, entry["contact_id"]
        case "contact.ended":
            return entry.type, entry["contact_id"], entry["effective_to"] or ""
        case "cure.begun":
            return entry.type, entry["cure_id"]
        case "acceptance.recorded":
            return entry.type, entry["acceptance_id"]
        case "content.shared":
            return entry.type, entry["content_id"]
        case "broadcast.approved":
            return entry.type, entry["broadcast_id"]
        case "announcement.published":
            return entry.type, entry["announcement_id"]
    return (entry.type,)
