"""The sequencer as a running component: woken by commits, elected once, its outside copy, outages and takeover."""

import asyncio
import contextlib

import pytest

from noticesvc.dispatch import outside_copy
from noticesvc.dispatch.sequencer import Sequencer
from noticesvc.errors import DatabaseUnavailable, LedgerMismatch
from noticesvc.ledger import checkpoint, key
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.merkle import EMPTY_ROOT
from noticesvc.operations import ledger_reading, upkeep
from noticesvc.storage import ledger
from noticesvc.storage import tables as t
from tests.support.ledger import ORIGIN, SIGNER, opened, sequenced, subject_entries


@pytest.fixture
async def database(database_url):
    async with opened(database_url) as made:
        yield made


@contextlib.asynccontextmanager
async def running(database, copy, **settings):
    """A started sequencer, stopped at the end."""
    sequencer = Sequencer(database, SIGNER, copy, **settings)
    await sequencer.start()
    try:
        yield sequencer
    finally:
        await sequencer.stop()


async def until(condition):
    """Wait for an asynchronous condition; pytest's timeout ends what never comes true."""
    while not await condition():
        await asyncio.sleep(0.005)


async def reached(database, size):
    """Wait until the signed checkpoint has `size` entries."""
    async def there():
        latest = await database.read(ledger.latest_checkpoint)
        return latest is not None and latest[0] >= size
    await until(there)


def size_of(path):
    """The size that the outside copy names."""
    return checkpoint.verify(path.read_text(), [SIGNER.verifier]).checkpoint.size


async def test_commits_wake_it_and_the_copy_follows(database, tmp_path):
    """Entries are signed soon after their commit, and the file outside holds the same checkpoint."""
    copy = tmp_path / "checkpoint"
    async with running(database, copy, max_delay_s=60) as sequencer:
        await reached(database, 0)
        for size in (3, 6, 9):
            await database.write(subject_entries, 3)
            await reached(database, size)
        assert sequencer.leads
        assert sequencer.faults() == {}
    assert copy.read_text() == await database.read(ledger_reading.checkpoint, None)
    assert size_of(copy) == 9
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


async def test_what_waits_at_a_stop_is_still_signed(database, tmp_path):
    """A stop sequences what was committed before it, copy included."""
    sequencer = Sequencer(database, SIGNER, tmp_path / "checkpoint")
    await sequencer.start()
    await reached(database, 0)
    await asyncio.gather(*(database.write(subject_entries, 2) for _ in range(20)))
    await sequencer.stop()
    assert size_of(tmp_path / "checkpoint") == 40
    assert not sequencer.leads


async def test_polling_finds_what_no_wake_up_announced(database, tmp_path):
    """A pending row whose wake-up was lost is sequenced all the same."""
    async with running(database, tmp_path / "checkpoint", max_delay_s=0.2):
        await reached(database, 0)
        frame = b"\x00\x02{}"  # written beside Tx.append, which alone wakes
        await database.write(lambda tx: tx.insert(t.ledger_pending, [{"batch": tx.new_id(), "data": frame, "created_at": tx.now}]))
        await reached(database, 1)


async def test_a_copy_that_is_ahead_stops_the_start_and_names_what_is_missing(database, tmp_path):
    """With a restored backup the service does not start, and the sentence says which entries are gone."""
    for _ in range(3):
        await database.write(subject_entries, 1)
    await sequenced(database)
    ahead = checkpoint.sign(Checkpoint(ORIGIN, 10, bytes(32)), SIGNER)
    outside_copy.write(tmp_path / "checkpoint", ahead)
    with pytest.raises(LedgerMismatch, match="entries 3 to 9 are missing"):
        await Sequencer(database, SIGNER, tmp_path / "checkpoint").start()
    assert (tmp_path / "checkpoint").read_text() == ahead


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_copy_of_another_history_stops_the_start(database, tmp_path, size):
    """A copy no larger than the database, but with another root, is noticed by the consistency proof."""
    await database.write(subject_entries, 3)
    await sequenced(database)
    outside_copy.write(tmp_path / "checkpoint", checkpoint.sign(Checkpoint(ORIGIN, size, bytes(32)), SIGNER))
    with pytest.raises(LedgerMismatch, match="does not extend"):
        await Sequencer(database, SIGNER, tmp_path / "checkpoint").start()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a note", checkpoint.sign(
    Checkpoint(ORIGIN, 0, EMPTY_ROOT), key.generate(ORIGIN, bytes(32))).encode()])
async def test_a_copy_that_cannot_be_used_is_not_overwritten(database, tmp_path, content):
    """Garbage, or a note of an unknown key, stops the start; an operator decides, not we."""
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(LedgerMismatch):
        await Sequencer(database, SIGNER, tmp_path / "checkpoint").start()
    assert (tmp_path / "checkpoint").read_bytes() == content


async def test_an_older_copy_of_the_same_history_is_fine(database, tmp_path):
    """A copy that was written before a crash lags behind and is brought up to date."""
    copy = tmp_path / "checkpoint"
    await database.write(subject_entries, 5)
    outside_copy.write(copy, (await sequenced(database)).note)
    await database.write(subject_entries, 5)
    await sequenced(database)
    async with running(database, copy):
        async def caught_up():
            return size_of(copy) == 10
        await until(caught_up)


