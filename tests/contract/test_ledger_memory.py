"""What a process has seen of the ledger is remembered: a database that lacks it is not written any more."""

import pytest
import sqlalchemy as sa

from noticesvc.dispatch.ledger_memory import LedgerMemory
from noticesvc.errors import UnavailableError
from noticesvc.operations import sequence
from noticesvc.storage import tables as t
from noticesvc.storage.database import Database
from noticesvc.storage.ledger import latest_checkpoint
from tests.support.ledger import SIGNER, SOURCES, in_office, notice, opened, sequenced


@pytest.fixture
async def ledger(database_url):
    """A ledger of six entries with checkpoints of three and of six."""
    async with opened(database_url) as made:
        for _ in range(2):
            await made.write(notice)
            await sequenced(made)
        yield made


def forget(tx):
    """As an older copy of the database would be: the last checkpoint was never made."""
    tx.execute(sa.delete(t.ledger_checkpoint).where(t.ledger_checkpoint.c.size == 6))
    tx.execute(sa.update(t.ledger_head).values(size=3))


def another_root(tx):
    """A database that went another way after the backup."""
    note = tx.execute(sa.select(t.ledger_checkpoint.c.note).where(t.ledger_checkpoint.c.size == 6)).scalar_one()
    lines = note.split("\n")
    lines[2] = "A" * 43 + "="
    tx.execute(sa.update(t.ledger_checkpoint).where(t.ledger_checkpoint.c.size == 6).values(note="\n".join(lines)))


@pytest.mark.parametrize(("change", "words"), [
    (forget, "ends with 3 entries, but a checkpoint that this process has seen has 6: entries 3 to 5 are missing"),
    (another_root, "does not extend a checkpoint that this process has seen"),
])
async def test_an_older_database_is_not_written_any_more(ledger, database_url, tmp_path, change, words):
    """The next look notices; writes are refused with the missing entries, reads go on, and the process is not ready."""
    mine = Database(database_url, SOURCES)
    memory = LedgerMemory(mine, tmp_path / "no-copy")
    try:
        await memory.start()
        await mine.write(notice)
        assert memory.faults() == {}
        await ledger.write(change)
        await memory._turn()
        with pytest.raises(UnavailableError, match=words):
            await mine.write(notice)
        assert words in memory.faults()["signer"]
        assert await mine.read(lambda tx: tx.execute(sa.select(sa.func.count()).select_from(t.notice)).scalar_one()) == 3
    finally:
        await memory.stop(0)
        await mine.close()


async def test_the_outside_copy_counts_too(ledger, database_url, tmp_path):
    """Another process of this host has seen more than this one, which has only just started to look."""
    _, newest = await ledger.read(latest_checkpoint)
    (tmp_path / "copy").write_text(newest)
    await ledger.write(forget)
    mine = Database(database_url, SOURCES)
    memory = LedgerMemory(mine, tmp_path / "copy")
    try:
        await memory.start()
        with pytest.raises(UnavailableError, match="entries 3 to 5 are missing"):
            await mine.write(notice)
    finally:
        await memory.stop(0)
        await mine.close()


async def test_a_log_that_only_grows_is_never_in_doubt(ledger, database_url, tmp_path):
    """New checkpoints, the same tree signed by another key, and entries that wait are what happens every day."""
    mine = Database(database_url, SOURCES)
    memory = LedgerMemory(mine, tmp_path / "no-copy")
    try:
        await memory.start()
        for _ in range(3):
            await ledger.write(notice)
            await memory._turn()
            await ledger.write(sequence.sequence, SIGNER, *await in_office(ledger))
            await memory._turn()
            await mine.write(notice)
        assert mine.held is None
    finally:
        await memory.stop(0)
        await mine.close()


@pytest.mark.postgres
async def test_a_new_connection_is_not_written_over_before_it_was_looked_at(rowless_postgres_url, tmp_path):
    """Between two looks: whoever meets the older database first, over a new connection, writes nothing into it."""
    async with opened(rowless_postgres_url) as made:
        for _ in range(2):
            await made.write(notice)
            await sequenced(made)
        mine = Database(rowless_postgres_url, SOURCES)
        memory = LedgerMemory(mine, tmp_path / "no-copy")
        try:
            await memory.start()
            await memory._loop.stop()  # nobody looks any more
            await mine.write(notice)
            await made.write(forget)
            await mine.engine._writing.dispose()
            with pytest.raises(UnavailableError, match="entries 3 to 5 are missing"):
                await mine.write(notice)
            assert await made.read(lambda tx: tx.execute(sa.select(sa.func.count()).select_from(t.notice)).scalar_one()) == 3
        finally:
            await mine.close()
