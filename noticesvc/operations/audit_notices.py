"""Notices beside their entries: every column, every opening, every derived state. One page of notices at a time.

Called by operations.audit_open. What a notice's rows must hold follows from its entries alone, by the same pure functions by
which a proof is verified.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from noticesvc.domain import instant, view
from noticesvc.errors import NoticesvcError, VaultError
from noticesvc.operations import audit_columns as columns
from noticesvc.operations.audit_log import Log, Opened, is_half, ref_of
from noticesvc.operations.audit_tree import Findings
from noticesvc.operations.inbox import ACTS
from noticesvc.operations.world import World
from noticesvc.proof import facts_from_entries
from noticesvc.proof.entries import Entry
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx
from noticesvc.vault import DataKey, fingerprint

if TYPE_CHECKING:
    from noticesvc.operations.audit_open import Seen

_OF_NOTICE = (t.delivery, t.attempt, t.evidence, t.notice_entry, t.inbox_message, t.notice_document, t.certificate)
Rows = Mapping[str, Sequence[Any]]


class NoticeAudit:
    """Goes through pages of notices."""

    def __init__(self, tx: Tx, world: World, log: Log, seen: "Seen", findings: Findings) -> None:
        self._tx, self._world, self._log, self._seen, self._findings = tx, world, log, seen, findings

    def page(self, notices: Sequence[Any], keys: Mapping[str, DataKey | None]) -> None:
        """Judge these notices; `keys` are the data keys of their recipients."""
        ids = [row.id for row in notices]
        mine: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for table in _OF_NOTICE:
            rows = self._tx.rows(table, "notice_id", ids)
            self._seen.rows[table.name] += len(rows)
            for row in rows:
                mine[row.notice_id][table.name].append(row)
        contents = {row.id: row for row in self._tx.rows(t.content, "id", {row.content_id for row in notices})}
        self._seen.names("content", list(contents))
        refs = {ref for row in notices for ref in (ref_of(row), ref_of(row, "determined"))}
        refs |= {ref_of(row) for row in contents.values()}
        for tables in mine.values():
            refs |= {ref for rows in tables.values() for row in rows for ref in (ref_of(row), ref_of(row, "closed"))}
        entries = self._log.read(refs)
        links: list[tuple[str, str]] = []
        references: dict[tuple[bytes, str], set[tuple[str, int]]] = {}
        cures: dict[str, str] = {}
        for row in notices:
            one = _Notice(row, mine[row.id], contents.get(row.content_id), entries, keys.get(row.subject_id), self._world, self._findings)
            one.judge(instant.from_micros(self._tx.now))
            self._seen.names("document wanted", one.documents)
            links += one.links
            references |= one.references
            if one.cure_id is not None:
                cures[one.cure_id] = row.id
        self._links(links)
        self._references(references)
        self._cures(cures)

    def _links(self, expected: Sequence[tuple[str, str]]) -> None:
        wanted = {fingerprint(self._world.vault.token("link", f"{notice_id}.{channel}").encode()): (notice_id, channel)
                  for notice_id, channel in expected}
        found = {row.token_hash: (row.notice_id, row.channel) for row in self._tx.rows(t.link, "token_hash", list(wanted))}
        self._seen.rows["link"] += len(found)
        for token, place in wanted.items():
            if found.get(token) != place:
                self._findings.add(f"The link row of notice {place[0]} on {place[1]} is missing or was changed.")

    def _references(self, expected: Mapping[tuple[bytes, str], set[tuple[str, int]]]) -> None:
        rows = self._tx.rows(t.provider_reference, "reference_index", {index for index, _ in expected})
        found = {(row.reference_index, row.notice_id): (row.channel, row.attempt) for row in rows}
        for place, attempts in expected.items():
            self._seen.rows["provider_reference"] += place in found
            if found.get(place) not in attempts:
                self._findings.add(f"The row by which a provider's reference finds notice {place[1]} is missing or was changed.")


    def _cures(self, expected: Mapping[str, str]) -> None:
        """A cure names the notice that tells of it; what else it says is compared with its recipient's entries."""
        found = {row.id: row.notice_id for row in self._tx.rows(t.cure, "id", list(expected))}
        for cure_id, notice_id in expected.items():
            if found.get(cure_id) != notice_id:
                self._findings.add(f"The cure row {cure_id}, which notice {notice_id} tells of, is missing or names another notice.")


