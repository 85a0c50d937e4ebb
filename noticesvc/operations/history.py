"""What happened to notices: the rows of their deliveries, attempts and evidence, set-based, one query a table.

Readers load it for what they show; a Unit loads it once and keeps it up to date with what its transaction changes.
"""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


class History:
    """Rows by notice id; rows have the tables' columns as attributes. Deliveries stand in their order, attempts by number."""

    __slots__ = ("attempts", "deliveries", "evidence")

    def __init__(self) -> None:
        self.deliveries: dict[str, list[Any]] = defaultdict(list)
        self.attempts: dict[str, list[Any]] = defaultdict(list)
        self.evidence: dict[str, list[Any]] = defaultdict(list)

    def delivery(self, notice_id: str, channel: str) -> Any:
        """One delivery; null if the notice has none on this channel."""
        return next((one for one in self.deliveries[notice_id] if one.channel == channel), None)

    def attempt(self, notice_id: str, channel: str, number: int) -> Any:
        """One attempt; null if there is none."""
        return next((one for one in self.attempts[notice_id] if one.number == number and one.channel == channel), None)

    def answer(self, notice_id: str, channel: str, number: int) -> Any:
        """The evidence that answered an attempt; null if nothing did."""
        return next((e for e in self.evidence[notice_id] if e.answer and e.attempt == number and e.channel == channel), None)


_CLOSED = ("sealed", "entry_batch", "entry_offset", "closed_batch", "closed_offset")


def load(tx: Tx, ids: Collection[str], *, whole: bool = True) -> History:
    """The history of these notices; unless `whole`, without what is sealed and without the names of entries."""
    without = () if whole else _CLOSED
    found = History()
    if not ids:
        return found
    for row in tx.rows(t.delivery, "notice_id", ids, "position"):
        found.deliveries[row.notice_id].append(row)
    for row in tx.rows(t.attempt, "notice_id", ids, "number", without=without):
        found.attempts[row.notice_id].append(row)
    for row in tx.rows(t.evidence, "notice_id", ids, "id", without=without):
        found.evidence[row.notice_id].append(row)
    return found
