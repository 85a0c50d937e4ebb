"""Many rows in one statement, on every engine: what goes in comes out, whichever columns have one value in all rows."""

import asyncpg
import pytest

from noticesvc.errors import DatabaseLocked, DatabaseUnavailable
from noticesvc.storage import arrays
from noticesvc.storage import tables as t
from noticesvc.storage.bulk import Rows
from tests.support.installation import START, installed


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        yield made


def deliveries(here, count):
    """Rows whose columns are now the same in all, now different, now null; by notice."""
    new_id = here.database.sources.new_id
    rows = [{"notice_id": new_id(), "channel": "email", "id": new_id(), "subject_id": new_id(), "position": i,
             "priority": 0, "carries": "full", "state": "pending", "closed": None, "due_at": None if i % 2 else START + i,
             "attempts": 0, "failures": i % 3, "lease_owner": None, "lease_until": None}
            for i in range(count)]
    return {row["notice_id"]: row for row in rows}


async def stored(here, rows):
    found = await here.database.write(lambda tx: tx.rows(t.delivery, "notice_id", list(rows), "notice_id", lock="update"))
    return {row.notice_id: {name: vars(row)[name] for name in rows[row.notice_id]} for row in found}


@pytest.mark.parametrize("count", [1, 2, 8, 9, 300])
async def test_inserted_rows_are_read_as_they_were_given(here, count):
    """Few and many rows, with columns of one value and columns of many, come back the same."""
    rows = deliveries(here, count)
    await here.database.write(lambda tx: tx.insert(t.delivery, list(rows.values())))
    assert await stored(here, rows) == rows


@pytest.mark.parametrize("count", [1, 2, 9, 300])
async def test_each_row_is_updated_to_its_own_values_and_no_other_row_is(here, count):
    """Columns that become the same everywhere, differ, or become null; rows that nobody named keep theirs."""
    rows = deliveries(here, 2 * count)
    await here.database.write(lambda tx: tx.insert(t.delivery, list(rows.values())))
    changed = list(rows)[::2]
    sets = [{"notice_id": i, "channel": "email", "state": "sent", "due_at": None, "attempts": n % 5} for n, i in enumerate(changed)]
    found = await here.database.write(lambda tx: tx.update(t.delivery, ("notice_id", "channel"), sets))
    assert found == len(changed)
    assert await stored(here, rows) == rows | {one["notice_id"]: rows[one["notice_id"]] | one for one in sets}


@pytest.mark.parametrize("count", [2, 300])
async def test_a_key_that_is_taken_keeps_its_row(here, count):
    """insert_new writes the rows whose key is free and leaves the others as they are."""
    rows = deliveries(here, 2 * count)
    first = list(rows.values())[:count]
    await here.database.write(lambda tx: tx.insert(t.delivery, first))
    await here.database.write(lambda tx: tx.insert_new(t.delivery, [row | {"state": "sent"} for row in rows.values()]))
    expected = {i: row | ({} if row in first else {"state": "sent"}) for i, row in rows.items()}
    assert await stored(here, rows) == expected


async def test_rows_are_found_by_several_columns_together(here):
    """Only those whose columns are together one of what was asked for: not those that mix two of them."""
    rows = list(deliveries(here, 12).values())
    for n, row in enumerate(rows):
        row["channel"] = ("email", "sms", "in_site")[n % 3]
    rows += [row | {"channel": "voice"} for row in rows]
    await here.database.write(lambda tx: tx.insert(t.delivery, rows))
    asked = [(row["notice_id"], row["channel"]) for row in rows[:5]] + [(rows[0]["notice_id"], "sms"), (rows[5]["notice_id"], "email")]
    found = await here.database.read(lambda tx: tx.among(t.delivery, ("notice_id", "channel"), asked))
    assert sorted((row.notice_id, row.channel, row.position) for row in found) == sorted(
        (row["notice_id"], row["channel"], row["position"]) for row in rows[:5])
    assert await here.database.read(lambda tx: tx.among(t.delivery, ("notice_id", "channel"), [])) == []


