"""The audit of a ledger of any size, measured: entries a second and the memory it took.

usage: python -m bench.audit [ENTRIES] [--postgresql]
"""

import argparse
import asyncio
import resource
import tempfile
import time

from bench.ledger_loader import load
from noticesvc.operations.audit import audit_database
from noticesvc.storage.transaction import Tx
from tests.support.ledger import SIGNER, opened
from tests.support.postgres import running


async def measure(url: str, entries: int) -> None:
    """Fill a database and audit it."""
    async with opened(url) as database:
        await load(database, entries)
        before = _memory_mib()

        def audit(tx: Tx) -> None:
            began = time.perf_counter()
            done = audit_database(tx, [SIGNER.verifier], None, 60_000_000, lambda *_: None)
            took = time.perf_counter() - began
            assert done.findings == (), done.findings
            print(f"{database.engine.name}: {done.entries:,} entries in {took:.1f} s, {done.entries / took:,.0f} entries/s; "
                  f"memory {before} MiB before, {_memory_mib()} MiB at most")
        await database.read(audit)


def _memory_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure on the database that was asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("entries", type=int, nargs="?", default=1_000_000)
    options.add_argument("--postgresql", action="store_true")
    chosen = options.parse_args()
    if chosen.postgresql:
        with running(durable=False) as server:
            asyncio.run(measure(server.new_database(), chosen.entries))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(f"sqlite+aiosqlite:///{folder}/ledger.db", chosen.entries))


if __name__ == "__main__":
    main()
