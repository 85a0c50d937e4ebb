"""The audit with --open, measured over sealed notices of growing number: entries a second, CPU time an entry, and memory.

usage: python -m bench.audit_open [NOTICES …]. On SQLite; each number is added to those before it.
"""

import argparse
import asyncio
import resource
import tempfile
import time

from noticesvc.operations import accept, record
from noticesvc.operations.audit import audit_database
from noticesvc.operations.notice_request import NoticeRequest
from noticesvc.operations.record import Answer
from noticesvc.operations.world import World
from noticesvc.storage.transaction import Tx
from tests.support import proofs
from tests.support.ledger import SIGNER

GROUP = 100
OF_ONE = 20  # notices to one recipient


async def load(desk: proofs.Desk, notices: int) -> None:
    """Notices by mail with contents, intents and answers sealed as in real life."""
    for at in range(0, notices, GROUP):
        for number in range(at, at + GROUP, OF_ONE):
            await desk.recipient(f"u-{number}")
        await desk.write(accept.accept, [
            (desk.access, NoticeRequest(recipient_id=f"u-{number // OF_ONE * OF_ONE}", category="platform", subject=f"通知 {number}",
                                        body="正文 " * 200, channels=("email",))) for number in range(at, at + GROUP)])
        made, now = await desk.dispatch(), desk.house.clock.micros
        await desk.write(record.record, proofs.SCHEDULE, [
            Answer(one.notice_id, "email", one.number, "arrived", now, now, raw=b"250 ok", media_type="text/plain", code="250")
            for one in made], [0.0] * len(made))
        desk.house.clock.move(1)
    await desk.sequence()
    desk.sealed.clear()


def audit(tx: Tx, world: World) -> None:
    """One audit."""
    before = _memory_mib()
    began, cpu = time.perf_counter(), time.process_time()
    done = audit_database(tx, [SIGNER.verifier], None, 10**12, lambda *_: None, world)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert done.findings == (), done.findings
    print(f"{done.entries:,} entries in {took:.1f} s, {done.entries / took:,.0f} entries/s; "
          f"CPU {cpu / done.entries * 1e6:.0f} µs an entry; memory at most {before} MiB before, {_memory_mib()} MiB after", flush=True)


def _memory_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def measure(sizes: list[int]) -> None:
    """Grow one installation through these sizes and audit it at each."""
    with tempfile.TemporaryDirectory() as folder:
        async with proofs.desk(f"sqlite+aiosqlite:///{folder}/ledger.db") as desk:
            for size in sizes:
                await load(desk, size)
                await desk.house.database.read(audit, desk.house.world)


def main() -> None:
    """Measure at the sizes that were asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sizes", type=int, nargs="*", default=[1000, 4000, 15_000])
    asyncio.run(measure(options.parse_args().sizes))


if __name__ == "__main__":
    main()