async def test_one_id_never_becomes_two(here):
    """Ids go to PostgreSQL joined by commas, so what is no id must not bring one."""
    rows = deliveries(here, 2)
    await here.database.write(lambda tx: tx.insert(t.delivery, list(rows.values())))
    if here.database.is_sqlite:
        assert await stored(here, [",".join(rows)]) == {}
    else:
        with pytest.raises(ValueError, match="comma"):
            await stored(here, [",".join(rows)])


@pytest.mark.postgres
async def test_rows_are_looked_up_by_the_whole_key_before_anybody_analysed_the_table(postgres_url):
    """PostgreSQL is given no way of reading all rows of one caller: cost must not grow with what is stored."""
    async with installed(postgres_url) as here:
        key_id = here.database.sources.new_id()
        given = ",".join([key_id] * 64), [bytes([i]) * 16 for i in range(64)]
        rows = [{"key_id": key_id, "key_hash": i.to_bytes(16, "big"), "body_hash": b"", "notice_id": here.database.sources.new_id(),
                 "warnings": None, "created_at": START} for i in range(3000)]

        def plan(tx):
            tx.insert(t.idempotency, rows)
            statement, _ = arrays._among(t.idempotency, ("key_id", "key_hash"))
            return "\n".join(record[0] for record in arrays.fetch(tx.conn, f"explain {statement}", given))
        told = await here.database.write(plan)
        assert "Index Cond: ((key_id = given.key_id) AND (key_hash = given.key_hash))" in told, told
        assert "Filter" not in told


