"""Runs the ledger's sequencer: stands for election, sequences whenever entries wait, and keeps a copy of the checkpoint outside.

Started by bootstrap wherever a worker runs. Woken by commits (topic `ledger`) and by polling underneath. An idle sequencer
acts at once; a busy one groups what arrives during a short rest, so that a checkpoint is signed long before `max_delay_s` is
over. The outside copy is written after the transaction that signed it committed, so that it is never ahead after a crash;
a copy that is ahead means that a backup was restored, and then nothing is signed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_not_exception_type, wait_random_exponential

from noticesvc.dispatch import outside_copy
from noticesvc.errors import LedgerBehind, LedgerMismatch, UnavailableError
from noticesvc.ledger.checkpoint import Checkpoint
from noticesvc.ledger.key import Signer, Verifier
from noticesvc.operations import ledger_reading, sequence
from noticesvc.storage.database import Database
from noticesvc.storage.election import Election

log = structlog.get_logger()
REST_S = 0.4  # between two checkpoints under load, since each costs the same however few entries; at most 0.4 of max_delay_s
POLL_S = 0.5
FIRST_S = 5.0  # how long a start waits for the first checkpoint of a new ledger
STAND_S = 1.0  # between two tries to be elected, and between two signs of life


class Sequencer:
    """One candidate for the office of sequencer. `start` and `stop` belong to the event loop that runs it."""

    def __init__(self, database: Database, signer: Signer, copy: Path, max_delay_s: float = 1.0,
                 retired: tuple[Verifier, ...] = ()) -> None:
        self._database, self._signer, self._copy, self._retired = database, signer, copy, retired
        self._rest_s = min(REST_S, max_delay_s * 0.4)
        self._poll_s = min(POLL_S, max_delay_s / 2)
        self._batch = sequence.BYTES // (4 if database.is_sqlite else 1)  # SQLite's one writer waits meanwhile
        self._owner = database.sources.new_id()
        self._election = Election(database)
        self._epoch: int | None = None
        self._last: Checkpoint | None = None
        self._beaten_at = 0.0
        self._woken, self._stopping, self._signed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._copy_fails = False
        self.mismatch: str | None = None
        database.on_commit("ledger", self._woken.set)

    @property
    def leads(self) -> bool:
        """Whether this is the sequencer in office."""
        return self._epoch is not None

    def faults(self) -> dict[str, str]:
        """What is wrong now: `signer` when the ledger does not match (nothing is signed), `checkpoint_copy` when it cannot be kept."""
        found = {"signer": self.mismatch} if self.mismatch else {}
        if self._copy_fails:
            found["checkpoint_copy"] = "The outside copy of the checkpoint cannot be written; free the disk or correct its path."
        return found

    async def start(self) -> None:
        """Check the ledger and begin. Raises LedgerMismatch, and the service must not start then; DatabaseUnavailable."""
        await self._database.write(sequence.found, self._signer)
        await self._check()
        self._task = asyncio.create_task(self._run(), name="sequencer")
        if not await self._database.read(ledger_reading.has_checkpoint):
            # A new ledger: there should be a checkpoint, if only of the empty tree, before anybody is told `ready`.
            try:
                async with asyncio.timeout(FIRST_S):
                    await self._signed.wait()
            except TimeoutError:
                log.warning("no first checkpoint yet")

    async def stop(self, grace_s: float = 5.0) -> None:
        """Sequence what is left, if in office, within `grace_s`; give the office up and end. Workers end before."""
        self._stopping.set()
        self._woken.set()
        if self._task is not None:
            await self._task
            self._task = None
        if self.leads and self.mismatch is None:
            try:
                async with asyncio.timeout(grace_s):
                    await self._sequence()
            except (TimeoutError, UnavailableError, sequence.OfficeLost):
                log.warning("sequencer stopped with entries waiting")
            except LedgerMismatch as error:
                self._refuse(error)
        self._resign()

    async def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                await self._persist(self._turn)
        except LedgerMismatch as error:
            self._refuse(error)
            self._resign()

    def _refuse(self, error: LedgerMismatch) -> None:
        self.mismatch = str(error)
        if isinstance(error, LedgerBehind):
            self._database.hold(self.mismatch)  # the world has seen more than this database: nothing may be sent from it
        log.critical("the ledger does not match its last checkpoint, nothing is signed any more", reason=str(error))

    async def _persist(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Do one turn, again and again until it works; only a mismatch and a stop end it."""
        async for attempt in AsyncRetrying(
                retry=retry_if_not_exception_type((LedgerMismatch, asyncio.CancelledError)), reraise=True, sleep=self._sleep,
                wait=wait_random_exponential(multiplier=0.1, max=5), stop=lambda _: self._stopping.is_set(), before_sleep=self._complain):
            with attempt:
                try:
                    await turn()
                except LedgerMismatch:
                    raise
                except Exception:
                    self._resign()
                    if self._stopping.is_set():
                        return
                    raise

    @staticmethod
    def _complain(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, sequence.OfficeLost):
            log.info("another sequencer was elected")
        else:
            log.warning("sequencer will try again", error=type(error).__name__, attempt=state.attempt_number)

    async def _turn(self) -> None:
        """One round: be in office or wait for it; then sequence once something waits."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._beaten_at >= STAND_S or not self.leads:
            if not await self._election.held():
                await self._sleep(STAND_S)
                return
            self._beaten_at = loop.time()
        if self._epoch is None:
            # Between the start and this moment another host led: look again before signing anything.
            await self._check()
            self._epoch = await self._database.write(sequence.take_office, self._owner)
            log.info("sequencer in office", epoch=self._epoch)
            await self._sequence()
        try:
            async with asyncio.timeout(self._poll_s):
                await self._woken.wait()
        except TimeoutError:
            if not await self._database.read(ledger_reading.waits):
                return
        if not self._stopping.is_set():
            await self._sequence()
            await self._sleep(self._rest_s)

    async def _sequence(self) -> None:
        """Sequence until nothing waits; each checkpoint is copied outside once it is durable."""
        waiting = True
        while waiting and self._epoch is not None:
            self._woken.clear()
            done = await self._database.write(sequence.sequence, self._signer, self._owner, self._epoch, self._last, self._batch,
                                              self._retired)
            waiting, self._last = done.waiting, done.checkpoint
            self._signed.set()
            await self._write_copy(done.note)
            await self._beat()

    async def _beat(self) -> None:
        """Keep the lock through a long backlog; whoever lost it finds out by the epoch."""
        now = asyncio.get_running_loop().time()
        if now - self._beaten_at >= STAND_S:
            await self._election.held()
            self._beaten_at = now

    async def _check(self) -> None:
        # The copy is read before the database, which a sequencer elsewhere on this host may be moving on.
        copy = await asyncio.to_thread(outside_copy.read, self._copy)
        await self._database.read(sequence.check, self._signer, copy, self._retired)

    async def _write_copy(self, note: str) -> None:
        try:
            await asyncio.to_thread(outside_copy.write, self._copy, note)
        except OSError as error:
            if not self._copy_fails:
                log.error("outside copy of the checkpoint cannot be written", error=type(error).__name__)
            self._copy_fails = True
        else:
            self._copy_fails = False

    def _resign(self) -> None:
        self._epoch = None
        self._election.release()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