async def test_a_copy_that_cannot_be_written_is_a_fault_and_stops_nothing(database, tmp_path):
    """Signing goes on while the folder is missing; the fault ends when it is back."""
    folder = tmp_path / "elsewhere"
    async with running(database, folder / "checkpoint", max_delay_s=0.2) as sequencer:
        await reached(database, 0)

        async def complains():
            return "checkpoint_copy" in sequencer.faults()
        await until(complains)
        folder.mkdir()
        await database.write(subject_entries, 1)

        async def content():
            return not sequencer.faults()
        await until(content)
    assert size_of(folder / "checkpoint") == 1


async def test_a_database_that_is_set_back_under_a_running_sequencer_stops_it(database, tmp_path):
    """Entries that vanish while it runs are noticed against what it signed last, even if the rest is consistent."""
    async with running(database, tmp_path / "checkpoint", max_delay_s=0.2) as sequencer:
        await reached(database, 0)
        await database.write(subject_entries, 2)
        await reached(database, 2)

        def restored(tx):
            for table in (t.ledger_tile, t.ledger_bundle, t.ledger_index):
                tx.execute(table.delete())
            tx.execute(t.ledger_checkpoint.delete().where(t.ledger_checkpoint.c.size > 0))
            tx.execute(t.ledger_head.update().values(size=0))
            subject_entries(tx, 1)
        await database.write(restored)

        async def stopped():
            return sequencer.mismatch is not None
        await until(stopped)
        assert "entries 0 to 1 are missing" in sequencer.faults()["signer"]
    assert (await database.read(ledger.head)).size == 0
    assert size_of(tmp_path / "checkpoint") == 2


@pytest.mark.postgres
async def test_of_two_sequencers_one_signs_and_the_other_takes_over(postgres_url, tmp_path):
    """Two processes' sequencers: one is in office; when its connection dies the other signs what waits, with a higher epoch."""
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        first = Sequencer(one, SIGNER, tmp_path / "one")
        await first.start()
        await reached(one, 0)
        second = Sequencer(two, SIGNER, tmp_path / "two")
        await second.start()
        await one.write(subject_entries, 4)
        await reached(one, 4)
        assert (first.leads, second.leads) == (True, False)
        assert not (tmp_path / "two").exists()
        epoch = (await one.read(ledger.head)).epoch
        await first.stop()
        await two.write(subject_entries, 4)
        await reached(two, 8)
        assert second.leads
        assert (await two.read(ledger.head)).epoch == epoch + 1
        await second.stop()
        assert size_of(tmp_path / "two") == 8


@pytest.mark.postgres
async def test_a_sequencer_whose_lock_was_taken_away_stands_back(postgres, postgres_url, tmp_path):
    """Its lock's connection is cut and another is elected: its next round is refused by the epoch, nothing forks."""
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        first, second = (Sequencer(database, SIGNER, tmp_path / name, max_delay_s=0.2) for database, name in ((one, "one"), (two, "two")))
        await first.start()
        await reached(one, 0)
        await second.start()
        name = postgres_url.rpartition("/")[2]
        postgres.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' "
                         "and application_name = 'noticesvc sequencer'")
        for size in range(1, 30):
            await (one if size % 2 else two).write(subject_entries, 1)
            await reached(one, size)

        async def one_leads():
            return first.leads != second.leads  # whoever lost its office finds out with its next sign of life
        await until(one_leads)
        assert (await one.read(ledger.head)).size == 29
        assert (first.mismatch, second.mismatch) == (None, None)
        await first.stop()
        await second.stop()


@pytest.mark.postgres
@pytest.mark.kill
async def test_it_outlives_a_database_that_goes_away(durable_postgres, tmp_path):
    """Through a crash of the server it keeps trying, is elected again and signs what waits."""
    url = durable_postgres.new_database()
    async with opened(url) as database, running(database, tmp_path / "checkpoint", max_delay_s=0.2) as sequencer:
        await database.write(subject_entries, 1)
        await reached(database, 1)
        durable_postgres.stop(crash=True)
        with pytest.raises(DatabaseUnavailable):
            await database.write(subject_entries, 1)

        async def noticed():
            return not sequencer.leads
        await until(noticed)
        durable_postgres.start()

        async def taken():
            with contextlib.suppress(DatabaseUnavailable):
                return bool(await database.write(subject_entries, 1))
            return False
        await until(taken)
        await reached(database, 2)
        assert sequencer.mismatch is None
    assert size_of(tmp_path / "checkpoint") == 2


async def test_upkeep_goes_on_while_a_sequencer_is_in_office(database, tmp_path):
    """Coming partitions are made and old idempotency keys dropped whoever is elected; neither waits for the other's lock."""
    async with running(database, tmp_path / "checkpoint", max_delay_s=0.2) as sequencer:
        await reached(database, 0)
        assert sequencer.leads
        await database.write(upkeep.run)
