"""The notices that one transaction changes: locked in id order, their `seq` counted, their rows saved together.

Every entry about a notice gets the next `seq` of its row here, so that numbers have no gaps and two writers never share one.
"""

from collections.abc import Collection, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from noticesvc.operations import broadcast_counts, history
from noticesvc.operations.history import History
from noticesvc.operations.world import World
from noticesvc.proof.openings import Opening, pack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx
from noticesvc.vault import DataKey


class Unit:
    """Notices by id, as mutable rows; `save` writes what changed."""

    def __init__(self, tx: Tx, world: World, ids: Collection[str], *, hold: bool = False) -> None:
        """Load and lock these notices; with `hold` also their recipients against changes, in the order of our ids."""
        self.tx, self.world = tx, world
        self._keys: dict[str, DataKey | None] = {}
        self._changed: dict[str, dict[str, Any]] = {}
        self._entries: list[dict[str, Any]] = []
        self._deliveries: dict[tuple[str, str], dict[str, Any]] = {}
        self._evidence: list[dict[str, Any]] = []
        self._history: History | None = None
        self.notices: dict[str, dict[str, Any]] = {}
        self.recipients: dict[str, SimpleNamespace] = {}  # by subject, as read by this transaction
        self._counted: dict[str, tuple[str | None, ...]] = {}  # of broadcasts: how a notice counts, as last written
        self._moved: dict[tuple[str, str], str] = {}  # deliveries of broadcasts: the states they were in
        if ids:
            self.notices = {row.id: vars(row) for row in tx.rows(t.notice, "id", ids, "id", lock="update")}
            self._counted = {i: broadcast_counts.names(row) for i, row in self.notices.items() if row["broadcast_id"] is not None}
        self.load_recipients({row["subject_id"] for row in self.notices.values()}, hold=hold)

    def load_recipients(self, subjects: Collection[str], *, hold: bool = False) -> None:
        """Load these recipients and unwrap their keys; a key is null for one that was anonymised."""
        missing = [s for s in subjects if s not in self._keys]
        self.know(self.tx.rows(t.recipient, "subject_id", missing, "subject_id" if hold else None, lock="share" if hold else ""))

    def know(self, recipients: Iterable[SimpleNamespace]) -> None:
        """Take rows of recipients that this transaction has read, and unwrap their keys."""
        for row in recipients:
            self.recipients[row.subject_id] = row
            self._keys[row.subject_id] = row.wrapped_key and self.world.vault.unwrap(row.wrapped_key, f"recipient:{row.subject_id}")

    def add(self, row: dict[str, Any], key: DataKey) -> None:
        """A notice that this transaction makes; its row is inserted by the caller after the last entry."""
        self.notices[row["id"]] = row
        self._keys[row["subject_id"]] = key

    def key(self, subject_id: str) -> DataKey | None:
        """The recipient's data key; null once destroyed."""
        return self._keys.get(subject_id)

    def seal(self, notice_id: str, openings: Mapping[str, Opening], place: str) -> bytes | None:
        """Openings sealed under the key of the notice's recipient; null if there is nothing to keep or no key left."""
        key = self.key(self.notices[notice_id]["subject_id"])
        return key.seal(pack(openings), place) if key is not None and openings else None

    def append(self, notice_id: str, type_: str, members: Mapping[str, Any]) -> EntryRef:
        """Append an entry about a notice, with its next number."""
        row = self.notices[notice_id]
        row["seq"] += 1
        self.set(notice_id, seq=row["seq"])
        return self.tx.append(type_, {"notice_id": notice_id, "seq": row["seq"], "subject_id": row["subject_id"], **members})

    def note(self, notice_id: str, type_: str, members: Mapping[str, Any], openings: Mapping[str, Opening] | None = None) -> EntryRef:
        """Append an entry that no other row names: it gets a row of its own in notice_entry."""
        ref = self.append(notice_id, type_, members)
        seq = self.notices[notice_id]["seq"]
        self._entries.append(
            {
                "notice_id": notice_id,
                "seq": seq,
                "type": type_,
                **ref.columns,
                "sealed": self.seal(notice_id, openings or {}, f"notice_entry:{notice_id}:{seq}"),
            }
        )
        return ref

    def set(self, notice_id: str, **columns: Any) -> None:
        """Change columns of a notice's row."""
        self.notices[notice_id].update(columns)
        self._changed.setdefault(notice_id, {}).update(columns)

    def history(self) -> History:
        """Deliveries, attempts and evidence of all its notices, with what this transaction changed through the unit."""
        if self._history is None:
            self._history = history.load(self.tx, list(self.notices), whole=False)
            for (notice_id, channel), columns in self._deliveries.items():
                vars(self._history.delivery(notice_id, channel)).update(columns)
            for row in self._evidence:
                rows = self._history.evidence[row["notice_id"]]
                if all(known.id != row["id"] for known in rows):  # not inserted yet
                    rows.append(SimpleNamespace(**row))
        return self._history

    def set_delivery(self, notice_id: str, channel: str, **columns: Any) -> None:
        """Change columns of a delivery's row."""
        if "state" in columns and notice_id in self._counted:
            self._moved.setdefault((notice_id, channel), self.history().delivery(notice_id, channel).state)
        self._deliveries.setdefault((notice_id, channel), {}).update(columns)
        if self._history is not None:
            vars(self._history.delivery(notice_id, channel)).update(columns)

    def add_evidence(self, row: dict[str, Any]) -> None:
        """Evidence that this transaction inserts, now or later."""
        self._evidence.append(row)
        if self._history is not None:
            self._history.evidence[row["notice_id"]].append(SimpleNamespace(**row))

    def insert_entries(self) -> None:
        """Write the rows of entries noted so far."""
        self.tx.insert(t.notice_entry, self._entries)
        self._entries = []

    def save(self) -> None:
        """Write every change; rows with the same changed columns go in one statement, in id order."""
        self.insert_entries()
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for notice_id, columns in self._changed.items():
            groups.setdefault(tuple(sorted(columns)), []).append({"id": notice_id} | {name: columns[name] for name in sorted(columns)})
        for rows in groups.values():
            self.tx.update(t.notice, ("id",), rows)
        changed: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for (notice_id, channel), columns in self._deliveries.items():
            names = sorted(columns)
            changed.setdefault(tuple(names), []).append(
                {"notice_id": notice_id, "channel": channel} | {name: columns[name] for name in names}
            )
        for rows in changed.values():
            self.tx.update(t.delivery, ("notice_id", "channel"), rows)
        self._count()
        self._deliveries = {}
        self._changed = {}

    def _count(self) -> None:
        """Note by how much the counts of broadcasts change."""
        moved: list[tuple[str, str | None, str | None]] = []
        for notice_id in self._changed.keys() & self._counted.keys():
            row = self.notices[notice_id]
            before, now = self._counted[notice_id], broadcast_counts.names(row)
            moved += [(row["broadcast_id"], was, is_) for was, is_ in zip(before, now, strict=True)]
            self._counted[notice_id] = now
        for (notice_id, channel), state in self._moved.items():
            columns = self._deliveries.get((notice_id, channel), {})
            moved.append((self.notices[notice_id]["broadcast_id"], f"{channel}/{state}", f"{channel}/{columns.get('state', state)}"))
        self._moved = {}
        broadcast_counts.note(self.tx, broadcast_counts.changes(moved))

    def forget_changes(self) -> None:
        """The caller inserted the rows whole; nothing is left to update."""
        self._changed = {}
