"""Whoever has rights on the database and changes, deletes, adds, swaps or copies anything that holds a claim is found by `--open`.

The tables and columns are taken from the schema. What the audit leaves out stands with its reason in operations.audit_columns.
"""

from dataclasses import replace

import pytest
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response
from sqlalchemy import BigInteger, Boolean, LargeBinary, Uuid, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from noticesvc.domain import instant
from noticesvc.ledger import key as keys_
from noticesvc.ledger import note
from noticesvc.operations import anchoring, anonymising, certificates, consents, contents, cures, documents, recipients
from noticesvc.operations.audit import audit_database
from noticesvc.operations.audit_columns import LEFT_OUT, TABLES_LEFT_OUT
from noticesvc.proof import timestamps
from noticesvc.storage import ledger
from noticesvc.storage import tables as t
from tests.fakes.tsa import Authority
from tests.support import proofs
from tests.support.broadcasts import expanded, running
from tests.support.ledger import SIGNER

PATIENCE_US = 60_000_000
TABLES = [table for name, table in sorted(t.metadata.tables.items()) if name not in TABLES_LEFT_OUT]
ROWS = 3  # of each table and column

# Rows whose absence takes nothing away: each later checkpoint covers what an earlier one said.
MAY_GO = {"ledger_checkpoint": "every later checkpoint covers the earlier ones",
          "ledger_timestamp": "one voice less for what others prove", "ledger_cosignature": "one voice less for what others prove"}


class Undo(Exception):
    """Carries findings out of a transaction that must not be committed."""


@pytest.fixture
async def desk(database_url, tmp_path):
    """Two recipients, three notices with everything that can happen to them, all sequenced but one last entry."""
    async with proofs.desk(database_url) as made:
        made.folder = tmp_path
        await everything(made)
        yield made


async def everything(desk):
    for recipient_id in ("u-1001", "u-1002"):
        await desk.recipient(recipient_id)
        await desk.acceptance(recipient_id)
        await desk.write(consents.put_preferences, recipient_id, ["sms"])
    await desk.recipient("u-1001", *(proofs.Wanted(channel=channel, address=address, confirmation="identified") for channel, address in (
        ("sms", "+8613900139000"), ("email", proofs.MAILBOX))))
    document = await desk.write(lambda tx, world: documents.store(tx, world, documents.prepared(
        world, tx.new_id(), "application/pdf", b"%PDF-1.7 nothing more"))["id"])
    for recipient_id, reference in (("u-1001", "R-1"), ("u-1002", "R-2")):
        notice_id = await desk.notice(
            recipient_id=recipient_id, category="platform", channels=("announcement", "in_site", "sms", "email"), sms="短信 {link}",
            sms_carries="link", reference=reference, metadata={"a": [1]}, ground="五.2①", response_window={"days": 15},
            documents=(document,))
        await desk.deliver_in_site()
        await desk.dispatch()
        await desk.answer(notice_id, "sms", "not_sent")
        await desk.answer(notice_id, "email", "submitted", provider_reference=f"q-{reference}")
        desk.house.clock.move(10)
        await desk.dispatch(passed_over={"sms": (("first", "breaker_open"), ("other", "refused"))})
        await desk.answer(notice_id, "sms", "submitted", provider_reference=f"gw-{reference}", claimed_time_raw="22:13", parts=2)
        await desk.receipt(notice_id, "sms", ("arrived", {"part": 1, "parts": 2}), ("arrived", {"part": 2, "parts": 2}))
        await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN", source="dsn")
        message, = [row for row in await desk.house.rows(t.inbox_message) if row.notice_id == notice_id]
        reply = await desk.house.http.post(f"/v1/inbox/{recipient_id}/messages/{message.id}/opened")
        assert reply.status_code == 200, reply.text
        await desk.proof(notice_id)
        await desk.write(certificates.keep, desk.access, certificates.Certificate(
            f"20260921-{reference}", notice_id, "full", "both", 1, "a" * 64, "b" * 64, personal=True, pdf=b"%PDF-1.7 a certificate"))
    await desk.notice(category="judicial", channels=("in_site",), case={"court": "法院", "case_number": "(2026)京01民初1号",
                                                                       "stage": "first_instance", "document_type": "summons"})
    await cured(desk)
    await broadcast(desk)
    await anchored(desk)
    await desk.write(recipients.put_account, "u-1002", "void")
    await desk.write(anonymising.hold, None, "u-1002", "诉讼中")
    await desk.recipient("u-1003")
    await desk.write(anonymising.anonymise, None, "u-1003", "本人要求")
    await desk.sequence()
    await desk.write(consents.put_preferences, "u-1001", [])


