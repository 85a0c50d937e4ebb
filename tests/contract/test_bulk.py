"""Many rows in one statement, on every engine: what goes in comes out, whichever columns have one value in all rows."""

import pytest

from noticesvc.storage import arrays
from noticesvc.storage import tables as t
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