class _Notice:
    """One notice with its rows and their entries."""

    def __init__(self, row: Any, rows: Rows, content: Any, entries: Mapping[EntryRef | None, Entry], key: DataKey | None, world: World,
                 findings: Findings) -> None:
        self.row, self.rows, self.content, self.key, self.world = row, rows, content, key, world
        self._entries, self._findings = entries, findings
        self._named: dict[int, Entry] = {}  # by position
        self.documents: list[str] = []
        self.cure_id: str | None = None
        self.links: list[tuple[str, str]] = []
        self.references: dict[tuple[bytes, str], set[tuple[str, int]]] = {}

    def _wrong(self, what: str) -> None:
        self._findings.add(f"Notice {self.row.id}: {what}")

    def judge(self, now: Any) -> None:
        """All of it."""
        opened = Opened(self._findings)
        accepted = self._same("notice", t.notice, self.row, "notice.accepted")
        if accepted is None:
            return
        opened.keep(accepted, self.key, self.row.sealed, f"notice:{self.row.id}")
        self.cure_id = accepted.get("cure_id")
        shared = self._content(accepted, opened)
        for one in self.rows.get("attempt", ()):
            entry = self._same("attempt", t.attempt, one, "attempt.intended", "attempt.answered")
            if entry is not None:
                opened.keep(entry, self.key, one.sealed, f"attempt:{one.notice_id}:{one.channel}:{one.number}")
                if _json(one.passed_over) != entry.get("passed_over"):
                    self._wrong(f"its attempt {one.number} on {one.channel} passed over other providers than its entry says.")
                self._closed(one, entry)
        for one in self.rows.get("evidence", ()):
            entry = self._same("evidence", t.evidence, one, "attempt.answered", "receipt.observed", "evidence.stated")
            if entry is not None:
                opened.keep(entry, self.key, one.sealed, f"evidence:{one.id}")
                if one.answer is not (entry.type == "attempt.answered"):
                    self._wrong(f"the evidence row {one.id} differs from its entry in answer.")
        for one in self.rows.get("notice_entry", ()):
            entry = self._same("notice_entry", t.notice_entry, one)
            if entry is not None:
                opened.keep(entry, self.key, one.sealed, f"notice_entry:{one.notice_id}:{one.seq}")
        self._determined()
        mine = sorted(self._named.values(), key=lambda entry: int(entry.get("seq") or 0))
        if [entry.get("seq") for entry in mine] != list(range(1, self.row.seq + 1)):
            self._wrong(f"its rows name {len(mine)} entries, but there are {self.row.seq}, numbered from 1 on.")
            return
        values = opened.check([*mine, *shared], self.key)
        try:
            facts = facts_from_entries.notice_facts([*mine, *shared], values)
            weighing = view.weigh(facts, now)
        except (NoticesvcError, KeyError, ValueError, TypeError):
            self._wrong("its entries do not go together, so that nothing can be derived from them.")
            return
        for name in self._differing(accepted, mine, values, weighing):
            self._wrong(f"the column {name} does not hold what follows from its entries.")
        self._deliveries(accepted, mine, weighing)
        self._inbox(mine)
        if any(entry.type == "attempt.intended" and entry["channel"] == "sms" and entry["carries"] == "link" and entry["provider"]
               for entry in mine):
            self.links.append((self.row.id, "sms"))
        named = {one for entry in mine for one in entry.get("document_ids") or ()}
        if {row.document_id for row in self.rows.get("notice_document", ())} != named:
            self._wrong("the rows of its documents are not those that its entries name.")
        self._certificates(mine)
        if self.key is not None:
            self._from_values(mine, values)

    def _certificates(self, mine: Sequence[Entry]) -> None:
        """Each issued certificate has its row, and the kept file, while there is a key to open it, has the hash in the entry."""
        rows = self.rows.get("certificate", ())
        if {row.number for row in rows} != {entry["number"] for entry in mine if entry.type == "certificate.issued"}:
            self._wrong("the rows of its certificates are not those that its entries name.")
        for row in rows:
            self._same("certificate", t.certificate, row, "certificate.issued")
            try:
                data = self.key.open(row.sealed, f"certificate:{row.number}") if self.key is not None and row.sealed is not None else None
            except VaultError:
                data = b""
            if (data is None) is not (self.key is None) or (data is not None and sha256(data).hexdigest() != row.pdf_sha256):
                self._wrong("a kept certificate is missing, or is not the file that was issued.")

    def _same(self, word: str, table: Any, row: Any, *types: str) -> Entry | None:
        """The entry that a row names, with a finding for each column that does not repeat it."""
        entry = self._entries.get(ref_of(row))
        if entry is None or (types and entry.type not in types) or entry.get("notice_id") != self.row.id:
            self._wrong(f"a {word} row names no entry about it that can be read.")
            return None
        self._named[entry.position] = entry
        for column in columns.differing(table, row, entry.members):
            self._wrong(f"a {word} row differs from entry {entry.index} in {column}.")
        return entry

    def _content(self, accepted: Entry, opened: Opened) -> list[Entry]:
        """The content row: the notice's own, opened with its acceptance, or a shared one with an entry of its own."""
        row = self.content
        own = "content_commit" in accepted.commitments or "content_commit" in accepted.members
        if row is None:
            self._wrong("its content row is missing.")
        elif own:
            if row.subject_id != self.row.subject_id or ref_of(row) is not None or is_half(row):
                self._wrong("its content row belongs to somebody else or names an entry.")
            opened.keep(accepted, self.key, row.sealed, f"content:{row.id}")
        else:
            entry = self._entries.get(ref_of(row))
            if entry is None or row.subject_id is not None or entry.get("content_id") != row.id:
                self._wrong("its shared content row names no entry about it that can be read.")
            else:
                opened.keep(entry, self.world.system_key, row.sealed, f"content:{row.id}")
                return [entry]
        return []

    def _closed(self, row: Any, intent: Entry) -> None:
        ref = ref_of(row, "closed")
        entry = self._entries.get(ref)
        if entry is not None:
            self._named[entry.position] = entry
        told = (entry.get("outcome"), entry.get("delivery_id"), entry.get("attempt"), entry.get("notice_id")) if entry is not None else None
        if row.outcome is None and ref is None:
            fits = True
        else:
            fits = row.outcome == "not_sent" and told == ("not_sent", intent["delivery_id"], row.number, self.row.id)
        if not fits or is_half(row, "closed") or row.call_started_at is not None:
            self._wrong(f"its attempt {row.number} on {row.channel} says that it ended otherwise than its entries do.")

    def _determined(self) -> None:
        ref = ref_of(self.row, "determined")
        entry = self._entries.get(ref)
        if entry is not None and entry.get("notice_id") == self.row.id:
            self._named[entry.position] = entry
        if is_half(self.row, "determined") or (
                (ref is not None or self.row.revision) and (entry is None or entry.get("revision") != 1)):
            self._wrong("it does not name the entry of its first determined result.")

    def _differing(self, accepted: Entry, mine: Sequence[Entry], values: Mapping[tuple[int, str], bytes],
                   weighing: view.Weighing) -> Iterator[str]:
        row, determined = self.row, [entry for entry in mine if entry.type == "service.determined"]
        last = determined[-1].members if determined else {}
        own = last.get("independent") or {}
        joined = [entry["announcement_id"] for entry in mine if entry.type == "announcement.joined"]
        deadlines: list[dict[str, Any]] = []
        for entry in (entry for entry in mine if entry.type == "deadline.set"):
            deadlines = [*(one for one in deadlines if one["kind"] != entry["kind"]),
                         {"kind": entry["kind"], "ends_at": entry["ends_at"], "without_data": entry["without_data"],
                          "evidence_id": entry["from_evidence_id"]}]
        expected = {
            "state": weighing.state, "revision": len(determined), "served": last.get("served", False),
            "served_at": last.get("served_at"), "service_channel": last.get("channel"), "service_evidence_id": last.get("evidence_id"),
            "basis": last.get("basis"), "conflict": last.get("conflict", False), "independent_at": own.get("served_at"),
            "independent_channel": own.get("channel"), "independent_evidence_id": own.get("evidence_id"),
            "announcement_id": joined[-1] if joined else accepted["announcement_id"],
            "response_window": accepted["response_window"], "deadlines": deadlines}
        shown = {name: getattr(row, name) for name in expected} | {
            "served_at": columns.text(row.served_at), "independent_at": columns.text(row.independent_at),
            "response_window": _json(row.response_window), "deadlines": _json(row.deadlines) or []}
        if self.key is not None:
            index = self.world.vault.index
            reference, case = values.get((accepted.position, "reference")), values.get((accepted.position, "case"))
            expected |= {"reference_index": reference and index("reference", reference.decode()),
                         "case_index": case and index("case", json.loads(case)["case_number"])}
            shown |= {"reference_index": row.reference_index, "case_index": row.case_index}
        yield from (name for name, value in expected.items() if shown[name] != value)

    def _deliveries(self, accepted: Entry, mine: Sequence[Entry], weighing: view.Weighing) -> None:
        closed = {entry["delivery_id"]: entry["state"] for entry in mine if entry.type == "delivery.closed"}
        expected = {}
        for position, one in enumerate(accepted["deliveries"]):
            state = weighing.states.get(one["id"])
            # `claimed` is only shown: the row stays claimable, with its lease.
            expected[one["channel"]] = (one["id"], self.row.subject_id, position, one["carries"], closed.get(one["id"]),
                                        "pending" if state == "claimed" else state)
        found = {row.channel: (row.id, row.subject_id, row.position, row.carries, row.closed, row.state)
                 for row in self.rows.get("delivery", ())}
        for channel in expected.keys() | found.keys():
            if expected.get(channel) != found.get(channel):
                self._wrong(f"its delivery row on {channel} is missing, or does not hold what follows from its entries.")

    def _inbox(self, mine: Sequence[Entry]) -> None:
        own = [entry for entry in mine if entry.get("channel") == "in_site" and entry.get("source") == "inbox"]
        arrived = next((entry["observed_at"] for entry in own if entry.type == "attempt.answered"), None)
        expected = []
        if arrived is not None:
            acts = {kind: next((entry["observed_at"] for entry in own if entry["kind"] == kind), None) for kind in ACTS.values()}
            expected.append((self.row.subject_id, arrived, *acts.values()))
        found = [(row.subject_id, columns.text(row.sent_at), *(columns.text(getattr(row, f"{kind}_at")) for kind in ACTS))
                 for row in self.rows.get("inbox_message", ())]
        if found != expected:
            self._wrong("its message in the inbox is missing, or does not hold what follows from its entries.")

    def _from_values(self, mine: Sequence[Entry], values: Mapping[tuple[int, str], bytes]) -> None:
        """What can be compared only because values are open: blind indexes, references, hashes of documents."""
        index = self.world.vault.index
        by_id = {entry["evidence_id"]: entry for entry in mine if entry.is_evidence}
        for row in self.rows.get("evidence", ()):
            entry = by_id.get(row.id)
            raw = values.get((entry.position, "raw_sha256")) if entry is not None else None
            if row.raw_index != (raw and index("raw", raw.decode())):
                self._wrong(f"the evidence row {row.id} has another index of its raw bytes than they have.")
        for entry in mine:
            reference = values.get((entry.position, "provider_reference"))
            if entry.type == "attempt.answered" and reference and entry["provider"]:
                place = index("provider_reference", f"{entry['provider']}\0{reference.decode()}"), self.row.id
                self.references.setdefault(place, set()).add((entry["channel"], entry["attempt"]))
            content, stated = values.get((entry.position, "content")), values.get((entry.position, "documents"))
            self.documents += json.loads(content)["documents"] if content is not None else []
            self.documents += json.loads(stated) if stated is not None else []


def _json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
