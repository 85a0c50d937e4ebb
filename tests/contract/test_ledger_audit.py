"""The audit: silent on a sound ledger, and one sentence for whatever somebody changed behind its back; exports too."""

import re
import shutil
import zlib

import pytest
from sqlalchemy import delete, insert, select, update

from noticesvc.errors import NoteError
from noticesvc.ledger import checkpoint, key
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.operations import export, ledger_reading
from noticesvc.operations.audit import audit_database, audit_export
from noticesvc.storage import tables as t
from tests.support.ledger import ORIGIN, SIGNER, members, notice, opened, sequenced, subject_entries

PATIENCE_US = 60_000_000


def quiet(_done, _total):
    """No progress to show."""


async def findings(database, against=None, patience_us=PATIENCE_US):
    """What the audit of this database finds."""
    done = await database.read(audit_database, [SIGNER.verifier], against, patience_us, quiet)
    return done.findings


@pytest.fixture
async def database(database_url):
    """A ledger of 336 entries: 100 sent notices, one recipient's 36 entries, sequenced in two rounds."""
    async with opened(database_url) as made:
        await made.write(lambda tx: [notice(tx) for _ in range(50)])
        await sequenced(made)
        await made.write(lambda tx: [notice(tx) for _ in range(50)])
        await made.write(subject_entries, 36)
        await sequenced(made)
        yield made


async def test_a_sound_ledger_has_no_findings(database):
    """All is compared and nothing found; entries that wait are counted, their rows too."""
    seen = []
    await database.write(notice)
    done = await database.read(audit_database, [SIGNER.verifier], None, PATIENCE_US, lambda *step: seen.append(step))
    assert done.findings == ()
    assert (done.entries, done.pending) == (336, 3)
    assert seen[-1] == (336, 336)


async def test_an_empty_ledger_has_no_findings(database_url):
    """Before any entry, with or without the first checkpoint."""
    async with opened(database_url) as made:
        assert len(await findings(made)) == 1  # a head, but nothing signed yet
        await sequenced(made)
        assert await findings(made) == ()


def tamper_bundle(tx):
    data = tx.execute(select(t.ledger_bundle.c.data).where(t.ledger_bundle.c.n == 1)).scalar_one()
    changed = zlib.decompress(data).replace(b'"state":"active"', b'"state":"closed"', 1)
    tx.execute(update(t.ledger_bundle).where(t.ledger_bundle.c.n == 1).values(data=zlib.compress(changed)))


def tamper_zlib(tx):
    tx.execute(update(t.ledger_bundle).where(t.ledger_bundle.c.n == 0).values(data=b"x"))


def tamper_tile(level):
    def change(tx):
        where = (t.ledger_tile.c.level == level) & (t.ledger_tile.c.n == 0)
        data = tx.execute(select(t.ledger_tile.c.data).where(where)).scalar_one()
        tx.execute(update(t.ledger_tile).where(where).values(data=data[:7] + bytes([data[7] ^ 1]) + data[8:]))
    return change


def tamper_index(tx):
    batch = tx.execute(select(t.ledger_index.c.batch).order_by(t.ledger_index.c.first.desc()).limit(1)).scalar_one()
    tx.execute(update(t.ledger_index).where(t.ledger_index.c.batch == batch).values(first=t.ledger_index.c.first - 1))


def drop_index(tx):
    batch = tx.execute(select(t.ledger_index.c.batch).order_by(t.ledger_index.c.first).limit(1)).scalar_one()
    tx.execute(delete(t.ledger_index).where(t.ledger_index.c.batch == batch))


def tamper_checkpoint(tx):
    size = tx.execute(select(t.ledger_checkpoint.c.size).order_by(t.ledger_checkpoint.c.size).limit(1)).scalar_one()
    note = tx.execute(select(t.ledger_checkpoint.c.note).where(t.ledger_checkpoint.c.size == size)).scalar_one()
    tx.execute(update(t.ledger_checkpoint).where(t.ledger_checkpoint.c.size == size).values(note=note.replace("\n150\n", "\n151\n")))


