"""Claims with a past: attempts that a dead holder left unanswered, and deliveries whose last outcome is unknown.

What is left over waits `reconcile_after_s` from the lapse of its lease, for its host to adopt the journal; then it is unknown.
What is unknown is asked of the provider where it can be asked, else sent again if the notice is mandatory.
"""

from collections.abc import Mapping, Sequence

from noticesvc.config import ProviderSettings
from noticesvc.dispatch.asking import ask
from noticesvc.operations import inquiries, reconcile
from noticesvc.operations.claim import Claim
from noticesvc.operations.record import Schedule
from noticesvc.operations.world import World
from noticesvc.provider import Provider
from noticesvc.storage.database import Database


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
            last = [(c.notice_id, c.channel, c.attempts) for c in unknown]
            for question in (await self._database.read(inquiries.questions, self._world, last)).values():
                answer = await ask(self._providers, self._settings, question)
                if answer is not None and answer.receipts:
                    await self._database.write(inquiries.answered, self._world, question, answer)
                elif answer is not None and answer.never_taken:
                    never_taken.add(question.place[:2])
            again = await self._database.write(reconcile.send_again, self._world, self._worker, unknown, never_taken)
            fresh += [c for c in unknown if (c.notice_id, c.channel) in again]
        return fresh
