"""Brings a test's database to the newest schema, where it is not there yet, without running the migrations each time.

Called by tests.support.installation and tests.support.ledger. On SQLite a file that was migrated once in this process is
copied; on PostgreSQL one database serves many tests and is emptied of rows between them (`database_url` in
tests/conftest.py). tests/contract/test_migrations.py runs the migrations themselves.
"""

import os
import tempfile
import time
from pathlib import Path

from sqlalchemy import make_url

from noticesvc.storage import migrate
from noticesvc.storage.database import Database
from noticesvc.storage.transaction import Sources

_files: list[bytes] = []


async def lay(url: str) -> None:
    """Make sure that the database is migrated; rows that are there stay."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        await _migrate(url)
    elif not Path(parsed.database or "").exists():
        Path(parsed.database or "").write_bytes(await _file())


async def _migrate(url: str) -> None:
    database = Database(url, Sources(lambda: time.time_ns() // 1000, os.urandom), Path())
    try:
        if await database.read(migrate.current) != migrate.head():
            await database.write(migrate.upgrade)
    finally:
        await database.close()


async def _file() -> bytes:
    """A migrated SQLite database; closing it has put everything into the one file."""
    if not _files:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.db")
            await _migrate(f"sqlite+aiosqlite:///{path}")
            assert not path.with_name("model.db-wal").exists()
            _files.append(path.read_bytes())
    return _files[0]