async def broadcast(desk):
    """Two broadcasts, one with words of each recipient's own, of whom one became nobody before their notice was made."""
    await desk.write(contents.put_template, "greeting", "更新", "{{ name }}", None, None)
    await desk.recipient("u-1004")
    for rows, more in (([("u-1001", {}), ("u-1002", {}), ("u-1004", {})], {}),
                       ([("u-1001", {"name": "李"}), ("u-1002", {"name": "王"})],
                        {"subject": None, "body": None, "template": "greeting", "effective_at": 1_800_000_000_000_000})):
        await running(desk.house.database, desk.house.world, desk.access, rows, channels=("in_site",), rates={"in_site": 5.0}, **more)
    await desk.write(recipients.put_account, "u-1004", "void")
    await expanded(desk.house.database, desk.house.world)
    await desk.deliver_in_site()


async def cured(desk):
    """Whose mailbox died is told of it by SMS; one such cure stays open, the other ends with a new address."""
    while found := await desk.house.database.read(cures.due, 10):
        for one in found:
            await desk.write(cures.look, one)
    desk.house.clock.move(1)
    await desk.recipient("u-1002", *(proofs.Wanted(channel=channel, address=address, confirmation="confirmed") for channel, address in (
        ("sms", "+8613900139002"), ("email", "new@example.cn"))))
    while found := await desk.house.database.read(cures.due, 10):
        for one in found:
            await desk.write(cures.look, one)
    states = {row.state for row in await desk.house.rows(t.cure)}
    assert states == {"open", "ended"}, states


