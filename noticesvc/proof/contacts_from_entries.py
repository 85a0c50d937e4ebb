"""A recipient's contacts in effect at a time, from the entries about the recipient alone.

Called by the verifier and by the assembler of a contacts bundle. The intervals follow from `effective_from` and the last
`contact.ended`, not from the order of entries; the contacts stand in the order in which they were recorded, because preference
changes without an entry.
"""

from collections.abc import Sequence
from typing import Any

from noticesvc.domain import instant
from noticesvc.errors import VerificationError
from noticesvc.proof.entries import Entry, Values, opened_text


def shown(entries: Sequence[Entry], values: Values) -> dict[str, Any]:
    """The bundle's `recipient`: id, instant, and the contacts as `GET …/contacts` shows them. The last entry is the read."""
    ordered = sorted(entries, key=lambda entry: entry["subject_seq"])
    at = ordered[-1]["in_effect_at"]
    if at is None or ordered[0].type != "recipient.recorded":
        raise VerificationError("The entries do not begin with the recipient's creation, or do not end with the reading for an instant.")
    contacts: dict[str, dict[str, Any]] = {}
    for entry in ordered:
        match entry.type:
            case "contact.recorded":
                contacts[entry["contact_id"]] = {
                    "contact_id": entry["contact_id"], "channel": entry["channel"], "address": opened_text(values, entry, "address"),
                    "confirmation": entry["confirmation"], "source": opened_text(values, entry, "source"),
                    "asserted_from": entry["asserted_from"], "verified_at": entry["verified_at"],
                    "effective_from": entry["effective_from"], "effective_to": None, "recorded_at": entry["at"], "state": "usable"}
            case "contact.ended":
                _known(contacts, entry)["effective_to"] = entry["effective_to"]
            case "contact.state_changed":
                _known(contacts, entry)["state"] = entry["state"]
    return {"recipient_id": opened_text(values, ordered[0], "recipient_id"), "at": at,
            "contacts": [one for one in contacts.values() if _in_effect(one, at)]}


def _known(contacts: dict[str, dict[str, Any]], entry: Entry) -> dict[str, Any]:
    found = contacts.get(entry["contact_id"])
    if found is None:
        raise VerificationError(f"Entry {entry.position} speaks of a contact that no entry before it records.")
    return found


def _in_effect(contact: dict[str, Any], at: str) -> bool:
    moment, ends = instant.parse(at), contact["effective_to"]
    return instant.parse(contact["effective_from"]) <= moment and (ends is None or moment < instant.parse(ends))
