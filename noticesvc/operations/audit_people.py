"""Recipients beside their entries: contacts, acceptances, state of the account, and the rows that name each entry.

Called by operations.audit_open, one page of recipients at a time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noticesvc.errors import VaultError
from noticesvc.operations import audit_columns as columns
from noticesvc.operations import subjects
from noticesvc.operations.audit_log import Log, Opened, ref_of
from noticesvc.operations.audit_tree import Findings
from noticesvc.operations.world import World
from noticesvc.proof.entries import Entry
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx
from noticesvc.vault import DataKey

if TYPE_CHECKING:
    from noticesvc.operations.audit_open import Seen

Values = Mapping[tuple[int, str], bytes]


class PeopleAudit:
    """Goes through pages of recipients."""

    def __init__(self, tx: Tx, world: World, log: Log, seen: "Seen", findings: Findings) -> None:
        self._tx, self._world, self._log, self._seen, self._findings = tx, world, log, seen, findings

    def page(self, recipients: Sequence[Any]) -> None:
        """Judge these recipients."""
        ids = [row.subject_id for row in recipients]
        mine: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        refs = {ref_of(row) for row in recipients}
        for table in (t.contact, t.cure, t.acceptance, t.subject_entry):
            rows = self._tx.rows(table, "subject_id", ids)
            self._seen.rows[table.name] += len(rows)
            refs |= {ref_of(row) for row in rows}
            for row in rows:
                mine[row.subject_id][table.name].append(row)
        entries = self._log.read(refs)
        for row in recipients:
            self._recipient(row, mine[row.subject_id], entries)

    def _recipient(self, row: Any, rows: Mapping[str, Sequence[Any]], entries: Mapping[EntryRef | None, Entry]) -> None:
        key, opened = self._key(row), Opened(self._findings)
        numbered: dict[int, Entry] = {}
        for one in rows.get("subject_entry", ()):
            entry = self._named(row, "subject_entry", t.subject_entry, one, entries)
            if entry is not None:
                numbered[one.subject_seq] = entry
                opened.keep(entry, key, one.sealed, subjects.place(one.subject_id, one.subject_seq))
                if one.about_id != (entry.get("contact_id") or entry.get("acceptance_id")):
                    self._wrong(row, f"the row of its entry {one.subject_seq} says to be about something else.")
        if sorted(numbered) != list(range(1, row.subject_seq + 1)):
            self._wrong(row, f"its rows name {len(numbered)} entries, but there are {row.subject_seq}, numbered from 1 on.")
        mine = [numbered[number] for number in sorted(numbered)]
        made: dict[str, dict[str, Entry]] = {"contact": {}, "acceptance": {}}
        recorded = self._named(row, "recipient", t.recipient, row, entries, "recipient.recorded")
        if recorded is not None:
            opened.keep(recorded, key, row.sealed, f"recipient:{row.subject_id}")
        for word, table in (("contact", t.contact), ("acceptance", t.acceptance)):
            for one in rows.get(word, ()):
                entry = self._named(row, word, table, one, entries, f"{word}.recorded")
                if entry is not None:
                    made[word][one.id] = entry
                    opened.keep(entry, key, one.sealed, f"{word}:{one.id}")
            told = {entry[f"{word}_id"] for entry in mine if entry.type == f"{word}.recorded"}
            if told != made[word].keys():
                self._wrong(row, f"its {word} rows are not those that its entries record.")
        for one in rows.get("cure", ()):
            if self._named(row, "cure", t.cure, one, entries, "cure.begun") is not None and not _cure_follows(one, mine):
                self._wrong(row, f"the cure row {one.id} is open or closed against its entries.")
        values = opened.check(mine, key)
        if key is None and not any(entry.type == "recipient.anonymised" for entry in mine):
            self._wrong(row, "its key is gone, but no entry says that it was anonymised.")
        for name in self._differing(row, mine):
            self._wrong(row, f"the column {name} does not hold what follows from its entries.")
        for name in self._contacts(rows.get("contact", ()), mine):
            self._wrong(row, name)
        if key is not None:
            self._indexes(row, rows.get("contact", ()), made["contact"], recorded, values)

    def _key(self, row: Any) -> DataKey | None:
        try:
            return row.wrapped_key and self._world.vault.unwrap(row.wrapped_key, f"recipient:{row.subject_id}")
        except VaultError:
            self._wrong(row, "its key cannot be unwrapped: the column wrapped_key was changed, or moved from another row.")
            return None

    def _wrong(self, row: Any, what: str) -> None:
        self._findings.add(f"Recipient {row.subject_id}: {what}")

    def _named(self, recipient: Any, word: str, table: Any, row: Any, entries: Mapping[EntryRef | None, Entry], type_: str | None = None,
               ) -> Entry | None:
        entry = entries.get(ref_of(row))
        if entry is None or (type_ is not None and entry.type != type_) or entry.get("subject_id") != recipient.subject_id:
            self._wrong(recipient, f"a {word} row names no entry about it that can be read.")
            return None
        for column in columns.differing(table, row, entry.members):
            self._wrong(recipient, f"a {word} row differs from entry {entry.index} in {column}.")
        return entry

    def _differing(self, row: Any, mine: Sequence[Entry]) -> Iterator[str]:
        expected: dict[str, Any] = {"account_state": None, "void_at": None, "refuse_commercial": "", "acceptance_id": None,
                                    "anonymised_at": None, "shred_at": None, "held_at": None}
        accepted_at = ""
        for entry in mine:
            match entry.type:
                case "recipient.recorded":
                    expected["account_state"] = entry["account_state"]
                case "account.changed":
                    expected |= {"account_state": entry["state"], "void_at": entry["at"] if entry["state"] == "void" else None}
                case "preferences.recorded":
                    expected["refuse_commercial"] = " ".join(entry["refuse_commercial"])
                case "anonymisation.requested":
                    expected |= {"anonymised_at": entry["at"], "shred_at": entry["shred_at"]}
                case "hold.set":
                    expected["held_at"] = (expected["held_at"] or entry["at"]) if entry["held"] else None
                case "acceptance.recorded" if entry["accepted_at"] >= accepted_at:
                    expected["acceptance_id"], accepted_at = entry["acceptance_id"], entry["accepted_at"]
        times = ("void_at", "anonymised_at", "shred_at", "held_at")
        shown = {name: columns.text(getattr(row, name)) if name in times else getattr(row, name) for name in expected}
        yield from (name for name, value in expected.items() if shown[name] != value)

    @staticmethod
    def _contacts(rows: Sequence[Any], mine: Sequence[Entry]) -> Iterator[str]:
        ends = {entry["contact_id"]: entry["effective_to"] for entry in mine if entry.type == "contact.ended"}
        states = {entry["contact_id"]: entry["state"] for entry in mine if entry.type == "contact.state_changed"}
        for row in rows:
            if columns.text(row.effective_to) != ends.get(row.id):
                yield f"the contact row {row.id} ends at another time than its entries say."
            if row.state != states.get(row.id, "usable"):
                yield f"the contact row {row.id} is usable or not against its entries."

    def _indexes(self, row: Any, contacts: Sequence[Any], made: Mapping[str, Entry], recorded: Entry | None, values: Values) -> None:
        index = self._world.vault.index
        name = values.get((recorded.position, "recipient_id")) if recorded is not None else None
        if name is not None and row.recipient_index != index("recipient", name.decode()):
            self._wrong(row, "the column recipient_index is not the index of its own id.")
        for contact in contacts:
            entry = made.get(contact.id)
            address = values.get((entry.position, "address")) if entry is not None else None
            source = values.get((entry.position, "source")) if entry is not None else None
            if address is not None and contact.address_index != index("address", f"{contact.channel}:{address.decode()}"):
                self._wrong(row, f"the contact row {contact.id} has another index of its address than the address has.")
            if source is not None and contact.source_index != index("source", source.decode()):
                self._wrong(row, f"the contact row {contact.id} has another index of its source than the source has.")


def _cure_follows(row: Any, mine: Sequence[Entry]) -> bool:
    """Whether a cure is as its last entry left it; which notice tells of an open one stands in that notice's acceptance."""
    closed = [entry for entry in mine if entry.type in ("cure.ended", "cure.lapsed") and entry["cure_id"] == row.id]
    if not closed:
        return (row.state, row.reason) == ("open", None) and row.notice_id is not None
    return len(closed) == 1 and (row.state, row.reason, row.notice_id) == (
        closed[0].type.removeprefix("cure."), closed[0]["reason"], closed[0]["cure_notice_id"])
