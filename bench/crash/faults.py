"""Real faults beside kills: the database dies, freezes or is cut off, a worker outsleeps its lease, the disk is full, the clock jumps.

Called by bench.crash.run for the legs that a plan names. Each leaves everything running as it was, by no step that an operator
would have to take; a fault whose means are missing on this machine is skipped by name.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.crash.cutting_proxy import CuttingProxy
from bench.crash.service import Service
from tests.support.postgres import PrivatePostgres

FROZEN_S, CUT_S = 10.0, 3.0
LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
_JUMPS_S = (-3600, 3600)
_POLL_S = 0.02


class Skipped(Exception):
    """This machine has not what the fault needs; the message says what."""


@dataclass
class Around:
    """What is around the service: the database server and the proxy before it, the file of the clock, whether its disk is small."""

    service: Service
    ready: Callable[[], Awaitable[bool]]  # what /readyz says
    server: PrivatePostgres | None = None
    proxy: CuttingProxy | None = None
    small_disk: bool = False

    @property
    def clock(self) -> Path:
        """The file that libfaketime reads."""
        return self.service.folder / "clock"

    def set_clock(self, seconds: int) -> None:
        """Let the service's wall clock go wrong by so many seconds."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}")
        fresh.replace(self.clock)

    async def until(self, *, ready: bool, within_s: float = 60.0) -> None:
        """Wait until /readyz says so."""
        end = time.monotonic() + within_s
        while await self.ready() is not ready:
            if time.monotonic() > end:
                raise TimeoutError(f"the service is {'not ' if ready else 'still '}ready")
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def small_disk(folder: Path, mebibytes: int) -> AsyncIterator[bool]:
    """A file system of its own on `folder`, where we may mount one; says whether we may."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    mounted = os.geteuid() == 0 and await _ran("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            await _ran("umount", "-l", str(folder))


async def _ran(*command: str) -> bool:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return await process.wait() == 0


def clock_environment(file: Path) -> dict[str, str]:
    """What makes a process read its wall clock from the file; nothing where libfaketime is missing."""
    if not LIBFAKETIME.exists():
        return {}
    return {"LD_PRELOAD": str(LIBFAKETIME), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


async def everything_killed(around: Around) -> None:
    """SIGKILL to every process of the service, and an immediate stop of PostgreSQL, at one time; then all start again."""
    await around.service.kill()
    if around.server is not None:
        await asyncio.to_thread(around.server.stop, crash=True)
        await asyncio.to_thread(around.server.start)
    await around.service.start_all()


async def database_stopped(around: Around) -> None:
    """PostgreSQL is stopped immediately and started again while the service runs."""
    server = _server(around)
    await asyncio.to_thread(server.stop, crash=True)
    await around.until(ready=False)
    await asyncio.to_thread(server.start)
    await around.until(ready=True)


async def database_frozen(around: Around) -> None:
    """Every process of PostgreSQL is stopped by SIGSTOP for ten seconds, and goes on."""
    server = _server(around)
    stopped = server.processes()
    for pid in stopped:
        _signal(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        for pid in reversed(stopped):
            _signal(pid, signal.SIGCONT)
    await around.until(ready=True)


async def database_cut_off(around: Around) -> None:
    """Every connection to PostgreSQL breaks and none can be made for three seconds."""
    if around.proxy is None:
        raise Skipped("there is no connection to cut")
    around.proxy.cut()
    await around.until(ready=False)
    await asyncio.sleep(CUT_S)
    around.proxy.mend()
    await around.until(ready=True)


async def worker_killed(around: Around) -> None:
    """SIGKILL to one of several workers, the one that has run longest; another takes its place."""
    if not around.service.workers:
        raise Skipped("there is one process alone")
    await around.service.kill(around.service.workers[0])
    await around.service.start(only="worker")


async def worker_stopped(around: Around) -> None:
    """One of several workers is stopped by SIGSTOP until its leases lapsed and were reconciled by others, and goes on."""
    if not around.service.workers:
        raise Skipped("there is one process alone")
    one = around.service.workers[0]
    one.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        one.send_signal(signal.SIGCONT)


async def disk_full(around: Around) -> None:
    """The disk with the journals (on SQLite the database too) is full, until three seconds later there is room again."""
    if not around.small_disk:
        raise Skipped("no small file system can be mounted")
    filler = around.service.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    await asyncio.sleep(CUT_S)
    filler.unlink()
    await around.until(ready=True)


async def clock_set(around: Around) -> None:
    """The wall clock goes back an hour, then forth two, while work goes on; it stays there."""
    if not around.service.environment:
        raise Skipped("libfaketime is not installed")
    for seconds in _JUMPS_S:
        around.set_clock(seconds)
        await asyncio.sleep(CUT_S)
    await around.until(ready=True)


def _server(around: Around) -> PrivatePostgres:
    if around.server is None:
        raise Skipped("SQLite has no server")
    return around.server


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass(frozen=True)
class Fault:
    """What happens, and whose calls in flight it may lose: `all` workers', `one`'s, or nobody's."""

    happens: Callable[[Around], Awaitable[None]]
    loses: str = ""


FAULTS = {
    "everything killed": Fault(everything_killed, "all"),
    "database stopped": Fault(database_stopped),
    "database frozen": Fault(database_frozen),
    "database cut off": Fault(database_cut_off),
    "worker killed": Fault(worker_killed, "one"),
    "worker stopped": Fault(worker_stopped, "one"),
    "disk full": Fault(disk_full),
    "clock set": Fault(clock_set),
}
