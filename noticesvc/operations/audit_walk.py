"""The walk over a log: its tree recomputed, every entry judged, and what the entries say of rows handed on.

Called by operations.audit, in its own process (`Near`) or in a second one (audit_process.Far), which knows neither the database nor
any secret: it is given pages and says what it found.
"""

import sqlite3
from collections.abc import Iterator
from typing import Protocol

import msgspec

from noticesvc.errors import LedgerMismatch
from noticesvc.operations.audit_entries import COUNTED, EntryAudit
from noticesvc.operations.audit_pages import Page
from noticesvc.operations.audit_tree import Findings, TreeAudit
from noticesvc.storage import bundle


class Waiting(msgspec.Struct, array_like=True, frozen=True):
    """The entries of a transaction that wait, as their row keeps them, and the index that the first of them is due to get."""

    batch: str
    place: int
    entries: bytes


class Step(msgspec.Struct, array_like=True, frozen=True):
    """So many entries are done; what the last ones say of rows, by kind (audit_sums)."""

    done: int
    facts: dict[str, str]


class Walk(Protocol):
    """Somebody who walks over a log, page by page. What was found is complete after `end`."""

    findings: Findings

    def take(self, given: Page | Waiting) -> bool:
        """Go on with this; false if there is no room for it yet."""

    def steps(self) -> Iterator[Step]:
        """Those steps that are done and were not told yet."""

    def end(self) -> Iterator[Step]:
        """Nothing more is given; the remaining steps."""


class Judge:
    """Judges what it is given, with a scratch database that nobody else has open."""

    def __init__(self, memory: sqlite3.Connection, size: int, *, mapped: bool = True) -> None:
        self.findings = Findings()
        self._entries = EntryAudit(memory, self.findings, mapped=mapped)
        self._tree = TreeAudit(size, self.findings, self._entries.visit, _inflated if mapped else lambda data: data)
        self._done = 0

    def step(self, given: Page | Waiting) -> Step:
        """The next page, or entries that wait."""
        if isinstance(given, Page):
            self._done = self._tree.page(given)
        else:
            self._entries.waiting(given.batch, given.place, bundle.split(bundle.unpack(given.entries)))
        return Step(self._done, self._entries.facts())

    def lasts(self) -> Iterator[Step]:
        """The numbers of the last entries, when there are no more pages."""
        return (Step(self._done, {COUNTED: said}) for said in self._entries.lasts())


class Near:
    """Walks in this process."""

    def __init__(self, memory: sqlite3.Connection, size: int) -> None:
        self._judge = Judge(memory, size)
        self.findings = self._judge.findings
        self._steps: list[Step] = []

    def take(self, given: Page | Waiting) -> bool:
        """Do it at once."""
        self._steps.append(self._judge.step(given))
        return True

    def steps(self) -> Iterator[Step]:
        """What was done since the last call."""
        while self._steps:
            yield self._steps.pop(0)

    def end(self) -> Iterator[Step]:
        """The rest."""
        yield from self.steps()
        yield from self._judge.lasts()


def _inflated(data: bytes) -> bytes | None:
    try:
        return bundle.inflate(data)
    except LedgerMismatch:
        return None  # found as a bundle that cannot be read
