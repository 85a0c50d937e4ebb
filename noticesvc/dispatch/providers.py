"""Opens the configured providers in the worker's event loop, and lends each its context."""

from collections.abc import Mapping
from dataclasses import dataclass

from noticesvc.operations import receipts, sandbox
from noticesvc.operations.world import World
from noticesvc.provider import Provider, ReadsMail
from noticesvc.storage.database import Database


@dataclass(slots=True)
class Context:
    """A provider's way back into the service (noticesvc.provider.ProviderContext)."""

    name: str
    database: Database
    world: World

    async def receive(self, raw: bytes, media_type: str) -> None:
        """Store a receipt that came by another way than a callback."""
        await self.database.write(receipts.store, self.world, self.name, "bytes", {"media_type": media_type}, raw)

    async def keep(self, *, channel: str, to: str, subject: str, text: str, reference: str | None = None) -> None:
        """Keep what the sandbox took."""
        await self.database.write(sandbox.keep, self.world, channel, to, subject, text, reference)

    async def recall(self, reference: str) -> bool:
        """Whether the sandbox took something under this reference."""
        return await self.database.read(sandbox.recall, reference)

    async def schedule(self, raw: bytes, media_type: str, after_s: float) -> None:
        """Have bytes received later."""
        await self.database.write(sandbox.schedule, self.world, self.name, raw, media_type, after_s)


class Providers:
    """The providers of a process, opened before the worker and closed after it."""

    def __init__(self, database: Database, world: World, providers: Mapping[str, Provider]) -> None:
        self._database, self._world, self._providers = database, world, providers

    async def start(self) -> None:
        """Open each."""
        for name, provider in self._providers.items():
            await provider.open(Context(name, self._database, self._world))

    async def stop(self, grace_s: float) -> None:
        """Close each."""
        for provider in self._providers.values():
            await provider.close()

    def faults(self) -> dict[str, str]:
        """Ways in that do not work; a provider that fails to send shows in attempts and breakers."""
        found: dict[str, str] = {}
        for provider in self._providers.values():
            reader: object = provider
            if isinstance(reader, ReadsMail):
                found.update(reader.faults())
        return found
