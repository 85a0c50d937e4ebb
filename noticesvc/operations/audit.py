"""`ledger audit`: recomputes the whole log and compares everything that must agree with it; findings in sentences.

Called by cli.ledger. A database is audited in one snapshot, beside a live service; an export (files as the API serves them)
without any database. Neither needs memory that grows with the log.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import chain
from pathlib import Path

from noticesvc.errors import LedgerError, LedgerMismatch, NoteError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.entry import BUNDLE_ENTRIES
from noticesvc.ledger.key import Verifier
from noticesvc.ledger.tile import Tile, tiles_of
from noticesvc.operations import audit_anchors
from noticesvc.operations.audit_entries import batches_outside, learn_batches, opened, scratch
from noticesvc.operations.audit_open import audit_open
from noticesvc.operations.audit_pages import Claim, Page, pages
from noticesvc.operations.audit_process import Far
from noticesvc.operations.audit_rows import RowAudit, compare_counters, explain
from noticesvc.operations.audit_sums import Sums
from noticesvc.operations.audit_tree import Findings, TreeAudit, signed
from noticesvc.operations.audit_walk import Judge, Near, Step, Waiting, Walk
from noticesvc.operations.world import World
from noticesvc.storage import ledger
from noticesvc.storage.transaction import Tx

Progress = Callable[[int, int], None]
NO_ID = "00000000-0000-0000-0000-000000000000"
PAGE = 5_000
PAGE_BUNDLES = 32
ENTRIES_FOR_TWO = 200_000  # from here on a second process is worth its start
PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class Audit:
    """The result. `entries` are sequenced and audited, `pending` wait; `proved_from` is the size of the older checkpoint."""

    entries: int
    pending: int
    proved_from: int | None
    findings: tuple[str, ...]
    more: int  # findings beyond those listed


def audit_database(tx: Tx, keys: Sequence[Verifier], against: str | None, max_delay_us: int, progress: Progress,
                       world: World | None = None, processes: int | None = None) -> Audit:
    """Audit a database in this one snapshot.

    `keys` are the current key and those it replaced, and no others are trusted; `against` is an older signed checkpoint that today's
    log must extend; entries may wait `max_delay_us` microseconds. With `world` everything is opened and compared as well
    (audit_open). A long log is walked over in a second process; `processes` decides it otherwise. Raises NoteError if `against`
    does not verify.
    """
    findings = Findings()
    _check_keys(tx, keys, findings)
    old = checkpoints.verify(against, keys).checkpoint if against is not None else None
    head = ledger.head(tx)
    size = head.size if head else 0
    latest = ledger.latest_checkpoint(tx)
    if (head is None) != (latest is None) or (latest is not None and latest[0] != size):
        findings.add(f"The last signed checkpoint is of {latest[0] if latest else 'no'} entries, the head row says {size}.")
    with tempfile.TemporaryDirectory(prefix="noticesvc-audit-") as folder:
        scratch = Path(folder, "scratch.db")
        _index(tx, scratch, size, findings)
        pending, waiting = _pending(tx, size, max_delay_us, late := Findings())
        sums = Sums()
        rows = RowAudit(tx, sums, pending)
        outside = Findings()
        claims = _claims(_signed_notes(tx), keys, old, outside,
                         audit_anchors.stamped(tx, keys, world.tsa_roots if world else (), outside))
        two = size >= ENTRIES_FOR_TWO and (os.cpu_count() or 1) > 1 if processes is None else processes > 1
        with _walk(scratch, size, two=two) as walk:
            for step in _walked(walk, chain(pages(_Stored(tx), size, claims), _waiting(tx, size)), rows):
                for what, said in step.facts.items():
                    sums.add(what, said)
                progress(step.done, size)
            rows.finish()
        findings.join(outside, walk.findings)
        _check_counts(tx, size, findings)
        audit_anchors.cosignatures(tx, keys, findings)
        findings.join(late, rows.naming)
        with closing(opened(str(scratch))) as memory:
            if differing := rows.differing():
                explain(tx, memory, differing, _all_entries(tx, size), pending, findings)
            if rows.counters_differ():
                compare_counters(tx, memory, findings)
            findings.join(rows.conservation)
            if world is not None:
                audit_open(tx, world, memory, findings, progress)
    return Audit(size, waiting, old.size if old else None, tuple(findings.sentences), findings.more)


def _index(tx: Tx, path: Path, size: int, findings: Findings) -> None:
    """Put the index map into a new scratch database in the order of places."""
    with closing(scratch(str(path))) as memory:
        after = NO_ID
        while rows := ledger.index_rows(tx, after, PAGE):
            learn_batches(memory, rows, findings)
            after = rows[-1][0]
        batches_outside(memory, size, findings)


@contextmanager
def _walk(path: Path, size: int, *, two: bool) -> Iterator[Walk]:
    if two:
        with closing(Far(path, size)) as far:
            yield far
    else:
        with closing(opened(str(path))) as memory:
            yield Near(memory, size)


def _walked(walk: Walk, given: Iterable[Page | Waiting], rows: RowAudit) -> Iterator[Step]:
    """The steps of the walk over everything that is given; while there is no room for more, rows are read."""
    for one in given:
        while not walk.take(one):
            yield from walk.steps()
            if not rows.step():
                time.sleep(PAUSE_S)
        yield from walk.steps()
    while rows.step():  # before the end is waited for
        yield from walk.steps()
    yield from walk.end()


def audit_export(folder: Path, keys: Sequence[Verifier], against: str | None, progress: Progress) -> Audit:
    """Audit an export: the tree follows from its tiles (and entries, where exported), the checkpoint is signed and its own.

    Without `keys` the ones in the export are taken. Raises NoteError if a key, the checkpoint or `against` cannot be used.
    """
    findings = Findings()
    source = _Folder(folder)
    trusted = keys or [Verifier.parse(line) for line in source.text("key").splitlines()]
    note = source.text("checkpoint")
    current = checkpoints.verify(note, trusted).checkpoint
    old = checkpoints.verify(against, trusted).checkpoint if against is not None else None
    claims = _claims(iter([(current.size, note)]), trusted, old, findings)
    if (folder / "tile" / "entries").exists():
        with tempfile.TemporaryDirectory(prefix="noticesvc-audit-") as place, closing(scratch(f"{place}/scratch.db")) as memory:
            judge = Judge(memory, current.size, mapped=False)
            for page in pages(source, current.size, claims):
                progress(judge.step(page).done, current.size)
            findings.join(judge.findings)
    else:
        tree = TreeAudit(current.size, findings, bundled=False)
        for page in pages(source, current.size, claims, bundled=False):
            progress(tree.page(page), current.size)
    return Audit(current.size, 0, old.size if old else None, tuple(findings.sentences), findings.more)


def _check_keys(tx: Tx, keys: Sequence[Verifier], findings: Findings) -> None:
    """The database lists exactly the keys that are trusted: whoever writes there cannot make a key of their own count."""
    listed, known = ledger.vkeys(tx), [key.vkey for key in keys]
    if ledger.head(tx) is None:
        return
    if any(vkey not in known for vkey in listed):
        findings.add("The database lists a verifier key that was not given and that the ledger's key file does not name.")
    if known and known[0] not in listed:
        findings.add("The database does not list the ledger's current verifier key.")


def _claims(notes: Iterator[tuple[int, str]], keys: Sequence[Verifier], old: Checkpoint | None,
            findings: Findings, stamped: Iterable[tuple[Checkpoint, str]] = ()) -> Iterator[Claim]:
    stored = (Claim(found.size, found.root, "The signed checkpoint") for found in signed(notes, keys, findings))
    older = [Claim(old.size, old.root, "The older checkpoint")] if old else []
    outside = (Claim(found.size, found.root, name) for found, name in stamped)
    return merge(stored, older, outside, key=lambda claim: claim.size)


def _signed_notes(tx: Tx) -> Iterator[tuple[int, str]]:
    after = -1
    while notes := ledger.checkpoints(tx, after, PAGE):
        yield from notes
        after = notes[-1][0]


def _pending(tx: Tx, size: int, max_delay_us: int, findings: Findings) -> tuple[dict[str, int], int]:
    """The first places of the batches that wait, as if they followed the log, and how many entries they are."""
    first: dict[str, int] = {}
    place, oldest = size, tx.now
    for row in ledger.pending_rows(tx):
        try:
            number = len(ledger.split(ledger.unpack(row.data)))
        except LedgerMismatch:
            findings.add(f"The waiting entries of the transaction {row.batch} are cut short.")
            continue
        first[row.batch.replace("-", "")] = place
        place, oldest = place + number, min(oldest, row.created_at)
    if tx.now - oldest > max_delay_us:
        findings.add(f"{place - size} entries wait for the sequencer, the oldest for {(tx.now - oldest) // 1_000_000} s: "
                     "more than max_delay_s. Start a worker.")
    return first, place - size


def _waiting(tx: Tx, size: int) -> Iterator[Waiting]:
    """The entries that wait, for the walk."""
    place = size
    for row in ledger.pending_rows(tx):
        try:
            number = len(ledger.split(ledger.unpack(row.data)))
        except LedgerMismatch:
            continue  # a finding of `_pending`
        yield Waiting(row.batch, place, row.data)
        place += number


def _all_entries(tx: Tx, size: int) -> Iterator[tuple[int, list[bytes]]]:
    """All entries again, in runs: those of the log, then those that wait."""
    count = -(-size // BUNDLE_ENTRIES)
    for page in range(0, count, PAGE_BUNDLES):
        for n, data in ledger.stored_bundles(tx, range(page, min(page + PAGE_BUNDLES, count))).items():
            try:
                yield n * BUNDLE_ENTRIES, ledger.split(ledger.inflate(data))
            except LedgerMismatch:
                continue  # a finding of its own already
    place = size
    for row in ledger.pending_rows(tx):
        try:
            waiting = ledger.split(ledger.unpack(row.data))
        except LedgerMismatch:
            continue
        yield place, waiting
        place += len(waiting)


def _check_counts(tx: Tx, size: int, findings: Findings) -> None:
    bundles, tiles = ledger.counts(tx)
    expected: dict[int, int] = {}
    for where in tiles_of(size):
        expected[where.level or 0] = expected.get(where.level or 0, 0) + 1
    if bundles > -(-size // BUNDLE_ENTRIES):
        findings.add("There are entry bundles beyond the last signed checkpoint.")
    if any(count > expected.get(level, 0) for level, count in tiles.items()):
        findings.add("There are hash tiles beyond the last signed checkpoint.")


class _Stored:
    """A log in the database."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def bundles(self, numbers: Sequence[int], size: int) -> Mapping[int, bytes]:
        return ledger.stored_bundles(self._tx, numbers)

    def tiles(self, places: Sequence[tuple[int, int]], size: int) -> Mapping[tuple[int, int], bytes]:
        return ledger.tiles(self._tx, places)


class _Folder:
    """A log as exported: `checkpoint`, `key` and `tile/…` as served."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def text(self, name: str) -> str:
        try:
            return (self._folder / name).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise NoteError(f"The export has no readable file {name}; export the ledger again.") from None

    def bundles(self, numbers: Sequence[int], size: int) -> Mapping[int, bytes]:
        return {n: data for n in numbers if (data := self._file(None, n, size)) is not None}

    def tiles(self, places: Sequence[tuple[int, int]], size: int) -> Mapping[tuple[int, int], bytes]:
        return {(level, n): data for level, n in places if (data := self._file(level, n, size)) is not None}

    def _file(self, level: int | None, n: int, size: int) -> bytes | None:
        width = min(BUNDLE_ENTRIES, (size >> 8 * (level or 0)) - n * BUNDLE_ENTRIES)
        try:
            return (self._folder / Tile(level, n, width).path).read_bytes()
        except (OSError, LedgerError):
            return None
