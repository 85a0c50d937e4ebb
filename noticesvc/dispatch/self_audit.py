"""The scheduled self-audit: `noticesvc ledger audit --open` in a process of its own, its last result kept and told on /readyz.

Started by bootstrap beside the sequencer, and at work only where that is in office. A process of its own and of low priority, so
that an audit of hours takes nothing from the event loop.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from noticesvc.errors import UnavailableError
from noticesvc.operations import self_audits
from noticesvc.operations.self_audits import Result
from noticesvc.storage.database import Database

log = structlog.get_logger()
COMMAND = (sys.executable, "-P", "-c", "from noticesvc.cli.main import main; main()", "ledger", "audit", "--open", "--config")
_POLL_S = 30.0
_NICE = 10


class SelfAudit:
    """Audits every so often. `start` and `stop` belong to the event loop that runs it."""

    def __init__(self, database: Database, config_file: Path, every_s: float, leads: Callable[[], bool]) -> None:
        self._database, self._config_file, self._every_s, self._leads = database, config_file, every_s, leads
        self._last: Result | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; the first audit is made once the time since the last one, or since this start, has passed."""
        self._task = asyncio.create_task(self._run(), name="self-audit")

    async def stop(self, grace_s: float = 0.0) -> None:
        """End; an audit that is running is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def faults(self) -> dict[str, str]:
        """What the last audit found."""
        if self._last is None or not self._last.says:
            return {}
        return {"self_audit": f"{self._last.findings} findings: {self._last.says} Run `noticesvc ledger audit --open`."}

    async def _run(self) -> None:
        started = self._database.sources.clock()
        while True:
            with suppress(UnavailableError):
                self._last = await self._database.read(self_audits.last)
                since = max(started, self._last.ended_at if self._last else 0)
                if self._leads() and self._database.sources.clock() - since >= self._every_s * 1_000_000:
                    result = await self._audit()
                    await self._database.write(self_audits.keep, result)
                    continue
            await asyncio.sleep(min(_POLL_S, self._every_s))

    async def _audit(self) -> Result:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, str(self._config_file), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        try:
            out, _ = await process.communicate()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        result = self_audits.read(process.returncode or 0, out.decode("utf-8", "replace"))
        if result.says:
            log.critical("the self-audit has findings", findings=result.findings, says=result.says)
        else:
            log.info("self-audit without findings", entries=result.entries)
        return result
