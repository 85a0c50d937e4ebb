"""Claims with a past: attempts that a dead holder left unanswered, and deliveries whose last outcome is unknown.

What is left over waits `reconcile_after_s` from the lapse of its lease, for its host to adopt the journal; then it is unknown.
What is unknown is asked of the provider where it can be asked, else sent again if the notice is mandatory.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from noticesvc.config import ProviderSettings
from noticesvc.operations import reconcile
from noticesvc.operations.claim import Claim
from noticesvc.operations.record import Schedule
from noticesvc.operations.world import World
from noticesvc.provider import Provider, Receipt
from noticesvc.storage.database import Database

log = structlog.get_logger()


class Leftovers:
    """Clears up claims for one worker."""

    def __init__(self, worker: str, database: Database, world: World, schedule: Schedule, providers: Mapping[str, Provider],
                 settings: Mapping[str, ProviderSettings]) -> None:
        self._worker, self._database, self._world, self._schedule = worker, database, world, schedule
        self._providers, self._settings = providers, settings

    async def fresh(self, found: Sequence[Claim]) -> list[Claim]:
        """Those of the claims that may be sealed now; the others were cleared up and are no longer in hand."""
        fresh = [c for c in found if c.unanswered is None and c.state == "pending"]
        left = [c for c in found if c.unanswered is not None]
        unknown = [c for c in found if c.unanswered is None and c.state == "unknown"]
        if left:
            await self._database.write(reconcile.left_over, self._world, self._schedule, self._worker, left)
        if unknown:
            never_taken: set[tuple[str, str]] = set()
            for key, question in (await self._database.read(reconcile.questions, self._world, unknown)).items():
                receipts = await self._ask(question)
                if receipts:
                    await self._database.write(reconcile.answered, self._world, question, receipts)
                elif receipts is not None:
                    never_taken.add(key)
            again = await self._database.write(reconcile.send_again, self._world, self._worker, unknown, never_taken)
            fresh += [c for c in unknown if (c.notice_id, c.channel) in again]
        return fresh

    async def _ask(self, question: reconcile.Question) -> list[Receipt] | None:
        """What the provider says became of an attempt; null if it cannot be asked or does not answer."""
        provider = self._providers.get(question.provider)
        if provider is None:
            return None
        try:
            async with asyncio.timeout(self._settings[question.provider].timeout_s):
                found = await provider.query(question.message)
        except Exception as error:
            log.warning("a provider could not be asked", provider=question.provider, error=type(error).__name__)
            return None
        return None if found is None else list(found)
