"""The audit of a ledger of any size, measured: entries a second, CPU time and the memory it took, with one process and with two.

usage: python -m bench.audit [ENTRIES] [--postgresql]. CPU times of the two processes stand apart; PostgreSQL's own is not in them.
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
        for processes in (1, 2):
            await database.read(once, database.engine.name, processes)


def once(tx: Tx, name: str, processes: int) -> None:
    """One audit."""
    began, first, second = time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = audit_database(tx, [SIGNER.verifier], None, 60_000_000, lambda *_: None, processes=processes)
    took, first = time.perf_counter() - began, time.process_time() - first
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.findings == (), done.findings
    cpu = ended.ru_utime + ended.ru_stime - second.ru_utime - second.ru_stime
    each = 1_000_000 / done.entries
    print(f"{name}, {processes} processes: {done.entries:,} entries in {took:.1f} s, {done.entries / took:,.0f} entries/s; "
          f"CPU {first * each:.1f} µs an entry, in the second process {cpu * each:.1f}; "
          f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB, {ended.ru_maxrss // 1024} MiB", flush=True)


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
