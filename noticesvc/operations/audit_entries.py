"""Judges every entry of a log: canonical, of a known form, counted without gaps, an answer never before its intent.

Called by operations.audit_walk, bundle by bundle in index order. What the entries say of rows is collected for the sums of
audit_sums; what must be remembered about millions of notices moves to a scratch database on disk, so memory stays flat.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from noticesvc.domain import instant
from noticesvc.domain.identity import micros_of
from noticesvc.errors import EntryError
from noticesvc.operations import audit_forms, audit_reader
from noticesvc.operations.audit_forms import SINGLE, facts_of, hexadecimal
from noticesvc.operations.audit_tree import Findings
from noticesvc.proof.entry_types import ENTRY_TYPES, SCOPE_MEMBERS

HELD = 100_000  # ids remembered in memory, before they move to the scratch database
PAGE = 10_000  # numbers of last entries handed on together
COUNTED = "counted"  # the kind of the facts that say which number the last entry about a notice or recipient has

_TRIES = frozenset({"attempt.intended", "attempt.answered"})
_SCRATCH = """
pragma journal_mode = off; pragma synchronous = off;
create table batch (first integer primary key, id text);
create table counted (id text primary key, last integer) without rowid;
create table intent (id text primary key, last integer) without rowid;
create table fact (place integer, id text, what text);
create table named (place integer, id text, what text);
create table seen (id text primary key) without rowid;
"""


def scratch(path: str) -> sqlite3.Connection:
    """The scratch database of one audit, in a file that the caller removes."""
    made = sqlite3.connect(path, isolation_level=None)
    made.executescript(_SCRATCH)
    return made


def opened(path: str) -> sqlite3.Connection:
    """The scratch database again, in another process or after one."""
    return sqlite3.connect(path, isolation_level=None)


def learn_batches(memory: sqlite3.Connection, rows: Iterable[tuple[str, int]], findings: Findings) -> None:
    """Learn the first place of batches; two at one place are a finding."""
    memory.execute("begin")
    for batch, first in rows:
        try:
            memory.execute("insert into batch values (?, ?)", (first, batch))
        except sqlite3.IntegrityError:
            findings.add(f"The index map gives two transactions the same first entry, {first}.")
    memory.execute("commit")


def batches_outside(memory: sqlite3.Connection, size: int, findings: Findings) -> None:
    """Batches that begin outside the log are findings."""
    for (first,) in memory.execute("select first from batch where first < 0 or first >= ?", (size,)):
        findings.add(f"The index map gives a transaction the first entry {first}, which the log does not have.")


class EntryAudit:
    """Sees all entries in order of index; `place` is an entry's index, for pending ones the index they are due to get.

    `mapped` is false where the index map is not at hand (an export).
    """

    def __init__(self, memory: sqlite3.Connection, findings: Findings, *, mapped: bool = True) -> None:
        self._db, self._findings, self._mapped = memory, findings, mapped
        self._shapes: dict[tuple[str, ...], tuple[str | None, tuple[str, ...]]] = {}
        self._facts: dict[str, list[str]] = defaultdict(list)
        self._at = ""
        self._last = _Held(memory, "counted")
        self._intents = _Held(memory, "intent")

    def waiting(self, batch: str, place: int, entries: list[bytes]) -> None:
        """Judge the entries of a transaction that wait, as if they stood from `place` on."""
        learn_batches(self._db, [(batch, place)], self._findings)
        self.visit(place, entries)

    def visit(self, first: int, entries: list[bytes]) -> None:
        """Judge entries that follow each other, from place `first` on."""
        starts = dict(self._db.execute("select first, id from batch where first >= ? and first < ?", (first, first + len(entries))))
        for place, data in enumerate(entries, first):
            entry = audit_forms.read(data)
            fault = None
            if entry is None:
                try:
                    members = audit_reader.read(data)
                except EntryError as error:
                    self._findings.add(f"Entry {place}: {error}")
                    continue
                entry, fault = audit_forms.plain(members), self._fault(members)
            batch = starts.get(place)
            if batch is not None:
                if entry.at[:23] != instant.text(instant.from_micros(micros_of(batch)))[:23]:
                    self._findings.add(f"The index map gives entry {place} to a transaction of another time.")
            elif entry.at != self._at and self._mapped:
                self._findings.add(f"Entry {place} begins a transaction that the index map does not name there.")
            self._at = entry.at
            if fault is not None:
                self._findings.add(f"Entry {place}: {fault}")
            else:
                self._judge(place, entry)

    def _fault(self, members: dict[str, Any]) -> str | None:
        """What is wrong with the members of an entry; null if nothing."""
        shape = (members["type"], *members)
        if shape not in self._shapes:
            self._shapes[shape] = _shape_fault(members["type"], members)
        fault, nulls = self._shapes[shape]
        for name in nulls:
            if members[name] is not None:
                return "a member that may stand only as a commitment stands open."
        return fault

    def _judge(self, place: int, entry: Any) -> None:
        try:
            if hasattr(entry, "notice_id"):
                self._count(place, hexadecimal(entry.notice_id), entry.seq)
                if entry.type in _TRIES:
                    self._try(place, entry)
            elif hasattr(entry, "subject_id"):
                self._count(place, hexadecimal(entry.subject_id), entry.subject_seq)
            for what, identity in facts_of(entry):
                self._facts[what].append(f"{identity} {place}")
        except (TypeError, ValueError, AttributeError):
            self._findings.add(f"Entry {place}: an id or a number in it is not one.")

    def facts(self) -> dict[str, str]:
        """What the entries since the last call say of rows: by kind, `id place` of each, joined by commas."""
        said = {what: ",".join(facts) for what, facts in self._facts.items()}
        self._facts.clear()
        return said

    def _count(self, place: int, identity: str, seq: int) -> None:
        if type(seq) is not int:
            raise TypeError
        last = self._last.get(identity, first=seq == 1)
        if seq != last + 1:
            self._findings.add(f"Entry {place} is number {seq} of its notice or recipient, but number {last + 1} was due: "
                               "entries are missing, doubled or out of order.")
        self._last.put(identity, seq)

    def _try(self, place: int, entry: Any) -> None:
        """An attempt is intended once and answered once, in this order; one entry of an own channel does both."""
        if type(entry.attempt) is not int:
            raise TypeError
        key = f"{hexadecimal(entry.delivery_id)}.{entry.attempt}"
        if entry.type == "attempt.intended":
            before = self._intents.get(key, first=False)
            if before:
                self._findings.add(f"Entry {place} intends an attempt that was intended before, by entry {before - 1}.")
            self._intents.put(key, place + 1)
        elif not (entry.channel in SINGLE and entry.intended_id is not None) and not self._intents.take(key):
            self._findings.add(f"Entry {place} answers an attempt that no entry before it intended.")

    def lasts(self) -> Iterator[str]:
        """The number of the last entry about each notice and recipient, `id number` joined by commas, when all were visited."""
        self._last.spill()
        rows = self._db.execute("select id || ' ' || last from counted")
        while page := rows.fetchmany(PAGE):
            yield ",".join(text for text, in page)


def last_numbers(memory: sqlite3.Connection, ids: list[str]) -> dict[str, int]:
    """The number of the last entry about each of these ids, as far as there is one.

    Neighbouring ids are asked for together, which is quick because they are neighbours in the scratch database too.
    """
    return dict(memory.execute("select id, last from counted where id between ? and ?", (min(ids), max(ids)))) if ids else {}


class _Held:
    """Numbers by key: the latest HELD in memory, the rest in a table of the scratch database."""

    def __init__(self, memory: sqlite3.Connection, table: str) -> None:
        self._db, self._table = memory, table
        self._held: dict[str, int] = {}
        self._spilled = False

    def get(self, key: str, *, first: bool) -> int:
        """The number of a key, 0 if there is none. `first`: it is expected to be new, so that only memory is asked."""
        found = self._held.get(key)
        if found is not None:
            return found
        if first or not self._spilled:
            return 0
        row = self._db.execute(f"select last from {self._table} where id = ?", (key,)).fetchone()  # noqa: S608 (a constant)
        return int(row[0]) if row else 0

    def put(self, key: str, number: int) -> None:
        """Remember a number."""
        self._held[key] = number
        if len(self._held) >= HELD:
            self.spill()

    def take(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        if self._held.pop(key, None) is not None:
            return True
        return self._spilled and self._db.execute(f"delete from {self._table} where id = ?", (key,)).rowcount > 0  # noqa: S608 (a constant)

    def spill(self) -> None:
        """Move all to the table."""
        self._db.execute("begin")
        self._db.executemany(f"insert or replace into {self._table} values (?, ?)", sorted(self._held.items()))  # noqa: S608 (a constant)
        self._db.execute("commit")
        self._held, self._spilled = {}, True


def _shape_fault(type_: str, members: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """What is wrong with the names of an entry's members (null: nothing), and which members must be null."""
    known = ENTRY_TYPES.get(type_)
    if known is None:
        return "its type is not known to this version.", ()
    names = set(members) - {"v", "type", "at"}
    scopes = ("notice", "subject") if known.scope == "either" else (known.scope,)
    open_nulls = tuple(name for name in known.committed if name in names)
    committed = {name if name in open_nulls else f"{name}_commit" for name in known.committed}
    if not any(names - set(known.optional) == set(known.open) | committed | set(SCOPE_MEMBERS[scope]) for scope in scopes):
        return "it lacks members that its type has, or has others.", ()
    return None, open_nulls
