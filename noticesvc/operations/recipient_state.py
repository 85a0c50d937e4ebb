"""Recipients held for a change: found by the caller's id or made, locked, given entries with their next numbers, saved.

Called by the operations on contacts, accounts, acceptances and preferences. One statement serves any number of recipients.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from noticesvc.errors import NotFound, Overtaken
from noticesvc.operations import subjects
from noticesvc.operations.world import World
from noticesvc.proof.openings import commit, pack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx
from noticesvc.vault import DataKey


@dataclass(slots=True)
class RecipientState:
    """One recipient's row as held by this transaction; `set` and `append` change it, `save` writes it."""

    row: dict[str, Any]
    key: DataKey
    created: bool = False  # by this transaction, and no contacts were put yet
    unsaved: bool = False  # there is no row of it yet
    changed: set[str] = field(default_factory=set)
    entries: list[dict[str, Any]] = field(default_factory=list)  # rows for subject_entry
    subject_id: str = ""  # our random id of the recipient

    def __post_init__(self) -> None:
        self.subject_id = str(self.row["subject_id"])

    def set(self, **columns: Any) -> None:
        """Change columns; those that already hold the value stay unwritten."""
        for name, value in columns.items():
            if self.row[name] != value:
                self.row[name] = value
                self.changed.add(name)

    def append(self, tx: Tx, type_: str, members: Mapping[str, Any], committed: Mapping[str, Any], *,
               about_id: str | None = None) -> tuple[EntryRef, bytes | None]:
        """Append an entry with the recipient's next number; returns it and its sealed openings, where the row that the
        entry makes is to keep them (subjects.KEPT_WITH), else null: then they are kept here.
        """
        seq = self.row["subject_seq"] + 1
        self.row["subject_seq"] = seq
        self.changed.add("subject_seq")
        commitments, opened = commit(committed, tx.salt)
        ref = tx.append(type_, {"subject_id": self.subject_id, "subject_seq": seq, **members, **commitments})
        table = subjects.KEPT_WITH.get(type_)
        own = table is None
        where = subjects.place(self.subject_id, seq) if table is None else f"{table.name}:{about_id or self.subject_id}"
        sealed = self.key.seal(pack(opened), where) if opened else None
        self.entries.append({"subject_id": self.subject_id, "subject_seq": seq, "type": type_, "about_id": about_id,
                             "sealed": sealed if own else None, **ref.columns})
        return ref, None if own else sealed


_EMPTY: dict[str, Any] = dict.fromkeys(c.name for c in t.recipient.c)


def index(world: World, recipient_id: str) -> bytes:
    """The blind index by which a recipient is found."""
    return world.vault.index("recipient", recipient_id)


def indexes(world: World, recipient_ids: Iterable[str]) -> dict[str, bytes]:
    """The blind index of each of these, as `locked` and `made` take them."""
    return {recipient_id: index(world, recipient_id) for recipient_id in recipient_ids}


def find(tx: Tx, world: World, recipient_id: str) -> tuple[dict[str, Any], DataKey]:
    """A recipient's row and key, for reading. Raises NotFound, also for one that was anonymised."""
    row = tx.execute(select(t.recipient).where(t.recipient.c.recipient_index == index(world, recipient_id))).mappings().one_or_none()
    if row is None or row["wrapped_key"] is None or row["anonymised_at"] is not None:
        raise NotFound("There is no such recipient.")
    return dict(row), world.vault.unwrap(row["wrapped_key"], f"recipient:{row['subject_id']}")


def locked(tx: Tx, world: World, wanted: Mapping[str, bytes]) -> dict[str, RecipientState]:
    """Those of these recipients (see `indexes`) that are known, locked in the order of our ids until the transaction ends."""
    by_index = {found: recipient_id for recipient_id, found in wanted.items()}
    rows = tx.rows(t.recipient, "recipient_index", list(by_index), "subject_id", lock="update")
    return {by_index[row.recipient_index]: RecipientState(
        vars(row), world.vault.unwrap(row.wrapped_key, f"recipient:{row.subject_id}")) for row in rows}


def one_locked(tx: Tx, world: World, recipient_id: str, *, anonymised: bool = False) -> RecipientState:
    """One known recipient, locked. Raises NotFound, unless `anonymised` also for one whose anonymisation was asked for."""
    found = locked(tx, world, indexes(world, (recipient_id,)))
    if not found or (not anonymised and found[recipient_id].row["anonymised_at"] is not None):
        raise NotFound("There is no such recipient.")
    return found[recipient_id]


def made(tx: Tx, world: World, wanted: Mapping[str, bytes]) -> dict[str, RecipientState]:
    """New recipients, each with its `recipient.recorded`; `save` inserts them. Only for those that `locked` has not found."""
    found: dict[str, RecipientState] = {}
    for recipient_id, its_index in wanted.items():
        subject_id = tx.new_id()
        key, wrapped = world.vault.new_key(f"recipient:{subject_id}")
        state = RecipientState(_EMPTY | {
            "subject_id": subject_id, "recipient_index": its_index, "wrapped_key": wrapped, "account_state": "active",
            "refuse_commercial": "", "source_versions": "{}", "created_at": tx.now, "changed_at": tx.now - 1, "subject_seq": 0},
            key, created=True, unsaved=True)
        ref, sealed = state.append(tx, "recipient.recorded", {"account_state": "active"}, {"recipient_id": recipient_id})
        state.row |= {"sealed": sealed, **ref.columns}
        found[recipient_id] = state
    return found


def save(tx: Tx, states: Collection[RecipientState]) -> None:
    """Write every change: one statement for new recipients, one for each combination of changed columns, and one for the entries.

    Raises Overtaken if another transaction has meanwhile made one of the new recipients: it is known then, and this one starts anew.
    """
    # In one order, so that two transactions that make the same recipients wait for each other in one direction.
    new = sorted([state for state in states if state.unsaved], key=lambda one: one.row["recipient_index"])
    if tx.insert_new(t.recipient, [state.row for state in new]) < len(new):
        raise Overtaken("Another request made this recipient at the same moment; repeat the request.")
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    entries = []
    for state in sorted(states, key=lambda one: one.subject_id):
        entries += state.entries
        if state.changed and not state.unsaved:
            groups.setdefault(tuple(sorted(state.changed)), []).append(
                {"subject_id": state.subject_id} | {name: state.row[name] for name in sorted(state.changed)})
        state.entries, state.changed, state.unsaved = [], set(), False
    for rows in groups.values():
        tx.update(t.recipient, ("subject_id",), rows)
    tx.insert(t.subject_entry, entries)