async def anchored(desk):
    """The newest checkpoint, cosigned by a witness and stamped by a service."""
    authority = Authority(desk.folder / "tsa")
    witness = keys_.generate("witness.example.cn", bytes([7]) * 32, keys_.COSIGNATURE)
    desk.house.world = replace(desk.house.world, tsa_roots=(authority.root,), witnesses=(witness.verifier.vkey,))

    def keep(tx, _world):
        size, text = ledger.latest_checkpoint(tx)
        request = TimestampRequestBuilder().data(text.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
        token = decode_timestamp_response(authority.own(request.as_bytes())).time_stamp_token()
        at = instant.to_micros(timestamps.check(token, text.encode(), [authority.root], request.nonce).at)
        anchoring.keep_token(tx, "tsa:test", size, text, token, at)
        anchoring.keep_cosignature(tx, size, witness.verifier.vkey, note.cosign(note.parse(text).text, witness, 1_790_000_000))
    await desk.write(keep)


def audited(tx, desk):
    return audit_database(tx, [SIGNER.verifier], None, PATIENCE_US, lambda _done, _total: None, desk.house.world).findings


async def after(desk, change):
    """What the audit finds after a change, which is then taken back; the word refused if the database itself forbids it."""
    def attempt(tx):
        try:
            change(tx)
        except SQLAlchemyError:
            raise Undo("refused") from None
        raise Undo(audited(tx, desk))
    with pytest.raises(Undo) as caught:
        await desk.house.database.write(attempt)
    return caught.value.args[0]


def others(column, value, tx):
    """Values that stand for any other in place of this one."""
    if column.nullable and value is not None:
        yield None
    if isinstance(column.type, Uuid):
        yield tx.new_id()
    elif isinstance(column.type, LargeBinary):
        yield bytes([*value[:-1], value[-1] ^ 1]) if value else b"x" * 16
    elif isinstance(column.type, Boolean):
        yield not value
    elif column.type.python_type is int:
        yield (value or 0) + 1
    else:
        yield f"{value or ''}x"


def one_row(table, row):
    keys = list(table.primary_key.columns)
    clause = keys[0] == row._mapping[keys[0].name]
    for key in keys[1:]:
        clause &= key == row._mapping[key.name]
    return clause


def sample(rows, column=None):
    """A few rows: for a column with different values in it, among them an empty one and one that is not."""
    if column is None:
        return [*rows[:1], *rows[len(rows) // 2:][:1], *rows[-1:]][:ROWS]
    full = [row for row in rows if row._mapping[column.name] is not None]
    empty = [row for row in rows if row._mapping[column.name] is None]
    return [*full[:1], *full[-1:], *empty[:1]]


async def rows_of(desk, table):
    return await desk.house.database.read(lambda tx: tx.execute(select(table).order_by(*table.primary_key.columns)).all())


@pytest.mark.slow
@pytest.mark.timeout(500)
async def test_every_column_is_held_against_the_ledger_or_left_out_by_a_sentence(desk):
    """A sound database has no findings; then each column of each sampled row is changed, and each change is found."""
    assert await desk.house.database.read(audited, desk) == ()
    missed = []
    for table in TABLES:
        rows = await rows_of(desk, table)
        assert rows, f"the test makes no row of {table.name}"
        for column in table.columns:
            if column.name in LEFT_OUT.get(table.name, {}):
                continue
            for row in sample(rows, column):
                def changes(tx, table=table, column=column, row=row):
                    return list(others(column, row._mapping[column.name], tx))
                for value in await desk.house.database.read(changes):
                    statement = update(table).where(one_row(table, row)).values({column.name: value})
                    if not await after(desk, lambda tx, statement=statement: tx.execute(statement)):
                        missed.append((table.name, column.name, row._mapping[column.name], value))
    assert missed == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_deleted_copied_and_swapped_rows_are_found(desk):
    """A row that is gone, one that is there twice under another key, and two that changed places are each found."""
    missed = []
    for table in TABLES:
        rows, left_out = await rows_of(desk, table), LEFT_OUT.get(table.name, {})
        for row in sample(rows):
            if table.name not in MAY_GO or (table.name == "ledger_checkpoint" and row == rows[-1]):
                gone = delete(table).where(one_row(table, row))
                if not await after(desk, lambda tx, gone=gone: tx.execute(gone)):
                    missed.append((table.name, "deleted", row))
            for key in table.primary_key.columns:
                if key.name in left_out:
                    continue

                def copied(tx, table=table, row=row, key=key):
                    tx.execute(insert(table).values({**row._mapping, key.name: [*others(key, row._mapping[key.name], tx)][-1]}))
                if not await after(desk, copied):
                    missed.append((table.name, "copied", key.name, row))
        keys = [key.name for key in table.primary_key.columns]
        for one, other in [(rows[0], rows[-1])] if len(rows) > 1 else []:
            named = [column.name for column in table.columns if column.name not in keys and column.name not in left_out
                     and not isinstance(column.type, BigInteger) and one._mapping[column.name] != other._mapping[column.name]]

            def swapped(tx, table=table, one=one, other=other, named=named):
                for row, from_ in ((one, other), (other, one)):
                    tx.execute(update(table).where(one_row(table, row)).values({name: from_._mapping[name] for name in named}))
            if named and not await after(desk, swapped):
                missed.append((table.name, "swapped"))
    assert missed == []


async def test_rows_of_no_notice_are_found(desk):
    """Rows added to a notice or recipient that does not exist are found by counting."""
    for table in (t.delivery, t.notice_entry, t.inbox_message, t.link, t.provider_reference, t.content, t.contact, t.subject_entry):
        row, *_ = await rows_of(desk, table)
        owner = next(name for name in ("notice_id", "subject_id", "id") if name in table.c)

        def added(tx, table=table, row=row, owner=owner):
            keys = {key.name: [*others(key, row._mapping[key.name], tx)][-1] for key in table.primary_key.columns}
            tx.execute(insert(table).values({**row._mapping, owner: tx.new_id(), **keys}))
            assert tx.execute(select(func.count()).select_from(table)).scalar_one() > 1
        assert any("accounts for" in sentence for sentence in await after(desk, added)), table.name


async def test_what_was_rightly_destroyed_is_no_finding(desk):
    """After a recipient was anonymised and swept, the audit is content; a key that is gone without such an entry is found."""
    await desk.write(anonymising.hold, None, "u-1002", None)
    await desk.write(anonymising.anonymise, None, "u-1002", "本人要求")
    desk.house.clock.move(1_096 * 86_400)
    while await desk.write(anonymising.sweep):
        pass
    rows = await rows_of(desk, t.recipient)
    assert [row.wrapped_key is None for row in rows].count(True) == 2
    await desk.sequence()
    assert await desk.house.database.read(audited, desk) == ()
    found = await after(desk, lambda tx: tx.execute(update(t.recipient).values(wrapped_key=None)))
    assert any("no entry says that it was anonymised" in sentence for sentence in found)
