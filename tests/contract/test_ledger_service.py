"""The ledger in a database: sequencing, proofs, restarts and fencing, on every engine.

Roots and tiles are compared with the plain recursive definitions of RFC 6962 over all leaf hashes.
"""

import asyncio
import zlib

import pytest
from sqlalchemy import select, update

from noticesvc.errors import LedgerMismatch, NotFound
from noticesvc.ledger import checkpoint, key, merkle, note, proof, tile
from noticesvc.ledger.tile import Tile
from noticesvc.operations import ledger_reading, sequence
from noticesvc.storage import ledger
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import EntryRef
from tests.support.ledger import SIGNER, all_entries, in_office, opened, sequenced, subject_entries


@pytest.fixture
async def database(database_url):
    async with opened(database_url) as made:
        yield made


async def assert_stored_tree_is_right(database, done):
    """Checkpoint, bundles and tiles are those of RFC 6962 over the entries themselves."""
    entries = await database.read(all_entries)
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    signed = checkpoint.verify(done.note, [SIGNER.verifier]).checkpoint
    assert (signed.size, signed.root) == (len(entries), merkle.root_hash(hashes))
    expected = {(where.level, where.index): data for where, data in tile.build_tiles(hashes).items()}
    rows = await database.read(lambda tx: tx.execute(select(t.ledger_tile)).all())
    assert {(row.level, row.n): row.data for row in rows} == expected


async def test_an_empty_ledger_has_a_signed_checkpoint_from_the_start(database):
    """The first round signs size 0 with the empty root, so that a checkpoint can always be served."""
    done = await sequenced(database)
    signed = checkpoint.verify(done.note, [SIGNER.verifier]).checkpoint
    assert (signed.size, signed.root) == (0, merkle.EMPTY_ROOT)
    assert await database.read(ledger_reading.checkpoint, None) == done.note


async def test_every_appended_entry_is_proved_in_one_checkpoint(database):
    """Entries of many concurrent transactions get one index each, and each proof verifies against the signed root."""
    written = await asyncio.gather(*(database.write(subject_entries, 1 + number % 7) for number in range(90)))
    refs = [ref for some in written for ref in some]
    assert await database.read(ledger_reading.proofs_for, refs[:1]) is None
    done = await sequenced(database)
    await assert_stored_tree_is_right(database, done)
    proved = await database.read(ledger_reading.proofs_for, refs)
    places = await database.read(ledger_reading.indexes, refs)
    assert sorted(places.values()) == list(range(len(refs)))
    assert proved.checkpoint == done.note
    for ref, (entry, text) in zip(refs, proved.entries, strict=True):
        parsed = proof.parse(text)
        assert parsed.index == places[ref]
        assert proof.verify(parsed, entry, [SIGNER.verifier]).checkpoint == done.checkpoint
        assert f'"subject_seq":{ref.offset + 1},' in entry.decode()
    assert await database.read(ledger_reading.entries, refs) == [entry for entry, _ in proved.entries]


async def test_one_transaction_may_append_more_than_a_bundle_holds(database):
    """A group commit of 700 entries becomes one run of indexes over several bundles."""
    refs = await database.write(subject_entries, 700)
    await assert_stored_tree_is_right(database, await sequenced(database))
    places = await database.read(ledger_reading.indexes, refs)
    assert [places[ref] for ref in refs] == list(range(700))
    assert len(await database.read(ledger_reading.entries, refs[250:260])) == 10


async def test_entries_of_one_writer_keep_their_order(database):
    """What one transaction wrote after another committed has the higher index."""
    first = await database.write(subject_entries, 3)
    second = await database.write(subject_entries, 2)
    await sequenced(database)
    places = await database.read(ledger_reading.indexes, first + second)
    assert [places[ref] for ref in first + second] == [0, 1, 2, 3, 4]


async def test_a_ref_that_nobody_wrote_has_no_proof(database):
    """An unknown batch gives no proof, also beside known ones."""
    (ref,) = await database.write(subject_entries, 1)
    await sequenced(database)
    stranger = EntryRef("01900000-0000-7000-8000-000000000000", 0)
    assert await database.read(ledger_reading.proofs_for, [ref, stranger]) is None
    assert await database.read(ledger_reading.entries, [stranger]) is None


