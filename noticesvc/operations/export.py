"""`ledger export`: the log as files, laid out as the API serves it (C2SP tlog-tiles), for auditors and for keeping elsewhere.

Called by cli.ledger in one snapshot. Written again into the same folder it adds what is new: full tiles never change. The
checkpoint is written last, so that an export that was interrupted still holds the older one, which its tiles cover.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from noticesvc.errors import LedgerMismatch, UnavailableError
from noticesvc.ledger.frontier import TILE_WIDTH
from noticesvc.ledger.merkle import HASH_BYTES
from noticesvc.ledger.tile import Tile, tiles_of
from noticesvc.storage import ledger
from noticesvc.storage.transaction import Tx

PAGE = 64


def export(tx: Tx, folder: Path, *, entries: bool) -> int:
    """Write `checkpoint`, `key` and all hash tiles into `folder`, with `entries` the entry bundles too; the log's size.

    Raises UnavailableError before the first checkpoint, LedgerMismatch if a tile or bundle is missing, OSError.
    """
    latest = ledger.latest_checkpoint(tx)
    if latest is None:
        raise UnavailableError("No checkpoint is signed yet; run a worker once, then export.")
    size, note = latest
    folder.mkdir(parents=True, exist_ok=True)
    for page in _pages(_missing(folder, tiles_of(size))):
        found = ledger.tiles(tx, [(tile.level or 0, tile.index) for tile in page])
        for tile in page:
            _write(folder, tile, found.get((tile.level or 0, tile.index), b"")[:tile.width * HASH_BYTES])
    if entries:
        bundles = (Tile(None, tile.index, tile.width) for tile in tiles_of(size) if tile.level == 0)
        for page in _pages(_missing(folder, bundles)):
            stored = ledger.bundles(tx, [tile.index for tile in page])
            for tile in page:
                _write(folder, tile, stored.get(tile.index, b""))
    (folder / "key").write_text("".join(f"{vkey}\n" for vkey in ledger.vkeys(tx)), "utf-8")
    (folder / "checkpoint").write_text(note, "utf-8")
    return size


def _missing(folder: Path, tiles: Iterator[Tile]) -> Iterator[Tile]:
    return (tile for tile in tiles if tile.width < TILE_WIDTH or not (folder / tile.path).exists())


def _write(folder: Path, tile: Tile, data: bytes) -> None:
    if not data:
        raise LedgerMismatch(f"{tile.path} is missing in the database; run `noticesvc ledger audit`.")
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(data)
    draft.replace(path)


def _pages(tiles: Iterator[Tile]) -> Iterator[Sequence[Tile]]:
    page: list[Tile] = []
    for tile in tiles:
        page.append(tile)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page
