"""The worker: claims deliveries, seals intents for what starts now, calls providers, and commits what they answered.

Order of things: claim a large batch; seal at most what may start now, in one transaction; write the journal and call with no
transaction open; collect whatever finished while the last commit ran and commit it together. Each loop waits for a signal
(a commit somewhere, a free slot, an answer) with a poll underneath, and goes on after any failure of the database.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from noticesvc import metrics, tracing
from noticesvc.config import Settings
from noticesvc.dispatch import adoption
from noticesvc.dispatch.attachments import Attachments
from noticesvc.dispatch.call import call
from noticesvc.dispatch.hands import Hands
from noticesvc.dispatch.journal import Journal
from noticesvc.dispatch.leftovers import Leftovers
from noticesvc.dispatch.pacing import AT_ONCE, Chosen, Pacing
from noticesvc.dispatch.rates import Rates
from noticesvc.dispatch.recording import Recording
from noticesvc.errors import UnavailableError
from noticesvc.operations import claim, in_site, reconcile, seal
from noticesvc.operations.claim import Claim
from noticesvc.operations.record import Answer, Schedule
from noticesvc.operations.seal import Sealed
from noticesvc.operations.world import World
from noticesvc.provider import Provider
from noticesvc.storage.database import Database

log = structlog.get_logger()
POLL_S = 0.5
_MAKING_S = 2.0  # while notices of broadcasts are made, between two batches of them in-site: both are the same processor's work
_TURNS = frozenset({"worker-claim", "worker-in-site"})


class Worker:
    """One dispatching worker of a process. `start` and `stop` belong to the event loop that runs it."""

    def __init__(self, settings: Settings, database: Database, world: World, providers: Mapping[str, Provider],
                 making: Callable[[], bool] = lambda: False) -> None:
        """`making` tells whether this process makes notices of broadcasts just now."""
        self._settings, self._database, self._world, self._providers, self._making = settings, database, world, providers, making
        self.id = database.sources.new_id()
        s = settings.worker
        self._pacing = Pacing.of(providers, settings.providers, s.concurrency)
        self._schedule = Schedule(
            s.retry_first_s,
            s.retry_max_s,
            s.reconcile_after_s,
            {n: p.max_retry_s for n, p in providers.items() if p.max_retry_s is not None},
            self._pacing.alternatives(),
            frozenset(n for n, p in providers.items() if p.can_be_asked),
        )
        self._hands = Hands(self._pacing, Rates(database), s.claim_batch // 2)
        self._careful = 0  # so many seals of one claim each, since one of many failed
        self._shunned: dict[tuple[str, str], float] = {}  # deliveries that cannot be sealed, and until when they are left alone
        self._doubtful: list[Claim] = []  # their seal failed, and may have been committed all the same
        self._held: dict[tuple[str, str], float] = {}  # deliveries in hand: until when, on the monotonic clock
        self._calls: set[asyncio.Task[None]] = set()
        self._due, self._own_due, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._lanes_at = 0.0  # when in-site messages of broadcasts have their next turn while notices are made
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._journal: Journal | None = None
        self._recording = Recording(database, world, self._schedule, self._committed, lambda: bool(self._calls))
        self._attachments = Attachments(database, world)
        self._leftovers = Leftovers(self.id, database, world, self._schedule, providers, settings.providers)
        for event in (self._due, self._own_due):
            database.on_commit("dispatch", event.set)

    async def start(self) -> None:
        """Adopt what dead workers left, then begin."""
        folder = self._settings.path(self._settings.worker.journal_dir)
        self._journal = Journal(folder, self.id)
        await adoption.adopt_all(self._database, self._world, self._schedule, folder, self._journal.path)
        for name, once in (
            ("claim", self._claim_and_start),
            ("in-site", self._deliver_in_site),
            ("renew", self._renew),
            ("adopt", self._adopt),
        ):
            self._tasks.append(asyncio.create_task(self._forever(once), name=f"worker-{name}"))
        self._recording.start()

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more, finish the calls in flight, record them, give the rest back."""
        self._stopping = True
        for event in (self._due, self._own_due, self._room):
            event.set()
        # A turn under way ends by itself: what it has sealed is called, not given up with its number used.
        if turns := [task for task in self._tasks if task.get_name() in _TURNS]:
            await asyncio.wait(turns, timeout=max(0.5, grace_s * 0.2))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._calls:
            await asyncio.wait(self._calls, timeout=max(0.5, grace_s * 0.4))
        await self._recording.stop(max(0.5, grace_s * 0.3))
        try:
            async with asyncio.timeout(3):
                await self._take_back()
                await self._database.write(claim.release, self.id, [(c.notice_id, c.channel) for c in self._hands])
        except (UnavailableError, TimeoutError):
            log.warning("claims could not be given back; their leases lapse")
        if self._journal is not None:
            self._journal.close()

    def faults(self) -> dict[str, str]:
        """Loops that ended although nobody asked them to."""
        dead = [task.get_name() for task in self._tasks if task.done() and not self._stopping]
        dead += ["worker-record"] if self._recording.dead else []
        found = {"worker": f"The loop {dead[0]} has ended; restart the process."} if dead else {}
        for name, wait in self._pacing.resting(time.monotonic()).items():
            found[f"provider {name}"] = f"It failed again and again and is left alone for {wait:.1f} s; others of its channel take over."
        return found

    async def _forever(self, once: Callable[[], Awaitable[None]]) -> None:
        """Run a loop's turn again and again; a failure costs a pause, never the loop."""
        pause = 0.1
        while not self._stopping:
            try:
                await once()
                pause = 0.1
            except UnavailableError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.error("dispatch turn failed", loop=once.__name__, error=type(error).__name__, exc_info=True)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    # --- claim, seal, start -------------------------------------------------------------------------------------------

    async def _claim_and_start(self) -> None:
        self._room.clear()
        await self._take_back()
        if self._due.is_set():
            self._hands.stir()
            self._due.clear()
        for channels, single in self._hands.wanted(time.monotonic()):
            await self._claim(channels, single=single)
        if self._hands.worth_sealing():
            wait = await self._start(1 if self._careful else AT_ONCE)
        else:
            wait = POLL_S
        if wait > 0:
            await _first_of((self._room, self._due), min(wait, POLL_S))

    async def _claim(self, channels: Sequence[str], *, single: bool) -> None:
        s = self._settings.worker
        began, limit = time.monotonic(), s.claim_batch // 2 + 1
        found = await self._database.write(claim.claim, self.id, limit, s.lease_s, channels, single=single)
        if len(found) < limit:
            self._hands.dry(channels, single=single, until=began + POLL_S)  # nothing more is due there, or others have it
        until = began + s.lease_s
        # What is in hand already lapsed while the database was away: it is renewed so, and nobody's left-over.
        found, again = [one for one in found if not self._holds(one)], [one for one in found if self._holds(one)]
        for one in (*found, *again):
            self._held[one.notice_id, one.channel] = until
        try:
            fresh = await self._leftovers.fresh(found)
            for key in {(c.notice_id, c.channel) for c in found} - {(c.notice_id, c.channel) for c in fresh}:
                self._held.pop(key, None)
            self._hands.add(one for one in fresh if not self._shuns(one))
        except BaseException:
            for one in found:
                self._held.pop((one.notice_id, one.channel), None)  # not renewed, so that they are claimed again
            raise

    async def _start(self, room: int) -> float:
        """Seal and call as many claims as there is room for; answers how long to wait when only rates or breakers forbid more."""
        if self._stopping or self._journal is None or not self._journal.ready():
            return POLL_S  # without a journal no call begins, so no attempt's number is used up either
        starts, chosen, wait = await self._hands.choose(room)
        if not starts:
            return wait or POLL_S
        try:
            passed = {key: choice.passed_over for key, choice in chosen.items() if choice.passed_over}
            sealed = await self._database.write(seal.seal, self._world, self.id, starts, passed)
        except BaseException as error:
            for choice in chosen.values():
                choice.withdraw()
            self._doubtful.extend(one for one, _ in starts)
            if isinstance(error, Exception) and not isinstance(error, UnavailableError):
                self._suspect(starts)
            raise
        self._careful = max(0, self._careful - 1)
        started = {(x.notice_id, x.channel) for x in sealed}
        for one, _ in starts:
            key = (one.notice_id, one.channel)
            if key not in started:
                self._held.pop(key, None)
                if key in chosen:
                    chosen[key].withdraw()
        for intent in sealed:
            task = asyncio.create_task(self._call(intent, chosen[intent.notice_id, intent.channel]))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        return 0.0

    def _suspect(self, starts: Sequence[tuple[Claim, str | None]]) -> None:
        """One of these cannot be sealed: find it by sealing one at a time, and leave it for a lease so that others go on."""
        self._careful = max(self._careful, len(starts))
        if len(starts) == 1:
            one = starts[0][0]
            self._shunned[one.notice_id, one.channel] = time.monotonic() + self._settings.worker.lease_s

    def _holds(self, one: Claim) -> bool:
        return (one.notice_id, one.channel) in self._held

    def _shuns(self, one: Claim) -> bool:
        key = (one.notice_id, one.channel)
        if self._shunned.get(key, 0.0) <= time.monotonic():
            self._shunned.pop(key, None)
            return False
        self._held.pop(key, None)  # not renewed, so that it is claimed again when its lease lapses
        return True

    async def _take_back(self) -> None:
        """Give back what a failed seal may have sealed: nobody called it, and a second seal would collide with the first."""
        if self._doubtful:
            doubtful = tuple(self._doubtful)
            await self._database.write(reconcile.take_back, self._world, self._schedule, self.id, doubtful)
            for one in doubtful:
                self._held.pop((one.notice_id, one.channel), None)
            self._doubtful.clear()

    async def _call(self, sealed: Sealed, chosen: Chosen) -> None:
        key = (sealed.notice_id, sealed.channel)
        pace, answer = chosen.pace, None
        timeout_s = pace.settings.timeout_s
        try:
            attached, readable = await self._attachments.of(sealed)
            if not readable or self._journal is None or time.monotonic() + timeout_s + 1 > self._held.get(key, 0.0):
                # Its documents cannot be read now; or the lease might end before the provider's time is up, and another worker
                # must not meet us there.
                answer = Answer(sealed.notice_id, sealed.channel, sealed.number, "not_sent", None, self._database.sources.clock())
            else:
                began = time.perf_counter()
                with tracing.span(f"submit {sealed.channel}", sealed.notice_id, provider=sealed.provider, delivery_id=sealed.delivery_id):
                    answer = await call(self._world, sealed, pace.provider, self._journal, self._database.sources.clock, timeout_s,
                                        attached)
                metrics.call_seconds(sealed.provider).observe(time.perf_counter() - began)
                if answer.outcome != "not_sent":
                    chosen.answered(time.monotonic(), failed=answer.elsewhere or answer.outcome == "unknown")
            metrics.attempts(sealed.provider, sealed.channel, answer.outcome).inc()
            self._recording.add(answer)
        finally:
            if answer is None or answer.outcome == "not_sent":
                chosen.withdraw()
            self._recording.wake()
            if not self._room.is_set() and self._hands.worth_sealing():
                self._room.set()

    def _committed(self, answers: list[Answer]) -> None:
        for answer in answers:
            self._held.pop((answer.notice_id, answer.channel), None)
        if self._journal is not None:
            self._journal.committed([f"{a.notice_id}.{a.channel}.{a.number}" for a in answers])

    # --- the other loops ----------------------------------------------------------------------------------------------

    async def _deliver_in_site(self) -> None:
        self._own_due.clear()
        began = time.monotonic()
        lanes = began >= self._lanes_at or not self._making()
        done = await self._database.write(in_site.deliver_paced, self._world, self._settings.worker.claim_batch, broadcasts=lanes)
        if lanes:
            self._lanes_at = began + _MAKING_S
        if done.number == 0:
            await _either(self._own_due, POLL_S if done.wait_s is None else min(done.wait_s, POLL_S))

    async def _renew(self) -> None:
        """Prolong leases while their work goes on; what was lost in between is forgotten."""
        lease_s = self._settings.worker.lease_s
        await asyncio.sleep(lease_s / 4)
        held = list(self._held)
        for i in range(0, len(held), 500):
            part = held[i : i + 500]
            began = time.monotonic()
            kept = await self._database.write(claim.renew, self.id, part, lease_s)
            for key in part:
                if key in kept and key in self._held:
                    self._held[key] = began + lease_s
                elif self._held.get(key):
                    self._held[key] = 0.0
                    metrics.LEASES_LOST.inc()

    async def _adopt(self) -> None:
        await asyncio.sleep(max(1.0, self._settings.worker.reconcile_after_s / 2))
        if self._journal is not None:
            await adoption.adopt_all(self._database, self._world, self._schedule, self._journal.path.parent, self._journal.path)


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def _first_of(events: Sequence[asyncio.Event], seconds: float) -> None:
    """Wait for any of the events, at most so long."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
