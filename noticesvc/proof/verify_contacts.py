"""Steps 4, 6 and 7 for the bundle of a recipient's contacts: complete up to its own reading, and shown as they were in effect.

Called by proof.verify. Each function answers one sentence for each failure.
"""

from collections.abc import Iterator, Sequence

from noticesvc.ledger.canonical import canonical
from noticesvc.proof import contacts_from_entries, verify_cures
from noticesvc.proof.bundle import Bundle
from noticesvc.proof.entries import Entry, Values
from noticesvc.proof.verify_notice import told_by_reading


def complete(bundle: Bundle, entries: Sequence[Entry]) -> list[str]:
    """Step 4. The recipient's entries are numbered 1 to n in the ledger's order, and the last one is this reading."""
    return list(_complete(bundle, entries))


def _complete(bundle: Bundle, entries: Sequence[Entry]) -> Iterator[str]:
    if any("subject_seq" not in entry.members for entry in entries):
        yield "An entry is not about the recipient."
        return
    if len({entry["subject_id"] for entry in entries}) > 1:
        yield "The entries are about more than one recipient."
    numbers = [entry["subject_seq"] for entry in entries]
    if missing := sorted(set(range(1, len(numbers) + 1)) - set(numbers)):
        yield f"The recipient's entries are not numbered 1 to {len(numbers)} without a gap: {missing[0]} is missing."
    elif numbers != sorted(numbers):
        yield "The recipient's entries do not stand in the ledger in the order of their numbers."
    if entries[0].type != "recipient.recorded" or sum(entry.type == "recipient.recorded" for entry in entries) != 1:
        yield "The entries do not begin with the recipient's creation."
    last = entries[-1]
    if last.type != "proof.read":
        yield "The last entry is not the reading of this proof, so later entries may have been left out."
        return
    yield from told_by_reading(bundle, last)
    if last["in_effect_at"] is None:
        yield "The reading of this proof names no instant."


def agree(entries: Sequence[Entry], values: Values) -> list[str]:  # noqa: ARG001 (steps have one form)
    """Step 6. No contact is recorded twice, and cures of dead ones have their reasons."""
    ids = [entry["contact_id"] for entry in entries if entry.type == "contact.recorded"]
    return [*verify_cures.agree(entries), *(["A contact is recorded twice."] if len(set(ids)) != len(ids) else [])]


def derive(bundle: Bundle, entries: Sequence[Entry], values: Values) -> list[str]:
    """Step 7. The recipient as shown follows from the entries."""
    derived, told = contacts_from_entries.shown(entries, values), bundle.own["recipient"]
    if not isinstance(told, dict) or set(told) != set(derived):
        return ["The recipient does not have exactly the members that it should."]
    return [f"The recipient shows a value of {name} that does not follow from the entries." for name, value in derived.items()
            if canonical(value) != canonical(told[name])]
