"""Judges every entry of a log: canonical, of a known form, counted without gaps, an answer never before its intent.

Called by operations.audit, bundle by bundle in index order. What must be remembered about millions of notices lies in a
scratch database on disk, so memory stays flat.
"""

import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from noticesvc.domain import instant
from noticesvc.domain.identity import micros_of
from noticesvc.errors import EntryError
from noticesvc.ledger import entry as ledger_entry
from noticesvc.ledger.canonical import MAX_INT
from noticesvc.operations.audit_tree import Findings
from noticesvc.proof.entry_types import ENTRY_TYPES, SCOPE_MEMBERS

FLUSH = 16_384  # entries between two visits to the scratch database
SINGLE = frozenset({"in_site", "announcement"})  # channels whose one entry holds intent and answer

_SCRATCH = """
pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive;
create table batch (first integer primary key, id text);
create table counted (id blob primary key, last integer) without rowid;
create table intent (id blob primary key, place integer) without rowid;
create table fact (place integer, id blob, what text);
create table named (place integer, id blob, what text);
create temp table asked (id blob primary key) without rowid;
"""
_PLAIN, _NESTED = frozenset({str, bool, int, type(None)}), frozenset({dict, list})
_DEEP = 8  # deeper values are left to the slow reader, which has the exact limit
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def scratch(path: str) -> sqlite3.Connection:
    """The scratch database of one audit, in a file that the caller removes."""
    made = sqlite3.connect(path, isolation_level=None)
    made.executescript(_SCRATCH)
    return made


def read(data: bytes) -> dict[str, Any]:
    """The members of an entry, exactly as ledger.entry.decode gives them but quicker. Raises EntryError as that does.

    Plain ASCII without escapes and without unusual numbers has one spelling with sorted names, which is what RFC 8785
    demands; so decoding and encoding again shows whether it is canonical. Everything else goes the slow way.
    """
    if data.isascii() and b"\\" not in data and len(data) <= ledger_entry.MAX_ENTRY_BYTES:
        try:
            found = _decode(data)
        except (msgspec.DecodeError, RecursionError):
            found = None
        if type(found) is dict and _encode(found) == data and found.get("v") == 1 and type(found["v"]) is int \
                and type(found.get("type")) is type(found.get("at")) is str and found["type"] and found["at"] and _usual(found.values()):
            return found
    return ledger_entry.decode(data)


