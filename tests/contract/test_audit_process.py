"""The audit's second process finds what one process finds, says when it was ended, and does not outlive the first."""

import os
import select
import signal
import subprocess
import sys
from contextlib import closing, suppress

import pytest
import sqlalchemy as sa

from noticesvc.operations.audit import audit_database
from noticesvc.operations.audit_entries import scratch
from noticesvc.operations.audit_pages import Page
from noticesvc.operations.audit_process import Far
from noticesvc.storage import tables as t
from tests.contract import test_ledger_audit as ledger
from tests.support.ledger import SIGNER, notice

database = ledger.database
PAGE = Page(0, [], [], [], [])
PARENT = """
import os, sys
from pathlib import Path
from noticesvc.operations.audit_process import Far
far = Far(Path(sys.argv[1]), 1)
print(far._process.pid, flush=True)
sys.stdin.read()
os._exit(0)
"""


async def found(database, processes):
    seen = []
    done = await database.read(
        audit_database, [SIGNER.verifier], None, ledger.PATIENCE_US, lambda *step: seen.append(step), processes=processes)
    assert seen[-1] == (336, 336)
    return done


@pytest.mark.parametrize("change", [
    notice, ledger.tamper_bundle, ledger.tamper_tile(1), ledger.drop_index, ledger.fork_checkpoint,
    lambda tx: tx.execute(sa.delete(t.evidence).where(t.evidence.c.id == ledger.one(tx, t.evidence.c.id))),
    lambda tx: tx.execute(sa.update(t.notice).where(t.notice.c.id == ledger.one(tx, t.notice.c.id)).values(seq=4)),
], ids=["waiting", "bundle", "tile", "index", "checkpoint", "evidence", "counter"])
async def test_two_processes_find_what_one_finds(database, change):
    """Word for word, in the same order, with entries that wait, and up to the end of the progress bar."""
    await database.write(change)
    alone = await found(database, 1)
    assert await found(database, 2) == alone
    assert bool(alone.findings) is (change is not notice)


def test_a_second_process_that_was_killed_is_a_finding(tmp_path):
    """Nothing hangs, whatever is given afterwards, and the audit does not pass for one that was finished."""
    scratch(str(tmp_path / "scratch.db")).close()
    with closing(Far(tmp_path / "scratch.db", 100_000)) as far:
        os.kill(far._process.pid, signal.SIGKILL)
        for _ in range(10):
            while not far.take(PAGE):
                list(far.steps())
        assert list(far.end()) == []
        (sentence,) = far.findings.sentences
        assert sentence.startswith("The second process of the audit ended before its end")


def test_the_second_process_ends_with_the_first(tmp_path):
    """Whoever audits may be killed: nobody is left behind, since the pipe ends."""
    scratch(str(tmp_path / "scratch.db")).close()
    first = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "scratch.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    second = os.pidfd_open(int(first.stdout.readline()))
    try:
        first.kill()
        assert first.wait(60) == -signal.SIGKILL
        readable, _, _ = select.select([second], [], [], 60)
        assert readable == [second]
    finally:
        with suppress(OSError):
            signal.pidfd_send_signal(second, signal.SIGKILL)
        os.close(second)
        first.stdin.close()
        first.stdout.close()