def insert(tx, table, same, columns):
    """Put rows together in two parts, as somebody who makes some at a time, and insert them."""
    rows = Rows(table, same, columns, postgresql=tx.postgresql)
    most = max(len(column) for column in columns.values())
    for part in (slice(0, most // 2), slice(most // 2, most)):
        rows.add(*[column[part] for column in columns.values()])
    tx.insert_ready(rows)


@pytest.mark.parametrize("count", [1, 2, 300])
async def test_columns_are_read_as_they_were_given(here, count):
    """Column by column, with what is the same in all: ids, texts, numbers and truths, some of them null, and bytes of any value."""
    new_id = here.database.sources.new_id
    rows = [{"notice_id": new_id(), "channel": "email", "number": 1 + i, "provider": None if i % 2 else "名",
             "contact_id": new_id() if i % 3 else None,
             "intended_at": START + i, "evidence_id": new_id(), "call_started_at": None if i % 5 else -i,
             "sealed": bytes(range(256)) * (i % 3),
             "entry_offset": i, "confirmation": "identified", "outcome": None, "closed_offset": 2**31 - 1} for i in range(count)]
    same = {"channel", "confirmation", "outcome", "closed_offset"}
    columns = {name: [row[name] for row in rows] for name in rows[0] if name not in same}
    await here.database.write(lambda tx: insert(tx, t.attempt, {name: rows[0][name] for name in same}, columns))
    found = await here.database.read(lambda tx: tx.rows(t.attempt, "notice_id", [row["notice_id"] for row in rows], "number"))
    assert [{name: vars(row)[name] for name in rows[0]} for row in found] == rows


async def test_truths_are_read_as_they_were_given(here):
    """A column of true and false."""
    new_id = here.database.sources.new_id
    columns = {"notice_id": [new_id(), new_id()], "id": [new_id(), new_id()], "authenticated": [True, False]}
    same = {"channel": "sms", "attempt": 1, "kind": "accepted", "answer": True, "source": "provider", "carries": "full",
            "observed_at": START, "contact_in_effect": False}
    await here.database.write(lambda tx: insert(tx, t.evidence, same, columns))
    found = await here.database.read(lambda tx: tx.rows(t.evidence, "notice_id", columns["notice_id"], "notice_id"))
    assert {row.notice_id: (row.authenticated, row.answer, row.contact_in_effect) for row in found} == {
        columns["notice_id"][0]: (True, True, False), columns["notice_id"][1]: (False, True, False)}


async def test_no_row_of_columns_is_written_if_one_cannot_be(here):
    """A key that is taken, and columns of different lengths: an error, and nothing of it or of its transaction is there."""
    rows = deliveries(here, 3)
    columns = {name: [row[name] for row in rows.values()] for name in ("notice_id", "id", "subject_id")}
    same = {"channel": "email", "position": 0, "priority": 0, "carries": "full", "state": "pending"}

    def twice(tx):
        insert(tx, t.delivery, same, columns)
        insert(tx, t.delivery, same, columns)
    with pytest.raises(Exception, match=r"(?i)unique"):
        await here.database.write(twice)

    def uneven(tx):
        insert(tx, t.delivery, same, columns)
        insert(tx, t.delivery, same, columns | {"id": columns["id"][:2]})
    with pytest.raises(ValueError, match=r"length|shorter"):
        await here.database.write(uneven)
    assert await here.rows(t.delivery) == []
    await here.database.write(lambda tx: insert(tx, t.delivery, same, columns))
    assert len(await here.rows(t.delivery)) == 3


@pytest.mark.postgres
async def test_a_connection_cut_before_columns_are_written_is_told_as_a_database_that_is_away(postgres, postgres_url):
    """Whatever the driver says of it: repeat the request later. The next transaction works, over another connection."""
    async with installed(postgres_url) as here:
        rows = deliveries(here, 3)
        columns = {name: [row[name] for row in rows.values()] for name in ("notice_id", "id", "subject_id")}
        same = {"channel": "email", "position": 0, "priority": 0, "carries": "full", "state": "pending"}

        def cut(tx):
            mine = arrays.fetch(tx.conn, "select pg_backend_pid()", ())[0][0]
            postgres.execute(f"select pg_terminate_backend({mine}, 5000)")
            insert(tx, t.delivery, same, columns)
        with pytest.raises(DatabaseUnavailable):
            await here.database.write(cut)
        await here.database.write(lambda tx: insert(tx, t.delivery, same, columns))
        assert len(await here.rows(t.delivery)) == 3


@pytest.mark.postgres
async def test_a_lock_that_is_kept_from_columns_is_told_as_such(postgres_url):
    """Somebody holds the table: the driver's own error means what SQLAlchemy's would."""
    async with installed(postgres_url) as here:
        columns = {name: [row[name] for row in deliveries(here, 1).values()] for name in ("notice_id", "id", "subject_id")}
        same = {"channel": "email", "position": 0, "priority": 0, "carries": "full", "state": "pending"}

        def kept(tx):
            tx.conn.exec_driver_sql("set local lock_timeout = '50ms'")
            insert(tx, t.delivery, same, columns)
        admin = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        try:
            async with admin.transaction():
                await admin.execute("lock table delivery in access exclusive mode")
                with pytest.raises(DatabaseLocked):
                    await here.database.write(kept)
        finally:
            await admin.close()


async def test_a_writer_begins_no_parallel_workers(postgres_url):
    """A process of its own for a statement of some milliseconds costs more than the statement; reports may have theirs."""
    async with installed(postgres_url) as here:
        rows = [{"key_id": here.database.sources.new_id(), "key_hash": i.to_bytes(16, "big"), "body_hash": b"", "notice_id":
                 here.database.sources.new_id(), "warnings": None, "created_at": START} for i in range(3000)]
        await here.database.write(lambda tx: tx.insert(t.idempotency, rows))

        def plan(tx):
            for name in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size", "min_parallel_index_scan_size"):
                tx.conn.exec_driver_sql(f"set local {name} = 0")
            return "\n".join(record[0] for record in arrays.fetch(tx.conn, "explain select sum(created_at) from idempotency", ()))
        assert "Gather" in await here.database.read(plan)
        assert "Gather" not in await here.database.write(plan)
