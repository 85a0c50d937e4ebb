"""An installation for tests of operations and routes: a database at the newest schema, keys, a world, and a clock to set."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

import httpx
from sqlalchemy import select

from noticesvc import vault
from noticesvc.api import app
from noticesvc.api.acceptor import SharedAcceptor
from noticesvc.api.context import House
from noticesvc.domain.access import SCOPES
from noticesvc.domain.calendar import Calendar
from noticesvc.domain.rules import BUILT_IN
from noticesvc.ledger import entry as ledger_entry
from noticesvc.operations import keys
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.database import Database
from noticesvc.storage.ledger import split, unpack
from noticesvc.storage.transaction import Sources
from tests.support.migrated import lay

START = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z in microseconds


@dataclass
class Clock:
    """Stands still until a test moves it."""

    micros: int = START

    def __call__(self) -> int:
        return self.micros

    def move(self, seconds: float) -> None:
        self.micros += int(seconds * 1_000_000)


@dataclass
class Installation:
    """What a test needs of an installation."""

    database: Database
    world: World
    clock: Clock
    http: httpx.AsyncClient  # with a key that has every scope
    house: House

    async def rows(self, table: Any) -> list[Any]:
        """Every row of a table."""
        return list(await self.database.read(lambda tx: tx.execute(select(table)).all()))

    async def entries(self) -> list[dict[str, Any]]:
        """Every ledger entry, in order of commit; nothing sequences here."""
        rows = await self.database.read(lambda tx: tx.execute(select(t.ledger_pending).order_by(t.ledger_pending.c.pos)).all())
        return [ledger_entry.decode(data) for row in rows for data in split(unpack(row.data))]


@asynccontextmanager
async def installed(url: str, providers: Mapping[str, Any] | None = None) -> AsyncIterator[Installation]:
    """An installation on a new, empty database, with these providers, closed afterwards."""
    clock = Clock()
    database = Database(url, Sources(clock, os.urandom))
    try:
        await lay(url)
        secret = await database.write(keys.create, "test", SCOPES)
        masters, index = vault.parse(vault.new_key_file(os.urandom))
        safe = vault.Vault(masters, index, os.urandom)
        world = World(
            vault=safe, system_key=safe.new_key("vault_key:system")[0], rules=BUILT_IN,
            calendar=Calendar("test", MappingProxyType({})), issuer="示例科技有限公司", software="noticesvc test",
            origin="notices.example.com", public_url="http://test", channels_served=frozenset({"sms", "email"}), sandbox=True)
        settings: Any = SimpleNamespace(server=SimpleNamespace(public_url="http://test"))
        acceptor = SharedAcceptor(database, world)
        await acceptor.start()
        house = House(settings, database, world, dict(providers or {}), acceptor, dict)
        transport = httpx.ASGITransport(app.make(house, "all", asyncio.Event()))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {secret}"}) as http:
            yield Installation(database, world, clock, http, house)
        await acceptor.close()
    finally:
        await database.close()
