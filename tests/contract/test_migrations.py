"""The migrations make exactly the tables that the code uses, on both databases, and lay PostgreSQL's growth out by time."""

import asyncio
import os
import time
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from noticesvc.bootstrap import schema
from noticesvc.domain.identity import lower_bound
from noticesvc.errors import ConfigurationError, DatabaseLocked
from noticesvc.storage import migrate, partitions
from noticesvc.storage.database import Database
from noticesvc.storage.tables import PARTITIONED, metadata
from noticesvc.storage.transaction import Sources, Tx

MONTH = 31 * 86_400_000_000


def _now() -> int:
    return time.time_ns() // 1000


async def _migrated(url: str) -> Database:
    database = Database(url, Sources(_now, os.urandom), Path())
    await database.write(migrate.upgrade)
    return database


async def test_migrations_make_the_tables_of_the_code(empty_database_url: str) -> None:
    """After all migrations nothing differs from the tables that statements are written against."""
    database = await _migrated(empty_database_url)

    def differences(tx: Tx) -> list[object]:
        mine = {table.name for table in metadata.tables.values()}
        context = MigrationContext.configure(
            tx.conn, opts={"include_name": lambda name, kind, _: kind != "table" or name in mine, "compare_type": True}
        )
        return list(compare_metadata(context, metadata))

    assert await database.read(differences) == []
    assert await database.read(migrate.current) == migrate.head()
    await database.close()


async def test_the_version_is_the_one_alembic_tells(empty_database_url: str) -> None:
    """Before and after the migrations, the version in the database and that of the code are Alembic's."""
    database = Database(empty_database_url, Sources(_now, os.urandom), Path())

    def told(tx: Tx) -> tuple[str | None, str | None]:
        return migrate.current(tx), MigrationContext.configure(tx.conn).get_current_revision()

    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    head = ScriptDirectory.from_config(config).get_current_head()
    assert await database.read(told) == (None, None)
    await database.write(migrate.upgrade)
    assert await database.read(told) == (head, head)
    assert migrate.head() == head
    await database.close()


async def test_upgrade_twice_changes_nothing(empty_database_url: str) -> None:
    """Two hosts that start at once both run the migrations; the second finds them done."""
    database = await _migrated(empty_database_url)
    await database.write(migrate.upgrade)
    assert await database.read(migrate.current) == migrate.head()
    await database.close()


async def test_growing_tables_have_months_ahead(postgres_url: str) -> None:
    """On PostgreSQL this month and the coming ones have partitions, and later ones are made in time."""
    database = await _migrated(postgres_url)

    def names(tx: Tx) -> set[str]:
        return {
            row[0]
            for row in tx.conn.execute(
                text("select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where c.relkind = 'r'")
            )
        }

    first = await database.read(names)
    assert {f"{table}_rest" for table in PARTITIONED} <= first
    assert len([name for name in first if name.startswith("evidence_2")]) == partitions.AHEAD + 1
    made = await database.write(lambda tx: partitions.extend(tx.conn, tx.now + 2 * MONTH))
    assert made >= len(PARTITIONED)
    assert first < await database.read(names)
    assert await database.write(lambda tx: partitions.extend(tx.conn, tx.now)) == 0
    await database.close()


async def test_a_row_lies_in_the_month_of_its_id(postgres_url: str) -> None:
    """A row's partition follows from the time in its id; one of no known month goes to the rest, so no insert fails."""
    database = await _migrated(postgres_url)
    now = _now()

    def insert(tx: Tx, micros: int) -> str:
        batch = lower_bound(micros)[:14] + "7" + lower_bound(micros)[15:19] + "8" + lower_bound(micros)[20:]
        tx.conn.execute(text("insert into ledger_index (batch, first) values (:b, 0)"), {"b": batch})
        return str(tx.conn.execute(text("select tableoid::regclass from ledger_index where batch = :b"), {"b": batch}).scalar_one())

    assert await database.write(insert, now) == time.strftime("ledger_index_%Y%m", time.gmtime(now / 1e6))
    assert await database.write(insert, now + 60 * MONTH) == "ledger_index_rest"
    await database.close()


