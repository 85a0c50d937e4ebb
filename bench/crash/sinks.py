"""Starts the sinks as processes of their own, and ends them."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.crash.service import ROOT

MAIL_LOG, SMS_LOG = "mail.log", "sms.log"


@dataclass(frozen=True)
class Sinks:
    """Where the sinks listen and what they write."""

    smtp_port: int
    sms_port: int
    mail_log: Path
    sms_log: Path


@asynccontextmanager
async def running(folder: Path, *, smtp_port: int = 0, sms_port: int = 0, slowest_s: float = 0.03,
                  bounces: Path | None = None) -> AsyncIterator[Sinks]:
    """Both sinks, logging to `folder` (after what earlier ones logged there); given ports are taken again.

    `bounces` is the Maildir in which mail that comes back is put.
    """
    started: list[asyncio.subprocess.Process] = []
    try:
        ports = []
        for module, port, log in (("smtp_sink", smtp_port, MAIL_LOG), ("sms_sink", sms_port, SMS_LOG)):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"bench.crash.{module}", "--port", str(port), "--log", str(folder / log), "--slowest", str(slowest_s),
                *(["--bounces", str(bounces)] if bounces is not None and module == "smtp_sink" else []),
                cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE)
            started.append(process)
            assert process.stdout is not None
            async with asyncio.timeout(30):
                line = await process.stdout.readline()
            if not line.startswith(b"ready "):
                raise RuntimeError(f"the sink {module} did not start")
            ports.append(int(line.split()[1]))
        yield Sinks(ports[0], ports[1], folder / MAIL_LOG, folder / SMS_LOG)
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