@pytest.mark.parametrize("start", [254, 510, 65_534])
async def test_a_restart_at_every_size_around_a_boundary_changes_nothing(database, start):
    """A new sequencer for each entry, across the edges of bundles and of the first upper tile, builds the same tree."""
    def fill(tx):
        rows = []
        for low in range(0, start, 250):
            entries = [b'{"at":"x","n":%d,"type":"x","v":1}' % n for n in range(low, min(low + 250, start))]
            rows.append({"batch": tx.new_id(), "created_at": tx.now, "data": b"".join(len(e).to_bytes(2, "big") + e for e in entries)})
        tx.insert(t.ledger_pending, rows)
    await database.write(fill)
    done = await sequenced(database)
    for size in range(start + 1, start + 5):
        await database.write(subject_entries, 1)
        done = await sequenced(database)
        assert done.checkpoint.size == size
    await assert_stored_tree_is_right(database, done)


async def test_a_batch_is_limited_and_says_that_more_waits(database):
    """With a small limit each transaction takes some entries and reports the rest, until all are in."""
    for _ in range(5):
        await database.write(subject_entries, 2)
    office, rounds = await in_office(database), []
    while not rounds or rounds[-1].waiting:
        rounds.append(await database.write(sequence.sequence, SIGNER, *office, None, 1))
    assert [done.added for done in rounds] == [2, 2, 2, 2, 2]
    await assert_stored_tree_is_right(database, rounds[-1])


async def test_a_sequence_that_is_rolled_back_never_was(database):
    """Killed before its commit, a round leaves entries waiting and the old checkpoint; the next round takes them."""
    await database.write(subject_entries, 2)
    before = await sequenced(database)
    await database.write(subject_entries, 300 - 256)
    office = await in_office(database)

    def killed(tx):
        sequence.sequence(tx, SIGNER, *office)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        await database.write(killed)
    assert await database.read(ledger_reading.checkpoint, None) == before.note
    assert await database.read(ledger_reading.waits)
    done = await sequenced(database, office, before.checkpoint)
    assert done.checkpoint.size == 46
    await assert_stored_tree_is_right(database, done)


async def test_a_sequencer_of_an_earlier_epoch_can_write_nothing(database):
    """After another took office, the former one's round is refused and its entries stay for the new one."""
    former, current = await in_office(database), await in_office(database)
    await database.write(subject_entries, 1)
    with pytest.raises(sequence.OfficeLost):
        await database.write(sequence.sequence, SIGNER, *former)
    assert (await database.write(sequence.sequence, SIGNER, *current)).added == 1


async def test_what_waits_while_another_writes_is_not_lost(database):
    """Writers and rounds at the same time: every entry ends in the log exactly once."""
    office = await in_office(database)

    async def rounds():
        for _ in range(12):
            await database.write(sequence.sequence, SIGNER, *office)
    written, _ = await asyncio.gather(asyncio.gather(*(database.write(subject_entries, 2) for _ in range(80))), rounds())
    done = await sequenced(database, office)
    refs = [ref for some in written for ref in some]
    places = await database.read(ledger_reading.indexes, refs)
    assert sorted(places.values()) == list(range(160))
    await assert_stored_tree_is_right(database, done)


def flipped(column, where):
    """A change of one byte in the stored bytes of one row."""
    def change(tx):
        data = tx.execute(select(column).where(where)).scalar_one()
        tx.execute(update(column.table).where(where).values({column.name: data[:-1] + bytes([data[-1] ^ 1])}))
    return change


def other_bundle(tx):
    """The last bundle with another entry in it, well packed."""
    row = tx.execute(select(t.ledger_bundle).order_by(t.ledger_bundle.c.n.desc()).limit(1)).one()
    data = zlib.decompress(row.data).replace(b"active", b"closed", 1)
    tx.execute(update(t.ledger_bundle).where(t.ledger_bundle.c.n == row.n).values(data=zlib.compress(data)))


def own_key(tx):
    """The last checkpoint signed by another key, which only the database lists."""
    mine = key.generate(SIGNER.name, bytes(32))
    row = tx.execute(select(t.ledger_checkpoint).order_by(t.ledger_checkpoint.c.size.desc()).limit(1)).one()
    ledger.put_vkey(tx, mine.verifier.vkey)
    ledger.put_checkpoint(tx, row.size, note.sign(note.parse(row.note).text, mine))


