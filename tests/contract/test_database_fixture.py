"""The house's own databases for tests: empty, of the right kind, and durable where that was asked for."""

import contextlib
import sqlite3
from pathlib import Path

import asyncpg
import pytest

STATEMENTS = ("CREATE TABLE t (v TEXT)", "INSERT INTO t VALUES ('送达')")


async def test_every_engine_gives_an_empty_database_that_keeps_chinese_text(empty_database_url):
    """A fresh URL takes a table and gives back what was written, on both engines."""
    if empty_database_url.startswith("sqlite+aiosqlite:///"):
        path = Path(empty_database_url.removeprefix("sqlite+aiosqlite:///"))
        assert path.is_absolute()
        with contextlib.closing(sqlite3.connect(path)) as file:
            for statement in STATEMENTS:
                file.execute(statement)
            value = file.execute("SELECT v FROM t").fetchone()[0]
    else:
        server = await asyncpg.connect(empty_database_url.replace("+asyncpg", ""))
        for statement in STATEMENTS:
            await server.execute(statement)
        value = await server.fetchval("SELECT v FROM t")
        await server.close()
    assert value == "送达"


@pytest.mark.postgres
def test_two_databases_of_one_server_are_strangers(postgres):
    """A table in one new database is not in the next; a copy of a template has it."""
    first, second = postgres.new_database(), postgres.new_database()
    name = first.rpartition("/")[2]
    postgres.execute("CREATE TABLE t (v TEXT)", name)
    copy = postgres.new_database(template=name)
    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 't'"
    counts = [postgres.execute(tables, url.rpartition("/")[2]) for url in (first, second, copy)]
    for url in (first, second, copy):
        postgres.drop_database(url)
    assert counts == ["1", "0", "1"]


@pytest.mark.postgres
@pytest.mark.kill
async def test_a_committed_row_outlives_a_crash_of_the_durable_server(durable_postgres):
    """With fsync on, what was committed before SIGQUIT is there after recovery, on the same port."""
    url = durable_postgres.new_database().replace("+asyncpg", "")
    name = url.rpartition("/")[2]
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE t AS SELECT 7 AS v")
    durable_postgres.stop(crash=True)
    connection.terminate()
    durable_postgres.start()
    assert durable_postgres.execute("SELECT v FROM t", name) == "7"
    assert durable_postgres.execute("SHOW fsync") == "on"
