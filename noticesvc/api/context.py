"""What routes are given: the call (request, key, parsed body and query) and the house behind it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from starlette.requests import Request

from noticesvc.api.key_lookup import KeyLookup
from noticesvc.api.patience import in_time
from noticesvc.config import Settings
from noticesvc.domain.access import Access
from noticesvc.operations.world import World
from noticesvc.provider import Provider
from noticesvc.storage.database import Database

T = TypeVar("T")
IMPORTING = 4
"""Portions that one import, or all together, record at the same time in a process: while some wait for the database others need
us, and connections are left for everybody else.
"""


class Acceptor(Protocol):
    """Accepts notices, many callers sharing one commit (api.acceptor)."""

    async def accept(self, access: Access, requests: list[Any]) -> list[Any]:
        """Results in the order of the requests."""


@dataclass(slots=True)
class House:
    """Everything behind the API in this process; made by bootstrap."""

    settings: Settings
    database: Database
    world: World
    providers: dict[str, Provider]
    acceptor: Acceptor
    readiness: Callable[[], dict[str, Any]]  # parts of this process that may fail by themselves
    key_lookup: KeyLookup = field(init=False)
    importing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IMPORTING))

    def __post_init__(self) -> None:
        """Everything asks for keys at one place."""
        self.key_lookup = KeyLookup(self.database)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one endpoint. `body` and `query` are instances of the endpoint's models, or null."""

    request: Request
    house: House
    access: Access
    body: Any = None
    query: Any = None

    async def read(self, fn: Callable[..., T], *args: Any) -> T:
        """Run an operation that only reads: `fn(tx, world, *args)`."""
        return await self.house.database.read(fn, self.house.world, *args)

    async def write(self, fn: Callable[..., T], *args: Any) -> T:
        """Run an operation: `fn(tx, world, *args)`; durable when this returns."""
        return await in_time(self.house.database.write(fn, self.house.world, *args))
