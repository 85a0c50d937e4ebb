"""Looks at the database every few seconds for those who operate the service: gauges for Prometheus, and the alarm on `/readyz`.

Started by bootstrap where a worker runs. What it sees is the whole database's, so every worker process tells the same.
"""

from noticesvc import metrics
from noticesvc.dispatch.loop import Loop
from noticesvc.operations import watching
from noticesvc.operations.watching import Figures
from noticesvc.storage.database import Database

LOOK_S = 5.0


class Watch:
    """The loop and what it saw last. `start` and `stop` belong to the event loop that runs them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = Loop("watch", self._look, LOOK_S)
        self._suspect: frozenset[tuple[str, str]] = frozenset()
        self.unowned: frozenset[tuple[str, str]] = frozenset()

    async def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def stop(self, grace_s: float) -> None:
        """End at once: there is nothing to finish."""
        await self._loop.stop()

    def faults(self) -> dict[str, str]:
        """Notices without an owner, named; and the loop itself, should it have ended."""
        found = {"watch": "This loop has ended; restart the process."} if self._loop.dead else {}
        if self.unowned:
            some = ", ".join(f"{notice_id} on {channel}" for notice_id, channel in sorted(self.unowned)[:3])
            found["conservation"] = (f"Nobody is to take care of {len(self.unowned)} deliveries or more ({some}): they were dropped. "
                                     "Run `noticesvc ledger audit` and report it.")
        return found

    async def _look(self) -> bool:
        self.saw(await self._database.read(watching.look))
        return False

    def saw(self, figures: Figures) -> None:
        """Tell what was seen. Only what two looks in a row saw without an owner is an alarm."""
        unowned = frozenset(figures.unowned)
        self.unowned, self._suspect = unowned & self._suspect, unowned
        metrics.QUEUE.clear()
        metrics.QUEUE_AGE.clear()
        for category, queue in figures.queues.items():
            metrics.QUEUE.labels(category).set(queue.count)
            metrics.QUEUE_AGE.labels(category).set(queue.oldest_s)
        metrics.UNKNOWN.set(figures.unknown)
        metrics.UNOWNED.set(len(self.unowned))
        metrics.RECEIPTS_LATE.set(figures.late_receipts)
        metrics.RECEIPTS_WAITING.set(figures.receipts.count)
        metrics.RECEIPTS_ORPHANED.set(figures.orphans)
        metrics.EVENTS_WAITING.set(figures.events.count)
        metrics.EVENTS_AGE.set(figures.events.oldest_s)
        metrics.LEDGER_LAG.set(figures.ledger.oldest_s)
        if figures.checkpoint_age_s is not None:
            metrics.CHECKPOINT_AGE.set(figures.checkpoint_age_s)