def fork_checkpoint(tx):
    forged = checkpoint.sign(Checkpoint(ORIGIN, 150, bytes(32)), SIGNER)
    tx.execute(update(t.ledger_checkpoint).where(t.ledger_checkpoint.c.size == 150).values(note=forged))


def one(tx, column):
    return tx.execute(select(column).order_by(column).limit(1)).scalar_one()


@pytest.mark.parametrize(("change", "sentence"), [
    pytest.param(tamper_bundle, r"Entry bundle 1 and the hash tile tile/0/001.p/80 disagree at entry 300", id="bundle"),
    pytest.param(tamper_zlib, "Entry bundle 0 is missing, unreadable", id="zlib"),
    pytest.param(tamper_tile(0), "Entry bundle 0 and the hash tile tile/0/000 disagree at entry 0", id="tile 0"),
    pytest.param(tamper_tile(1), "The hash tile tile/1/000.p/1 is not the one", id="tile 1"),
    pytest.param(lambda tx: tx.execute(delete(t.ledger_tile)), "The hash tile tile/0/000 is missing", id="no tiles"),
    pytest.param(tamper_index, "The index map", id="index"),
    pytest.param(drop_index, "begins a transaction that the index map does not name", id="index row"),
    pytest.param(tamper_checkpoint, "The checkpoint of size 150 does not verify", id="checkpoint"),
    pytest.param(fork_checkpoint, "The signed checkpoint of 150 entries has another root", id="forked"),
    pytest.param(lambda tx: tx.execute(update(t.ledger_head).values(size=337)), "the head row says 337", id="head"),
    pytest.param(lambda tx: tx.execute(insert(t.ledger_bundle).values(n=2, data=b"x")), "entry bundles beyond", id="further bundle"),
    pytest.param(lambda tx: tx.execute(insert(t.ledger_tile).values(level=2, n=0, data=b"x")), "hash tiles beyond", id="further tile"),
    pytest.param(lambda tx: tx.execute(delete(t.evidence).where(t.evidence.c.id == one(tx, t.evidence.c.id))),
                 "Entry 2 speaks of the evidence .*, but no evidence row names it", id="evidence deleted"),
    pytest.param(lambda tx: tx.execute(delete(t.attempt).where(t.attempt.c.notice_id == one(tx, t.attempt.c.notice_id))),
                 "Entry 1 speaks of the attempt .*, but no attempt row names it", id="attempt deleted"),
    pytest.param(lambda tx: tx.execute(delete(t.notice).where(t.notice.c.id == one(tx, t.notice.c.id))),
                 "Entry 0 speaks of the notice .*, but no notice row names it", id="notice deleted"),
    pytest.param(lambda tx: tx.execute(update(t.evidence).where(t.evidence.c.id == one(tx, t.evidence.c.id)).values(entry_offset=5)),
                 "names entry 5, which does not speak of it", id="evidence moved"),
    pytest.param(lambda tx: tx.execute(update(t.evidence).where(t.evidence.c.id == one(tx, t.evidence.c.id))
                                       .values(entry_batch=tx.new_id())),
                 "names no entry that is in the ledger", id="evidence without entry"),
    pytest.param(lambda tx: tx.execute(update(t.notice).where(t.notice.c.id == one(tx, t.notice.c.id)).values(seq=4)),
                 "counts 4 entries, the log has 3", id="last entry lost"),
    pytest.param(lambda tx: tx.execute(update(t.delivery).where(t.delivery.c.id == one(tx, t.delivery.c.id)).values(due_at=None)),
                 "is not finished on email, but nobody is to take care of it", id="dropped"),
    pytest.param(lambda tx: tx.execute(delete(t.delivery).where(t.delivery.c.id == one(tx, t.delivery.c.id))),
                 "has no delivery at all", id="no delivery"),
])
async def test_each_change_behind_the_back_is_named(database, change, sentence):
    """One changed row in any table gives a finding that says where."""
    await database.write(change)
    found = await findings(database)
    assert found
    assert [text for text in found if re.search(sentence, text)], found


