"""Contacts of many recipients in one transaction, for the streamed import.

Called by the import route with some lines at a time. A refused line leaves no trace; repeating an import, for instance after
a crash, finds what was recorded unchanged.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from noticesvc.errors import RefusedError
from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.operations import contacts, recipient_state
from noticesvc.operations.recipient_state import RecipientState
from noticesvc.operations.world import World
from noticesvc.storage.transaction import Tx

LARGEST = BUNDLE_ENTRIES // 2
"""Lines in one call: a new recipient with one contact is two entries, and a transaction holds one bundle of entries."""


class Line(NamedTuple):
    """One line of an import, already validated."""

    number: int
    recipient_id: str
    asked: contacts.Replacement


@dataclass(slots=True)
class Imported:
    """What became of the lines; those in `postponed`, in their order, belong at the start of the next call."""

    accepted: int = 0
    unchanged: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)
    postponed: list[Line] = field(default_factory=list)


def import_lines(tx: Tx, world: World, lines: Sequence[Line]) -> Imported:
    """Record the contacts of these lines, one after the other, with one statement a table.

    1. Lock the recipients that are known and load their contacts.
    2. Take as many lines as surely fit into one transaction's entries; postpone the rest.
    3. Make the recipients that are not known.
    4. Replace each line's set; a refusal rejects that line alone.
    """
    result, book = Imported(), contacts.Book()
    indexes = recipient_state.indexes(world, {line.recipient_id for line in lines})
    states = recipient_state.locked(tx, world, indexes)
    book.load(tx, states.values())
    fitting = list(_fitting(lines, states, book))
    result.postponed = list(lines[len(fitting):])
    # A line that would be refused must not make its recipient, so only lines that cannot be refused do.
    missing = {line.recipient_id: indexes[line.recipient_id] for line in fitting
               if line.recipient_id not in states and not _backdated(tx, line)}
    made = recipient_state.made(tx, world, missing)
    states |= made
    book.load(tx, made.values())
    for line in fitting:
        state = states.get(line.recipient_id)
        if state is None:
            result.rejected.append((line.number, _BACKDATED))
        else:
            _replace(tx, world, state, book, line, result)
    if result.accepted:
        tx.wake("dispatch")
    book.save(tx)
    recipient_state.save(tx, states.values())
    return result


_BACKDATED = "/effective_from: lies in the past; leave it out to begin now"


def _backdated(tx: Tx, line: Line) -> bool:
    return line.asked.effective_from is not None and line.asked.effective_from < tx.now


def _fitting(lines: Sequence[Line], states: dict[str, RecipientState], book: contacts.Book) -> Iterator[Line]:
    """The lines at the beginning whose entries, at the very most, fill one bundle; at least one."""
    open_versions = Counter({recipient_id: len(book.versions[state.subject_id]) for recipient_id, state in states.items()})
    entries = 0
    for line in lines:
        most = 1 + len(line.asked.wanted) + open_versions[line.recipient_id]
        if entries and entries + most > BUNDLE_ENTRIES:
            return
        entries += most
        open_versions[line.recipient_id] += len(line.asked.wanted)
        yield line


def _replace(tx: Tx, world: World, state: RecipientState, book: contacts.Book, line: Line, result: Imported) -> None:
    try:
        changed = contacts.replace(tx, world, state, book, line.asked)
    except RefusedError as error:
        result.rejected.append((line.number, "; ".join(f"{f.pointer}: {f.detail}" for f in error.faults) or error.detail))
        return
    if changed:
        result.accepted += 1
    else:
        result.unchanged += 1
