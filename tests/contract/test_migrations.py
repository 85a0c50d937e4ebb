"""The migrations make exactly the tables that the code uses, on both databases, and lay PostgreSQL's growth out by time."""

import os
import time
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from noticesvc.domain.identity import lower_bound
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