@pytest.mark.parametrize("state", ["delivered", "failed", "undeliverable", "cancelled", "expired"])
async def test_a_finished_delivery_needs_nobody(database, state):
    """Conservation holds for deliveries that are finished, leased, or parked where people decide."""
    await database.write(lambda tx: tx.execute(update(t.delivery).values(state=state, due_at=None)))
    assert await findings(database) == ()
    await database.write(lambda tx: tx.execute(update(t.delivery).values(state="claimed", lease_owner=tx.new_id())))
    assert await findings(database) == ()
    await database.write(lambda tx: tx.execute(update(t.delivery).values(state="pending", lease_owner=None, channel="postal")))
    assert await findings(database) == ()


BAD = [
    pytest.param([b'{"v":1,"type":"account.changed","at":"x"}'], "not in canonical form", id="not canonical"),
    pytest.param([b"garbage"], "not JSON", id="garbage"),
    pytest.param([{"type": "no.such"}], "type is not known", id="type"),
    pytest.param([{"type": "account.changed", "subject_id": 1, "state": "active"}], "lacks members", id="member missing"),
    pytest.param([members("content.shared", type="content.shared", content="open text")], "may stand only as a commitment", id="open"),
    pytest.param([members("account.changed", type="account.changed", subject_id="x", subject_seq=1)], "is not one", id="id"),
    pytest.param([members("account.changed", type="account.changed", subject_id="SUBJECT", subject_seq=n) for n in (1, 3)],
                 "is number 3 .* number 2 was due", id="gap"),
    pytest.param([members("account.changed", type="account.changed", subject_id="SUBJECT", subject_seq=n) for n in (1, 2, 2)],
                 "is number 2 .* number 3 was due", id="doubled"),
    pytest.param([members(f"attempt.{word}", type=f"attempt.{word}", notice_id="SUBJECT", subject_id="SUBJECT", delivery_id="SUBJECT",
                          attempt=1, channel="sms", seq=n, evidence_id="SUBJECT") for n, word in ((1, "answered"), (2, "intended"))],
                 "answers an attempt that no entry before it intended", id="answer first"),
]


@pytest.mark.parametrize(("bad", "sentence"), BAD)
async def test_each_bad_entry_is_named(database_url, bad, sentence):
    """Entries that a faulty or hostile writer put into a correctly signed log are found one by one."""
    async with opened(database_url) as database:
        def append(tx):
            subject = tx.new_id()
            for item in bad:
                if isinstance(item, dict):
                    named = {name: subject if value == "SUBJECT" else value for name, value in item.items()}
                    tx.append(named.pop("type"), named)
                else:
                    tx.append("account.changed", {})
                    tx._entries[-1] = item
        await database.write(append)
        await sequenced(database)
        found = await findings(database)
        assert [text for text in found if re.search(sentence, text)], found


async def test_an_in_site_entry_holds_its_own_intent(database_url):
    """The single in-site entry needs no intent before it, and its attempt and evidence rows both name it."""
    async with opened(database_url) as database:
        def append(tx):
            notice_id, intent, arrived = tx.new_id(), tx.new_id(), tx.new_id()
            ref = tx.append("attempt.answered", members(
                "attempt.answered", notice_id=notice_id, seq=1, subject_id=notice_id, channel="in_site", delivery_id=notice_id, attempt=1,
                evidence_id=arrived, intended_id=intent))
            tx.insert(t.attempt, [{"notice_id": notice_id, "channel": "in_site", "number": 1, "intended_at": 1, "evidence_id": intent,
                                   **ref.columns}])
            tx.insert(t.evidence, [{"notice_id": notice_id, "id": arrived, "channel": "in_site", "attempt": 1, "kind": "arrived",
                                    "answer": True, "source": "service", "authenticated": True, "carries": "full", "observed_at": 1,
                                    "contact_in_effect": True, **ref.columns}])
        await database.write(append)
        await sequenced(database)
        assert await findings(database) == ()


