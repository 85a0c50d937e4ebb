"""A database that cannot be written for a while, on every engine: POST is 503 with Retry-After, never accepted, and reads go on."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager

import asyncpg
import pytest

from noticesvc.api import patience
from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import notice, recipient
from tests.support.waiting import until

REQUESTS = (
    ("POST", "/v1/notices", notice()), ("POST", "/v1/notices/batch", {"notices": [notice()]}),
    ("PUT", "/v1/recipients/u-9/contacts", {"contacts": [], "source": "crm"}), ("PUT", "/v1/templates/late", {"subject": "s", "body": "b"}),
    ("POST", "/v1/announcements", {"subject": "s", "body": "b"}))


@asynccontextmanager
async def locked(url):
    """Somebody else keeps the database from being written, and does not say for how long."""
    if url.startswith("sqlite"):
        other = sqlite3.connect(url.partition("///")[2], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()
        return
    other = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with other.transaction():
            for row in await other.fetch("SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('r', 'p') "
                                         "AND relnamespace = 'public'::regnamespace"):
                await other.execute(f"LOCK TABLE {row['name']} IN EXCLUSIVE MODE")
            yield
    finally:
        await other.close()


async def refused(here, requests=REQUESTS):
    """Each of these requests is refused for now, and says when to come again."""
    replies = await asyncio.gather(*(here.http.request(method, path, json=body) for method, path, body in requests))
    for reply, (_, path, _) in zip(replies, requests, strict=True):
        assert (reply.status_code, reply.headers["content-type"]) == (503, "application/problem+json"), path
        assert int(reply.headers["retry-after"]) > 0, path


async def test_a_lock_that_somebody_keeps_is_503(database_url, monkeypatch):
    """Every kind of write is refused in time; reads go on, nothing is written afterwards, and the next request is accepted."""
    async with installed(database_url) as here:
        await recipient(here)
        async with locked(database_url):
            with monkeypatch.context() as hasty:
                hasty.setattr(patience, "LONGEST_WAIT_S", 1.0)
                await refused(here, REQUESTS[1:])
            assert (await here.http.get("/v1/notices")).status_code == 200
        await until(lambda: here.http.post("/v1/notices", json=notice()), lambda reply: reply.status_code == 202)
        assert len(await here.rows(t.notice)) == 1
        assert await here.rows(t.template) == []


@pytest.mark.postgres
async def test_a_database_that_takes_no_connections_is_503(postgres_url):
    """Whatever keeps PostgreSQL from giving a connection is no fault of the caller's and never a 500."""
    url = postgres_url.replace("+asyncpg", "")
    name = url.rpartition("/")[2]
    async with installed(postgres_url) as here:
        await recipient(here)
        admin = await asyncpg.connect(url.replace(name, "postgres"))
        try:
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await admin.fetch("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name)
            await refused(here)
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            # What is left of the old connections is soon used up.
            await until(lambda: here.http.post("/v1/notices", json=notice()), lambda reply: reply.status_code == 202)
        finally:
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            await admin.close()
