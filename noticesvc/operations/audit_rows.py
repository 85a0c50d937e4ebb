"""Compares the rows of the database with the entries of the log, both ways, and checks that no notice was dropped.

Called by operations.audit after every entry was judged. What the entries say lies in the audit's scratch database; the rows
are put beside it there and compared as sets.
"""

import sqlite3
from typing import Any

from noticesvc.operations.audit_tree import Findings
from noticesvc.storage import audit
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_NAMED_BY = (("evidence", t.evidence, t.evidence.c.id, "evidence"), ("intent", t.attempt, t.attempt.c.evidence_id, "attempt"),
             ("notice", t.notice, t.notice.c.id, "notice"))


def compare_rows(tx: Tx, memory: sqlite3.Connection, pending: dict[str, int], findings: Findings) -> None:
    """Evidence, attempts and notices name exactly the entries that speak of them. `pending`: first places of batches that wait."""
    for what, table, identity, word in _NAMED_BY:
        memory.execute("begin")
        for page in audit.naming(tx, table, identity):
            named = []
            for row in page:
                first = row.first if row.first is not None else pending.get(row.batch or "")
                if first is None or row.offset is None:
                    findings.add(f"The {word} row {row.id} names no entry that is in the ledger or waits for it.")
                else:
                    named.append((first + row.offset, _raw(row.id), what))
            memory.executemany("insert into named values (?, ?, ?)", named)
        memory.execute("commit")
        for place, identity_ in _only_in(memory, "named", "fact", what):
            findings.add(f"The {word} row {identity_} names entry {place}, which does not speak of it.")
        for place, identity_ in _only_in(memory, "fact", "named", what):
            findings.add(f"Entry {place} speaks of the {word} {identity_}, but no {word} row names it: a row is missing or was changed.")


def compare_counters(tx: Tx, memory: sqlite3.Connection, findings: Findings) -> None:
    """The last number on each notice's and recipient's row is that of its last entry: none is missing at the end."""
    for table, column, word in ((t.notice, t.notice.c.seq, "notice"), (t.recipient, t.recipient.c.subject_seq, "recipient")):
        for page in audit.counters(tx, table, column):
            ids = {_raw(identity): count for identity, count in page}
            memory.execute("delete from asked")
            memory.executemany("insert into asked values (?)", [(identity,) for identity in ids])
            last = dict(memory.execute("select id, last from asked join counted using (id)"))
            for identity, count in page:
                found = last.get(_raw(identity), 0)
                if found != count:
                    findings.add(f"The row of {word} {identity} counts {count} entries, the log has {found}.")


def check_conservation(tx: Tx, findings: Findings) -> None:
    """Every accepted notice is finished, or somebody is to take care of it."""
    for notice_id, channel in audit.unowned(tx):
        if channel:
            findings.add(f"Notice {notice_id} is not finished on {channel}, but nobody is to take care of it: it was dropped.")
        else:
            findings.add(f"Notice {notice_id} has no delivery at all.")


def _only_in(memory: sqlite3.Connection, one: str, other: str, what: str) -> list[tuple[int, str]]:
    statement = f"select place, id from {one} where what = ? except select place, id from {other} where what = ? order by 1 limit 1000"  # noqa: S608 (constants)
    return [(place, _text(identity)) for place, identity in memory.execute(statement, (what, what))]


def _raw(identity: str) -> bytes:
    return bytes.fromhex(identity.replace("-", ""))


def _text(identity: Any) -> str:
    h = bytes(identity).hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
