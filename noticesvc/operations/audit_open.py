"""The audit's second depth: every row beside its entries column by column, every commitment opened, every derived state derived.

Called by operations.audit after the walk over the log, in the same snapshot. Goes through notices and recipients in pages, so
that memory stays flat; rows that belong to neither are found by counting.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable

from noticesvc.errors import VaultError
from noticesvc.operations import audit_broadcasts, audit_shared
from noticesvc.operations.audit_forms import hexadecimal
from noticesvc.operations.audit_log import Log
from noticesvc.operations.audit_notices import NoticeAudit
from noticesvc.operations.audit_people import PeopleAudit
from noticesvc.operations.audit_tree import Findings
from noticesvc.operations.world import World
from noticesvc.storage import audit
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey

PAGE = 250

Progress = Callable[[int, int], None]


class Seen:
    """What the pages have met, to be compared at the end: numbers of rows by table, and names in the scratch database."""

    def __init__(self, memory: sqlite3.Connection) -> None:
        self._db = memory
        self.rows: Counter[str] = Counter()

    def names(self, kind: str, names: list[str]) -> None:
        """Remember names of a kind."""
        self._db.executemany("insert or ignore into seen values (?)", [(f"{kind}:{name}",) for name in names])

    def only(self, kind: str, other: str) -> list[str]:
        """Names of one kind that the other kind does not have."""
        return [name for (name,) in self._db.execute(
            "select substr(id, ?) from seen where id >= ? and id < ? and ? || substr(id, ?) not in (select id from seen) limit 1000",
            (len(kind) + 2, f"{kind}:", f"{kind};", f"{other}:", len(kind) + 2))]

    def number(self, kind: str) -> int:
        """How many names of a kind there are."""
        return int(self._db.execute("select count(*) from seen where id >= ? and id < ?", (f"{kind}:", f"{kind};")).fetchone()[0])

    def unknown(self) -> list[str]:
        """Whom the log counts entries of although no row of a notice or recipient was met."""
        return [name for (name,) in self._db.execute("select id from counted where 'id:' || id not in (select id from seen) limit 1000")]


class Keys:
    """Data keys of recipients, those of the last pages kept."""

    def __init__(self, tx: Tx, world: World) -> None:
        self._tx, self._world = tx, world

    def of(self, subject_ids: set[str]) -> dict[str, DataKey | None]:
        """The keys; null where one was destroyed or cannot be unwrapped, which the walk over recipients finds."""
        found: dict[str, DataKey | None] = {}
        for row in self._tx.rows(t.recipient, "subject_id", subject_ids):
            try:
                found[row.subject_id] = row.wrapped_key and self._world.vault.unwrap(row.wrapped_key, f"recipient:{row.subject_id}")
            except VaultError:
                found[row.subject_id] = None
        return found


def audit_open(tx: Tx, world: World, memory: sqlite3.Connection, findings: Findings, progress: Progress) -> None:
    """Compare and open everything. `memory` is the scratch database in which the walk over the log counted entries."""
    log, seen, keys = Log(tx), Seen(memory), Keys(tx, world)
    total, done = audit.count(tx, t.notice) + audit.count(tx, t.recipient), 0
    notices = NoticeAudit(tx, world, log, seen, findings)
    memory.execute("begin")
    for rows in audit.whole_rows(tx, t.notice, PAGE):
        seen.names("id", [hexadecimal(row.id) for row in rows])
        notices.page(rows, keys.of({row.subject_id for row in rows}))
        done += len(rows)
        progress(done, total)
    people = PeopleAudit(tx, world, log, seen, findings)
    for rows in audit.whole_rows(tx, t.recipient, PAGE):
        seen.names("id", [hexadecimal(row.subject_id) for row in rows])
        people.page(rows)
        done += len(rows)
        progress(done, total)
    audit_shared.announcements(tx, world, log, seen, findings)
    audit_broadcasts.broadcasts(tx, world, log, seen, findings)
    audit_shared.documents(tx, world, seen, findings)
    memory.execute("commit")
    for name in seen.unknown():
        findings.add(f"The log counts entries of the notice or recipient {name}, but there is no row of it.")
    for name in seen.only("document wanted", "document"):
        findings.add(f"A notice names a document with the hash {name}, but no document row holds such bytes.")
    _strangers(tx, seen, findings)


def _strangers(tx: Tx, seen: Seen, findings: Findings) -> None:
    """Rows of tables that belong to notices and recipients, but to none of those that are there."""
    seen.rows["content"] = seen.number("content")
    for table in (t.delivery, t.attempt, t.evidence, t.notice_entry, t.inbox_message, t.notice_document, t.certificate, t.link,
                  t.provider_reference, t.broadcast_recipient, t.content, t.contact, t.cure, t.acceptance, t.subject_entry):
        strange = audit.count(tx, table) - seen.rows[table.name]
        if strange:
            findings.add(f"The table {table.name} has {strange} rows that nothing which happened to a notice or recipient accounts for.")