async def test_an_older_program_works_beside_a_newer_one_until_something_was_taken_away(empty_database_url: str) -> None:
    """A later version that only added is supported; one whose floor is above this program is not, nor is an empty database."""
    database = Database(empty_database_url, Sources(_now, os.urandom), Path())
    assert not await database.read(migrate.supports)
    await database.write(migrate.upgrade)
    assert await database.read(migrate.supports)

    def later(tx: Tx, floor: str) -> None:
        tx.conn.execute(text("update alembic_version set version_num = '9998'"))
        tx.conn.execute(text("update schema_floor set least = :floor"), {"floor": floor})

    await database.write(later, migrate.head())
    assert await database.read(migrate.supports)
    await database.write(later, "9998")
    assert not await database.read(migrate.supports)
    await database.close()


async def test_a_migration_only_adds_unless_it_raises_the_floor(empty_database_url: str) -> None:
    """Of each: the version before finds every table and column as it knows them, can insert into them, and breaks no new unique key."""
    database = Database(empty_database_url, Sources(_now, os.urandom), Path())

    def columns(tx: Tx) -> dict[str, dict[str, tuple[str, bool, bool]]]:
        found = inspect(tx.conn)
        return {table: {c["name"]: (str(c["type"]), c["nullable"], c["default"] is not None) for c in found.get_columns(table)}
                for table in found.get_table_names() if table in metadata.tables}

    def unique(tx: Tx, tables: list[str]) -> set[tuple[str, str]]:
        found = inspect(tx.conn)
        return {(table, str(key["name"])) for table in tables for key in found.get_indexes(table) if key["unique"]}

    await database.write(migrate.step)
    before, at = await database.read(columns), "0001"
    keys = await database.read(unique, list(before))
    while (version := await database.write(migrate.step)) is not None:
        after, floor = await database.read(columns), await database.read(migrate.floor)
        assert version == min(v for v in migrate.versions() if v > at)
        if floor is None or floor <= at:  # the version before goes on
            for table, mine in before.items():
                assert {name: after[table].get(name) for name in mine} == mine, f"{version} changes {table}"
                needed = [name for name, (_, nullable, filled) in after[table].items() if name not in mine and not nullable and not filled]
                assert needed == [], f"{version}: {table} cannot be inserted into by the version before"
            assert await database.read(unique, list(before)) <= keys, f"{version} makes a key unique"
        keys, before, at = await database.read(unique, list(after)), after, version
    assert at == migrate.head()
    await database.close()


async def test_a_migration_gives_way_while_a_table_is_in_use(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a long reader it waits for a second, says for whom, lets the others through, and has its turn when the reader is gone."""
    monkeypatch.setattr(migrate, "LOCK_S", 1)
    database = Database(postgres_url, Sources(_now, os.urandom), Path())
    await database.write(migrate.upgrade, "0005")
    url = postgres_url.replace("+asyncpg", "")
    reader, other = await asyncpg.connect(url, server_settings={"application_name": "long report"}), await asyncpg.connect(url)
    said: list[str] = []
    waits = asyncio.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        waits.set()

    async with reader.transaction():
        await reader.fetch("select * from contact")
        with pytest.raises(DatabaseLocked, match=rf"0006 needs .* uses: process {reader.get_server_pid()} \(long report\), for [0-9]+ s"):
            await schema.bring_up(database, say, patience_s=0)
        migrating = asyncio.create_task(schema.bring_up(database, say))
        await asyncio.wait_for(waits.wait(), 60)
        assert await asyncio.wait_for(other.fetchval("select count(*) from contact"), 60) == 0  # while the reader still reads
        assert not migrating.done()
    await asyncio.wait_for(migrating, 60)
    assert await database.read(migrate.current) == migrate.head()
    assert f"Version 0006 waits for a transaction of process {reader.get_server_pid()} (long report)" in said[0]
    await reader.close()
    await other.close()
    await database.close()


async def test_a_program_does_not_migrate_what_is_newer(empty_database_url: str) -> None:
    """A host of the old version that restarts finds nothing to do while the floor allows it, and is told when it no longer does."""
    database = await _migrated(empty_database_url)
    await database.write(lambda tx: tx.conn.execute(text("update alembic_version set version_num = '9998'")))
    await schema.bring_up(database, lambda _: None)
    await database.write(lambda tx: tx.conn.execute(text("update schema_floor set least = '9998'")))
    with pytest.raises(ConfigurationError, match=r"at version 9998, which this program .* no longer understands"):
        await schema.bring_up(database, lambda _: None)
    assert await database.read(migrate.current) == "9998"
    await database.close()