class EntryAudit:
    """Sees all entries in order of index; `place` is an entry's index, for pending ones the index they are due to get.

    `mapped` is false where the index map is not at hand (an export).
    """

    def __init__(self, memory: sqlite3.Connection, findings: Findings, *, mapped: bool = True) -> None:
        self._db, self._findings, self._mapped = memory, findings, mapped
        self._shapes: dict[tuple[str, ...], tuple[str | None, tuple[str, ...]]] = {}
        self._at = ""
        self._counts: dict[bytes, list[tuple[int, int]]] = {}
        self._tries: list[tuple[bytes, bool, bool, int]] = []
        self._facts: list[tuple[int, bytes, str]] = []
        self._seen = 0

    def batches(self, rows: Iterable[tuple[str, int]]) -> None:
        """Learn the first place of batches; two at one place are a finding."""
        self._db.execute("begin")
        for batch, first in rows:
            try:
                self._db.execute("insert into batch values (?, ?)", (first, batch))
            except sqlite3.IntegrityError:
                self._findings.add(f"The index map gives two transactions the same first entry, {first}.")
        self._db.execute("commit")

    def batches_outside(self, size: int) -> None:
        """Batches that begin outside the log are findings."""
        for (first,) in self._db.execute("select first from batch where first < 0 or first >= ?", (size,)):
            self._findings.add(f"The index map gives a transaction the first entry {first}, which the log does not have.")

    def visit(self, first: int, entries: list[bytes]) -> None:
        """Judge entries that follow each other, from place `first` on."""
        starts = dict(self._db.execute("select first, id from batch where first >= ? and first < ?", (first, first + len(entries))))
        for place, data in enumerate(entries, first):
            try:
                members = read(data)
            except EntryError as error:
                self._findings.add(f"Entry {place}: {error}")
                continue
            at = members["at"]
            batch = starts.get(place)
            if batch is not None:
                if at[:23] != instant.text(instant.from_micros(micros_of(batch)))[:23]:
                    self._findings.add(f"The index map gives entry {place} to a transaction of another time.")
            elif at != self._at and self._mapped:
                self._findings.add(f"Entry {place} begins a transaction that the index map does not name there.")
            self._at = at
            self._judge(place, members)
        self._seen += len(entries)
        if self._seen >= FLUSH:
            self.flush()

    def _judge(self, place: int, members: dict[str, Any]) -> None:
        type_ = members["type"]
        shape = (type_, *members)
        if shape not in self._shapes:
            self._shapes[shape] = _shape_fault(type_, members)
        fault, nulls = self._shapes[shape]
        for name in nulls:
            if members[name] is not None:
                fault = "a member that may stand only as a commitment stands open."
        if fault is not None:
            self._findings.add(f"Entry {place}: {fault}")
            return
        try:
            if "notice_id" in members:
                self._count(place, members["notice_id"], members["seq"])
            elif "subject_id" in members:
                self._count(place, members["subject_id"], members["subject_seq"])
            if type_ == "attempt.intended":
                self._facts.append((place, _raw(members["evidence_id"]), "intent"))
                self._tries.append((_try(members), True, False, place))
            elif type_ == "attempt.answered":
                whole = members["channel"] in SINGLE and members["intended_id"] is not None
                if whole:
                    self._facts.append((place, _raw(members["intended_id"]), "intent"))
                self._tries.append((_try(members), False, whole, place))
                if members["evidence_id"] is not None:
                    self._facts.append((place, _raw(members["evidence_id"]), "evidence"))
            elif members.get("evidence_id") is not None and "kind" in members:
                self._facts.append((place, _raw(members["evidence_id"]), "evidence"))
            elif type_ == "notice.accepted":
                self._facts.append((place, _raw(members["notice_id"]), "notice"))
        except (TypeError, ValueError, AttributeError):
            self._findings.add(f"Entry {place}: an id or a number in it is not one.")

    def _count(self, place: int, identity: str, seq: int) -> None:
        if type(seq) is not int:
            raise TypeError
        self._counts.setdefault(_raw(identity), []).append((seq, place))

    def flush(self) -> None:
        """Compare what was collected with what is remembered; call it once more at the end."""
        self._seen = 0
        self._db.execute("begin")
        known = self._known("counted", "last", self._counts)
        for identity, steps in self._counts.items():
            last = known.get(identity, 0)
            for seq, place in steps:
                if seq != last + 1:
                    self._findings.add(f"Entry {place} is number {seq} of its notice or recipient, but number {last + 1} was due: "
                                       "entries are missing, doubled or out of order.")
                last = seq
            known[identity] = last
        self._db.executemany("insert or replace into counted values (?, ?)", [(i, known[i]) for i in self._counts])
        tries = self._known("intent", "place", {key for key, *_ in self._tries})
        for key, intended, whole, place in self._tries:
            if intended and key in tries:
                self._findings.add(f"Entry {place} intends an attempt that was intended or answered before, by entry {tries[key]}.")
            elif not intended and not whole and key not in tries:
                self._findings.add(f"Entry {place} answers an attempt that no entry before it intended.")
            tries.setdefault(key, place)
        self._db.executemany("insert or ignore into intent values (?, ?)", tries.items())
        self._db.executemany("insert into fact values (?, ?, ?)", self._facts)
        self._db.execute("commit")
        self._counts, self._tries, self._facts = {}, [], []

    def _known(self, table: str, column: str, ids: Iterable[bytes]) -> dict[bytes, int]:
        self._db.execute("delete from asked")
        self._db.executemany("insert into asked values (?)", [(identity,) for identity in ids])
        return dict(self._db.execute(f"select id, {column} from asked join {table} using (id)"))  # noqa: S608 (two constants)


def _usual(values: Collection[Any], depth: int = 0) -> bool:
    """Whether these hold no number that JSON writers spell differently or that an entry must not hold, and no deep nesting."""
    kinds = {*map(type, values)}
    if int in kinds:
        numbers = [value for value in values if type(value) is int]
        if max(numbers) > MAX_INT or min(numbers) < -MAX_INT:
            return False
    strange = kinds - _PLAIN
    if not strange:
        return True
    return strange <= _NESTED and depth < _DEEP and all(
        _usual(value.values() if type(value) is dict else value, depth + 1) for value in values if type(value) in _NESTED)


def _raw(identity: Any) -> bytes:
    raw = bytes.fromhex(identity.replace("-", ""))
    if len(raw) != 16:
        raise ValueError
    return raw


def _try(members: dict[str, Any]) -> bytes:
    """One attempt: 16 bytes of its delivery's id and its number."""
    return _raw(members["delivery_id"]) + int(members["attempt"]).to_bytes(4, "big")


def _shape_fault(type_: str, members: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """What is wrong with the names of an entry's members (null: nothing), and which members must be null."""
    known = ENTRY_TYPES.get(type_)
    if known is None:
        return "its type is not known to this version.", ()
    names = set(members) - {"v", "type", "at"}
    scopes = ("notice", "subject") if known.scope == "either" else (known.scope,)
    open_nulls = tuple(name for name in known.committed if name in names)
    committed = {name if name in open_nulls else f"{name}_commit" for name in known.committed}
    if not any(names == set(known.open) | committed | set(SCOPE_MEMBERS[scope]) for scope in scopes):
        return "it lacks members that its type has, or has others.", ()
    return None, open_nulls
