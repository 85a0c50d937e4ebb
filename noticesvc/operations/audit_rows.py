"""Compares the rows of the database with the entries of the log, both ways, and checks that no notice was dropped.

Called by operations.audit beside the walk over the log. Both sides are added up (audit_sums); only where the sums differ are the
entries read again and both sides put beside each other in the scratch database, to say which row or entry it is.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from noticesvc.errors import EntryError
from noticesvc.operations.audit_entries import COUNTED, last_numbers
from noticesvc.operations.audit_forms import facts_of, plain
from noticesvc.operations.audit_reader import read
from noticesvc.operations.audit_sums import Sums
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
    "broadcast": (t.broadcast, t.broadcast.c.id, "broadcast", t.broadcast.c.approved_at.is_not(None)),
    "announcement": (t.announcement, t.announcement.c.id, "announcement", None),
}

COUNTERS = ((t.notice, t.notice.c.seq, "notice"), (t.recipient, t.recipient.c.subject_seq, "recipient"))


class RowAudit:
    """Reads rows and adds them to the sums, a page a step, so that it can be done while the log is walked over elsewhere.

    `pending` are the first places of batches that wait. Rows that name no entry are findings at once, as are notices that were
    dropped; the others are found by `differing` when the log has spoken too.
    """

    def __init__(self, tx: Tx, sums: Sums, pending: Mapping[str, int]) -> None:
        self._tx, self._sums, self._pending = tx, sums, pending
        self.naming, self.conservation = Findings(), Findings()
        self._work = chain(self._rows(), self._counters(), self._owners())

    def step(self) -> bool:
        """Do one more page; false when all is done."""
        return next(self._work, False)

    def finish(self) -> None:
        """Do the rest."""
        while self.step():
            pass

    def differing(self) -> list[str]:
        """The kinds of rows that must be looked into (`explain`)."""
        return [what for what in NAMED_BY if not self._sums.equal(what, f"{what} row")]

    def counters_differ(self) -> bool:
        """Whether the counters of notices and recipients must be looked into (`compare_counters`)."""
        return not self._sums.equal(COUNTED, f"{COUNTED} row")

    def _rows(self) -> Iterator[bool]:
        for what, (table, identity, word, which) in NAMED_BY.items():
            for where in audit.ranges(self._tx, table):
                number, said = audit.named(self._tx, table, identity, where, which)
                if number == _number(said):
                    self._sums.add(f"{what} row", said)
                else:  # some of them wait, or name no entry
                    self._each(what, word, audit.naming(self._tx, table, identity, where, which))
                yield True

    def _each(self, what: str, word: str, rows: Iterable[audit.Naming]) -> None:
        for row in rows:
            place = row.place if row.place is not None else _waiting(row, self._pending)
            if place is None:
                self.naming.add(f"The {word} row {row.id} names no entry that is in the ledger or waits for it.")
            else:
                self._sums.add(f"{what} row", f"{_hex(row.id)} {place}")

    def _counters(self) -> Iterator[bool]:
        for table, column, _ in COUNTERS:
            for where in audit.ranges(self._tx, table):
                self._sums.add(f"{COUNTED} row", audit.counted(self._tx, table, column, where))
                yield True

    def _owners(self) -> Iterator[bool]:
        """Every accepted notice is finished, or somebody is to take care of it."""
        for rows in audit.unowned(self._tx):
            for notice_id, channel in rows:
                if channel:
                    self.conservation.add(
                        f"Notice {notice_id} is not finished on {channel}, but nobody is to take care of it: it was dropped.")
                else:
                    self.conservation.add(f"Notice {notice_id} has no delivery at all.")
            yield True


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
        for where in audit.ranges(tx, table):
            memory.executemany("insert into named values (?, ?, ?)", (
                (place, _hex(row.id), what) for row in audit.naming(tx, table, identity_, where, which)
                if (place := row.place if row.place is not None else _waiting(row, pending)) is not None))
    memory.execute("commit")
    for what in sorted(wanted):
        word = NAMED_BY[what][2]
        for place, identity in _only_in(memory, "named", "fact", what):
            findings.add(f"The {word} row {_text(identity)} names entry {place}, which does not speak of it.")
        for place, identity in _only_in(memory, "fact", "named", what):
            findings.add(f"Entry {place} speaks of the {word} {_text(identity)}, but no {word} row names it: "
                         "a row is missing or was changed.")


def compare_counters(tx: Tx, memory: sqlite3.Connection, findings: Findings) -> None:
    """The last number on each notice's and recipient's row is that of its last entry: none is missing at the end."""
    for table, column, word in COUNTERS:
        for where in audit.ranges(tx, table):
            counts = audit.counters(tx, table, column, where)
            found = last_numbers(memory, [_hex(identity) for identity in counts])
            for identity, count in counts.items():
                last = found.get(_hex(identity), 0)
                if last != count:
                    findings.add(f"The row of {word} {_text(identity)} counts {count} entries, the log has {last}.")


def _facts(data: bytes) -> list[tuple[str, str]]:
    try:
        return list(facts_of(plain(read(data))))
    except (EntryError, KeyError, TypeError, ValueError, AttributeError):
        return []  # a finding of its own already


def _waiting(row: audit.Naming, pending: Mapping[str, int]) -> int | None:
    first = pending.get(_hex(row.batch)) if row.batch is not None else None
    return None if first is None or row.offset is None else first + row.offset


def _only_in(memory: sqlite3.Connection, one: str, other: str, what: str) -> list[tuple[int, str]]:
    statement = f"select place, id from {one} where what = ? except select place, id from {other} where what = ? order by 1 limit 1000"  # noqa: S608 (constants)
    return list(memory.execute(statement, (what, what)))


def _number(said: str) -> int:
    return said.count(",") + 1 if said else 0


def _hex(identity: str) -> str:
    """An id in 32 digits, if it is one; a row's may be anything."""
    return identity.replace("-", "")


def _text(identity: str) -> str:
    h = _hex(identity)
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