async def test_entries_that_wait_too_long_are_a_finding(database):
    """Without a sequencer, waiting entries are found once they waited longer than allowed."""
    await database.write(subject_entries, 2)
    assert await findings(database) == ()
    (found,) = await findings(database, patience_us=-1)
    assert found.startswith("2 entries wait for the sequencer")


async def test_the_log_extends_an_older_checkpoint_or_the_audit_says_that_it_does_not(database):
    """`--against` holds for a checkpoint of this log, names missing entries, and finds another history."""
    def signed(size, root):
        return checkpoint.sign(Checkpoint(ORIGIN, size, root), SIGNER)
    notes = dict(await database.read(lambda tx: tx.execute(select(t.ledger_checkpoint.c.size, t.ledger_checkpoint.c.note)).all()))
    assert await findings(database, notes[150]) == ()
    assert await findings(database, notes[336]) == ()
    (found,) = await findings(database, signed(400, bytes(32)))
    assert "entries 336 to 399 are missing" in found
    (found,) = await findings(database, signed(149, bytes(32)))
    assert found.startswith("The older checkpoint of 149 entries has another root")
    with pytest.raises(NoteError):
        await findings(database, checkpoint.sign(Checkpoint(ORIGIN, 150, bytes(32)), key.generate(ORIGIN, bytes(32))))


async def exported(database, folder, *, entries=True):
    await database.read(export.export, folder, entries=entries)
    return folder


def export_findings(folder, against=None):
    return audit_export(folder, [SIGNER.verifier], against, quiet).findings


async def test_an_export_is_audited_without_the_database(database, tmp_path):
    """Files as served are complete: with and without entries, and brought up to date by another export."""
    folder = await exported(database, tmp_path / "log", entries=False)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "checkpoint", "key", "tile/0/000", "tile/0/001.p/80", "tile/1/000.p/1"]
    assert export_findings(folder) == ()
    older = (folder / "checkpoint").read_text()
    await database.write(subject_entries, 200)
    await sequenced(database)
    await exported(database, folder)
    assert export_findings(folder, older) == ()
    assert (folder / "tile/entries/001").exists()
    assert (folder / "checkpoint").read_text() == await database.read(ledger_reading.checkpoint, None)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001.p/80", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/80"])
async def test_a_changed_or_missing_file_of_an_export_is_found(database, tmp_path, name):
    """Every file carries weight: one flipped bit or its absence is a finding that names it."""
    folder = await exported(database, tmp_path / "log")
    path = folder / name
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    word = f"ntry bundle {int(name.split('/')[2][:3])}" if "entries" in name else name
    assert any(word in text for text in export_findings(folder))
    path.unlink()
    assert any(word in text for text in export_findings(folder))


async def test_an_export_with_another_checkpoint_is_refused(database, tmp_path):
    """A checkpoint that no trusted key signed is an error; a signed one of another tree a finding; none at all an error."""
    folder = await exported(database, tmp_path / "log")
    (folder / "checkpoint").write_text(checkpoint.sign(Checkpoint(ORIGIN, 336, bytes(32)), SIGNER))
    assert any("another root" in text for text in export_findings(folder))
    (folder / "checkpoint").write_text(checkpoint.sign(Checkpoint(ORIGIN, 336, bytes(32)), key.generate(ORIGIN, bytes(32))))
    with pytest.raises(NoteError):
        export_findings(folder)
    shutil.rmtree(folder)
    with pytest.raises(NoteError):
        export_findings(folder)
