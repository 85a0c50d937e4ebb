"""Part of step 6 for the bundle of a recipient's contacts: cures begin with a dead contact, end or lapse once, and for a reason.

Called by proof.verify_contacts. Answers one sentence for each failure. Whether a cure notice served in time is for that notice's
own bundle to show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from noticesvc.domain import instant
from noticesvc.domain.cure import CHANNELS, TELLING
from noticesvc.proof.entries import Entry


@dataclass(slots=True)
class _State:
    """The recipient's contacts and open cures while the entries are read."""

    contacts: dict[str, Entry] = field(default_factory=dict)
    ends: dict[str, str | None] = field(default_factory=dict)
    invalid: set[str] = field(default_factory=set)
    open: dict[str, Entry] = field(default_factory=dict)  # cure.begun by cure

    def works(self, contact_id: str, at: str) -> bool:
        """Whether a contact that the recipient gave is in effect at an instant and not known to be dead."""
        begins, ends, moment = self.contacts[contact_id]["effective_from"], self.ends.get(contact_id), instant.parse(at)
        return (contact_id not in self.invalid and self.contacts[contact_id]["channel"] in CHANNELS
                and instant.parse(begins) <= moment and (ends is None or moment < instant.parse(ends)))


def agree(entries: Sequence[Entry]) -> Iterator[str]:
    """The entries about a recipient, in the order of their numbers."""
    state = _State()
    for entry in sorted(entries, key=lambda one: one["subject_seq"]):
        here = f"Entry {entry.position} ({entry.type})"
        match entry.type:
            case "contact.recorded":
                state.contacts[entry["contact_id"]] = entry
            case "contact.ended":
                state.ends[entry["contact_id"]] = entry["effective_to"]
            case "contact.state_changed":
                (state.invalid.add if entry["state"] == "invalid" else state.invalid.discard)(entry["contact_id"])
            case "cure.begun":
                if entry["contact_id"] not in state.invalid:
                    yield f"{here} begins the cure of a contact that is not known to be dead."
                if any(one["contact_id"] == entry["contact_id"] for one in state.open.values()):
                    yield f"{here} begins a second cure of a contact while the first is open."
                state.open[entry["cure_id"]] = entry
            case "cure.ended" | "cure.lapsed":
                begun = state.open.pop(entry["cure_id"], None)
                if begun is None or begun["contact_id"] != entry["contact_id"]:
                    yield f"{here} closes a cure that is not open."
                else:
                    yield from (f"{here} {what}" for what in _closed(entry, begun, state))


def _closed(entry: Entry, begun: Entry, state: _State) -> Iterator[str]:
    dead = begun["contact_id"]
    match entry["reason"]:
        case "rebutted" if dead in state.invalid:
            yield "says that the contact works again, which no entry before it does."
        case "new_contact" if not any(one.index > begun.index and contact_id not in state.invalid
                                      for contact_id, one in state.contacts.items()):
            yield "names a new contact that no entry since its beginning records."
        case "not_told" if entry["cure_notice_id"] is None or instant.parse(entry["at"]) < instant.parse(begun["at"]) + TELLING:
            yield "gives up telling the recipient before its time, or without a notice that might have told."
        case "no_other_contact" if entry["ends_at"] is not None or any(
                state.works(contact_id, entry["at"]) and not _same_address(state, contact_id) for contact_id in state.contacts):
            yield "says that no other contact works, against the recorded ones."
        case "not_answered" if entry["ends_at"] is None or entry["cure_notice_id"] is None or entry["from_evidence_id"] is None or (
                instant.parse(entry["at"]) < instant.parse(entry["ends_at"])):
            yield "lapses before its deadline, or without one."


def _same_address(state: _State, contact_id: str) -> bool:
    """Whether this may be another version of a dead address, which only the commitments tell apart: then nothing is said."""
    channel = state.contacts[contact_id]["channel"]
    return any(state.contacts[one]["channel"] == channel for one in state.invalid if one in state.contacts)
