"""Recomputes a whole log from its entry bundles, in constant memory, and compares it with its tiles and signed checkpoints.

Called by operations.audit_walk with the pages of a database or an export. What is wrong becomes findings, one sentence each; the
walk goes on wherever it can. RFC 6962 hashing over C2SP tlog-tiles.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

from noticesvc.errors import LedgerError
from noticesvc.ledger import checkpoint as checkpoints
from noticesvc.ledger import merkle
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.entry import BUNDLE_ENTRIES, unframe
from noticesvc.ledger.frontier import TILE_WIDTH, Frontier
from noticesvc.ledger.key import Verifier
from noticesvc.ledger.tile import Tile
from noticesvc.operations.audit_pages import Claim, Page

MOST_FINDINGS = 200
HASH = merkle.HASH_BYTES


class Findings:
    """What an audit found wrong, in sentences; beyond a number that nobody reads they are only counted."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.more = 0

    def add(self, sentence: str) -> None:
        """Note one finding."""
        if len(self.sentences) < MOST_FINDINGS:
            self.sentences.append(sentence)
        else:
            self.more += 1

    def join(self, *others: "Findings") -> None:
        """Note what these found."""
        for one in others:
            self.take(one.sentences, one.more)

    def take(self, others: Iterable[str], more: int) -> None:
        """Note findings of somebody else, and how many more they had."""
        for sentence in others:
            self.add(sentence)
        self.more += more


def signed(notes: Iterable[tuple[int, str]], keys: Sequence[Verifier], findings: Findings) -> Iterator[Checkpoint]:
    """The checkpoints of these notes that verify; the others become findings."""
    for size, text in notes:
        try:
            found = checkpoints.verify(text, keys).checkpoint
        except LedgerError as error:
            findings.add(f"The checkpoint of size {size} does not verify: {error}")
            continue
        if found.size != size:
            findings.add(f"The checkpoint stored under size {size} is one of size {found.size}.")
        yield found


class TreeAudit:
    """One walk over a log of `size` entries, page by page. `read` gives the bundle that is kept in some form, null if it cannot.

    Without bundles (`bundled` false) the tree is computed from the leaf hashes in its level 0 tiles.
    """

    def __init__(self, size: int, findings: Findings, visit: Callable[[int, list[bytes]], None] | None = None,
                 read: Callable[[bytes], bytes | None] = lambda data: data, *, bundled: bool = True) -> None:
        self.size, self._findings, self._visit, self._read = size, findings, visit, read
        self._bundled = bundled
        self._claims: deque[Claim] = deque()
        self._stored: dict[tuple[int, int], bytes] = {}  # upper tiles
        self._upper = Frontier()  # over the roots of full bundles: its level L is the log's level L + 1
        self._levels: list[bytearray] = []
        self._broken = False

    def page(self, page: Page) -> int:
        """The next page; how many entries are done."""
        if self._broken:
            return self.size
        self._claims.extend(page.claims)
        self._stored = {(level, n): data for level, n, data in page.upper}
        if page.first * BUNDLE_ENTRIES <= self.size:
            self._compare_claims(page.first * BUNDLE_ENTRIES, [])
        for n, (data, tile) in enumerate(zip(page.bundles, page.tiles, strict=True), page.first):
            hashes = self._bundle(n, min(BUNDLE_ENTRIES, self.size - n * BUNDLE_ENTRIES), data, tile)
            if hashes is None:
                self._findings.add(f"From entry {n * BUNDLE_ENTRIES} on no tree can be computed: bundle and tile are both unusable.")
                self._broken = True
                return self.size
            self._append(n, hashes)
        done = min(self.size, (page.first + len(page.bundles)) * BUNDLE_ENTRIES)
        if page.bundles and done == self.size:
            self._finish_levels()
        if done == self.size:
            for claim in self._claims:
                self._findings.add(f"{claim.name} has {claim.size} entries, the log only {self.size}: "
                                   f"entries {self.size} to {claim.size - 1} are missing.")
            self._claims.clear()
        return done

    def _bundle(self, n: int, width: int, data: bytes | None, stored: bytes | None) -> list[bytes] | None:
        """The leaf hashes of one bundle; those of its tile where the bundle cannot be read."""
        first = n * BUNDLE_ENTRIES
        name = Tile(0, n, width).path
        data = self._read(data) if data is not None else None
        try:
            entries = unframe(data) if data is not None else []
        except LedgerError:
            entries = []
        if len(entries) != width:
            if self._bundled:
                self._findings.add(f"Entry bundle {n} is missing, unreadable or not of {width} entries: "
                                   f"entries {first} to {first + width - 1} cannot be read.")
            if stored is None or len(stored) != width * HASH:
                return None
            return [stored[at:at + HASH] for at in range(0, len(stored), HASH)]
        hashes = [sha256(b"\x00" + entry).digest() for entry in entries]
        if stored is None:
            self._findings.add(f"The hash tile {name} is missing.")
        elif stored != b"".join(hashes):
            wrong = next((i for i, item in enumerate(hashes) if stored[i * HASH:(i + 1) * HASH] != item), None)
            where = f"at entry {first + wrong}" if wrong is not None else "in length"
            self._findings.add(f"Entry bundle {n} and the hash tile {name} disagree {where}: one of them was changed.")
        if self._visit is not None:
            self._visit(first, entries)
        return hashes

    def _append(self, n: int, hashes: list[bytes]) -> None:
        if len(hashes) < BUNDLE_ENTRIES:
            self._compare_claims(n * BUNDLE_ENTRIES, hashes)
            return
        self._compare_claims(n * BUNDLE_ENTRIES, hashes[:-1])
        for above, completed in enumerate(self._upper.append(merkle.root_hash(hashes))):
            if above == len(self._levels):
                self._levels.append(bytearray())
            level = self._levels[above]
            level += completed
            if len(level) % (TILE_WIDTH * HASH) == 0:
                self._compare_tile(above + 1, (self._upper.size >> 8 * above) // TILE_WIDTH - 1, bytes(level))
                level.clear()
        self._compare_claims((n + 1) * BUNDLE_ENTRIES, [])

    def _finish_levels(self) -> None:
        for above, level in enumerate(self._levels):
            if level:
                self._compare_tile(above + 1, (self._upper.size >> 8 * above) // TILE_WIDTH, bytes(level))

    def _compare_tile(self, level: int, n: int, computed: bytes) -> None:
        stored = self._stored.get((level, n))
        if stored != computed:
            name = Tile(level, n, len(computed) // HASH).path
            fault = "is missing" if stored is None else "is not the one that follows from the entries"
            self._findings.add(f"The hash tile {name} {fault}.")

    def _compare_claims(self, base: int, hashes: list[bytes]) -> None:
        """Compare the checkpoints of `base` to `base + len(hashes)` entries; smaller ones were compared before."""
        while self._claims and self._claims[0].size <= base + len(hashes):
            claim = self._claims.popleft()
            if claim.root != self._root_with(hashes[:claim.size - base]):
                self._findings.add(f"{claim.name} of {claim.size} entries has another root than the one that follows from the entries: "
                                   f"among entries 0 to {claim.size - 1} some were changed, or the checkpoint is not of this log.")

    def _root_with(self, hashes: list[bytes]) -> bytes:
        """The root of all full bundles and these leaves behind them: perfect subtrees, the largest first."""
        if not hashes:
            return self._upper.root()
        node = merkle.root_hash(hashes)
        for left in reversed(self._upper.hashes):
            node = merkle.node_hash(left, node)
        return node