@pytest.mark.parametrize("change", [
    pytest.param(flipped(t.ledger_tile.c.data, t.ledger_tile.c.level == 0), id="tile"),
    pytest.param(flipped(t.ledger_bundle.c.data, t.ledger_bundle.c.n == 0), id="bundle"),
    pytest.param(other_bundle, id="entry"),
    pytest.param(lambda tx: tx.execute(t.ledger_tile.delete()), id="no tiles"),
    pytest.param(lambda tx: tx.execute(t.ledger_checkpoint.delete()), id="no checkpoint"),
    pytest.param(lambda tx: tx.execute(update(t.ledger_checkpoint).values(note=t.ledger_checkpoint.c.note + "x")), id="note"),
    pytest.param(lambda tx: tx.execute(update(t.ledger_head).values(size=2)), id="head"),
    pytest.param(own_key, id="own key"),
])
async def test_nothing_is_signed_on_a_tree_that_was_changed(database, change):
    """At start and in each round a damaged edge is a LedgerMismatch, and what waits stays waiting."""
    await database.write(subject_entries, 3)
    await sequenced(database)
    await database.write(change)
    await database.write(subject_entries, 1)
    with pytest.raises(LedgerMismatch):
        await database.read(sequence.check, SIGNER, None)
    with pytest.raises(LedgerMismatch):
        await sequenced(database)
    assert await database.read(ledger_reading.waits)


async def test_a_missing_head_row_is_noticed(database):
    """A ledger with entries and without its head row is not taken for a new one."""
    await database.write(subject_entries, 1)
    await sequenced(database)
    await database.write(lambda tx: tx.execute(t.ledger_head.delete()))
    with pytest.raises(LedgerMismatch):
        await database.write(sequence.found, SIGNER)


async def test_a_new_key_signs_the_same_tree_and_the_old_one_stays_listed(database):
    """After a rotation the newest checkpoint is the new key's, keys are listed current first, old proofs verify."""
    (ref,) = await database.write(subject_entries, 1)
    old = await sequenced(database)
    fresh = key.generate(SIGNER.name, bytes(32))
    await database.write(sequence.found, fresh)
    with pytest.raises(LedgerMismatch, match="key file"):  # the old key's word counts only where the key file names it
        await database.write(sequence.sequence, fresh, *await in_office(database))
    new = await database.write(sequence.sequence, fresh, *await in_office(database), None, sequence.BYTES, (SIGNER.verifier,))
    assert new.checkpoint == old.checkpoint
    checkpoint.verify(new.note, [fresh.verifier])
    assert await database.read(ledger_reading.keys, None) == f"{fresh.verifier.vkey}\n{SIGNER.verifier.vkey}\n"
    proved = await database.read(ledger_reading.proofs_for, [ref])
    proof.verify(proof.parse(proved.entries[0].tlog_proof), proved.entries[0].entry, [fresh.verifier])
    await database.write(sequence.found, fresh)
    assert len(await database.read(ledger.vkeys)) == 2


async def test_tiles_are_served_in_the_width_asked_for_and_only_if_covered(database):
    """Any width that the signed tree has is a prefix of the stored tile or bundle; more is not found."""
    for _ in range(3):
        await database.write(subject_entries, 100)
    await sequenced(database)
    await database.write(subject_entries, 1)
    entries = await database.read(all_entries)
    hashes = [merkle.leaf_hash(entry) for entry in entries]

    async def served(*numbers):
        return await database.read(ledger_reading.tile_bytes, None, Tile(*numbers))
    assert await served(0, 0) == b"".join(hashes[:256])
    assert await served(0, 1, 44) == b"".join(hashes[256:])
    assert await served(0, 1, 7) == b"".join(hashes[256:263])
    assert await served(1, 0, 1) == merkle.root_hash(hashes[:256])
    assert await served(None, 1, 3) == b"".join(len(e).to_bytes(2, "big") + e for e in entries[256:259])
    for uncovered in [(0, 1), (0, 1, 45), (0, 2, 1), (1, 0, 2), (2, 0, 1), (None, 1, 45), (None, 1)]:
        with pytest.raises(NotFound):
            await served(*uncovered)
