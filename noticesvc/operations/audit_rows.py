"""Compares the rows of the database with the entries of the log, both ways, and checks that no notice was dropped.

Called by operations.audit after every entry was judged. Both sides are added up (audit_sums); only where the sums differ are
the entries read again and both sides put beside each other in the scratch database, to say which row or entry it is.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from noticesvc.errors import EntryError
from noticesvc.operations.audit_entries import EntryAudit, facts_of, hexadecimal
from noticesvc.operations.audit_reader import read
from noticesvc.operations.audit_tree import Findings
from noticesvc.storage import audit
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

# What entries say of rows: the table, the column of the id, the word for it, and which rows.
NAMED_BY: Mapping[str, tuple[Any, Any, str, Any]] = {
    "evidence": (t.evidence, t.evidence.c.id, "evidence", None),
    "intent": (t.attempt, t.attempt.c.evidence_id, "attempt", None),
    "notice": (t.notice, t.notice.c.id, "notice", None),
    "content": (t.content, t.content.c.id, "shared content", t.content.c.subject_id.is_(None)),
    "cure": (t.cure, t.cure.c.id, "cure", None),
    "announcement": (t.announcement, t.announcement.c.id, "announcement", None),
}


def compare_rows(tx: Tx, entries: EntryAudit, pending: Mapping[str, int], findings: Findings) -> list[str]:
    """Every row names exactly the entry that speaks of it. `pending`: first places of batches that wait.

    Rows that name no entry are findings at once; answers the kinds of rows that must be looked into (`explain`).
    """
    differing = []
    for what, (table, identity, word, which) in NAMED_BY.items():
        for page in audit.naming(tx, table, identity, which):
            for row in page:
                place = row.place if row.place is not None else _waiting(row, pending)
                if place is None:
                    findings.add(f"The {word} row {row.id} names no entry that is in the ledger or waits for it.")
                else:
                    entries.sums.add(f"{what} row", hexadecimal(row.id), place)
        if not entries.sums.equal(what, f"{what} row"):
            differing.append(what)
    return differing


def explain(tx: Tx, memory: sqlite3.Connection, kinds: Iterable[str], all_entries: Iterable[tuple[int, list[bytes]]],
            pending: Mapping[str, int], findings: Findings) -> None:
    """Say which rows and entries of these kinds do not belong together. `all_entries`: runs of entries with their first places."""
    wanted = set(kinds)
    memory.execute("begin")
    for first, entries in all_entries:
        memory.executemany("insert into fact values (?, ?, ?)", (
            (place, identity, what) for place, data in enumerate(entries, first) for what, identity in _facts(data) if what in wanted))
    for what in wanted:
        table, identity_, _, which = NAMED_BY[what]
        for page in audit.naming(tx, table, identity_, which):
            memory.executemany("insert into named values (?, ?, ?)", (
                (place, hexadecimal(row.id), what) for row in page
                if (place := row.place if row.place is not None else _waiting(row, pending)) is not None))
    memory.execute("commit")
    for what in sorted(wanted):
        word = NAMED_BY[what][2]
        for place, identity in _only_in(memory, "named", "fact", what):
            findings.add(f"The {word} row {_text(identity)} names entry {place}, which does not speak of it.")
        for place, identity in _only_in(memory, "fact", "named", what):
            findings.add(f"Entry {place} speaks of the {word} {_text(identity)}, but no {word} row names it: "
                         "a row is missing or was changed.")


def compare_counters(tx: Tx, entries: EntryAudit, findings: Findings) -> None:
    """The last number on each notice's and recipient's row is that of its last entry: none is missing at the end."""
    for table, column, word in ((t.notice, t.notice.c.seq, "notice"), (t.recipient, t.recipient.c.subject_seq, "recipient")):
        for page in audit.counters(tx, table, column):
            for identity, count, found in entries.lasts(page):
                if found != count:
                    findings.add(f"The row of {word} {_text(identity)} counts {count} entries, the log has {found}.")


def check_conservation(tx: Tx, findings: Findings) -> None:
    """Every accepted notice is finished, or somebody is to take care of it."""
    for notice_id, channel in audit.unowned(tx):
        if channel:
            findings.add(f"Notice {notice_id} is not finished on {channel}, but nobody is to take care of it: it was dropped.")
        else:
            findings.add(f"Notice {notice_id} has no delivery at all.")


def _facts(data: bytes) -> list[tuple[str, str]]:
    try:
        return list(facts_of(read(data)))
    except (EntryError, KeyError, TypeError, ValueError, AttributeError):
        return []  # a finding of its own already


def _waiting(row: audit.Naming, pending: Mapping[str, int]) -> int | None:
    first = pending.get(hexadecimal(row.batch)) if row.batch is not None else None
    return None if first is None or row.offset is None else first + row.offset


def _only_in(memory: sqlite3.Connection, one: str, other: str, what: str) -> list[tuple[int, str]]:
    statement = f"select place, id from {one} where what = ? except select place, id from {other} where what = ? order by 1 limit 1000"  # noqa: S608 (constants)
    return list(memory.execute(statement, (what, what)))


def _text(h: str) -> str:
    h = h.replace("-", "")
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
