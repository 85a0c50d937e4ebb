"""The proof of one notice in ledgers of growing size: reading index, bundles and tiles, making the proofs, in milliseconds.

usage: python -m bench.proof [ENTRIES …]. On SQLite; the wait for the next checkpoint is left out.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time

from sqlalchemy import select

from bench.ledger_loader import ENTRIES, load
from noticesvc.operations import ledger_reading
from noticesvc.storage import ledger
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef, Tx
from tests.support.ledger import opened

ROUNDS = 300


def proofs(tx: Tx) -> list[float]:
    """Milliseconds of proving all entries of one notice, of random notices."""
    rows = tx.execute(select(t.notice.c.entry_batch, t.notice.c.entry_offset).order_by(t.notice.c.id)).all()
    took = []
    for row in random.Random(1).choices(rows, k=ROUNDS):
        refs = [EntryRef(row.entry_batch, row.entry_offset + n) for n in range(ENTRIES)]
        began = time.perf_counter()
        assert ledger_reading.proofs_for(tx, refs) is not None
        took.append((time.perf_counter() - began) * 1000)
    return took


async def measure(sizes: list[int]) -> None:
    """Grow one ledger through these sizes and measure at each."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(f"sqlite+aiosqlite:///{folder}/ledger.db") as database:
            for size in sizes:
                head = await database.read(ledger.head)
                await load(database, size - (head.size if head else 0))
                took = sorted(await database.read(proofs))
                print(f"{size:,} entries: median {statistics.median(took):.2f} ms, 99 of 100 under {took[ROUNDS * 99 // 100]:.2f} ms")


def main() -> None:
    """Measure at the sizes that were asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    asyncio.run(measure(options.parse_args().sizes))


if __name__ == "__main__":
    main()
