"""The service under test, as its own process: installed, configured for the sinks, started, killed, stopped.

Used by bench.crash.run and the acceptance tests. Nothing here knows how the service works inside; `wrapper` runs a
statement in its process before the command line does, for tests that put a fault or a crash into it; `root` is the checkout whose
program it is, `version` a statement that makes it another version, in commands too.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import shell
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_MAIN = "from noticesvc.cli.main import main; main()"
_READY_S = 120.0


class DidNotStart(Exception):
    """The process ended before it said `ready`; the message ends with what it logged."""


class Service:
    """One installation and its processes. `several`: an API and so many workers instead of one process for all."""

    def __init__(self, folder: Path, wrapper: str = "", root: Path = ROOT, version: str = "") -> None:
        self.folder, self.wrapper, self.root, self.version = folder, wrapper, root, version
        self.several, self.environment = 0, dict[str, str]()
        self.config_file = folder / "config.toml"
        self.log = folder / "service.log"
        self.key = (folder / "key").read_text() if (folder / "key").exists() else ""
        self.processes: list[asyncio.subprocess.Process] = []
        self.workers: list[asyncio.subprocess.Process] = []  # those that are nothing else

    @property
    def url(self) -> str:
        """Where its API answers."""
        return str(self._settings()["server"]["public_url"])

    def _settings(self) -> dict[str, Any]:
        return tomllib.loads(self.config_file.read_text())

    def move_database(self, url: str) -> None:
        """From now on the database is found there."""
        text = self.config_file.read_text()
        self.config_file.write_text(re.sub(r"(?m)^(\[database\]\nurl = ).*$", lambda found: f'{found[1]}"{url}"', text))

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the CLI to its end: status and everything it printed."""
        if self.root == ROOT and not self.version:
            done = await asyncio.to_thread(shell.run, *arguments, env=_environment(), cwd=ROOT, timeout_s=None)
            return done.returncode, done.stderr + done.stdout
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"{self.version}\n{_MAIN}", *arguments, cwd=self.root, env=_environment(),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")

    async def start(self, *, only: str | None = None, environment: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start it and return when it is ready. Raises DidNotStart."""
        process = await self.launch(only=only, environment=environment)
        await self.ready(process)
        return process

    async def start_all(self) -> None:
        """Start what this installation consists of, and return when it is ready."""
        if not self.several:
            await self.start()
            return
        await self.start(only="api")
        for _ in range(self.several):
            await self.start(only="worker")

    async def launch(self, *, only: str | None = None, environment: Mapping[str, str] | None = None,
                     within: Sequence[str] = ()) -> asyncio.subprocess.Process:
        """Start it and do not wait; `within` is a command that runs it somewhere else, such as in a network namespace."""
        role = ["--only", only] if only else []
        variables = _environment() | self.environment | dict(environment or {})
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *within, sys.executable, "-c", f"{self.version}\n{self.wrapper}\n{_MAIN}", "serve", "--config",
                str(self.config_file), *role, cwd=self.root,
                env=variables, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log)
        self.processes.append(process)
        if only == "worker":
            self.workers.append(process)
        return process

    async def ready(self, process: asyncio.subprocess.Process) -> None:
        """Return when it has said `ready`. Raises DidNotStart."""
        assert process.stdout is not None
        async with asyncio.timeout(_READY_S):
            line = await process.stdout.readline()
        if not line.startswith(b"ready "):
            raise DidNotStart(f"The service did not start: {self.log.read_text(errors='replace')[-2000:]}")

    async def kill(self, process: asyncio.subprocess.Process | None = None) -> None:
        """SIGKILL, to one process or to all; returns when they are gone."""
        for one in [process] if process is not None else list(self.processes):
            with contextlib.suppress(ProcessLookupError):
                one.kill()
            await self.gone(one)

    async def gone(self, process: asyncio.subprocess.Process, within_s: float = 120.0) -> int:
        """Wait until a process has ended, however; its status."""
        async with asyncio.timeout(within_s):
            status = await process.wait()
        for kept in (self.processes, self.workers):
            if process in kept:
                kept.remove(process)
        return status

    async def stop(self, process: asyncio.subprocess.Process | None = None) -> list[int]:
        """SIGTERM and wait; the exit statuses."""
        chosen = [process] if process is not None else list(self.processes)
        for one in chosen:
            with contextlib.suppress(ProcessLookupError):
                one.send_signal(signal.SIGTERM)
        return [await self.gone(one) for one in chosen]


async def installed(folder: Path, *, smtp_port: int, sms_port: int, database_url: str | None = None, wrapper: str = "", root: Path = ROOT,
                    worker: Mapping[str, Any] | None = None, mail: Mapping[str, Any] | None = None,
                    sms: Mapping[str, Any] | None = None, events: Mapping[str, Any] | None = None) -> Service:
    """A new installation in `folder`, configured for a mail server and an SMS gateway on these ports.

    Leases and waits are short, so that whoever takes over after a kill need not wait long.
    """
    service = Service(folder, wrapper, root)
    status, output = await service.command("init", "--dir", str(folder), *(["--database", database_url] if database_url else []))
    if status:
        raise DidNotStart(f"init failed: {output}")
    service.key = output.strip().splitlines()[-1]
    (folder / "key").write_text(service.key)
    url = service._settings()["database"]["url"]
    port = free_port()
    sections: dict[str, dict[str, Any]] = {
        "server": {"port": port, "public_url": f"http://127.0.0.1:{port}"},
        "database": {"url": url},
        "quiet": {"from": "00:00", "to": "00:00"},  # none: commercial notices go at whatever hour this runs
        "worker": {"concurrency": 16, "claim_batch": 100, "lease_s": 6, "stop_grace_s": 10, "retry_first_s": 0.2, "retry_max_s": 2,
                   "reconcile_after_s": 1} | dict(worker or {}),
        "providers.mail": {"kind": "smtp", "channel": "email", "port": smtp_port, "from_address": "notices@example.com",
                           "host_is": "recipient_mx", "connections": 8, "timeout_s": 2, "breaker_after": 1000} | dict(mail or {}),
        "providers.sms": {"kind": "kannel", "channel": "sms", "url": f"http://127.0.0.1:{sms_port}/cgi-bin/sendsms", "username": "u",
                          "password": "p", "from_address": "10690000", "timeout_s": 2, "breaker_after": 1000} | dict(sms or {}),
    }
    if events:
        sections["events"] = dict(events)
    service.config_file.write_text("".join(f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in section.items())
                                           for name, section in sections.items()))
    return service


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NOTICESVC_")} | {"PYTHONUNBUFFERED": "1"}
